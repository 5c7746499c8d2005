"""What happens in rooms, as lines of the log: who came and went, by sid; by name only where that is asked for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from rtpcore.log import Pii

if TYPE_CHECKING:
    from rtpcore.room import Happened, Room

__all__ = ["note"]

logger = logging.getLogger("rtpcore.rooms")


def note(room: Room, happened: Happened) -> None:
    """Write one event of a room down; a listener for `Host.on_event`."""
    words, extra = f"{happened.name}: room %s %s", {"event": happened.name, "room": room.sid}
    told: list[Any] = [room.sid, Pii(room.name)]
    participant, track = happened.participant, happened.track
    if participant is not None:
        words += ", participant %s %s"
        told += [participant.sid, Pii(participant.identity)]
        extra["participant"] = participant.sid
    if track is not None:
        words += ", track %s (%s)"
        told += [track.sid, track.kind]
        extra["track"] = track.sid
    logger.info(words, *told, extra=extra)
