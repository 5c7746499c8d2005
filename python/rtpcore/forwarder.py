"""The asyncio face of the core: attach transports, say who follows whom, read events. Media never enters Python."""

from __future__ import annotations

import asyncio
import secrets
import weakref
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rtpcore import _core
from rtpcore.config import Config
from rtpcore.errors import ClosedError, LimitError, ParametersError, RtpcoreError
from rtpcore.events import (
    AudioLevelChanged,
    ChannelClosed,
    ChannelOpened,
    DataReceived,
    EncodingStarted,
    Event,
    Layer,
    LayerChanged,
    ReceiverEnded,
    TransportChanged,
    TransportState,
)
from rtpcore.hub import Hub, Member
from rtpcore.listener import Listener
from rtpcore.parameters import (
    Candidate,
    DtlsParameters,
    DtlsRole,
    Fingerprint,
    IceParameters,
    SenderParameters,
    TrackParameters,
    TransportParameters,
    UdpAddress,
)
from rtpcore.snapshot import Snapshot
from rtpcore.stats import Histogram, ReceiverStats, SenderStats, Stats, TransportStats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from rtpcore.config import Listen
    from rtpcore.parameters import SrtpProfile

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

    def snapshot(self) -> Snapshot:
        """Everything that is counted, at once; cheaper than ``stats()`` of many receivers and senders."""
        return Snapshot(self._core.stats())

    def stats(self) -> Stats:
        """Totals since start: packets, bytes, one count per drop reason."""
        stats = self._core.stats()
        return Stats(
            packets_received=stats["packets_received"],
            bytes_received=stats["bytes_received"],
            packets_sent=stats["packets_sent"],
            bytes_sent=stats["bytes_sent"],
            packets_forwarded=stats["packets_forwarded"],
            drops=stats["drops"],
            transports=len(stats["transports"]),
            added_delay=_histogram(*stats["added_delay"]),
            keyframe_wait=_histogram(*stats["keyframe_wait"]),
        )

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
        if kind == "data":
            return DataReceived(transport, *rest)
        return ChannelOpened(transport, *rest) if kind == "channel_opened" else ChannelClosed(transport, *rest)


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _histogram(counts: list[int], nanos: int) -> Histogram:
    return Histogram(tuple(counts), nanos / 1e9)


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


class Transport:
    """One peer: ICE, DTLS, SRTP and SCTP on its nominated 5-tuple (RFC 8834, RFC 8831)."""

    def __init__(self, forwarder: Forwarder, number: int, ice: IceParameters) -> None:
        """Not to be called: :meth:`Forwarder.add_transport` makes transports."""
        self._forwarder = forwarder
        self._number = number
        self._ice = ice
        self._dtls_role: DtlsRole = "passive"
        self._state: TransportState = "new"
        self._is_closed = False
        self._changed = asyncio.Event()
        # Who opens a stream of which number is known once the peer has described itself; None from then on.
        self._early_channels: list[Callable[[], None]] | None = []
        # Receivers and senders live as long as their transport, whether or not anybody holds them.
        self._owned: list[Receiver | Sender] = []

    def __repr__(self) -> str:
        """Show the number and the state."""
        return f"<Transport {self.id} {self._state}>"

    @property
    def id(self) -> str:
        """A name that no other transport of this forwarder had or will have."""
        return f"{self._number:x}"

    @property
    def state(self) -> TransportState:
        """How far the peer has come."""
        return self._state

    @property
    def local(self) -> TransportParameters:
        """ICE credentials, fingerprint and role for your description."""
        digest = ":".join(f"{byte:02X}" for byte in self._forwarder._fingerprint)
        return TransportParameters(
            ice=self._ice,
            dtls=DtlsParameters(fingerprints=(Fingerprint("sha-256", digest),), role=self._dtls_role),
            candidates=self._forwarder.candidates,
            end_of_candidates=True,
            sctp_port=5000,
            max_message_size=_core.MAX_MESSAGE,
        )

    def set_remote(self, remote: TransportParameters) -> None:
        """Take the peer's description, at first or after a change; new ICE credentials restart ICE.

        Raises:
            ParametersError: No usable credentials or fingerprint.
            ClosedError: The transport is closed.
        """
        self._check_open()
        # A peer that leaves the choice to us becomes the client: it knows our address before we know its.
        is_client = remote.dtls.role == "passive"
        self._dtls_role = "active" if is_client else "passive"
        self._core.set_remote(
            self._number,
            ufrag=remote.ice.ufrag,
            pwd=remote.ice.pwd,
            is_lite=remote.ice.lite,
            fingerprints=[
                (fingerprint.algorithm, bytes.fromhex(fingerprint.value.replace(":", "")))
                for fingerprint in remote.dtls.fingerprints
            ],
            is_client=is_client,
            max_message=remote.max_message_size if remote.sctp_port is not None else None,
        )
        for candidate in remote.candidates:
            self.add_candidate(candidate)
        if remote.sctp_port is not None:
            waiting, self._early_channels = self._early_channels or [], None
            for open_channel in waiting:
                open_channel()

    def add_candidate(self, candidate: Candidate) -> None:
        """Take one more candidate of the peer (trickle, RFC 8838).

        Host names (mDNS) are passed over: the peer's own checks will tell its address.
        """
        self._check_open()
        if not candidate.is_host_name:
            self._core.add_candidate(self._number, str(candidate))

    def restart_ice(self) -> None:
        """Make new ICE credentials; :attr:`local` has them for your next description (RFC 8445 §9)."""
        self._check_open()
        ufrag, pwd = self._core.restart_ice(self._number)
        self._ice = IceParameters(ufrag=ufrag, pwd=pwd, lite=self._ice.lite)

    async def connected(self) -> None:
        """Wait until media can flow.

        Raises:
            ClosedError: It never will.
        """
        while self._state != "connected":
            if self._state in ("failed", "closed"):
                raise ClosedError("transport")
            self._changed.clear()
            await self._changed.wait()

    def add_receiver(self, track: TrackParameters) -> Receiver:
        """Expect a track, one to three encodings by rid or SSRC.

        Raises:
            ParametersError: The track has no codec, too many encodings, or names that no packet could carry.
            ClosedError: The transport is closed.
        """
        self._check_open()
        receiver = Receiver(self, self._core.add_receiver(self._number, track), track)
        self._forwarder._receivers[receiver._number] = receiver
        self._owned.append(receiver)
        return receiver

    def add_sender(self, source: Receiver, track: SenderParameters) -> Sender:
        """Forward ``source`` to this peer from its next keyframe.

        Args:
            source: A track of any transport of the same forwarder.
            track: How this peer negotiated the copy: mid, payload types, SSRCs, extension ids.

        Raises:
            ParametersError: ``track`` has no codec, or ``source`` belongs to another forwarder.
            ClosedError: The transport is closed.
        """
        self._check_open()
        self._check_same(source.transport)
        sender = Sender(self, self._core.add_sender(self._number, source._number, track), track)
        self._forwarder._senders[sender._number] = sender
        self._owned.append(sender)
        return sender

    def open_channel(
        self,
        label: str,
        *,
        protocol: str = "",
        ordered: bool = True,
        max_retransmits: int | None = None,
        max_lifetime_ms: int | None = None,
        negotiated: int | None = None,
    ) -> None:
        """Open a data channel (RFC 8832), now or as soon as the peer is connected.

        Args:
            label: The name the peer's application sees.
            protocol: The subprotocol.
            ordered: Deliver in order.
            max_retransmits: Give up after so many retransmissions.
            max_lifetime_ms: Give up after so many milliseconds; not together with ``max_retransmits``.
            negotiated: The stream number, where both ends know it beforehand and no message announces it.

        Raises:
            ParametersError: Both limits are given, or a number is out of its range.
            ClosedError: The transport is closed.
        """
        self._check_open()
        if negotiated is not None and not 0 <= negotiated < 65535:
            raise ParametersError(f"there is no stream {negotiated}", "streams count from 0 to 65534 (RFC 8831 §6.5)")
        for name in (label, protocol):
            if len(name.encode()) > 1024:
                raise ParametersError("a label or protocol has more than 1024 bytes", "give it a shorter name")
        for limit in (max_retransmits, max_lifetime_ms):
            if limit is not None and not 0 <= limit < 2**32:
                raise ParametersError(f"a channel cannot give up after {limit}", "0 to 4294967295")
        if max_retransmits is not None and max_lifetime_ms is not None:
            raise ParametersError("a channel gives up by count or by time", "set max_retransmits or max_lifetime_ms")
        open_channel = partial(
            self._core.open_channel,
            self._number,
            label,
            protocol=protocol,
            is_ordered=ordered,
            max_retransmits=max_retransmits,
            max_lifetime_ms=max_lifetime_ms,
            negotiated=negotiated,
        )
        if self._early_channels is None:
            open_channel()
        else:
            self._early_channels.append(open_channel)

    def send_data(self, label: str, payload: bytes | str) -> None:
        """Queue one message on the channel with this label; if the peer reads too slowly it is dropped and counted.

        Raises:
            LimitError: The message is larger than ``max_message_size``, or too many commands wait.
            ClosedError: The transport is closed.
        """
        self._check_open()
        data = payload.encode() if isinstance(payload, str) else payload
        if len(data) > _core.MAX_MESSAGE:
            raise LimitError("bytes in a message", _core.MAX_MESSAGE)
        self._core.send_data(self._number, label, data, not isinstance(payload, str))

    def follow_data(self, source: Transport, *, following: bool = True) -> None:
        """Forward every message of ``source`` to this peer, on its data channel with the same label, or stop."""
        self._check_open()
        self._check_same(source)
        self._core.follow_data(self._number, source._number, following)

    def stats(self) -> TransportStats | None:
        """Totals of this peer; None before the first measurement and after the end."""
        return self._forwarder.snapshot().transport(self)

    def close(self) -> None:
        """Say goodbye. Idempotent; receivers and senders end with it."""
        if self._is_closed:
            return
        self._is_closed = True
        self._owned.clear()
        if self._forwarder._loop is not None and self._state not in ("failed", "closed"):
            self._core.close_transport(self._number)

    @property
    def _core(self) -> _core.Forwarder:
        return self._forwarder._core

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("transport")

    def _check_same(self, source: Transport) -> None:
        if source._forwarder is not self._forwarder:
            raise ParametersError("the source belongs to another forwarder", "connect the two by a transport")

    def _handle_state(self, state: TransportState) -> None:
        self._state = state
        if state in ("failed", "closed"):
            self._is_closed = True
            self._owned.clear()
        self._changed.set()


class Receiver:
    """A publisher's track as it arrives."""

    def __init__(self, transport: Transport, number: int, track: TrackParameters) -> None:
        """Not to be called: :meth:`Transport.add_receiver` makes receivers."""
        self.transport = transport
        self.track = track
        self._number = number

    def __repr__(self) -> str:
        """Show number, kind and mid."""
        return f"<Receiver {self.id} {self.track.kind} mid={self.track.mid}>"

    @property
    def id(self) -> str:
        """A name that no other receiver of this forwarder had or will have."""
        return f"{self._number:x}"

    def request_keyframe(self, rid: str | None = None) -> None:
        """Send PLI or FIR (RFC 4585 §6.3.1); calls closer than ``Media.keyframe_interval_ms`` count as one.

        Args:
            rid: Which encoding; None for all.

        Raises:
            ParametersError: The track has no encoding ``rid``.
        """
        encoding = None
        if rid is not None:
            rids = [encoding.rid for encoding in self.track.encodings]
            if rid not in rids:
                raise ParametersError(f"the track has no encoding {rid!r}", f"one of {rids}")
            encoding = rids.index(rid)
        self.transport._core.request_keyframe(self._number, encoding)

    def stats(self) -> ReceiverStats | None:
        """Per encoding: bitrate, loss, jitter, frame size; None before the first measurement and after the end."""
        return self.transport._forwarder.snapshot().receiver(self)

    def close(self) -> None:
        """Stop taking the track; its copies send nothing until they follow another. Idempotent."""
        if self in self.transport._owned:
            self.transport._owned.remove(self)
            self.transport._core.remove_receiver(self._number)


class Sender:
    """One subscriber's copy of a receiver; SSRC and numbering survive every switch."""

    def __init__(self, transport: Transport, number: int, track: SenderParameters) -> None:
        """Not to be called: :meth:`Transport.add_sender` makes senders."""
        self.transport = transport
        self.track = track
        self._number = number

    def __repr__(self) -> str:
        """Show number, kind and mid."""
        return f"<Sender {self.id} {self.track.kind} mid={self.track.mid}>"

    @property
    def id(self) -> str:
        """A name that no other sender of this forwarder had or will have."""
        return f"{self._number:x}"

    @property
    def layer(self) -> Layer | None:
        """What is forwarded now; None while paused or waiting for a keyframe."""
        stats = self.stats()
        return None if stats is None else stats.layer

    def prefer(self, most: Layer) -> None:
        """Wish for at most this layer; a higher one than the track has means its highest.

        Raises:
            ParametersError: A number is not 0 to 255.
        """
        if not (0 <= most.spatial <= 255 and 0 <= most.temporal <= 255):
            raise ParametersError(f"there is no {most}", "layers count from 0; 255 is more than any track has")
        self.transport._core.prefer(self._number, most.spatial, most.temporal)

    def follow(self, source: Receiver) -> None:
        """Continue with another source at its next keyframe. Raises ParametersError for another forwarder's."""
        self.transport._check_same(source.transport)
        self.transport._core.follow(self._number, source._number)

    def pause(self) -> None:
        """Send nothing until :meth:`resume`."""
        self.transport._core.pause(self._number, True)

    def resume(self) -> None:
        """Send again, from the next keyframe."""
        self.transport._core.pause(self._number, False)

    def stats(self) -> SenderStats | None:
        """Packets, loss, layer; None before the first measurement and after the end."""
        return self.transport._forwarder.snapshot().sender(self)

    def close(self) -> None:
        """End this copy. Idempotent."""
        if self in self.transport._owned:
            self.transport._owned.remove(self)
            self.transport._core.remove_sender(self._number)
