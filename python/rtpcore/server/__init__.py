"""LiveKit's server as a part of an application: rooms, their people and what happens in them, as Python objects."""

from rtpcore.explaining import ExplainedPath, ExplainedTrack, Explanation, Picture, Repairs
from rtpcore.server.agents import AgentJob, Agents, AgentWorker
from rtpcore.server.events import (
    Event,
    ParticipantChanged,
    ParticipantJoined,
    ParticipantLeft,
    RoomClosed,
    RoomCreated,
    RoomEmptied,
    TrackPublished,
    TrackUnpublished,
)
from rtpcore.server.local import LocalEvent, LocalParticipant, PacketReceived, Removed, RpcCall
from rtpcore.server.server import Server
from rtpcore.server.streams import BytesReceived, TextReceived
from rtpcore.server.views import Participant, Room, Rooms, Track

__all__ = [
    "AgentJob",
    "AgentWorker",
    "Agents",
    "BytesReceived",
    "Event",
    "ExplainedPath",
    "ExplainedTrack",
    "Explanation",
    "LocalEvent",
    "LocalParticipant",
    "PacketReceived",
    "Participant",
    "ParticipantChanged",
    "ParticipantJoined",
    "ParticipantLeft",
    "Picture",
    "Removed",
    "Repairs",
    "Room",
    "RoomClosed",
    "RoomCreated",
    "RoomEmptied",
    "Rooms",
    "RpcCall",
    "Server",
    "TextReceived",
    "Track",
    "TrackPublished",
    "TrackUnpublished",
]
