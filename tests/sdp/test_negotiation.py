"""Sessions that negotiate again and again, from both ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rtpcore import sdp
from rtpcore.errors import ParametersError
from rtpcore.parameters import (
    Candidate,
    Codec,
    DtlsParameters,
    Encoding,
    Fingerprint,
    IceParameters,
    Kind,
    SenderParameters,
    TrackParameters,
    TransportParameters,
)
from rtpcore.sdp.codecs import MID, RID, Capabilities, is_same_format

Load = Callable[[str], sdp.SessionDescription]
End = Callable[..., TransportParameters]
VP8 = Codec("video/VP8", 96, 90000, rtx=97)


def _read(description: sdp.SessionDescription) -> sdp.SessionDescription:
    return sdp.parse(str(description))


def _sender(mid: str, kind: Kind = "video", *codecs: Codec) -> SenderParameters:
    number = 1000 + 2 * sum(map(ord, mid))
    rtx = number + 1 if kind == "video" else None
    return SenderParameters(mid, kind, codecs, number, rtx, stream_id="room", track_id="t" + mid, cname="node")


def _agreed(negotiation: sdp.Negotiation) -> sdp.Agreement:
    assert negotiation.agreement is not None
    return negotiation.agreement


def test_a_subscriber_gets_what_it_was_offered(end: End, candidates: tuple[Candidate, ...]) -> None:
    """One video copy, one audio copy, data; a browser answers."""
    node, client = sdp.Negotiation(), sdp.Negotiation()
    video, audio = node.mid("video"), node.mid("audio")
    (vp8,) = node.codecs_for([replace(VP8, payload_type=120, rtx=124)])
    offer = _read(node.offer(end(), candidates, senders=[_sender(video, "video", vp8), _sender(audio, "audio")]))
    assert [(s.kind, s.mid, s.direction) for s in offer.media] == [
        ("video", "0", "sendonly"),
        ("audio", "1", "sendonly"),
        ("application", "data", None),
    ]
    assert offer.bundle == ("0", "1", "data")
    assert {section.value("setup") for section in offer.media} == {"actpass"}
    assert [len(section.all(Candidate)) for section in offer.media] == [2, 0, 0]
    assert offer.tracks[0].encodings == (Encoding(None, 1096, 1097),)
    assert (offer.tracks[0].stream_id, offer.tracks[0].track_id) == ("room", "t0")
    agreement = node.apply(_read(client.answer(offer, end("peerA", lite=False))))
    assert [sender.mid for sender in agreement.senders] == ["0", "1"]
    assert [(c.payload_type, c.rtx) for c in agreement.senders[0].codecs] == [(120, 124)]
    assert agreement.data
    assert agreement.transport.dtls.role == "passive"
    assert [track.mid for track in _agreed(client).tracks] == ["0", "1"]
    assert _agreed(client).tracks[0].codecs == agreement.senders[0].codecs


def test_receiving_simulcast_on_our_own_offer(end: End) -> None:
    """A publisher that answers instead of offering."""
    node, client = sdp.Negotiation(), sdp.Negotiation()
    encodings = tuple(map(Encoding, "qhf"))
    receiver = TrackParameters(node.mid("video"), "video", encodings=encodings)
    offer = _read(node.offer(end(sctp_port=None), receivers=[receiver]))
    section = offer.media[0]
    assert (section.direction, section.find(sdp.Simulcast)) == (
        "recvonly",
        sdp.Simulcast(recv=(("q",), ("h",), ("f",))),
    )
    answer = str(
        client.answer(offer, end("peerA", lite=False), senders=[_sender("0", "video", *offer.wanted[0].codecs[:1])])
    )
    answer += "a=rid:q send\r\na=rid:f send\r\na=simulcast:send q;f\r\n"
    rid = next(item for item in section.all(sdp.Extmap) if item.uri == RID)
    (track,) = node.apply(sdp.parse(f"{answer}a={rid}\r\n")).tracks
    assert track.encodings == (Encoding("q"), Encoding("f"))
    assert [codec.mime_type for codec in track.codecs] == ["video/VP8"]
    assert {extension.uri for extension in track.extensions} >= {MID, RID}


def test_sections_are_used_again_and_keep_their_mids(end: End) -> None:
    """An idle section takes the next track under the same mid; nothing of the old track remains meanwhile."""
    node, client = sdp.Negotiation(), sdp.Negotiation()
    first, second = node.mid("video"), node.mid("video")
    assert first != second, "both are held until the offer"
    node.offer(end(), senders=[_sender(first), _sender(second)])
    offer = node.offer(end(), senders=[_sender(first), _sender(second)])
    node.apply(_read(client.answer(_read(offer), end("peerA"))))
    offer = _read(node.offer(end(), senders=[_sender(second)]))
    assert [(s.mid, s.direction) for s in offer.media[:2]] == [(first, "inactive"), (second, "sendonly")]
    assert offer.media[0].find(sdp.Msid) is None
    assert offer.media[0].all(sdp.Ssrc) == ()
    agreement = node.apply(_read(client.answer(offer, end("peerA"))))
    assert [sender.mid for sender in agreement.senders] == [second]
    assert node.mid("audio") not in (first, second), "another kind needs another section"
    assert node.mid("video") == first
    offer = _read(node.offer(end(), senders=[_sender(first), _sender(second)]))
    assert [s.mid for s in offer.media] == [first, second, "data"]
    assert offer.media[0].direction == "sendonly"


def test_a_rejected_section_is_recycled_under_a_new_mid(end: End) -> None:
    """By a track of the same kind (RFC 9429 §5.2.2)."""
    node = sdp.Negotiation()
    video, audio = node.mid("video"), node.mid("audio")
    offer = _read(node.offer(end(sctp_port=None), senders=[_sender(video), _sender(audio, "audio")]))
    picky = sdp.Negotiation(Capabilities().only("audio/opus"))
    answer = _read(picky.answer(replace(offer, attributes=(sdp.Group("BUNDLE", (audio, video)),)), end("peerA")))
    agreement = node.apply(answer)
    assert agreement.rejected == (video,)
    assert [sender.mid for sender in agreement.senders] == [audio]
    with pytest.raises(ParametersError, match="is rejected"):
        node.offer(end(sctp_port=None), senders=[_sender(video)])
    fresh = node.mid("video")
    assert fresh not in (video, audio)
    offer = node.offer(end(sctp_port=None), senders=[_sender(audio, "audio"), _sender(fresh)])
    assert [(s.kind, s.mid, s.port) for s in offer.media] == [("video", fresh, 9), ("audio", audio, 9)]


def test_a_rejected_section_without_successor_stays_rejected(end: End) -> None:
    """Its line keeps its place, out of the group."""
    node = sdp.Negotiation()
    video, audio = node.mid("video"), node.mid("audio")
    node.offer(end(sctp_port=None), senders=[_sender(video), _sender(audio, "audio")])
    pending = node.offer(end(sctp_port=None), senders=[_sender(video), _sender(audio, "audio")])
    picky = sdp.Negotiation(Capabilities().only("audio/opus"))
    node.apply(picky.answer(replace(pending, attributes=(sdp.Group("BUNDLE", (audio, video)),)), end("peerA")))
    offer = node.offer(end(sctp_port=None), senders=[_sender(audio, "audio")])
    assert [(s.port, s.mid) for s in offer.media] == [(0, video), (9, audio)]
    assert offer.bundle == (audio,)


def test_the_peers_sections_go_on_when_we_offer(load: Load, end: End, candidates: tuple[Candidate, ...]) -> None:
    """A publisher subscribes on the same transport: its tracks, payload types and extension ids stay."""
    node = sdp.Negotiation()
    publish = load("firefox_simulcast")
    first = node.answer(publish, end(), candidates)
    (codec,) = node.codecs_for([VP8])
    assert (codec.payload_type, codec.rtx) == (120, 124), "as Firefox numbered it"
    mid = node.mid("video")
    assert mid == "2"
    offer = _read(node.offer(end("nodeB"), candidates, senders=[_sender(mid, "video", codec)]))
    assert [(s.mid, s.direction) for s in offer.media] == [
        ("0", "recvonly"),
        ("1", "recvonly"),
        ("2", "sendonly"),
        ("data", None),
    ]
    assert {s.value("ice-ufrag") for s in offer.media} == {"nodeB"}
    for before, now in zip(first.media, offer.media, strict=False):
        for kind in (sdp.Rtpmap, sdp.Fmtp, sdp.Extmap, sdp.Rid, sdp.Simulcast):
            assert before.all(kind) == now.all(kind)
    ids: dict[int, str] = {}
    for section in offer.media:
        for item in section.all(sdp.Extmap):
            assert ids.setdefault(item.id, item.uri) == item.uri
    assert {item.id for item in publish.media[1].all(sdp.Extmap) if item.uri.endswith("toffset")} == {5}
    assert ids.get(5) is None, "a number that the peer gave to something unknown stays taken"


def test_versions_grow_and_the_session_id_stays(load: Load, end: End) -> None:
    """RFC 9429 §5.2.1; the id survives a restart of ICE, from whose first ufrag it came."""
    node, client = sdp.Negotiation(), sdp.Negotiation(session_id=5)
    origins = [node.answer(client.offer(end("peerA"), receivers=[]), end()).origin]
    client.rollback()
    origins.append(node.answer(client.offer(end("peerA")), end()).origin)
    origins.append(node.offer(end("nodeB")).origin)
    assert [origin.version for origin in origins] == [0, 1, 2]
    assert len({origin.session_id for origin in origins}) == 1
    assert 0 < origins[0].session_id < 2**63
    assert client.offer(end("peerA")).origin.session_id == 5
    other = sdp.Negotiation().offer(end("other")).origin
    assert other.session_id != origins[0].session_id


def test_ice_restarts(load: Load, end: End) -> None:
    """Ours by new credentials; the peer's must be answered by new ones (RFC 8839 §4.4.3.1)."""
    node = sdp.Negotiation()
    offer = load("chrome_ssrc")
    assert not node.is_restart(offer)
    node.answer(offer, end())
    assert not _agreed(node).is_restart
    assert not node.is_restart(offer)
    restarted = sdp.parse(str(offer).replace("4ZcD", "9xyZ"))
    assert node.is_restart(restarted)
    with pytest.raises(ParametersError, match="our credentials are old"):
        node.answer(restarted, end())
    node.answer(restarted, end("nodeB"))
    assert _agreed(node).is_restart
    assert _agreed(node).transport.ice.ufrag == "9xyZ"


def test_the_dtls_role_stays_over_renegotiation(end: End) -> None:
    """We were active, as the one who answered passive; Chrome's next offer says actpass again (RFC 8842 §5.5)."""
    node, client = sdp.Negotiation(), sdp.Negotiation()
    mid = node.mid("audio")
    node.apply(_read(client.answer(_read(node.offer(end(), senders=[_sender(mid, "audio")])), end("peerA"))))
    assert _agreed(node).transport.dtls.role == "passive"
    again = _read(client.offer(end("peerA"), receivers=[TrackParameters(mid, "audio")]))
    answer = node.answer(again, end(), senders=[_sender(mid, "audio")])
    assert {section.value("setup") for section in answer.media} == {"active"}


def test_glare_is_refused_until_rolled_back(load: Load, end: End) -> None:
    """The state before our offer comes back."""
    node = sdp.Negotiation()
    node.offer(end(), senders=[_sender(node.mid("video"))])
    assert node.is_pending
    with pytest.raises(ParametersError, match="rollback"):
        node.answer(load("chrome_ssrc"), end())
    node.rollback()
    assert len(node.answer(load("chrome_ssrc"), end()).media) == 2
    assert not node.is_pending


def test_payload_types_of_a_rolled_back_offer_give_way(load: Load, end: End) -> None:
    """The peer's offer may use our numbers for something else."""
    node = sdp.Negotiation()
    before = {codec.mime_type: codec.payload_type for codec in node.codecs("video")}
    assert before["video/VP8"] == 96
    node.answer(load("safari"), end())
    numbers = [n for codec in node.codecs("video") for n in (codec.payload_type, codec.rtx) if n is not None]
    assert len(numbers) == len(set(numbers))
    after = {codec.mime_type: codec.payload_type for codec in node.codecs("video")}
    assert (after["video/VP8"], after["video/VP9"]) != (96, 98)
    taken = {int(text) for section in load("safari").media for text in section.formats}
    learned = {n for c in load("safari").wanted[1].codecs for n in (c.payload_type, c.rtx)}
    assert (set(numbers) & taken) <= learned, "what is free of the peer's numbers, or means the same"


def test_extension_ids_of_a_rolled_back_offer_give_way(load: Load, end: End) -> None:
    """Chrome's id 1 is the audio level, ours was the mid."""
    node = sdp.Negotiation()
    assert node.extensions("audio")[0].id == 1
    node.answer(load("chrome_ssrc"), end())
    ids = {extension.uri: extension.id for extension in (*node.extensions("audio"), *node.extensions("video"))}
    assert ids[MID] == 4
    assert len(set(ids.values())) == len(ids)
    offer = _read(node.offer(end(), senders=[_sender(node.mid("video"))]))
    assert [track.mid for track in offer.tracks] == ["2"], "ids that contradict each other would raise"


def test_red_follows_its_opus(load: Load, end: End) -> None:
    """Where the peer numbers opus anew, a red of the old number must go; else it stays."""
    node = sdp.Negotiation()
    (red,) = (codec for codec in node.codecs("audio") if codec.mime_type == "audio/red")
    assert (red.payload_type, red.fmtp) == (63, "111/111")
    node.answer(load("obs_whip"), end())
    assert red in node.codecs("audio"), "OBS numbers opus as we do, and knows no red"
    renumbered = str(load("obs_whip")).replace("111", "63").replace("SAVPF 96", "SAVPF 111").replace(":96 ", ":111 ")
    node = sdp.Negotiation()
    node.codecs("audio")
    node.answer(sdp.parse(renumbered), end())
    (opus,) = (codec for codec in node.codecs("audio") if codec.mime_type == "audio/opus")
    (red,) = (codec for codec in node.codecs("audio") if codec.mime_type == "audio/red")
    assert (opus.payload_type, red.fmtp) == (63, "63/63")
    assert red.payload_type not in (63, 111)


def test_numbers_run_out_with_a_word_of_advice() -> None:
    """61 payload types and no more; each H264 profile takes two."""
    node = sdp.Negotiation()
    fmtps = [f"packetization-mode=1;profile-level-id={idc:02x}ff1f" for idc in range(1, 32)]
    codecs = [Codec("video/H264", 96, 90000, fmtp=fmtp, rtx=97) for fmtp in fmtps]
    assert len(node.codecs_for(codecs[:30])) == 30
    with pytest.raises(ParametersError, match="no payload type is left"):
        node.codecs_for(codecs)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: s[: s.index("m=audio")], "an answer of 1 sections"),
        (lambda s: s.replace("m=audio", "m=video"), "another section in place of 1"),
        (
            lambda s: s.replace("a=mid:1", "a=mid:7").replace("BUNDLE 0 1", "BUNDLE 0 7"),
            "another section in place of 1",
        ),
        (lambda s: s.replace("a=setup:passive", "a=setup:actpass"), "actpass in an answer"),
        (lambda s: s.replace("a=rtcp-mux\r\n", ""), "without rtcp-mux"),
    ],
)
def test_answers_that_do_not_fit(end: End, change: Callable[[str], str], problem: str) -> None:
    """The offer stays pending; a proper answer is still welcome."""
    node, client = sdp.Negotiation(), sdp.Negotiation()
    senders = [_sender(node.mid("video")), _sender(node.mid("audio"), "audio")]
    offer = _read(node.offer(end(sctp_port=None), senders=senders))
    text = str(client.answer(offer, end("peerA")))
    with pytest.raises(ParametersError, match=problem):
        node.apply(sdp.parse(change(text)))
    assert node.is_pending
    assert len(node.apply(sdp.parse(text)).senders) == 2
    with pytest.raises(ParametersError, match="no offer is pending"):
        node.apply(sdp.parse(text))


def test_an_answer_may_use_payload_types_of_its_own(end: End) -> None:
    """We send with the peer's number, as RFC 3264 §5.1 has it; feedback and rtx only as far as both have them."""
    node, client = sdp.Negotiation(), sdp.Negotiation(Capabilities().only("video/VP8"))
    (vp8,) = node.codecs_for([VP8])
    offer = _read(node.offer(end(sctp_port=None), senders=[_sender(node.mid("video"), "video", vp8)]))
    text = str(client.answer(offer, end("peerA")))
    text = text.replace("SAVPF 96 97", "SAVPF 100").replace(":96 ", ":100 ").replace("a=rtcp-fb:100 nack\r\n", "")
    (sender,) = node.apply(sdp.parse(text)).senders
    (codec,) = sender.codecs
    assert (codec.payload_type, codec.rtx, sender.rtx_ssrc) == (100, None, None)
    assert "nack pli" in codec.feedback
    assert "nack" not in codec.feedback


def test_a_subscriber_that_wants_nothing_gets_nothing(end: End) -> None:
    """It answers inactive: the section is open, but no sender is agreed on."""
    node, client = sdp.Negotiation(), sdp.Negotiation()
    offer = _read(node.offer(end(), senders=[_sender(node.mid("video"))]))
    agreement = node.apply(_read(client.answer(offer, end("peerA"), receive=())))
    assert (agreement.senders, agreement.rejected) == ((), ())


@pytest.mark.parametrize(
    ("senders", "receivers", "problem"),
    [
        ([_sender("0"), _sender("0")], [], "two senders in section 0"),
        ([_sender("0")], [TrackParameters("0", "audio")], "two uses of section 0"),
        ([replace(_sender("0"), mid=None)], [], "a mid of 1 to 16"),
        ([_sender("m" * 17)], [], "a mid of 1 to 16"),
        ([], [TrackParameters("0", "video", encodings=tuple(map(Encoding, "abcd")))], "more than 3 encodings"),
        (
            [_sender("0", "video", VP8), _sender("1", "video", replace(VP8, mime_type="video/AV1"))],
            [],
            "payload type 96 stands for",
        ),
    ],
)
def test_offers_that_contradict_themselves(
    end: End, senders: list[SenderParameters], receivers: list[TrackParameters], problem: str
) -> None:
    """Before anything is sent."""
    with pytest.raises(ParametersError, match=problem):
        sdp.offer(end(), senders=senders, receivers=receivers)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: s[: s.index("m=video")], "fewer media sections"),
        (lambda s: s.replace("a=mid:1", "a=mid:2").replace("BUNDLE 0 1", "BUNDLE 0 2"), "section 1 changed its place"),
        (lambda s: s.replace("m=video", "m=audio"), "section 1 changed its place"),
    ],
)
def test_later_offers_keep_the_order(load: Load, end: End, change: Callable[[str], str], problem: str) -> None:
    """RFC 9429 §5.2.2."""
    node = sdp.Negotiation()
    node.answer(load("chrome_ssrc"), end())
    with pytest.raises(ParametersError, match=problem):
        node.answer(sdp.parse(change(str(load("chrome_ssrc")))), end())


class TwoEnds(RuleBasedStateMachine):
    """A node and a client that offer in turn, add and drop tracks, and sometimes refuse a kind."""

    @initialize()
    def begin(self) -> None:
        """Two strangers."""
        self.node, self.client = sdp.Negotiation(), sdp.Negotiation()
        self.sent: dict[str, set[str]] = {"node": set(), "client": set()}
        self.kinds: dict[str, Kind] = {}
        self.meanings: dict[int, Codec] = {}
        self.last: sdp.SessionDescription | None = None
        self.generation = 0

    def _end(self, name: str) -> TransportParameters:
        fingerprint = Fingerprint("sha-256", ":".join(["AB"] * 32))
        ice = IceParameters(f"{name}{self.generation}", "a-password-of-22-chars-and-more")
        return TransportParameters(ice, DtlsParameters((fingerprint,)))

    def _senders(self, name: str) -> list[SenderParameters]:
        return [_sender(mid, self.kinds[mid]) for mid in sorted(self.sent[name])]

    def _check(self, offer: sdp.SessionDescription, answer: sdp.SessionDescription) -> None:
        assert len(offer.media) == len(answer.media)
        mids = [section.mid for section in offer.media]
        assert len(set(mids)) == len(mids)
        if self.last is not None:
            for before, now in zip(self.last.media, offer.media, strict=False):
                assert before.kind == now.kind
                assert before.is_rejected or before.mid == now.mid
            assert len(offer.media) >= len(self.last.media)
        for asked, told in zip(offer.media, answer.media, strict=True):
            assert (asked.kind, asked.mid) == (told.kind, told.mid)
            assert set(told.formats) <= set(asked.formats)
        for codec in (codec for section in offer.media for codec in sdp.read_codecs(section)):
            assert is_same_format(self.meanings.setdefault(codec.payload_type, codec), codec)
        self.last = answer

    def _exchange(self, name: str, receive: bool) -> None:
        offerer, answerer = (self.node, self.client) if name == "node" else (self.client, self.node)
        other = "client" if name == "node" else "node"
        offer = _read(offerer.offer(self._end(name), senders=self._senders(name)))
        # What the answerer sends in sections that this offer lets it use.
        free = {track.mid for track in offer.wanted}
        mine = [sender for sender in self._senders(other) if sender.mid in free]
        answer = _read(answerer.answer(offer, self._end(other), senders=mine, receive=None if receive else ()))
        offerer.apply(answer)
        self._check(offer, answer)
        said, heard = _agreed(offerer), _agreed(answerer)
        assert {s.mid for s in said.senders} == {t.mid for t in heard.tracks}
        assert {t.mid for t in said.tracks} == {s.mid for s in heard.senders}
        for sender in said.senders:
            (track,) = (t for t in heard.tracks if t.mid == sender.mid)
            assert [c.payload_type for c in sender.codecs] == [c.payload_type for c in track.codecs]
            assert track.encodings == (Encoding(None, sender.ssrc, sender.rtx_ssrc),)

    @rule(name=st.sampled_from(["node", "client"]), kind=st.sampled_from(["audio", "video"]), receive=st.booleans())
    def add(self, name: str, kind: Kind, receive: bool) -> None:
        """One end sends one track more, and offers it."""
        mid = (self.node if name == "node" else self.client).mid(kind)
        self.kinds[mid] = kind
        self.sent[name].add(mid)
        self._exchange(name, receive)

    @precondition(lambda self: any(self.sent.values()))
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        """One end stops one of its tracks."""
        name = data.draw(st.sampled_from(sorted(n for n, mids in self.sent.items() if mids)))
        self.sent[name].discard(data.draw(st.sampled_from(sorted(self.sent[name]))))
        self._exchange(name, True)

    @rule(name=st.sampled_from(["node", "client"]))
    def restart(self, name: str) -> None:
        """Both ends take new ICE credentials."""
        before = self.generation
        self.generation += 1
        had = self.node.agreement is not None
        self._exchange(name, True)
        assert _agreed(self.node).is_restart is had, before

    @invariant()
    def nobody_waits(self) -> None:
        """Each rule is a whole exchange."""
        assert not self.node.is_pending
        assert not self.client.is_pending


TwoEnds.TestCase.settings = settings(
    max_examples=30, stateful_step_count=12, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestTwoEnds = TwoEnds.TestCase
