"""One participant of a room, as others see it and as it may act."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rtpcore.wire.messages import ClientInfo, ConnectionQuality, ParticipantInfo, ParticipantPermission, TrackSource

if TYPE_CHECKING:
    from rtpcore.room.datatracks import DataTrack
    from rtpcore.room.track import Subscription, Track, TrackSettings

__all__ = ["Participant"]


@dataclass(eq=False, slots=True)
class Participant:
    """Somebody in a room.

    Attributes:
        joined_at_ms: Unix time.
        kind_details: Of which sort of its kind, as `ParticipantInfo.KindDetail`.
        permission: What it may do; by its token, later by the server API.
        client: Its SDK; peers choose protocols by it.
        is_dependent: Agents and recorders: neither counted nor reason to keep a room open.
        auto_subscribe: Gets every track unless it says otherwise.
        auto_subscribe_data: Gets every data track without asking.
        adaptive_stream: Says what it shows, and gets the smallest layer until then.
        pending: Tracks announced, without media yet, oldest first.
        tracks: Tracks with media, by sid.
        data_tracks: By sid.
        last_handle: The highest number under which it was given a data track.
        subscriptions: By the track's sid.
        wishes: Tracks that it asked for before they were there, with when (Unix time in ms); None where it wants none.
        early_settings: What it said of tracks that it did not have yet.
        granted: By subscriber sid or identity, the track sids it may take, None for all; None lets everybody.
        score: How well it is connected, 0 to 100 (see `rtpcore.room.quality`).
        quality: The `ConnectionQuality` that this means.
        told_qualities: Those of which it was told last, by sid.
        level: How loud it speaks, 0 for not at all, to 1.
        path_bps: What the path to it is thought to carry; None before that is known.
        shown_bps: What all that it shows may cost.
        starved: The sids of tracks that it shows and for which its path has no room.
    """

    sid: str
    identity: str
    joined_at_ms: int
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    kind: int = ParticipantInfo.Kind.STANDARD
    kind_details: tuple[int, ...] = ()
    permission: ParticipantPermission = field(default_factory=ParticipantPermission)
    client: ClientInfo = field(default_factory=ClientInfo)
    is_dependent: bool = False
    auto_subscribe: bool = True
    auto_subscribe_data: bool = False
    adaptive_stream: bool = False
    state: ParticipantInfo.State = ParticipantInfo.State.JOINING
    version: int = 0
    disconnect_reason: int = 0
    pending: list[Track] = field(default_factory=list)
    tracks: dict[str, Track] = field(default_factory=dict)
    data_tracks: dict[str, DataTrack] = field(default_factory=dict)
    last_handle: int = 0
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    wishes: dict[str, int | None] = field(default_factory=dict)
    early_settings: dict[str, TrackSettings] = field(default_factory=dict)
    granted: dict[str, frozenset[str] | None] | None = None
    score: float = 100.0
    quality: int = ConnectionQuality.EXCELLENT
    told_qualities: dict[str, int] = field(default_factory=dict)
    level: float = 0.0
    path_bps: int | None = None
    shown_bps: int = 0
    starved: set[str] = field(default_factory=set)

    @property
    def is_hidden(self) -> bool:
        """Nobody is told of it."""
        return self.permission.hidden

    def info(self) -> ParticipantInfo:
        """What others are told."""
        info = ParticipantInfo(
            sid=self.sid,
            identity=self.identity,
            name=self.name,
            state=self.state,
            metadata=self.metadata,
            attributes=self.attributes,
            joined_at=self.joined_at_ms // 1000,
            joined_at_ms=self.joined_at_ms,
            version=self.version,
            permission=self.permission,
            is_publisher=bool(self.tracks),
            kind=self.kind,  # type: ignore[arg-type]
            kind_details=self.kind_details,  # type: ignore[arg-type]
            client_protocol=self.client.client_protocol,
            capabilities=self.client.capabilities,
            tracks=[track.info for track in self.tracks.values()],
            data_tracks=[track.info for track in self.data_tracks.values()],
        )
        info.disconnect_reason = self.disconnect_reason  # type: ignore[assignment]
        return info

    def may_publish(self, source: TrackSource) -> bool:
        """Whether it may publish from this source."""
        if not self.permission.can_publish:
            return False
        return not self.permission.can_publish_sources or source in self.permission.can_publish_sources

    def lets(self, subscriber: Participant, track_sid: str) -> bool:
        """Whether its subscription permission lets `subscriber` have a track."""
        if self.granted is None:
            return True
        for name in (subscriber.sid, subscriber.identity):
            if name in self.granted:
                allowed = self.granted[name]
                return allowed is None or track_sid in allowed
        return False

    def find(self, track_sid: str) -> Track | None:
        """Its track with this sid, published or pending."""
        return self.tracks.get(track_sid) or next((one for one in self.pending if one.sid == track_sid), None)
