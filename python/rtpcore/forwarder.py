"""The asyncio face of the core: attach transports, say who follows whom, read events. Media never enters Python."""

from __future__ import annotations

import asyncio
import secrets
import weakref
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rtpcore import _core
from rtpcore.config import Config
from rtpcore.errors import ClosedError, LimitError, RtpcoreError
from rtpcore.events import (
    AudioLevelChanged,
    BandwidthChanged,
    ChannelClosed,
    ChannelOpened,
    DataReceived,
    EncodingStarted,
    Event,
    Layer,
    LayerChanged,
    ReceiverEnded,
    StreamPaused,
    TransportChanged,
)
from rtpcore.hub import Hub, Member
from rtpcore.listener import Listener
from rtpcore.parameters import (
    Candidate,
    IceParameters,
    TransportParameters,
    UdpAddress,
)
from rtpcore.snapshot import Snapshot
from rtpcore.transport import Receiver, Sender, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from rtpcore.config import Listen
    from rtpcore.parameters import SrtpProfile
    from rtpcore.stats import Stats

__all__ = ["Forwarder", "Receiver", "Sender", "Transport"]

__version__: str = _core.__version__

_DRAIN = 512
"""Events fetched per wake-up: enough that the call is nothing beside the work, few enough to let other tasks run."""


class Forwarder:
    """A selective forwarding unit (RFC 7667 §3.7) on its own threads.

    Media never enters Python: attach transports, say who follows whom, read events. Methods return at once and may be
    called from any thread; events belong to the event loop that entered the forwarder.

    >>> async def main() -> None:
    ...     async with Forwarder(Config()) as forwarder:
    ...         print(forwarder.candidates)
    """

    MAX_MESSAGE = _core.MAX_MESSAGE
    """Bytes of the largest data channel message that is taken or sent."""

    def __init__(self, config: Config | None = None) -> None:
        """Check ``config``; bind nothing yet.

        Raises:
            ConfigError: A value is out of its range.
        """
        self.config = config if config is not None else Config()
        self._core = _core_of(self.config)
        self._transports: dict[int, Transport] = {}
        self._receivers: weakref.WeakValueDictionary[int, Receiver] = weakref.WeakValueDictionary()
        self._senders: weakref.WeakValueDictionary[int, Sender] = weakref.WeakValueDictionary()
        # An iterator that nobody holds any more takes its queue with it.
        self._listeners: weakref.WeakSet[Listener[Event]] = weakref.WeakSet()
        self._taps: Counter[str] = Counter()
        self._hubs: dict[int, Hub] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._candidates: tuple[Candidate, ...] = ()
        self._fingerprint = b""

    def listen_on(self, listen: Listen) -> None:
        """Listen elsewhere, or advertise other addresses, from the next start on.

        Raises:
            RtpcoreError: It is running.
        """
        if self._loop is not None:
            raise RtpcoreError("the forwarder is running: leave it before it listens elsewhere")
        self.config = replace(self.config, listen=listen)
        self._core = _core_of(self.config)

    async def __aenter__(self) -> Forwarder:
        """Bind sockets, start the workers. A forwarder that was left may be entered again; it has new candidates then.

        Raises:
            BindError: An address or port cannot be had.
            RtpcoreError: It is running already.
        """
        if self._loop is not None:
            raise RtpcoreError("the forwarder is running already: leave it first, or make another one")
        await asyncio.to_thread(self._core.start)
        self._loop = asyncio.get_running_loop()
        self._candidates = tuple(Candidate.from_string(text) for text in self._core.candidates())
        self._fingerprint = self._core.fingerprint()
        self._loop.add_reader(self._core.event_fd(), self._drain)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say goodbye (RTCP BYE, DTLS close_notify), stop the workers, end :meth:`events`."""
        await self.close()

    async def close(self) -> None:
        """Do what leaving the ``async with`` does; idempotent."""
        if self._loop is None:
            return
        loop, self._loop = self._loop, None
        loop.remove_reader(self._core.event_fd())
        await asyncio.to_thread(self._core.stop)
        for transport in tuple(self._transports.values()):
            transport._handle_state("closed")
        self._transports.clear()
        self._taps.clear()
        for hub in tuple(self._hubs.values()):
            hub.close()
        for listener in self._listeners:
            listener.close()

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Host candidates for SDP (RFC 8839), best first."""
        return self._candidates

    @property
    def udp_addresses(self) -> list[UdpAddress]:
        """Where media is received over UDP, best first. Raises ClosedError."""
        return [UdpAddress(local, advertised) for local, advertised in self._core.udp_addresses()]

    @property
    def advertised_hosts(self) -> list[str]:
        """The addresses by which peers know this machine, each once, best first. Raises ClosedError."""
        return list(dict.fromkeys(address.advertised[0] for address in self.udp_addresses))

    @property
    def worker_count(self) -> int:
        """How many threads forward."""
        return self._core.worker_count()

    def add_transport(
        self, remote: TransportParameters | None = None, *, beside: Transport | Member | None = None
    ) -> Transport:
        """Expect one peer; it may still be unreachable.

        Args:
            remote: What the peer's description says; None where ours goes first, then
                :meth:`Transport.set_remote` follows.
            beside: On whose worker it is to live, because the two have much to do with each other: the transports of
                one member of a hub must. None for the next worker in turn.

        Raises:
            LimitError: ``Limits.transports`` peers are there already.
            ParametersError: The description has no usable credentials or fingerprint.
            ClosedError: The forwarder is not running.
        """
        if len(self._transports) >= self.config.limits.transports:
            raise LimitError("open transports", self.config.limits.transports)
        number, ufrag, pwd = self._core.add_transport(beside=None if beside is None else beside._number)
        transport = Transport(self, number, IceParameters(ufrag=ufrag, pwd=pwd, lite=self.config.media.ice_lite))
        self._transports[number] = transport
        if remote is not None:
            try:
                transport.set_remote(remote)
            except Exception:
                transport.close()
                raise
        return transport

    def add_keyed_transport(
        self,
        *,
        local: tuple[str, int],
        remote: tuple[str, int],
        profile: SrtpProfile,
        outgoing: tuple[bytes, bytes],
        incoming: tuple[bytes, bytes],
    ) -> Transport:
        """Expect a peer whose path and keys were agreed on elsewhere: no ICE, no DTLS; it is connected at once.

        Args:
            local: Address and port of that UDP candidate of ours to which it sends.
            remote: Its address and port.
            profile: How SRTP is protected.
            outgoing: Master key and salt of what we send.
            incoming: Those of what it sends.

        Raises:
            LimitError: ``Limits.transports`` peers are there already.
            ParametersError: An address is none, or a key has another length than the profile's.
            ClosedError: The forwarder is not running.
        """
        if len(self._transports) >= self.config.limits.transports:
            raise LimitError("open transports", self.config.limits.transports)
        number = self._core.add_keyed_transport(
            local=_endpoint(*local), remote=_endpoint(*remote), profile=profile, outgoing=outgoing, incoming=incoming
        )
        transport = Transport(self, number, IceParameters(ufrag="", pwd=""))
        self._transports[number] = transport
        return transport

    def add_hub(self) -> Hub:
        """Open a room's exchange of data: what its members say on their data channels reaches the others.

        Raises:
            ClosedError: The forwarder is not running.
        """
        core = self._core.add_hub()
        hub = Hub(self, core, max_members=_core.MAX_MEMBERS, max_message=_core.MAX_MESSAGE)
        self._hubs[core.number] = hub
        return hub

    def events(self, *, capacity: int = 4096) -> AsyncIterator[Event]:
        """Iterate over what happened, in order, once, from this call on; ends when the forwarder closes.

        Args:
            capacity: How many events may wait behind a slow reader.

        Raises:
            LimitError: While iterating: more than ``capacity`` events wait, the reader has fallen behind for good.
            ClosedError: The forwarder is not running.
        """
        return _iterate(self._listen(capacity))

    def tap(self, label: str) -> AsyncIterator[DataReceived]:
        """Also deliver messages of this data channel label to Python, from this call on, until the iterator is dropped.

        Raises:
            LimitError: While iterating, as :meth:`events`.
            ClosedError: The forwarder is not running.
        """
        listener = self._listen(4096)
        if label not in self._taps:
            self._core.tap(label, True)
        self._taps[label] += 1
        weakref.finalize(listener, self._untap, label).atexit = False
        return _messages(listener, label)

    def _listen(self, capacity: int) -> Listener[Event]:
        if self._loop is None:
            raise ClosedError("forwarder")
        listener = Listener[Event](capacity)
        self._listeners.add(listener)
        return listener

    def _untap(self, label: str) -> None:
        self._taps[label] -= 1
        if self._taps[label] == 0:
            del self._taps[label]
            if self._loop is not None:
                self._core.tap(label, False)

    @property
    def tracks(self) -> int:
        """How many tracks come in, and copies go out, now."""
        return len(self._receivers) + len(self._senders)

    @property
    def senders(self) -> dict[int, Sender]:
        """The copies that there are, by the numbers that :meth:`rtpcore.snapshot.Snapshot.copies` has for them."""
        return dict(self._senders)

    def snapshot(self) -> Snapshot:
        """Everything that is counted, at once; cheaper than ``stats()`` of many receivers and senders."""
        return Snapshot(self._core.stats())

    def stats(self) -> Stats:
        """Totals since start: packets, bytes, one count per drop reason."""
        return self.snapshot().totals

    def _drain(self) -> None:
        """Fetch what waits and hand it to every listener; runs when the descriptor is readable."""
        if self._loop is None:
            return
        for raw in self._core.drain(_DRAIN):
            event = self._event(raw)
            if event is None:
                continue
            if isinstance(event, TransportChanged):
                event.transport._handle_state(event.state)
                if event.state in ("closed", "failed"):
                    self._transports.pop(event.transport._number, None)
            for listener in self._listeners:
                listener.push(event)

    def _event(self, raw: tuple[Any, ...]) -> Event | None:
        """Turn the binary's tuple into an event; None where its object is gone."""
        kind, number, *rest = raw
        if kind == "message":
            # For those who asked for it alone: messages must not fill the queues of those who wait for events.
            if (hub := self._hubs.get(number)) is not None:
                hub._report(*rest)
            return None
        if kind == "layer":
            sender = self._senders.get(number)
            layer = None if rest[0] is None else Layer(*rest[0])
            return None if sender is None else LayerChanged(sender, layer)
        if kind == "stream_paused":
            sender = self._senders.get(number)
            return None if sender is None else StreamPaused(sender, *rest)
        if kind in ("audio_level", "encoding_started", "receiver_ended"):
            receiver = self._receivers.get(number)
            if receiver is None:
                return None
            if kind == "audio_level":
                return AudioLevelChanged(receiver, *rest)
            return EncodingStarted(receiver, *rest) if kind == "encoding_started" else ReceiverEnded(receiver)
        transport = self._transports.get(number)
        if transport is None:
            return None
        if kind == "transport":
            return TransportChanged(transport, *rest)
        if kind == "bandwidth":
            return BandwidthChanged(transport, *rest)
        if kind == "data":
            return DataReceived(transport, *rest)
        return ChannelOpened(transport, *rest) if kind == "channel_opened" else ChannelClosed(transport, *rest)


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _core_of(config: Config) -> _core.Forwarder:
    listen, media = config.listen, config.media
    return _core.Forwarder(
        workers=config.worker_count,
        addresses=list(listen.addresses),
        udp_port=listen.udp_port,
        tcp_port=listen.tcp_port,
        advertise=list(listen.advertise),
        advertise_local=listen.advertise_local,
        ice_lite=media.ice_lite,
        history_packets=media.history_packets,
        snapshot_interval_ms=media.stats_interval_ms,
        seed=config.seed if config.seed is not None else secrets.randbits(64),
        # Counted here: those that lie beside each other may be more than a worker's share.
        max_transports=config.limits.transports,
        keyframe_interval_ms=media.keyframe_interval_ms,
        estimates_bandwidth=media.estimate_bandwidth,
        start_bitrate_bps=media.start_bitrate_bps,
        speaker_interval_ms=media.speaker_interval_ms,
        speaker_softest=media.speaker_softest_dbov,
        speaker_least_percent=media.speaker_least_percent,
    )


async def _iterate(listener: Listener[Event]) -> AsyncIterator[Event]:
    while (event := await listener.next()) is not None:
        yield event


async def _messages(listener: Listener[Event], label: str) -> AsyncIterator[DataReceived]:
    while (event := await listener.next()) is not None:
        if isinstance(event, DataReceived) and event.label == label:
            yield event
