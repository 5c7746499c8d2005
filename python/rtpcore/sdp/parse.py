"""Text to a session description (RFC 8866 §5, §9).

Strict about the grammar, since a line that is half understood surfaces later as silence in a call; lenient where peers
are known to be lax: bare LF line ends, several spaces between words, empty lines at the end. Everything a peer could
make large has a bound, and reading takes time linear in the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from rtpcore.errors import ProtocolError
from rtpcore.parameters import unsigned
from rtpcore.sdp.attributes import AnyAttribute, parse_attribute
from rtpcore.sdp.description import Line, MediaSection, Origin, SessionDescription

MAX_SIZE = 256 * 1024
"""Characters of one description. Chrome needs 6000 for its first video section and 1500 for most sections of an answer;
a client of a large room sends two hundred of them."""

MAX_LINE = 16 * 1024
"""Characters of one line: identity assertions are the longest seen, at a few thousand."""

MAX_SECTIONS = 256
"""Sections of one description. Browsers become slow at half of it."""

MAX_ATTRIBUTES = 512
"""Attributes of the session, or of one section; Chrome's longest video section has some 150."""

MAX_OTHER_LINES = 32
"""Lines that are not attributes, of the session or of one section."""

MAX_FORMATS = 128
"""Formats of one section: as many as there are payload types."""

_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+")
_PROTOCOL = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~/]+")
_BANDWIDTH = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+:[0-9]{1,20}")
_TIME = re.compile(r"[0-9]{1,20} [0-9]{1,20} ?")
_SESSION_ORDER = {letter: rank for rank, letters in enumerate(["i", "u", "e", "p", "c", "b", "trz", "k", "a"])
                  for letter in letters}  # fmt: skip
_MEDIA_ORDER = {"i": 0, "c": 1, "b": 2, "k": 3, "a": 4}


def parse(text: str) -> SessionDescription:
    """Read an offer or an answer.

    Raises:
        ProtocolError: With the number of the line and what was expected there.

    >>> offer = parse("v=0\\no=- 1 2 IN IP4 127.0.0.1\\ns=-\\nt=0 0\\nm=audio 9 UDP/TLS/RTP/SAVPF 111\\na=mid:0\\n")
    >>> offer.media[0].mid, offer.media[0].formats
    ('0', ('111',))
    >>> parse("v=0\\no=me\\n")
    Traceback (most recent call last):
    rtpcore.errors.ProtocolError: line 2: expected o=<username> <id> <version> <network> <address type> <address>
    """
    lines = split(text)
    version, origin_line, name = (*lines[:3], "", "")[:3]
    if version != "v=0":
        raise ProtocolError("v=0", line=1)
    with _At(2):
        origin = _origin(origin_line)
    if not name.startswith("s="):
        raise ProtocolError("s=<name>", line=3)
    session, media = read_blocks(lines[3:], first=4)
    if not any(line.type == "t" for line in session.lines):
        raise ProtocolError("a t= line before the attributes", line=4)
    return SessionDescription(origin, media, tuple(session.attributes), name[2:], tuple(session.lines))


def split(text: str) -> list[str]:
    """Cut text into lines, within bounds. Raises ProtocolError."""
    if len(text) > MAX_SIZE:
        raise ProtocolError(f"at most {MAX_SIZE} characters")
    lines = text.rstrip("\r\n").split("\n")
    for index, line in enumerate(lines):
        with _At(index + 1):
            if len(line) > MAX_LINE:
                raise ProtocolError(f"a line of at most {MAX_LINE} characters")
            lines[index] = line = line.removesuffix("\r")
            if "\r" in line or "\0" in line:
                raise ProtocolError("no CR or NUL inside of a line")
    return lines


@dataclass(slots=True)
class Block:
    """The session's part, or one section, while it is read."""

    order: dict[str, int]
    lines: list[Line] = field(default_factory=list)
    attributes: list[AnyAttribute] = field(default_factory=list)
    rank: int = 0

    def add(self, text: str) -> None:
        """Take one line."""
        letter, value = text[:1], text[2:]
        rank = self.order.get(letter)
        if rank is None or text[1:2] != "=":
            raise ProtocolError(f"a line with one of the letters {', '.join(self.order)}, m, then =")
        if rank < self.rank:
            raise ProtocolError(f"{letter}= further up (the order is {', '.join(self.order)})")
        self.rank = rank
        if letter == "a":
            if len(self.attributes) == MAX_ATTRIBUTES:
                raise ProtocolError(f"at most {MAX_ATTRIBUTES} attributes")
            self.attributes.append(parse_attribute(value))
        else:
            if len(self.lines) == MAX_OTHER_LINES:
                raise ProtocolError(f"at most {MAX_OTHER_LINES} lines besides attributes")
            _check_line(letter, value)
            self.lines.append(Line(letter, value))


def read_blocks(lines: list[str], first: int) -> tuple[Block, tuple[MediaSection, ...]]:
    """Read session lines, then sections; `first` is the number of the first line."""
    session = block = Block(_SESSION_ORDER)
    sections: list[tuple[MediaSection, Block]] = []
    for number, text in enumerate(lines, start=first):
        with _At(number):
            if not text.startswith("m="):
                block.add(text)
                continue
            if len(sections) == MAX_SECTIONS:
                raise ProtocolError(f"at most {MAX_SECTIONS} media sections")
            block = Block(_MEDIA_ORDER)
            sections.append((_media_line(text), block))
    return session, tuple(
        MediaSection(
            head.kind, head.port, head.protocol, head.formats, tuple(b.attributes), tuple(b.lines), head.port_count
        )
        for head, b in sections
    )


class _At:
    """Gives a ProtocolError raised inside the number of its line."""

    __slots__ = ("line",)

    def __init__(self, line: int) -> None:
        self.line = line

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ProtocolError) and error.line is None:
            raise ProtocolError(error.expected, self.line) from None


def _origin(text: str) -> Origin:
    words = [word for word in text[2:].split(" ") if word]
    if not text.startswith("o=") or len(words) != 6:
        raise ProtocolError("o=<username> <id> <version> <network> <address type> <address>")
    session_id = unsigned(words[1], most=2**64 - 1, what="a session id")
    return Origin(
        session_id, unsigned(words[2], most=2**64 - 1, what="a session version"), words[0], " ".join(words[3:])
    )


def _media_line(text: str) -> MediaSection:
    words = [word for word in text[2:].split(" ") if word]
    if len(words) < 4 or not _TOKEN.fullmatch(words[0]) or not _PROTOCOL.fullmatch(words[2]):
        raise ProtocolError("m=<media> <port> <protocol> <format> …")
    formats = tuple(words[3:])
    if len(formats) > MAX_FORMATS or not all(map(_TOKEN.fullmatch, formats)):
        raise ProtocolError(f"at most {MAX_FORMATS} formats, each a token")
    port, slash, count = words[1].partition("/")
    return MediaSection(
        words[0],
        unsigned(port, most=65535, what="a port"),
        words[2],
        formats,
        port_count=unsigned(count, least=1, most=65535, what="a number of ports") if slash else 1,
    )


def _check_line(letter: str, value: str) -> None:
    if letter == "c" and len([word for word in value.split(" ") if word]) != 3:
        raise ProtocolError("c=<network> <address type> <address>")
    if letter == "b" and not _BANDWIDTH.fullmatch(value):
        raise ProtocolError("b=<type>:<number>")
    if letter == "t" and not _TIME.fullmatch(value):
        raise ProtocolError("t=<start> <stop>")
