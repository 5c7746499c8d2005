"""A room's state, pure: who is there, what is published, who gets what. Methods change it and return effects."""

from rtpcore.room.datatracks import DataTrack
from rtpcore.room.effects import (
    Adjust,
    Changed,
    Effect,
    Emptied,
    Happened,
    OpenData,
    Removed,
    RouteData,
    ShutData,
    Subscribe,
    Tell,
    Unsubscribe,
)
from rtpcore.room.participant import Participant
from rtpcore.room.room import Room
from rtpcore.room.rules import Rules
from rtpcore.room.track import Subscription, Track, TrackSettings

__all__ = [
    "Adjust",
    "Changed",
    "DataTrack",
    "Effect",
    "Emptied",
    "Happened",
    "OpenData",
    "Participant",
    "Removed",
    "Room",
    "RouteData",
    "Rules",
    "ShutData",
    "Subscribe",
    "Subscription",
    "Tell",
    "Track",
    "TrackSettings",
    "Unsubscribe",
]
