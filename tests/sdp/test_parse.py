"""Text to descriptions and back."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpcore import sdp
from rtpcore.errors import ParametersError, ProtocolError
from rtpcore.parameters import Candidate, Fingerprint
from rtpcore.sdp.attributes import AnyAttribute, parse_attribute

OFFERS = sorted((Path(__file__).parent / "offers").glob("*.sdp"))
HEAD = "v=0\no=- 1 2 IN IP4 127.0.0.1\ns=-\nt=0 0\n"
AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 111\n"

# The package's function `parse` covers its module of that name.
LIMITS = vars(importlib.import_module("rtpcore.sdp.parse"))

WORDS = st.text("abcXYZ0189-_.", min_size=1, max_size=8)
PARAMETERS = st.text("abc019;=/-, ", max_size=20).map(lambda text: text.strip(" "))
NUMBERS = st.integers(0, 127)
SSRCS = st.integers(0, 2**32 - 1)
STREAMS = st.lists(st.lists(WORDS.map(lambda w: w.replace(".", "_")), min_size=1, max_size=2).map(tuple), max_size=3)


def attributes() -> st.SearchStrategy[AnyAttribute]:
    """Attributes of every class, and some that nobody knows."""
    return st.one_of(
        st.builds(sdp.Rtpmap, NUMBERS, WORDS, st.integers(1, 96000), st.integers(1, 255)),
        st.builds(sdp.Fmtp, NUMBERS, PARAMETERS),
        st.builds(sdp.RtcpFb, st.none() | NUMBERS, st.sampled_from(["nack", "nack pli", "x y z"])),
        st.builds(
            sdp.Extmap,
            st.integers(1, 255) | st.integers(4096, 4351),
            WORDS.map("urn:{}".format),
            st.sampled_from([None, "sendonly", "recvonly", "inactive"]),
            st.sampled_from(["", "a b"]),
        ),
        st.builds(
            sdp.Rid,
            WORDS.map(lambda w: w.replace(".", "_")),
            st.sampled_from(["send", "recv"]),
            st.lists(st.tuples(WORDS, st.none() | st.text("09,", max_size=4)), max_size=3).map(tuple),
        ),
        st.builds(sdp.Simulcast, STREAMS.map(tuple), STREAMS.map(tuple)).filter(lambda s: bool(s.send or s.recv)),
        st.builds(sdp.Ssrc, SSRCS, WORDS, st.none() | st.text("abc :{}-", max_size=9)),
        st.builds(sdp.SsrcGroup, st.sampled_from(["FID", "SIM"]), st.lists(SSRCS, max_size=3).map(tuple)),
        st.builds(sdp.Msid, WORDS, st.none() | WORDS),
        st.builds(sdp.Group, st.sampled_from(["BUNDLE", "LS"]), st.lists(WORDS, max_size=3).map(tuple)),
        st.builds(
            Candidate, WORDS, st.integers(0, 256), st.sampled_from(["udp", "tcp"]), SSRCS, st.just("::1"), st.just(9)
        ),
        st.just(Fingerprint("sha-1", ":".join(["AB"] * 20))),
        st.sampled_from([sdp.Attribute(name) for name in ("rtcp-mux", "sendonly", "ice-lite", "x-flag")]),
        st.builds(sdp.Attribute, st.just("mid"), WORDS),
        st.builds(sdp.Attribute, st.just("x-unknown"), st.none() | st.text("ab :é", max_size=9)),
    )


def descriptions() -> st.SearchStrategy[sdp.SessionDescription]:
    """Descriptions whose lines stand in the order of the grammar."""
    section = st.builds(
        sdp.MediaSection,
        kind=st.sampled_from(["audio", "video", "application", "text"]),
        port=st.integers(0, 65535),
        protocol=st.sampled_from(["UDP/TLS/RTP/SAVPF", "UDP/DTLS/SCTP"]),
        formats=st.lists(NUMBERS.map(str), min_size=1, max_size=4).map(tuple),
        attributes=st.lists(attributes(), max_size=8).map(tuple),
        lines=st.sampled_from([(), (sdp.Line("c", "IN IP4 0.0.0.0"), sdp.Line("b", "AS:500"))]),
        port_count=st.integers(1, 3),
    )
    return st.builds(
        sdp.SessionDescription,
        origin=st.builds(sdp.Origin, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), WORDS),
        media=st.lists(section, max_size=3).map(tuple),
        attributes=st.lists(attributes(), max_size=4).map(tuple),
        name=st.sampled_from(["-", "", "a call"]),
        lines=st.sampled_from(
            [(sdp.Line("t", "0 0"),), (sdp.Line("i", "x"), sdp.Line("c", "IN IP6 ::1"), sdp.Line("t", "1 2"))]
        ),
    )


@given(descriptions())
def test_what_is_written_reads_as_the_same(description: sdp.SessionDescription) -> None:
    """Order and unknown attributes included."""
    text = sdp.write(description)
    assert sdp.parse(text) == description
    assert sdp.parse(text.replace("\r\n", "\n")) == description


@given(attributes())
def test_each_attribute_reads_as_the_same(attribute: AnyAttribute) -> None:
    """The classes agree with the table of their names."""
    assert parse_attribute(str(attribute)) == attribute


@given(st.text())
def test_random_text_raises_protocol_error_at_most(text: str) -> None:
    """Whatever stands in for a whole description."""
    with pytest.raises(ProtocolError):
        sdp.parse(text)


@settings(deadline=None)
@given(st.data())
def test_damaged_offers_raise_protocol_error_or_parameters_error_at_most(data: st.DataObject) -> None:
    """Cutting, doubling and scribbling; what still parses must also be readable or refused with advice."""
    lines = data.draw(st.sampled_from(OFFERS)).read_text().split("\n")
    for _ in range(data.draw(st.integers(1, 4))):
        index = data.draw(st.integers(0, len(lines) - 1))
        line = lines[index]
        cut = data.draw(st.integers(0, len(line)))
        lines[index : index + 1] = data.draw(
            st.sampled_from(
                [[], [line, line], [line[:cut]], [line[:cut] + data.draw(st.text(max_size=5)) + line[cut:]]]
            )
        )
        if not lines:
            return
    with contextlib.suppress(ProtocolError):
        description = sdp.parse("\n".join(lines))
        assert sdp.parse(str(description)) == description
        with contextlib.suppress(ParametersError):
            assert description.transport
        with contextlib.suppress(ParametersError):
            assert len(description.tracks) <= len(description.media)
        with contextlib.suppress(ParametersError):
            assert len(description.wanted) <= len(description.media)


@pytest.mark.parametrize("path", OFFERS, ids=lambda path: path.stem)
def test_real_offers_are_written_as_they_were_read(path: Path) -> None:
    """Every attribute keeps its place; Firefox's one channel is not spelled out, OBS's UDP becomes udp."""
    text = path.read_text().replace("G722/8000/1", "G722/8000").replace("event/8000/1", "event/8000")
    text = text.replace(" UDP ", " udp ")
    assert str(sdp.parse(path.read_text())) == text.replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("", 1, "v=0"),
        ("v=1\n", 1, "v=0"),
        ("v=0\no=- 1 2 IN IP4\ns=-\n", 2, "o=<username>"),
        ("v=0\no=- x 2 IN IP4 ::1\ns=-\n", 2, "a session id"),
        ("v=0\no=- 1 2 IN IP4 127.0.0.1\n", 3, "s=<name>"),
        ("v=0\no=- 1 2 IN IP4 127.0.0.1\ns=-\n", 4, "a t= line"),
        (HEAD + "x=1\n", 5, "a line with one of the letters"),
        (HEAD + "\n" + AUDIO, 5, "a line with one of the letters"),
        (HEAD + "a=x\nt=0 0\n", 6, "t= further up"),
        (HEAD + AUDIO + "a=x\nc=IN IP4 0.0.0.0\n", 7, "c= further up"),
        (HEAD + AUDIO + "t=0 0\n", 6, "a line with one of the letters"),
        (HEAD + "m=audio 9 UDP/TLS/RTP/SAVPF\n", 5, "m=<media>"),
        (HEAD + "m=audio 65536 RTP/AVP 0\n", 5, "a port"),
        (HEAD + "m=audio 9/0 RTP/AVP 0\n", 5, "a number of ports"),
        (HEAD + AUDIO + "c=IN IP4\n", 6, "c=<network>"),
        (HEAD + AUDIO + "b=AS\n", 6, "b=<type>"),
        (HEAD + AUDIO + "a=mid:0\ra=x\n", 6, "no CR or NUL"),
        (HEAD + AUDIO + "a=mid:\n", 6, "a=mid with a token"),
        (HEAD + AUDIO + "a=\n", 6, "a=<name>"),
        (HEAD + AUDIO + "a=sendrecv:1\n", 6, "a=sendrecv without a value"),
        (HEAD + AUDIO + "a=rtpmap:128 opus/48000\n", 6, "a payload type from 0 to 127"),
        (HEAD + AUDIO + "a=rtpmap:111 opus\n", 6, "a=rtpmap"),
        (HEAD + AUDIO + "a=rtpmap:111 opus/0\n", 6, "a clock rate"),
        (HEAD + AUDIO + "a=rtcp-fb:111\n", 6, "a=rtcp-fb"),
        (HEAD + AUDIO + "a=extmap:0 urn:x\n", 6, "a header extension id"),
        (HEAD + AUDIO + "a=extmap:256 urn:x\n", 6, "a header extension id"),
        (HEAD + AUDIO + "a=extmap:1/both urn:x\n", 6, "a=extmap"),
        (HEAD + AUDIO + "a=rid:q up\n", 6, "a=rid"),
        (HEAD + AUDIO + "a=simulcast:send q send h\n", 6, "a=simulcast"),
        (HEAD + AUDIO + "a=simulcast:send q;;h\n", 6, "rids in a=simulcast"),
        (HEAD + AUDIO + "a=ssrc:4294967296 cname:x\n", 6, "an SSRC"),
        (HEAD + AUDIO + "a=ssrc:1\n", 6, "a=ssrc"),
        (HEAD + AUDIO + "a=ice-ufrag:abc\n", 6, "a=ice-ufrag of 4 to 256"),
        (HEAD + AUDIO + "a=ice-pwd:" + "x" * 21 + "\n", 6, "a=ice-pwd of 22 to 256"),
        (HEAD + AUDIO + "a=setup:maybe\n", 6, "a=setup"),
        (HEAD + AUDIO + "a=sctp-port:65536\n", 6, "a=sctp-port"),
        (HEAD + AUDIO + "a=fingerprint:sha-256 AB\n", 6, "a sha-256 fingerprint of 32 bytes"),
        (HEAD + AUDIO + "a=candidate:1 1 udp 1 x/y 9 typ host\n", 6, "a candidate's address"),
        (HEAD + AUDIO + "a=msid:a b c\n", 6, "a=msid"),
        (HEAD + AUDIO + "a=group:\n", 6, "a=group"),
    ],
)
def test_errors_name_the_line_and_what_was_expected_there(text: str, line: int, expected: str) -> None:
    """So that whoever wrote the text can find it."""
    with pytest.raises(ProtocolError) as caught:
        sdp.parse(text)
    assert caught.value.line == line
    assert expected in caught.value.expected


def test_errors_do_not_quote_what_the_peer_wrote() -> None:
    """They end up in logs."""
    with pytest.raises(ProtocolError) as caught:
        sdp.parse(HEAD + AUDIO + "a=ice-pwd:too-short-secret\n")
    assert "secret" not in str(caught.value)


def _grown(limit: str, more: int) -> str:
    """A description with exactly as much as `limit` allows, and `more`."""
    count = LIMITS[limit] + more
    builders: dict[str, Callable[[], str]] = {
        "MAX_SIZE": lambda: HEAD + _filled(count - len(HEAD)),
        "MAX_LINE": lambda: HEAD + "a=x:" + "y" * (count - 4) + "\n",
        "MAX_SECTIONS": lambda: HEAD + AUDIO * count,
        "MAX_ATTRIBUTES": lambda: HEAD + AUDIO + "a=x\n" * count,
        "MAX_OTHER_LINES": lambda: HEAD + AUDIO + "b=AS:1\n" * count,
        "MAX_FORMATS": lambda: HEAD + "m=audio 9 RTP/SAVPF" + " 1" * count + "\n",
    }
    return builders[limit]()


def _filled(size: int) -> str:
    """Attribute lines of `size` characters together, none of them long."""
    full, rest = divmod(size, 1000)
    return ("a=x:" + "y" * 995 + "\n") * (full - 1) + "a=x:" + "y" * (995 + rest) + "\n"


@pytest.mark.parametrize(
    "limit", ["MAX_SIZE", "MAX_LINE", "MAX_SECTIONS", "MAX_ATTRIBUTES", "MAX_OTHER_LINES", "MAX_FORMATS"]
)
def test_each_bound_holds_exactly(limit: str) -> None:
    """At the bound all is well, one more is refused."""
    sdp.parse(_grown(limit, 0))
    with pytest.raises(ProtocolError, match=str(LIMITS[limit])):
        sdp.parse(_grown(limit, 1))


@pytest.mark.parametrize("field", ["stream\r\na=x", "stream\na=x", "stream\rx", "stream\0"])
def test_names_cannot_smuggle_lines_in(field: str) -> None:
    """Stream and track names come from applications, which have them from their users."""
    section = sdp.MediaSection("audio", 9, "UDP/TLS/RTP/SAVPF", ("111",), (sdp.Msid(field),))
    with pytest.raises(ParametersError, match="line end"):
        str(sdp.SessionDescription(sdp.Origin(1), (section,)))


def test_candidates_over_unknown_transports_are_left_alone() -> None:
    """Chrome once wrote ssltcp; RFC 8839 §5.1 wants such candidates ignored, not refused."""
    line = "candidate:1 1 ssltcp 1 192.0.2.1 443 typ host"
    section = sdp.parse(HEAD + AUDIO + f"a={line}\n").media[0]
    assert section.all(Candidate) == ()
    assert str(section.attributes[0]) == line


def test_legacy_data_channels_parse() -> None:
    """Firefox before 63 gave fmtp and sctpmap words for formats."""
    text = (
        HEAD + "m=application 9 DTLS/SCTP 5000\na=sctpmap:5000 webrtc-datachannel 256\na=fmtp:webrtc-datachannel x=1\n"
    )
    attributes: tuple[Any, ...] = sdp.parse(text).media[0].attributes
    assert [attribute.name for attribute in attributes] == ["sctpmap", "fmtp"]
