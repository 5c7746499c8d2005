"""What a subscriber's narrow path means to its client, and which of its tracks come first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.room.test_room import camera, room_of

from rtpcore.room import Adjust, Rules, Tell
from rtpcore.room.quality import Sample
from rtpcore.wire.messages import (
    AddTrackRequest,
    ClientInfo,
    ConnectionQuality,
    StreamState,
    TrackSource,
    TrackType,
    UpdateSubscription,
    UpdateTrackSettings,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rtpcore.room import Effect, Participant, Room

PAUSED, ACTIVE = StreamState.PAUSED, StreamState.ACTIVE


def watching() -> tuple[Room, Participant, Participant]:
    """Alice's camera goes to Bob."""
    room, (alice, bob) = room_of("alice", "bob")
    room.add_track(alice, camera(), "TR_1")
    room.publish(alice.pending[0], 0)
    return room, alice, bob


def states(effects: Iterable[Effect]) -> list[tuple[str, str, str, int]]:
    """Who is told whose track is in which state."""
    return [
        (effect.to.identity, one.participant_sid, one.track_sid, one.state)
        for effect in effects
        if isinstance(effect, Tell)
        for one in effect.message.stream_state_update.stream_states
    ]


def subscribe(room: Room, bob: Participant, is_wanted: bool) -> list[Effect]:
    return room.update_subscription(bob, UpdateSubscription(track_sids=["TR_1"], subscribe=is_wanted), 0)


class TestStarving:
    def test_a_pause_and_its_end_are_told_once_and_to_the_subscriber_alone(self) -> None:
        room, _, bob = watching()
        assert states(room.starve(bob, "TR_1", is_paused=False)) == [], "it was never paused"
        assert states(room.starve(bob, "TR_1", is_paused=True)) == [("bob", "PA_alice", "TR_1", PAUSED)]
        assert room.starve(bob, "TR_1", is_paused=True) == []
        assert states(room.starve(bob, "TR_1", is_paused=False)) == [("bob", "PA_alice", "TR_1", ACTIVE)]
        assert room.starve(bob, "TR_1", is_paused=False) == []

    def test_nothing_is_told_of_what_is_not_there(self) -> None:
        room, alice, bob = watching()
        assert room.starve(bob, "TR_none", is_paused=True) == []
        assert room.starve(alice, "TR_1", is_paused=True) == [], "one does not get one's own"

    def test_nothing_is_told_after_unsubscribing(self) -> None:
        room, _, bob = watching()
        room.starve(bob, "TR_1", is_paused=True)
        assert states(subscribe(room, bob, False)) == []
        assert room.starve(bob, "TR_1", is_paused=False) == []
        assert room.starve(bob, "TR_1", is_paused=True) == []

    def test_a_new_copy_begins_unpaused(self) -> None:
        room, _, bob = watching()
        room.starve(bob, "TR_1", is_paused=True)
        subscribe(room, bob, False)
        subscribe(room, bob, True)
        assert not bob.subscriptions["TR_1"].is_starved
        assert states(room.starve(bob, "TR_1", is_paused=True)) == [("bob", "PA_alice", "TR_1", PAUSED)]

    def test_the_end_of_the_track_ends_it(self) -> None:
        room, alice, bob = watching()
        room.starve(bob, "TR_1", is_paused=True)
        room.unpublish(alice.tracks["TR_1"])
        assert room.starve(bob, "TR_1", is_paused=False) == []

    def test_a_starved_subscriber_is_connected_poorly_and_recovers(self) -> None:
        room, alice, bob = watching()
        bob.client = alice.client = ClientInfo(protocol=17)
        sent = (bob.sid, "TR_1")
        packets = 0

        def judge() -> tuple[int, int]:
            nonlocal packets
            packets += 100
            room.rate({"TR_1": Sample(packets, 0)}, {sent: Sample(packets)}, frozenset(), 20_000 + packets)
            return alice.quality, bob.quality

        assert judge() == (ConnectionQuality.EXCELLENT, ConnectionQuality.EXCELLENT)
        room.starve(bob, "TR_1", is_paused=True)
        assert judge() == (ConnectionQuality.EXCELLENT, ConnectionQuality.POOR), "the publisher is not to blame"
        assert judge()[1] == ConnectionQuality.POOR
        room.starve(bob, "TR_1", is_paused=False)
        qualities = [judge()[1] for _ in range(8)]
        assert qualities[0] != ConnectionQuality.EXCELLENT, "it rises slowly"
        assert qualities[-1] == ConnectionQuality.EXCELLENT

    def test_what_a_client_has_switched_off_is_not_held_against_its_path(self) -> None:
        room, _, bob = watching()
        room.starve(bob, "TR_1", is_paused=True)
        room.rate({}, {}, frozenset(), 20_000)
        assert bob.quality == ConnectionQuality.POOR
        room.update_settings(bob, UpdateTrackSettings(track_sids=["TR_1"], disabled=True))
        room.rate({}, {}, frozenset(), 25_000)
        assert bob.quality == ConnectionQuality.EXCELLENT
        room.update_settings(bob, UpdateTrackSettings(track_sids=["TR_1"], quality=2))
        room.rate({}, {}, frozenset(), 30_000)
        assert bob.quality == ConnectionQuality.POOR, "it is paused still"


class TestPriorities:
    def test_a_screen_comes_before_a_camera(self) -> None:
        room, alice, bob = watching()
        room.add_track(alice, AddTrackRequest(cid="s", type=TrackType.VIDEO, source=TrackSource.SCREEN_SHARE), "TR_2")
        room.publish(alice.pending[0], 0)
        cam, screen = (bob.subscriptions[sid].priority for sid in ("TR_1", "TR_2"))
        assert screen > cam > 0

    @pytest.mark.parametrize(("asked", "got"), [(0, 1), (1, 1), (7, 7), (255, 255), (2**32 - 1, 255)])
    def test_a_client_has_its_own_order(self, asked: int, got: int) -> None:
        room, _, bob = watching()
        effects = room.update_settings(bob, UpdateTrackSettings(track_sids=["TR_1"], priority=asked, quality=2))
        assert bob.subscriptions["TR_1"].priority == got
        assert [type(effect) for effect in effects] == ([Adjust] if asked else []), "the copy is told where it changed"

    def test_a_client_may_put_a_camera_before_a_screen(self) -> None:
        room, alice, bob = watching()
        room.add_track(alice, AddTrackRequest(cid="s", type=TrackType.VIDEO, source=TrackSource.SCREEN_SHARE), "TR_2")
        room.publish(alice.pending[0], 0)
        for sid, priority in (("TR_1", 200), ("TR_2", 100)):
            room.update_settings(bob, UpdateTrackSettings(track_sids=[sid], priority=priority, quality=2))
        assert bob.subscriptions["TR_1"].priority > bob.subscriptions["TR_2"].priority


@pytest.mark.parametrize(
    ("least", "most", "delay"),
    [
        (0, 0, None),
        (100, 0, (100, 40_950)),
        (100, 2000, (100, 2000)),
        (0, 500, (0, 500)),
        (3000, 200, (3000, 3000)),
        (99_999, 0, (40_950, 40_950)),
        (-5, 300, (0, 300)),
    ],
)
def test_how_long_pictures_are_held_back(least: int, most: int, delay: tuple[int, int] | None) -> None:
    assert Rules().delayed(least, most).playout_delay_ms == delay


def test_who_says_nothing_of_delay_leaves_it_as_it_was() -> None:
    assert Rules(playout_delay_ms=(1, 2)).delayed(0, 0).playout_delay_ms == (1, 2)
