"""A LiveKit client made of this project's own parts: the protocol in Python, its peer connection on a Forwarder.

Hundreds of them fit into one process, where hundreds of libwebrtc do not fit onto a machine. They watch: all tracks of
a room, by a single peer connection, as LiveKit's clients do by default. Each has a Forwarder of its own, for peers are
told apart by their addresses.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from typing import Any

import aiohttp

from rtpcore import Config, Forwarder, Limits, Listen, Media, Transport, sdp
from rtpcore.parameters import Kind, TrackParameters
from rtpcore.wire.messages import (
    ClientInfo,
    ConnectionSettings,
    DisconnectReason,
    JoinRequest,
    LeaveRequest,
    ParticipantInfo,
    SessionDescription,
    SignalRequest,
    SignalResponse,
    WrappedJoinRequest,
)

PROTOCOL = 16
PING_INTERVAL_S = 5
CONFIG = Config(
    Listen(addresses=("127.0.0.1",), udp_port=0, tcp_port=None),
    Limits(transports=1),
    Media(history_packets=256, stats_interval_ms=1000, ice_lite=False),
    workers=1,
)


class Viewer:
    """One client, with media or only with signalling."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str, *, has_media: bool = False) -> None:
        self._http, self._url, self._token = http, url, token
        self._forwarder = Forwarder(CONFIG) if has_media else None
        self._transport: Transport | None = None
        self._negotiation = sdp.Negotiation()
        self._sections: list[TrackParameters] = []
        self._add_sections("audio", 3)
        self._add_sections("video", 3)
        self._offer_id = 0
        self._socket: Any = None
        self._tasks: list[asyncio.Task[None]] = []
        self.others: dict[str, ParticipantInfo] = {}
        self.faults: list[str] = []
        self.speakers_heard = 0
        self.receivers: dict[str | None, Any] = {}

    async def join(self) -> float:
        """Join; how long it took until the room was known, in seconds."""
        request = JoinRequest(
            client_info=ClientInfo(sdk=ClientInfo.SDK.JS, protocol=PROTOCOL, version="2.23.0"),
            connection_settings=ConnectionSettings(auto_subscribe=True),
        )
        if self._forwarder is not None:
            await self._forwarder.__aenter__()
            self._transport = self._forwarder.add_transport()
            request.publisher_offer.CopyFrom(self._offer())
        wrapped = WrappedJoinRequest(join_request=request.SerializeToString())
        query = {"join_request": base64.urlsafe_b64encode(wrapped.SerializeToString()).decode()}
        began = time.perf_counter()
        socket = await self._http.ws_connect(
            f"{self._url}/rtc/v1", params=query, headers={"Authorization": f"Bearer {self._token}"}
        )
        first = SignalResponse.FromString((await socket.receive()).data)
        took = time.perf_counter() - began
        if first.WhichOneof("message") != "join":
            self.faults.append(f"{first.WhichOneof('message')} came before join")
        self._socket = socket
        self._see(first.join.other_participants)
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._ping())]
        return took

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._socket is not None:
            with contextlib.suppress(ConnectionError):
                await self._send(leave=LeaveRequest(reason=DisconnectReason.CLIENT_INITIATED))
            await self._socket.close()
        if self._forwarder is not None:
            await self._forwarder.__aexit__(None, None, None)

    def _add_sections(self, kind: Kind, count: int) -> None:
        self._sections += [TrackParameters(self._negotiation.mid(kind), kind) for _ in range(count)]

    def _offer(self) -> SessionDescription:
        assert self._transport is not None
        self._offer_id += 1
        text = str(self._negotiation.offer(self._transport.local, receivers=self._sections))
        return SessionDescription(type="offer", sdp=text, id=self._offer_id)

    async def _send(self, **message: Any) -> None:
        await self._socket.send_bytes(SignalRequest(**message).SerializeToString())

    async def _ping(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await asyncio.sleep(PING_INTERVAL_S)
                now = int(time.time() * 1000)
                await self._send(ping=now)
                await self._send(ping_req={"timestamp": now, "rtt": 1})

    async def _read(self) -> None:
        async for message in self._socket:
            response = SignalResponse.FromString(message.data)
            match response.WhichOneof("message"):
                case "update":
                    self._see(response.update.participants)
                case "speakers_changed":
                    self.speakers_heard += 1
                case "answer" if response.answer.id == self._offer_id:
                    self._apply(response.answer.sdp)
                case "media_sections_requirement" if self._transport is not None:
                    need = response.media_sections_requirement
                    self._add_sections("audio", need.num_audios)
                    self._add_sections("video", need.num_videos)
                    if not self._negotiation.is_pending:
                        await self._send(offer=self._offer())
                case "leave":
                    self.faults.append(f"sent away: {response.leave.reason}")

    def _apply(self, answer: str) -> None:
        assert self._transport is not None
        agreed = self._negotiation.apply(sdp.parse(answer))
        self._transport.set_remote(agreed.transport)
        for track in agreed.tracks:
            if track.mid not in self.receivers:
                self.receivers[track.mid] = self._transport.add_receiver(track)

    def _see(self, participants: Any) -> None:
        for info in participants:
            known = self.others.get(info.identity)
            if known is not None and known.sid == info.sid and info.version < known.version:
                self.faults.append(f"{info.identity} became older: {known.version}, then {info.version}")
            self.others[info.identity] = ParticipantInfo.FromString(info.SerializeToString())

    @property
    def packets(self) -> int:
        """RTP packets that came."""
        stats = [receiver.stats() for receiver in self.receivers.values()]
        return sum(encoding.packets_received for one in stats if one is not None for encoding in one.encodings)
