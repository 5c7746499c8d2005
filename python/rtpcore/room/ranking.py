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

__all__ = ["HOLD_MS", "expire", "is_short", "measure", "speaks", "weigh"]

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
    return _reconsider(room, subscriber)


def weigh(room: Room, subscription: Subscription) -> list[Effect]:
    """What a subscriber shows of a track has changed, or whether there is room for it on its path."""
    subscriber, sid = subscription.subscriber, subscription.track.sid
    is_shown = subscription.is_active and subscription.track.kind == "video" and not subscription.settings.is_disabled
    before, subscription.shown_bps = subscription.shown_bps, subscription.bitrate_bps if is_shown else 0
    subscriber.shown_bps += subscription.shown_bps - before
    if is_shown and subscription.is_starved:
        subscriber.starved.add(sid)
    else:
        subscriber.starved.discard(sid)
    return _reconsider(room, subscriber)


def is_short(subscriber: Participant) -> bool:
    """Whether a path carries less than what is shown there may cost: announced bitrates, and a quarter for the rest.

    The rest is sound and repair. Near this border everything is sent in full, so that it does not matter how often it
    is crossed.
    """
    path_bps = subscriber.path_bps
    return bool(subscriber.starved) or (path_bps is not None and 4 * path_bps < 5 * subscriber.shown_bps)


def _reconsider(room: Room, subscriber: Participant) -> list[Effect]:
    """Rank a subscriber's copies of those who have the floor."""
    sids = [track.sid for speaker in room.floor for track in speaker.tracks.values() if track.is_face]
    known = [subscriber.subscriptions[sid] for sid in sids if sid in subscriber.subscriptions]
    is_ahead = is_short(subscriber)
    return [effect for one in known for effect in _rank(one, is_ahead=is_ahead)]


def _rerank(room: Room, speaker: Participant) -> list[Effect]:
    """Somebody has the floor, or has it no longer."""
    has_floor = speaker in room.floor
    known = [one for track in speaker.tracks.values() if track.is_face for one in track.subscriptions.values()]
    return [effect for one in known for effect in _rank(one, is_ahead=has_floor and is_short(one.subscriber))]


def _rank(subscription: Subscription, *, is_ahead: bool) -> list[Effect]:
    before = subscription.priority
    subscription.is_ahead = is_ahead
    return [Adjust(subscription)] if subscription.is_active and subscription.priority != before else []
