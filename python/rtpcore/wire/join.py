"""What a client asks for when it opens ``/rtc`` or ``/rtc/v1``: the query of the URL.

::

    /rtc?protocol=16&sdk=go&auto_subscribe=1          two peer connections
    /rtc/v1?join_request=<base64url>                  one
                            └─▶ WrappedJoinRequest ──gunzip──▶ JoinRequest

The token is `rtpcore.wire.token`'s, and whether it permits what is asked is decided above.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from rtpcore.errors import ProtocolError
from rtpcore.wire import text
from rtpcore.wire.messages import (
    AddTrackRequest,
    ClientInfo,
    JoinRequest,
    SessionDescription,
    WrappedJoinRequest,
)

__all__ = ["LONGEST_JOIN_REQUEST", "JoinParameters", "parse"]

LONGEST_JOIN_REQUEST = 1 << 20
"""Bytes of a JoinRequest, inflated: LiveKit's limit. An offer of a hundred sections has about 100 KiB."""


@dataclass(frozen=True, slots=True)
class JoinParameters:
    """What a client asks for.

    Attributes:
        client: What it runs on. `address` is empty: the HTTP layer knows it.
        is_single: It wants one peer connection for both directions.
        auto_subscribe: Receive every track without asking.
        adaptive_stream: It will say what sizes it needs; until then the smallest will do.
        subscriber_allow_pause: Whether video may pause where bandwidth is short; None leaves it to the server.
        disable_ice_lite: It needs a peer that checks connectivity itself.
        auto_subscribe_data_track: Receive every data track without asking. Clients ask: those of the Rust family pass
            over tracks that they are given before.
        reconnect: It resumes a session.
        reconnect_reason: A `ReconnectReason`.
        participant_sid: Which session it resumes; empty where it begins one.
        metadata: Instead of the token's, if the token permits; None keeps that.
        attributes: Besides the token's, if it permits. None of them is empty: joining deletes nothing.
        add_tracks: Tracks to publish, as if asked for right after joining.
        publisher_offer: The first offer, likewise.
        publish_suffix: A second connection of the same user, which only publishes, as ``<identity>#<suffix>``.
    """

    client: ClientInfo = field(default_factory=ClientInfo)
    is_single: bool = False
    auto_subscribe: bool = True
    adaptive_stream: bool = False
    subscriber_allow_pause: bool | None = None
    disable_ice_lite: bool = False
    auto_subscribe_data_track: bool = False
    reconnect: bool = False
    reconnect_reason: int = 0
    participant_sid: str = ""
    metadata: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    add_tracks: tuple[AddTrackRequest, ...] = ()
    publisher_offer: SessionDescription | None = None
    publish_suffix: str = ""


def parse(query: Mapping[str, str], *, is_v1: bool) -> JoinParameters:
    """Read the query.

    Args:
        query: Decoded names and values; what is unknown is ignored, as are the others beside ``join_request``.
        is_v1: The path is ``/rtc/v1``. The Go SDK sends a ``join_request`` to ``/rtc`` and means the same.

    Raises:
        ProtocolError: ``join_request`` is missing or cannot be decoded, or ``attributes`` cannot.

    >>> parse({"protocol": "16", "sdk": "go", "auto_subscribe": "0"}, is_v1=False).auto_subscribe
    False
    """
    if encoded := query.get("join_request"):
        return _from_request(_decode_request(encoded))
    if is_v1:
        raise ProtocolError("join_request in the query")
    return _from_query(query)


def _from_request(request: JoinRequest) -> JoinParameters:
    settings = request.connection_settings
    return JoinParameters(
        client=request.client_info,
        is_single=True,
        # Absent settings mean false here, other than in a query: they are protobuf's defaults, and LiveKit takes them.
        auto_subscribe=settings.auto_subscribe,
        adaptive_stream=settings.adaptive_stream,
        subscriber_allow_pause=(
            settings.subscriber_allow_pause if settings.HasField("subscriber_allow_pause") else None
        ),
        disable_ice_lite=settings.disable_ice_lite,
        auto_subscribe_data_track=settings.auto_subscribe_data_track,
        reconnect=request.reconnect,
        reconnect_reason=request.reconnect_reason,
        participant_sid=request.participant_sid if request.reconnect else "",
        metadata=request.metadata or None,
        attributes={name: value for name, value in request.participant_attributes.items() if value},
        add_tracks=tuple(request.add_track_requests),
        publisher_offer=request.publisher_offer if request.HasField("publisher_offer") else None,
    )


def _from_query(query: Mapping[str, str]) -> JoinParameters:
    auto_subscribe = _flag(query, "auto_subscribe", True)
    reconnect = _flag(query, "reconnect", False)
    return JoinParameters(
        client=_read_client(query),
        auto_subscribe=auto_subscribe,
        adaptive_stream=_flag(query, "adaptive_stream", False),
        subscriber_allow_pause=(
            _flag(query, "subscriber_allow_pause", False) if query.get("subscriber_allow_pause") else None
        ),
        disable_ice_lite=_flag(query, "disable_ice_lite", False),
        auto_subscribe_data_track=_flag(query, "auto_subscribe_data_track", False),
        reconnect=reconnect,
        reconnect_reason=_number(query, "reconnect_reason"),
        participant_sid=query.get("sid", "") if reconnect else "",
        attributes=_read_attributes(query.get("attributes", "")),
        publish_suffix=query.get("publish", ""),
    )


def _read_client(query: Mapping[str, str]) -> ClientInfo:
    names = (name.strip().upper() for name in query.get("capabilities", "").split(","))
    known = ClientInfo.Capability.keys()
    try:
        return ClientInfo(
            sdk=_SDKS.get(query.get("sdk", "").lower(), "UNKNOWN"),
            version=query.get("version", ""),
            protocol=_number(query, "protocol"),
            os=query.get("os", ""),
            os_version=query.get("os_version", ""),
            device_model=query.get("device_model", ""),
            browser=query.get("browser", ""),
            browser_version=query.get("browser_version", ""),
            network=query.get("network", ""),
            client_protocol=_number(query, "client_protocol"),
            # A dict keeps the order and drops repetitions, so that a long query makes no long list.
            capabilities=list(dict.fromkeys(name for name in names if name in known)),
        )
    except UnicodeEncodeError:
        raise ProtocolError("a query in UTF-8") from None


def _read_attributes(encoded: str) -> dict[str, str]:
    """Read base64url of a JSON object of strings."""
    if not encoded:
        return {}
    try:
        attributes = text.read_object(_decode_base64(encoded, "attributes"))
    except ValueError:
        raise ProtocolError("attributes as a JSON object in base64url") from None
    if not all(isinstance(value, str) for value in attributes.values()):
        raise ProtocolError("attributes whose values are text")
    return {name: value for name, value in attributes.items() if value}


def _decode_request(encoded: str) -> JoinRequest:
    wrapped = WrappedJoinRequest()
    request = JoinRequest()
    try:
        wrapped.ParseFromString(_decode_base64(encoded, "join_request"))
        data = wrapped.join_request
        if wrapped.compression == WrappedJoinRequest.GZIP:
            data = _inflate(data)
        elif wrapped.compression != WrappedJoinRequest.NONE:
            raise ProtocolError("a join_request that is plain or compressed by gzip")
        if len(data) > LONGEST_JOIN_REQUEST:
            raise ProtocolError(f"a join_request of at most {LONGEST_JOIN_REQUEST} bytes")
        request.ParseFromString(data)
    except DecodeError:
        raise ProtocolError("a WrappedJoinRequest of a JoinRequest in protobuf") from None
    return request


def _inflate(data: bytes) -> bytes:
    """Undo gzip, and never make more than one byte too many: a kilobyte can hold a megabyte of zeros."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(data, LONGEST_JOIN_REQUEST + 1)
    except zlib.error:
        raise ProtocolError("a join_request compressed by gzip") from None
    if len(plain) <= LONGEST_JOIN_REQUEST and (not inflater.eof or inflater.unused_data):
        raise ProtocolError("a join_request compressed by gzip as a whole")
    return plain


def _decode_base64(encoded: str, what: str) -> bytes:
    """Undo base64 in either alphabet, padded or not. A plus sign that was not escaped arrives as a space."""
    letters = encoded.translate(_URL_ALPHABET).rstrip("=")
    try:
        return base64.b64decode(letters + "=" * (-len(letters) % 4), altchars="-_", validate=True)
    except ValueError:
        raise ProtocolError(f"{what} in base64url") from None


def _flag(query: Mapping[str, str], name: str, default: bool) -> bool:
    """A boolean: ``1`` and ``true`` are, anything else that is there is not."""
    value = query.get(name)
    return value in ("1", "true") if value else default


def _number(query: Mapping[str, str], name: str) -> int:
    """A number that fits 32 bits, or 0: LiveKit takes no offence at another."""
    digits = query.get(name, "")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 11):
        return 0
    return value if (value := int(digits)) < 1 << 31 else 0


_URL_ALPHABET = str.maketrans(" +/", "--_")
_SDKS = {name.lower().replace("_", ""): name for name, _ in ClientInfo.SDK.items()} | {"ios": "SWIFT"}
