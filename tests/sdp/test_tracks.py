"""What offers say to the core."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rtpcore import sdp
from rtpcore.errors import ParametersError
from rtpcore.parameters import Encoding, IceParameters
from rtpcore.sdp.codecs import DEPENDENCY_DESCRIPTOR, MID, REPAIRED_RID, RID, VIDEO_LAYERS_ALLOCATION
from rtpcore.sdp.tracks import MAX_CANDIDATES

Load = Callable[[str], sdp.SessionDescription]


def _edit(description: sdp.SessionDescription, *changes: tuple[str, str]) -> sdp.SessionDescription:
    text = str(description).replace("\r\n", "\n")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return sdp.parse(text)


@pytest.mark.parametrize(
    ("name", "encodings"),
    [
        ("chrome_simulcast", (Encoding("q"), Encoding("h"), Encoding("f"))),
        ("chrome_ssrc", (Encoding(None, 3735928559, 305419896),)),
        ("chrome_sim_group", (Encoding(None, 1001, 2001), Encoding(None, 1002, 2002), Encoding(None, 1003, 2003))),
        ("firefox_simulcast", (Encoding("low"), Encoding("high"))),
        ("safari", (Encoding(None, 77, 78),)),
        ("aiortc", (Encoding(None, 1111, 2222),)),
        ("webrtcbin", (Encoding(None, 2834502561, 1903749260),)),
        ("obs_whip", (Encoding(None, 1834502878),)),
    ],
)
def test_encodings_of_the_video_track(load: Load, name: str, encodings: tuple[Encoding, ...]) -> None:
    """By rid, by SIM group, by FID group, by a lone SSRC."""
    (track,) = (track for track in load(name).tracks if track.kind == "video")
    assert track.encodings == encodings


def test_a_chrome_publisher(load: Load) -> None:
    """Everything that the core is told of it."""
    offer = load("chrome_simulcast")
    transport = offer.transport
    assert transport.ice == IceParameters("4ZcD", "2/1muCWoOi3uLifh0NuRHlZe", lite=False)
    assert (transport.dtls.role, transport.dtls.fingerprints[0].algorithm) == ("auto", "sha-256")
    assert [c.is_mdns for c in transport.candidates] == [True, False, True]
    assert (transport.sctp_port, transport.max_message_size) == (5000, 262144)
    assert (transport.trickle, transport.end_of_candidates) == (True, False)
    audio, video = offer.tracks
    assert (audio.mid, audio.stream_id, audio.track_id, audio.direction) == ("0", "stream-1", "mic-1", "sendonly")
    assert [codec.mime_type for codec in audio.codecs] == ["audio/opus", "audio/red", "audio/PCMU", "audio/PCMA"]
    ids = {extension.uri: extension.id for extension in video.extensions}
    assert (ids[MID], ids[RID], ids[REPAIRED_RID], ids[DEPENDENCY_DESCRIPTOR], ids[VIDEO_LAYERS_ALLOCATION]) == (
        4,
        10,
        11,
        9,
        17,
    )
    assert len(ids) == 9, "toffset, color-space and their like are left out"
    assert offer.wanted == ()


def test_session_level_attributes_count_for_every_section(load: Load) -> None:
    """Firefox's fingerprint, libdatachannel's whole transport; with libdatachannel's comma between ICE options."""
    assert load("firefox_simulcast").transport.dtls.fingerprints[0].value.startswith("19:4E")
    obs = load("obs_whip").transport
    assert (obs.ice.ufrag, obs.dtls.role, obs.trickle, obs.end_of_candidates) == ("fxGk", "auto", True, True)
    assert [c.address for c in obs.candidates] == ["192.0.2.44", "2001:db8::44"]
    assert obs.sctp_port is None


def test_names_of_peers_without_a_msid_line(load: Load) -> None:
    """webrtcbin gives them per SSRC only; its OPUS is written in its own way."""
    video, audio = load("webrtcbin").tracks
    assert (video.stream_id, video.track_id) == ("user1234567@host-89abcdef", "webrtctransceiver0")
    assert audio.codecs[0].mime_type == "audio/opus"


def test_what_a_whep_client_wants(load: Load) -> None:
    """Nothing to receive, two sections to send in, without extensions that only publishers use."""
    offer = load("chrome_whep")
    assert offer.tracks == ()
    assert [(t.mid, t.kind, t.encodings, t.direction) for t in offer.wanted] == [
        ("0", "audio", (), "recvonly"),
        ("1", "video", (), "recvonly"),
    ]
    assert RID not in {extension.uri for extension in offer.wanted[1].extensions}


def test_extension_directions_are_heeded(load: Load) -> None:
    """Firefox takes playout delay and sends rids, but not the other way round."""
    offer = load("firefox_simulcast")
    sent = {extension.id for extension in offer.tracks[1].extensions}
    assert sent == {3, 4, 7, 8, 9}
    wanted = _edit(offer, ("a=sendonly", "a=recvonly")).wanted[1]
    assert {extension.id for extension in wanted.extensions} == {3, 4, 6, 7}


def test_rejected_sections_are_nothing(load: Load) -> None:
    """But a bundle-only section has port 0 too, and is alive (RFC 9143 §6)."""
    assert [track.mid for track in load("chrome_rejected").tracks] == ["1"]
    revived = _edit(
        load("chrome_ssrc"),
        ("m=video 9", "m=video 0"),
        ("a=mid:1\n", "a=mid:1\na=bundle-only\n"),
    )
    assert [track.mid for track in revived.tracks] == ["0", "1"]


@pytest.mark.parametrize(
    ("old", "new", "rids"),
    [
        ("send q;h;f", "send f;~h;q", ["q", "h", "f"]),
        ("send q;h;f", "send h,q;f", ["h", "f"]),
        ("send q;h;f", "send q;x;q", ["q"]),
        ("send q;h;f", "recv q;h;f", [None]),
        ("a=rid:q send\n", "a=rid:q recv\na=simulcast:recv q\na=rid:q send\n", ["q", "h", "f"]),
        ("a=rid:h send\n", "", ["q", "f"]),
        ("a=rid:h send\n", "a=rid:h send pt=119\n", ["q", "f"]),
        ("a=rid:h send\n", "a=rid:h send pt=119,98\n", ["q", "h", "f"]),
        ("urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", "urn:x", [None]),
        (
            "a=rid:q send\na=rid:h send\na=rid:f send\n",
            "a=rid:q send max-width=1280\na=rid:h send max-width=640\na=rid:f send max-width=320\n",
            ["f", "h", "q"],
        ),
    ],
)
def test_simulcast_variants(load: Load, old: str, new: str, rids: list[str | None]) -> None:
    """Order, alternatives, paused streams, rids without a line or without a codec, a line for the other way."""
    track = _edit(load("chrome_simulcast"), (old, new)).tracks[1]
    assert [encoding.rid for encoding in track.encodings] == rids


def test_no_more_than_three_encodings(load: Load) -> None:
    """The core has room for three."""
    offer = load("chrome_simulcast")
    more = _edit(offer, ("send q;h;f", "send a;q;h;f"), ("a=rid:q send", "a=rid:a send\na=rid:q send"))
    assert [encoding.rid for encoding in more.tracks[1].encodings] == ["a", "q", "h"]
    legacy = _edit(load("chrome_sim_group"), ("SIM 1001", "SIM 1000 1001"))
    assert [encoding.ssrc for encoding in legacy.tracks[1].encodings] == [1000, 1001, 1002]


def test_second_ssrcs_of_groups_start_no_stream(load: Load) -> None:
    """A FEC stream named before its source."""
    offer = _edit(
        load("chrome_ssrc"),
        ("a=ssrc-group:FID 3735928559 305419896", "a=ssrc:5 cname:x\na=ssrc-group:FEC-FR 3735928559 5"),
    )
    assert offer.tracks[1].encodings == (Encoding(None, 3735928559, fec_ssrc=5),)


def test_candidates_kept_of_one_peer_have_a_bound(load: Load) -> None:
    """Those of RTCP's own component are no use with rtcp-mux."""
    line = "a=candidate:1 {} udp 1 192.0.2.1 {} typ host\n"
    many = "".join(line.format(1, port) for port in range(100)) + line.format(2, 1)
    offer = _edit(load("chrome_data_only"), ("a=mid:0\n", "a=mid:0\n" + many))
    assert [c.port for c in offer.transport.candidates] == list(range(MAX_CANDIDATES))
    few = _edit(load("chrome_data_only"), ("a=mid:0\n", "a=mid:0\n" + line.format(2, 1) + line.format(1, 7)))
    assert [c.port for c in few.transport.candidates] == [7]


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("webrtcbin_no_bundle", "v=0", "v=0", "outside of the BUNDLE group"),
        ("chrome_ssrc", "BUNDLE 0 1", "BUNDLE 0", "outside of the BUNDLE group"),
        ("chrome_ssrc", "a=rtcp-mux\n", "", "without rtcp-mux"),
        ("chrome_ssrc", "a=mid:1", "a=mid:0", "two media sections with one mid"),
        ("chrome_ssrc", "a=mid:1", "a=mid:a-mid-of-17-chars", "a mid too long"),
        ("chrome_ssrc", "a=extmap:5 ", "a=extmap:1 ", "extension id 1 means"),
        ("chrome_data_only", "a=ice-pwd:2/1muCWoOi3uLifh0NuRHlZe\n", "", "no ICE credentials"),
        ("chrome_data_only", "a=fingerprint:", "a=x-fingerprint:", "no DTLS fingerprint"),
        ("chrome_data_only", "a=setup:actpass", "a=setup:holdconn", "a=setup:holdconn"),
        ("chrome_data_only", "m=application 9", "m=application 0", "every media section is rejected"),
    ],
)
def test_offers_that_no_single_transport_can_carry(load: Load, name: str, old: str, new: str, problem: str) -> None:
    """Refused with advice."""
    offer = _edit(load(name), (old, new))
    with pytest.raises(ParametersError, match=problem) as caught:
        _ = offer.transport
    assert caught.value.advice or "mid" in problem or "setup" in problem


def test_a_rid_must_fit_its_header_extension(load: Load) -> None:
    """16 bytes (RFC 8285 §4.2)."""
    longest, too_long = "r" * 16, "r" * 17
    for rid in (longest, too_long):
        offer = _edit(load("chrome_simulcast"), ("rid:q", "rid:" + rid), ("send q;", f"send {rid};"))
        if rid == longest:
            assert Encoding(longest) in offer.tracks[1].encodings
        else:
            with pytest.raises(ParametersError, match="a rid too long"):
                _ = offer.tracks


def test_a_lone_section_needs_neither_group_nor_mid(load: Load) -> None:
    """RFC 9429 §5.8 leaves a peer with a single track its old ways."""
    text = str(load("obs_whip")).replace("\r\n", "\n")
    lone = sdp.parse(text[: text.index("m=video")].replace("a=group:BUNDLE 0 1\n", "").replace("a=mid:0\n", ""))
    assert [track.mid for track in lone.tracks] == [None]
