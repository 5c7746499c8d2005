"""Candidates and fingerprints from and to text."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtpcore.errors import ProtocolError
from rtpcore.parameters import Candidate, Fingerprint, IceParameters, unsigned

TOKENS = st.text("abcdefgh0123456789+/", min_size=1, max_size=32)
ADDRESSES = st.one_of(
    st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str), st.just("0f2ce0a1.local"), st.just("turn.example.org")
)
PORTS = st.integers(0, 65535)


def candidates() -> st.SearchStrategy[Candidate]:
    """Every candidate that the type allows."""
    return st.builds(
        Candidate,
        foundation=TOKENS,
        component=st.integers(0, 256),
        protocol=st.sampled_from(["udp", "tcp"]),
        priority=st.integers(0, 2**32 - 1),
        address=ADDRESSES,
        port=PORTS,
        type=st.sampled_from(["host", "srflx", "prflx", "relay", "new"]),
        tcp_type=st.sampled_from([None, "active", "passive", "so"]),
        related_address=st.none() | ADDRESSES,
        related_port=st.none() | PORTS,
        extensions=st.lists(st.tuples(st.sampled_from(["generation", "ufrag", "x"]), TOKENS), max_size=3).map(tuple),
    )


@given(candidates())
def test_candidates_come_back_as_they_were(candidate: Candidate) -> None:
    """With and without the prefixes under which they travel."""
    assert Candidate.from_string(str(candidate)) == candidate
    assert Candidate.from_string("a=" + str(candidate)) == candidate
    assert Candidate.from_string(str(candidate).removeprefix("candidate:")) == candidate


@given(st.text(max_size=80))
def test_random_text_is_no_candidate_or_a_protocol_error(text: str) -> None:
    """Nothing else is ever raised."""
    with contextlib.suppress(ProtocolError):
        Candidate.from_string("candidate:1 1 udp 1 " + text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "candidate:1 1 udp 1 192.0.2.1 9 typ",
        "candidate:1 1 udp 1 192.0.2.1 9 type host",
        "candidate:1 1 udp 1 192.0.2.1 9 typ host generation",
        "candidate:1 1 sctp 1 192.0.2.1 9 typ host",
        "candidate:1 1 udp 1 192.0.2.1 65536 typ host",
        "candidate:1 257 udp 1 192.0.2.1 9 typ host",
        "candidate:1 1 udp 4294967296 192.0.2.1 9 typ host",
        "candidate:1 1 udp -1 192.0.2.1 9 typ host",
        "candidate:1 1 udp 1 192.0.2.1/24 9 typ host",
        "candidate:1 1 udp 1 ::g 9 typ host",
        "candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype maybe",
        f"candidate:{'1' * 33} 1 udp 1 192.0.2.1 9 typ host",
    ],
)
def test_malformed_candidates_are_refused(text: str) -> None:
    """Each breaks one rule of RFC 8839 §5.1."""
    with pytest.raises(ProtocolError):
        Candidate.from_string(text)


def test_host_names_are_kept_and_flagged() -> None:
    """A node cannot resolve mDNS names of other networks, and should not look up others."""
    line = "candidate:1 1 udp 1 {} 9 typ host"
    mdns, dns, ip = (
        Candidate.from_string(line.format(a)) for a in ("6f7b4a2e-55f8.LOCAL", "turn.example.org", "2001:db8::1")
    )
    assert (mdns.is_mdns, mdns.is_host_name) == (True, True)
    assert (dns.is_mdns, dns.is_host_name) == (False, True)
    assert (ip.is_mdns, ip.is_host_name) == (False, False)


def test_fingerprints_are_normalised_and_measured() -> None:
    """The length must be that of the algorithm, where it is known."""
    assert Fingerprint.from_string("SHA-256 " + ":".join(["0f"] * 32)) == Fingerprint("sha-256", ":".join(["0F"] * 32))
    assert Fingerprint.from_string("sha3-256 ab:cd").value == "AB:CD"
    for text in ("sha-256 " + ":".join(["0f"] * 31), "sha-256", "sha-256 0f:", "sha-256 0g", "sha-1 " + "0F" * 20):
        with pytest.raises(ProtocolError):
            Fingerprint.from_string(text)


def test_the_password_stays_out_of_repr() -> None:
    """Parameters end up in logs."""
    assert "secret" not in repr(IceParameters("ufrag", "secret-secret-secret-secret"))


@pytest.mark.parametrize("text", ["", "+1", "-1", " 1", "1_0", "1.0", "٣", "²", "0x1", "9" * 5000, "256"])
def test_numbers_are_decimal_digits_in_range(text: str) -> None:
    """`int` alone would take half of these."""
    with pytest.raises(ProtocolError):
        unsigned(text, most=255, what="a number")
    assert unsigned("255", most=255, what="a number") == 255
