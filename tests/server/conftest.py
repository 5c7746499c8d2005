"""A server that runs, and clients that speak the protocol and nothing else."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient
from tests.serving import mount
from tests.signalling import Client

from rtpcore import Config, Hooks, Listen, Media, Server
from rtpcore.livekit_config import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SETTINGS = "keys: {key: a secret of more than thirty-two bytes}"


def make_server(hooks: Hooks | None = None) -> Server:
    """On loopback, with one worker."""
    config = Config(listen=Listen(addresses=("127.0.0.1",)), media=Media(stats_interval_ms=10), workers=1, seed=1)
    return Server(load(SETTINGS, environ={}), config=config, hooks=hooks)


class House:
    """A server behind aiohttp, and what clients ask it."""

    def __init__(self, server: Server, http: TestClient[Any, Any]) -> None:
        self.server = server
        self.http = http

    async def join(self, identity: str, room: str = "stage", **query: str) -> Client:
        query = {"access_token": self.server.token(identity, room), "protocol": "16", **query}
        return Client(await self.http.ws_connect("/rtc", params=query))

    async def validate(self, identity: str, room: str = "stage") -> tuple[int, str]:
        query = {"access_token": self.server.token(identity, room)}
        async with self.http.get("/rtc/validate", params=query) as answer:
            return answer.status, await answer.text()


@asynccontextmanager
async def open_house(hooks: Hooks | None = None) -> AsyncIterator[House]:
    """A server that runs, with these hooks."""
    server = make_server(hooks)
    async with TestClient(mount(server, "aiohttp")) as http:
        yield House(server, http)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A server that runs, without hooks."""
    async with open_house() as made:
        yield made


@pytest.fixture
async def server(house: House) -> Server:
    """The same, where no client is needed."""
    return house.server


@pytest.fixture
def heard() -> Callable[[AsyncIterator[Any], int], Any]:
    """So many events of an iterator."""

    async def read(events: AsyncIterator[Any], count: int) -> list[Any]:
        return [await asyncio.wait_for(anext(events), 30) for _ in range(count)]

    return read
