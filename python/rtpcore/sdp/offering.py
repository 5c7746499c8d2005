"""Our offers section by section, and what the peer's answers make of them (RFC 9429 §5.2, §5.10)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from rtpcore.errors import ParametersError
from rtpcore.parameters import (
    Candidate,
    Codec,
    Extension,
    Fingerprint,
    IceParameters,
    Kind,
    SenderParameters,
    TrackParameters,
)
from rtpcore.sdp.attributes import (
    DIRECTIONS,
    AnyAttribute,
    Attribute,
    Extmap,
    Msid,
    Rid,
    Simulcast,
    Ssrc,
    SsrcGroup,
)
from rtpcore.sdp.codecs import Capabilities, is_same_format, read_codecs
from rtpcore.sdp.description import MediaSection, SessionDescription
from rtpcore.sdp.sections import (
    End,
    data_section,
    direction,
    formats,
    head,
    repaired,
    rtp_section,
    stopped_section,
)
from rtpcore.sdp.tracks import MAX_ENCODINGS, MAX_TAG, direction_of, is_data, read_extensions, read_tracks, read_wanted

_PROTOCOL = "UDP/TLS/RTP/SAVPF"
_TRANSPORT = frozenset(["ice-ufrag", "ice-pwd", "ice-options", "setup", "end-of-candidates"])


@dataclass(frozen=True, slots=True)
class Plan:
    """What one section of our offer is for: a sender, a receiver, or both."""

    mid: str
    kind: Kind
    sender: SenderParameters | None = None
    receiver: TrackParameters | None = None

    @property
    def codecs(self) -> tuple[Codec, ...]:
        """The sender's codecs, then what we receive besides."""
        codecs = () if self.sender is None else self.sender.codecs
        more = () if self.receiver is None else self.receiver.codecs
        numbers = {codec.payload_type for codec in codecs}
        return codecs + tuple(codec for codec in more if codec.payload_type not in numbers)


@dataclass(frozen=True, slots=True)
class Pending:
    """An offer of ours that waits for its answer."""

    offer: SessionDescription
    senders: tuple[SenderParameters, ...]
    ice: IceParameters


@dataclass(frozen=True, slots=True)
class Agreed:
    """What an answer leaves of our plans."""

    tracks: tuple[TrackParameters, ...]
    senders: tuple[SenderParameters, ...]


def plans(senders: Iterable[SenderParameters], receivers: Iterable[TrackParameters]) -> tuple[Plan, ...]:
    """Join senders and receivers by mid, in order. Raises ParametersError where they contradict each other."""
    joined: dict[str, Plan] = {}
    for sender in senders:
        mid = _mid(sender.mid)
        if mid in joined:
            raise ParametersError(f"two senders in section {mid}", "take a mid of its own for each")
        joined[mid] = Plan(mid, sender.kind, sender=sender)
    for receiver in receivers:
        mid = _mid(receiver.mid)
        plan = joined.get(mid, Plan(mid, receiver.kind))
        if plan.receiver is not None or plan.kind != receiver.kind:
            raise ParametersError(f"two uses of section {mid}", "take a mid of its own for each")
        if len(receiver.encodings) > MAX_ENCODINGS:
            raise ParametersError(f"more than {MAX_ENCODINGS} encodings in section {mid}")
        joined[mid] = replace(plan, receiver=receiver)
    _check_numbers(joined.values())
    return tuple(joined.values())


def offer_sections(
    before: SessionDescription | None, planned: Sequence[Plan], own: Collection[str], end: End
) -> tuple[MediaSection, ...]:
    """Every section of the next offer: known ones in their places, new ones in place of stopped ones or behind.

    Sections of `own` without a plan become inactive, those that the peer made stay as they were.
    """
    slots: list[Plan | MediaSection] = list(() if before is None else before.media)
    places = {slot.mid: index for index, slot in enumerate(slots)}
    free = [slot for slot in slots if isinstance(slot, MediaSection) and slot.is_rejected]
    data = None if end.local.sctp_port is None else _data_head(slots)
    for new in (*planned, *(() if data is None else (data,))):
        index = places.get(new.mid)
        if index is not None:
            old = slots[index]
            if old.kind != new.kind or (isinstance(old, MediaSection) and old.is_rejected):
                raise ParametersError(f"section {new.mid} is rejected or of another kind", "take a new mid")
        elif (stopped := next((slot for slot in free if slot.kind == new.kind), None)) is not None:
            free.remove(stopped)
            index = slots.index(stopped)
        if index is None:
            slots.append(new)
        else:
            slots[index] = new
    first = next((i for i, slot in enumerate(slots) if isinstance(slot, Plan) or not slot.is_rejected), None)
    return tuple(
        _offer_section(slot, own, end, end.attributes(is_tagged=index == first)) for index, slot in enumerate(slots)
    )


def _data_head(slots: Sequence[Plan | MediaSection]) -> MediaSection | None:
    """A section for data channels, unless there is one."""
    if any(isinstance(slot, MediaSection) and is_data(slot) and not slot.is_rejected for slot in slots):
        return None
    used = {slot.mid for slot in slots}
    # Words, so that they stay clear of the numbers that `Negotiation.mid` hands out.
    mid = next(text for text in ("data", *(f"data{n}" for n in range(len(used)))) if text not in used)
    return head("application", "UDP/DTLS/SCTP", ("webrtc-datachannel",), mid)


def _offer_section(
    slot: Plan | MediaSection, own: Collection[str], end: End, transport: list[AnyAttribute]
) -> MediaSection:
    if isinstance(slot, Plan):
        return _planned_section(slot, transport)
    if slot.is_rejected or (is_data(slot) and end.local.sctp_port is None):
        return stopped_section(slot, mid=slot.mid)
    if is_data(slot):
        return data_section(head(slot.kind, slot.protocol, slot.formats, slot.mid), transport, end.local)
    if slot.mid in own:
        # Idle: nothing of the old track may remain, or the next one would appear under its name.
        attributes: tuple[AnyAttribute, ...] = tuple(
            Attribute("inactive") if _is_flag(item, DIRECTIONS) else item
            for item in slot.attributes
            if not isinstance(item, Msid | Ssrc | SsrcGroup | Rid | Simulcast)
        )
    else:
        attributes = slot.attributes
    carried = [
        item for item in attributes if not _is_flag(item, _TRANSPORT) and not isinstance(item, Candidate | Fingerprint)
    ]
    return replace(slot, port=9, attributes=(*carried, *transport))


def _planned_section(plan: Plan, transport: list[AnyAttribute]) -> MediaSection:
    codecs, receiver = plan.codecs, plan.receiver
    extensions = dict.fromkeys((*_extensions(plan.sender), *_extensions(receiver)))
    rids = () if receiver is None else tuple(Rid(e.rid, "recv") for e in receiver.encodings if e.rid is not None)
    flow = direction(sends=plan.sender is not None, receives=receiver is not None)
    return rtp_section(
        head(plan.kind, _PROTOCOL, formats(codecs), plan.mid, flow, "rtcp-mux", "rtcp-rsize"),
        transport,
        codecs,
        [Extmap(extension.id, extension.uri) for extension in extensions],
        rids,
        plan.sender,
    )


def check_order(before: SessionDescription | None, offer: SessionDescription) -> None:
    """Raise ParametersError if sections vanished, moved or changed (RFC 9429 §5.2.2); stopped ones may be anything."""
    known = () if before is None else before.media
    if len(offer.media) < len(known):
        raise ParametersError("fewer media sections than before", "stop a section with port 0, but keep its line")
    for old, new in zip(known, offer.media, strict=False):
        if not old.is_rejected and (old.kind, old.mid) != (new.kind, new.mid):
            raise ParametersError(f"section {old.mid} changed its place or kind", "keep the order of sections")


def check_answer(offer: SessionDescription, answer: SessionDescription) -> None:
    """Raise ParametersError unless `answer` has the offer's sections (RFC 9429 §5.10)."""
    if len(answer.media) != len(offer.media):
        raise ParametersError(f"an answer of {len(answer.media)} sections to an offer of {len(offer.media)}")
    for asked, told in zip(offer.media, answer.media, strict=True):
        if asked.kind != told.kind or (asked.mid != told.mid and not told.is_rejected):
            raise ParametersError(f"the answer has another section in place of {asked.mid}")
        if asked.is_rejected and not told.is_rejected:
            raise ParametersError(f"the answer revives section {asked.mid}, which is stopped")


def agree(pending: Pending, answer: SessionDescription, capabilities: Capabilities) -> Agreed:
    """What both descriptions say. Codecs go by format: an answer may use other payload types for what it receives."""
    wanted = {track.mid: track for track in read_wanted(answer, capabilities)}
    coming = {track.mid: track for track in read_tracks(answer, capabilities)}
    senders, tracks = [], []
    for sender in pending.senders:
        if (theirs := wanted.get(sender.mid)) is not None:
            codecs = _common(theirs.codecs, sender.codecs)
            if codecs:
                extensions = _both(sender.extensions, theirs.extensions)
                agreed = replace(sender, codecs=codecs, extensions=extensions, **repaired(sender, theirs))
                has_rtx = any(codec.rtx is not None for codec in codecs)
                senders.append(replace(agreed, rtx_ssrc=sender.rtx_ssrc if has_rtx else None))
    for section in pending.offer.media:
        track = coming.get(section.mid)
        if track is None or direction_of(pending.offer, section) not in ("sendrecv", "recvonly"):
            continue
        offered = read_codecs(section)
        # The peer sends with the payload types that we gave, whatever its answer calls them.
        codecs = tuple(
            replace(ours, feedback=theirs.feedback, rtx=ours.rtx if theirs.rtx is not None else None)
            for theirs in track.codecs
            for ours in offered
            if is_same_format(ours, theirs)
        )
        if codecs:
            extensions = _both(read_extensions(pending.offer, section, capabilities), track.extensions)
            tracks.append(replace(track, codecs=codecs, extensions=extensions))
    return Agreed(tuple(tracks), tuple(senders))


def settled(offer: SessionDescription, answer: SessionDescription) -> SessionDescription:
    """Our offer once it is answered: without the sections that the peer rejected."""
    media = (
        stopped_section(asked, mid=asked.mid) if told.is_rejected else asked
        for asked, told in zip(offer.media, answer.media, strict=True)
    )
    return replace(offer, media=tuple(media))


def _common(theirs: Iterable[Codec], ours: Sequence[Codec]) -> tuple[Codec, ...]:
    """Their codecs that are also ours, in their order, with feedback and retransmission only where both have it."""
    common = []
    for codec in theirs:
        own = next((own for own in ours if is_same_format(own, codec)), None)
        if own is not None:
            feedback = tuple(item for item in codec.feedback if item in own.feedback)
            common.append(replace(codec, feedback=feedback, rtx=codec.rtx if own.rtx is not None else None))
    return tuple(common)


def _both(ours: Iterable[Extension], theirs: Iterable[Extension]) -> tuple[Extension, ...]:
    known = set(theirs)
    return tuple(extension for extension in ours if extension in known)


def _extensions(parameters: SenderParameters | TrackParameters | None) -> tuple[Extension, ...]:
    return () if parameters is None else parameters.extensions


def _is_flag(item: AnyAttribute, names: Collection[str]) -> bool:
    return isinstance(item, Attribute) and item.name in names


def _mid(mid: str | None) -> str:
    if not mid or len(mid) > MAX_TAG:
        raise ParametersError(f"a mid of 1 to {MAX_TAG} characters is needed", "take one from Negotiation.mid")
    return mid


def _check_numbers(planned: Iterable[Plan]) -> None:
    """Bundled sections must agree on what a number means (RFC 9143 §9)."""
    codecs: dict[int, Codec] = {}
    uris: dict[int, str] = {}
    for plan in planned:
        for codec in plan.codecs:
            known = codecs.setdefault(codec.payload_type, codec)
            if not is_same_format(known, codec):
                raise ParametersError(
                    f"payload type {codec.payload_type} stands for {known.mime_type} and {codec.mime_type}",
                    "take codecs from Negotiation.codecs or codecs_for",
                )
        for extension in (*_extensions(plan.sender), *_extensions(plan.receiver)):
            if uris.setdefault(extension.id, extension.uri) != extension.uri:
                raise ParametersError(f"extension id {extension.id} has two meanings", "take them from extensions()")
