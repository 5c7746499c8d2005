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

from rtpcore.errors import JoinError, ProtocolError, TokenError
from rtpcore.http.request import Response, Route, Upgrade
from rtpcore.session import begin_anew
from rtpcore.wire import join, signal
from rtpcore.wire.messages import DisconnectReason

if TYPE_CHECKING:
    from rtpcore.host import Host
    from rtpcore.http.request import Request, WebSocket
    from rtpcore.session import Session
    from rtpcore.wire.join import JoinParameters
    from rtpcore.wire.messages import SignalRequest
    from rtpcore.wire.token import Claims

__all__ = ["claims_of", "routes"]

logger = logging.getLogger("rtpcore.http.rtc")

_CLOSE_PATIENCE = 5.0
"""Seconds that a client has to take the last message."""

_END_PATIENCE = 10.0
"""Seconds after the end of a session until its socket is let go of, whether or not the client has read all."""


def routes(host: Host) -> list[Route]:
    """The routes of this module."""

    async def validate(request: Request) -> Response:
        return await _validate(host, request)

    async def rtc(request: Request) -> Response | Upgrade:
        return await _rtc(host, request)

    return [
        Route("GET", "/rtc", rtc),
        Route("GET", "/rtc/v1", rtc),
        Route("GET", "/rtc/validate", validate),
        Route("GET", "/rtc/v1/validate", validate),
    ]


def claims_of(host: Host, request: Request) -> Claims:
    """What the request's token says. Raises JoinError with 401."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme and scheme.lower() != "bearer":
        raise JoinError(401, "use Authorization: Bearer")
    token = token or request.query.get("access_token", "")
    if not token:
        raise JoinError(401, "permissions denied")
    try:
        return host.keyring.verify(token, time.time())
    except TokenError as error:
        raise JoinError(401, error.reason) from error


def _parameters(request: Request) -> JoinParameters:
    try:
        return join.parse(request.query, is_v1=request.path.startswith("/rtc/v1"))
    except ProtocolError as error:
        raise JoinError(400, str(error)) from error


async def _validate(host: Host, request: Request) -> Response:
    try:
        await host.admit(claims_of(host, request), _parameters(request))
    except JoinError as error:
        return Response.of_text(error.reason, error.status, Access_Control_Allow_Origin="*")
    return Response.of_text("success", Access_Control_Allow_Origin="*")


async def _rtc(host: Host, request: Request) -> Response | Upgrade:
    if not request.is_websocket:
        return Response(404)
    longest = host.settings.limit.signal_message_size_limit
    claims, parameters = claims_of(host, request), _parameters(request)
    if parameters.reconnect:
        session = host.resume(claims, parameters)
    else:
        admission = await host.admit(claims, parameters)
        session = host.join(admission.claims, admission.parameters, refused=admission.refused)
    if session is None:
        return Upgrade(_begin_anew, longest)
    if parameters.reconnect and session.drops_next_resume:
        session.drops_next_resume = False
        host.detach(session)
        return Response(503)
    return Upgrade(_Socket(host, session).serve, longest)


async def _begin_anew(socket: WebSocket) -> None:
    # Not a failure of HTTP: the client would try the same again. It is to begin anew.
    await socket.accept()
    await socket.send(begin_anew(DisconnectReason.STATE_MISMATCH).SerializeToString())
    await socket.close()


class _Socket:
    """One websocket of a session; a session that resumes gets another one."""

    def __init__(self, host: Host, session: Session) -> None:
        self._host = host
        self._session = session
        self._is_text = False
        self._is_closed = False
        self._has_complained = False
        self._waiting = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._giving_up: asyncio.TimerHandle | None = None
        session.wake = self._wake

    @property
    def _is_current(self) -> bool:
        return self._session.wake == self._wake

    def _wake(self) -> None:
        self._waiting.set()
        if self._giving_up is None and (self._session.is_over or not self._is_current):
            # Who reads nothing does not read a goodbye either, and would stay for as long as its connection does.
            self._giving_up = asyncio.get_running_loop().call_later(_END_PATIENCE, self._give_up)

    def _give_up(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    async def serve(self, socket: WebSocket) -> None:
        """Carry messages both ways until either end has enough."""
        tasks: list[asyncio.Task[None]] = []
        try:
            await socket.accept()
            self._reading = asyncio.create_task(self._read(socket))
            tasks = [self._reading, asyncio.create_task(self._write(socket))]
            await asyncio.wait(tasks[:1])
            if self._reading.cancelled():
                socket.abort()
            else:
                self._reading.result()
        finally:
            self._is_closed = True
            if self._is_current:
                self._host.detach(self._session)
            self._wake()
            if tasks:
                await asyncio.wait(tasks[1:], timeout=_CLOSE_PATIENCE)
            for task in tasks:
                task.cancel()
            if self._giving_up is not None:
                self._giving_up.cancel()

    async def _read(self, socket: WebSocket) -> None:
        while (message := await socket.receive()) is not None and self._is_current:
            self._is_text = isinstance(message, str)
            try:
                request = signal.decode(message)
            except ProtocolError as error:
                # Once for each socket: a client may send a million of them.
                level = logging.DEBUG if self._has_complained else logging.INFO
                logger.log(level, "a message of participant %s is not read: %s", self._session.participant.sid, error)
                self._has_complained = True
                continue
            await self._handle(request)

    async def _handle(self, request: SignalRequest) -> None:
        session = self._session
        if request.WhichOneof("message") == "add_track":
            # While a hook decides, what this client sends waits behind it; nobody else does.
            room, identity = session.room.name, session.participant.identity
            if not await self._host.policy.publish(room, identity, request.add_track):
                session.refuse_track(request.add_track)
                return
        self._host.handle(session, request)

    async def _write(self, socket: WebSocket) -> None:
        outbox = self._session.outbox
        while True:
            # The session may go over to another socket while a frame is written: what waits then belongs to that one.
            while outbox and self._is_current:
                await socket.send(signal.encode(outbox.popleft(), as_text=self._is_text))
            if self._session.is_over or self._is_closed or not self._is_current:
                await socket.close()
                return
            self._waiting.clear()
            await self._waiting.wait()
