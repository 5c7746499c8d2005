"""RTCP against aiortc's parser and writer, and round trips of the packets that aiortc does not know."""

from __future__ import annotations

from typing import Any

import pytest
from aiortc import rtp
from hypothesis import given
from hypothesis import strategies as st

from rtpcore import ParametersError
from rtpcore._core import parse_rtcp, write_rtcp

u8 = st.integers(0, 2**8 - 1)
u16 = st.integers(0, 2**16 - 1)
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
report_blocks = st.tuples(u32, u8, st.integers(-(2**23), 2**23 - 1), u32, u32, u32, u32)
blocks = st.lists(report_blocks, max_size=3) | st.lists(report_blocks, min_size=31, max_size=31)
items = st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=255)), max_size=4)
# Mantissa and exponent: what can be written without rounding.
rates = st.tuples(st.integers(0, 2**17 - 1), st.integers(0, 46)).map(lambda parts: parts[0] << parts[1])


def packet(type_: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(type_), **fields})


@st.composite
def lost(draw: st.DrawFn) -> list[int]:
    """Numbers that ascend, over the wrap too, by less than half of their space in all."""
    first = draw(u16)
    steps = draw(st.lists(st.integers(1, 40) | st.integers(1, 400), max_size=60))
    numbers = [first]
    for step in steps:
        numbers.append((numbers[-1] + step) % 2**16)
    return numbers


reports = packet("rr", ssrc=u32, blocks=blocks) | packet(
    "sr", ssrc=u32, ntp_time=u64, rtp_timestamp=u32, packet_count=u32, octet_count=u32, blocks=blocks
)
byes = packet("bye", sources=st.lists(u32, max_size=31), reason=st.none())
nacks = packet("nack", sender_ssrc=u32, media_ssrc=u32, lost=lost())
plis = packet("pli", sender_ssrc=u32, media_ssrc=u32)
rembs = packet("remb", sender_ssrc=u32, bitrate_bps=rates, ssrcs=st.lists(u32, max_size=255))
known_to_aiortc = reports | byes | nacks | plis | rembs

sdes = packet("sdes", chunks=st.lists(st.tuples(u32, items), max_size=4))
others = (
    sdes
    | packet("bye", sources=st.lists(u32, max_size=31), reason=st.binary(min_size=1, max_size=255))
    | packet(
        "app",
        subtype=st.integers(0, 31),
        ssrc=u32,
        name=st.binary(min_size=4, max_size=4),
        data=st.binary().map(lambda data: data[: len(data) // 4 * 4]),
    )
    | packet("fir", sender_ssrc=u32, requests=st.lists(st.tuples(u32, u8), min_size=1, max_size=20))
    | packet(
        "tmmbr", sender_ssrc=u32, limits=st.lists(st.tuples(u32, rates, st.integers(0, 511)), min_size=1, max_size=20)
    )
)


@given(st.lists(known_to_aiortc | others, max_size=5))
def test_what_the_core_writes_it_reads(packets: list[dict[str, Any]]) -> None:
    assert parse_rtcp(write_rtcp(packets)) == packets


@given(st.lists(known_to_aiortc, max_size=5))
def test_aiortc_reads_what_the_core_writes(packets: list[dict[str, Any]]) -> None:
    written = write_rtcp(packets)
    assert [fields(packet) for packet in rtp.RtcpPacket.parse(written)] == packets


@given(st.lists(known_to_aiortc, max_size=5))
def test_the_core_reads_what_aiortc_writes(packets: list[dict[str, Any]]) -> None:
    # aiortc cannot write numbers that wrap.
    packets = [packet for packet in packets if packet["type"] != "nack" or packet["lost"] == sorted(packet["lost"])]
    written = b"".join(bytes(rebuilt) for rebuilt in rtp.RtcpPacket.parse(write_rtcp(packets)))
    assert parse_rtcp(written) == packets


@given(ssrc=u32, found=items)
def test_a_description_of_one_source_is_read_alike(ssrc: int, found: list[tuple[int, bytes]]) -> None:
    """Of one only: aiortc ends a chunk with two zero bytes and begins the next at once.

    RFC 3550 §6.5 ends it with one at least, and begins the next on a word.
    """
    theirs = rtp.RtcpSdesPacket([rtp.RtcpSourceInfo(ssrc, list(found))])
    assert parse_rtcp(bytes(theirs)) == [{"type": "sdes", "chunks": [(ssrc, found)]}]
    (read,) = rtp.RtcpPacket.parse(write_rtcp([{"type": "sdes", "chunks": [(ssrc, found)]}]))
    assert read == theirs


@given(packets=st.lists(known_to_aiortc, min_size=1, max_size=4), data=st.data())
def test_a_damaged_datagram_is_refused_alike(packets: list[dict[str, Any]], data: st.DataObject) -> None:
    written = bytearray(write_rtcp(packets))
    for _ in range(data.draw(st.integers(0, 3))):
        written[data.draw(st.integers(0, len(written) - 1))] = data.draw(u8)
    compare(bytes(written[: data.draw(st.integers(0, len(written)))]))


@given(
    first=st.integers(0x80, 0xBF),
    packet_type=st.integers(200, 208),
    words=st.integers(0, 10),
    rest=st.binary(max_size=44),
)
def test_noise_is_refused_alike(first: int, packet_type: int, words: int, rest: bytes) -> None:
    compare(bytes([first, packet_type]) + words.to_bytes(2, "big") + rest)


def compare(datagram: bytes) -> None:
    """Both parsers over the same bytes, packet for packet.

    aiortc refuses a datagram as a whole, the core keeps the packets in front of the one that is broken. Beyond that
    they may differ where `explain` says why.
    """
    ours = parse_rtcp(datagram)
    whole = [packet for packet in ours if isinstance(packet, dict)]
    for packet, raw in zip(whole, split(datagram), strict=False):
        try:
            theirs = rtp.RtcpPacket.parse(raw)
        except Exception:
            theirs = None
        if theirs is None:
            assert explain(packet, raw), f"aiortc refuses what the core takes: {raw.hex()}"
        elif theirs and not explain(packet, raw):
            assert fields(theirs[0]) == packet, raw.hex()
    if len(whole) < len(ours):
        raw = split(datagram)[len(whole)]
        try:
            theirs = rtp.RtcpPacket.parse(raw)
        except Exception:
            return
        assert not theirs or explain(None, raw), f"the core refuses what aiortc takes: {raw.hex()}"


def split(datagram: bytes) -> list[bytes]:
    """The packets of a datagram by their own lengths; the last may be cut short."""
    packets = []
    while datagram:
        length = 4 + 4 * int.from_bytes(datagram[2:4], "big") if len(datagram) >= 4 else len(datagram)
        packets.append(datagram[:length])
        datagram = datagram[length:]
    return packets


def explain(packet: dict[str, Any] | None, raw: bytes) -> str:
    """Why the core may differ from aiortc here: by the RFC, or because aiortc knows less. Empty if it may not."""
    packet_type, count = raw[1], raw[0] & 0x1F
    if packet_type == 202:
        return "RFC 3550 §6.5: chunks begin on words; aiortc packs them and takes one without an end"
    if packet_type in (200, 201) and packet is not None:
        return "RFC 3550 §6.4.3: a profile's own words may follow the blocks" if has_more_words(raw) else ""
    if packet_type == 203 and packet is not None and packet["type"] == "bye":
        return "RFC 3550 §6.6: a reason may follow" if packet["reason"] is not None else ""
    if packet_type == 203 and packet is None:
        return "RFC 3550 §6.6: a reason that does not fit is an error; aiortc does not look at it"
    if packet_type == 205 and count != 1:
        return "aiortc reads every transport layer feedback as if it were NACK"
    if packet_type == 206 and count not in (1, 15):
        return "aiortc keeps the body of other payload-specific feedback as bytes"
    if packet_type == 206 and count == 1 and len(raw) > 12:
        return "RFC 4585 §6.3.1: PLI has no parameters; what follows is ignored"
    if packet_type == 206 and count == 15:
        return "aiortc keeps application layer feedback as bytes, REMB is looked into later"
    return ""


def has_more_words(raw: bytes) -> bool:
    padding = raw[-1] if raw[0] & 0x20 else 0
    return len(raw) - padding != {200: 28, 201: 8}[raw[1]] + 24 * (raw[0] & 0x1F)


def fields(packet: rtp.AnyRtcpPacket) -> dict[str, Any]:
    """What aiortc parsed, under our names."""
    match packet:
        case rtp.RtcpSrPacket(ssrc, info, found):
            return {
                "type": "sr",
                "ssrc": ssrc,
                "ntp_time": info.ntp_timestamp,
                "rtp_timestamp": info.rtp_timestamp,
                "packet_count": info.packet_count,
                "octet_count": info.octet_count,
                "blocks": [block(report) for report in found],
            }
        case rtp.RtcpRrPacket(ssrc, found):
            return {"type": "rr", "ssrc": ssrc, "blocks": [block(report) for report in found]}
        case rtp.RtcpByePacket(sources):
            return {"type": "bye", "sources": sources, "reason": None}
        case rtp.RtcpRtpfbPacket(1, ssrc, media_ssrc, numbers):
            numbers = [number % 2**16 for number in numbers]
            return {"type": "nack", "sender_ssrc": ssrc, "media_ssrc": media_ssrc, "lost": numbers}
        case rtp.RtcpPsfbPacket(1, ssrc, media_ssrc):
            return {"type": "pli", "sender_ssrc": ssrc, "media_ssrc": media_ssrc}
        case rtp.RtcpPsfbPacket(15, ssrc, _, fci):
            bitrate, ssrcs = rtp.unpack_remb_fci(fci)
            return {"type": "remb", "sender_ssrc": ssrc, "bitrate_bps": bitrate, "ssrcs": ssrcs}
    raise AssertionError(packet)


def block(report: rtp.RtcpReceiverInfo) -> tuple[int, ...]:
    return (
        report.ssrc,
        report.fraction_lost,
        report.packets_lost,
        report.highest_sequence,
        report.jitter,
        report.lsr,
        report.dlsr,
    )


def test_a_bad_packet_ends_the_datagram_and_those_before_it_stand() -> None:
    good = write_rtcp([{"type": "rr", "ssrc": 1, "blocks": []}])
    assert parse_rtcp(good + b"\x80\xc9\x00\x09" + good) == [{"type": "rr", "ssrc": 1, "blocks": []}, "bad_rtcp"]
    assert parse_rtcp(b"") == []


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "rr", "ssrc": 1, "blocks": [(0,) * 7] * 32},
        {"type": "bye", "sources": [1] * 32, "reason": None},
        {"type": "fir", "sender_ssrc": 1, "requests": []},
        {"type": "transport_cc"},
    ],
)
def test_what_cannot_be_written_raises(fields: dict[str, Any]) -> None:
    with pytest.raises(ParametersError):
        write_rtcp([fields])
