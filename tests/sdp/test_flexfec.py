"""Repair packets in negotiation: flexfec-03, with an SSRC of its own beside that of the video (FEC-FR, RFC 5956 §4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from rtpcore import sdp
from rtpcore.parameters import Kind, SenderParameters, TransportParameters

Load = Callable[[str], sdp.SessionDescription]
End = Callable[..., TransportParameters]


def sender(mid: str, kind: Kind = "video", *, fec_ssrc: int | None = 13) -> SenderParameters:
    return SenderParameters(mid, kind, ssrc=11, rtx_ssrc=12, fec_ssrc=fec_ssrc, stream_id="s", track_id="t", cname="c")


def offered(end: End, *, fec_ssrc: int | None = 13) -> tuple[sdp.Negotiation, sdp.SessionDescription]:
    """A copy of video, offered to a subscriber."""
    node = sdp.Negotiation()
    offer = node.offer(end(sctp_port=None), senders=[sender(node.mid("video"), fec_ssrc=fec_ssrc)])
    return node, sdp.parse(str(offer))


def fec_number(section: sdp.MediaSection) -> int | None:
    """The payload type of flexfec-03, which is among the formats wherever it is described."""
    found = [item.payload_type for item in section.all(sdp.Rtpmap) if item.name == "flexfec-03"]
    assert all(str(number) in section.formats for number in found)
    return found[0] if found else None


def groups(section: sdp.MediaSection) -> dict[str, tuple[int, ...]]:
    return {group.semantics: group.ssrcs for group in section.all(sdp.SsrcGroup)}


def answered(offer: sdp.SessionDescription, end: End) -> sdp.SessionDescription:
    """What a subscriber without repair packets says: one of our own takes them from publishers that group them."""
    plain = sdp.parse(str(offer).replace("a=ssrc-group:FEC-FR 11 13\r\n", ""))
    return sdp.parse(str(sdp.Negotiation().answer(plain, end("peerA", lite=False, sctp_port=None))))


def taking(answer: sdp.SessionDescription, number: int) -> sdp.SessionDescription:
    """The same answer of a subscriber that takes repair packets."""
    text = str(answer).replace("\r\n", "\n")
    formats = " ".join(answer.media[0].formats)
    text = text.replace(f"SAVPF {formats}", f"SAVPF {formats} {number}", 1)
    return sdp.parse(f"{text}a=rtpmap:{number} flexfec-03/90000\na=fmtp:{number} repair-window=10000000\n")


def test_an_offer_lists_it_and_names_its_stream(end: End) -> None:
    _, offer = offered(end)
    (section,) = offer.media
    assert fec_number(section) == 110
    assert groups(section) == {"FID": (11, 12), "FEC-FR": (11, 13)}
    assert {item.ssrc for item in section.all(sdp.Ssrc)} == {11, 12, 13}
    lines = str(offer)
    assert "a=fmtp:110 repair-window=10000000" in lines
    assert "a=rtcp-fb:110 transport-cc" in lines


def test_without_a_stream_for_it_it_is_not_offered(end: End) -> None:
    _, offer = offered(end, fec_ssrc=None)
    assert fec_number(offer.media[0]) is None
    assert groups(offer.media[0]) == {"FID": (11, 12)}


def test_an_answer_without_it_drops_it(end: End) -> None:
    node, offer = offered(end)
    answer = answered(offer, end)
    assert fec_number(answer.media[0]) is None
    (agreed,) = node.apply(answer).senders
    assert (agreed.fec_payload_type, agreed.fec_ssrc) == (None, None)
    assert agreed.rtx_ssrc == 12, "retransmission is another matter"


@pytest.mark.parametrize("number", [110, 123])
def test_an_answer_with_it_says_under_which_number(end: End, number: int) -> None:
    node, offer = offered(end)
    answer = answered(offer, end)
    (agreed,) = node.apply(taking(answer, number)).senders
    assert (agreed.fec_payload_type, agreed.fec_ssrc) == (number, 13)


def test_it_is_offered_again_where_it_was_dropped(end: End) -> None:
    """Another client may answer the next offer."""
    node, offer = offered(end)
    node.apply(answered(offer, end))
    again = sdp.parse(str(node.offer(end(sctp_port=None), senders=[sender("0")])))
    assert fec_number(again.media[0]) == 110


def test_answering_an_offer_that_lists_it(load: Load, end: End) -> None:
    offer = load("chrome_whep")
    mids = {track.kind: track.mid or "" for track in offer.wanted}
    assert [track.fec_payload_type for track in offer.wanted if track.kind == "video"] == [49]
    negotiation = sdp.Negotiation()
    senders = [sender(mids["video"]), replace(sender(mids["audio"], "audio", fec_ssrc=None), ssrc=21, rtx_ssrc=None)]
    answer = sdp.parse(str(negotiation.answer(offer, end(), senders=senders)))
    by_kind = {section.kind: section for section in answer.media}
    assert fec_number(by_kind["video"]) == 49, "the peer's number"
    assert groups(by_kind["video"])["FEC-FR"] == (11, 13)
    assert fec_number(by_kind["audio"]) is None
    assert negotiation.agreement is not None
    agreed = {one.kind: one for one in negotiation.agreement.senders}
    assert (agreed["video"].fec_payload_type, agreed["video"].fec_ssrc) == (49, 13)
    assert agreed["audio"].fec_ssrc is None


def test_answering_an_offer_without_it(load: Load, end: End) -> None:
    offer = load("chrome_whep")
    text = "".join(
        line
        for line in str(offer).replace("\r\n", "\n").splitlines(keepends=True)
        if not line.startswith("a=rtpmap:49 ")
    )
    bare = sdp.parse(text)
    mid = next(track.mid or "" for track in bare.wanted if track.kind == "video")
    answer = sdp.parse(str(sdp.Negotiation().answer(bare, end(), senders=[sender(mid)])))
    (video,) = (section for section in answer.media if section.kind == "video")
    assert fec_number(video) is None
    assert groups(video) == {"FID": (11, 12)}


def test_a_publisher_is_not_asked_for_it(load: Load, end: End) -> None:
    answer = sdp.answer(load("chrome_ssrc"), end())
    assert all(fec_number(section) is None for section in answer.media)


def test_what_a_publisher_sends_beside_its_video_is_taken(end: End) -> None:
    _, offer = offered(end)
    (track,) = offer.tracks
    assert (track.fec_payload_type, track.encodings[0].fec_ssrc) == (110, 13)
    answer = sdp.Negotiation().answer(offer, end(sctp_port=None))
    assert fec_number(answer.media[0]) == 110


def test_without_a_group_nobody_knows_whose_repair_packets_they_are(end: End) -> None:
    _, offer = offered(end)
    text = str(offer).replace("a=ssrc-group:FEC-FR 11 13\r\n", "")
    (track,) = sdp.parse(text).tracks
    assert (track.fec_payload_type, track.encodings[0].fec_ssrc) == (None, None)
    answer = sdp.Negotiation().answer(sdp.parse(text), end(sctp_port=None))
    assert fec_number(answer.media[0]) is None
