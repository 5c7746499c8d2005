"""The websocket that LiveKit's clients speak on, and the answer to why it did not open.

::

    GET /rtc              a client with two peer connections, or with one if it sends join_request
    GET /rtc/v1           a client with one
    GET …/validate        the same checks without a session: 200, or the status and text that joining would give

Whether a client may join is settled before the upgrade, so that it learns an HTTP status; the first message is in the
outbox by then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from rtpcore.errors import JoinError, ProtocolError, TokenError
from rtpcore.session import begin_anew
from rtpcore.wire import join, signal
from rtpcore.wire.messages import DisconnectReason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from rtpcore.host import Host
    from rtpcore.session import Session
    from rtpcore.wire.join import JoinParameters
    from rtpcore.wire.token import Claims

    Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

__all__ = ["HOST", "ROOT", "claims_of", "cors", "routes"]

logger = logging.getLogger("rtpcore.http.rtc")

HOST: web.AppKey[Host] = web.AppKey("rtpcore.host")
"""Where an application keeps its host."""

ROOT = "/{slash:/?}"
"""Clients join a URL that ends in a slash and a path that begins with one."""

_PING_INTERVAL = 10.0
"""Seconds between websocket pings: proxies close what is silent for a minute, some for less."""
_CLOSE_PATIENCE = 5.0
"""Seconds that a client has to take the last message."""


def routes() -> list[web.RouteDef]:
    """The routes of this module."""
    return [
        web.get(f"{ROOT}rtc", _rtc),
        web.get(f"{ROOT}rtc/v1", _rtc),
        web.get(f"{ROOT}rtc/validate", _validate),
        web.get(f"{ROOT}rtc/v1/validate", _validate),
    ]


@web.middleware
async def cors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let pages of every origin call (Fetch §3.2): who may is told by tokens, not by where a page comes from."""
    origin = request.headers.get("Origin")
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        response: web.StreamResponse = web.Response(status=204)
    else:
        response = await handler(request)
    if origin is not None and not response.prepared:
        response.headers.setdefault("Access-Control-Allow-Origin", origin)
        response.headers.setdefault("Access-Control-Expose-Headers", "*")
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = "OPTIONS, HEAD, GET, POST, PATCH, DELETE"
            response.headers["Access-Control-Allow-Headers"] = request.headers.get(
                "Access-Control-Request-Headers", "*"
            )
            response.headers["Access-Control-Max-Age"] = "86400"
    return response


def claims_of(request: web.Request) -> Claims:
    """What the request's token says. Raises JoinError with 401."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme and scheme.lower() != "bearer":
        raise JoinError(401, "use Authorization: Bearer")
    token = token or request.query.get("access_token", "")
    if not token:
        raise JoinError(401, "permissions denied")
    try:
        return request.app[HOST].keyring.verify(token, time.time())
    except TokenError as error:
        raise JoinError(401, error.reason) from error


def _parameters(request: web.Request) -> JoinParameters:
    try:
        return join.parse(request.query, is_v1="/rtc/v1" in request.path)
    except ProtocolError as error:
        raise JoinError(400, str(error)) from error


async def _validate(request: web.Request) -> web.Response:
    origin = {"Access-Control-Allow-Origin": "*"}
    try:
        request.app[HOST].check_join(claims_of(request), _parameters(request))
    except JoinError as error:
        return web.Response(status=error.status, text=error.reason, headers=origin)
    return web.Response(text="success", headers=origin)


async def _rtc(request: web.Request) -> web.StreamResponse:
    host = request.app[HOST]
    longest = host.settings.limit.signal_message_size_limit
    socket = web.WebSocketResponse(max_msg_size=longest, timeout=_CLOSE_PATIENCE)
    if not socket.can_prepare(request).ok:
        return web.Response(status=404)
    try:
        claims, parameters = claims_of(request), _parameters(request)
        session = host.resume(claims, parameters) if parameters.reconnect else host.join(claims, parameters)
        if parameters.reconnect and session is not None and session.drops_next_resume:
            session.drops_next_resume = False
            host.detach(session)
            return web.Response(status=503)
    except JoinError as error:
        return web.Response(status=error.status, text=error.reason)
    if session is None:
        # Not a failure of HTTP: the client would try the same again. It is to begin anew.
        await socket.prepare(request)
        await socket.send_bytes(begin_anew(DisconnectReason.STATE_MISMATCH).SerializeToString())
        await socket.close()
        return socket
    return await _Socket(host, session, socket).run(request)


class _Socket:
    """One websocket of a session; a session that resumes gets another one."""

    def __init__(self, host: Host, session: Session, socket: web.WebSocketResponse) -> None:
        self._host = host
        self._session = session
        self._socket = socket
        self._is_text = False
        self._waiting = asyncio.Event()
        session.wake = self._waiting.set

    @property
    def _is_current(self) -> bool:
        return self._session.wake == self._waiting.set

    async def run(self, request: web.Request) -> web.WebSocketResponse:
        """Carry messages both ways until either end has enough."""
        tasks = []
        try:
            await self._socket.prepare(request)
            tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._ping())]
            await self._read()
        finally:
            if self._is_current:
                self._host.detach(self._session)
            self._waiting.set()
            for task in tasks[1:]:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=_CLOSE_PATIENCE)
            for task in tasks:
                task.cancel()
        return self._socket

    async def _read(self) -> None:
        async for message in self._socket:
            if not self._is_current:
                return
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            self._is_text = message.type == WSMsgType.TEXT
            try:
                request = signal.decode(message.data)
            except ProtocolError as error:
                logger.info("a message of participant %s is not read: %s", self._session.participant.sid, error)
                continue
            self._host.handle(self._session, request)

    async def _write(self) -> None:
        outbox = self._session.outbox
        while not self._socket.closed:
            # The session may go over to another socket while a frame is written: what waits then belongs to that one.
            while outbox and self._is_current:
                frame = signal.encode(outbox.popleft(), as_text=self._is_text)
                if isinstance(frame, str):
                    await self._socket.send_str(frame)
                else:
                    await self._socket.send_bytes(frame)
            if self._session.is_over or not self._is_current:
                await self._socket.close()
                return
            self._waiting.clear()
            await self._waiting.wait()

    async def _ping(self) -> None:
        while not self._socket.closed:
            await asyncio.sleep(_PING_INTERVAL)
            await self._socket.ping()
