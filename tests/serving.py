"""The ways in which a server is mounted, behind one face: what holds for one of them holds for all."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import uvicorn
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer
from fastapi import FastAPI
from wsproto.connection import ConnectionState
from yarl import URL

from rtpcore.http import asgi
from rtpcore.http.request import MAX_REQUEST_LINE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rtpcore import Server

__all__ = ["WAYS", "mount", "uvicorn_of"]

WAYS = ("aiohttp", "aiohttp under a prefix", "uvicorn", "fastapi under a prefix")

PREFIX = "/live"


def mount(server: Server, way: str) -> BaseTestServer:
    """A server for aiohttp's `TestClient`, which runs ``server`` while it runs."""
    if way == "aiohttp":
        return TestServer(server.aiohttp_app())
    if way == "aiohttp under a prefix":
        parent = web.Application()
        parent.add_subapp(PREFIX, server.aiohttp_app())
        return _Prefixed(parent)
    if way == "uvicorn":
        return _Uvicorn(asgi.app(server), "", "websockets-sansio")

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with server:
            yield

    app = FastAPI(lifespan=lifespan)
    app.mount(PREFIX, asgi.app(server))
    return _Uvicorn(app, PREFIX, "wsproto")


@asynccontextmanager
async def uvicorn_of(app: Any, ws: Literal["websockets-sansio", "wsproto"] = "websockets-sansio") -> AsyncIterator[int]:
    """An ASGI application under uvicorn, on this loop; its port."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        log_level="error",
        lifespan="on",
        ws=ws,
        ws_max_size=4 << 20,
        h11_max_incomplete_event_size=MAX_REQUEST_LINE,
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    assert not server.should_exit, "the application did not start"
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        # uvicorn (0.40) fails where it stops between a client's goodbye by wsproto and the end of that connection.
        while any(map(_is_over, server.server_state.connections)):  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0.01)
        await server.shutdown()


def _is_over(connection: Any) -> bool:
    return getattr(getattr(connection, "conn", None), "state", None) is ConnectionState.CLOSED


def _under(prefix: str, root: URL, path: Any) -> URL:
    # What a server answers with has the prefix already.
    path = str(path)
    return root.join(URL(path if path.startswith(f"{prefix}/") else prefix + path))


class _Prefixed(TestServer):
    def make_url(self, path: Any) -> URL:
        assert self._root is not None
        return _under(PREFIX, self._root, path)


class _Uvicorn(BaseTestServer):
    def __init__(self, app: Any, prefix: str, ws: Literal["websockets-sansio", "wsproto"]) -> None:
        super().__init__()
        self._running = uvicorn_of(app, ws)
        self._prefix = prefix

    async def start_server(self, loop: Any = None, **kwargs: Any) -> None:
        self._root = URL(f"http://127.0.0.1:{await self._running.__aenter__()}")

    def make_url(self, path: Any) -> URL:
        assert self._root is not None
        return _under(self._prefix, self._root, path)

    async def _make_runner(self, **kwargs: Any) -> Any:
        raise NotImplementedError("uvicorn runs by itself: start_server above takes this one's place")

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._running.__aexit__(None, None, None)
