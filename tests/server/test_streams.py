"""Streams cut and put together, and what does not fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtpcore.server.streams import Assembly, BytesReceived, TextReceived, split
from rtpcore.wire.messages import DataPacket, DataStream


def from_alice(packet: DataPacket) -> DataPacket:
    packet.participant_identity = "alice"
    return packet


@given(st.text(max_size=20) | st.text(min_size=1, max_size=5).map(lambda text: text * 9000))
def test_what_is_cut_is_put_together(text: str) -> None:
    assembly = Assembly(1 << 20)
    packets = list(split(text, "topic", {"a": "1"}))
    for packet in packets:
        assert len(packet.stream_chunk.content) <= 15_000
        packet.stream_chunk.content.decode()
    *early, last = [assembly.take(from_alice(packet)) for packet in packets]
    assert not any(early)
    assert last == TextReceived("alice", "topic", text, {"a": "1"}, packets[0].stream_header.stream_id)


def test_bytes_have_a_name_and_a_type() -> None:
    assembly = Assembly(100)
    header = DataStream.Header(stream_id="1", topic="t", mime_type="image/png", attributes={"a": "1"})
    header.byte_header.name = "x.png"
    assembly.take(from_alice(DataPacket(stream_header=header)))
    assembly.take(from_alice(DataPacket(stream_chunk=DataStream.Chunk(stream_id="1", content=b"abc"))))
    trailer = DataStream.Trailer(stream_id="1", attributes={"b": "2"})
    assert assembly.take(from_alice(DataPacket(stream_trailer=trailer))) == BytesReceived(
        "alice", "t", "x.png", "image/png", b"abc", {"a": "1", "b": "2"}, "1"
    )


def without(packets: list[DataPacket], number: int) -> list[DataPacket]:
    return packets[:number] + packets[number + 1 :]


class TestWhatIsDropped:
    @pytest.mark.parametrize("missing", [0, 1, 2], ids=["header", "first chunk", "second chunk"])
    def test_a_stream_with_a_hole(self, missing: int) -> None:
        assembly = Assembly(1 << 20)
        packets = without(list(split("x" * 40_000, "", {})), missing)
        assert not any(assembly.take(from_alice(packet)) for packet in packets)

    def test_one_that_is_too_long_announced_or_not(self) -> None:
        for announced in (40_000, 0):
            assembly = Assembly(30_000)
            packets = list(split("x" * 40_000, "", {}))
            packets[0].stream_header.total_length = announced
            assert not any(assembly.take(from_alice(packet)) for packet in packets)
            assert not assembly._open

    def test_one_that_its_sender_gives_up(self) -> None:
        *begun, trailer = split("x", "", {})
        trailer.stream_trailer.reason = "changed my mind"
        assembly = Assembly(100)
        assert not any(assembly.take(from_alice(packet)) for packet in [*begun, trailer])

    def test_the_oldest_of_a_sender_that_begins_too_many(self) -> None:
        assembly = Assembly(100)
        streams = [list(split("x", "", {})) for _ in range(9)]
        for header, *_ in streams:
            assembly.take(from_alice(header))
        completed = [assembly.take(from_alice(packet)) for stream in streams for packet in stream[1:]]
        assert sum(found is not None for found in completed) == 8

    def test_what_was_begun_by_who_has_gone(self) -> None:
        assembly = Assembly(100)
        header, *rest = split("x", "", {})
        assembly.take(from_alice(header))
        assembly.forget("alice")
        assert not any(assembly.take(from_alice(packet)) for packet in rest)
