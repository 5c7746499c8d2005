"""A subscriber's copy: what is offered of it, what its peer takes, and what is passed on to its sender."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rtpcore import sdp
from rtpcore.connection import Connection
from rtpcore.copies import Copy, Sources
from rtpcore.events import Layer
from rtpcore.parameters import Codec, DtlsParameters, Fingerprint, IceParameters, TransportParameters

if TYPE_CHECKING:
    from rtpcore.parameters import Kind, SenderParameters, TrackParameters

OPUS = Codec("audio/opus", 111, 48000, 2)
RED = Codec("audio/red", 63, 48000, 2, "111/111")
PCMU = Codec("audio/PCMU", 0, 8000)
VP8 = Codec("video/VP8", 96, 90000, rtx=97, feedback=("nack", "nack pli", "transport-cc"))
AV1 = Codec("video/AV1", 45, 90000, rtx=46)


def receiver(kind: Kind, *codecs: Codec) -> Any:
    return SimpleNamespace(track=SimpleNamespace(kind=kind, codecs=codecs))


def names(sources: Sources) -> list[str]:
    return [codec.mime_type for codec in sources.codecs]


class Sender:
    """Writes down what it is told."""

    def __init__(self, source: Any, parameters: SenderParameters) -> None:
        self.source, self.parameters = source, parameters
        self.told: list[Any] = []

    def prefer(self, layer: Layer, *, priority: int) -> None:
        self.told.append((layer, priority))

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")

    def follow(self, source: Any) -> None:
        self.source = source

    def close(self) -> None:
        self.told.append("close")


class Transport:
    """A transport that nobody is at the other end of."""

    def __init__(self) -> None:
        self.local = end("node")
        self.senders: list[Sender] = []

    def set_remote(self, remote: TransportParameters) -> None:
        """It may be anybody."""

    def add_sender(self, source: Any, parameters: SenderParameters) -> Sender:
        self.senders.append(Sender(source, parameters))
        return self.senders[-1]

    def add_receiver(self, track: TrackParameters) -> Any:
        return SimpleNamespace(track=track, close=lambda: None)


def connection_of() -> tuple[Connection, Transport]:
    transport = Transport()
    expect: Any = lambda: transport  # noqa: E731
    return Connection(expect), transport


def copy_of(*codecs: Codec, kind: Kind = "video", **facts: Any) -> Copy:
    return Copy("TR_1", Sources.of({"": receiver(kind, *codecs)}, [""]), "PA_1|TR_1", Layer(2, 2), **facts)


class TestSources:
    def test_opus_may_be_repeated_for_who_loses_it(self) -> None:
        sources = Sources.of({"audio/opus": receiver("audio", OPUS)}, ["audio/opus"], has_red=True)
        assert names(sources) == ["audio/opus", "audio/red"]
        assert sources.order == (), "it is one source, in what form it is sent is the sender's affair"

    def test_where_it_may_not_be_it_is_not(self) -> None:
        assert names(Sources.of({"": receiver("audio", OPUS)}, [""], has_red=False)) == ["audio/opus"]

    def test_what_comes_as_red_is_not_offered_twice(self) -> None:
        assert names(Sources.of({"": receiver("audio", RED, OPUS)}, [""], has_red=True)) == ["audio/red", "audio/opus"]

    def test_other_codecs_know_no_repetition(self) -> None:
        assert names(Sources.of({"": receiver("audio", PCMU)}, [""], has_red=True)) == ["audio/PCMU"]
        assert names(Sources.of({"": receiver("video", VP8)}, [""], has_red=True)) == ["video/VP8"]

    def test_of_two_codecs_the_first_comes_first_unless_it_is_regressed(self) -> None:
        receivers = {"video/av1": receiver("video", AV1), "video/vp8": receiver("video", VP8)}
        announced = ["video/av1", "video/vp8"]
        assert Sources.of(receivers, announced).order == ("video/av1", "video/vp8")
        assert Sources.of(receivers, announced, is_regressed=True).order == ("video/vp8", "video/av1")


class TestCopy:
    def test_its_sender_hears_of_layer_rank_and_pause(self) -> None:
        connection, transport = connection_of()
        connection.copies["TR_1"] = copy = copy_of(VP8, priority=255)
        connection.apply(answer_to(connection.offer()))
        (sender,) = transport.senders
        assert sender.told == [(Layer(2, 2), 255), "resume"]
        connection.adjust("TR_1", copy.sources, Layer(0, 1), is_paused=True, priority=7)
        assert sender.told[2:] == [(Layer(0, 1), 7), "pause"]

    def test_it_asks_for_its_room_s_delay_in_pictures_alone(self) -> None:
        assert copy_of(VP8, playout_delay_ms=(100, 500)).propose((VP8,)).playout_delay_ms == (100, 500)
        assert copy_of(OPUS, kind="audio", playout_delay_ms=(100, 500)).propose((OPUS,)).playout_delay_ms is None


class TestRepairPackets:
    def test_they_are_offered_for_video_alone(self) -> None:
        connection, _ = connection_of()
        connection.copies["TR_1"] = video = copy_of(VP8)
        connection.copies["TR_2"] = Copy("TR_2", Sources.of({"": receiver("audio", OPUS)}, [""]), "PA_1|TR_2", Layer())
        sections = {section.kind: section for section in sdp.parse(connection.offer()).media}
        assert repaired(sections["video"]) == (True, (video.ssrc, video.fec_ssrc))
        assert repaired(sections["audio"]) == (False, None)

    def test_who_does_not_take_them_gets_none(self) -> None:
        connection, transport = connection_of()
        connection.copies["TR_1"] = copy_of(VP8)
        connection.apply(answer_to(connection.offer()))
        (sender,) = transport.senders
        assert (sender.parameters.fec_payload_type, sender.parameters.fec_ssrc) == (None, None)
        assert sender.parameters.rtx_ssrc is not None

    def test_who_takes_them_gets_them_under_its_number(self) -> None:
        connection, transport = connection_of()
        connection.copies["TR_1"] = copy = copy_of(VP8)
        answer = answer_to(connection.offer())
        formats = " ".join(sdp.parse(answer).media[0].formats)
        answer = answer.replace(f"SAVPF {formats}", f"SAVPF {formats} 123", 1) + "a=rtpmap:123 flexfec-03/90000\r\n"
        connection.apply(answer)
        (sender,) = transport.senders
        assert (sender.parameters.fec_payload_type, sender.parameters.fec_ssrc) == (123, copy.fec_ssrc)


def end(ufrag: str) -> TransportParameters:
    """Of a transport without data channels, so that an offer has a section for each copy and no other."""
    dtls = DtlsParameters((Fingerprint("sha-256", ":".join(["AB"] * 32)),))
    return TransportParameters(IceParameters(ufrag, "a-password-of-this-end"), dtls, sctp_port=None)


def answer_to(offer: str) -> str:
    """As a client answers that takes all but repair packets; its media section is the last."""
    lines = [line for line in offer.splitlines(keepends=True) if not line.startswith("a=ssrc-group:FEC-FR")]
    return str(sdp.Negotiation().answer(sdp.parse("".join(lines)), end("peer")))


def repaired(section: sdp.MediaSection) -> tuple[bool, tuple[int, ...] | None]:
    """Whether a section lists repair packets, and the SSRCs of FEC-FR."""
    is_listed = any(item.name == "flexfec-03" for item in section.all(sdp.Rtpmap))
    groups = {group.semantics: group.ssrcs for group in section.all(sdp.SsrcGroup)}
    return is_listed, groups.get("FEC-FR")
