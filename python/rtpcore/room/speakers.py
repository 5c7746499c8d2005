"""Who speaks: levels of tracks become what subscribers are told, only what has changed, and several changes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtpcore.room import ranking
from rtpcore.room.effects import Effect, Tell
from rtpcore.wire.messages import SignalResponse, SpeakerInfo, TrackSource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rtpcore.room.participant import Participant
    from rtpcore.room.room import Room
    from rtpcore.room.track import Track

__all__ = ["WAITS_MS", "current", "flush", "heard", "silenced"]

WAITS_MS = 50
"""How long a change waits for others: the windows in which loudness is measured end together."""


def heard(room: Room, track: Track, level: float) -> list[Effect]:
    """The level of a track has changed; told with the next :func:`flush`, but who speaks ranks higher at once.

    Args:
        room: Where.
        track: Only microphones make speakers: the sound of a screen does not.
        level: 0 for silence, to 1.
    """
    speaker = track.publisher
    is_speaker = track.info.source == TrackSource.MICROPHONE and track.is_published and not track.info.muted
    if is_speaker and level != speaker.level:
        speaker.level = level
        room.louder[speaker.sid] = speaker
        if level:
            return ranking.speaks(room, speaker)
    return []


def silenced(track: Track) -> list[Effect]:
    """A track is muted or gone: nothing more will be heard of it, and that is told at once."""
    speaker = track.publisher
    if track.info.source != TrackSource.MICROPHONE or not speaker.level:
        return []
    speaker.level = 0.0
    told = _message([speaker])
    return [Tell(one, told) for one in (speaker, *_listeners(track))]


def flush(room: Room) -> list[Effect]:
    """Tell speakers, and those who are subscribed to them, what has changed."""
    changed = list(room.louder.values())
    room.louder.clear()
    by_listener: dict[Participant, list[Participant]] = {}
    for speaker in changed:
        microphones = [one for one in speaker.tracks.values() if one.info.source == TrackSource.MICROPHONE]
        listeners = dict.fromkeys([speaker, *(one for track in microphones for one in _listeners(track))])
        for listener in listeners:
            by_listener.setdefault(listener, []).append(speaker)
    # Most listeners hear the same speakers: one message serves them all.
    messages: dict[tuple[str, ...], SignalResponse] = {}
    effects: list[Effect] = []
    for listener, speakers in by_listener.items():
        key = tuple(one.sid for one in speakers)
        if key not in messages:
            messages[key] = _message(speakers)
        effects.append(Tell(listener, messages[key]))
    return effects


def current(participant: Participant, track: Track) -> list[Effect]:
    """What `participant` must know who has just subscribed to a track whose publisher is speaking."""
    if track.info.source != TrackSource.MICROPHONE or not track.publisher.level:
        return []
    return [Tell(participant, _message([track.publisher]))]


def _listeners(track: Track) -> Iterable[Participant]:
    return (one.subscriber for one in track.subscriptions.values() if one.is_active)


def _message(speakers: Iterable[Participant]) -> SignalResponse:
    response = SignalResponse()
    response.speakers_changed.speakers.extend(
        SpeakerInfo(sid=one.sid, level=one.level, active=one.level > 0) for one in speakers
    )
    return response
