"""Answers to single offers, as in WHIP (RFC 9725) and WHEP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtpcore import sdp
from rtpcore.errors import ParametersError
from rtpcore.parameters import (
    Candidate,
    Codec,
    DtlsParameters,
    Extension,
    Fingerprint,
    IceParameters,
    SenderParameters,
    TransportParameters,
)
from rtpcore.sdp.codecs import MID, RID, Capabilities

Load = Callable[[str], sdp.SessionDescription]
End = Callable[..., TransportParameters]
Candidates = tuple[Candidate, ...]

FOLDER = Path(__file__).parent
OFFERS = sorted(path.stem for path in (FOLDER / "offers").glob("*.sdp") if path.stem != "webrtcbin_no_bundle")
LOCAL = TransportParameters(
    IceParameters("node", "a-password-of-the-node", lite=True),
    DtlsParameters((Fingerprint("sha-256", ":".join(["AB"] * 32)),)),
)
SENDER = SenderParameters("1", "video", ssrc=70, rtx_ssrc=71, stream_id="room", track_id="cam", cname="node")


def _formats(description: sdp.SessionDescription) -> list[tuple[str, ...]]:
    return [section.formats for section in description.media]


def check_invariants(offer: sdp.SessionDescription, answer: sdp.SessionDescription) -> None:
    """What JSEP wants of every answer (RFC 9429 §5.3.1)."""
    assert sdp.parse(str(answer)) == answer
    assert len(answer.media) == len(offer.media)
    live = [section.mid for section in answer.media if not section.is_rejected]
    assert set(answer.bundle) <= set(offer.bundle) & set(live)
    assert not offer.bundle or set(answer.bundle) == set(live)
    for asked, told in zip(offer.media, answer.media, strict=True):
        assert (told.mid, told.kind, told.protocol) == (asked.mid, asked.kind, asked.protocol)
        assert set(told.formats) <= set(asked.formats)
        assert not asked.is_rejected or told.is_rejected
        if told.is_rejected or told.kind == "application":
            continue
        sends = (asked.direction or "sendrecv") in ("sendrecv", "sendonly")
        takes = (asked.direction or "sendrecv") in ("sendrecv", "recvonly")
        assert told.direction in {"inactive"} | ({"recvonly"} if sends else set()) | (
            {"sendonly"} if takes else set()
        ) | ({"sendrecv"} if sends and takes else set())
        maps = {item.payload_type: item for item in asked.all(sdp.Rtpmap)}
        for item in told.all(sdp.Rtpmap):
            assert str(item.payload_type) in told.formats
            assert item.payload_type in (0, 8, 9) or maps[item.payload_type].clock_rate == item.clock_rate
        offered = {(item.id, item.uri) for item in asked.all(sdp.Extmap)}
        assert {(item.id, item.uri) for item in told.all(sdp.Extmap)} <= offered
        assert told.has("rtcp-mux")
        assert told.value("setup") in ("active", "passive")


@pytest.mark.parametrize("name", OFFERS)
def test_the_answer_to_a_publisher_is_the_reviewed_one(load: Load, end: End, candidates: Candidates, name: str) -> None:
    """Compared with answers/*.sdp, which were read by eye; delete a file to have it written anew."""
    offer = load(name)
    answer = sdp.answer(offer, end(), candidates)
    check_invariants(offer, answer)
    path = FOLDER / "answers" / f"{name}.sdp"
    text = str(answer).replace("\r\n", "\n")
    if not path.exists():
        path.write_text(text)
        pytest.fail(f"{path.name} was missing: read what was written, then run again")
    assert text == path.read_text()


def senders_for(offer: sdp.SessionDescription, mids: set[str | None]) -> list[SenderParameters]:
    """A sender for each of these sections that the peer wants."""
    wanted = [track for track in offer.wanted if track.mid in mids]
    return [
        SenderParameters(track.mid, track.kind, ssrc=10 + 2 * i, rtx_ssrc=11 + 2 * i, stream_id="s", track_id=f"t{i}")
        for i, track in enumerate(wanted)
    ]


@given(st.sampled_from(OFFERS), st.data())
def test_answers_keep_jseps_rules_whatever_is_decided(name: str, data: st.DataObject) -> None:
    """Any direction in any section, any of senders and receivers, any preference, with and without data."""
    offer = sdp.parse((FOLDER / "offers" / f"{name}.sdp").read_text())
    directions = st.sampled_from(["sendrecv", "sendonly", "recvonly", "inactive"])
    media = []
    for section in offer.media:
        flow = sdp.Attribute(data.draw(directions))
        flows = [
            flow if isinstance(a, sdp.Attribute) and a.name == section.direction else a for a in section.attributes
        ]
        media.append(replace(section, attributes=tuple(flows)))
    offer = replace(offer, media=tuple(media))
    mids = st.sets(st.sampled_from([section.mid for section in media]))
    every = ["audio/opus", "audio/PCMU", "video/VP8", "video/H264", "video/VP9"]
    capabilities = Capabilities(prefer=tuple(data.draw(st.permutations(every))))
    if data.draw(st.booleans()):
        capabilities = capabilities.only(*data.draw(st.sets(st.sampled_from(every))))
    negotiation = sdp.Negotiation(capabilities)
    senders = [
        s for s in senders_for(offer, data.draw(mids)) if s.kind in {c.mime_type[:5] for c in capabilities.codecs}
    ]
    receive = data.draw(st.none() | mids)
    local = replace(LOCAL, sctp_port=data.draw(st.sampled_from([None, 5000])))
    try:
        answer = negotiation.answer(offer, local, senders=senders, receive=receive)
    except ParametersError as error:
        refusal = str(error)
        assert senders, refusal
        assert "nothing can be sent" in refusal or "every media section" in refusal
        return
    check_invariants(offer, answer)
    agreement = negotiation.agreement
    assert agreement is not None
    assert {track.mid for track in agreement.tracks} == {
        section.mid for section in answer.media if section.direction in ("sendrecv", "recvonly") and section.port
    }
    assert {sender.mid for sender in agreement.senders} == {sender.mid for sender in senders}
    for section in answer.media:
        if section.kind != "application" and section.port and section.direction in ("sendrecv", "sendonly"):
            assert section.find(sdp.Msid) is not None


def test_a_whep_client_gets_what_can_be_served(load: Load, end: End) -> None:
    """The other section is there, but idle."""
    offer = load("chrome_whep")
    wanted = offer.wanted[1]
    codec = sdp.match(Codec("video/VP8", 120, 90000), wanted.codecs)
    assert codec is not None
    negotiation = sdp.Negotiation()
    answer = negotiation.answer(offer, end(), senders=[replace(SENDER, codecs=(codec,))])
    check_invariants(offer, answer)
    audio, video = answer.media
    assert (audio.direction, video.direction) == ("inactive", "sendonly")
    assert video.formats == ("96", "97")
    assert video.find(sdp.Msid) == sdp.Msid("room", "cam")
    assert video.all(sdp.SsrcGroup) == (sdp.SsrcGroup("FID", (70, 71)),)
    assert video.all(sdp.Ssrc) == (sdp.Ssrc(70, "cname", "node"), sdp.Ssrc(71, "cname", "node"))
    assert negotiation.agreement is not None
    (sender,) = negotiation.agreement.senders
    assert (sender.codecs[0].payload_type, sender.codecs[0].rtx, sender.rtx_ssrc) == (96, 97, 71)
    assert Extension(MID, 4) in sender.extensions
    assert not any(extension.uri == RID for extension in sender.extensions)
    # A section of a publisher that comes next shall have it: see answering.
    assert RID in {item.uri for item in video.all(sdp.Extmap)}


def test_a_sender_without_retransmission_announces_none(load: Load, end: End) -> None:
    """aiortc's opus has no rtx: an FID group would promise packets that never come."""
    sender = SenderParameters("0", "audio", ssrc=70, rtx_ssrc=71)
    section = sdp.answer(load("aiortc"), end(), senders=[sender]).media[0]
    assert section.all(sdp.SsrcGroup) == ()
    assert {item.ssrc for item in section.all(sdp.Ssrc)} == {70}
    assert section.find(sdp.Msid) == sdp.Msid("-")


def test_a_sendrecv_section_puts_what_is_sent_first(load: Load, end: End) -> None:
    """The rest of the common codecs stays welcome from the peer."""
    offer = load("chrome_ssrc")
    h264 = next(codec for codec in offer.wanted[1].codecs if codec.payload_type == 109)
    section = sdp.answer(offer, end(), senders=[replace(SENDER, codecs=(h264,))]).media[1]
    assert section.direction == "sendrecv"
    assert section.formats[:4] == ("109", "114", "96", "97")


def test_formats_stay_in_the_offers_order_unless_preferred(load: Load, end: End) -> None:
    """The first codec of the answer is the one that the peer sends."""
    offer = load("chrome_ssrc")
    answer = sdp.answer(offer, end())
    for asked, told in zip(_formats(offer), _formats(answer), strict=True):
        assert [text for text in asked if text in told] == list(told)
    preferred = sdp.answer(offer, end(), capabilities=Capabilities(prefer=("video/AV1", "audio/PCMU")))
    assert [formats[:2] for formats in _formats(preferred)] == [("0", "111"), ("45", "46")]


def test_receiving_can_be_declined(load: Load, end: End) -> None:
    """The section stays open, for later."""
    negotiation = sdp.Negotiation()
    answer = negotiation.answer(load("chrome_simulcast"), end(), receive={"0"})
    assert [section.direction for section in answer.media] == ["recvonly", "inactive", None]
    assert [section.port for section in answer.media] == [9, 9, 9]
    assert answer.media[1].find(sdp.Simulcast) is None
    assert negotiation.agreement is not None
    assert [track.mid for track in negotiation.agreement.tracks] == ["0"]


def test_data_channels_can_be_declined(load: Load, end: End) -> None:
    """By a local end without SCTP port."""
    negotiation = sdp.Negotiation()
    answer = negotiation.answer(load("chrome_simulcast"), end(sctp_port=None))
    assert answer.media[2].is_rejected
    assert answer.bundle == ("0", "1")
    assert negotiation.agreement is not None
    assert (negotiation.agreement.data, negotiation.agreement.rejected) == (False, ("2",))


def test_candidates_stand_in_the_tagged_section_only(load: Load, end: End, candidates: Candidates) -> None:
    """The first of the group that is left, which need not be the first of the description."""
    answer = sdp.answer(load("chrome_rejected"), end(), candidates)
    assert [len(section.all(Candidate)) for section in answer.media] == [0, 2]
    assert [section.has("end-of-candidates") for section in answer.media] == [False, True]
    offer = load("chrome_ssrc")
    swapped = replace(offer, attributes=(sdp.Group("BUNDLE", ("1", "0")),))
    assert [len(s.all(Candidate)) for s in sdp.answer(swapped, end(), candidates).media] == [0, 2]
    assert not sdp.answer(offer, end()).media[0].has("end-of-candidates"), "there were none to end"


def test_the_tagged_section_is_not_rejected_alone(load: Load, end: End, candidates: Candidates) -> None:
    """RFC 9143 §7.3.3: without a common codec it stays, idle; another section would be rejected."""
    video_only = Capabilities().only("video/VP8")
    answer = sdp.answer(load("chrome_ssrc"), end(), candidates, capabilities=video_only)
    assert [(s.port, s.direction, s.formats) for s in answer.media] == [
        (9, "inactive", ("111",)),
        (9, "recvonly", ("96", "97")),
    ]
    assert len(answer.media[0].all(Candidate)) == 2
    audio_only = Capabilities().only("audio/opus")
    answer = sdp.answer(load("chrome_ssrc"), end(), candidates, capabilities=audio_only)
    assert [(s.port, s.direction) for s in answer.media] == [(9, "recvonly"), (0, "inactive")]
    assert answer.bundle == ("0",)


@pytest.mark.parametrize(
    ("offered", "ours", "answered"),
    [
        ("actpass", "auto", "passive"),
        ("actpass", "active", "active"),
        ("active", "auto", "passive"),
        ("passive", "auto", "active"),
        ("passive", "active", "active"),
    ],
)
def test_dtls_roles(load: Load, offered: str, ours: str, answered: str) -> None:
    """RFC 8842 §5.3."""
    offer = sdp.parse(str(load("chrome_ssrc")).replace("actpass", offered))
    local = replace(LOCAL, dtls=replace(LOCAL.dtls, role=ours))  # type: ignore[arg-type]
    assert {section.value("setup") for section in sdp.answer(offer, local).media} == {answered}


def test_two_servers_cannot_shake_hands(load: Load) -> None:
    """Neither would ever send the ClientHello."""
    offer = sdp.parse(str(load("chrome_ssrc")).replace("actpass", "passive"))
    with pytest.raises(ParametersError, match="both ends want to be passive"):
        sdp.answer(offer, replace(LOCAL, dtls=replace(LOCAL.dtls, role="passive")))


@pytest.mark.parametrize(
    ("senders", "problem"),
    [
        ([replace(SENDER, mid="9")], "nothing can be sent in section 9"),
        ([SENDER, SENDER], "nothing can be sent in section 1"),
        ([replace(SENDER, codecs=(Codec("video/VP8", 98, 90000),))], "is video/VP9 to the peer"),
        ([replace(SENDER, codecs=(Codec("video/VP8", 33, 90000),))], "no codec that the peer can receive"),
    ],
)
def test_senders_must_fit_their_section(load: Load, senders: list[SenderParameters], problem: str) -> None:
    """Said before anything is sent that the peer cannot decode."""
    with pytest.raises(ParametersError, match=problem):
        sdp.answer(load("chrome_whep"), LOCAL, senders=senders)


def test_nothing_is_sent_to_those_who_only_send(load: Load) -> None:
    """Chrome's section is sendonly."""
    with pytest.raises(ParametersError, match="nothing can be sent in section 1"):
        sdp.answer(load("chrome_simulcast"), LOCAL, senders=[SENDER])


def test_rid_restrictions_are_mirrored_for_accepted_codecs(load: Load, end: End) -> None:
    """RFC 8851 §6.2: what was refused must not be named."""
    text = str(load("chrome_simulcast")).replace("a=rid:h send", "a=rid:h send pt=96,119;max-fps=30")
    section = sdp.answer(sdp.parse(text), end()).media[1]
    assert [str(rid) for rid in section.all(sdp.Rid)] == [
        "rid:q recv",
        "rid:h recv pt=96;max-fps=30",
        "rid:f recv",
    ]
    assert section.find(sdp.Simulcast) == sdp.Simulcast(recv=(("q",), ("h",), ("f",)))


def test_unusable_extension_ids_are_not_answered(load: Load, end: End) -> None:
    """4096 and up say "pick one", which needs a new offer; two-byte ids are fine."""
    offer = sdp.parse(
        str(load("chrome_ssrc")).replace("a=extmap:3 ", "a=extmap:4096 ").replace("a=extmap:5 ", "a=extmap:255 ")
    )
    ids = {item.id for item in sdp.answer(offer, end()).media[1].all(sdp.Extmap)}
    assert 255 in ids
    assert 4096 not in ids


def test_sections_of_other_kinds_are_rejected(load: Load, end: End) -> None:
    """Real-time text, legacy data channels, SDES."""
    text = str(load("chrome_ssrc")).replace("BUNDLE 0 1", "BUNDLE 0 1 2 3 4")
    text += "m=text 9 UDP/TLS/RTP/SAVPF 98\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\n"
    text += (
        "m=application 9 DTLS/SCTP 5000\r\nc=IN IP4 0.0.0.0\r\na=mid:3\r\na=sctpmap:5000 webrtc-datachannel 1024\r\n"
    )
    text += "m=audio 9 RTP/XYZ 0\r\nc=IN IP4 0.0.0.0\r\na=mid:4\r\na=rtcp-mux\r\n"
    answer = sdp.answer(sdp.parse(text), end())
    assert [section.port for section in answer.media] == [9, 9, 0, 0, 0]
    assert answer.bundle == ("0", "1")
