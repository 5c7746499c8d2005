"""Who speaks: levels of tracks become what subscribers are told, and only what has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtpcore.room.effects import Effect, Tell
from rtpcore.wire.messages import SignalResponse, SpeakerInfo, TrackSource

if TYPE_CHECKING:
    from rtpcore.room.participant import Participant
    from rtpcore.room.track import Track

__all__ = ["current", "heard"]


def heard(track: Track, level: float) -> list[Effect]:
    """The level of a track has changed.

    Args:
        track: Only microphones make speakers: the sound of a screen does not.
        level: 0 for silence, to 1.
    """
    if track.info.source != TrackSource.MICROPHONE:
        return []
    speaker = track.publisher
    if not track.is_published or track.info.muted:
        level = 0.0
    if level == speaker.level:
        return []
    speaker.level = level
    told = _message([speaker])
    listeners = [one.subscriber for one in track.subscriptions.values() if one.is_active]
    return [Tell(one, told) for one in (speaker, *listeners)]


def current(participant: Participant, track: Track) -> list[Effect]:
    """What `participant` must know who has just subscribed to a track whose publisher is speaking."""
    if track.info.source != TrackSource.MICROPHONE or not track.publisher.level:
        return []
    return [Tell(participant, _message([track.publisher]))]


def _message(speakers: list[Participant]) -> SignalResponse:
    response = SignalResponse()
    response.speakers_changed.speakers.extend(
        SpeakerInfo(sid=one.sid, level=one.level, active=one.level > 0) for one in speakers
    )
    return response
