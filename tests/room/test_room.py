"""A room as its participants see it: what they are told, and that no order of events breaks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from rtpcore.room import Happened, Participant, Removed, Room, Rules, Subscribe, Tell, Unsubscribe, announcing
from rtpcore.room.room import Room as _Room
from rtpcore.wire.messages import (
    AddTrackRequest,
    DisconnectReason,
    ParticipantInfo,
    ParticipantPermission,
    RequestResponse,
    SimulcastCodec,
    SubscriptionPermission,
    TrackPermission,
    TrackSource,
    TrackType,
    UpdateSubscription,
    UpdateTrackSettings,
    VideoLayer,
    VideoQuality,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rtpcore.room import Effect

State = ParticipantInfo.State


def somebody(name: str, **facts: object) -> Participant:
    permission = ParticipantPermission(
        can_subscribe=True, can_publish=True, can_publish_data=True, can_update_metadata=True
    )
    return Participant(sid=f"PA_{name}", identity=name, joined_at_ms=1000, permission=permission, **facts)  # type: ignore[arg-type]


def told(effects: Iterable[Effect], who: Participant) -> list[str]:
    return [e.message.WhichOneof("message") for e in effects if isinstance(e, Tell) and e.to is who]


def camera(cid: str = "cam", **facts: object) -> AddTrackRequest:
    return AddTrackRequest(cid=cid, type=TrackType.VIDEO, source=TrackSource.CAMERA, **facts)  # type: ignore[arg-type]


def room_of(*names: str) -> tuple[_Room, list[Participant]]:
    room = Room("r", "RM_1", 0)
    everybody = [somebody(name) for name in names]
    for one in everybody:
        room.join(one)
        room.activate(one)
    return room, everybody


def test_a_track_is_answered_at_once_and_shown_when_its_media_come() -> None:
    room, (alice, bob) = room_of("alice", "bob")
    effects = room.add_track(alice, camera(), "TR_1")
    assert told(effects, alice) == ["track_published"]
    assert told(effects, bob) == []
    effects = room.publish(alice.pending[0], 0)
    assert told(effects, bob) == ["update"]
    assert [e.subscription.subscriber for e in effects if isinstance(e, Subscribe)] == [bob]
    assert told(effects, alice) == ["track_subscribed"]


def test_who_comes_later_gets_what_is_there() -> None:
    room, (alice,) = room_of("alice")
    room.add_track(alice, camera(), "TR_1")
    room.publish(alice.pending[0], 0)
    bob = somebody("bob")
    effects = room.join(bob)
    assert [e.subscription.track.sid for e in effects if isinstance(e, Subscribe)] == ["TR_1"]
    assert [info.identity for info in room.visible_to(bob)] == ["alice"]


def test_what_may_not_be_published_is_refused_with_the_reason() -> None:
    room, (alice,) = room_of("alice")
    alice.permission.can_publish_sources.append(TrackSource.MICROPHONE)
    (effect,) = room.add_track(alice, camera(), "TR_1")
    assert isinstance(effect, Tell)
    assert effect.message.request_response.reason == RequestResponse.Reason.NOT_ALLOWED
    assert effect.message.request_response.add_track.cid == "cam"
    assert not alice.pending


def test_a_client_cannot_announce_tracks_without_end() -> None:
    room, (alice,) = room_of("alice")
    for number in range(30):
        room.add_track(alice, camera(str(number)), f"TR_{number}")
    assert len(alice.pending) == 20


def test_a_hidden_participant_is_seen_by_nobody_but_hears() -> None:
    room, (alice,) = room_of("alice")
    spy = somebody("spy")
    spy.permission.hidden = True
    assert told(room.join(spy), alice) == []
    room.add_track(alice, camera(), "TR_1")
    effects = room.publish(alice.pending[0], 0)
    assert [e.subscription.subscriber for e in effects if isinstance(e, Subscribe)] == [spy]
    assert told(effects, alice) == [], "not even that somebody subscribed"
    assert room.visible_to(alice) == []


def test_a_revoked_permission_takes_track_and_copies_away() -> None:
    room, (alice, bob) = room_of("alice", "bob")
    room.add_track(alice, camera(), "TR_1")
    room.publish(alice.pending[0], 0)
    effects = room.update_participant(alice, permission=ParticipantPermission(can_subscribe=True))
    assert "track_unpublished" in told(effects, alice)
    assert [e.subscription.subscriber for e in effects if isinstance(e, Unsubscribe)] == [bob]
    effects = room.update_participant(bob, permission=ParticipantPermission(can_publish=True))
    assert not bob.subscriptions


def test_a_publisher_chooses_its_viewers() -> None:
    room, (alice, bob, carol) = room_of("alice", "bob", "carol")
    room.add_track(alice, camera(), "TR_1")
    room.publish(alice.pending[0], 0)
    only_bob = SubscriptionPermission(track_permissions=[TrackPermission(participant_identity="bob", all_tracks=True)])
    effects = room.set_subscription_permission(alice, only_bob)
    assert [e.subscription.subscriber for e in effects if isinstance(e, Unsubscribe)] == [carol]
    assert told(effects, carol) == ["subscription_permission_update"]
    assert told(effects, bob) == []
    effects = room.set_subscription_permission(alice, SubscriptionPermission(all_participants=True))
    assert [e.subscription.subscriber for e in effects if isinstance(e, Subscribe)] == [carol]


def test_layers_go_by_size_then_by_quality() -> None:
    room, (alice, bob) = room_of("alice", "bob")
    layers = [
        VideoLayer(quality=VideoQuality.LOW, width=320, height=180),
        VideoLayer(quality=VideoQuality.MEDIUM, width=640, height=360),
        VideoLayer(quality=VideoQuality.HIGH, width=1280, height=720),
    ]
    room.add_track(alice, camera(layers=layers), "TR_1")
    room.publish(alice.pending[0], 0)
    subscription = bob.subscriptions["TR_1"]
    for wish, spatial in (
        ({"quality": VideoQuality.MEDIUM}, 1),
        ({"width": 300, "height": 170}, 0),
        ({"width": 1000, "height": 500}, 2),
        ({"width": 4000, "height": 2000}, 2),
    ):
        room.update_settings(bob, UpdateTrackSettings(track_sids=["TR_1"], **wish))  # type: ignore[arg-type]
        assert subscription.layer.spatial == spatial
    room.update_settings(bob, UpdateTrackSettings(track_sids=["TR_1"], disabled=True))
    assert subscription.settings.is_disabled


def test_a_track_may_be_asked_for_before_it_is_there() -> None:
    room, (alice, bob, carol) = room_of("alice", "bob", "carol")
    bob.auto_subscribe = False
    assert room.update_subscription(bob, UpdateSubscription(track_sids=["TR_1", "TR_no"], subscribe=True), 0) == []
    room.update_subscription(carol, UpdateSubscription(track_sids=["TR_1"], subscribe=False), 0)
    room.update_settings(bob, UpdateTrackSettings(track_sids=["TR_1"], disabled=True))
    room.add_track(alice, camera(), "TR_1")
    effects = room.publish(alice.pending[0], 0)
    assert [e.subscription.subscriber for e in effects if isinstance(e, Subscribe)] == [bob]
    assert bob.subscriptions["TR_1"].settings.is_disabled
    assert "subscription_response" not in told(room.check(59_999), bob)
    assert "subscription_response" in told(room.check(60_000), bob)


def test_publishers_are_asked_for_less_only_after_a_while() -> None:
    room, (alice, bob) = room_of("alice", "bob")
    layers = [VideoLayer(quality=quality) for quality in (VideoQuality.LOW, VideoQuality.MEDIUM, VideoQuality.HIGH)]
    room.add_track(alice, camera(layers=layers), "TR_1")
    room.publish(alice.pending[0], 0)
    room.update_settings(bob, UpdateTrackSettings(track_sids=["TR_1"], quality=VideoQuality.LOW))
    assert told(room.check(20_000), alice) == ["room_update"], "of the counts, and of no quality"
    assert told(room.check(24_999), alice) == []
    (effect,) = room.check(25_000)
    assert isinstance(effect, Tell)
    enabled = [one.enabled for one in effect.message.subscribed_quality_update.subscribed_qualities]
    assert enabled == [True, False, False]
    room.update_settings(bob, UpdateTrackSettings(track_sids=["TR_1"], quality=VideoQuality.HIGH))
    assert told(room.check(25_001), alice) == ["subscribed_quality_update"], "more is asked for at once"
    assert room.check(60_000) == []


def test_speakers_are_told_to_those_who_hear_them() -> None:
    room, (alice, bob, carol) = room_of("alice", "bob", "carol")
    carol.auto_subscribe = False
    request = AddTrackRequest(cid="m", type=TrackType.AUDIO, source=TrackSource.MICROPHONE)
    for one in (alice, bob):
        room.add_track(one, request, f"TR_{one.identity}")
        room.publish(one.pending[0], 0)
        assert room.hear(one.tracks[f"TR_{one.identity}"], 0.5) == []
    assert room.waits_ms is not None
    effects = room.flush()
    assert [told(effects, one) for one in (alice, bob, carol)] == [["speakers_changed"], ["speakers_changed"], []]
    both = next(e.message.speakers_changed.speakers for e in effects if isinstance(e, Tell) and e.to is alice)
    assert [one.sid for one in both] == [alice.sid, bob.sid], "several changes are one message"
    track = alice.tracks["TR_alice"]
    room.hear(track, 0.5)
    assert (room.waits_ms, room.flush()) == (None, []), "nothing has changed"
    late = somebody("late")
    assert "speakers_changed" in told(room.join(late), late)
    assert "speakers_changed" in told(room.mute(track, is_muted=True), bob)
    room.hear(track, 0.5)
    assert room.flush() == [], "what is muted does not speak"


def test_large_rooms_are_told_of_several_at_once() -> None:
    room, everybody = room_of(*(f"viewer {number}" for number in range(60)))
    room.flush()
    alice, bob = somebody("alice"), somebody("bob")
    for one in (alice, bob):
        assert not [e for e in room.join(one) if isinstance(e, Tell)]
        assert not [e for e in room.activate(one) if isinstance(e, Tell)]
    assert room.waits_ms == 62
    effects = room.flush()
    assert len(effects) == 62
    message = effects[0].message  # type: ignore[union-attr]
    assert [one.identity for one in message.update.participants] == ["alice", "bob"]
    assert (room.waits_ms, room.flush()) == (None, [])
    room.add_track(alice, camera(), "TR_1")
    room.leave(bob, DisconnectReason.CLIENT_INITIATED, 0)
    effects = room.publish(alice.pending[0], 0)
    assert told(effects, everybody[0])[:2] == ["update", "update"], "what waits comes before what is told at once"
    room.leave(alice, DisconnectReason.CLIENT_INITIATED, 0)
    assert room.waits_ms is None, "a publisher is seen to go at once"


def test_a_message_about_participants_has_a_size() -> None:
    room, everybody = room_of(*(f"viewer {number}" for number in range(60)))
    room.rules = Rules(max_update=1000)
    messages = list(announcing.updates([one.info() for one in everybody], 1000))
    assert len(messages) > 1
    assert sum(len(one.update.participants) for one in messages) == 60
    assert all(one.ByteSize() < 1100 for one in messages)


def test_how_many_are_there_is_told_now_and_then() -> None:
    room, (alice,) = room_of("alice")
    assert told(room.check(5000), alice) == ["room_update"]
    room.join(somebody("bob"))
    assert told(room.check(9999), alice) == []
    assert told(room.check(10_000), alice) == ["room_update"]
    assert told(room.check(20_000), alice) == []


def test_one_who_may_get_so_many_tracks_gets_the_next_when_one_ends() -> None:
    room, (alice, bob) = room_of("alice", "bob")
    room.rules = Rules(max_video_subscriptions=1)
    for sid in ("TR_1", "TR_2"):
        room.add_track(alice, camera(sid), sid)
        effects = room.publish(alice.pending[0], 0)
    assert not any(isinstance(e, Subscribe) for e in effects)
    effects = room.update_subscription(bob, UpdateSubscription(track_sids=["TR_1"], subscribe=False), 0)
    assert [type(e) for e in effects] == [Unsubscribe, Subscribe, Tell], "the second's publisher hears of its viewer"
    room.update_subscription(bob, UpdateSubscription(track_sids=["TR_1"], subscribe=True), 0)
    assert [type(e) for e in room.unpublish(alice.tracks["TR_2"]) if not isinstance(e, Tell | Happened)] == [
        Unsubscribe,
        Subscribe,
    ]


def test_a_codec_that_may_not_be_published_is_replaced() -> None:
    room, (alice,) = room_of("alice")
    room.rules = Rules(enabled_codecs=frozenset({"video/vp8", "audio/opus"}))
    wish = [SimulcastCodec(codec="av1", cid="cam"), SimulcastCodec(codec="vp8", cid="")]
    room.add_track(alice, camera(simulcast_codecs=wish), "TR_1")
    assert [codec.mime_type for codec in alice.pending[0].info.codecs] == ["video/vp8"]


def test_the_sound_of_a_screen_is_no_speaker() -> None:
    room, (alice, bob) = room_of("alice", "bob")
    for source, sid in ((TrackSource.MICROPHONE, "TR_1"), (TrackSource.SCREEN_SHARE_AUDIO, "TR_2")):
        room.add_track(alice, AddTrackRequest(cid=sid, type=TrackType.AUDIO, source=source), sid)
        room.publish(alice.pending[0], 0)
    room.hear(alice.tracks["TR_1"], 0.5)
    room.hear(alice.tracks["TR_2"], 0.0)
    assert alice.level == 0.5, "a silent film does not silence who talks about it"
    assert "speakers_changed" in told(room.unpublish(alice.tracks["TR_1"]), bob)


def test_rooms_end_when_nobody_comes_or_comes_back() -> None:
    room = Room("r", "RM_1", 0, empty_timeout=10, departure_timeout=5)
    assert not room.is_over(9_999)
    assert room.is_over(10_000)
    alice, agent = somebody("alice"), somebody("agent", is_dependent=True)
    room.join(alice)
    room.join(agent)
    assert not room.is_over(100_000)
    room.leave(alice, DisconnectReason.CLIENT_INITIATED, 100_000)
    assert not room.is_over(104_999)
    assert room.is_over(105_000), "an agent keeps no room"


def test_an_agent_is_told_of_at_once_in_a_large_room_too() -> None:
    room, (first, *_) = room_of(*(f"user {number}" for number in range(60)))
    room.flush()
    agent = somebody("agent", kind=ParticipantInfo.Kind.AGENT, is_dependent=True)
    assert told(room.join(agent), first) == ["update"]
    assert told(room.activate(agent), first) == ["update"]
    assert told(room.leave(agent, DisconnectReason.CLIENT_INITIATED, 0), first) == ["update"]


class Rooms(RuleBasedStateMachine):
    """Joins, leaves, tracks, wishes and permissions in every order; what clients know is held against the room."""

    present = Bundle("present")

    def __init__(self) -> None:
        super().__init__()
        self.room = Room("r", "RM_1", 0)
        self.count = 0
        self.seen: dict[str, dict[str, ParticipantInfo]] = {}
        self.copies: dict[str, set[str]] = {}

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Tell(to, message) if message.HasField("update"):
                    for info in message.update.participants:
                        known = self.seen[to.sid].get(info.sid)
                        assert known is None or info.version > known.version, "versions only rise"
                        self.seen[to.sid][info.sid] = info
                case Subscribe(subscription):
                    track = subscription.track
                    assert track.sid not in self.copies[subscription.subscriber.sid], "one copy at a time"
                    shown = self.seen[subscription.subscriber.sid].get(track.publisher.sid)
                    is_shown = shown is not None and track.sid in [one.sid for one in shown.tracks]
                    assert is_shown or track.publisher.is_hidden, "told of the track before its copy"
                    self.copies[subscription.subscriber.sid].add(track.sid)
                case Unsubscribe(subscription):
                    self.copies[subscription.subscriber.sid].remove(subscription.track.sid)
                case Removed(participant):
                    assert not self.copies.pop(participant.sid)
                    del self.seen[participant.sid]

    @rule(target=present, hidden=st.booleans(), auto=st.booleans())
    def join(self, hidden: bool, auto: bool) -> Participant:
        self.count += 1
        participant = somebody(str(self.count), auto_subscribe=auto)
        participant.permission.hidden = hidden
        self.seen[participant.sid] = {info.sid: info for info in self.room.visible_to(participant)}
        self.copies[participant.sid] = set()
        self.take(self.room.join(participant))
        return participant

    @rule(who=present)
    def activate(self, who: Participant) -> None:
        self.take(self.room.activate(who))

    @rule(target=present, who=consumes(present), is_kicked=st.booleans())
    def leave(self, who: Participant, is_kicked: bool) -> object:
        action = self.room.remove if is_kicked else self.room.leave
        self.take(action(who, DisconnectReason.CLIENT_INITIATED, 0))
        return multiple()

    @rule(who=present)
    def announce_track(self, who: Participant) -> None:
        self.count += 1
        self.take(self.room.add_track(who, camera(str(self.count)), f"TR_{self.count}"))

    @rule(who=present)
    def media_come(self, who: Participant) -> None:
        if who.pending:
            self.take(self.room.publish(who.pending[0], 0))

    @rule(who=present)
    def unpublish(self, who: Participant) -> None:
        for track in list(who.tracks.values())[:1]:
            self.take(self.room.unpublish(track))

    @rule(who=present, is_muted=st.booleans())
    def mute(self, who: Participant, is_muted: bool) -> None:
        for track in who.tracks.values():
            self.take(self.room.mute(track, is_muted=is_muted))

    @rule(who=present, other=present, subscribe=st.booleans())
    def wish(self, who: Participant, other: Participant, subscribe: bool) -> None:
        request = UpdateSubscription(track_sids=[*other.tracks, "TR_none"], subscribe=subscribe)
        self.take(self.room.update_subscription(who, request, 0))

    @rule(who=present, other=present, everybody=st.booleans())
    def permit(self, who: Participant, other: Participant, everybody: bool) -> None:
        request = SubscriptionPermission(
            all_participants=everybody,
            track_permissions=[TrackPermission(participant_sid=other.sid, track_sids=list(who.tracks)[:1])],
        )
        self.take(self.room.set_subscription_permission(who, request))

    @rule(who=present, may_publish=st.booleans(), may_subscribe=st.booleans())
    def update_permission(self, who: Participant, may_publish: bool, may_subscribe: bool) -> None:
        permission = ParticipantPermission(
            can_publish=may_publish, can_subscribe=may_subscribe, hidden=who.permission.hidden
        )
        self.take(self.room.update_participant(who, permission=permission))

    @invariant()
    def nobody_sees_what_they_may_not(self) -> None:
        hidden = {one.sid for one in self.room.participants.values() if one.is_hidden}
        for sid, known in self.seen.items():
            assert not (known.keys() & hidden) - {sid}

    @invariant()
    def everybody_knows_who_is_there(self) -> None:
        # In a large room some of it waits for a while.
        self.take(self.room.flush())
        for participant in self.room.participants.values():
            for other in self.room.others(participant):
                if not other.is_hidden:
                    known = self.seen[participant.sid][other.sid]
                    assert known.state == other.state
                    assert [track.sid for track in known.tracks] == list(other.tracks)

    @invariant()
    def copies_are_of_tracks_that_are_there_and_allowed(self) -> None:
        tracks = {sid: one for one in self.room.participants.values() for sid in one.tracks}
        for participant in self.room.participants.values():
            for sid in self.copies[participant.sid]:
                assert tracks[sid].lets(participant, sid)
                assert participant.permission.can_subscribe


TestRooms = Rooms.TestCase
