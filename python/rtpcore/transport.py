"""One peer of a forwarder, with the tracks that come from it and the copies that go to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rtpcore.errors import ClosedError, LimitError, ParametersError
from rtpcore.events import (
    Layer,
    TransportState,
)
from rtpcore.parameters import (
    Candidate,
    DtlsParameters,
    DtlsRole,
    Fingerprint,
    IceParameters,
    SenderParameters,
    TrackParameters,
    TransportParameters,
)
from rtpcore.stats import ReceiverStats, SenderStats, TransportStats

if TYPE_CHECKING:
    from rtpcore import _core  # noqa: TID251 - a name in an annotation is no arrow
    from rtpcore.forwarder import Forwarder

__all__ = ["Receiver", "Sender", "Transport"]


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
            max_message_size=self._forwarder.MAX_MESSAGE,
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
        self._core.open_channel(
            self._number,
            label,
            protocol=protocol,
            is_ordered=ordered,
            max_retransmits=max_retransmits,
            max_lifetime_ms=max_lifetime_ms,
            negotiated=negotiated,
        )

    def send_data(self, label: str, payload: bytes | str) -> None:
        """Queue one message on the channel with this label; if the peer reads too slowly it is dropped and counted.

        Raises:
            LimitError: The message is larger than ``max_message_size``, or too many commands wait.
            ClosedError: The transport is closed.
        """
        self._check_open()
        data = payload.encode() if isinstance(payload, str) else payload
        if len(data) > self._forwarder.MAX_MESSAGE:
            raise LimitError("bytes in a message", self._forwarder.MAX_MESSAGE)
        self._core.send_data(self._number, label, data, not isinstance(payload, str))

    def follow_data(self, source: Transport, *, following: bool = True) -> None:
        """Forward every message of ``source`` to this peer, on its data channel with the same label, or stop."""
        self._check_open()
        self._check_same(source)
        self._core.follow_data(self._number, source._number, following)

    def allow_pause(self, is_allowed: bool = True) -> None:
        """Let video be paused when bandwidth is short, as it is at first, or always send its smallest layer.

        Audio is never paused. Where video is not either, a path that is too narrow for its smallest layer loses packets
        of both.
        """
        self._check_open()
        self._core.allow_pause(self._number, is_allowed)

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

    def prefer(self, most: Layer, *, priority: int = 0) -> None:
        """Wish for at most this layer; less is sent when bandwidth is short.

        Args:
            most: A higher one than the track has means its highest.
            priority: Among the senders of the transport, 0 to 255. When bandwidth is short each gets its smallest
                layer, those of higher priority first; then they are raised, again those of higher priority first.

        Raises:
            ParametersError: A number is not 0 to 255.
        """
        if not (0 <= most.spatial <= 255 and 0 <= most.temporal <= 255):
            raise ParametersError(f"there is no {most}", "layers count from 0; 255 is more than any track has")
        if not 0 <= priority <= 255:
            raise ParametersError(f"there is no priority {priority}", "0 to 255, the highest is served first")
        self.transport._core.prefer(self._number, most.spatial, most.temporal, priority)

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
