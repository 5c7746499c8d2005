"""Preferences and parameters that are set after the negotiation."""

from __future__ import annotations

from rtpcore import sdp
from rtpcore.sdp.tuning import prefer, tune

TEXT = """v=0
o=- 1 0 IN IP4 127.0.0.1
s=-
t=0 0
m=audio 9 UDP/TLS/RTP/SAVPF 111 63
a=mid:0
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
m=audio 9 UDP/TLS/RTP/SAVPF 109
a=mid:1
a=rtpmap:109 opus/48000/2
""".replace("\n", "\r\n")


def test_parameters_are_added_and_replaced_in_their_section_alone() -> None:
    tuned = tune(sdp.parse(TEXT), "0", "OPUS", {"stereo": "1", "useinbandfec": "0"})
    first, second = tuned.media
    assert [str(item) for item in first.all(sdp.Fmtp)] == [
        "fmtp:111 minptime=10;useinbandfec=0;stereo=1",
        "fmtp:63 111/111",
    ]
    assert not list(second.all(sdp.Fmtp))


def test_a_format_without_parameters_gets_some() -> None:
    tuned = tune(sdp.parse(TEXT), "1", "opus", {"usedtx": "1"})
    assert [str(item) for item in tuned.media[1].all(sdp.Fmtp)] == ["fmtp:109 usedtx=1"]


def test_the_codec_that_is_preferred_comes_first() -> None:
    preferred = prefer(sdp.parse(TEXT), "0", "audio/RED")
    assert [one.formats for one in preferred.media] == [("63", "111"), ("109",)]
    assert prefer(sdp.parse(TEXT), "0", "audio/none") == sdp.parse(TEXT), "what is not there cannot be preferred"
