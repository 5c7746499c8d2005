"""Section by section, what we say to an offer (RFC 9429 §5.3)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from rtpcore.errors import ParametersError
from rtpcore.parameters import Codec, DtlsRole, SenderParameters, TrackParameters
from rtpcore.sdp.attributes import AnyAttribute, Extmap, Rid
from rtpcore.sdp.codecs import PUBLISHER_EXTENSIONS, Capabilities, read_codecs
from rtpcore.sdp.description import MediaSection, SessionDescription
from rtpcore.sdp.sections import (
    End,
    data_section,
    direction,
    formats,
    head,
    rtp_section,
    sending,
    stopped_section,
)
from rtpcore.sdp.tracks import is_data, is_rtp, read_extensions, read_tracks, read_wanted, simulcast_rids, tagged

_MIRRORED = {"sendonly": "recvonly", "recvonly": "sendonly"}


@dataclass(frozen=True, slots=True)
class Answered:
    """The sections of an answer, with what they come to."""

    media: tuple[MediaSection, ...]
    tracks: tuple[TrackParameters, ...]
    senders: tuple[SenderParameters, ...]


def choose_role(remote: DtlsRole, local: DtlsRole, before: DtlsRole | None) -> DtlsRole:
    """Our part in the DTLS handshake (RFC 8842 §5.3): the ``a=setup`` value of an answer.

    Where the peer leaves the choice we keep what we were, and are passive at first: an ICE-lite end learns the peer's
    address from its checks, so the ClientHello should come from there.

    >>> choose_role("auto", "auto", None), choose_role("passive", "auto", None)
    ('passive', 'active')
    """
    if remote == "auto":
        return before or ("passive" if local == "auto" else local)
    if remote == local:
        raise ParametersError(f"both ends want to be {local} in DTLS", "let one of them be auto")
    return "passive" if remote == "active" else "active"


def answer_sections(
    offer: SessionDescription,
    end: End,
    senders: Sequence[SenderParameters],
    receive: Collection[str | None] | None,
    capabilities: Capabilities,
) -> Answered:
    """Answer every section of `offer`, in order; see `Negotiation.answer`."""
    tracks = {track.mid: track for track in read_tracks(offer, capabilities) if receive is None or track.mid in receive}
    wanted = {track.mid: track for track in read_wanted(offer, capabilities)}
    sent: dict[str | None, SenderParameters] = {}
    for sender in senders:
        if sender.mid not in wanted or sender.mid in sent:
            raise ParametersError(f"nothing can be sent in section {sender.mid}", "use each mid of `wanted` once")
        sent[sender.mid] = sending(sender, wanted[sender.mid])
    codecs = _accepted(offer, end, capabilities)
    first = _tagged(offer, codecs)
    media = []
    for index, section in enumerate(offer.media):
        transport = end.attributes(is_tagged=index == first)
        if index not in codecs:
            media.append(stopped_section(section, mid=section.mid))
        elif is_data(section):
            data = head(section.kind, section.protocol, section.formats, section.mid)
            media.append(data_section(data, transport, end.local))
        else:
            track, copy = tracks.get(section.mid), sent.get(section.mid)
            media.append(_answer_rtp(offer, section, codecs[index], track, copy, capabilities, transport))
    return Answered(tuple(media), tuple(tracks.values()), tuple(sent.values()))


def _accepted(offer: SessionDescription, end: End, capabilities: Capabilities) -> dict[int, tuple[Codec, ...]]:
    """The sections not to reject, by index, with the codecs in common."""
    first = tagged(offer)
    accepted: dict[int, tuple[Codec, ...]] = {}
    for index, section in enumerate(offer.media):
        if section.is_rejected:
            continue
        if is_data(section) and end.local.sctp_port is not None:
            accepted[index] = ()
        elif is_rtp(section):
            codecs = capabilities.common(read_codecs(section))
            if not codecs and section is first:
                # The tagged section carries everybody's transport and must not be rejected alone (RFC 9143 §7.3.3):
                # it stays, inactive, with a codec that will never be used.
                codecs = tuple(replace(codec, rtx=None, feedback=()) for codec in read_codecs(section)[:1])
            if codecs:
                accepted[index] = codecs
    return accepted


def _tagged(offer: SessionDescription, accepted: Iterable[int]) -> int | None:
    """The section for our candidates: the first of the offer's BUNDLE group that is left (RFC 9143 §7.3.1)."""
    by_mid = {offer.media[index].mid: index for index in accepted}
    return next((by_mid[mid] for mid in offer.bundle if mid in by_mid), next(iter(by_mid.values()), None))


def _answer_rtp(
    offer: SessionDescription,
    section: MediaSection,
    common: tuple[Codec, ...],
    track: TrackParameters | None,
    sender: SenderParameters | None,
    capabilities: Capabilities,
    transport: Iterable[AnyAttribute],
) -> MediaSection:
    codecs = common
    if sender is not None:
        # What is sent comes first; where we receive too, the rest stays welcome.
        rest = () if track is None else tuple(codec for codec in common if codec not in sender.codecs)
        codecs = sender.codecs + rest
    kept = {extension.uri for extension in read_extensions(offer, section, capabilities)}
    if track is None and sender is not None:
        # A publisher's extensions stay, though we send none of them: what one answer leaves out, Chromium (156) does
        # not offer in its next sections either, and then refuses its own simulcast.
        kept = {extension.uri for extension in sender.extensions} | (kept & PUBLISHER_EXTENSIONS)
    # A preference of ours shows in the order of formats; else the offer's order is the answer's.
    order = section.formats if sender is None and not capabilities.prefer else ()
    rids = () if track is None else simulcast_rids(offer, section, codecs, capabilities)
    flags = [direction(sends=sender is not None, receives=track is not None), "rtcp-mux"]
    flags += [flag for flag in ("rtcp-rsize", "extmap-allow-mixed") if section.has(flag)]
    return rtp_section(
        head(section.kind, section.protocol, formats(codecs, order), section.mid, *flags),
        transport,
        [replace(codec, fmtp=_without_sprop(codec.fmtp)) for codec in codecs],
        [
            Extmap(item.id, item.uri, _MIRRORED.get(item.direction or "", item.direction))
            for item in _extmaps_of(offer, section, kept)
        ],
        [_mirror(rid, codecs) for rid in rids],
        sender,
        fec=None if track is None else track.fec_payload_type,
    )


def _extmaps_of(offer: SessionDescription, section: MediaSection, uris: set[str]) -> list[Extmap]:
    """The offer's extension lines for these URIs, the first of each, usable ids only."""
    first: dict[str, Extmap] = {}
    for item in (*section.all(Extmap), *offer.all(Extmap)):
        if item.uri in uris and item.id <= 255 and item.direction != "inactive":
            first.setdefault(item.uri, item)
    return list(first.values())


def _without_sprop(fmtp: str) -> str:
    """The parameters without sprop-…: those describe the offerer's own stream (RFC 6184 §8.2.2, RFC 7587 §6.1)."""
    return ";".join(part for part in fmtp.split(";") if not part.strip(" ").lower().startswith("sprop-"))


def _mirror(rid: Rid, codecs: Sequence[Codec]) -> Rid:
    """The rid as we receive it; its payload types are cut to those accepted (RFC 8851 §6.2)."""
    accepted = {str(codec.payload_type) for codec in codecs}
    restrictions = [
        (name, ",".join(text for text in value.split(",") if text in accepted) if name == "pt" and value else value)
        for name, value in rid.restrictions
    ]
    return Rid(rid.id, "recv", tuple(restrictions))
