"""A participant in this process: it says and hears data like any client's, without a transport and without media.

Everybody else sees it as a participant; it is sent away like one. ::

    async with await server.join("lab", "echo") as echo:
        async for event in echo.events():
            match event:
                case PacketReceived(sender, topic, payload):
                    echo.send(payload, topic=topic, to=[sender])
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from google.protobuf.message import DecodeError

from rtpcore.errors import ClosedError, LimitError, RpcFailure
from rtpcore.exchange import CHANNELS
from rtpcore.listener import Listener
from rtpcore.server.streams import Assembly, BytesReceived, TextReceived, split
from rtpcore.server.views import Participant, Room, packet_of
from rtpcore.wire.messages import DataPacket, DisconnectReason, RpcAck, RpcError, RpcResponse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from rtpcore import room as state
    from rtpcore.events import MessageReceived
    from rtpcore.host import Host
    from rtpcore.hub import Member
    from rtpcore.session import Session
    from rtpcore.wire.messages import RpcRequest

__all__ = ["LocalEvent", "LocalParticipant", "PacketReceived", "Removed", "RpcCall"]

logger = logging.getLogger("rtpcore.server")

_MAX_CALLS = 100
"""Calls that are being answered at the same time."""
_MAX_PAYLOAD = 15 * 1024
"""Bytes of an RPC payload (LiveKit's limit for the first version of RPC)."""

_APPLICATION_ERROR, _RESPONSE_TIMEOUT, _RESPONSE_TOO_LARGE = 1500, 1502, 1504
_UNSUPPORTED_METHOD, _RECIPIENT_NOT_FOUND, _UNSUPPORTED_VERSION = 1400, 1401, 1404


@dataclass(frozen=True, slots=True)
class PacketReceived:
    """Somebody sent a data message.

    Attributes:
        sender: Its identity; empty for a hidden one, and for the server.
        topic: What it is about.
        payload: What was said.
        is_reliable: It came by the channel that loses nothing.
    """

    sender: str
    topic: str
    payload: bytes
    is_reliable: bool = True


@dataclass(frozen=True, slots=True)
class Removed:
    """The participant was sent away; nothing comes after.

    Attributes:
        reason: In LiveKit's words and lower case: ``participant_removed``, ``room_deleted``, ``room_closed``,
            ``duplicate_identity``, ``server_shutdown``.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class RpcCall:
    """Somebody calls a method.

    Attributes:
        caller: Its identity.
        method: Which.
        payload: What it says.
        timeout_s: How long the caller waits for the answer.
    """

    caller: str
    method: str
    payload: str
    timeout_s: float


LocalEvent: TypeAlias = PacketReceived | TextReceived | BytesReceived | Removed
"""What a participant in this process hears."""

Method: TypeAlias = Callable[[RpcCall], Awaitable[str] | str]
"""Answers a call. It raises RpcFailure to let it fail in words of its own."""


class LocalParticipant:
    """A participant in this process. It publishes and receives data; it can neither publish nor receive media."""

    def __init__(self, host: Host, session: Session, member: Member, max_stream: int) -> None:
        """Not to be called: :meth:`rtpcore.Server.join` makes them."""
        self._host = host
        self._session = session
        self._member = member
        self._streams = Assembly(max_stream)
        self._methods: dict[str, Method] = {}
        self._calls: set[asyncio.Task[None]] = set()
        # An iterator that nobody holds any more takes its queue with it.
        self._listeners: weakref.WeakSet[Listener[LocalEvent]] = weakref.WeakSet()
        self._is_over = False
        session.wake = self._wake
        host.on_event.append(self._happened)
        self._reading = asyncio.create_task(self._read(member.messages()))

    def __repr__(self) -> str:
        """The sid; an identity may say more than a log should."""
        return f"<LocalParticipant {self.sid}>"

    async def __aenter__(self) -> Self:
        """It is in the room already."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave."""
        self.leave()

    @property
    def participant(self) -> Participant:
        """Itself as the application sees any participant, with metadata, attributes and permission."""
        return Participant(self._host, self._session.room, self._session.participant)

    @property
    def room(self) -> Room:
        """Where, with who else is there."""
        return Room(self._host, self._session.room)

    @property
    def sid(self) -> str:
        """Unique for ever."""
        return self._session.participant.sid

    @property
    def identity(self) -> str:
        """Unique in the room."""
        return self._session.participant.identity

    @property
    def is_here(self) -> bool:
        """Whether it is in the room still."""
        return not self._is_over

    ##### Saying

    def send(self, data: bytes | str, *, topic: str = "", to: Iterable[str] = (), is_reliable: bool = True) -> None:
        """Send a data message.

        Args:
            data: Bytes, or text as UTF-8.
            topic: What it is about, for those who listen for one thing.
            to: Identities; none for everybody else.
            is_reliable: Else it may be lost, and is never late. Keep such a message below 1300 bytes.

        Raises:
            ClosedError: It has left, or was sent away.
            LimitError: It is longer than any client takes; a text may go by :meth:`send_text`.
        """
        self._say(packet_of(data, topic, is_reliable=is_reliable), to)

    def send_text(
        self, text: str, *, topic: str = "", to: Iterable[str] = (), attributes: Mapping[str, str] | None = None
    ) -> str:
        """Send a text of any length (LiveKit's text streams), such as a line of chat with the topic ``lk.chat``.

        Args:
            text: The text.
            topic: What it is about.
            to: Identities; none for everybody else.
            attributes: For whoever reads it.

        Returns:
            The stream's id.

        Raises:
            ClosedError: It has left, or was sent away.
            LimitError: Too much waits to be sent.
        """
        packets, to = list(split(text, topic, attributes or {})), tuple(to)
        for packet in packets:
            self._say(packet, to)
        return packets[0].stream_header.stream_id

    def update(self, *, name: str = "", metadata: str = "", attributes: Mapping[str, str] | None = None) -> None:
        """Change what is not empty of itself, as :meth:`Participant.update`. Raises ClosedError."""
        self.participant.update(name=name, metadata=metadata, attributes=attributes)

    def _say(self, packet: DataPacket, to: Iterable[str]) -> None:
        if self._is_over:
            raise ClosedError("participant")
        packet.destination_identities.extend(to)
        label = CHANNELS[packet.kind]
        self._member.say(packet.SerializeToString(), label=label)

    ##### Hearing

    def events(self, *, capacity: int = 4096) -> AsyncIterator[LocalEvent]:
        """What it hears from this call on, in order; ends when it has left, with `Removed` if it was sent away.

        Args:
            capacity: Events that may wait.

        Raises:
            LimitError: While iterating: more wait, the reader has fallen behind for good.
        """
        listener = Listener[LocalEvent](capacity)
        if self._is_over:
            listener.close()
        self._listeners.add(listener)
        return _iterate(listener)

    async def _read(self, messages: AsyncGenerator[MessageReceived, None]) -> None:
        try:
            async for message in messages:
                self._hear(message)
        except LimitError:
            logger.warning("participant %s in this process cannot follow what it is told", self.sid)
            self._host.leave(self._session, DisconnectReason.STATE_MISMATCH)

    def _hear(self, message: MessageReceived) -> None:
        if message.label not in CHANNELS.values():
            return
        try:
            packet = DataPacket.FromString(message.payload)
        except DecodeError:
            logger.info("a message to participant %s cannot be decoded", self.sid)
            return
        match packet.WhichOneof("value"):
            case "user":
                is_reliable = message.label == "_reliable"
                user = packet.user
                self._tell(PacketReceived(packet.participant_identity, user.topic, user.payload, is_reliable))
            case "rpc_request":
                self._call(packet.participant_identity, packet.rpc_request)
            case _:
                complete = self._streams.take(packet)
                if complete is not None:
                    self._tell(complete)

    def _happened(self, room: state.Room, happened: state.Happened) -> None:
        if room is self._session.room and happened.name == "participant_left" and happened.participant is not None:
            self._streams.forget(happened.participant.identity)

    def _tell(self, event: LocalEvent) -> None:
        for listener in tuple(self._listeners):
            listener.push(event)

    ##### Calls

    def register(self, method: str, answer: Method) -> None:
        """Answer calls of a method from now on, which other participants and the server make.

        Args:
            method: Its name; one that it has already is replaced.
            answer: Gets an `RpcCall` and gives at most 15 KiB of text; ``async`` or so quick that nobody minds. What
                it raises fails the call: RpcFailure with its code and words, anything else as an error of the
                application, which is logged.
        """
        self._methods[method] = answer

    async def perform_rpc(self, identity: str, method: str, payload: str = "", *, timeout_s: float = 10.0) -> str:
        """Call a method that another participant's client has registered, and give its answer.

        Args:
            identity: Whose.
            method: Its name.
            payload: At most 15 KiB of UTF-8.
            timeout_s: How long the answer may take.

        Raises:
            ClosedError: This participant has gone.
            RpcFailure: It is not there, did not answer in time, has no such method, or its method failed.
        """
        if self._is_over:
            raise ClosedError("participant")
        room, caller = self._session.room, self._session.participant
        called = room.participants.get(identity)
        if called is None:
            raise RpcFailure(_RECIPIENT_NOT_FOUND, "Recipient not found")
        exchange = self._host.exchange
        return await exchange.perform_rpc(room, called, method, payload, timeout_s=timeout_s, caller=caller)

    def _call(self, caller: str, request: RpcRequest) -> None:
        self._answer(caller, DataPacket(rpc_ack=RpcAck(request_id=request.id)))
        if request.version != 1 or len(self._calls) >= _MAX_CALLS:
            reason = "Unsupported RPC version" if request.version != 1 else "Too many calls at the same time"
            code = _UNSUPPORTED_VERSION if request.version != 1 else _APPLICATION_ERROR
            refusal = RpcResponse(request_id=request.id, error=RpcError(code=code, message=reason))
            self._answer(caller, DataPacket(rpc_response=refusal))
            return
        task = asyncio.create_task(self._perform(caller, request))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _perform(self, caller: str, request: RpcRequest) -> None:
        response = RpcResponse(request_id=request.id)
        call = RpcCall(caller, request.method, request.payload, request.response_timeout_ms / 1000)
        try:
            response.payload = await asyncio.wait_for(self._result(call), call.timeout_s or None)
        except RpcFailure as failure:
            response.error.CopyFrom(RpcError(code=failure.code, message=failure.message, data=failure.data))
        except (TimeoutError, asyncio.TimeoutError):
            response.error.CopyFrom(RpcError(code=_RESPONSE_TIMEOUT, message="Response timeout"))
        self._answer(caller, DataPacket(rpc_response=response))

    async def _result(self, call: RpcCall) -> str:
        answer = self._methods.get(call.method)
        if answer is None:
            raise RpcFailure(_UNSUPPORTED_METHOD, "Method not supported at destination")
        try:
            result = answer(call)
            text: Any = await result if inspect.isawaitable(result) else result
            size = len(text.encode())
        except RpcFailure:
            raise
        except Exception as error:
            logger.exception("a method of participant %s failed", self.sid)
            raise RpcFailure(_APPLICATION_ERROR, "Application error in method handler") from error
        if size > _MAX_PAYLOAD:
            raise RpcFailure(_RESPONSE_TOO_LARGE, "Response payload too large")
        return str(text)

    def _answer(self, caller: str, answer: DataPacket) -> None:
        if self._is_over:
            return
        try:
            self._say(answer, [caller])
        except LimitError:
            logger.warning("an answer of participant %s is not sent: too much waits", self.sid)

    ##### The end

    def leave(self) -> None:
        """Leave the room. Idempotent."""
        if not self._is_over:
            self._finish()
            self._host.leave(self._session)

    def _wake(self) -> None:
        if self._session.is_over and not self._is_over:
            reason = DisconnectReason.Name(self._session.participant.disconnect_reason)
            self._finish(Removed(reason.lower()))

    def _finish(self, last: Removed | None = None) -> None:
        self._is_over = True
        self._host.on_event.remove(self._happened)
        if last is not None:
            self._tell(last)
        for listener in self._listeners:
            listener.close()
        for task in self._calls:
            task.cancel()
        if self._reading is not asyncio.current_task():
            self._reading.cancel()


async def _iterate(listener: Listener[LocalEvent]) -> AsyncIterator[LocalEvent]:
    while (event := await listener.next()) is not None:
        yield event
