"""Frames of the signalling WebSocket: what a client says, and what it is told.

A binary frame is protobuf. A text frame is protobuf's JSON, and a client that sends one is answered alike.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from rtpcore.errors import ProtocolError
from rtpcore.wire import text
from rtpcore.wire.messages import SignalRequest, SignalResponse

__all__ = ["decode", "encode"]


def decode(frame: bytes | str) -> SignalRequest:
    """Read one frame.

    A request from a newer protocol than ours decodes, with nothing that ``WhichOneof("message")`` knows: it is to be
    ignored, as protobuf means it. How long a frame may be is the socket's business.

    Args:
        frame: Protobuf, or protobuf's JSON in camel or snake case.

    Raises:
        ProtocolError: The frame cannot be decoded, or says nothing at all.
    """
    request = SignalRequest()
    try:
        if isinstance(frame, str):
            fields = text.read_object(frame)
            text.fill(request, fields)
            is_empty = not fields
        else:
            request.ParseFromString(frame)
            is_empty = not frame
    except (DecodeError, ValueError):
        raise ProtocolError("a SignalRequest in protobuf, or in its JSON") from None
    if is_empty:
        raise ProtocolError("a SignalRequest with a message in it")
    return request


def encode(response: SignalResponse, *, as_text: bool = False) -> bytes | str:
    """Write one frame.

    Args:
        response: What to say.
        as_text: As JSON, for a client whose last frame was text.

    >>> encode(SignalResponse(pong=7))
    b'\\x90\\x01\\x07'
    >>> encode(SignalResponse(pong=7), as_text=True)
    '{"pong":"7"}'
    """
    return text.write(response) if as_text else response.SerializeToString()
