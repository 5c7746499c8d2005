"""What a description asks of its peer's encoder, beyond what was negotiated: which codec, with which parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rtpcore.sdp.attributes import AnyAttribute, Fmtp, Rtpmap
from rtpcore.sdp.description import MediaSection, SessionDescription

__all__ = ["prefer", "tune"]


def tune(
    description: SessionDescription, mid: str | None, encoding: str, parameters: Mapping[str, str]
) -> SessionDescription:
    """Set parameters of one format in one media section; others stay as they are.

    Args:
        description: An answer of ours: the parameters in it are what we would like to receive.
        mid: The section.
        encoding: The format's name in ``a=rtpmap``, such as ``opus``; compared without case.
        parameters: Names and values (RFC 7587 §6.1 has those of opus).
    """
    return replace(
        description,
        media=tuple(_tuned(one, encoding, parameters) if one.mid == mid else one for one in description.media),
    )


def prefer(description: SessionDescription, mid: str | None, mime_type: str) -> SessionDescription:
    """Put a codec first in one media section of an answer of ours, where it is there: clients send the first.

    Args:
        description: An answer of ours.
        mid: The section.
        mime_type: Such as ``video/VP8``; compared without case.
    """
    name = mime_type.partition("/")[2].lower()
    return replace(
        description, media=tuple(_preferring(one, name) if one.mid == mid else one for one in description.media)
    )


def _preferring(section: MediaSection, name: str) -> MediaSection:
    first = {str(item.payload_type) for item in section.all(Rtpmap) if item.name.lower() == name}
    return replace(section, formats=tuple(sorted(section.formats, key=lambda number: number not in first)))


def _tuned(section: MediaSection, encoding: str, parameters: Mapping[str, str]) -> MediaSection:
    numbers = {item.payload_type for item in section.all(Rtpmap) if item.name.lower() == encoding.lower()}
    attributes: list[AnyAttribute] = []
    for item in section.attributes:
        if isinstance(item, Fmtp) and item.payload_type in numbers:
            numbers.discard(item.payload_type)
            pairs = dict(part.strip(" ").partition("=")[::2] for part in item.parameters.split(";") if part.strip(" "))
            item = Fmtp(item.payload_type, _written({**pairs, **parameters}))
        attributes.append(item)
    # A format without parameters gets a line of its own.
    attributes += [Fmtp(number, _written(parameters)) for number in sorted(numbers)]
    return replace(section, attributes=tuple(attributes))


def _written(parameters: Mapping[str, str]) -> str:
    return ";".join(f"{name}={value}" if value else name for name, value in parameters.items())
