"""A selective forwarding unit (RFC 7667 §3.7) in Rust, with Python for signalling, rooms and configuration.

Embed it with :class:`Server`, which LiveKit's clients speak to, or with :class:`Forwarder`, which leaves signalling to
you; or run ``python -m rtpcore.serve``. ``rtpcore.sdp`` turns browsers' descriptions into parameters and back.
"""

import importlib
from typing import TYPE_CHECKING, Any

from rtpcore.config import Config, Limits, Listen, Media
from rtpcore.errors import (
    BindError,
    ClosedError,
    ConfigError,
    JoinError,
    LimitError,
    ParametersError,
    ProtocolError,
    RpcFailure,
    RtpcoreError,
    TokenError,
)
from rtpcore.events import (
    AudioLevelChanged,
    BandwidthChanged,
    ChannelClosed,
    ChannelOpened,
    DataReceived,
    EncodingStarted,
    Event,
    Layer,
    LayerChanged,
    MessageReceived,
    ReceiverEnded,
    StreamPaused,
    TransportChanged,
)
from rtpcore.forwarder import Forwarder, Receiver, Sender, Transport, __version__
from rtpcore.hub import DataTrack, Hub, Member

if TYPE_CHECKING:
    from rtpcore.policy import Hooks, JoinRequest, Permission, PublishRequest, RoomNotice, SubscribeRequest
    from rtpcore.server import LocalParticipant, Server

__all__ = [
    "AudioLevelChanged",
    "BandwidthChanged",
    "BindError",
    "ChannelClosed",
    "ChannelOpened",
    "ClosedError",
    "Config",
    "ConfigError",
    "DataReceived",
    "DataTrack",
    "EncodingStarted",
    "Event",
    "Forwarder",
    "Hooks",
    "Hub",
    "JoinError",
    "JoinRequest",
    "Layer",
    "LayerChanged",
    "LimitError",
    "Limits",
    "Listen",
    "LocalParticipant",
    "Media",
    "Member",
    "MessageReceived",
    "ParametersError",
    "Permission",
    "ProtocolError",
    "PublishRequest",
    "Receiver",
    "ReceiverEnded",
    "RoomNotice",
    "RpcFailure",
    "RtpcoreError",
    "Sender",
    "Server",
    "StreamPaused",
    "SubscribeRequest",
    "TokenError",
    "Transport",
    "TransportChanged",
    "__version__",
]

# The server needs aiohttp and LiveKit's messages; who has a forwarder alone need not load them.
_LATER = {
    "Hooks": "rtpcore.policy",
    "JoinRequest": "rtpcore.policy",
    "LocalParticipant": "rtpcore.server",
    "Permission": "rtpcore.policy",
    "PublishRequest": "rtpcore.policy",
    "RoomNotice": "rtpcore.policy",
    "Server": "rtpcore.server",
    "SubscribeRequest": "rtpcore.policy",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
