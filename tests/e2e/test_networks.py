"""LiveKit's clients in networks that are in the way: nothing but TURN gets out, or a NAT changes in mid call."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import web
from bench.local import hosting
from tests import certificates
from tests.e2e.clients import KEY, SECRET, open_client, token
from tests.e2e.conftest import FLAGS
from tests.e2e.servers import serve_pages
from tests.test_turn import free_port

from rtpcore.config import Config, Listen
from rtpcore.livekit_config import Turn, load
from rtpcore.serve import SERVER, application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import BrowserContext
    from tests.e2e.client import Client

    from rtpcore.forwarder import Forwarder

pytestmark = pytest.mark.asyncio(loop_scope="session")


@contextlib.asynccontextmanager
async def serving(turn: Turn | None = None) -> AsyncIterator[tuple[str, web.Application]]:
    """A server for LiveKit's clients, of this test's own."""

    settings = load(environ={}, overrides={"keys": f"{KEY}: {SECRET}"})
    app = application(Config(listen=Listen(("127.0.0.1",)), workers=2), replace(settings, turn=turn or Turn()))
    async with hosting(app, max_line_size=1 << 20, max_field_size=1 << 20) as url:
        yield url, app


@contextlib.asynccontextmanager
async def two(base: str, kind: str, context: BrowserContext, room: str, **how: bool) -> AsyncIterator[list[Client]]:
    """Ada and Bob of one kind, in one room."""
    async with serve_pages() as pages, contextlib.AsyncExitStack() as stack:
        clients = []
        for identity in ("ada", "bob"):
            client = await open_client(kind, pages, context, **how)
            client.identity = identity
            stack.push_async_callback(client.leave)
            clients.append(client)
            await client.join(base.replace("http", "ws"), token(room, identity))
        yield clients


async def sees_and_hears(ada: Client, bob: Client) -> None:
    for source in ("camera", "microphone"):
        await ada.publish(source)
        await bob.sees_track("ada", source)
    await bob.watches("ada")
    await bob.hears("ada")


@pytest_asyncio.fixture(loop_scope="session")
async def trusting(browser: Any) -> AsyncIterator[BrowserContext]:
    """Pages in a Chromium that takes any certificate."""
    trusting = await browser.browser_type.launch(
        executable_path=browser_path(), args=[*FLAGS, "--ignore-certificate-errors"]
    )
    yield await trusting.new_context()
    await trusting.close()


def browser_path() -> str:
    path = shutil.which("chromium")
    assert path is not None
    return path


@pytest.mark.parametrize("kind", ["rust-single", "rust-dual", "js-newest-single", "js-newest-dual"])
async def test_turn_over_udp_alone(kind: str, context: BrowserContext, room: str) -> None:
    turn = Turn(enabled=True, udp_port=free_port(socket.SOCK_DGRAM), bind_addresses=("127.0.0.1",))
    async with serving(turn) as (base, app), two(base, kind, context, room, is_relayed=True) as (ada, bob):
        await sees_and_hears(ada, bob)
        assert app[SERVER].turn.stats().packets_to_peers > 100
        # What the server sends and receives is what was relayed: nobody found another way.
        assert app[SERVER].turn.stats().allocations >= 2


@pytest.mark.parametrize("kind", ["js-newest-single", "js-newest-dual"])
async def test_turn_over_tls_alone(kind: str, trusting: BrowserContext, room: str, tmp_path: Any) -> None:
    cert_file, key_file = certificates.make(tmp_path)
    turn = Turn(
        enabled=True,
        domain="localhost",
        tls_port=free_port(socket.SOCK_STREAM),
        cert_file=cert_file,
        key_file=key_file,
        bind_addresses=("127.0.0.1",),
    )
    async with serving(turn) as (base, app), two(base, kind, trusting, room, is_relayed=True) as (ada, bob):
        await sees_and_hears(ada, bob)
        assert app[SERVER].turn.stats().connections >= 2
        assert app[SERVER].turn.stats().packets_to_peers > 100


##### A network that changes in mid call


class Nat(asyncio.DatagramProtocol):
    """What sits between a peer and the server, and gives the peer another address when it is told to."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.outside: dict[Any, socket.socket] = {}

    def connection_made(self, transport: Any) -> None:
        self.inside = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if addr not in self.outside:
            outside = self.outside[addr] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            outside.setblocking(False)
            outside.connect(self.server)
            asyncio.get_running_loop().add_reader(outside, self.back, outside, addr)
        # A network may lose what it likes.
        with contextlib.suppress(OSError):
            self.outside[addr].send(data)

    def back(self, outside: socket.socket, addr: Any) -> None:
        with contextlib.suppress(OSError):
            self.inside.sendto(outside.recv(2048), addr)

    def names(self) -> set[Any]:
        """The addresses that the server sees."""
        return {outside.getsockname() for outside in self.outside.values()}

    def rebind(self) -> None:
        """Forget every mapping: what comes next goes out by another port."""
        for outside in self.outside.values():
            asyncio.get_running_loop().remove_reader(outside)
            outside.close()
        self.outside.clear()

    def close(self) -> None:
        self.inside.close()
        self.rebind()


async def behind(forwarder: Forwarder) -> Nat:
    """A NAT in front of all peers: what they are told is its address."""
    loop = asyncio.get_running_loop()
    (address,) = forwarder.udp_addresses
    transport, nat = await loop.create_datagram_endpoint(lambda: Nat(address.local), local_addr=("127.0.0.1", 0))
    host, port = transport.get_extra_info("sockname")
    udp = next(candidate for candidate in forwarder.candidates if candidate.protocol == "udp")
    forwarder._candidates = (replace(udp, address=host, port=port),)
    return nat


@pytest.mark.parametrize("kind", ["rust-single", "rust-dual", "js-newest-single", "js-newest-dual"])
async def test_media_goes_on_from_another_address(kind: str, context: BrowserContext, room: str) -> None:
    async with serving() as (base, app):
        with contextlib.closing(await behind(app[SERVER].forwarder)) as nat:
            async with two(base, kind, context, room) as (ada, bob):
                await sees_and_hears(ada, bob)
                sessions = dict(app[SERVER].host.sessions)
                before = nat.names()
                nat.rebind()
                await bob.watches("ada", more=30)
                await bob.hears("ada")
                assert before.isdisjoint(nat.names())
                assert app[SERVER].host.sessions == sessions, "nobody had to begin anew"
                assert not {"reconnecting", "reconnected"} & set((await bob.state())["events"])
