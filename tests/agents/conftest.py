"""A server that runs, and workers and users that speak the protocol and nothing else."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import WSMsgType
from aiohttp.test_utils import TestClient
from tests.agents.stage import Stage
from tests.serving import mount
from tests.signalling import Client

from rtpcore import Config, Listen, Media, Server
from rtpcore.livekit_config import load
from rtpcore.wire.messages import (
    AvailabilityResponse,
    JobType,
    RegisterWorkerRequest,
    ServerMessage,
    UpdateWorkerStatus,
    WorkerMessage,
    WorkerStatus,
)
from rtpcore.wire.token import Claims, Keyring, VideoGrant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rtpcore.wire.messages import Job

KEY, SECRET = "key", "a secret of more than thirty-two bytes"
KEYRING = Keyring({KEY: SECRET})


def token(identity: str = "", **grant: Any) -> str:
    return KEYRING.issue(Claims(identity=identity, video=VideoGrant(**grant)), now=time.time(), ttl=600)


class Worker:
    """A worker's socket."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    async def send(self, **message: Any) -> None:
        await self.socket.send_bytes(WorkerMessage(**message).SerializeToString())

    async def next(self) -> ServerMessage | None:
        """The next message; None once the socket is closed."""
        message = await asyncio.wait_for(self.socket.receive(), 30)
        return ServerMessage.FromString(message.data) if message.type == WSMsgType.BINARY else None

    async def until(self, kind: str) -> Any:
        """The next message, which is of this kind."""
        message = await self.next()
        assert message is not None, f"the socket closed before {kind}"
        assert message.WhichOneof("message") == kind, message
        return getattr(message, kind)

    async def closed(self) -> None:
        while await self.next() is not None:
            pass

    async def register(self, name: str = "", type: int = JobType.JT_ROOM, **facts: Any) -> str:
        await self.send(register=RegisterWorkerRequest(agent_name=name, type=type, **facts))
        return (await self.until("register")).worker_id

    async def say(self, job: Job, available: bool = True, **facts: Any) -> None:
        await self.send(availability=AvailabilityResponse(job_id=job.id, available=available, **facts))

    async def update(self, *, full: bool = False, **facts: Any) -> None:
        status = WorkerStatus.WS_FULL if full else WorkerStatus.WS_AVAILABLE
        await self.send(update_worker=UpdateWorkerStatus(status=status, **facts))

    async def take(self) -> tuple[Job, str]:
        """Say yes to the next offer; the job as it is assigned, and the token of its agent."""
        await self.say((await self.until("availability")).job)
        assignment = await self.until("assignment")
        return assignment.job, assignment.token


class House:
    """A server, and who connects to it."""

    def __init__(self, server: Server, http: TestClient[Any, Any]) -> None:
        self.server = server
        self.http = http

    async def worker(self, **headers: str) -> Worker:
        headers = headers or {"Authorization": f"Bearer {token(agent=True)}"}
        return Worker(await self.http.ws_connect("/agent", headers=headers))

    async def join(self, access: str) -> Client:
        return Client(await self.http.ws_connect("/rtc", params={"access_token": access, "protocol": "16"}))

    async def user(self, identity: str = "ada", room: str = "stage") -> Client:
        client = await self.join(token(identity, room_join=True, room=room))
        await client.until("join")
        return client

    async def status(self, access: str) -> tuple[int, str]:
        """What joining with this token would come to."""
        async with self.http.get("/rtc/validate", params={"access_token": access}) as answer:
            return answer.status, await answer.text()

    @property
    def jobs(self) -> dict[str, str]:
        """The state of each job by its id."""
        pool = self.server.dispatcher.pool
        return {job.id: job.state.value for job in [*pool.ended, *pool.books.jobs.values()]}


@asynccontextmanager
async def open_house(extra: str = "", way: str = "aiohttp") -> AsyncIterator[House]:
    """A server that runs, with these settings."""
    config = Config(listen=Listen(addresses=("127.0.0.1",)), media=Media(stats_interval_ms=10), workers=1, seed=1)
    server = Server(load(f"keys: {{{KEY}: {SECRET}}}\n{extra}", environ={}), config=config)
    async with TestClient(mount(server, way)) as http:
        yield House(server, http)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A server that runs."""
    async with open_house() as made:
        yield made


@pytest.fixture
def stage() -> Stage:
    """A pool, and what happens around it."""
    return Stage()
