"""A server in this process, one Chromium for all tests, and pages in it."""

from __future__ import annotations

import secrets
import shutil
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from aiohttp import web
from livekit import api
from playwright.async_api import async_playwright
from tests.e2e.clients import KEY, PACKAGES, SECRET, Client, open_client, token
from tests.e2e.conformance import pytest_generate_tests, pytest_runtest_makereport, pytest_sessionfinish
from tests.e2e.peers import Peer, until

from rtpcore.config import Config, Listen
from rtpcore.livekit_config import load
from rtpcore.serve import SERVER, application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import Any

    from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request

    from rtpcore.host import Host

collect_ignore = ["gstreamer_peer.py"]  # runs under another Python

__all__ = ["pytest_generate_tests", "pytest_runtest_makereport", "pytest_sessionfinish"]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    # A picture that moves and a beep every second, and nobody who must be asked.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def base() -> AsyncIterator[str]:
    """The URL of a server: two workers, so that packets cross between them."""
    listen = Listen(addresses=("127.0.0.1",), udp_port=0, tcp_port=0)
    runner = web.AppRunner(application(Config(listen=listen, workers=2)), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


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
async def livekit() -> AsyncIterator[tuple[str, Host]]:
    """A server for LiveKit's clients, with its host to look into; it hands out the clients of npm, too."""

    async def script(request: web.Request) -> web.FileResponse:
        return web.FileResponse(PACKAGES / request.match_info["name"] / "dist" / "livekit-client.umd.js")

    listen = Listen(addresses=("127.0.0.1",), udp_port=0, tcp_port=0)
    app = application(Config(listen=listen, workers=2), load(environ={}, overrides={"keys": f"{KEY}: {SECRET}"}))
    app.add_routes([web.get("/clients/{name}.js", script)])
    # As `serve` has it: clients put their first description into the request's first line.
    runner = web.AppRunner(app, access_log=None, max_line_size=1 << 20, max_field_size=1 << 20)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}", app[SERVER].host
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def server(livekit: tuple[str, Host]) -> AsyncIterator[api.LiveKitAPI]:
    """The calls of an application's backend."""
    async with api.LiveKitAPI(livekit[0], KEY, SECRET) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def join(
    request: pytest.FixtureRequest, livekit: tuple[str, Host], context: BrowserContext, room: str
) -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """Lets clients of one kind into the test's room: ``await join("ada", can_publish=False)``; all leave at the end."""
    base, host = livekit
    clients: list[Client] = []

    async def join(identity: str, *, access: str | None = None, **grants: Any) -> Client:
        client = await open_client(request.param, base, context)
        client.identity = identity
        clients.append(client)
        await client.join(base.replace("http", "ws"), access or token(room, identity, **grants))
        return client

    yield join
    for client in clients:
        await client.leave()

    async def are_gone() -> bool:
        return not host.sessions

    await until("all sessions have ended", are_gone)
