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


def wanted(track: Track) -> dict[str, int]:
    """By codec, the best quality that a subscriber shows; `NOTHING` where nobody shows any."""
    first, *_ = names = track.mime_types
    best = dict.fromkeys(names, NOTHING)
    for subscription in track.subscriptions.values():
        if subscription.is_active and not subscription.settings.is_disabled:
            name = subscription.mime_type or first
            best[name] = max(best.get(name, NOTHING), subscription.quality)
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
    # At first a publisher sends all of the first codec, and nothing of a backup.
    usual = dict.fromkeys(best, NOTHING) | {track.mime_types[0]: int(VideoQuality.HIGH)}
    asked = {name: track.asked.get(name, usual[name]) for name in best}
    more = {name: max(asked[name], quality) for name, quality in best.items()}
    if more == best:
        track.lower_at_ms = None
    elif track.lower_at_ms is None:
        track.lower_at_ms = max(now_ms + pause_ms, track.published_at_ms + _FIRST_MS)
    elif now_ms >= track.lower_at_ms:
        more, track.lower_at_ms = best, None
    track.asked = more
    return [] if more == asked else [Tell(track.publisher, message(track))]


def message(track: Track) -> SignalResponse:
    """What the publisher is told: in the old form of its first codec, and in the new one of each."""
    response = SignalResponse()
    told = response.subscribed_quality_update
    told.track_sid = track.sid
    for name in track.mime_types:
        qualities = [
            SubscribedQuality(quality=quality, enabled=quality <= track.asked[name])
            for quality in (VideoQuality.LOW, VideoQuality.MEDIUM, VideoQuality.HIGH)
        ]
        if not told.subscribed_codecs:
            told.subscribed_qualities.extend(qualities)
        told.subscribed_codecs.append(SubscribedCodec(codec=name.partition("/")[2], qualities=qualities))
    return response
