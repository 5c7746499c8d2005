"""Text and bytes longer than a packet, as LiveKit's clients send them: a header, chunks in order, a trailer.

::

    text ──split──▶ stream_header, stream_chunk …, stream_trailer ──Assembly──▶ text
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rtpcore.host import now_ms
from rtpcore.wire.messages import DataPacket, DataStream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Assembly", "BytesReceived", "TextReceived", "split"]

logger = logging.getLogger("rtpcore.server")

_CHUNK = 15_000
"""Bytes of a chunk, as LiveKit's clients send them."""
_MAX_OPEN = 8
"""Streams of one sender that are being received at the same time; with one more, its oldest is given up."""


@dataclass(frozen=True, slots=True)
class TextReceived:
    """Somebody sent a text (LiveKit's text streams), all of it is here.

    Attributes:
        sender: Its identity; empty for a hidden one.
        topic: What it is about; clients' chat has ``lk.chat``.
        text: The text.
        attributes: The sender's, by name.
        stream_id: Unique among its sender's streams.
    """

    sender: str
    topic: str
    text: str
    attributes: Mapping[str, str]
    stream_id: str


@dataclass(frozen=True, slots=True)
class BytesReceived:
    """Somebody sent bytes (LiveKit's byte streams), such as a file; all of them are here.

    Attributes:
        sender: Its identity; empty for a hidden one.
        topic: What they are about.
        name: What the sender calls them, such as a file's name. It is no path: check it before you use it as one.
        mime_type: What they are, in the sender's words.
        payload: The bytes.
        attributes: The sender's, by name.
        stream_id: Unique among its sender's streams.
    """

    sender: str
    topic: str
    name: str
    mime_type: str
    payload: bytes
    attributes: Mapping[str, str]
    stream_id: str


def split(text: str, topic: str, attributes: Mapping[str, str]) -> Iterator[DataPacket]:
    """The packets of a text, in the order they are to be sent; all have the same ``stream_id``."""
    content, stream_id = text.encode(), f"{secrets.token_hex(16)}"
    header = DataStream.Header(
        stream_id=stream_id,
        timestamp=now_ms(),
        topic=topic,
        mime_type="text/plain",
        total_length=len(content),
        attributes=attributes,
        text_header=DataStream.TextHeader(operation_type=DataStream.OperationType.CREATE),
    )
    yield DataPacket(stream_header=header)
    for number, chunk in enumerate(_chunks(content)):
        yield DataPacket(stream_chunk=DataStream.Chunk(stream_id=stream_id, chunk_index=number, content=chunk))
    yield DataPacket(stream_trailer=DataStream.Trailer(stream_id=stream_id))


def _chunks(content: bytes) -> Iterator[bytes]:
    """Pieces that each decode by themselves: clients show a text as it comes.

    >>> [len(piece) for piece in _chunks(("x" * 14_999 + "é").encode())]
    [14999, 2]
    """
    start = 0
    while start < len(content):
        end = min(start + _CHUNK, len(content))
        while end < len(content) and content[end] & 0xC0 == 0x80:
            end -= 1
        yield content[start:end]
        start = end


@dataclass(slots=True)
class _Open:
    header: DataStream.Header
    content: bytearray = field(default_factory=bytearray)
    chunks: int = 0


class Assembly:
    """Puts streams together, within bounds: what is too long, out of order or too many at once is dropped."""

    def __init__(self, max_bytes: int) -> None:
        """Take streams of at most ``max_bytes`` each."""
        self._max_bytes = max_bytes
        self._open: dict[tuple[str, str], _Open] = {}

    def take(self, packet: DataPacket) -> TextReceived | BytesReceived | None:
        """What a packet completes, if it completes something."""
        sender = packet.participant_identity
        match packet.WhichOneof("value"):
            case "stream_header":
                self._begin(sender, packet.stream_header)
            case "stream_chunk":
                self._continue((sender, packet.stream_chunk.stream_id), packet.stream_chunk)
            case "stream_trailer":
                return self._end((sender, packet.stream_trailer.stream_id), packet.stream_trailer)
        return None

    def forget(self, sender: str) -> None:
        """Somebody has gone: what it began will not be completed."""
        for key in [key for key in self._open if key[0] == sender]:
            del self._open[key]

    def _begin(self, sender: str, header: DataStream.Header) -> None:
        is_long = max(header.total_length, len(header.inline_content)) > self._max_bytes
        if is_long or header.compression != DataStream.CompressionType.NONE:
            logger.info("a stream of %d bytes is not taken: too long, or compressed", header.total_length)
            return
        begun = [key for key in self._open if key[0] == sender]
        if len(begun) >= _MAX_OPEN:
            logger.info("a stream is given up: its sender has begun %d others", len(begun))
            del self._open[begun[0]]
        self._open[sender, header.stream_id] = _Open(header, bytearray(header.inline_content))

    def _continue(self, key: tuple[str, str], chunk: DataStream.Chunk) -> None:
        stream = self._open.get(key)
        if stream is None:
            return
        if chunk.chunk_index != stream.chunks or len(stream.content) + len(chunk.content) > self._max_bytes:
            logger.info("a stream is dropped: its chunk %d does not fit behind %d", chunk.chunk_index, stream.chunks)
            del self._open[key]
            return
        stream.content += chunk.content
        stream.chunks += 1

    def _end(self, key: tuple[str, str], trailer: DataStream.Trailer) -> TextReceived | BytesReceived | None:
        stream = self._open.pop(key, None)
        if stream is None or trailer.reason:
            return None  # a trailer with a reason says that its sender has given up
        header, sender = stream.header, key[0]
        attributes = {**header.attributes, **trailer.attributes}
        if header.HasField("text_header"):
            text = stream.content.decode(errors="replace")
            return TextReceived(sender, header.topic, text, attributes, header.stream_id)
        return BytesReceived(
            sender=sender,
            topic=header.topic,
            name=header.byte_header.name,
            mime_type=header.mime_type,
            payload=bytes(stream.content),
            attributes=attributes,
            stream_id=header.stream_id,
        )
