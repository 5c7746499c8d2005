"""A selective forwarding unit (RFC 7667 §3.7) in Rust, with Python for signalling, rooms and configuration.

Embed it with :class:`Forwarder`, or run ``python -m rtpcore.serve``. ``rtpcore.sdp`` turns browsers' descriptions into
parameters and back.
"""

from rtpcore.config import Config, Limits, Listen, Media
from rtpcore.errors import (
    BindError,
    ClosedError,
    ConfigError,
    LimitError,
    ParametersError,
    ProtocolError,
    RtpcoreError,
    TokenError,
)
from rtpcore.events import (
    AudioLevelChanged,
    ChannelClosed,
    ChannelOpened,
    DataReceived,
    EncodingStarted,
    Event,
    Layer,
    LayerChanged,
    MessageReceived,
    ReceiverEnded,
    TransportChanged,
)
from rtpcore.forwarder import Forwarder, Receiver, Sender, Transport, __version__
from rtpcore.hub import DataTrack, Hub, Member

__all__ = [
    "AudioLevelChanged",
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
    "Hub",
    "Layer",
    "LayerChanged",
    "LimitError",
    "Limits",
    "Listen",
    "Media",
    "Member",
    "MessageReceived",
    "ParametersError",
    "ProtocolError",
    "Receiver",
    "ReceiverEnded",
    "RtpcoreError",
    "Sender",
    "TokenError",
    "Transport",
    "TransportChanged",
    "__version__",
]
