"""How well each participant is connected: a score of its tracks, and of the copies it gets, told when it changes.

::

    counts of a window ──▶ Scorer of each track and copy ──▶ the worst of a participant ──▶ its client and subscribers

The score goes from 0 to 100 and falls with loss, with delay (by the E-model, ITU-T G.107) and with layers of a
simulcast track that do not come. It falls quickly and rises slowly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtpcore.room.effects import Effect, Tell
from rtpcore.wire.messages import ConnectionQuality, ConnectionQualityInfo, SignalResponse, TrackType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rtpcore.room.participant import Participant
    from rtpcore.room.room import Room
    from rtpcore.room.track import Subscription, Track

__all__ = ["INTERVAL_MS", "Sample", "Scorer", "rate"]

INTERVAL_MS = 5000
"""How often connections are judged."""

_BEST, _FLOOR = 100.0, 30.0
_RISE, _FALL = 0.4, 0.8
_LOSS_WEIGHTS = {"video": 10.0, "audio": 8 / 1.5, "red": 4.0}
"""Points for each percent of lost packets; opus repairs some of them by itself, RED most."""
_LAYER_WEIGHT = 35.0
_SETTLING_MS = 10_000
"""How long an encoder may take to send all layers of a new track."""
_THRESHOLDS = (
    (80, ConnectionQuality.EXCELLENT),
    (40, ConnectionQuality.GOOD),
    (20, ConnectionQuality.POOR),
)
_HAS_QUALITY, _HAS_LOST = 5, 11
"""Versions of the protocol from which clients know of qualities, and of a lost connection."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was counted of one stream of packets since it began.

    Attributes:
        packets: That came, or were sent.
        lost: That never came; of what is sent, as the subscriber reports. None for as many as `fraction_lost` says.
        fraction_lost: Of the packets of late, 0 to 1.
        jitter_ms: Interarrival jitter.
        round_trip_ms: To the other end and back.
        layers: Encodings that flow.
    """

    packets: int
    lost: int | None = None
    fraction_lost: float = 0.0
    jitter_ms: float = 0.0
    round_trip_ms: float = 0.0
    layers: int = 1


class Scorer:
    """The score of one stream of packets."""

    def __init__(self) -> None:
        """Begin with the best."""
        self.score = _BEST
        self._packets = 0
        self._lost = 0

    def update(self, sample: Sample, kind: str, *, missing: int = 0) -> None:
        """Judge one more window.

        Args:
            sample: Counted at its end.
            kind: ``video``, ``audio`` or ``red``.
            missing: Layers that should flow and do not.
        """
        packets = max(0, sample.packets - self._packets)
        lost = sample.fraction_lost * packets if sample.lost is None else max(0, sample.lost - self._lost)
        self._packets, self._lost = sample.packets, sample.lost or 0
        if not packets and not lost:
            return  # Idle, in DTX or paused: there is nothing to judge it by.
        loss = 100 * lost / (packets + lost if sample.lost is not None else packets)
        points = _BEST - _LOSS_WEIGHTS[kind] * loss - _delay_points(sample) - _LAYER_WEIGHT * missing
        points = max(_FLOOR, points)
        self.score += (points - self.score) * (_RISE if points > self.score else _FALL)

    def starve(self) -> None:
        """Judge a window in which the stream was paused for want of bandwidth: as bad as one that flows can be."""
        self.score = _FLOOR

    def reset(self) -> None:
        """Begin again with the best, since the stream was muted, or is not wanted now."""
        self.score = _BEST


def rate(
    room: Room,
    published: Mapping[str, Sample],
    subscribed: Mapping[tuple[str, str], Sample],
    silent: frozenset[str],
    now_ms: int,
) -> list[Effect]:
    """Judge everybody's connection, and tell whom it concerns where one has changed.

    Args:
        room: Where.
        published: What came of tracks, by sid.
        subscribed: What was sent of copies, by the sids of subscriber and track.
        silent: Sids of participants from whose peer connections not one packet came since the last time.
        now_ms: Unix time.
    """
    for participant in room.participants.values():
        for track in participant.tracks.values():
            if track.info.muted:
                track.scorer.reset()
            elif track.sid in published:
                sample = published[track.sid]
                track.scorer.update(sample, _kind(track), missing=_missing(track, sample, now_ms))
        for subscription in _active(participant):
            key = (participant.sid, subscription.track.sid)
            if subscription.settings.is_disabled:
                # Nothing is sent: neither what was counted before nor a pause for want of bandwidth says anything.
                subscription.scorer.reset()
            elif subscription.is_starved:
                subscription.scorer.starve()
            elif key in subscribed:
                subscription.scorer.update(subscribed[key], _kind(subscription.track))
    for participant in room.participants.values():
        participant.score, participant.quality = _judge(participant, is_silent=participant.sid in silent)
    effects: list[Effect] = []
    for participant in room.participants.values():
        effects += _tell(participant)
    return effects


def _judge(participant: Participant, *, is_silent: bool) -> tuple[float, int]:
    """The worst score of what a participant sends and gets, and the quality that it means."""
    scores = [track.scorer.score for track in participant.tracks.values() if not track.info.muted]
    if is_silent and scores:
        # Clients join anew after some seconds of this: it must be sure.
        return 0.0, ConnectionQuality.LOST
    scores += [one.scorer.score for one in _active(participant)]
    score = min(scores, default=_BEST)
    return score, next((quality for least, quality in _THRESHOLDS if score > least), ConnectionQuality.POOR)


def _tell(participant: Participant) -> list[Effect]:
    """What a participant does not know yet of its own connection and of those whose tracks it gets."""
    protocol = participant.client.protocol
    if protocol < _HAS_QUALITY:
        return []
    publishers = {one.track.publisher.sid: one.track.publisher for one in _active(participant)}
    about = {participant.sid: participant, **publishers}
    now = {sid: one.quality for sid, one in about.items()}
    response = SignalResponse()
    for sid, quality in now.items():
        if participant.told_qualities.get(sid) != quality:
            shown = ConnectionQuality.POOR if quality == ConnectionQuality.LOST and protocol < _HAS_LOST else quality
            info = ConnectionQualityInfo(participant_sid=sid, score=_opinion(about[sid].score))
            info.quality = shown  # type: ignore[assignment]
            response.connection_quality.updates.append(info)
    participant.told_qualities = now
    return [Tell(participant, response)] if response.connection_quality.updates else []


def _active(participant: Participant) -> Iterator[Subscription]:
    return (one for one in participant.subscriptions.values() if one.is_active)


def _missing(track: Track, sample: Sample, now_ms: int) -> int:
    """How many layers of a simulcast track its publisher was asked for and does not send."""
    if not track.info.simulcast or now_ms - track.published_at_ms < _SETTLING_MS:
        return 0
    asked = track.asked.get(track.mime_types[0])
    wanted = sum(1 for layer in track.info.layers if asked is None or layer.quality <= asked)
    return max(0, wanted - sample.layers)


def _kind(track: Track) -> str:
    if track.info.type == TrackType.VIDEO:
        return "video"
    return "red" if track.info.mime_type.lower() == "audio/red" else "audio"


def _delay_points(sample: Sample) -> float:
    """What delay costs, as the E-model has it in a shortened form: little up to a sixth of a second, then a lot."""
    delay = sample.round_trip_ms / 2 + 2 * sample.jitter_ms
    return delay / 40 if delay < 160 else (delay - 120) / 10


def _opinion(score: float) -> float:
    """A score as a mean opinion score, 1 to 4.5 (ITU-T G.107, annex B).

    >>> round(_opinion(100), 1), round(_opinion(0), 1)
    (4.5, 1.0)
    """
    return 1 + 0.035 * score + 7e-6 * score * (score - 60) * (100 - score)
