"""Why a subscriber sees what it sees: its path, and each track that it is subscribed to, in values and in words.

::

    room: who wants what, who may ─┐
    connection: what was agreed on ├──▶ explain() ──▶ Participant.why(), GET /rtpcore/why, the page's details
    snapshot: what was counted ────┘

Pure. What the limits and causes mean for somebody who wants a better picture: ``docs/howto/small-video.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtpcore.events import Layer
from rtpcore.policy import source_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtpcore.copies import Copy
    from rtpcore.peer import Peer
    from rtpcore.room import Participant, Subscription
    from rtpcore.snapshot import Snapshot
    from rtpcore.stats import EncodingStats, SenderStats
    from rtpcore.wire.messages import VideoLayer

__all__ = ["CAUSES", "LIMITS", "ExplainedPath", "ExplainedTrack", "Explanation", "Picture", "Repairs", "explain"]

LIMITS = {
    "none": "gets everything that its publisher sends",
    "wish": "its client asks for no larger picture",
    "paused": "its client has switched it off, since it does not show it now",
    "bandwidth": "its path carries no more",
    "publisher": "its publisher sends nothing better, or nothing at all",
    "muted": "its publisher has muted it",
    "keyframe": "waits for a keyframe to begin with",
    "source": "nothing of it has come to this server",
    "negotiation": "its client has not agreed yet on how it is sent",
    "unsubscribed": "its client has unsubscribed, or takes none of its codecs",
    "forbidden": "its publisher, its token or the application does not let it have it",
    "too_many": "it has as many tracks as this server lets it have at once",
}
"""Why a subscriber does not get more of a track, in words behind its name."""

_STARVED = "paused: its path has no room for even the smallest picture"

CAUSES = {
    "start": "nothing has shown yet that it is less or more: this is where it begins",
    "delay": "packets begin to wait where more is sent, or more was not tried yet",
    "loss": "packets get lost",
    "remb": "its client says so (REMB)",
    "probe": "a probe got through",
    "silence": "its client's feedback stays away",
    "maximum": "as much as the settings allow",
}
"""What an estimate goes by, in words."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A layer of video.

    Attributes:
        spatial: Simulcast encoding or SVC spatial layer, 0 the smallest.
        temporal: Temporal layer, 0 the slowest; None for every frame.
        width: Pixels: those of its last keyframe, else as its publisher announced them; 0 for unknown.
        height: Likewise.
    """

    spatial: int
    temporal: int | None
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Repairs:
    """What was done against loss since the copy began.

    Attributes:
        nacks: Packets that the subscriber asked for again, repeats included.
        retransmitted: Packets sent again.
        fec_packets: Repair packets sent in advance of loss (FlexFEC).
    """

    nacks: int = 0
    retransmitted: int = 0
    fec_packets: int = 0


@dataclass(frozen=True, slots=True)
class ExplainedTrack:
    """One track that a participant is subscribed to.

    Attributes:
        publisher: Identity.
        track_sid: Which track.
        kind: ``audio`` or ``video``.
        source: ``camera``, ``microphone``, ``screen_share``, ``screen_share_audio`` or ``unknown``.
        limit: Why it does not get more: a key of `LIMITS`.
        reason: The same in words.
        layer: What is forwarded now; None for audio, and while nothing is.
        granted: The most that the path has room for; None for audio, while paused, and where no bandwidth is shared.
        wished: The most that the client wants, as far as the publisher sends it; None for audio.
        keyframe_wait_ms: How long the last keyframe that it needed was waited for; None before the first.
        fraction_lost: Loss that the client reported last, 0 to 1.
        round_trip_ms: By the client's reports; None before the first.
        repairs: What was done against loss.
        playout_delay_ms: How long the client is told to hold pictures back against loss.
    """

    publisher: str
    track_sid: str
    kind: str
    source: str
    limit: str
    reason: str
    layer: Picture | None = None
    granted: Picture | None = None
    wished: Picture | None = None
    keyframe_wait_ms: int | None = None
    fraction_lost: float = 0.0
    round_trip_ms: int | None = None
    repairs: Repairs = Repairs()
    playout_delay_ms: int = 0


@dataclass(frozen=True, slots=True)
class ExplainedPath:
    """What is thought of the way to a participant.

    Attributes:
        estimate_bps: All media together.
        cause: What the estimate goes by: a key of `CAUSES`.
        reason: The same in words.
        video_budget_bps: What video may cost, audio and repairs taken off; None where nothing bounds it, because the
            client promised feedback and gives none.
        granted_bps: What the layers cost that it is granted.
    """

    estimate_bps: int
    cause: str
    reason: str
    video_budget_bps: int | None
    granted_bps: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """A participant as one who receives.

    Attributes:
        identity: Who.
        path: None where nothing is estimated: no video goes there, or its client gives no feedback.
        tracks: Those it is subscribed to, in the order in which that began.
    """

    identity: str
    path: ExplainedPath | None = None
    tracks: tuple[ExplainedTrack, ...] = ()


def explain(participant: Participant, peer: Peer | None, snapshot: Snapshot) -> Explanation:
    """Why a participant gets what it gets.

    Args:
        participant: Who receives.
        peer: Its connections; None where it has none any more.
        snapshot: What was counted, at most ``Media.stats_interval_ms`` ago.
    """
    copies = {} if peer is None else peer.subscriber.copies
    tracks = (_track(one, copies.get(sid), snapshot) for sid, one in participant.subscriptions.items())
    return Explanation(participant.identity, None if peer is None else _path(peer, snapshot), tuple(tracks))


def _path(peer: Peer, snapshot: Snapshot) -> ExplainedPath | None:
    connection = peer.subscriber
    stats = snapshot.transport(connection.transport) if connection.is_begun else None
    if stats is None or stats.bandwidth is None:
        return None
    bandwidth = stats.bandwidth
    reason = CAUSES.get(bandwidth.cause, bandwidth.cause)
    return ExplainedPath(
        bandwidth.estimate_bps, bandwidth.cause, reason, bandwidth.video_budget_bps, bandwidth.granted_bps
    )


def _track(subscription: Subscription, copy: Copy | None, snapshot: Snapshot) -> ExplainedTrack:
    track = subscription.track
    stats = None if copy is None or copy.sender is None else snapshot.sender(copy.sender)
    limit = _limit(subscription, copy, stats)
    is_starved = limit == "bandwidth" and stats is not None and stats.layer is None
    facts = track.publisher.identity, track.sid, track.kind, source_name(track.info.source), limit
    reason = _STARVED if is_starved else LIMITS.get(limit, limit)
    if copy is None or stats is None:
        return ExplainedTrack(*facts, reason)
    encodings = _encodings(copy, snapshot)

    def picture(layer: Layer | None) -> Picture | None:
        if layer is None or track.kind != "video":
            return None
        return _picture(layer, encodings, track.info.layers)

    return ExplainedTrack(
        *facts,
        reason,
        layer=picture(stats.layer),
        # What a copy was granted before its client switched it off says nothing of now.
        granted=None if limit == "paused" else picture(stats.granted),
        wished=picture(stats.wished),
        keyframe_wait_ms=stats.keyframe_wait_ms,
        fraction_lost=stats.fraction_lost,
        round_trip_ms=stats.round_trip_ms,
        repairs=Repairs(stats.nacks, stats.retransmitted, stats.fec_packets),
        playout_delay_ms=stats.playout_delay_ms,
    )


def _limit(subscription: Subscription, copy: Copy | None, stats: SenderStats | None) -> str:
    """The first reason that holds: who wants and may have it, then what was agreed on, then what was counted."""
    if not subscription.is_wanted:
        return "unsubscribed"
    if not (subscription.is_allowed and subscription.subscriber.permission.can_subscribe):
        return "forbidden"
    if not subscription.is_active:
        return "too_many"
    if subscription.settings.is_disabled:
        return "paused"
    if subscription.track.info.muted:
        return "muted"
    if copy is None or copy.parameters is None:
        return "negotiation"
    return "source" if stats is None else stats.limit


def _encodings(copy: Copy, snapshot: Snapshot) -> tuple[EncodingStats, ...]:
    receiver = copy.sources.receivers.get(copy.mime_type)
    stats = None if receiver is None else snapshot.receiver(receiver)
    return () if stats is None else stats.encodings


def _picture(layer: Layer, encodings: Sequence[EncodingStats], announced: Sequence[VideoLayer]) -> Picture:
    top = max(len(encodings), len(announced), 1) - 1
    spatial = min(layer.spatial, top)
    # The one encoding of SVC has the size of its largest layer.
    seen = encodings[spatial if len(encodings) > 1 else 0].size if encodings else None
    if seen is None or (len(encodings) == 1 and spatial < top):
        told = announced[min(spatial, len(announced) - 1)] if announced else None
        seen = (0, 0) if told is None else (told.width, told.height)
    return Picture(spatial, None if layer.temporal >= Layer().temporal else layer.temporal, *seen)
