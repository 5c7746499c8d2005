"""One peer connection of a client: what was negotiated on it, and the transport that carries it.

Both kinds that a LiveKit client has go through here: where the client offers (its publications, and with a single
connection its subscriptions too, in the sections that it made for them), and where we do (the subscriptions of a client
with two).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rtpcore import sdp
from rtpcore.errors import ParametersError
from rtpcore.parameters import Candidate, SenderParameters, TrackParameters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rtpcore.copies import Copy, Sources
    from rtpcore.events import Layer
    from rtpcore.forwarder import Receiver, Transport

__all__ = ["Answered", "Connection", "trickle"]


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a peer's offer.

    Attributes:
        text: Our answer.
        begun: Tracks that the peer will send from now on.
        ended: Those that it sends no longer.
        refused: Sids of copies that it cannot take: no codec is common.
    """

    text: str
    begun: tuple[Receiver, ...] = ()
    ended: tuple[Receiver, ...] = ()
    refused: tuple[str, ...] = ()


class Connection:
    """One peer connection, from its first description to its close."""

    def __init__(self, expect: Callable[[], Transport], capabilities: sdp.Capabilities | None = None) -> None:
        """Make nothing yet.

        Args:
            expect: Makes the transport with the first description.
            capabilities: What may be negotiated; everything by default.
        """
        self._expect = expect
        self._transport: Transport | None = None
        self._negotiation = sdp.Negotiation(capabilities)
        self._early: list[Candidate] = []
        self._receivers: dict[str | None, Receiver] = {}
        self._used: set[str] = set()
        self.copies: dict[str, Copy] = {}

    @property
    def transport(self) -> Transport:
        """The transport; made when it is first asked for. Raises LimitError where the forwarder is full."""
        if self._transport is None:
            self._transport = self._expect()
        return self._transport

    @property
    def is_begun(self) -> bool:
        """Whether there is a transport."""
        return self._transport is not None

    @property
    def is_pending(self) -> bool:
        """Whether an offer of ours waits for its answer."""
        return self._negotiation.is_pending

    def is_carried_by(self, transport: Transport) -> bool:
        """Whether this is the connection's transport."""
        return self._transport is transport

    @property
    def receivers(self) -> tuple[Receiver, ...]:
        """The peer's tracks."""
        return tuple(self._receivers.values())

    def answer(
        self,
        text: str,
        opus: Callable[[TrackParameters], Mapping[str, str]],
        prefer: Callable[[TrackParameters], str | None] = lambda track: None,
    ) -> Answered:
        """Take the peer's offer. Copies that have no section yet get one of those in which the peer can receive.

        Args:
            text: The offer.
            opus: What to ask of the encoder of an audio track, as parameters of opus (RFC 7587 §6.1).
            prefer: In which codec a track shall come, by its MIME type.

        Raises:
            ProtocolError: The text is not SDP.
            ParametersError: The offer cannot be served.
            LimitError: The forwarder is full.
        """
        offer = sdp.parse(text)
        transport = self.transport
        if self._negotiation.is_restart(offer):
            transport.restart_ice()
        chosen, refused = self._place(offer.wanted, offer.tracks)
        answer = self._negotiation.answer(offer, transport.local, senders=chosen)
        for track in offer.tracks:
            if track.kind == "audio":
                answer = sdp.tune(answer, track.mid, "opus", opus(track))
            if (name := prefer(track)) is not None:
                answer = sdp.prefer(answer, track.mid, name)
        begun, ended = self._settle()
        return Answered(str(answer), begun, ended, refused)

    def offer(self) -> str:
        """Offer the copies as they are now. A pending offer is replaced."""
        senders = []
        for copy in self.copies.values():
            if copy.mid is None:
                self._place_anew(copy)
            senders.append(copy.propose(self._negotiation.codecs_for(copy.sources.codecs)))
        return str(self._negotiation.offer(self.transport.local, senders=senders))

    def _place_anew(self, copy: Copy) -> None:
        """Give a copy a section of ours, for its first track where there are not too many."""
        copy.mid = self._negotiation.mid(copy.kind, again=len(self._used) >= _MANY_SECTIONS)
        if copy.mid in self._used and copy.own_stream_id:
            copy.stream_id = copy.own_stream_id
        self._used.add(copy.mid)

    def apply(self, text: str) -> tuple[str, ...]:
        """Take the peer's answer; give the sids of the copies that it cannot take.

        Raises:
            ProtocolError: The text is not SDP.
            ParametersError: No offer is pending, or the answer does not fit it.
        """
        self._negotiation.apply(sdp.parse(text))
        self._settle()
        return tuple(copy.sid for copy in self.copies.values() if copy.mid is not None and copy.parameters is None)

    def add_candidate(self, text: str) -> None:
        """Take a candidate of the peer, before or after its description. Raises ProtocolError."""
        if not text:
            return
        candidate = Candidate.from_string(text)
        if self._transport is not None and self._negotiation.agreement is not None:
            self._transport.add_candidate(candidate)
        elif len(self._early) < _MAX_EARLY:
            self._early.append(candidate)

    def trickle(self, text: str) -> sdp.Fragment | None:
        """Take a fragment of the peer's description that came over HTTP; see :func:`trickle`."""
        return trickle(self._negotiation, self.transport, text)

    def rollback(self) -> None:
        """Take a pending offer back, since its answer will not come."""
        self._negotiation.rollback()

    def restart_ice(self) -> None:
        """Use new credentials with the next offer."""
        self.transport.restart_ice()

    def drop(self, sid: str) -> Copy | None:
        """Send a copy no longer; its section is free with the next description."""
        copy = self.copies.pop(sid, None)
        if copy is not None:
            copy.disconnect()
        return copy

    def adjust(self, sid: str, sources: Sources, layer: Layer, *, is_paused: bool, priority: int = 0) -> None:
        """Send a copy from other sources, in another layer or with another rank, or not for now."""
        copy = self.copies.get(sid)
        if copy is not None:
            copy.sources, copy.layer, copy.is_paused, copy.priority = sources, layer, is_paused, priority
            copy.steer()
            if copy.parameters is not None:
                copy.connect(self.transport)

    def unplaced(self) -> dict[str, int]:
        """By kind, how many copies have no media section."""
        counts = {"audio": 0, "video": 0}
        for copy in self.copies.values():
            if copy.mid is None:
                counts[copy.kind] += 1
        return counts

    def mids(self) -> dict[str, str]:
        """By mid, the sid of the copy in that section."""
        return {copy.mid: copy.sid for copy in self.copies.values() if copy.mid is not None}

    def close(self) -> None:
        """End the transport with all that is on it."""
        if self._transport is not None:
            self._transport.close()

    def _place(
        self, wanted: Sequence[TrackParameters], sent: Sequence[TrackParameters]
    ) -> tuple[list[SenderParameters], tuple[str, ...]]:
        """Keep copies in their sections, give free ones to those without; a section that is gone frees its copy.

        Sections in which the peer sends, too, come last. Where it sends several encodings there is no place: pion (4.2)
        takes the answer's rid lines for encodings of ours, and then waits for those.

        Args:
            wanted: In which sections the peer can receive.
            sent: What it sends.

        Returns:
            What to send, and the sids of copies that none of the free sections can take.
        """
        encodings = {track.mid: len(track.encodings) for track in sent}
        sections = {section.mid: section for section in wanted if encodings.get(section.mid, 0) < 2}
        sections = dict(sorted(sections.items(), key=lambda one: one[0] in encodings))
        chosen, refused = [], []
        for copy in self.copies.values():
            if copy.mid is not None and copy.mid not in sections:
                copy.disconnect()
        taken = {copy.mid for copy in self.copies.values()}
        for copy in self.copies.values():
            free = [one for one in sections.values() if one.mid not in taken and one.kind == copy.kind]
            fitting = next((one for one in free if copy.common(one.codecs)), None)
            section = sections[copy.mid] if copy.mid is not None else fitting
            if section is None:
                if free:
                    refused.append(copy.sid)
                continue
            copy.mid = section.mid
            taken.add(section.mid)
            chosen.append(copy.propose(copy.common(section.codecs)))
        return chosen, tuple(refused)

    def _settle(self) -> tuple[tuple[Receiver, ...], tuple[Receiver, ...]]:
        """Make the transport do what was agreed; give the tracks that began and ended."""
        agreed = self._negotiation.agreement
        if agreed is None:
            raise ParametersError("nothing was negotiated yet")
        transport = self.transport
        transport.set_remote(agreed.transport)
        while self._early:
            transport.add_candidate(self._early.pop(0))
        tracks = {track.mid: track for track in agreed.tracks}
        ended = []
        for mid, receiver in list(self._receivers.items()):
            track = tracks.get(mid)
            if track is None or _is_other(track, receiver.track):
                receiver.close()
                ended.append(self._receivers.pop(mid))
        begun = []
        for mid, track in tracks.items():
            if mid not in self._receivers:
                self._receivers[mid] = transport.add_receiver(track)
                begun.append(self._receivers[mid])
        by_mid = {copy.mid: copy for copy in self.copies.values() if copy.mid is not None}
        for parameters in agreed.senders:
            copy = by_mid.get(parameters.mid or "")
            if copy is not None:
                if copy.parameters is None:
                    copy.parameters = parameters
                copy.connect(transport)
        return tuple(begun), tuple(ended)


def trickle(negotiation: sdp.Negotiation, transport: Transport, text: str) -> sdp.Fragment | None:
    """Take candidates or new ICE credentials that came over HTTP (RFC 9725 §4.3).

    Returns:
        After a restart our end's fragment, which is the answer; None otherwise.

    Raises:
        ProtocolError: The text is no fragment.
        ParametersError: The fragment has a user name fragment without a password, or nothing was negotiated yet.
    """
    fragment = sdp.Fragment.parse(text)
    agreed = negotiation.agreement
    if agreed is None:
        raise ParametersError("nothing was negotiated yet")
    ice = fragment.ice
    is_restart = ice is not None and (ice.ufrag, ice.pwd) != (agreed.transport.ice.ufrag, agreed.transport.ice.pwd)
    if ice is not None and is_restart:
        transport.restart_ice()
        transport.set_remote(replace(agreed.transport, ice=ice, candidates=fragment.candidates))
        negotiation.agreement = replace(agreed, transport=replace(agreed.transport, ice=ice))
        local = transport.local
        # Under the section that the client named: it is the one that carries the bundle's transport.
        mid, kind = ("0", "audio") if not fragment.media else (fragment.media[0].mid or "0", fragment.media[0].kind)
        return sdp.Fragment.of(local.ice, local.candidates, mid=mid, kind=kind, is_last=True)
    for candidate in fragment.candidates:
        transport.add_candidate(candidate)
    return None


_MANY_SECTIONS = 24
"""Sections from which old ones are used again. A second track in one plays out of step with what its publisher sends
beside it, since its stream must be its own; and each section makes every later description longer."""

_MAX_EARLY = 64
"""Candidates that may come before their description."""


def _is_other(now: TrackParameters, before: TrackParameters) -> bool:
    """Whether a section has another track than before."""
    return (now.track_id, now.encodings) != (before.track_id, before.encodings)
