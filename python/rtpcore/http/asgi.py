"""Routes as an ASGI application (https://asgi.readthedocs.io), alone or mounted in FastAPI, Starlette and others.

What differs from aiohttp is what ASGI leaves to the server in front:

- A client that may not come in gets its status where the server has the extension ``websocket.http.response`` (uvicorn,
  hypercorn); elsewhere a bare 403, and the reason from ``/rtc/validate``, which clients ask next.
- Websocket pings are the server's: uvicorn sends one each 20 seconds unless ``ws_ping_interval`` says otherwise.
  LiveKit's clients ask for a pong every five seconds anyway, so that no proxy finds the connection idle.
- How long a websocket message may be is ours to say (`limit.signal_message_size_limit`), but the server buffers it: set
  its own limit to the same.
- A server that stops closes websockets before it says so here: call `rtpcore.Server.close` before it, where the clients
  are to hear a goodbye.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from rtpcore.errors import JoinError, RtpcoreError
from rtpcore.http.request import Request, Response, respond, with_preflight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping
    from typing import TypeAlias

    from rtpcore.http.request import Handler, Mountable

    Scope: TypeAlias = MutableMapping[str, Any]
    Message: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]

__all__ = ["app"]

_TOO_BIG = 1009
"""The code of a close for a message that is too long (RFC 6455 §7.4.1)."""


def app(server: Mountable) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An ASGI application for everything that LiveKit's clients ask a server.

    By itself (``uvicorn module:app``) it runs ``server`` while it runs. Mounted in another application it cannot know
    when that starts: enter ``server`` in the lifespan of that, as in ``examples/fastapi_livekit.py``. Until then every
    request gets 503.
    """
    return _Application(server)


class _Application:
    def __init__(self, server: Mountable) -> None:
        self._server = server
        self._routes = [
            (route, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route.pattern)))
            for route in with_preflight(server.routes)
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "websocket":
                await self._websocket(scope, receive, send)
            case "lifespan":
                await self._lifespan(receive, send)
            case kind:
                raise ValueError(f"an ASGI scope of type {kind!r} is not known")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        is_ours = not self._server.is_running
        if is_ours:
            try:
                await self._server.__aenter__()
            except (RtpcoreError, OSError) as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if is_ours:
            await self._server.__aexit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def read(most: int) -> bytes:
            return await _read(receive, most)

        answer = await self._answer(scope, scope["method"], read)
        if isinstance(answer, Response):
            await _send(answer, send, "http.response", is_head=scope["method"] == "HEAD")

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        answer = await self._answer(scope, "GET", _no_body)
        if not isinstance(answer, Response):
            await answer.serve(_Socket(receive, send, answer.max_message))
        elif "websocket.http.response" in (scope.get("extensions") or {}):
            await _send(answer, send, "websocket.http.response")
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": ""})

    async def _answer(self, scope: Scope, method: str, body: Callable[[int], Awaitable[bytes]]) -> Any:
        path, prefix = _split(scope)
        handler, parameters = self._find(method, path)
        query: dict[str, str] = {}
        for name, value in parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True):
            query.setdefault(name, value)
        request = Request(
            method=method,
            path=path,
            prefix=prefix,
            query=query,
            headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
            parameters=parameters,
            is_websocket=scope["type"] == "websocket",
            body=body,
            max_body=self._server.max_body,
        )
        return await respond(handler, request)

    def _find(self, method: str, path: str) -> tuple[Handler, Mapping[str, str]]:
        if not self._server.is_running:
            return _not_running, {}
        allowed: list[str] = []
        for route, pattern in self._routes:
            found = pattern.fullmatch(path)
            if found is not None and (route.method in (method, "*") or (method == "HEAD" and route.method == "GET")):
                return route.handler, found.groupdict()
            if found is not None:
                allowed.append(route.method)
        return (_not_allowed(allowed) if allowed else _not_found), {}


def _split(scope: Scope) -> tuple[str, str]:
    """The path below the mount, and the mount; a path with the mount in it and one without are both in use.

    >>> _split({"path": "/live//rtc", "root_path": "/live"}), _split({"path": "/rtc", "root_path": "/live/"})
    (('/rtc', '/live'), ('/rtc', '/live'))
    """
    path, prefix = scope["path"], scope.get("root_path", "").rstrip("/")
    if prefix and (path == prefix or path.startswith(prefix + "/")):
        path = path[len(prefix) :]
    # Clients join a URL that ends in a slash and a path that begins with one.
    return "/" + path.removeprefix("/").removeprefix("/"), prefix


async def _not_running(_request: Request) -> Response:
    return Response.of_text("the server does not run: enter it in the lifespan of the application", 503)


async def _not_found(_request: Request) -> Response:
    return Response.of_text("not found", 404)


def _not_allowed(methods: list[str]) -> Handler:
    async def answer(_request: Request) -> Response:
        return Response.of_text("method not allowed", 405, Allow=", ".join(methods))

    return answer


async def _no_body(_most: int) -> bytes:
    return b""


async def _read(receive: Receive, most: int) -> bytes:
    chunks: list[bytes] = []
    size, is_more = 0, True
    while is_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise JoinError(400, "the request is not complete")
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise JoinError(413, f"a body has at most {most} bytes")
        chunks.append(chunk)
        is_more = message.get("more_body", False)
    return b"".join(chunks)


async def _send(response: Response, send: Send, kind: str, *, is_head: bool = False) -> None:
    fields = {"Content-Length": str(len(response.body)), **response.headers}
    if response.body:
        fields["Content-Type"] = response.content_type
    elif response.status == 204:
        del fields["Content-Length"]  # RFC 9110 §8.6
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
    await send({"type": f"{kind}.start", "status": response.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": b"" if is_head else response.body})


class _Socket:
    """A websocket of an ASGI server as handlers see it."""

    def __init__(self, receive: Receive, send: Send, max_message: int) -> None:
        self._receive = receive
        self._send = send
        self._max_message = max_message
        self._is_over = False

    async def accept(self) -> None:
        await self._send({"type": "websocket.accept"})

    async def receive(self) -> bytes | str | None:
        message = await self._receive()
        if message["type"] == "websocket.receive":
            data: bytes | str | None = message.get("bytes")
            data = message.get("text") if data is None else data
            if data is not None and len(data) <= self._max_message:
                return data
            await self._close(_TOO_BIG)
        self._is_over = True
        return None

    async def send(self, message: bytes | str) -> None:
        if not self._is_over:
            kind = "text" if isinstance(message, str) else "bytes"
            await self._do({"type": "websocket.send", kind: message})

    async def close(self) -> None:
        await self._close(1000)

    def abort(self) -> None:
        # ASGI has no word for it; a server closes the connection when we return.
        self._is_over = True

    async def _close(self, code: int) -> None:
        if not self._is_over:
            self._is_over = True
            await self._do({"type": "websocket.close", "code": code, "reason": ""})

    async def _do(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:
            # The client is gone (ASGI 2.4); the reader is told.
            self._is_over = True
