"""A peer's description to parameters for the core (RFC 9429 §5.8 to §5.11; Unified Plan: one track per section).

Only reading: what a description says, and whether this core can work with it. Our own descriptions are made in
`rtpcore.sdp.negotiate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, cast

from rtpcore.errors import ParametersError
from rtpcore.parameters import (
    Candidate,
    Codec,
    Direction,
    DtlsParameters,
    DtlsRole,
    Encoding,
    Extension,
    Fingerprint,
    IceParameters,
    Kind,
    TrackParameters,
    TransportParameters,
)
from rtpcore.sdp.attributes import Extmap, Msid, Rid, Simulcast, Ssrc, SsrcGroup
from rtpcore.sdp.codecs import PUBLISHER_EXTENSIONS, RID, Capabilities, read_codecs, read_fec

if TYPE_CHECKING:
    from rtpcore.sdp.description import MediaSection, SessionDescription

MAX_CANDIDATES = 64
"""Candidates kept of one peer; Chrome on a laptop with VPNs makes some twenty."""

MAX_ENCODINGS = 3
"""Simulcast streams of one track; browsers make no more."""

MAX_TAG = 16
"""Characters of a mid or rid: what a one-byte header extension carries (RFC 8285 §4.2)."""

_RTP_PROTOCOLS = frozenset(
    f"{below}RTP/{profile}"
    for below in ("UDP/TLS/", "TCP/TLS/", "TCP/DTLS/", "")
    for profile in ("SAVPF", "SAVP", "AVPF", "AVP")
)
_DATA_PROTOCOLS = frozenset(["UDP/DTLS/SCTP", "TCP/DTLS/SCTP"])
_ROLES: dict[str | None, DtlsRole] = {"actpass": "auto", "active": "active", "passive": "passive", None: "active"}
_UNUSED = {"sendonly": {"inactive", "recvonly"}, "recvonly": {"inactive", "sendonly"}, "both": {"inactive"}}
_SIZES = {"q": 0, "h": 1, "f": 2}


def is_rtp(section: MediaSection) -> bool:
    """Whether this is audio or video that could be carried: JSEP lets old protocol names pass (RFC 9429 §5.1.2)."""
    return section.kind in ("audio", "video") and section.protocol in _RTP_PROTOCOLS


def is_data(section: MediaSection) -> bool:
    """Whether this is a section for data channels (RFC 8841 §4)."""
    return (
        section.kind == "application"
        and section.protocol in _DATA_PROTOCOLS
        and section.formats == ("webrtc-datachannel",)
    )


def check(description: SessionDescription) -> tuple[MediaSection, ...]:
    """The sections that are not rejected, in order, once it is sure that one transport can carry them all.

    Raises:
        ParametersError: No BUNDLE group over all of them, no rtcp-mux, mids that are missing, repeated or too long,
            a header extension id with two meanings.
    """
    live = tuple(section for section in description.media if not section.is_rejected)
    mids = [section.mid for section in description.media if section.mid is not None]
    if len(set(mids)) < len(mids):
        raise ParametersError("two media sections with one mid")
    if any(len(mid) > MAX_TAG for mid in mids):
        raise ParametersError("a mid too long for its header extension", f"use at most {MAX_TAG} characters")
    bundle = set(description.bundle)
    if len(live) > 1 and not all(section.mid in bundle for section in live):
        raise ParametersError(
            "media sections outside of the BUNDLE group", "set bundlePolicy (webrtcbin: bundle-policy) to max-bundle"
        )
    uris: dict[int, str] = {}
    for section in filter(is_rtp, live):
        if not (section.has("rtcp-mux") or section.has("rtcp-mux-only")):
            raise ParametersError(f"section {section.mid} without rtcp-mux", "set rtcpMuxPolicy to require")
        for extension in _extmaps(description, section):
            if uris.setdefault(extension.id, extension.uri) != extension.uri:
                raise ParametersError(
                    f"extension id {extension.id} means {uris[extension.id]} and {extension.uri}",
                    "bundled sections must agree on ids (RFC 9143 §9.2)",
                )
    return live


def tagged(description: SessionDescription) -> MediaSection:
    """The section whose transport attributes count for all (RFC 9143 §7.2). Raises ParametersError if none is live."""
    live = check(description)
    if not live:
        raise ParametersError("every media section is rejected", "add a track or a data channel")
    by_mid = {section.mid: section for section in live}
    return next((by_mid[mid] for mid in description.bundle if mid in by_mid), live[0])


def read_transport(description: SessionDescription) -> TransportParameters:
    """The peer's end of the transport; see `SessionDescription.transport`."""
    section = tagged(description)
    ufrag = section.value("ice-ufrag") or description.value("ice-ufrag")
    pwd = section.value("ice-pwd") or description.value("ice-pwd")
    if ufrag is None or pwd is None:
        raise ParametersError("no ICE credentials", "send a=ice-ufrag and a=ice-pwd (RFC 8839 §5.4)")
    fingerprints = section.all(Fingerprint) or description.all(Fingerprint)
    if not fingerprints:
        raise ParametersError("no DTLS fingerprint", "send a=fingerprint; SDES is not supported (RFC 8827 §6.5)")
    setup = section.value("setup") or description.value("setup")
    if setup not in _ROLES:
        raise ParametersError(f"a=setup:{setup}", "send actpass, active or passive")
    options = f"{section.value('ice-options') or ''} {description.value('ice-options') or ''}"
    data = next((item for item in description.media if is_data(item) and not item.is_rejected), None)
    return TransportParameters(
        ice=IceParameters(ufrag, pwd, description.has("ice-lite")),
        dtls=DtlsParameters(tuple(dict.fromkeys(fingerprints)), _ROLES[setup]),
        candidates=tuple(c for c in section.all(Candidate) if c.component == 1)[:MAX_CANDIDATES],
        end_of_candidates=section.has("end-of-candidates") or description.has("end-of-candidates"),
        sctp_port=None if data is None else int(data.value("sctp-port") or 5000),
        # RFC 8841 §6.1: 64 KiB where the peer does not say.
        max_message_size=65_536 if data is None else int(data.value("max-message-size") or 65_536),
        # libdatachannel separates options by commas.
        trickle="trickle" in options.replace(",", " ").split(" "),
    )


def read_tracks(
    description: SessionDescription, capabilities: Capabilities | None = None
) -> tuple[TrackParameters, ...]:
    """What the peer sends; see `SessionDescription.tracks`."""
    return _read(description, "sendonly", capabilities or Capabilities())


def read_wanted(
    description: SessionDescription, capabilities: Capabilities | None = None
) -> tuple[TrackParameters, ...]:
    """Where the peer can receive; see `SessionDescription.wanted`."""
    return _read(description, "recvonly", capabilities or Capabilities())


def _read(
    description: SessionDescription, way: Literal["sendonly", "recvonly"], capabilities: Capabilities
) -> tuple[TrackParameters, ...]:
    tracks = []
    for section in filter(is_rtp, check(description)):
        direction = direction_of(description, section)
        if direction not in ("sendrecv", way):
            continue
        codecs = capabilities.common(read_codecs(section))
        if not codecs:
            continue
        stream_id, track_id = _names(section)
        encodings = () if way == "recvonly" else _encodings(description, section, codecs, capabilities)
        has_fec = way == "recvonly" or any(encoding.fec_ssrc is not None for encoding in encodings)
        tracks.append(
            TrackParameters(
                mid=section.mid,
                kind=cast("Kind", section.kind),
                codecs=codecs,
                encodings=encodings,
                extensions=read_extensions(description, section, capabilities, way),
                stream_id=stream_id if way == "sendonly" else "",
                track_id=track_id if way == "sendonly" else "",
                direction=direction,
                fec_payload_type=read_fec(section) if has_fec else None,
            )
        )
    return tuple(tracks)


def direction_of(description: SessionDescription, section: MediaSection) -> Direction:
    """The section's direction; sendrecv where neither it nor the session says (RFC 8866 §6.7)."""
    return section.direction or description.direction or "sendrecv"


def read_extensions(
    description: SessionDescription,
    section: MediaSection,
    capabilities: Capabilities,
    way: Literal["sendonly", "recvonly", "both"] = "both",
) -> tuple[Extension, ...]:
    """The header extensions that both ends know, under the peer's ids; the first id of each URI.

    `way` leaves out what the peer does not send, or does not want to receive.
    """
    known = set(capabilities.extensions) - (PUBLISHER_EXTENSIONS if way == "recvonly" else frozenset())
    ids: dict[str, int] = {}
    for item in _extmaps(description, section):
        if item.uri in known and item.id <= 255 and item.direction not in _UNUSED[way]:
            ids.setdefault(item.uri, item.id)
    return tuple(Extension(uri, id_) for uri, id_ in ids.items())


def simulcast_rids(
    description: SessionDescription, section: MediaSection, codecs: Sequence[Codec], capabilities: Capabilities
) -> tuple[Rid, ...]:
    """The rids that the peer will send as simulcast, at most three, in its order.

    Of alternatives the first counts. Rids without an a=rid line, or for codecs that were refused, are out
    (RFC 8853 §5.3.2). Without a rid header extension nobody could tell the streams apart, so then there are none.
    """
    # pion (4.2) repeats our answer in its next offer, before what it sends in a line of its own.
    simulcast = next((line for line in section.all(Simulcast) if line.send), None)
    if simulcast is None:
        return ()
    if not any(extension.uri == RID for extension in read_extensions(description, section, capabilities, "sendonly")):
        return ()
    payload_types = {str(codec.payload_type) for codec in codecs}
    declared = {rid.id: rid for rid in section.all(Rid) if rid.direction == "send"}
    rids = []
    for alternatives in simulcast.send:
        rid = declared.pop(alternatives[0].removeprefix("~"), None)
        if rid is None:
            continue
        if len(rid.id) > MAX_TAG:
            raise ParametersError("a rid too long for its header extension", f"use at most {MAX_TAG} characters")
        formats = rid.restriction("pt")
        if formats is None or not payload_types.isdisjoint(formats.split(",")):
            rids.append(rid)
    return tuple(rids[:MAX_ENCODINGS])


def _smallest_first(rids: Sequence[Rid]) -> Sequence[Rid]:
    """Sort by declared width, else by LiveKit's names q, h, f, else leave it to the peer's order.

    RFC 8853 orders by preference and says nothing of size; browsers write the application's order, which for all but
    a few applications is smallest first.
    """
    widths = [rid.restriction("max-width") or "" for rid in rids]
    if all(width.isascii() and width.isdigit() and len(width) <= 9 for width in widths):
        return [rid for _, rid in sorted(zip(map(int, widths), rids, strict=True), key=lambda pair: pair[0])]
    if all(rid.id in _SIZES for rid in rids):
        return sorted(rids, key=lambda rid: _SIZES[rid.id])
    return rids


def _encodings(
    description: SessionDescription, section: MediaSection, codecs: Sequence[Codec], capabilities: Capabilities
) -> tuple[Encoding, ...]:
    """By rid, else by SIM group, else the section's first SSRC; one that is yet unknown if nothing is announced.

    Firefox announces SSRCs beside rids, but not which belongs to which: rids win.
    """
    if rids := simulcast_rids(description, section, codecs, capabilities):
        return tuple(Encoding(rid=rid.id) for rid in _smallest_first(rids))
    groups = section.all(SsrcGroup)
    pairs = [group for group in groups if len(group.ssrcs) == 2]
    repairs = {group.ssrcs[0]: group.ssrcs[1] for group in pairs if group.semantics == "FID"}
    protections = {group.ssrcs[0]: group.ssrcs[1] for group in pairs if group.semantics == "FEC-FR"}
    simulcast = next((group.ssrcs for group in groups if group.semantics == "SIM" and group.ssrcs), ())
    # Neither the repairs nor the second SSRC of a FEC group starts a stream of its own.
    secondary = {ssrc for group in groups if group.semantics != "SIM" for ssrc in group.ssrcs[1:]}
    announced = dict.fromkeys(item.ssrc for item in section.all(Ssrc))
    primary = list(dict.fromkeys(simulcast))[:MAX_ENCODINGS] or [s for s in announced if s not in secondary][:1]
    if len(primary) > 1 or read_fec(section) is None:
        # Nobody protects encodings by themselves.
        protections = {}
    return tuple(Encoding(None, ssrc, repairs.get(ssrc), protections.get(ssrc)) for ssrc in primary) or (Encoding(),)


def _names(section: MediaSection) -> tuple[str, str]:
    """Stream and track: from a=msid, else from the a=ssrc:… msid: of older peers."""
    msid = section.find(Msid)
    if msid is None:
        text = next((item.value for item in section.all(Ssrc) if item.attribute == "msid" and item.value), "")
        stream, _, track = (text or "").strip(" ").partition(" ")
        msid = Msid(stream, track)
    return "" if msid.stream == "-" else msid.stream, msid.track or ""


def _extmaps(description: SessionDescription, section: MediaSection) -> tuple[Extmap, ...]:
    return section.all(Extmap) + description.all(Extmap)
