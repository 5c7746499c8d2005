"""One trace: a camera and a voice on a clean link, and somebody behind the relay who looks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from bench.local import CHROMIUM, hosting
from bench.quality.priority import go_first
from bench.quality.proxy import proxy
from bench.quality.relay import Relay, relay
from livekit import api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bench.quality.servers import Served
    from playwright.async_api import Browser, Page

__all__ = ["BITRATE", "WARM_UP_S", "Run", "browsers", "measure", "open_page", "pages", "token"]

HERE = Path(__file__).parent
CLIENT = HERE.parents[1] / "python" / "rtpcore" / "page" / "vendor" / "livekit-client.js"
FLAGS = [
    *CHROMIUM,
    # A picture that moves, as often as cameras do.
    "--use-fake-device-for-media-stream=fps=30",
    # A page that nobody looks at would be slowed down.
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
]
BITRATE = 1_200_000
"""Of the largest layer, in bits per second."""

WARM_UP_S = 8.0
"""Until a publisher's encoder has found its rate, on a clean link."""


@dataclass
class Run:
    """What one run gave."""

    trace: str
    viewer: dict[str, Any]
    """See page.js, or sdk.py."""

    link: dict[str, Any]
    """What the relay counted."""

    layers: list[dict[str, Any]]
    """What the publisher sent meanwhile, by layer."""

    busy: float
    """Share of this machine's processors that was used: near 1 the figures are the machine's."""

    metrics: dict[str, float] = field(default_factory=dict)
    """The server's counters at the end."""


def token(served: Served, room: str, identity: str) -> str:
    """An access token."""
    access = api.AccessToken(served.key, served.secret).with_identity(identity).with_ttl(timedelta(hours=1))
    return access.with_grants(api.VideoGrants(room_join=True, room=room)).to_jwt()


@contextlib.asynccontextmanager
async def browsers() -> AsyncIterator[tuple[Browser, Browser]]:
    """Two Chromiums, for who sends and for who looks."""
    from playwright.async_api import async_playwright

    path = shutil.which("chromium")
    if path is None:
        raise SystemExit("This needs Chromium: apt-get install chromium.")
    async with async_playwright() as playwright:
        both = [await playwright.chromium.launch(executable_path=path, args=FLAGS) for _ in range(2)]
        try:
            yield both[0], both[1]
        finally:
            for one in both:
                await one.close()


@contextlib.asynccontextmanager
async def pages() -> AsyncIterator[str]:
    """From where pages take the client."""

    async def empty(_: web.Request) -> web.Response:
        html = "<!doctype html><title>quality</title><style>video{width:1280px;height:720px}</style>"
        return web.Response(text=html, content_type="text/html")

    async def client(_: web.Request) -> web.FileResponse:
        return web.FileResponse(CLIENT)

    app = web.Application()
    app.add_routes([web.get("/", empty), web.get("/client.js", client)])
    async with hosting(app) as url:
        yield f"{url}/"


async def open_page(browser: Browser, origin: str) -> Page:
    """A new page that can be `publisher` or `viewer` of page.js."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    await page.goto(origin)
    await page.add_script_tag(url="/client.js")
    await page.evaluate((HERE / "page.js").read_text(encoding="utf-8"))
    return page


async def measure(
    served: Served,
    both: tuple[Browser, Browser],
    binary: Path,
    trace: Path,
    seconds: float,
    *,
    sdk: bool = False,
    restless: bool = False,
) -> Run:
    """Run one trace.

    Args:
        served: The server.
        both: Of `browsers`.
        binary: The relay.
        trace: A file of bench/traces.
        seconds: From the viewer's joining on.
        sdk: Whether the viewer is LiveKit's SDK from PyPI, not Chromium.
        restless: Whether the publisher mutes and publishes anew meanwhile.
    """
    room = f"{trace.stem}-{time.time_ns()}"
    async with contextlib.AsyncExitStack() as stack:
        origin = await stack.enter_async_context(pages())
        link = await stack.enter_async_context(relay(binary, trace))
        through = await stack.enter_async_context(proxy(served.url, link.port_for))
        sender = await open_page(both[0], origin)
        stack.push_async_callback(sender.context.close)
        url = served.url.replace("http", "ws", 1)
        join = {"url": url, "token": token(served, room, "publisher"), "bitrate": BITRATE}
        go_first()
        await sender.evaluate("argument => publisher.join(argument)", join)
        await asyncio.sleep(WARM_UP_S)

        before, busy, began = await sender.evaluate("publisher.layers()"), _busy_s(), time.monotonic()
        look = _sdk if sdk else _chromium
        stirring = sender.evaluate("publisher.stir()") if restless else asyncio.sleep(0)
        access = token(served, room, "viewer")
        viewer, _ = await asyncio.gather(look(both[1], origin, through, access, link, seconds), stirring)
        took = time.monotonic() - began
        busy = (_busy_s() - busy) / took / (os.cpu_count() or 1)
        after = await sender.evaluate("publisher.layers()")
        counted = await link.end()
        metrics = await _metrics(served)
    return Run(trace.stem, viewer, counted, _difference(before, after, took), busy, metrics)


async def _chromium(
    browser: Browser, origin: str, url: str, access: str, link: Relay, seconds: float
) -> dict[str, Any]:
    page = await open_page(browser, origin)
    go_first()
    link.start()
    ends_at = time.monotonic() + seconds
    # On a link that loses most it takes a while, and that is a result too.
    join = {"url": url.replace("http", "ws", 1), "token": access, "single": True}
    joining = asyncio.create_task(page.evaluate("argument => viewer.join(argument)", join))
    await asyncio.sleep(ends_at - time.monotonic())
    joining.cancel()
    seen: dict[str, Any] = await page.evaluate("viewer.end()")
    await page.context.close()
    return seen


async def _sdk(_: Browser, __: str, url: str, access: str, link: Relay, seconds: float) -> dict[str, Any]:
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "bench.quality.sdk", url.replace("http", "ws", 1), str(seconds)]
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 26)
    go_first()
    link.start()
    try:
        out = await asyncio.wait_for(process.communicate(access.encode() + b"\n"), seconds + 30)
    finally:
        if process.returncode is None:
            process.kill()
    # The SDK may log before.
    seen: dict[str, Any] = json.loads(out[0].splitlines()[-1])
    return seen


def _difference(before: list[dict[str, Any]], after: list[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """What was sent between two looks at a publisher's layers."""
    then = {one["rid"]: one for one in before}
    layers = []
    for one in after:
        was = then.get(one["rid"], {})
        more = {name: one[name] - was.get(name, 0) for name in ("frames", "key_frames", "bytes", "nacks", "plis")}
        rates = {"fps": more["frames"] / seconds, "kbps": more["bytes"] * 8 / seconds / 1000}
        layers.append({**one, **more, **rates})
    return layers


def _busy_s() -> float:
    """Seconds that all processors together have worked."""
    fields = [int(text) for text in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


async def _metrics(served: Served) -> dict[str, float]:
    """The counters of a server, by name with labels."""
    if not served.metrics:
        return {}
    async with aiohttp.ClientSession() as client, client.get(served.metrics) as response:
        lines = (await response.text()).splitlines()
    told = [line.rpartition(" ") for line in lines if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in told}
