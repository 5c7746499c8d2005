"""Which qualities of a track anybody wants, so that its publisher sends no others.

More is asked for at once, less only after a while: viewers come and go, and an encoder that starts again costs a
keyframe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtpcore.room.effects import Tell
from rtpcore.wire.messages import SignalResponse, SubscribedCodec, SubscribedQuality, TrackType, VideoQuality

if TYPE_CHECKING:
    from rtpcore.room.track import Track

__all__ = ["update", "wanted"]

NOTHING = -1
"""No quality at all: nobody watches."""

_FIRST_MS = 10_000
"""How long after its publication everything of a track is sent: its viewers are still arriving."""


def wanted(track: Track) -> int:
    """The best quality that a subscriber shows; `NOTHING` where nobody shows any."""
    best = NOTHING
    for subscription in track.subscriptions.values():
        if subscription.is_active and not subscription.settings.is_disabled:
            best = max(best, subscription.quality)
    return best


def update(track: Track, now_ms: int, pause_ms: int = 5000) -> list[Tell]:
    """Tell the publisher of a change that is due; call after changes, and every second or so.

    Args:
        track: A published track; audio is always sent.
        now_ms: Unix time.
        pause_ms: How long what nobody wants is still sent.
    """
    if track.info.type != TrackType.VIDEO or track.info.muted:
        return []
    best = wanted(track)
    if best >= track.asked_quality:
        track.lower_at_ms = None
        if best == track.asked_quality:
            return []
    elif track.lower_at_ms is None:
        track.lower_at_ms = max(now_ms + pause_ms, track.published_at_ms + _FIRST_MS)
        return []
    elif now_ms < track.lower_at_ms:
        return []
    track.lower_at_ms = None
    track.asked_quality = best
    return [Tell(track.publisher, message(track))]


def message(track: Track) -> SignalResponse:
    """What the publisher is told: in the old form without codecs, and in the new one for each."""
    qualities = [
        SubscribedQuality(quality=quality, enabled=quality <= track.asked_quality)
        for quality in (VideoQuality.LOW, VideoQuality.MEDIUM, VideoQuality.HIGH)
    ]
    response = SignalResponse()
    told = response.subscribed_quality_update
    told.track_sid = track.sid
    told.subscribed_qualities.extend(qualities)
    for mime_type in track.mime_types:
        name = mime_type.partition("/")[2].lower()
        told.subscribed_codecs.append(SubscribedCodec(codec=name, qualities=qualities))
    return response
