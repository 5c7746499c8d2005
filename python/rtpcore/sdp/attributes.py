"""The `a=` lines of SDP that WebRTC gives a structure, as values.

Every class reads its value with `parse` and writes itself, name included and without ``a=``, with `str`. Attributes of
a single word, flags and those that nobody here knows are `Attribute`. `parse_attribute` picks the right one. What the
attributes mean for a session is not decided here: see `rtpcore.sdp.tracks` and `rtpcore.sdp.negotiate`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from rtpcore.errors import ProtocolError
from rtpcore.parameters import Candidate, Fingerprint, unsigned

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")

_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+")
_NAME = re.compile(r"[!-9;-~]+")
_ICE_TEXT = re.compile(r"[!-9;-~]+")
_RID = re.compile(r"[0-9A-Za-z_\-]+")


@dataclass(frozen=True, slots=True)
class Attribute:
    """A flag, an attribute of one word, or one that is not known here (RFC 8866 §5.13).

    Names which have a class of their own in this module do not belong here.

    Attributes:
        name: What stands before the colon.
        value: What stands after it; None without a colon.

    >>> str(Attribute("rtcp-mux")), str(Attribute("mid", "0"))
    ('rtcp-mux', 'mid:0')
    """

    name: str
    value: str | None = None

    def __str__(self) -> str:
        """The attribute without ``a=``."""
        return self.name if self.value is None else f"{self.name}:{self.value}"


@dataclass(frozen=True, slots=True)
class Rtpmap:
    """What a payload type stands for (RFC 8866 §6.6).

    >>> Rtpmap.parse("111 opus/48000/2")
    Rtpmap(payload_type=111, name='opus', clock_rate=48000, channels=2)
    """

    payload_type: int
    name: str
    clock_rate: int
    channels: int = 1

    @classmethod
    def parse(cls, value: str) -> Rtpmap:
        """Read ``<payload type> <name>/<clock rate>[/<channels>]``."""
        words = _words(value)
        parts = words[1].split("/") if len(words) == 2 else []
        if len(parts) not in (2, 3) or not _TOKEN.fullmatch(parts[0]):
            raise ProtocolError("a=rtpmap:<payload type> <name>/<clock rate>[/<channels>]")
        return cls(
            _payload_type(words[0]),
            parts[0],
            unsigned(parts[1], least=1, most=2**32 - 1, what="a clock rate"),
            unsigned(parts[2], least=1, most=255, what="a number of channels") if len(parts) == 3 else 1,
        )

    def __str__(self) -> str:
        """The attribute without ``a=``."""
        channels = f"/{self.channels}" if self.channels != 1 else ""
        return f"rtpmap:{self.payload_type} {self.name}/{self.clock_rate}{channels}"


@dataclass(frozen=True, slots=True)
class Fmtp:
    """A payload type's parameters, in the words of its format (RFC 8866 §6.15)."""

    payload_type: int
    parameters: str

    @classmethod
    def parse(cls, value: str) -> Fmtp | Attribute:
        """Read ``<payload type> <parameters>``; a format that is no payload type stays an `Attribute`."""
        payload_type, _, parameters = value.partition(" ")
        if not (payload_type.isascii() and payload_type.isdigit()):
            return Attribute("fmtp", value)
        return cls(_payload_type(payload_type), parameters.strip(" "))

    def __str__(self) -> str:
        """The attribute without ``a=``."""
        return f"fmtp:{self.payload_type} {self.parameters}"


@dataclass(frozen=True, slots=True)
class RtcpFb:
    """RTCP feedback for a payload type, or for all of the section's (RFC 4585 §4.2).

    >>> RtcpFb.parse("* nack  pli")
    RtcpFb(payload_type=None, feedback='nack pli')
    """

    payload_type: int | None
    feedback: str

    @classmethod
    def parse(cls, value: str) -> RtcpFb:
        """Read ``<payload type or *> <feedback>``."""
        words = _words(value)
        if len(words) < 2:
            raise ProtocolError("a=rtcp-fb:<payload type or *> <feedback>")
        return cls(None if words[0] == "*" else _payload_type(words[0]), " ".join(words[1:]))

    def __str__(self) -> str:
        """The attribute without ``a=``."""
        return f"rtcp-fb:{'*' if self.payload_type is None else self.payload_type} {self.feedback}"


@dataclass(frozen=True, slots=True)
class Extmap:
    """What a header extension id means (RFC 8285 §5).

    Ids from 4096 to 4351 say "too many for one byte, pick some" and cannot be used as they are.
    """

    id: int
    uri: str
    direction: str | None = None
    configuration: str = ""

    @classmethod
    def parse(cls, value: str) -> Extmap:
        """Read ``<id>[/<direction>] <uri> [configuration]``."""
        words = _words(value)
        id_, slash, direction = words[0].partition("/") if words else ("", "", "")
        if len(words) < 2 or (slash and direction not in DIRECTIONS):
            raise ProtocolError("a=extmap:<id>[/<direction>] <uri>")
        number = unsigned(id_, least=1, most=4351, what="a header extension id")
        if 255 < number < 4096:
            raise ProtocolError("a header extension id from 1 to 255, or from 4096 to 4351")
        return cls(number, words[1], direction if slash else None, " ".join(words[2:]))

    def __str__(self) -> str:
        """The attribute without ``a=``."""
        direction = f"/{self.direction}" if self.direction else ""
        configuration = f" {self.configuration}" if self.configuration else ""
        return f"extmap:{self.id}{direction} {self.uri}{configuration}"


@dataclass(frozen=True, slots=True)
class Rid:
    """One restricted stream of a section (RFC 8851 §4).

    >>> Rid.parse("h send pt=96,97;max-width=1280").restrictions
    (('pt', '96,97'), ('max-width', '1280'))
    """

    id: str
    direction: Literal["send", "recv"]
    restrictions: tuple[tuple[str, str | None], ...] = ()

    @classmethod
    def parse(cls, value: str) -> Rid:
        """Read ``<id> send|recv [pt=…;<name>=<value>;…]``."""
        words = _words(value)
        if len(words) not in (2, 3) or not _RID.fullmatch(words[0]) or words[1] not in ("send", "recv"):
            raise ProtocolError("a=rid:<id> send|recv [restrictions]")
        restrictions: list[tuple[str, str | None]] = []
        for part in words[2].split(";") if len(words) == 3 else ():
            name, equals, restriction = part.partition("=")
            if not _TOKEN.fullmatch(name):
                raise ProtocolError("restrictions of a=rid as <name>=<value>;…")
            restrictions.append((name, restriction if equals else None))
        return cls(words[0], cast("Literal['send', 'recv']", words[1]), tuple(restrictions))

    def restriction(self, name: str) -> str | None:
        """The value of one restriction; None if it was not given."""
        return dict(self.restrictions).get(name)

    def __str__(self) -> str:
        """The attribute without ``a=``."""
        restrictions = ";".join(n if v is None else f"{n}={v}" for n, v in self.restrictions)
        return f"rid:{self.id} {self.direction}" + (f" {restrictions}" if restrictions else "")


@dataclass(frozen=True, slots=True)
class Simulcast:
    """Which rids are simulcast streams of one source (RFC 8853 §5.1).

    Each stream is a tuple of alternatives; a rid written with ``~`` starts paused.

    >>> Simulcast.parse("send q;~h;f,g").send
    (('q',), ('~h',), ('f', 'g'))
    """

    send: tuple[tuple[str, ...], ...] = ()
    recv: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def parse(cls, value: str) -> Simulcast:
        """Read ``send <rids> [recv <rids>]``, in either order."""
        words = _words(value)
        lists = dict(zip(words[::2], words[1::2], strict=False))
        if len(words) not in (2, 4) or len(lists) != len(words) // 2 or not lists.keys() <= {"send", "recv"}:
            raise ProtocolError("a=simulcast:send|recv <rids> [recv|send <rids>]")
        streams = {
            side: tuple(tuple(alternatives.split(",")) for alternatives in text.split(";"))
            for side, text in lists.items()
        }
        for stream in (*streams.get("send", ()), *streams.get("recv", ())):
            if not all(_RID.fullmatch(rid.removeprefix("~")) for rid in stream):
                raise ProtocolError("rids in a=simulcast, with ; between streams and , between alternatives")
        return cls(streams.get("send", ()), streams.get("recv", ()))

    def __str__(self) -> str:
        """The attribute without ``a=``."""
        sides = (("send", self.send), ("recv", self.recv))
        return "simulcast:" + " ".join(f"{side} {';'.join(map(','.join, rids))}" for side, rids in sides if rids)


@dataclass(frozen=True, slots=True)
class Ssrc:
    """Something said about one SSRC, such as its cname (RFC 5576 §4.1)."""

    ssrc: int
    attribute: str
    value: str | None = None

    @classmethod
    def parse(cls, value: str) -> Ssrc:
        """Read ``<ssrc> <attribute>[:<value>]``."""
        ssrc, _, rest = value.partition(" ")
        attribute, colon, text = rest.lstrip(" ").partition(":")
        if not _NAME.fullmatch(attribute):
            raise ProtocolError("a=ssrc:<ssrc> <attribute>[:<value>]")
        return cls(_ssrc(ssrc), attribute, text if colon else None)

    def __str__(self) -> str:
        """The attribute without ``a=``."""
        return f"ssrc:{self.ssrc} {self.attribute}" + ("" if self.value is None else f":{self.value}")


@dataclass(frozen=True, slots=True)
class SsrcGroup:
    """SSRCs that belong together: FID (RFC 5576 §4.2) for retransmissions, SIM (never standardised) for simulcast."""

    semantics: str
    ssrcs: tuple[int, ...]

    @classmethod
    def parse(cls, value: str) -> SsrcGroup:
        """Read ``<semantics> <ssrc> …``."""
        words = _words(value)
        if not words or not _TOKEN.fullmatch(words[0]):
            raise ProtocolError("a=ssrc-group:<semantics> <ssrc> …")
        return cls(words[0], tuple(_ssrc(word) for word in words[1:]))

    def __str__(self) -> str:
        """The attribute without ``a=``."""
        return "ssrc-group:" + " ".join([self.semantics, *map(str, self.ssrcs)])


@dataclass(frozen=True, slots=True)
class Msid:
    """The stream and the track that a section carries (RFC 8830 §2); the stream ``-`` means none."""

    stream: str
    track: str | None = None

    @classmethod
    def parse(cls, value: str) -> Msid:
        """Read ``<stream> [track]``."""
        words = _words(value)
        if len(words) not in (1, 2):
            raise ProtocolError("a=msid:<stream> [track]")
        return cls(words[0], words[1] if len(words) == 2 else None)

    def __str__(self) -> str:
        """The attribute without ``a=``."""
        return f"msid:{self.stream}" if self.track is None else f"msid:{self.stream} {self.track}"


@dataclass(frozen=True, slots=True)
class Group:
    """Sections that belong together: BUNDLE (RFC 9143 §7), LS (RFC 5888 §8)."""

    semantics: str
    mids: tuple[str, ...]

    @classmethod
    def parse(cls, value: str) -> Group:
        """Read ``<semantics> <mid> …``."""
        words = _words(value)
        if not words or not all(map(_TOKEN.fullmatch, words)):
            raise ProtocolError("a=group:<semantics> <mid> …")
        return cls(words[0], tuple(words[1:]))

    def __str__(self) -> str:
        """The attribute without ``a=``."""
        return "group:" + " ".join([self.semantics, *self.mids])


AnyAttribute: TypeAlias = (
    Attribute
    | Rtpmap
    | Fmtp
    | RtcpFb
    | Extmap
    | Rid
    | Simulcast
    | Ssrc
    | SsrcGroup
    | Msid
    | Group
    | Candidate
    | Fingerprint
)


def parse_attribute(text: str) -> AnyAttribute:
    """Read an attribute, ``a=`` taken off. Raises ProtocolError without a line number.

    >>> parse_attribute("x-vendor:1;2")
    Attribute(name='x-vendor', value='1;2')
    """
    name, colon, value = text.partition(":")
    if not _NAME.fullmatch(name):
        raise ProtocolError("a=<name> or a=<name>:<value>")
    if name in _FLAGS:
        if colon:
            raise ProtocolError(f"a={name} without a value")
    elif name in _STRUCTURED:
        return _STRUCTURED[name](value)
    elif name in _CHECKED:
        return Attribute(name, _CHECKED[name](value.strip(" ")))
    return Attribute(name, value if colon else None)


def _words(text: str) -> list[str]:
    """Split at spaces only: `str.split` would also take the spaces of every other script."""
    return [word for word in text.split(" ") if word]


def _payload_type(text: str) -> int:
    return unsigned(text, most=127, what="a payload type")


def _ssrc(text: str) -> int:
    return unsigned(text, most=2**32 - 1, what="an SSRC")


def _candidate(value: str) -> Candidate | Attribute:
    """A candidate over a transport that is not known must be left alone, not refused (RFC 8839 §5.1)."""
    words = _words(value)
    if len(words) >= 3 and words[2].lower() not in ("udp", "tcp"):
        return Attribute("candidate", value)
    return Candidate.from_string(value)


def _matching(pattern: re.Pattern[str], least: int, most: int, expected: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if least <= len(value) <= most and pattern.fullmatch(value):
            return value
        raise ProtocolError(expected)

    return check


def _number(name: str, most: int) -> Callable[[str], str]:
    return lambda value: str(unsigned(value, most=most, what=f"a={name}"))


_FLAGS = frozenset(
    [*DIRECTIONS, "bundle-only", "end-of-candidates", "extmap-allow-mixed", "ice-lite", "rtcp-mux", "rtcp-rsize"]
)
_STRUCTURED: dict[str, Callable[[str], AnyAttribute]] = {
    "candidate": _candidate,
    "extmap": Extmap.parse,
    "fingerprint": Fingerprint.from_string,
    "fmtp": Fmtp.parse,
    "group": Group.parse,
    "msid": Msid.parse,
    "rid": Rid.parse,
    "rtcp-fb": RtcpFb.parse,
    "rtpmap": Rtpmap.parse,
    "simulcast": Simulcast.parse,
    "ssrc": Ssrc.parse,
    "ssrc-group": SsrcGroup.parse,
}
_CHECKED: dict[str, Callable[[str], str]] = {
    "ice-pwd": _matching(_ICE_TEXT, 22, 256, "a=ice-pwd of 22 to 256 characters"),
    "ice-ufrag": _matching(_ICE_TEXT, 4, 256, "a=ice-ufrag of 4 to 256 characters"),
    "max-message-size": _number("max-message-size", 2**64 - 1),
    "mid": _matching(_TOKEN, 1, 256, "a=mid with a token"),
    "sctp-port": _number("sctp-port", 65535),
    "setup": _matching(re.compile("active|passive|actpass|holdconn"), 1, 16, "a=setup active, passive or actpass"),
}
