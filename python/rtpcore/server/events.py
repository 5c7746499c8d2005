"""What happens in rooms, as frozen values; ``match`` on the class.

In order: a room is created, participants join it, tracks are published and unpublished, participants leave and their
tracks end with them, the room is empty, then closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from rtpcore.server.views import Participant, Room, Track

__all__ = [
    "Event",
    "ParticipantChanged",
    "ParticipantJoined",
    "ParticipantLeft",
    "RoomClosed",
    "RoomCreated",
    "RoomEmptied",
    "TrackPublished",
    "TrackUnpublished",
]


@dataclass(frozen=True, slots=True)
class RoomCreated:
    """A room is there; nobody is in it yet."""

    room: Room


@dataclass(frozen=True, slots=True)
class RoomEmptied:
    """The last participant that counts has gone; agents and recorders may be left."""

    room: Room


@dataclass(frozen=True, slots=True)
class RoomClosed:
    """A room is gone. Another with its name is another room."""

    room: Room


@dataclass(frozen=True, slots=True)
class ParticipantJoined:
    """Somebody is in a room and has connected."""

    room: Room
    participant: Participant


@dataclass(frozen=True, slots=True)
class ParticipantLeft:
    """Somebody that had joined has gone, and what it published with it.

    Attributes:
        room: Where.
        participant: Who, as it was.
        reason: Why, in LiveKit's words and lower case: ``client_initiated``, ``duplicate_identity``,
            ``participant_removed``, ``room_deleted``, ``signal_close``, …
    """

    room: Room
    participant: Participant
    reason: str


@dataclass(frozen=True, slots=True)
class ParticipantChanged:
    """Its name, metadata, attributes or permission have changed."""

    room: Room
    participant: Participant


@dataclass(frozen=True, slots=True)
class TrackPublished:
    """Media of a track have come."""

    room: Room
    participant: Participant
    track: Track


@dataclass(frozen=True, slots=True)
class TrackUnpublished:
    """A track has ended, though its publisher is still there."""

    room: Room
    participant: Participant
    track: Track


Event: TypeAlias = (
    RoomCreated
    | RoomEmptied
    | RoomClosed
    | ParticipantJoined
    | ParticipantLeft
    | ParticipantChanged
    | TrackPublished
    | TrackUnpublished
)
"""Anything that `rtpcore.Server.events` tells."""
