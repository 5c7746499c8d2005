"""What a change of a room asks of the outside: values, carried out by the host in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from rtpcore.room.datatracks import DataTrack
    from rtpcore.room.participant import Participant
    from rtpcore.room.track import Subscription, Track
    from rtpcore.wire.messages import SignalResponse

__all__ = [
    "Adjust",
    "Changed",
    "Effect",
    "Emptied",
    "Happened",
    "OpenData",
    "Removed",
    "RouteData",
    "ShutData",
    "Subscribe",
    "Tell",
    "Unsubscribe",
]


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a message to a participant's client."""

    to: Participant
    message: SignalResponse


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Begin to send a copy of a track."""

    subscription: Subscription


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Send the copy no longer, and take its media section back."""

    subscription: Subscription


@dataclass(frozen=True, slots=True)
class Adjust:
    """The quality that a subscriber wants of a track, or whether it wants anything now, has changed."""

    subscription: Subscription


@dataclass(frozen=True, slots=True)
class OpenData:
    """A data track is published."""

    track: DataTrack


@dataclass(frozen=True, slots=True)
class ShutData:
    """A data track has ended, for all who got it."""

    track: DataTrack


@dataclass(frozen=True, slots=True)
class RouteData:
    """Give somebody a data track under a number of its own, or with None no longer."""

    track: DataTrack
    subscriber: Participant
    handle: int | None


@dataclass(frozen=True, slots=True)
class Changed:
    """What a participant is or may do has changed: its token is out of date, and its data may have to stop."""

    participant: Participant


@dataclass(frozen=True, slots=True)
class Removed:
    """A participant has gone: its transports can be closed. A message that says so to its client came before."""

    participant: Participant
    reason: int


@dataclass(frozen=True, slots=True)
class Emptied:
    """The last participant that counts has gone."""


@dataclass(frozen=True, slots=True)
class Happened:
    """Something to tell outside of the room: a webhook event by its name in LiveKit's protocol."""

    name: str
    participant: Participant | None = None
    track: Track | None = None


Effect: TypeAlias = (
    Tell | Subscribe | Unsubscribe | Adjust | OpenData | ShutData | RouteData | Changed | Removed | Emptied | Happened
)
"""Anything a room asks for."""
