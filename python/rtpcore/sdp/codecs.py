"""Which codecs and header extensions this core carries, and when two payload types mean the same format.

A forwarder does not decode, so it takes nearly every profile of the codecs it can read. Profiles count when one
participant's codec is to be found again among another's: see `match`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rtpcore.parameters import Codec, Kind
from rtpcore.sdp.attributes import Fmtp, RtcpFb, Rtpmap

if TYPE_CHECKING:
    from rtpcore.sdp.description import MediaSection

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
ABS_CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
VIDEO_ORIENTATION = "urn:3gpp:video-orientation"
DEPENDENCY_DESCRIPTOR = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
VIDEO_LAYERS_ALLOCATION = "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00"

AUDIO_EXTENSIONS = (MID, AUDIO_LEVEL, ABS_SEND_TIME, TRANSPORT_CC, ABS_CAPTURE_TIME)
VIDEO_EXTENSIONS = (
    MID,
    RID,
    REPAIRED_RID,
    ABS_SEND_TIME,
    TRANSPORT_CC,
    ABS_CAPTURE_TIME,
    PLAYOUT_DELAY,
    VIDEO_ORIENTATION,
    DEPENDENCY_DESCRIPTOR,
    VIDEO_LAYERS_ALLOCATION,
)
PUBLISHER_EXTENSIONS = frozenset([RID, REPAIRED_RID, VIDEO_LAYERS_ALLOCATION])
"""What only a publisher of several encodings has a use for; not offered where we send."""

MAX_CODECS = 32
"""Codecs accepted in one section, so that a peer's long offer is not answered by a longer text; Chrome offers 14."""

AUDIO_FEEDBACK = ("transport-cc", "nack")
VIDEO_FEEDBACK = ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")


def _video(mime_type: str, payload_type: int, rtx: int, fmtp: str = "") -> Codec:
    return Codec(mime_type, payload_type, 90000, 1, fmtp, rtx, VIDEO_FEEDBACK)


def _h264(payload_type: int, rtx: int, profile_level_id: str, mode: int) -> Codec:
    fmtp = f"level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile_level_id}"
    return _video("video/H264", payload_type, rtx, fmtp)


CODECS: tuple[Codec, ...] = (
    Codec("audio/opus", 111, 48000, 2, "minptime=10;useinbandfec=1", feedback=AUDIO_FEEDBACK),
    Codec("audio/red", 63, 48000, 2, "111/111"),
    Codec("audio/PCMU", 0, 8000, feedback=AUDIO_FEEDBACK),
    Codec("audio/PCMA", 8, 8000, feedback=AUDIO_FEEDBACK),
    _video("video/VP8", 96, 97),
    _video("video/VP9", 98, 99, "profile-id=0"),
    _video("video/VP9", 100, 101, "profile-id=2"),
    _h264(102, 103, "42001f", 1),
    _h264(104, 105, "42001f", 0),
    _h264(106, 107, "42e01f", 1),
    _h264(108, 109, "42e01f", 0),
    _h264(112, 113, "4d001f", 1),
    _h264(114, 115, "4d001f", 0),
    _h264(116, 117, "64001f", 1),
    _h264(118, 119, "640c1f", 1),
    _video("video/AV1", 45, 46, "level-idx=5;profile=0;tier=0"),
    _video("video/H265", 49, 50, "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST"),
)
"""What we offer, with the payload types we take where the peer has not chosen others. No ulpfec: Chromium takes flexfec
from whoever offers it, and that leaves the media alone."""

FLEXFEC = Codec("video/flexfec-03", 110, 90000, fmtp="repair-window=10000000", feedback=("goog-remb", "transport-cc"))
"""Repair packets beside video that we send (draft-ietf-payload-flexible-fec-scheme-03). Not taken from publishers: none
sends any."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What may be negotiated.

    Attributes:
        codecs: Formats by MIME type, clock rate, channels; for VP9 also by profile. Payload types are those offered.
        extensions: URIs of header extensions.
        prefer: MIME types to put first, most wanted first. Empty keeps the order of the offer.
    """

    codecs: tuple[Codec, ...] = CODECS
    extensions: tuple[str, ...] = tuple(dict.fromkeys(AUDIO_EXTENSIONS + VIDEO_EXTENSIONS))
    prefer: tuple[str, ...] = ()

    def only(self, *mime_types: str) -> Capabilities:
        """The same with no other codecs than these.

        >>> [codec.mime_type for codec in Capabilities().only("audio/opus", "video/vp8").codecs]
        ['audio/opus', 'video/VP8']
        """
        wanted = {mime_type.lower() for mime_type in mime_types}
        return replace(self, codecs=tuple(codec for codec in self.codecs if codec.mime_type.lower() in wanted))

    def accepts(self, codec: Codec) -> bool:
        """Whether a peer's codec may be used."""
        name = codec.mime_type.lower()
        if name == "video/h264" and _h264_format(codec) is None:
            return False
        return any(
            own.mime_type.lower() == name
            and (own.clock_rate, own.channels) == (codec.clock_rate, codec.channels)
            and (name != "video/vp9" or is_same_format(own, codec))
            for own in self.codecs
        )

    def common(self, offered: Iterable[Codec]) -> tuple[Codec, ...]:
        """What both ends know of a peer's codecs, at most `MAX_CODECS`: in the peer's order unless `prefer` differs."""
        accepted = [codec for codec in offered if self.accepts(codec)]
        opus = {str(codec.payload_type) for codec in accepted if codec.mime_type == "audio/opus"}
        accepted = [c for c in accepted if c.mime_type != "audio/red" or (c.fmtp and set(c.fmtp.split("/")) <= opus)]
        ranks = {mime_type.lower(): rank for rank, mime_type in enumerate(self.prefer)}
        accepted.sort(key=lambda codec: ranks.get(codec.mime_type.lower(), len(ranks)))
        return tuple(
            replace(codec, feedback=tuple(item for item in codec.feedback if item in supported_feedback(codec)))
            for codec in accepted[:MAX_CODECS]
        )


def read_codecs(section: MediaSection) -> tuple[Codec, ...]:
    """The codecs of a section in its order, retransmissions joined to what they repair; `()` for data channels.

    >>> from rtpcore.sdp import parse
    >>> section = parse('''v=0
    ... o=- 1 2 IN IP4 127.0.0.1
    ... s=-
    ... t=0 0
    ... m=video 9 UDP/TLS/RTP/SAVPF 96 97
    ... a=rtpmap:96 VP8/90000
    ... a=rtcp-fb:96 nack pli
    ... a=rtpmap:97 rtx/90000
    ... a=fmtp:97 apt=96
    ... ''').media[0]
    >>> read_codecs(section)[0].rtx
    97
    """
    if section.kind not in ("audio", "video"):
        return ()
    maps = {item.payload_type: item for item in (*_STATIC, *section.all(Rtpmap))}
    fmtp = {item.payload_type: item.parameters for item in section.all(Fmtp)}
    feedback: dict[int | None, list[str]] = {}
    for item in section.all(RtcpFb):
        feedback.setdefault(item.payload_type, []).append(item.feedback)
    codecs: dict[int, Codec] = {}
    repairs: dict[int, int] = {}
    for text in section.formats:
        mapped = maps.get(int(text)) if text.isascii() and text.isdigit() and len(text) <= 3 else None
        if mapped is None or mapped.payload_type in codecs:
            continue
        number = mapped.payload_type
        if mapped.name.lower() == "rtx":
            repaired = fmtp_parameters(fmtp.get(number, "")).get("apt", "")
            if repaired.isascii() and repaired.isdigit() and len(repaired) <= 3:
                repairs.setdefault(int(repaired), number)
            continue
        codecs[number] = Codec(
            mime_type=f"{section.kind}/{_NAMES.get(mapped.name.lower(), mapped.name)}",
            payload_type=number,
            clock_rate=mapped.clock_rate,
            channels=mapped.channels,
            fmtp=fmtp.get(number, ""),
            feedback=tuple(dict.fromkeys([*feedback.get(number, ()), *feedback.get(None, ())])),
        )
    return tuple(replace(codec, rtx=repairs[n]) if n in repairs else codec for n, codec in codecs.items())


def read_fec(section: MediaSection) -> int | None:
    """The payload type of FlexFEC in a section; None where it has none."""
    return next((codec.payload_type for codec in read_codecs(section) if is_same_format(codec, FLEXFEC)), None)


def fmtp_parameters(fmtp: str) -> dict[str, str]:
    """The parameters of a format, names in lower case.

    >>> fmtp_parameters("packetization-mode=1; profile-level-id=42E01F")
    {'packetization-mode': '1', 'profile-level-id': '42E01F'}
    """
    pairs = (part.strip(" ").partition("=") for part in fmtp.split(";"))
    return {name.strip(" ").lower(): value.strip(" ") for name, _, value in pairs if name}


def is_same_format(one: Codec, other: Codec) -> bool:
    """Whether a decoder of one can decode the other, levels aside: codec, clock, channels, profile, packetization."""
    name = one.mime_type.lower()
    if (name, one.clock_rate, one.channels) != (other.mime_type.lower(), other.clock_rate, other.channels):
        return False
    if name == "video/h264":
        left, right = _h264_format(one), _h264_format(other)
        return left is not None and right is not None and left[:2] == right[:2]
    ours, theirs = fmtp_parameters(one.fmtp), fmtp_parameters(other.fmtp)
    return all(
        ours.get(key, default).lower() == theirs.get(key, default).lower()
        for key, default in _PROFILE_PARAMETERS.get(name, ())
    )


def match(codec: Codec, among: Sequence[Codec]) -> Codec | None:
    """Find a publisher's codec among a subscriber's: the one under which its packets can be forwarded.

    H264 must agree in profile and packetization mode; the level must not be above the subscriber's unless both ends
    allow asymmetry (RFC 6184 §8.2.2). None if the subscriber has nothing of the kind.

    >>> ours = Codec("video/H264", 106, 90000, fmtp="packetization-mode=1;profile-level-id=42e01f")
    >>> theirs = Codec("video/H264", 39, 90000, fmtp="packetization-mode=1;profile-level-id=4d8020")
    >>> match(ours, [theirs]).payload_type  # constrained baseline has three spellings
    39
    """
    for other in among:
        if is_same_format(codec, other) and _level_fits(codec, other):
            return other
    return None


def offered_to_send(kind: Kind) -> tuple[str, ...]:
    """URIs that make sense in a section where we only send."""
    extensions = AUDIO_EXTENSIONS if kind == "audio" else VIDEO_EXTENSIONS
    return tuple(uri for uri in extensions if uri not in PUBLISHER_EXTENSIONS)


def supported_feedback(codec: Codec) -> tuple[str, ...]:
    """The RTCP feedback that this core gives and takes for a codec."""
    if codec.mime_type == "audio/red":
        return ()
    return AUDIO_FEEDBACK if codec.mime_type.startswith("audio/") else VIDEO_FEEDBACK


_NAMES = {c.mime_type.partition("/")[2].lower(): c.mime_type.partition("/")[2] for c in CODECS}
_STATIC = (Rtpmap(0, "PCMU", 8000), Rtpmap(8, "PCMA", 8000), Rtpmap(9, "G722", 8000))

# Parameters that tell formats of one name apart, with what their absence means:
# RFC 9628 §6.1; AV1 RTP payload specification §7.2.1; RFC 7798 §7.1.
_PROFILE_PARAMETERS = {
    "video/vp9": (("profile-id", "0"),),
    "video/av1": (("profile", "0"),),
    "video/h265": (("profile-id", "1"), ("tier-flag", "0"), ("tx-mode", "SRST")),
}

# RFC 6184 table 5: profile_idc, the bits of profile-iop that count, their values, the profile's name.
_H264_PROFILES = (
    (0x42, 0b01001111, 0b01000000, "constrained baseline"),
    (0x4D, 0b10001111, 0b10000000, "constrained baseline"),
    (0x58, 0b11001111, 0b11000000, "constrained baseline"),
    (0x42, 0b01001111, 0b00000000, "baseline"),
    (0x58, 0b11001111, 0b10000000, "baseline"),
    (0x4D, 0b10101111, 0b00000000, "main"),
    (0x58, 0b11001111, 0b00000000, "extended"),
    (0x64, 0b11111111, 0b00000000, "high"),
    (0x64, 0b11111111, 0b00001100, "constrained high"),
)


def _h264_format(codec: Codec) -> tuple[str, int, int] | None:
    """Profile, packetization mode and ten times the level; None for what cannot be forwarded.

    Level 1b lies between 1 and 1.1 (RFC 6184 §8.1). Mode 2, interleaving, is not read by the core.
    """
    parameters = fmtp_parameters(codec.fmtp)
    mode, text = parameters.get("packetization-mode", "0"), parameters.get("profile-level-id", "42000a")
    if mode not in ("0", "1") or len(text) != 6 or not all(digit in "0123456789abcdefABCDEF" for digit in text):
        return None
    idc, iop, level_idc = bytes.fromhex(text)
    profile = next((n for i, mask, bits, n in _H264_PROFILES if i == idc and iop & mask == bits), f"{idc}/{iop}")
    is_1b = level_idc == 9 or (level_idc == 11 and iop & 0b10000 != 0 and idc in (0x42, 0x4D, 0x58))
    return profile, int(mode), 105 if is_1b else level_idc * 10


def _level_fits(codec: Codec, other: Codec) -> bool:
    if codec.mime_type.lower() != "video/h264":
        return True
    ours, theirs = _h264_format(codec), _h264_format(other)
    if ours is None or theirs is None:
        return False
    both = (fmtp_parameters(c.fmtp).get("level-asymmetry-allowed") == "1" for c in (codec, other))
    return ours[2] <= theirs[2] or all(both)
