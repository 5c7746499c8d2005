"""LiveKit's configuration: its YAML, its names in the environment and ``--dev``.

::

    file or LIVEKIT_CONFIG ──▶ LIVEKIT_*, NODE_IP, ... ──▶ command line ──▶ LiveKitConfig ──.forwarder──▶ Config
                           each over what comes before it

What LiveKit knows and rtpcore does not do yet is accepted and listed in `LiveKitConfig.unsupported`; what neither knows
is an error that names what was perhaps meant.
"""

from rtpcore.livekit_config.agents import Agents
from rtpcore.livekit_config.load import DEV_KEYS, load
from rtpcore.livekit_config.sections import (
    Audio,
    Codec,
    CongestionControl,
    LiveKitConfig,
    Logging,
    PlayoutDelay,
    Prometheus,
    Room,
    Rtc,
    SessionLimits,
    Turn,
    TurnServer,
    Video,
    Webhook,
    WebhookFilter,
)

__all__ = [
    "DEV_KEYS",
    "Agents",
    "Audio",
    "Codec",
    "CongestionControl",
    "LiveKitConfig",
    "Logging",
    "PlayoutDelay",
    "Prometheus",
    "Room",
    "Rtc",
    "SessionLimits",
    "Turn",
    "TurnServer",
    "Video",
    "Webhook",
    "WebhookFilter",
    "load",
]
