"""A LiveKit client of two peer connections, as small as a test call needs: publishes a sound, notes what it hears.

::

    websocket ─▶ Client ─▶ publisher, subscriber (`Connection`) ─▶ a forwarder that decides and checks (ICE controlling)
                 Source ─────────────────────────────────────────▶ its packets
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from rtpcore import sdp
from rtpcore.connection import Connection
from rtpcore.copies import Copy, Sources
from rtpcore.errors import ProtocolError, RtpcoreError
from rtpcore.events import Layer, TransportChanged
from rtpcore.parameters import Encoding, TrackParameters
from rtpcore.source import Source
from rtpcore.wire.messages import (
    AddTrackRequest,
    JoinResponse,
    LeaveRequest,
    SessionDescription,
    SignalRequest,
    SignalResponse,
    SignalTarget,
    TrackSource,
    TrackType,
    TrickleRequest,
)

if TYPE_CHECKING:
    from rtpcore.forwarder import Forwarder, Transport
    from rtpcore.parameters import TransportParameters

__all__ = ["Client", "States"]

_FRAME_S, _FRAME_TICKS = 0.02, 960
_SILENCE = b"\xf8\xff\xfe"
"""An opus frame of 20 ms in which nothing is heard (RFC 6716 §3.1)."""


class States:
    """How far transports have come, and why no further."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._seen: dict[Transport, list[TransportChanged]] = {}

    async def follow(self, forwarder: Forwarder) -> None:
        """Note what happens to the transports of a forwarder until it closes."""
        async for event in forwarder.events():
            if isinstance(event, TransportChanged):
                self._seen.setdefault(event.transport, []).append(event)

    def has_path(self, transport: Transport) -> bool:
        """Whether a check has found a path."""
        return any(event.state == "connecting" for event in self._seen.get(transport, ()))

    def reason(self, transport: Transport) -> str:
        """Why it is in its last state; empty if nothing has happened."""
        events = self._seen.get(transport)
        return events[-1].reason if events else ""


class Client:
    """One participant."""

    def __init__(self, upstream: Forwarder, downstream: Forwarder) -> None:
        """Use two forwarders for media, which must not be lite.

        One for each connection: a client tells its connections to one server apart by its own ports.
        """
        self.joined: JoinResponse | None = None
        self.left: LeaveRequest | None = None
        self.publisher = Connection(upstream.add_transport)
        self.subscriber = Connection(downstream.add_transport)
        self.remotes: dict[str, TransportParameters] = {}
        self.source: Source | None = None
        self._upstream = upstream
        self._socket: ClientWebSocketResponse[bool] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def join(self, session: ClientSession, url: str, token: str) -> None:
        """Open the websocket and begin to answer. Raises aiohttp.ClientError."""
        query = {"access_token": token, "protocol": "16", "auto_subscribe": "1", "sdk": "python", "version": "0"}
        self._socket = await session.ws_connect(f"{url}/rtc", params=query, max_msg_size=0)
        self._tasks.append(asyncio.create_task(self._read()))

    async def publish(self) -> None:
        """Announce a sound and offer it; packets flow from now on."""
        codec = next(one for one in sdp.Negotiation().codecs("audio") if one.mime_type.lower() == "audio/opus")
        ssrc = secrets.randbelow(2**32 - 1) + 1
        track = TrackParameters(mid=None, kind="audio", codecs=(codec,), encodings=(Encoding(ssrc=ssrc),))
        self.source = Source(self._upstream, track)
        sources = Sources.of({"audio/opus": self.source.receiver}, ())
        cid = f"doctor-{secrets.token_hex(4)}"
        self.publisher.copies[cid] = Copy(cid, sources, "doctor", Layer())
        announced = AddTrackRequest(cid=cid, name="doctor", type=TrackType.AUDIO, source=TrackSource.MICROPHONE)
        await self._send(SignalRequest(add_track=announced))
        await self._send(SignalRequest(offer=SessionDescription(type="offer", sdp=self.publisher.offer(), id=1)))
        self._tasks.append(asyncio.create_task(self._play(self.source, codec.payload_type, ssrc)))

    async def close(self) -> None:
        """Leave."""
        if self._socket is not None and not self._socket.closed:
            with contextlib.suppress(OSError):
                await self._send(SignalRequest(leave=LeaveRequest()))
            await self._socket.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self.source is not None:
            self.source.close()
        self.publisher.close()
        self.subscriber.close()

    async def _send(self, request: SignalRequest) -> None:
        if self._socket is not None:
            await self._socket.send_bytes(request.SerializeToString())

    async def _read(self) -> None:
        if self._socket is None:
            return
        async for message in self._socket:
            if message.type == WSMsgType.BINARY:
                with contextlib.suppress(RtpcoreError):
                    await self._handle(SignalResponse.FromString(message.data))

    async def _handle(self, response: SignalResponse) -> None:
        match response.WhichOneof("message"):
            case "join":
                self.joined = response.join
            case "leave":
                self.left = response.leave
            case "offer":
                answered = self.subscriber.answer(response.offer.sdp, lambda _: {})
                self._note("subscriber", response.offer.sdp)
                answer = SessionDescription(type="answer", sdp=answered.text, id=response.offer.id)
                await self._send(SignalRequest(answer=answer))
                await self._trickle(SignalTarget.SUBSCRIBER, self.subscriber.transport)
            case "answer":
                self.publisher.apply(response.answer.sdp)
                self._note("publisher", response.answer.sdp)
                await self._trickle(SignalTarget.PUBLISHER, self.publisher.transport)
            case _:
                return

    def _note(self, name: str, text: str) -> None:
        with contextlib.suppress(ProtocolError):
            self.remotes[name] = sdp.parse(text).transport

    async def _trickle(self, target: SignalTarget, transport: Transport) -> None:
        """Tell the server our candidates too: one behind a proxy that rewrites descriptions still learns them."""
        for candidate in transport.local.candidates:
            init = f'{{"candidate": "{candidate}", "sdpMLineIndex": 0}}'
            await self._send(SignalRequest(trickle=TrickleRequest(candidateInit=init, target=target)))

    async def _play(self, source: Source, payload_type: int, ssrc: int) -> None:
        sequence, timestamp = 1000, 0
        while True:
            source.send(payload_type=payload_type, sequence=sequence, timestamp=timestamp, ssrc=ssrc, payload=_SILENCE)
            sequence, timestamp = sequence + 1, timestamp + _FRAME_TICKS
            await asyncio.sleep(_FRAME_S)
