"""JSON from peers, read so that whatever they send ends as a value or as one kind of error."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

from google.protobuf import json_format

from rtpcore.wire.messages import Message

__all__ = ["fill", "read_object", "write"]

M = TypeVar("M", bound=Message)


def read_object(text: bytes | str) -> dict[str, Any]:
    """Read a JSON object, in UTF-8 if it is bytes.

    Raises:
        ValueError: It is something else, or has half a surrogate pair in it: JSON and Python's strings can hold one,
            but no message can, and protobuf does not always fail cleanly over it (SystemError for a name).
    """
    text = text.decode() if isinstance(text, bytes) else text
    try:
        value = json.loads(text)
        if _SURROGATE.search(text):
            # Most likely whole pairs, as JavaScript escapes them; encoding what came of it tells.
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def fill(message: M, fields: object) -> M:
    """Set what a JSON object says, in camel or snake case; what is unknown is ignored.

    Args:
        message: An empty one.
        fields: What `read_object` made, or a part of that.

    Returns:
        The same message.

    Raises:
        ValueError: It is no object, or a field has a value of another kind.
    """
    if not isinstance(fields, dict):
        raise ValueError("not an object")
    try:
        return json_format.ParseDict(fields, message, ignore_unknown_fields=True)
    # Its own error covers most, but not infinity for a number or a list for a map.
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


_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
