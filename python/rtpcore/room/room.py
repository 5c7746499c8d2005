"""The room itself: every change goes through here and comes out as effects.

::

    AddTrack ──▶ pending ──media──▶ published ──▶ others are told ──▶ subscriptions ──▶ copies are sent
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rtpcore.room import announcing, datatracks, dynacast, publishing, quality, ranking, speakers, subscribing
from rtpcore.room.effects import Changed, Effect, Emptied, Happened, Removed, Tell
from rtpcore.room.rules import Rules
from rtpcore.wire.messages import DisconnectReason, LeaveRequest, ParticipantInfo, SignalResponse
from rtpcore.wire.messages import Room as RoomInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rtpcore.room.participant import Participant
    from rtpcore.room.quality import Sample
    from rtpcore.room.track import Track
    from rtpcore.wire.messages import (
        AddTrackRequest,
        ParticipantPermission,
        RoomAgentDispatch,
        SubscriptionPermission,
        UpdateSubscription,
        UpdateTrackSettings,
    )

__all__ = ["Room"]

_COUNT_INTERVAL_MS = 5000
"""How often clients are told how many are in the room."""


@dataclass(eq=False, slots=True)
class Room:
    """Participants of one room, by identity.

    Attributes:
        name: Unique on a server.
        sid: Unique for ever: a room that is made again has another one.
        created_at_ms: Unix time.
        empty_timeout: Seconds that it waits for its first participant.
        departure_timeout: Seconds that it outlives its last one.
        max_participants: Dependent ones not counted; 0 for any number.
        rules: What its participants may do.
        agents: Those asked for when it was made; none for whoever serves every room.
        emptied_at_ms: Since when nobody counts who is there; None while somebody does.
        unannounced: By sid, what others are still to be told of participants (see `rtpcore.room.announcing`).
        louder: By sid, those whose loudness has changed and who are still to be told of.
        floor: Those who have the floor, with since when they are silent (Unix time in ms); None while they speak.
        told_counts: Participants and publishers, as everybody was told last, and when (`counted_at_ms`, Unix time).
    """

    name: str
    sid: str
    created_at_ms: int
    empty_timeout: int = 300
    departure_timeout: int = 20
    max_participants: int = 0
    metadata: str = ""
    rules: Rules = field(default_factory=Rules)
    agents: tuple[RoomAgentDispatch, ...] = ()
    participants: dict[str, Participant] = field(default_factory=dict)
    was_joined: bool = False
    emptied_at_ms: int | None = None
    unannounced: dict[str, ParticipantInfo] = field(default_factory=dict)
    louder: dict[str, Participant] = field(default_factory=dict)
    floor: dict[Participant, int | None] = field(default_factory=dict)
    told_counts: tuple[int, int] = (0, 0)
    counted_at_ms: int = 0

    def info(self) -> RoomInfo:
        """What clients and the server API are told of it."""
        counted = [one for one in self.participants.values() if not one.is_dependent and not one.is_hidden]
        return RoomInfo(
            sid=self.sid,
            name=self.name,
            empty_timeout=self.empty_timeout,
            departure_timeout=self.departure_timeout,
            max_participants=self.max_participants,
            creation_time=self.created_at_ms // 1000,
            creation_time_ms=self.created_at_ms,
            metadata=self.metadata,
            num_participants=len(counted),
            num_publishers=sum(1 for one in self.participants.values() if one.tracks),
        )

    def others(self, participant: Participant) -> Iterator[Participant]:
        """Everybody else."""
        return (one for one in self.participants.values() if one is not participant)

    def visible_to(self, participant: Participant) -> list[ParticipantInfo]:
        """The others as `participant` may see them."""
        return [one.info() for one in self.others(participant) if not one.is_hidden]

    def find_track(self, sid: str) -> Track | None:
        """A published track."""
        return next((one.tracks[sid] for one in self.participants.values() if sid in one.tracks), None)

    @property
    def is_full(self) -> bool:
        """Whether another participant that counts would be one too many."""
        counted = sum(1 for one in self.participants.values() if not one.is_dependent)
        return bool(self.max_participants) and counted >= self.max_participants

    def is_over(self, now_ms: int) -> bool:
        """Whether nobody came in time, or nobody came back."""
        if any(not one.is_dependent for one in self.participants.values()):
            return False
        if not self.was_joined:
            return now_ms - self.created_at_ms >= 1000 * self.empty_timeout
        return self.emptied_at_ms is not None and now_ms - self.emptied_at_ms >= 1000 * self.departure_timeout

    ##### Coming and going

    def join(self, participant: Participant) -> list[Effect]:
        """Take somebody in; the same identity must have left before."""
        effects: list[Effect] = []
        if not self.was_joined:
            effects.append(Happened("room_started"))
        self.was_joined = True
        self.emptied_at_ms = None
        participant.state = ParticipantInfo.State.JOINED
        self.participants[participant.identity] = participant
        effects += self.announce(participant, can_wait=True)
        for track in [track for other in self.others(participant) for track in other.tracks.values()]:
            effects += subscribing.offer(self, track, participant)
        return [*effects, *datatracks.offer_all(self, participant)]

    def activate(self, participant: Participant) -> list[Effect]:
        """Its media can flow."""
        if participant.state != ParticipantInfo.State.JOINED:
            return []
        participant.state = ParticipantInfo.State.ACTIVE
        announced = self.announce(participant, can_wait=not participant.tracks)
        return [*announced, Happened("participant_joined", participant)]

    def leave(self, participant: Participant, reason: DisconnectReason, now_ms: int) -> list[Effect]:
        """Let somebody go; its client is not told (see :meth:`remove`)."""
        if self.participants.get(participant.identity) is not participant:
            return []
        self.floor.pop(participant, None)
        was_publisher = bool(participant.tracks)
        was_active = participant.state == ParticipantInfo.State.ACTIVE
        effects: list[Effect] = []
        for subscription in list(participant.subscriptions.values()):
            effects += subscribing.end(self, subscription)
        for track in list(participant.tracks.values()):
            effects += publishing.end(self, track)
        effects += datatracks.leave(self, participant)
        participant.pending.clear()
        participant.state = ParticipantInfo.State.DISCONNECTED
        participant.disconnect_reason = reason
        effects += self.announce(participant, can_wait=not was_publisher)
        self.louder.pop(participant.sid, None)
        del self.participants[participant.identity]
        emptied: list[Effect] = []
        if all(one.is_dependent for one in self.participants.values()):
            self.emptied_at_ms = now_ms
            emptied = [] if participant.is_dependent else [Emptied()]
        name = "participant_left" if was_active else "participant_connection_aborted"
        return [*effects, Removed(participant, reason), Happened(name, participant), *emptied]

    def remove(self, participant: Participant, reason: DisconnectReason, now_ms: int) -> list[Effect]:
        """Send somebody away for good, and say so to its client."""
        leave = LeaveRequest(reason=reason, action=LeaveRequest.Action.DISCONNECT)
        return [Tell(participant, SignalResponse(leave=leave)), *self.leave(participant, reason, now_ms)]

    def close(self, reason: DisconnectReason, now_ms: int) -> list[Effect]:
        """Send everybody away."""
        effects: list[Effect] = []
        for participant in list(self.participants.values()):
            effects += self.remove(participant, reason, now_ms)
        return [*effects, Happened("room_finished")]

    ##### What participants are and may do

    def announce(self, participant: Participant, *, to_itself: bool = False, can_wait: bool = False) -> list[Effect]:
        """Tell how a participant now is; see :func:`rtpcore.room.announcing.announce`."""
        return announcing.announce(self, participant, to_itself=to_itself, can_wait=can_wait)

    def flush(self) -> list[Effect]:
        """Tell what has waited: call it so long after a change as :attr:`waits_ms` says, where that is not None."""
        return [*speakers.flush(self), *announcing.flush(self)]

    @property
    def waits_ms(self) -> int | None:
        """How long what has changed may wait to be told; None where nothing waits."""
        if self.unannounced:
            return announcing.waits_ms(self)
        return speakers.WAITS_MS if self.louder else None

    def update_participant(
        self,
        participant: Participant,
        *,
        name: str = "",
        metadata: str = "",
        attributes: Mapping[str, str] | None = None,
        permission: ParticipantPermission | None = None,
    ) -> list[Effect]:
        """Change what is not empty; an attribute set to nothing is removed."""
        participant.name = name or participant.name
        participant.metadata = metadata or participant.metadata
        for key, value in (attributes or {}).items():
            if value:
                participant.attributes[key] = value
            else:
                participant.attributes.pop(key, None)
        if permission is not None:
            participant.permission = permission
        effects = [*self.announce(participant, to_itself=True), Changed(participant)]
        if permission is not None:
            for track in list(participant.tracks.values()):
                if not participant.may_publish(track.info.source):
                    effects += self.revoke(track)
            effects += subscribing.reconsider(self, participant)
            effects += datatracks.reconsider(self, participant)
        return effects

    def update_room(self, metadata: str) -> list[Effect]:
        """Change the room's metadata and tell everybody."""
        self.metadata = metadata
        return self._tell_all(self.info())

    ##### Tracks

    def add_track(self, participant: Participant, request: AddTrackRequest, sid: str) -> list[Effect]:
        """A client announces a track (AddTrack); `sid` is a fresh one."""
        return publishing.add(participant, request, sid, self.rules)

    def publish(self, track: Track, now_ms: int) -> list[Effect]:
        """The first packet of an announced track came."""
        participant = track.publisher
        if track.is_published or track not in participant.pending:
            return []
        participant.pending.remove(track)
        participant.tracks[track.sid] = track
        track.is_published, track.published_at_ms = True, now_ms
        effects = [*self.announce(participant), Happened("track_published", participant, track)]
        for other in self.others(participant):
            effects += subscribing.offer(self, track, other)
        return effects

    def begin_codec(self, track: Track, codec: int, now_ms: int) -> list[Effect]:
        """The first packet of one of a track's codecs came; the track is published with its first one."""
        track.live.add(codec)
        effects = self.publish(track, now_ms) if 0 in track.live else []
        return [*effects, *publishing.settle_codecs(self, track)]

    def end_codec(self, track: Track, codec: int) -> list[Effect]:
        """The media section of one of a track's codecs is gone; without its first one so is the track."""
        track.live.discard(codec)
        return self.unpublish(track) if codec == 0 else publishing.settle_codecs(self, track)

    def unpublish(self, track: Track) -> list[Effect]:
        """A track's media section is gone."""
        participant = track.publisher
        if track in participant.pending:
            participant.pending.remove(track)
        if track.sid not in participant.tracks:
            return []
        quiet = speakers.silenced(track)
        return [
            *quiet,
            *publishing.end(self, track),
            *self.announce(participant),
            Happened("track_unpublished", participant, track),
        ]

    def revoke(self, track: Track) -> list[Effect]:
        """The server ends a track; its client is told to stop sending."""
        gone = SignalResponse()
        gone.track_unpublished.track_sid = track.sid
        return [Tell(track.publisher, gone), *self.unpublish(track)]

    def mute(self, track: Track, *, is_muted: bool, by_server: bool = False) -> list[Effect]:
        """A track is silent, or heard again."""
        track.info.muted = is_muted
        effects: list[Effect] = speakers.silenced(track) if is_muted else []
        if by_server:
            message = SignalResponse()
            message.mute.sid, message.mute.muted = track.sid, is_muted
            effects.append(Tell(track.publisher, message))
        return effects if not track.is_published else [*effects, *self.announce(track.publisher, to_itself=True)]

    def hear(self, track: Track, level: float) -> list[Effect]:
        """A track is louder or quieter than before, 0 to 1."""
        return speakers.heard(self, track, level)

    def change_track(self, track: Track) -> list[Effect]:
        """Tell of a track whose description was changed."""
        return self.announce(track.publisher, to_itself=True) if track.is_published else []

    def check(self, now_ms: int) -> list[Effect]:
        """Do what time alone brings.

        Fewer qualities are asked of publishers, hopeless wishes are refused, and who is silent loses the floor.
        """
        effects = [*self._tell_counts(now_ms), *ranking.expire(self, now_ms)]
        for participant in self.participants.values():
            effects += subscribing.expire(participant, now_ms)
            for track in participant.tracks.values():
                effects += self.ask_for(track, now_ms)
        return effects

    def _tell_counts(self, now_ms: int) -> list[Effect]:
        """How many are there, in moderation."""
        info = self.info()
        counts = (info.num_participants, info.num_publishers)
        if counts == self.told_counts or now_ms - self.counted_at_ms < _COUNT_INTERVAL_MS:
            return []
        self.told_counts, self.counted_at_ms = counts, now_ms
        return self._tell_all(info)

    def _tell_all(self, info: RoomInfo) -> list[Effect]:
        update = SignalResponse()
        update.room_update.room.CopyFrom(info)
        return [Tell(one, update) for one in self.participants.values()]

    def rate(
        self,
        published: Mapping[str, Sample],
        subscribed: Mapping[tuple[str, str], Sample],
        silent: frozenset[str],
        now_ms: int,
    ) -> list[Effect]:
        """Judge connections by what was counted; see :func:`rtpcore.room.quality.rate`."""
        return quality.rate(self, published, subscribed, silent, now_ms)

    def ask_for(self, track: Track, now_ms: int) -> list[Effect]:
        """Ask a track's publisher for the qualities that somebody wants, where that has changed."""
        return [*dynacast.update(track, now_ms, self.rules.dynacast_pause_ms)]

    ##### Subscriptions

    def update_subscription(self, participant: Participant, request: UpdateSubscription, now_ms: int) -> list[Effect]:
        """A client wants tracks, or no longer."""
        sids = [*request.track_sids, *(sid for one in request.participant_tracks for sid in one.track_sids)]
        effects: list[Effect] = []
        for sid in dict.fromkeys(sids):
            effects += subscribing.wish(self, participant, sid, is_wanted=request.subscribe, now_ms=now_ms)
        return effects

    def refuse(self, participant: Participant, sid: str) -> list[Effect]:
        """A client can take no codec of a track."""
        return subscribing.wish(self, participant, sid, is_wanted=False, now_ms=0)

    def choose_codec(self, participant: Participant, sid: str, mime_type: str, now_ms: int) -> list[Effect]:
        """A client gets a track in this one of its codecs; one that is not sent yet is asked for."""
        subscription = participant.subscriptions.get(sid)
        if subscription is None or subscription.mime_type == mime_type:
            return []
        subscription.mime_type = mime_type
        return self.ask_for(subscription.track, now_ms)

    def update_settings(self, participant: Participant, request: UpdateTrackSettings) -> list[Effect]:
        """A client says what it shows of tracks."""
        return subscribing.adjust(self, participant, request)

    def starve(self, participant: Participant, sid: str, *, is_paused: bool) -> list[Effect]:
        """A subscriber's path is too narrow for a track, or wide enough again."""
        return subscribing.starve(self, participant, sid, is_paused=is_paused)

    def measure(self, participant: Participant, bitrate_bps: int) -> list[Effect]:
        """What the path to a subscriber is thought to carry has changed."""
        return ranking.measure(self, participant, bitrate_bps)

    def set_subscription_permission(self, participant: Participant, request: SubscriptionPermission) -> list[Effect]:
        """A publisher says who may have its tracks."""
        return subscribing.permit(self, participant, request)
