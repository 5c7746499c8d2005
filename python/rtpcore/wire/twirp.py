"""Twirp, LiveKit's server API: one POST for a call, bodies in protobuf or in JSON, errors always in JSON (Twirp v7).

Which call is which, and who may make it, is decided above.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeVar

from google.protobuf.message import DecodeError

from rtpcore.errors import RtpcoreError
from rtpcore.wire import text
from rtpcore.wire.messages import Message

__all__ = ["JSON", "PROTOBUF", "STATUSES", "TwirpError", "decode", "encode"]

JSON = "application/json"
PROTOBUF = "application/protobuf"

STATUSES: Mapping[str, int] = {
    "canceled": 408,
    "unknown": 500,
    "invalid_argument": 400,
    "malformed": 400,
    "deadline_exceeded": 408,
    "not_found": 404,
    "bad_route": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "unauthenticated": 401,
    "resource_exhausted": 429,
    "failed_precondition": 412,
    "aborted": 409,
    "out_of_range": 400,
    "unimplemented": 501,
    "internal": 500,
    "unavailable": 503,
    "data_loss": 500,
}
"""Twirp's error codes with their HTTP statuses."""

M = TypeVar("M", bound=Message)


class TwirpError(RtpcoreError):
    """A call fails, and the caller is told so.

    Attributes:
        code: One of `STATUSES`.
        msg: In words; LiveKit's where clients look at them.
        meta: What else the caller should know, by name.

    >>> error = TwirpError("not_found", "participant does not exist")
    >>> error.status, error.to_json()
    (404, '{"code":"not_found","msg":"participant does not exist"}')
    """

    def __init__(self, code: str, msg: str, meta: Mapping[str, str] | None = None) -> None:
        """Say what failed. Raises ValueError if there is no such code."""
        if code not in STATUSES:
            raise ValueError(f"{code!r} is not one of Twirp's error codes")
        super().__init__(code, msg, meta)
        self.code = code
        self.msg = msg
        self.meta: Mapping[str, str] = meta or {}

    @property
    def status(self) -> int:
        """The status of the HTTP response."""
        return STATUSES[self.code]

    def to_json(self) -> str:
        """The body of the HTTP response, whose type is `JSON` whatever the request's was."""
        value = {"code": self.code, "msg": self.msg, **({"meta": dict(self.meta)} if self.meta else {})}
        return json.dumps(value, separators=(",", ":"))

    def __str__(self) -> str:
        """The code and the words."""
        return f"{self.code}: {self.msg}"


def decode(content_type: str, body: bytes, message: M) -> M:
    """Read the body of a call.

    Args:
        content_type: The request's header, perhaps with parameters.
        body: JSON in camel or snake case whose unknown members are ignored, or protobuf.
        message: An empty one of the call's type.

    Returns:
        The same message, filled.

    Raises:
        TwirpError: ``malformed``: the body cannot be decoded; ``bad_route``: no such content type is spoken here.
    """
    if _is_json(content_type):
        try:
            return text.fill(message, text.read_object(body))
        except ValueError:
            raise TwirpError("malformed", "the json request could not be decoded") from None
    try:
        message.ParseFromString(body)
    except DecodeError:
        raise TwirpError("malformed", "the protobuf request could not be decoded") from None
    return message


def encode(content_type: str, message: Message) -> bytes:
    """Write the answer to a call in the encoding of its request.

    Args:
        content_type: The request's.
        message: The answer. In JSON, names are in snake case and fields that say nothing are written, as LiveKit does.

    Raises:
        TwirpError: ``bad_route``, as from `decode`.
    """
    return text.write(message, is_whole=True).encode() if _is_json(content_type) else message.SerializeToString()


def _is_json(content_type: str) -> bool:
    """Tell the encoding. Raises TwirpError for one that is neither."""
    kind = content_type.split(";", 1)[0].strip().lower()
    if kind not in (JSON, PROTOBUF):
        # What was sent is not repeated: a header can hold anything.
        raise TwirpError("bad_route", f"the Content-Type of a call is {JSON} or {PROTOBUF}")
    return kind == JSON
