"""Telling everybody of everybody: at once in small rooms, in batches in large ones.

A room of three hundred in which everybody comes and goes is a hundred thousand messages if each is told of each alone.
Those who publish are told of at once, and so are agents, for whom somebody waits; of those who only watch, several
changes make one message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtpcore.room.effects import Effect, Tell
from rtpcore.wire.messages import ParticipantInfo, SignalResponse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rtpcore.room.participant import Participant
    from rtpcore.room.room import Room

__all__ = ["announce", "flush", "updates", "waits_ms"]

_LARGE = 50
"""Participants from which changes wait."""

_LONGEST_MS = 1000


def waits_ms(room: Room) -> int:
    """How long changes may wait in a room of this size: a millisecond for each participant, and none in small ones."""
    count = len(room.participants)
    return min(count, _LONGEST_MS) if count >= _LARGE else 0


def announce(room: Room, who: Participant, *, to_itself: bool = False, can_wait: bool = False) -> list[Effect]:
    """Tell the others, and where asked itself, how a participant now is.

    Args:
        room: Where.
        who: Whose state, tracks or description has changed.
        to_itself: Its own client is to hear of it, at once.
        can_wait: The others may hear of it a little later; then the room has to be flushed.
    """
    who.version += 1
    info = who.info()
    to_all = room.others(who) if not who.is_hidden else ()
    if can_wait and who.kind != ParticipantInfo.Kind.AGENT and waits_ms(room):
        if not who.is_hidden:
            room.unannounced[who.sid] = info
        return [Tell(who, _update([info]))] if to_itself else []
    # What waits is older, and one identity may be in both under two sids.
    earlier = flush(room) if room.unannounced else []
    update = _update([info])
    told = [*to_all, who] if to_itself else to_all
    return [*earlier, *(Tell(one, update) for one in told)]


def flush(room: Room) -> list[Effect]:
    """Tell everybody what has waited."""
    infos = list(room.unannounced.values())
    room.unannounced.clear()
    return [
        Tell(one, update)
        for update in updates(infos, room.rules.max_update)
        for one in list(room.participants.values())
    ]


def updates(infos: Iterable[ParticipantInfo], most: int) -> Iterator[SignalResponse]:
    """Participants in messages of at most `most` bytes each, or of one participant that is larger; 0 is no limit."""
    batch: list[ParticipantInfo] = []
    size = 0
    for info in infos:
        length = info.ByteSize()
        if batch and 0 < most < size + length:
            yield _update(batch)
            batch, size = [], 0
        batch.append(info)
        size += length
    if batch:
        yield _update(batch)


def _update(infos: list[ParticipantInfo]) -> SignalResponse:
    response = SignalResponse()
    response.update.participants.extend(infos)
    return response
