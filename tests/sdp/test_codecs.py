"""Which payload types mean the same format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from rtpcore import sdp
from rtpcore.parameters import Codec
from rtpcore.sdp.codecs import CODECS, MAX_CODECS, Capabilities, fmtp_parameters, is_same_format, match, read_codecs


def _h264(profile_level_id: str, mode: int | None = 1, *, asymmetry: bool = False, number: int = 96) -> Codec:
    fmtp = [f"profile-level-id={profile_level_id}"]
    fmtp += [] if mode is None else [f"packetization-mode={mode}"]
    fmtp += ["level-asymmetry-allowed=1"] if asymmetry else []
    return Codec("video/H264", number, 90000, fmtp=";".join(fmtp))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("42e01f", "42E01F", True),
        ("42e01f", "42c01f", True),
        ("42e01f", "4d8020", True),
        ("42e01f", "58c01f", True),
        ("42e01f", "42001f", False),
        ("42001f", "588014", True),
        ("42e01f", "4d001f", False),
        ("4d001f", "4d4028", True),
        ("64001f", "640c1f", False),
        ("640c1f", "640c34", True),
        ("6e001f", "6e0028", True),
        ("6e001f", "6e101f", False),
    ],
)
def test_h264_profiles_have_several_spellings(one: str, other: str, same: bool) -> None:
    """RFC 6184 table 5."""
    assert is_same_format(_h264(one), _h264(other)) is same
    assert is_same_format(_h264(other), _h264(one)) is same


def test_h264_packetization_modes_are_formats_of_their_own() -> None:
    """Absence means mode 0; a decoder of mode 0 need not know fragments."""
    assert is_same_format(_h264("42e01f", None), _h264("42e01f", 0))
    assert not is_same_format(_h264("42e01f", 0), _h264("42e01f", 1))


@pytest.mark.parametrize(
    ("sent", "taken", "fits"),
    [("1f", "1f", True), ("1e", "1f", True), ("28", "1f", False), ("0b", "0a", False), ("0a", "0b", True)],
)
def test_h264_levels_must_not_rise_without_asymmetry(sent: str, taken: str, fits: bool) -> None:
    """RFC 6184 §8.2.2."""
    ours, theirs = _h264("42e0" + sent), _h264("42e0" + taken)
    assert (match(ours, [theirs]) == theirs) is fits
    ours, theirs = _h264("42e0" + sent, asymmetry=True), _h264("42e0" + taken, asymmetry=True)
    assert match(ours, [theirs]) == theirs
    assert (match(replace(ours, fmtp=_h264("42e0" + sent).fmtp), [theirs]) == theirs) is fits


def test_h264_level_1b_lies_between_1_and_1_1() -> None:
    """It is written as level 11 with constraint_set3 (bit 4 of profile-iop)."""
    one, one_b, one_one = _h264("42e00a"), _h264("42f00b"), _h264("42e00b")
    fits = [match(a, [b]) is not None for a, b in ((one, one_b), (one_b, one_one), (one_b, one), (one_one, one_b))]
    assert fits == [True, True, False, False]
    assert match(_h264("640009"), [_h264("64000a")]) is None, "high profiles write 1b as level 9"


def test_other_codecs_differ_by_their_profile_parameters() -> None:
    """With defaults for what is absent."""
    vp9 = Codec("video/VP9", 98, 90000)
    assert is_same_format(vp9, replace(vp9, fmtp="profile-id=0", payload_type=35))
    assert not is_same_format(vp9, replace(vp9, fmtp="profile-id=2"))
    h265 = Codec("video/H265", 49, 90000, fmtp="level-id=93;tx-mode=SRST")
    assert is_same_format(h265, replace(h265, fmtp="profile-id=1;level-id=180"))
    assert not is_same_format(h265, replace(h265, fmtp="profile-id=2"))
    av1 = Codec("video/AV1", 45, 90000)
    assert not is_same_format(av1, replace(av1, fmtp="profile=1"))
    opus = Codec("audio/opus", 111, 48000, 2, "useinbandfec=1")
    assert is_same_format(opus, replace(opus, mime_type="audio/OPUS", fmtp="stereo=1"))
    assert not is_same_format(opus, replace(opus, channels=1))


def test_match_takes_the_first_that_fits() -> None:
    """The subscriber's order is its preference."""
    among = [
        _h264("42001f", number=1),
        _h264("42e01f", 0, number=2),
        _h264("42e01f", number=3),
        _h264("42e020", number=4),
    ]
    found = match(_h264("42e01f"), among)
    assert found is not None
    assert found.payload_type == 3
    assert match(Codec("video/VP8", 96, 90000), among) is None


def test_own_table_is_consistent() -> None:
    """No payload type twice, none where RTCP would be seen (RFC 5761 §4), no format twice."""
    numbers = [n for codec in CODECS for n in (codec.payload_type, codec.rtx) if n is not None]
    assert len(numbers) == len(set(numbers))
    assert not [n for n in numbers if 64 <= n <= 95]
    assert not [(a, b) for i, a in enumerate(CODECS) for b in CODECS[:i] if is_same_format(a, b)]
    assert all(Capabilities().accepts(codec) for codec in CODECS)


def test_chrome_video_is_read_with_its_retransmissions(load: Callable[[str], sdp.SessionDescription]) -> None:
    """Without what a forwarder has no use for."""
    section = load("chrome_ssrc").media[1]
    accepted = Capabilities().common(read_codecs(section))
    assert [(c.mime_type, c.payload_type, c.rtx) for c in accepted[:2]] == [
        ("video/VP8", 96, 97),
        ("video/H264", 103, 104),
    ]
    assert {c.mime_type for c in read_codecs(section)} - {c.mime_type for c in accepted} == {
        "video/red",
        "video/ulpfec",
        "video/flexfec-03",
    }
    assert accepted[0].feedback == ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")


def _section(kind: str, formats: str, *lines: str) -> sdp.MediaSection:
    text = f"v=0\no=- 1 2 IN IP4 127.0.0.1\ns=-\nt=0 0\nm={kind} 9 UDP/TLS/RTP/SAVPF {formats}\n"
    return sdp.parse(text + "".join(f"a={line}\n" for line in lines)).media[0]


def test_static_payload_types_need_no_rtpmap() -> None:
    """RFC 3551 §6."""
    assert [c.mime_type for c in read_codecs(_section("audio", "0 8 9 77"))] == [
        "audio/PCMU",
        "audio/PCMA",
        "audio/G722",
    ]


def test_feedback_for_all_payload_types_counts_for_each() -> None:
    """RFC 4585 §4.2, as webrtcbin writes it; repetitions count once."""
    lines = ["rtpmap:96 VP8/90000", "rtcp-fb:* nack", "rtcp-fb:96 nack", "rtcp-fb:96 nack pli"]
    assert read_codecs(_section("video", "96", *lines))[0].feedback == ("nack", "nack pli")


def test_red_needs_its_opus() -> None:
    """RFC 2198: red of a payload type that was refused could not be read."""
    lines = ["rtpmap:63 red/48000/2", "rtpmap:111 opus/48000/2", "fmtp:63 111/111"]
    both = Capabilities().common(read_codecs(_section("audio", "63 111", *lines)))
    assert [c.payload_type for c in both] == [63, 111]
    assert Capabilities().common(read_codecs(_section("audio", "63", *lines))) == ()
    assert [c.payload_type for c in Capabilities().common(read_codecs(_section("audio", "63 111", *lines[:2])))] == [
        111
    ]


def test_interleaved_and_unreadable_h264_is_refused() -> None:
    """Packetization mode 2 reorders units; a broken profile cannot be compared."""
    capabilities = Capabilities()
    assert capabilities.accepts(_h264("42e01f", 0))
    assert capabilities.accepts(_h264("f4001f", 1)), "a forwarder takes profiles it never heard of"
    assert not capabilities.accepts(_h264("42e01f", 2))
    assert not capabilities.accepts(_h264("42e0"))
    assert not capabilities.accepts(_h264("4²e01f"))


def test_preferences_reorder_and_restrictions_remove() -> None:
    """What is not preferred stays in the peer's order."""
    offered = (Codec("video/VP8", 1, 90000), Codec("video/AV1", 2, 90000), _h264("42e01f", number=3))
    numbers = [c.payload_type for c in Capabilities(prefer=("video/h264", "video/AV1")).common(offered)]
    assert numbers == [3, 2, 1]
    assert [c.payload_type for c in Capabilities().only("video/AV1").common(offered)] == [2]


def test_codecs_of_one_section_have_a_bound() -> None:
    """What is preferred survives the cut."""
    offered = [Codec("video/VP8", number, 90000) for number in range(MAX_CODECS)]
    assert Capabilities().common(offered) == tuple(offered)
    av1 = Codec("video/AV1", 127, 90000)
    assert Capabilities().common([*offered, av1]) == tuple(offered)
    assert Capabilities(prefer=("video/AV1",)).common([*offered, av1]) == (av1, *offered[:-1])


def test_parameters_are_read_however_they_are_spaced() -> None:
    """RFC 6184 has spaces in its examples."""
    assert fmtp_parameters(" A=1 ;b = c=d;;e") == {"a": "1", "b": "c=d", "e": ""}
