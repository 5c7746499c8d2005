"""A server in this process, one Chromium for all tests, and pages in it."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from bench.local import CHROMIUM, hosting
from livekit import api
from playwright.async_api import async_playwright
from tests.e2e.client import Trio
from tests.e2e.clients import KEY, SECRET, open_client, token
from tests.e2e.conformance import (
    pytest_collection_modifyitems,
    pytest_generate_tests,
    pytest_runtest_logreport,
    pytest_runtest_makereport,
    pytest_sessionfinish,
)
from tests.e2e.peers import Peer, until
from tests.e2e.servers import Served, serve, serve_pages

from rtpcore.config import Config, Listen
from rtpcore.serve import application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import Any

    from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request
    from tests.e2e.client import Client

    from rtpcore.host import Host

collect_ignore = ["gstreamer_peer.py"]  # runs under another Python

__all__ = [
    "pytest_collection_modifyitems",
    "pytest_generate_tests",
    "pytest_runtest_logreport",
    "pytest_runtest_makereport",
    "pytest_sessionfinish",
]

# A picture that moves and a beep every second.
FLAGS = [*CHROMIUM, "--use-fake-device-for-media-stream"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def base() -> AsyncIterator[str]:
    """The URL of a server: two workers, so that packets cross between them."""
    listen = Listen(addresses=("127.0.0.1",), udp_port=0, tcp_port=0)
    async with hosting(application(Config(listen=listen, workers=2))) as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium; playwright gives it a profile of its own and takes it away again."""
    path = shutil.which("chromium")
    assert path is not None, "these tests need Chromium: apt-get install chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """Pages that end with the test."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    yield context
    await context.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the consoles of pages said, and requests to others; a test ends with none unless it caused them."""
    return []


@pytest.fixture
def browse(context: BrowserContext, base: str, complaints: list[str]) -> Callable[..., Awaitable[Page]]:
    """Opens a page of the server, in the test's window or in one of its own, and hears its complaints."""

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{message.text} ({message.location.get('url')})")

    def see(request: Request) -> None:
        if not request.url.startswith((f"{base}/", "blob:", "data:")):
            complaints.append(f"asked {request.url}")

    async def open_page(path: str, window: BrowserContext = context) -> Page:
        page = await window.new_page()
        page.on("console", hear)
        page.on("request", see)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(f"{base}{path}")
        return page

    return open_page


@pytest.fixture
def room() -> str:
    """A room of its own for each test."""
    return f"room-{secrets.token_hex(4)}"


@pytest.fixture
def peer(context: BrowserContext, base: str, room: str) -> Callable[[], Awaitable[Peer]]:
    """Opens peers in the test's room."""

    async def open_peer() -> Peer:
        return await Peer.open(await context.new_page(), base, room)

    return open_peer


##### LiveKit's clients


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def served() -> AsyncIterator[Served]:
    """A server for LiveKit's clients."""
    async with serve() as served:
        yield served


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pages() -> AsyncIterator[str]:
    """From where pages take LiveKit's clients."""
    async with serve_pages() as url:
        yield url


@pytest.fixture
def host(served: Served) -> Host:
    """The host of our server; tests that look into it are not for LiveKit's (see `conformance`)."""
    assert served.host is not None
    return served.host


@pytest_asyncio.fixture(loop_scope="session")
async def server(served: Served) -> AsyncIterator[api.LiveKitAPI]:
    """The calls of an application's backend."""
    async with api.LiveKitAPI(served.url, KEY, SECRET) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def join(
    request: pytest.FixtureRequest, served: Served, pages: str, context: BrowserContext, room: str
) -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """Lets clients of one kind into the test's room: ``await join("ada", can_publish=False)``; all leave at the end.

    ``options`` are the client's, ``sdk`` makes it one of another kind, ``access`` is a token that is not as usual.
    """
    clients: list[Client] = []
    url, host = served.url, served.host

    async def join(
        identity: str, *, access: str | None = None, sdk: str = "", options: dict[str, Any] | None = None, **grants: Any
    ) -> Client:
        client = await open_client(sdk or request.param, pages, context, **(options or {}))
        client.identity = identity
        clients.append(client)
        await client.join(url.replace("http", "ws"), access or token(room, identity, **grants))
        return client

    yield join
    await asyncio.gather(*(client.leave() for client in clients))

    async def are_gone() -> bool:
        return host is None or not any(session.room.name == room for session in host.sessions.values())

    await until("all sessions have ended", are_gone)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def trio(request: pytest.FixtureRequest, served: Served, pages: str, browser: Browser) -> AsyncIterator[Trio]:
    """Three clients of one kind, and one that sleeps, who stay in a room for all tests with them.

    These leave them as they found them.
    """
    context = await browser.new_context()
    room = f"room-of-{request.param}"
    clients = [await open_client(request.param, pages, context) for _ in range(4)]
    url = served.url.replace("http", "ws")
    for client, identity in zip(clients, ("ada", "bob", "carol", "sleeper"), strict=True):
        client.identity = identity
    try:
        await asyncio.gather(*(client.join(url, token(room, client.identity)) for client in clients))
        for client in clients:
            await client.sees("everybody", lambda s: len(s["others"]) == 3)
        # It takes seconds until this comes to nothing, and meanwhile the Go SDK hears nothing else.
        asleep = asyncio.create_task(clients[0].call("sleeper", "sleep", timeout_ms=8000))
        yield Trio(*clients[:3], room=room, asleep=asleep)
        asleep.cancel()
    finally:
        await asyncio.gather(*(client.leave() for client in clients))
        await context.close()
