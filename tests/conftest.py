"""What the tests share: forwarders on loopback, aiortc peers, and waiting for conditions instead of for time."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack, VideoStreamTrack
from av import AudioFrame
from hypothesis import settings

from rtpcore import Config, Forwarder, Listen, Media, sdp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from rtpcore import Member, Transport

collect_ignore = ["clients"]  # they run under other interpreters

# How long an example takes says nothing here: machines are shared, and nothing is timed.
settings.register_profile("rtpcore", deadline=None)
settings.load_profile("rtpcore")

PATIENCE = 30
"""Seconds until a condition that never comes true fails the test; nothing else depends on it."""


class Until(Protocol):
    """Waits for a condition."""

    async def __call__(self, condition: Callable[[], object], what: str = ...) -> None:
        """Return once ``condition()`` is true; fail with ``what`` if it never is."""


@pytest.fixture
def until() -> Until:
    """Wait for what other threads and peers do: ``await until(lambda: forwarder.stats().transports == 1)``."""

    async def wait(condition: Callable[[], object], what: str = "the condition") -> None:
        for _ in range(100 * PATIENCE):
            if condition():
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"{what} did not come true within {PATIENCE} s")

    return wait


@pytest.fixture
def config() -> Config:
    """One worker on loopback, UDP and TCP, with counters that are fresh."""
    return Config(
        listen=Listen(addresses=("127.0.0.1",), tcp_port=0), media=Media(stats_interval_ms=10), workers=1, seed=1
    )


@pytest.fixture
async def forwarder(config: Config) -> AsyncIterator[Forwarder]:
    """A running forwarder."""
    async with Forwarder(config) as running:
        yield running


class Tone(AudioStreamTrack):
    """Audio that is not silence: a counter, as sound."""

    async def recv(self) -> AudioFrame:
        frame = await super().recv()
        for plane in frame.planes:
            plane.update(bytes(range(256)) * (plane.buffer_size // 256) + bytes(plane.buffer_size % 256))
        frame.time_base = Fraction(1, frame.sample_rate)
        return frame


class Peer:
    """An aiortc peer that speaks to the forwarder in SDP, as a browser's page would."""

    def __init__(self) -> None:
        self.pc = RTCPeerConnection()
        self.tracks: list[MediaStreamTrack] = []
        self.channels: dict[str, Any] = {}
        self.messages: list[tuple[str, bytes | str]] = []
        self.transport: Transport | None = None
        self.pc.on("track", self.tracks.append)
        self.pc.on("datachannel", self.keep)

    def channel(self, label: str, **options: Any) -> Any:
        """Open a data channel, whose messages are kept."""
        return self.keep(self.pc.createDataChannel(label, **options))

    def keep(self, channel: Any) -> Any:
        self.channels[channel.label] = channel
        channel.on("message", lambda message: self.messages.append((channel.label, message)))
        return channel

    def send(self, *kinds: str) -> None:
        """Publish test tracks."""
        for kind in kinds:
            self.pc.addTrack(Tone() if kind == "audio" else VideoStreamTrack())

    def receive(self, *kinds: str) -> None:
        for kind in kinds:
            self.pc.addTransceiver(kind, direction="recvonly")

    async def offer(self) -> str:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        text: str = self.pc.localDescription.sdp
        return text

    async def accept(self, answer: str) -> None:
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def connect(
        self, forwarder: Forwarder, *, max_message_size: int | None = None, beside: Transport | Member | None = None
    ) -> Transport:
        """Give the offer to the forwarder and wait until it is connected; sends and plays nothing by itself."""
        offer = sdp.parse(await self.offer())
        remote = offer.transport
        if max_message_size is not None:
            remote = replace(remote, max_message_size=max_message_size)
        self.transport = forwarder.add_transport(remote, beside=beside)
        await self.accept(str(sdp.answer(offer, self.transport.local, forwarder.candidates)))
        await self.transport.connected()
        return self.transport

    async def frames(self, kind: str, count: int = 3) -> list[Any]:
        """The first frames decoded of the track of this kind."""
        (track,) = [track for track in self.tracks if track.kind == kind]
        return [await asyncio.wait_for(track.recv(), PATIENCE) for _ in range(count)]


@pytest.fixture
async def peer() -> AsyncIterator[Callable[[], Peer]]:
    """Make aiortc peers that are closed at the end."""
    made: list[Peer] = []

    def make() -> Peer:
        made.append(Peer())
        return made[-1]

    yield make
    await asyncio.gather(*(peer.pc.close() for peer in made))


@pytest.fixture
def own_logging() -> Iterator[None]:
    """Lets a test configure logging, which closes the handlers that it replaces: those of pytest are to live on."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    root.handlers[:] = []
    yield
    root.handlers[:] = before
    root.setLevel(level)
