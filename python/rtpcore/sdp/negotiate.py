"""Offers and answers (RFC 9429, Unified Plan; BUNDLE and rtcp-mux always).

`answer` and `offer` make one description and forget it. `Negotiation` remembers what must not change between the
descriptions of one session: the order of sections, mids, payload types, extension ids, the DTLS role.

::

              answer(offer, …)                              offer(…)                     apply(answer)
    stable ────────────────────▶ stable         stable ────────────────▶ pending ────────────────────▶ stable
                                                   ▲                         │  rollback()
                                                   └─────────────────────────┘
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from rtpcore.errors import ParametersError
from rtpcore.parameters import (
    Candidate,
    Codec,
    DtlsRole,
    Extension,
    IceParameters,
    Kind,
    SenderParameters,
    TrackParameters,
    TransportParameters,
)
from rtpcore.sdp import answering, offering
from rtpcore.sdp.assignments import Assignments
from rtpcore.sdp.attributes import AnyAttribute, Attribute, Group
from rtpcore.sdp.codecs import AUDIO_EXTENSIONS, FLEXFEC, VIDEO_EXTENSIONS, Capabilities, offered_to_send
from rtpcore.sdp.description import MediaSection, Origin, SessionDescription
from rtpcore.sdp.sections import End
from rtpcore.sdp.tracks import is_data, read_transport


@dataclass(frozen=True, slots=True)
class Agreement:
    """What an offer and its answer come to: what the core is to be told.

    Attributes:
        transport: The peer's end.
        tracks: What the peer sends and we receive.
        senders: What we send, with the codecs and extension ids the peer takes.
        rejected: Mids of the sections that are closed for good.
        data: Whether there are data channels.
        is_restart: The peer's ICE credentials are others than before (RFC 8839 §4.4.3).
    """

    transport: TransportParameters
    tracks: tuple[TrackParameters, ...] = ()
    senders: tuple[SenderParameters, ...] = ()
    rejected: tuple[str, ...] = ()
    data: bool = False
    is_restart: bool = False


def answer(
    offer: SessionDescription,
    local: TransportParameters,
    candidates: Iterable[Candidate] = (),
    *,
    senders: Sequence[SenderParameters] = (),
    receive: Collection[str | None] | None = None,
    capabilities: Capabilities | None = None,
) -> SessionDescription:
    """Answer one offer; see `Negotiation.answer`.

    For WHIP the offer alone says what comes: ``answer(offer, transport.local, forwarder.candidates)``. For WHEP give a
    sender for each section of `offer.wanted` that can be served.
    """
    return Negotiation(capabilities).answer(offer, local, candidates, senders=senders, receive=receive)


def offer(
    local: TransportParameters,
    candidates: Iterable[Candidate] = (),
    *,
    senders: Sequence[SenderParameters] = (),
    receivers: Sequence[TrackParameters] = (),
    capabilities: Capabilities | None = None,
) -> SessionDescription:
    """Make a first offer without keeping the state to apply its answer; see `Negotiation.offer`."""
    return Negotiation(capabilities).offer(local, candidates, senders=senders, receivers=receivers)


class Negotiation:
    """The descriptions of one session, from the first to the last.

    Pure: the same calls give the same texts. Both ends may offer, one at a time. After `answer` and after `apply`,
    `agreement` says what now holds.
    """

    def __init__(self, capabilities: Capabilities | None = None, *, session_id: int | None = None) -> None:
        """Begin a session.

        Args:
            capabilities: What may be negotiated; all by default.
            session_id: For the ``o=`` line, below 2^63. Without one it is derived from the first ICE ufrag, which is
                random already.
        """
        self.capabilities = capabilities or Capabilities()
        self.agreement: Agreement | None = None
        self._assignments = Assignments(self.capabilities)
        self._session_id = session_id
        self._version = 0
        self._local: SessionDescription | None = None
        self._pending: offering.Pending | None = None
        self._role: DtlsRole | None = None
        self._ice: IceParameters | None = None
        self._own_mids: set[str] = set()
        self._reserved: set[str] = set()

    @property
    def is_pending(self) -> bool:
        """Whether an offer of ours waits for its answer."""
        return self._pending is not None

    def is_restart(self, description: SessionDescription) -> bool:
        """Whether the peer restarts ICE with this description, so that our answer needs new credentials too."""
        if self.agreement is None:
            return False
        before, now = self.agreement.transport.ice, read_transport(description).ice
        return (before.ufrag, before.pwd) != (now.ufrag, now.pwd)

    def answer(
        self,
        offer: SessionDescription,
        local: TransportParameters,
        candidates: Iterable[Candidate] = (),
        *,
        senders: Sequence[SenderParameters] = (),
        receive: Collection[str | None] | None = None,
    ) -> SessionDescription:
        """Answer the peer's offer.

        Sections without a common codec are rejected, sections that we neither send nor receive in are inactive.
        Payload types, extension ids and their order are the offer's.

        Args:
            offer: From `parse`.
            local: Our end; ``sctp_port=None`` rejects data channels.
            candidates: Besides those of `local`.
            senders: What to send, each in a section of `offer.wanted`.
            receive: The mids in which to take the peer's track; all by default.

        Raises:
            ParametersError: The offer cannot be served as a whole, a sender does not fit its section, an earlier
                section is missing, ICE was restarted but `local` was not, or an offer of ours is pending.
        """
        if self._pending is not None:
            raise ParametersError("an offer of ours is pending", "refuse this one, or call rollback first")
        offering.check_order(self._local, offer)
        restart = self.is_restart(offer)
        if restart and self._ice is not None and _same_credentials(self._ice, local.ice):
            raise ParametersError("the peer restarts ICE, our credentials are old", "give a local end with new ones")
        remote = read_transport(offer)
        role = answering.choose_role(remote.dtls.role, local.dtls.role, self._role)
        end = End(local, role, _all_candidates(local, candidates))
        made = answering.answer_sections(offer, end, senders, receive, self.capabilities)
        description = self._describe(local, made.media, _grouped(offer, made.media))
        if offer.has("extmap-allow-mixed"):
            description = _with_flag(description, "extmap-allow-mixed")
        self._assignments.learn(offer)
        self._settle(description, local.ice, role)
        self.agreement = Agreement(
            transport=remote,
            tracks=made.tracks,
            senders=made.senders,
            rejected=tuple(section.mid for section in made.media if section.is_rejected and section.mid is not None),
            data=any(is_data(section) and not section.is_rejected for section in made.media),
            is_restart=restart,
        )
        return description

    def mid(self, kind: Kind, *, again: bool = True) -> str:
        """A mid for a new sender or receiver: that of an idle section of ours of this kind, else one not used yet.

        Held until the next `offer`, so that several can be taken. Using sections again keeps descriptions short: they
        can never be removed (RFC 9429 §5.2.2). With ``again=False`` it is one not used yet in any case.
        """
        media = () if self._local is None else self._local.media
        idle = (
            s.mid
            for s in media
            if (s.kind, s.direction) == (kind, "inactive") and not s.is_rejected and s.mid in self._own_mids
        )
        mid = next((mid for mid in idle if mid not in self._reserved), None) if again else None
        if mid is None:
            used = {section.mid for section in media} | self._reserved | self._own_mids
            mid = next(text for text in map(str, range(len(used) + 1)) if text not in used)
        self._reserved.add(mid)
        return mid

    def codecs(self, kind: Kind) -> tuple[Codec, ...]:
        """All codecs of this kind that we can offer, under this session's payload types."""
        return self._assignments.codecs(kind)

    def codecs_for(self, codecs: Iterable[Codec]) -> tuple[Codec, ...]:
        """A publisher's codecs under this session's payload types, for a sender that is to be offered.

        >>> session = Negotiation()
        >>> [c.payload_type for c in session.codecs_for([Codec("video/VP8", 120, 90000, rtx=124)])]
        [120]
        """
        return tuple(self._assignments.codec(codec) for codec in codecs if self.capabilities.accepts(codec))

    def extensions(self, kind: Kind, *, sends: bool = True) -> tuple[Extension, ...]:
        """The header extensions that we offer, under this session's ids."""
        every = AUDIO_EXTENSIONS if kind == "audio" else VIDEO_EXTENSIONS
        return self._assignments.extensions(offered_to_send(kind) if sends else every)

    def offer(
        self,
        local: TransportParameters,
        candidates: Iterable[Candidate] = (),
        *,
        senders: Sequence[SenderParameters] = (),
        receivers: Sequence[TrackParameters] = (),
    ) -> SessionDescription:
        """Offer the state that we want, as a whole.

        Sections we made that are not named become inactive; those that the peer made go on as they are.
        A mid from `mid` names its section, and names the same one for as long as it is in use; new ones take the
        places of sections that were rejected, of the same kind, or come last. Empty codecs and extensions of senders
        and receivers stand for all that we have. A data section is there once `local` has an SCTP port, and stays.
        Credentials in `local` that are new restart ICE. An offer that is still pending is replaced.

        Raises:
            ParametersError: A mid is missing, repeated, rejected, or belongs to another kind.
        """
        plans = offering.plans(
            tuple(self._complete_sender(sender) for sender in senders),
            tuple(self._complete_receiver(receiver) for receiver in receivers),
        )
        end = End(local, "actpass", _all_candidates(local, candidates))
        media = offering.offer_sections(self._local, plans, self._own_mids, end)
        live = tuple(section.mid for section in media if not section.is_rejected and section.mid is not None)
        description = self._describe(local, media, live)
        description = _with_flag(description, "extmap-allow-mixed")
        known = {section.mid for section in (() if self._local is None else self._local.media)}
        self._own_mids |= {plan.mid for plan in plans if plan.mid not in known}
        self._reserved.clear()
        self._pending = offering.Pending(description, self._sent(plans), local.ice)
        return description

    def apply(self, answer: SessionDescription) -> Agreement:
        """Take the peer's answer to our pending offer; also sets `agreement`.

        Raises:
            ParametersError: Nothing is pending, or the answer does not fit the offer; the offer stays pending.
        """
        if self._pending is None:
            raise ParametersError("an answer, but no offer is pending")
        offering.check_answer(self._pending.offer, answer)
        agreed = offering.agree(self._pending, answer, self.capabilities)
        remote = read_transport(answer)
        if remote.dtls.role == "auto":
            raise ParametersError("a=setup:actpass in an answer", "answer active or passive (RFC 8842 §5.3)")
        restart = self.is_restart(answer)
        role: DtlsRole = "passive" if remote.dtls.role == "active" else "active"
        self._settle(offering.settled(self._pending.offer, answer), self._pending.ice, role)
        self._pending = None
        self.agreement = Agreement(
            transport=remote,
            tracks=agreed.tracks,
            senders=agreed.senders,
            rejected=tuple(section.mid for section in answer.media if section.is_rejected and section.mid is not None),
            data=any(is_data(section) and not section.is_rejected for section in answer.media),
            is_restart=restart,
        )
        return self.agreement

    def rollback(self) -> None:
        """Take our pending offer back (RFC 9429 §4.1.10.2); payload types and ids it took stay taken."""
        self._pending = None

    def _describe(
        self, local: TransportParameters, media: tuple[MediaSection, ...], bundle: tuple[str, ...]
    ) -> SessionDescription:
        if self._session_id is None:
            digest = hashlib.sha256(local.ice.ufrag.encode()).digest()
            self._session_id = int.from_bytes(digest[:8], "big") >> 1
        attributes: list[AnyAttribute] = []
        if bundle:
            attributes.append(Group("BUNDLE", bundle))
        if local.ice.lite:
            attributes.append(Attribute("ice-lite"))
        attributes.append(Attribute("msid-semantic", " WMS *"))
        description = SessionDescription(Origin(self._session_id, self._version), media, tuple(attributes))
        self._version += 1
        return description

    def _settle(self, local: SessionDescription, ice: IceParameters, role: DtlsRole) -> None:
        self._local, self._ice, self._role = local, ice, role

    def _sent(self, plans: Sequence[offering.Plan]) -> tuple[SenderParameters, ...]:
        """The senders of an offer: those planned, and those in the peer's own sections, which go on."""
        planned = {plan.mid for plan in plans}
        before = () if self.agreement is None else self.agreement.senders
        going_on = (s for s in before if s.mid not in planned and s.mid not in self._own_mids)
        return (*(plan.sender for plan in plans if plan.sender is not None), *going_on)

    def _complete_sender(self, sender: SenderParameters) -> SenderParameters:
        codecs = sender.codecs or self.codecs(sender.kind)
        return replace(
            sender,
            codecs=codecs,
            extensions=sender.extensions or self.extensions(sender.kind),
            rtx_ssrc=sender.rtx_ssrc if any(codec.rtx is not None for codec in codecs) else None,
            fec_payload_type=None if sender.fec_ssrc is None else self._assignments.codec(FLEXFEC).payload_type,
        )

    def _complete_receiver(self, track: TrackParameters) -> TrackParameters:
        return replace(
            track,
            codecs=track.codecs or self.codecs(track.kind),
            extensions=track.extensions or self.extensions(track.kind, sends=False),
        )


def _grouped(offer: SessionDescription, media: tuple[MediaSection, ...]) -> tuple[str, ...]:
    """The answer's BUNDLE group: the offer's without rejected sections, in the same order (RFC 9143 §7.3)."""
    live = {section.mid for section in media if not section.is_rejected}
    return tuple(mid for mid in offer.bundle if mid in live)


def _with_flag(description: SessionDescription, name: str) -> SessionDescription:
    return replace(description, attributes=(*description.attributes, Attribute(name)))


def _same_credentials(one: IceParameters, other: IceParameters) -> bool:
    return (one.ufrag, one.pwd) == (other.ufrag, other.pwd)


def _all_candidates(local: TransportParameters, more: Iterable[Candidate]) -> tuple[Candidate, ...]:
    return tuple(dict.fromkeys((*local.candidates, *more)))
