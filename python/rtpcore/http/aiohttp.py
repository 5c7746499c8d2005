"""Routes in an aiohttp application."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING
from urllib.parse import unquote

from aiohttp import WSMsgType, web

from rtpcore.errors import JoinError
from rtpcore.http.request import Request, Response, respond, with_preflight

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from rtpcore.http.request import Handler, Mountable, Route

__all__ = ["application", "routes", "run_with"]

_PING_INTERVAL = 10.0
"""Seconds between websocket pings: proxies close what is silent for a minute, some for less."""
_CLOSE_PATIENCE = 5.0
"""Seconds that a client has to answer a goodbye."""


def routes(these: Iterable[Route], *, max_body: int = 1 << 20) -> list[web.RouteDef]:
    """Routes for `aiohttp.web.Application.add_routes`, in an application at the root or under a prefix.

    Args:
        these: What they lead to.
        max_body: Bytes of a request's body, whatever ``client_max_size`` of the application is.
    """
    made: list[web.RouteDef] = []
    for route in with_preflight(these):
        # Clients join a URL that ends in a slash and a path that begins with one.
        path = "/{slash:/?}" + route.pattern.removeprefix("/")
        kwargs = {"allow_head": True} if route.method == "GET" else {}
        made.append(web.RouteDef(route.method, path, _adapt(route, max_body), kwargs))
    return made


def application() -> web.Application:
    """An application without anything in it."""
    return web.Application()


def run_with(app: web.Application, server: Mountable) -> None:
    """Run ``server`` while ``app`` runs, unless it runs already; it says goodbye before open sockets are closed."""
    is_ours = False

    async def run(_app: web.Application) -> AsyncIterator[None]:
        nonlocal is_ours
        is_ours = not server.is_running
        if not is_ours:
            yield
            return
        async with server:
            yield

    async def say_goodbye(_app: web.Application) -> None:
        if is_ours:
            server.close()

    app.cleanup_ctx.append(run)
    app.on_shutdown.append(say_goodbye)


def _adapt(route: Route, max_body: int) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    handler: Handler = route.handler
    depth = route.pattern.count("/")

    async def answer(incoming: web.Request) -> web.StreamResponse:
        # Nobody says where the application is mounted: it is what stands before the parts of the pattern.
        prefix, *parts = incoming.rel_url.raw_path.rsplit("/", depth)
        request = Request(
            method=incoming.method,
            path=unquote("/" + "/".join(parts)),
            prefix=prefix.rstrip("/"),
            query=incoming.query,
            headers=incoming.headers,
            parameters=incoming.match_info,
            is_websocket="upgrade" in incoming.headers and web.WebSocketResponse().can_prepare(incoming).ok,
            body=lambda most: _read(incoming, most),
            max_body=max_body,
        )
        answered = await respond(handler, request)
        if isinstance(answered, Response):
            kind = {"Content-Type": answered.content_type} if answered.body else {}
            return web.Response(status=answered.status, body=answered.body, headers={**answered.headers, **kind})
        socket = web.WebSocketResponse(max_msg_size=answered.max_message, timeout=_CLOSE_PATIENCE)
        await answered.serve(_Socket(incoming, socket))
        return socket

    return answer


async def _read(request: web.Request, most: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    if request.can_read_body:
        async for chunk in request.content.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > most:
                break
    else:
        # There is none, or somebody in front of us has read it.
        chunks.append(await request.read())
        size = len(chunks[0])
    if size > most:
        raise JoinError(413, f"a body has at most {most} bytes")
    return b"".join(chunks)


class _Socket:
    """aiohttp's websocket as handlers see it; it pings as long as it is open."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self._request = request
        self._socket = socket
        self._pinging: asyncio.Task[None] | None = None

    async def accept(self) -> None:
        await self._socket.prepare(self._request)
        self._pinging = asyncio.create_task(self._ping())

    async def receive(self) -> bytes | str | None:
        message = await self._socket.receive()
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            data: bytes | str = message.data
            return data
        self._stop()
        return None

    async def send(self, message: bytes | str) -> None:
        if self._socket.closed:
            return
        # The connection may be lost while we write; the reader is told.
        with contextlib.suppress(ConnectionError):
            if isinstance(message, str):
                await self._socket.send_str(message)
            else:
                await self._socket.send_bytes(message)

    async def close(self) -> None:
        self._stop()
        await self._socket.close()

    def abort(self) -> None:
        self._stop()
        if self._request.transport is not None:
            self._request.transport.abort()

    def _stop(self) -> None:
        if self._pinging is not None:
            self._pinging.cancel()

    async def _ping(self) -> None:
        with contextlib.suppress(ConnectionError):
            while not self._socket.closed:
                await asyncio.sleep(_PING_INTERVAL)
                await self._socket.ping()
