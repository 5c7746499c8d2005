"""Servers for LiveKit's clients: ours in this process, or LiveKit's own as the oracle of what is right."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web
from bench.local import free_ports, hosting
from tests.e2e.browser_client import PACKAGES
from tests.e2e.clients import KEY, SECRET
from tests.e2e.peers import until

from rtpcore.config import Config, Listen
from rtpcore.livekit_config import load
from rtpcore.serve import SERVER, application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rtpcore.host import Host

__all__ = ["ORACLE", "Served", "serve", "serve_pages"]

ORACLE = os.environ.get("ORACLE", "")
"""The path of LiveKit's server, where the clients are to be tried with that instead."""


@dataclass(frozen=True)
class Served:
    """A server, and its host to look into where it is ours."""

    url: str
    host: Host | None = None


@contextlib.asynccontextmanager
async def serve() -> AsyncIterator[Served]:
    """The server that the clients are tried with."""
    async with _oracle() if ORACLE else _ours() as served:
        yield served


@contextlib.asynccontextmanager
async def _ours() -> AsyncIterator[Served]:
    listen = Listen(addresses=("127.0.0.1",), udp_port=0, tcp_port=0)
    app = application(Config(listen=listen, workers=2), load(environ={}, overrides={"keys": f"{KEY}: {SECRET}"}))
    # As `serve` has it: clients put their first description into the request's first line.
    async with hosting(app, max_line_size=1 << 20, max_field_size=1 << 20) as url:
        yield Served(url, app[SERVER].host)


@contextlib.asynccontextmanager
async def _oracle() -> AsyncIterator[Served]:
    port, udp_port, tcp_port = free_ports(3)
    settings = {
        "port": port,
        "bind_addresses": ["127.0.0.1"],
        "rtc": {
            "udp_port": udp_port,
            "tcp_port": tcp_port,
            "node_ip": "127.0.0.1",
            "use_external_ip": False,
            "enable_loopback_candidate": True,
        },
        "keys": {KEY: SECRET},
        "logging": {"level": "error"},
    }
    process = await asyncio.create_subprocess_exec(ORACLE, "--dev", "--config-body", json.dumps(settings))
    url = f"http://127.0.0.1:{port}"

    async def answers() -> bool:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with aiohttp.ClientSession() as client, client.get(url) as response:
                return response.status == 200
        return False

    try:
        await until("LiveKit's server answers", answers)
        yield Served(url)
    finally:
        process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def serve_pages() -> AsyncIterator[str]:
    """The URL of an empty page, and of the clients of npm that it may take."""

    async def empty(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>a client</title>", content_type="text/html")

    async def script(request: web.Request) -> web.FileResponse:
        return web.FileResponse(PACKAGES / request.match_info["package"] / "dist" / request.match_info["name"])

    app = web.Application()
    app.add_routes([web.get("/empty", empty), web.get("/clients/{package}/{name}", script)])
    async with hosting(app) as url:
        yield url
