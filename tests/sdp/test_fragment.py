"""Trickle fragments of WHIP."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtpcore import sdp
from rtpcore.errors import ParametersError, ProtocolError
from rtpcore.parameters import Candidate, IceParameters

BROWSER = """a=group:BUNDLE 0 1\r
m=audio 9 UDP/TLS/RTP/SAVPF 111\r
a=mid:0\r
a=ice-ufrag:EsAw\r
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBuZ1\r
a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r
a=candidate:3471623853 1 udp 2122194687 198.51.100.2 61765 typ host generation 0 ufrag EsAw network-id 2\r
a=end-of-candidates\r
m=video 9 UDP/TLS/RTP/SAVPF 96\r
a=mid:1\r
a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r
"""
ICE = IceParameters("node", "a-password-of-the-node", lite=True)
HOST = Candidate("1", 1, "udp", 2130706431, "198.51.100.1", 7882)


def test_a_browsers_fragment_is_read_and_written_again() -> None:
    """Credentials of a section count for the bundle; candidates that are repeated count once."""
    fragment = sdp.Fragment.parse(BROWSER)
    assert fragment.ice == IceParameters("EsAw", "P2uYro0UCOQ4zxjKXaWCBuZ1")
    assert [candidate.address for candidate in fragment.candidates] == ["192.0.2.1", "198.51.100.2"]
    assert fragment.end_of_candidates
    assert str(fragment) == BROWSER


def test_fragments_of_little() -> None:
    """Everything is optional."""
    empty = sdp.Fragment.parse("a=ice-ufrag:EsAw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBuZ1\n")
    assert (empty.candidates, empty.end_of_candidates) == ((), False)
    bare = sdp.Fragment.parse("m=audio 9 RTP/AVP 0\na=mid:0\na=end-of-candidates\n")
    assert (bare.ice, bare.end_of_candidates) == (None, True)


@pytest.mark.parametrize("kind", ["audio", "video", "application"])
def test_our_reply_to_a_restart_reads_as_it_was_meant(kind: str) -> None:
    """The three facts, and the section of the transport."""
    fragment = sdp.Fragment.of(ICE, [HOST], mid="7", kind=kind, is_last=True)
    again = sdp.Fragment.parse(str(fragment))
    assert again == fragment
    assert (again.ice, again.candidates, again.end_of_candidates) == (ICE, (HOST,), True)
    assert [(section.kind, section.mid) for section in again.media] == [(kind, "7")]
    assert not sdp.Fragment.of(ICE, [HOST]).end_of_candidates


@pytest.mark.parametrize(
    ("text", "line"), [("", 1), ("v=0\n", 1), ("a=mid:0\na=candidate:1 1 udp\n", 2), ("m=audio 9\n", 1)]
)
def test_what_is_no_fragment_names_its_line(text: str, line: int) -> None:
    """As for whole descriptions."""
    with pytest.raises(ProtocolError) as caught:
        sdp.Fragment.parse(text)
    assert caught.value.line == line


@given(st.text())
def test_random_text_raises_protocol_error(text: str) -> None:
    """No line of it is an attribute."""
    with pytest.raises(ProtocolError):
        sdp.Fragment.parse("?" + text)


def test_mids_cannot_smuggle_lines_in() -> None:
    """The same check as for descriptions."""
    with pytest.raises(ParametersError, match="line end"):
        str(sdp.Fragment.of(ICE, mid="0\na=x"))
