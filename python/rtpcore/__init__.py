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
    ChannelClosed,
    ChannelOpened,
    DataReceived,
    EncodingStarted,
    Event,
    Layer,
    LayerChanged,
    ReceiverEnded,
    TransportChanged,
)
from rtpcore.forwarder import Forwarder, Receiver, Sender, Transport, __version__

__all__ = [
    "BindError",
    "ChannelClosed",
    "ChannelOpened",
    "ClosedError",
    "Config",
    "ConfigError",
    "DataReceived",
    "EncodingStarted",
    "Event",
    "Forwarder",
    "Layer",
    "LayerChanged",
    "LimitError",
    "Limits",
    "Listen",
    "Media",
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
