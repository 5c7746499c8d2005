"""Who speaks comes first where bandwidth is short, and nobody hears of it where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.room.test_room import camera, room_of, somebody

from rtpcore.room import Adjust, Subscribe, Unsubscribe
from rtpcore.room.ranking import HOLD_MS
from rtpcore.wire.messages import (
    AddTrackRequest,
    DisconnectReason,
    TrackSource,
    TrackType,
    UpdateSubscription,
    UpdateTrackSettings,
    VideoLayer,
    VideoQuality,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rtpcore.room import Effect, Participant, Room

BITRATES = {VideoQuality.LOW: 100_000, VideoQuality.MEDIUM: 400_000, VideoQuality.HIGH: 1_000_000}
LAYERS = [VideoLayer(quality=quality, bitrate=bitrate) for quality, bitrate in BITRATES.items()]
NARROW, WIDE = 800_000, 10_000_000
"""For what those in the room show."""


def publish(room: Room, who: Participant, source: TrackSource, **facts: Any) -> list[Effect]:
    kind = TrackType.AUDIO if source == TrackSource.MICROPHONE else TrackType.VIDEO
    sid = f"TR_{who.identity}_{source}"
    room.add_track(who, AddTrackRequest(cid=sid, type=kind, source=source, **facts), sid)
    return room.publish(who.pending[0], 0)


def meeting(*names: str) -> tuple[Room, list[Participant]]:
    """Everybody has a camera and a microphone."""
    room, everybody = room_of(*names)
    for one in everybody:
        publish(room, one, TrackSource.CAMERA, layers=LAYERS)
        publish(room, one, TrackSource.MICROPHONE)
    return room, everybody


def sid_of(who: Participant, source: TrackSource = TrackSource.CAMERA) -> str:
    return f"TR_{who.identity}_{source}"


def rank(of: Participant, with_: Participant, source: TrackSource = TrackSource.CAMERA) -> int:
    return with_.subscriptions[sid_of(of, source)].priority


def speak(room: Room, who: Participant, level: float = 0.5) -> list[Effect]:
    return room.hear(who.tracks[sid_of(who, TrackSource.MICROPHONE)], level)


def adjusted(effects: Iterable[Effect]) -> list[tuple[str, str]]:
    """Whose copies of which tracks are adjusted."""
    return [
        (effect.subscription.subscriber.identity, effect.subscription.track.publisher.identity)
        for effect in effects
        if isinstance(effect, Adjust)
    ]


def test_who_speaks_comes_before_who_listens_and_after_a_screen() -> None:
    room, (alice, bob, carol) = meeting("alice", "bob", "carol")
    publish(room, bob, TrackSource.SCREEN_SHARE)
    room.measure(carol, NARROW)
    assert adjusted(speak(room, alice)) == [("carol", "alice")]
    screen = rank(bob, carol, TrackSource.SCREEN_SHARE)
    assert screen > rank(alice, carol) > rank(bob, carol) > 0
    assert speak(room, alice, 0.75) == [], "louder is not more"
    assert speak(room, bob) != []
    assert rank(bob, carol, TrackSource.SCREEN_SHARE) == screen
    assert rank(bob, carol) == rank(alice, carol) < screen


def test_nothing_changes_where_there_is_enough_for_all_or_nothing_is_known() -> None:
    room, (alice, bob, carol) = meeting("alice", "bob", "carol")
    room.measure(carol, WIDE)
    assert speak(room, alice) == []
    assert rank(alice, carol) == rank(bob, carol)
    assert [
        effect for ms in (0, HOLD_MS, 2 * HOLD_MS) for effect in room.check(1000 + ms) if isinstance(effect, Adjust)
    ] == []


def test_the_floor_is_kept_for_some_seconds_of_silence() -> None:
    room, (alice, _, carol) = meeting("alice", "bob", "carol")
    room.measure(carol, NARROW)
    ahead = speak(room, alice) and rank(alice, carol)
    speak(room, alice, 0)
    assert adjusted(room.check(10_000)) == []
    assert adjusted(room.check(10_000 + HOLD_MS - 1)) == []
    speak(room, alice)
    assert adjusted(room.check(10_000 + HOLD_MS)) == [], "it was a pause for breath"
    speak(room, alice, 0)
    room.check(20_000)
    assert rank(alice, carol) == ahead
    assert adjusted(room.check(20_000 + HOLD_MS)) == [("carol", "alice")]
    assert rank(alice, carol) < ahead
    assert adjusted(room.check(90_000)) == []


def test_who_is_muted_loses_the_floor_too() -> None:
    room, (alice, _, carol) = meeting("alice", "bob", "carol")
    room.measure(carol, NARROW)
    speak(room, alice)
    room.mute(alice.tracks[sid_of(alice, TrackSource.MICROPHONE)], is_muted=True)
    room.check(10_000)
    assert adjusted(room.check(10_000 + HOLD_MS)) == [("carol", "alice")]


def test_a_path_that_becomes_short_or_wide_is_ranked_anew() -> None:
    room, (alice, _, carol) = meeting("alice", "bob", "carol")
    speak(room, alice)
    assert adjusted(room.measure(carol, NARROW)) == [("carol", "alice")]
    assert adjusted(room.measure(carol, NARROW - 1)) == []
    assert adjusted(room.measure(carol, WIDE)) == [("carol", "alice")]


def test_a_copy_that_is_paused_makes_a_path_short() -> None:
    room, (alice, bob, carol) = meeting("alice", "bob", "carol")
    speak(room, alice)
    assert adjusted(room.starve(carol, sid_of(bob), is_paused=True)) == [("carol", "alice")]
    assert adjusted(room.starve(carol, sid_of(bob), is_paused=False)) == [("carol", "alice")]


@pytest.mark.parametrize(
    ("quality", "path_bps", "is_short"),
    [
        (VideoQuality.HIGH, 2_499_999, True),
        (VideoQuality.HIGH, 2_500_000, False),
        (VideoQuality.MEDIUM, 999_999, True),
        (VideoQuality.MEDIUM, 1_000_000, False),
        (VideoQuality.LOW, 249_999, True),
        (VideoQuality.LOW, 250_000, False),
    ],
)
def test_short_is_what_carries_less_than_is_shown(quality: VideoQuality, path_bps: int, is_short: bool) -> None:
    room, (alice, bob, carol) = meeting("alice", "bob", "carol")
    room.update_settings(carol, UpdateTrackSettings(track_sids=[sid_of(alice), sid_of(bob)], quality=quality))
    room.measure(carol, path_bps)
    speak(room, alice)
    assert (rank(alice, carol) > rank(bob, carol)) == is_short


def test_what_is_switched_off_needs_nothing() -> None:
    room, (alice, bob, carol) = meeting("alice", "bob", "carol")
    room.measure(carol, 1_500_000)
    assert adjusted(speak(room, alice)) == [("carol", "alice")]
    effects = room.update_settings(carol, UpdateTrackSettings(track_sids=[sid_of(bob)], disabled=True))
    assert adjusted(effects) == [("carol", "bob"), ("carol", "alice")]
    assert rank(alice, carol) == rank(bob, carol)


def test_what_is_not_sent_any_more_needs_nothing() -> None:
    room, (alice, bob, carol) = meeting("alice", "bob", "carol")
    room.measure(carol, 1_500_000)
    speak(room, alice)
    no_more = UpdateSubscription(track_sids=[sid_of(bob)], subscribe=False)
    assert adjusted(room.update_subscription(carol, no_more, 0)) == [("carol", "alice")]
    again = UpdateSubscription(track_sids=[sid_of(bob)], subscribe=True)
    assert adjusted(room.update_subscription(carol, again, 0)) == [("carol", "alice")]
    assert adjusted(room.unpublish(bob.tracks[sid_of(bob)])) == [("carol", "alice")]


def test_a_track_without_announced_bitrates_is_taken_for_a_usual_one() -> None:
    room, (alice, bob) = room_of("alice", "bob")
    room.add_track(alice, camera(), sid_of(alice))
    room.publish(alice.pending[0], 0)
    publish(room, alice, TrackSource.MICROPHONE)
    speak(room, alice)
    assert adjusted(room.measure(bob, 1_000_000)) == [("bob", "alice")]
    assert adjusted(room.measure(bob, 2_000_000)) == [("bob", "alice")]


def test_the_clients_own_order_stays() -> None:
    room, (alice, bob, carol) = meeting("alice", "bob", "carol")
    room.measure(carol, NARROW)
    own = UpdateTrackSettings(track_sids=[sid_of(alice)], priority=7, quality=VideoQuality.HIGH)
    room.update_settings(carol, own)
    assert speak(room, alice) == []
    assert rank(alice, carol) == 7
    speak(room, bob)
    assert rank(bob, carol) > 7


def test_who_comes_to_a_speaker_has_the_rank_from_the_start() -> None:
    room, (alice, _) = meeting("alice", "bob")
    speak(room, alice)
    late = somebody("late")
    room.join(late)
    assert rank(alice, late) == 1, "nothing is known of its path"
    assert adjusted(room.measure(late, NARROW)) == [("late", "alice")]
    sid = sid_of(alice)
    room.update_subscription(late, UpdateSubscription(track_sids=[sid], subscribe=False), 0)
    (subscribe,) = [
        effect
        for effect in room.update_subscription(late, UpdateSubscription(track_sids=[sid], subscribe=True), 0)
        if isinstance(effect, Subscribe)
    ]
    assert subscribe.subscription.priority > 1


def test_a_room_where_hundreds_listen_costs_a_command_for_each_short_path_alone() -> None:
    room, (alice, *listeners) = room_of("alice", *(f"listener {number}" for number in range(300)))
    publish(room, alice, TrackSource.CAMERA, layers=LAYERS)
    publish(room, alice, TrackSource.MICROPHONE)
    for number, one in enumerate(listeners):
        room.measure(one, NARROW if number % 100 == 0 else WIDE)
    assert len(adjusted(speak(room, alice))) == 3


class Ranks(RuleBasedStateMachine):
    """What a forwarder was told last of each copy's rank is right after any order of events."""

    def __init__(self) -> None:
        super().__init__()
        self.room, self.everybody = room_of("alice", "bob", "carol")
        self.ranks: dict[tuple[str, str], int] = {}
        # What is rare by chance is there to begin with.
        for who in range(3):
            self.publish(who, TrackSource.CAMERA)
            self.publish(who, TrackSource.MICROPHONE)
            self.measure(who, 2_000_000)
        self.now_ms = 0

    who = st.integers(0, 2)
    sources = st.sampled_from([TrackSource.CAMERA, TrackSource.SCREEN_SHARE, TrackSource.MICROPHONE])

    def take(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Subscribe | Adjust | Unsubscribe):
                one = effect.subscription
                key = one.subscriber.identity, one.track.sid
                if isinstance(effect, Unsubscribe):
                    del self.ranks[key]
                elif isinstance(effect, Subscribe) or key in self.ranks:
                    self.ranks[key] = one.priority

    def subscription(self, who: int, of: int, source: TrackSource) -> Any:
        return self.everybody[who].subscriptions.get(sid_of(self.everybody[of], source))

    @rule(who=who, source=sources)
    def publish(self, who: int, source: TrackSource) -> None:
        if sid_of(self.everybody[who], source) not in self.everybody[who].tracks:
            self.take(publish(self.room, self.everybody[who], source, layers=LAYERS))

    @rule(who=who, source=sources)
    def unpublish(self, who: int, source: TrackSource) -> None:
        track = self.everybody[who].tracks.get(sid_of(self.everybody[who], source))
        if track is not None:
            self.take(self.room.unpublish(track))

    @rule(who=who, level=st.sampled_from([0, 0.5, 1]))
    def speak(self, who: int, level: float) -> None:
        if sid_of(self.everybody[who], TrackSource.MICROPHONE) in self.everybody[who].tracks:
            self.take(speak(self.room, self.everybody[who], level))

    @rule(who=who, is_muted=st.booleans())
    def mute(self, who: int, is_muted: bool) -> None:
        for track in self.everybody[who].tracks.values():
            self.take(self.room.mute(track, is_muted=is_muted))

    @rule(ms=st.sampled_from([500, 1000, HOLD_MS]))
    def wait(self, ms: int) -> None:
        self.now_ms += ms
        self.take(self.room.check(self.now_ms))

    @rule(who=who, path_bps=st.sampled_from([0, 300_000, 800_000, 2_000_000, 6_000_000]))
    def measure(self, who: int, path_bps: int) -> None:
        self.take(self.room.measure(self.everybody[who], path_bps))

    @rule(who=who, of=who, source=sources, is_paused=st.booleans())
    def starve(self, who: int, of: int, source: TrackSource, is_paused: bool) -> None:
        if self.subscription(who, of, source) is not None and source != TrackSource.MICROPHONE:
            sid = sid_of(self.everybody[of], source)
            self.take(self.room.starve(self.everybody[who], sid, is_paused=is_paused))

    @rule(
        who=who,
        of=who,
        source=sources,
        is_disabled=st.booleans(),
        quality=st.sampled_from(list(BITRATES)),
        priority=st.sampled_from([0, 0, 7]),
    )
    def show(
        self, who: int, of: int, source: TrackSource, is_disabled: bool, quality: VideoQuality, priority: int
    ) -> None:
        sids = [sid_of(self.everybody[of], source)]
        settings = UpdateTrackSettings(track_sids=sids, disabled=is_disabled, quality=quality, priority=priority)
        self.take(self.room.update_settings(self.everybody[who], settings))

    @rule(who=who, of=who, source=sources, is_wanted=st.booleans())
    def want(self, who: int, of: int, source: TrackSource, is_wanted: bool) -> None:
        request = UpdateSubscription(track_sids=[sid_of(self.everybody[of], source)], subscribe=is_wanted)
        self.take(self.room.update_subscription(self.everybody[who], request, self.now_ms))

    @rule(who=who)
    def come_again(self, who: int) -> None:
        before = self.everybody[who]
        self.take(self.room.leave(before, DisconnectReason.CLIENT_INITIATED, self.now_ms))
        self.everybody[who] = somebody(before.identity)
        self.take(self.room.join(self.everybody[who]))
        self.publish(who, TrackSource.CAMERA)
        self.publish(who, TrackSource.MICROPHONE)

    @invariant()
    def ranks_are_as_they_should_be(self) -> None:
        expected = {}
        for one in self.everybody:
            active = [each for each in one.subscriptions.values() if each.is_active]
            shown = [each for each in active if each.track.kind == "video" and not each.settings.is_disabled]
            needed = sum(BITRATES[each.settings.quality] for each in shown)
            is_short = any(each.is_starved for each in shown)
            is_short |= one.path_bps is not None and bool(shown) and one.path_bps < 1.25 * needed
            for each in active:
                source, own = each.track.info.source, each.settings.priority
                is_ahead = source == TrackSource.CAMERA and is_short and each.track.publisher in self.room.floor
                usual = 255 if source == TrackSource.SCREEN_SHARE else 128 if is_ahead else 1
                expected[one.identity, each.track.sid] = own or usual
        assert self.ranks == expected

    @invariant()
    def who_speaks_has_the_floor(self) -> None:
        assert {one.identity for one in self.everybody if one.level} <= {one.identity for one in self.room.floor}
        assert set(self.room.floor) <= set(self.everybody)


TestRanks = Ranks.TestCase
