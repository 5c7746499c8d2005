"""Whose picture comes first where bandwidth is short: that of who speaks, before those of who listens.

::

    level > 0 ──▶ has the floor ──▶ silent for some seconds ──▶ has it no longer
                        │
                        └──▶ ranks higher with those subscribers whose path carries less than they show

Where there is enough for all nobody's rank matters, and nothing is said to the forwarder: in a room of hundreds each
change of speakers would else be hundreds of commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtpcore.room.effects import Adjust, Effect

if TYPE_CHECKING:
    from rtpcore.room.participant import Participant
    from rtpcore.room.room import Room
    from rtpcore.room.track import Subscription

__all__ = ["HOLD_MS", "expire", "is_short", "measure", "reconsider", "speaks"]

HOLD_MS = 5000
"""How long a speaker keeps the floor in silence. Less, and pictures change places in every pause for thought; more, and
the one who answers shares the place for longer with the one who asked."""


def speaks(room: Room, speaker: Participant) -> list[Effect]:
    """Somebody is heard, and has the floor from now on."""
    is_new = speaker not in room.floor
    room.floor[speaker] = None
    return _rerank(room, speaker) if is_new else []


def expire(room: Room, now_ms: int) -> list[Effect]:
    """Take the floor from those who have been silent for long enough."""
    effects: list[Effect] = []
    for speaker, silent_at_ms in list(room.floor.items()):
        if speaker.level:
            room.floor[speaker] = None
        elif silent_at_ms is None:
            room.floor[speaker] = now_ms
        elif now_ms - silent_at_ms >= HOLD_MS:
            del room.floor[speaker]
            effects += _rerank(room, speaker)
    return effects


def measure(room: Room, subscriber: Participant, bitrate_bps: int) -> list[Effect]:
    """What a subscriber's path is thought to carry has changed."""
    subscriber.path_bps = bitrate_bps
    return reconsider(room, subscriber)


def reconsider(room: Room, subscriber: Participant) -> list[Effect]:
    """Rank a subscriber's copies of those who have the floor; for when its path, or what it shows, has changed."""
    sids = [track.sid for speaker in room.floor for track in speaker.tracks.values() if track.is_face]
    known = [subscriber.subscriptions[sid] for sid in sids if sid in subscriber.subscriptions]
    if not known:
        return []
    is_ahead = is_short(subscriber)
    return [effect for one in known for effect in _rank(one, is_ahead=is_ahead)]


def is_short(subscriber: Participant) -> bool:
    """Whether a path carries less than what is shown there may cost: announced bitrates, and a quarter for the rest.

    The rest is sound and repair. Near this border everything is sent in full, so that it does not matter how often it
    is crossed.
    """
    path_bps, needed_bps = subscriber.path_bps, 0
    for one in subscriber.subscriptions.values():
        if not one.is_active or one.track.kind != "video" or one.settings.is_disabled:
            continue
        needed_bps += one.bitrate_bps
        if one.is_starved or (path_bps is not None and 4 * path_bps < 5 * needed_bps):
            return True
    return False


def _rerank(room: Room, speaker: Participant) -> list[Effect]:
    """Somebody has the floor, or has it no longer."""
    has_floor = speaker in room.floor
    known = [one for track in speaker.tracks.values() if track.is_face for one in track.subscriptions.values()]
    return [effect for one in known for effect in _rank(one, is_ahead=has_floor and is_short(one.subscriber))]


def _rank(subscription: Subscription, *, is_ahead: bool) -> list[Effect]:
    before = subscription.priority
    subscription.is_ahead = is_ahead
    return [Adjust(subscription)] if subscription.is_active and subscription.priority != before else []
