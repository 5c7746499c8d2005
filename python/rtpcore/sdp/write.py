"""A session description to text (RFC 8866 §5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rtpcore.errors import ParametersError

if TYPE_CHECKING:
    from rtpcore.sdp.description import MediaSection, SessionDescription

# What would end the line and let a track's name add attributes of its own.
_LINE_BREAKERS = ("\r", "\n", "\0")


def write(description: SessionDescription) -> str:
    """The description's text, every line ended by CRLF.

    Raises:
        ParametersError: A field holds a line end or a NUL: names given by applications end up in these fields.

    >>> from rtpcore.sdp import Origin, SessionDescription
    >>> write(SessionDescription(Origin(session_id=7)))
    'v=0\\r\\no=- 7 0 IN IP4 0.0.0.0\\r\\ns=-\\r\\nt=0 0\\r\\n'
    """
    return finish(_description_lines(description))


def finish(lines: Iterator[str]) -> str:
    """Join lines to text, checking that each really is one."""
    checked = []
    for line in lines:
        if any(breaker in line for breaker in _LINE_BREAKERS):
            raise ParametersError(f"a line end inside of {line[:2]}", "take line ends out of track and stream names")
        checked.append(line)
    return "\r\n".join([*checked, ""])


def section_lines(section: MediaSection) -> Iterator[str]:
    """The lines of one section, without line ends."""
    port = section.port if section.port_count == 1 else f"{section.port}/{section.port_count}"
    yield f"m={section.kind} {port} {section.protocol} {' '.join(section.formats)}"
    yield from (f"{line.type}={line.value}" for line in section.lines)
    yield from (f"a={attribute}" for attribute in section.attributes)


def _description_lines(description: SessionDescription) -> Iterator[str]:
    origin = description.origin
    yield "v=0"
    yield f"o={origin.username} {origin.session_id} {origin.version} {origin.address}"
    yield f"s={description.name}"
    yield from (f"{line.type}={line.value}" for line in description.lines)
    yield from (f"a={attribute}" for attribute in description.attributes)
    for section in description.media:
        yield from section_lines(section)
