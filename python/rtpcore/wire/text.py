"""JSON from peers, read so that whatever they send ends as a value or as one kind of error."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from google.protobuf import json_format

from rtpcore.wire.messages import Message

__all__ = ["fill", "is_unicode", "read_object", "write"]

M = TypeVar("M", bound=Message)


def read_object(text: bytes | str) -> dict[str, Any]:
    """Read a JSON object, in UTF-8 if it is bytes. Raises ValueError if it is something else."""
    try:
        value = json.loads(text.decode() if isinstance(text, bytes) else text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def fill(message: M, fields: object) -> M:
    """Set what a decoded JSON object says, in camel or snake case; what is unknown is ignored.

    Returns:
        The same message.

    Raises:
        ValueError: It is no object, or a field has a value of another kind.
    """
    if not isinstance(fields, dict):
        raise ValueError("not an object")
    try:
        return json_format.ParseDict(fields, message, ignore_unknown_fields=True)
    # Its own error covers most, but not infinity for a number, a list for a map or half a surrogate pair in text.
    except (json_format.Error, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError):
        raise ValueError(f"not a {message.DESCRIPTOR.name}") from None


def write(message: Message, *, is_whole: bool = False) -> str:
    """Write a message as compact JSON.

    Args:
        message: What to write.
        is_whole: Twirp's way: names in snake case, and fields that say nothing as well. Otherwise protobuf's.
    """
    value = json_format.MessageToDict(
        message, preserving_proto_field_name=is_whole, always_print_fields_with_no_presence=is_whole
    )
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def is_unicode(text: str) -> bool:
    """Whether text can be sent: JSON can hold half a surrogate pair, and Python's strings can, but no message."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)
