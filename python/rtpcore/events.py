"""What a forwarder reports, as frozen values; ``match`` on the class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from rtpcore.forwarder import Receiver, Sender, Transport
    from rtpcore.hub import Member

__all__ = [
    "AudioLevelChanged",
    "BandwidthChanged",
    "ChannelClosed",
    "ChannelOpened",
    "DataReceived",
    "EncodingStarted",
    "Event",
    "Layer",
    "LayerChanged",
    "MessageReceived",
    "ReceiverEnded",
    "StreamPaused",
    "TransportChanged",
    "TransportState",
]

TransportState: TypeAlias = Literal["new", "connecting", "connected", "disconnected", "failed", "closed"]
"""How far a peer has come; ``disconnected`` may come back, ``failed`` and ``closed`` do not."""


@dataclass(frozen=True, slots=True, order=True)
class Layer:
    """A quality of a video track.

    Attributes:
        spatial: Simulcast encoding or SVC spatial layer, 0 the smallest.
        temporal: Temporal layer, 0 the slowest.
    """

    spatial: int = 7
    temporal: int = 7


@dataclass(frozen=True, slots=True)
class TransportChanged:
    """A peer came, went, or came back.

    Attributes:
        transport: Who.
        state: How far it has come.
        reason: Why: ``normal``, ``consent_expired`` (RFC 7675), ``wrong_fingerprint``, ``no_srtp_profile``,
            ``dtls_failed``, ``closed_by_peer``, ``closed_by_owner`` or ``fault``.
    """

    transport: Transport
    state: TransportState
    reason: str


@dataclass(frozen=True, slots=True)
class ChannelOpened:
    """A data channel is open, whoever opened it."""

    transport: Transport
    label: str


@dataclass(frozen=True, slots=True)
class ChannelClosed:
    """A data channel was closed."""

    transport: Transport
    label: str


@dataclass(frozen=True, slots=True)
class DataReceived:
    """A message came on a tapped data channel; ``is_binary`` tells bytes from UTF-8 text."""

    transport: Transport
    label: str
    is_binary: bool
    payload: bytes


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """Something was said in a hub; comes from where it was asked for, not from :meth:`rtpcore.Forwarder.events`.

    Attributes:
        member: Who said it; None for the hub's owner, and for one that has left since.
        label: On which channel.
        is_binary: Bytes, not UTF-8 text.
        payload: As members hear it; on ``_reliable`` and ``_lossy`` a ``livekit.DataPacket``.
    """

    member: Member | None
    label: str
    is_binary: bool
    payload: bytes


@dataclass(frozen=True, slots=True)
class EncodingStarted:
    """The first packet of an encoding came; ``encoding`` counts from the smallest."""

    receiver: Receiver
    encoding: int


@dataclass(frozen=True, slots=True)
class AudioLevelChanged:
    """How loud an audio track is changed, by what its sender says of each packet (RFC 6464).

    Attributes:
        receiver: Which track; it has negotiated the extension.
        level: 0 to 1 in eighths, the mean amplitude of the speech in the last two windows, rounded up. 0 is silence:
            too little speech in the last window, or two without a packet.
    """

    receiver: Receiver
    level: float


@dataclass(frozen=True, slots=True)
class LayerChanged:
    """A subscriber's copy changed its layer; None while paused or waiting for a keyframe."""

    sender: Sender
    layer: Layer | None


@dataclass(frozen=True, slots=True)
class StreamPaused:
    """A subscriber's path became too narrow for a copy of video, or wide enough again."""

    sender: Sender
    is_paused: bool


@dataclass(frozen=True, slots=True)
class BandwidthChanged:
    """What a subscriber's path is thought to carry changed by a tenth or more; at most once a second for each.

    Attributes:
        transport: Whose path.
        bitrate_bps: All media together.
    """

    transport: Transport
    bitrate_bps: int


@dataclass(frozen=True, slots=True)
class ReceiverEnded:
    """The publisher said goodbye to a track (RTCP BYE)."""

    receiver: Receiver


Event: TypeAlias = (
    TransportChanged
    | ChannelOpened
    | ChannelClosed
    | DataReceived
    | EncodingStarted
    | AudioLevelChanged
    | LayerChanged
    | StreamPaused
    | BandwidthChanged
    | ReceiverEnded
)
"""Anything a forwarder reports."""
