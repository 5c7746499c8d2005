"""Parameters to media sections: the lines that our offers and answers are made of (RFC 9429 §5.2, §5.3).

Browsers repeat credentials and fingerprint in every bundled section, although RFC 9143 §7.3 wants them in the tagged
one only; so do we, since several clients (aiortc among them) refuse sections without. Candidates stand in the tagged
section alone. Ports are 9 and addresses zero as in every trickling peer (RFC 9429 §5.2.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from rtpcore.errors import ParametersError
from rtpcore.parameters import (
    Candidate,
    Codec,
    Direction,
    SenderParameters,
    TrackParameters,
    TransportParameters,
)
from rtpcore.sdp.attributes import (
    AnyAttribute,
    Attribute,
    Extmap,
    Fmtp,
    Msid,
    Rid,
    RtcpFb,
    Rtpmap,
    Simulcast,
    Ssrc,
    SsrcGroup,
)
from rtpcore.sdp.codecs import FLEXFEC
from rtpcore.sdp.description import MediaSection

_DIRECTIONS: dict[tuple[bool, bool], Direction] = {
    (True, True): "sendrecv",
    (True, False): "sendonly",
    (False, True): "recvonly",
    (False, False): "inactive",
}


@dataclass(frozen=True, slots=True)
class End:
    """Our end of the transport, as its lines in each section.

    Attributes:
        local: Credentials, fingerprints, SCTP port.
        setup: ``actpass``, ``active`` or ``passive``.
        candidates: For the tagged section.
    """

    local: TransportParameters
    setup: str
    candidates: tuple[Candidate, ...] = ()

    def attributes(self, *, is_tagged: bool) -> list[AnyAttribute]:
        """The transport's lines of a section."""
        local = self.local
        lines: list[AnyAttribute] = [
            Attribute("ice-ufrag", local.ice.ufrag),
            Attribute("ice-pwd", local.ice.pwd),
            Attribute("ice-options", "ice2 trickle" if local.trickle else "ice2"),
            *local.dtls.fingerprints,
            Attribute("setup", self.setup),
        ]
        if is_tagged and self.candidates:
            lines += self.candidates
            # A lite end knows all its addresses from the start (RFC 8445 §2.5).
            if local.ice.lite or local.end_of_candidates:
                lines.append(Attribute("end-of-candidates"))
        return lines


def direction(*, sends: bool, receives: bool) -> Direction:
    """Our direction."""
    return _DIRECTIONS[sends, receives]


def rtp_section(
    head: MediaSection,
    transport: Iterable[AnyAttribute],
    codecs: Sequence[Codec],
    extensions: Iterable[Extmap],
    rids: Sequence[Rid] = (),
    sender: SenderParameters | None = None,
    *,
    fec: int | None = None,
) -> MediaSection:
    """Audio or video.

    Args:
        head: Kind, protocol and formats, with mid, direction and flags as its attributes.
        transport: See `End.attributes`.
        codecs: Those of `head.formats`.
        extensions: Under their ids.
        rids: Of simulcast that we receive, smallest first.
        sender: What we send.
        fec: The payload type of the repair packets that we receive.
    """
    lines = [*head.attributes, *transport, *extensions]
    if sender is not None:
        # Stream "-" says that the track belongs to none (RFC 8830 §2).
        lines.append(Msid(sender.stream_id or "-", sender.track_id or None))
    repairs = _fec_codecs(fec if sender is None or sender.fec_payload_type is None else sender.fec_payload_type)
    for codec in (*codecs, *repairs):
        lines += _codec_lines(codec)
    if rids:
        lines += rids
        lines.append(Simulcast(recv=tuple((rid.id,) for rid in rids)))
    if sender is not None:
        lines += _ssrc_lines(sender)
    numbers = (str(codec.payload_type) for codec in repairs)
    return replace(head, port=9, formats=(*head.formats, *numbers), attributes=tuple(lines))


def data_section(head: MediaSection, transport: Iterable[AnyAttribute], local: TransportParameters) -> MediaSection:
    """Data channels (RFC 8841 §4)."""
    lines = [
        *head.attributes,
        *transport,
        Attribute("sctp-port", str(local.sctp_port)),
        Attribute("max-message-size", str(local.max_message_size)),
    ]
    return replace(head, port=9, attributes=tuple(lines))


def head(kind: str, protocol: str, formats: tuple[str, ...], mid: str | None, *flags: str) -> MediaSection:
    """A section with nothing but its tag and flags."""
    tag = () if mid is None else (Attribute("mid", mid),)
    return MediaSection(kind, 9, protocol, formats, (*tag, *map(Attribute, flags)))


def stopped_section(section: MediaSection, *, mid: str | None) -> MediaSection:
    """The same section, rejected: port zero keeps its place in the order (RFC 9429 §5.3.1)."""
    empty = head(section.kind, section.protocol, section.formats, mid, "inactive")
    return replace(empty, port=0)


def formats(codecs: Iterable[Codec], order: Sequence[str] = ()) -> tuple[str, ...]:
    """Payload types with those of retransmissions, in `order` if there is one, else each behind what it repairs."""
    numbers = [str(n) for codec in codecs for n in (codec.payload_type, codec.rtx) if n is not None]
    ranks = {text: rank for rank, text in enumerate(order)}
    return tuple(sorted(numbers, key=lambda text: ranks.get(text, 0)))


def sending(sender: SenderParameters, wanted: TrackParameters) -> SenderParameters:
    """What we send, cut to what the peer can receive and completed from it.

    Raises ParametersError if nothing is left, or if a payload type means something else to the peer.
    """
    offered = {codec.payload_type: codec for codec in wanted.codecs}
    for codec in sender.codecs:
        theirs = offered.get(codec.payload_type)
        if theirs is not None and theirs.mime_type.lower() != codec.mime_type.lower():
            raise ParametersError(
                f"payload type {codec.payload_type} of section {sender.mid} is {theirs.mime_type} to the peer",
                "take codecs from the offer's `wanted`, or find them with `match`",
            )
    codecs = tuple(offered[c.payload_type] for c in sender.codecs if c.payload_type in offered)
    codecs = codecs if sender.codecs else wanted.codecs
    if not codecs:
        raise ParametersError(f"no codec that the peer can receive in section {sender.mid}", "leave the section out")
    asked = {extension.uri for extension in sender.extensions}
    return replace(
        sender,
        codecs=codecs,
        extensions=tuple(e for e in wanted.extensions if not asked or e.uri in asked),
        rtx_ssrc=sender.rtx_ssrc if any(codec.rtx is not None for codec in codecs) else None,
        **repaired(sender, wanted),
    )


class Repaired(TypedDict):
    """What both ends say of repair packets."""

    fec_payload_type: int | None
    fec_ssrc: int | None


def repaired(sender: SenderParameters, wanted: TrackParameters) -> Repaired:
    """Repair packets where we can send them and the peer takes them, under its payload type."""
    number = wanted.fec_payload_type if sender.fec_ssrc is not None else None
    return {"fec_payload_type": number, "fec_ssrc": sender.fec_ssrc if number is not None else None}


def _fec_codecs(number: int | None) -> tuple[Codec, ...]:
    return () if number is None else (replace(FLEXFEC, payload_type=number),)


def _codec_lines(codec: Codec) -> list[AnyAttribute]:
    number = codec.payload_type
    lines: list[AnyAttribute] = [
        Rtpmap(number, codec.mime_type.partition("/")[2], codec.clock_rate, codec.channels),
        *(RtcpFb(number, feedback) for feedback in codec.feedback),
    ]
    if codec.fmtp:
        lines.append(Fmtp(number, codec.fmtp))
    if codec.rtx is not None:
        lines += [Rtpmap(codec.rtx, "rtx", codec.clock_rate), Fmtp(codec.rtx, f"apt={number}")]
    return lines


def _ssrc_lines(sender: SenderParameters) -> list[AnyAttribute]:
    others = (("FID", sender.rtx_ssrc), ("FEC-FR", sender.fec_ssrc if sender.fec_payload_type is not None else None))
    groups = [SsrcGroup(semantics, (sender.ssrc, ssrc)) for semantics, ssrc in others if ssrc is not None]
    ssrcs = (sender.ssrc, *(group.ssrcs[1] for group in groups))
    return [*groups, *(Ssrc(ssrc, "cname", sender.cname or "-") for ssrc in ssrcs)]
