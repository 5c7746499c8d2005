"""A session description as a value: what `parse` makes and `write` takes (RFC 8866 §5).

Attributes stay in the order of the text, known and unknown alike. The properties of `SessionDescription` at the end
are the short way from a peer's offer to parameters for the core.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, cast

from rtpcore.parameters import Direction, TrackParameters, TransportParameters
from rtpcore.sdp.attributes import DIRECTIONS, AnyAttribute, Attribute, Group
from rtpcore.sdp.tracks import read_tracks, read_transport, read_wanted
from rtpcore.sdp.write import write

_T = TypeVar("_T", bound=AnyAttribute)


@dataclass(frozen=True, slots=True)
class Line:
    """A line that WebRTC has no use for, kept as it came (``t=``, ``c=``, ``b=``, ``i=`` …).

    Attributes:
        type: Its letter.
        value: What stands after the ``=``.
    """

    type: str
    value: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Who made this description, and which version of it this is (RFC 8866 §5.2).

    Attributes:
        session_id: Stays the same for a session's life, below 2^64.
        version: Grows with each new description.
        username: Without spaces.
        address: Network type, address type and address.
    """

    session_id: int
    version: int = 0
    username: str = "-"
    address: str = "IN IP4 0.0.0.0"


class Attributes:
    """Looking attributes up, the same for the session and for each section."""

    __slots__ = ()
    attributes: tuple[AnyAttribute, ...]

    def all(self, kind: type[_T]) -> tuple[_T, ...]:
        """Every attribute of this class, in order."""
        return tuple(attribute for attribute in self.attributes if isinstance(attribute, kind))

    def find(self, kind: type[_T]) -> _T | None:
        """The first attribute of this class."""
        return next((attribute for attribute in self.attributes if isinstance(attribute, kind)), None)

    def has(self, name: str) -> bool:
        """Whether the flag, or an attribute of one word, is there."""
        return any(isinstance(attribute, Attribute) and attribute.name == name for attribute in self.attributes)

    def value(self, name: str) -> str | None:
        """The value of an attribute of one word; None if it is not there."""
        for attribute in self.attributes:
            if isinstance(attribute, Attribute) and attribute.name == name:
                return attribute.value
        return None

    @property
    def direction(self) -> Direction | None:
        """The direction, if it is said at this level."""
        for attribute in self.attributes:
            if isinstance(attribute, Attribute) and attribute.name in DIRECTIONS:
                return cast("Direction", attribute.name)
        return None


@dataclass(frozen=True, slots=True)
class MediaSection(Attributes):
    """One ``m=`` line with what follows it (RFC 8866 §5.14).

    Attributes:
        kind: ``audio``, ``video``, ``application``, or another.
        port: 0 if the section is rejected or stopped, unless ``bundle-only`` says otherwise.
        protocol: Such as ``UDP/TLS/RTP/SAVPF``.
        formats: Payload types in order of preference, or ``webrtc-datachannel``.
        attributes: In order.
        lines: ``i=``, ``c=``, ``b=``, ``k=``, in this order.
        port_count: The number after the port, 1 if there is none.
    """

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    attributes: tuple[AnyAttribute, ...] = ()
    lines: tuple[Line, ...] = (Line("c", "IN IP4 0.0.0.0"),)
    port_count: int = 1

    @property
    def mid(self) -> str | None:
        """The section's tag (RFC 5888 §4)."""
        return self.value("mid")

    @property
    def is_rejected(self) -> bool:
        """Whether nothing flows here, now and for good (RFC 9429 §5.2.2)."""
        return self.port == 0 and not self.has("bundle-only")


@dataclass(frozen=True, slots=True)
class SessionDescription(Attributes):
    """An offer or an answer. `str` writes it.

    Attributes:
        origin: The ``o=`` line.
        media: The sections; their order never changes within a session.
        attributes: Those of the session, in order.
        name: The ``s=`` line.
        lines: ``i=``, ``u=``, ``e=``, ``p=``, ``c=``, ``b=``, ``t=``, ``r=``, ``z=``, ``k=``, in this order.
    """

    origin: Origin
    media: tuple[MediaSection, ...] = ()
    attributes: tuple[AnyAttribute, ...] = ()
    name: str = "-"
    lines: tuple[Line, ...] = (Line("t", "0 0"),)

    def __str__(self) -> str:
        """The description as text, with CRLF line ends. Raises ParametersError if a field holds a line end."""
        return write(self)

    @property
    def bundle(self) -> tuple[str, ...]:
        """The mids of the first BUNDLE group, the tagged one first (RFC 9143 §7.2); empty if there is none."""
        return next((group.mids for group in self.all(Group) if group.semantics == "BUNDLE"), ())

    @property
    def transport(self) -> TransportParameters:
        """The peer's end of the one transport of this session.

        Raises ParametersError, with advice, without BUNDLE, rtcp-mux, ICE credentials or a fingerprint.
        """
        return read_transport(self)

    @property
    def tracks(self) -> tuple[TrackParameters, ...]:
        """What the peer sends, one per section, with the codecs and extensions that `answer` will accept."""
        return read_tracks(self)

    @property
    def wanted(self) -> tuple[TrackParameters, ...]:
        """The sections in which the peer is ready to receive, with the codecs and extensions it can have."""
        return read_wanted(self)
