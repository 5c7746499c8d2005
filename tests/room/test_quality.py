"""Connection quality: what loss, delay and missing layers come to, and who is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.room.test_room import camera, room_of, somebody

from rtpcore.room import Tell
from rtpcore.room.quality import Sample, Scorer
from rtpcore.wire.messages import (
    AddTrackRequest,
    ClientInfo,
    ConnectionQuality,
    TrackSource,
    TrackType,
    VideoLayer,
    VideoQuality,
)

if TYPE_CHECKING:
    from rtpcore.room import Participant, Room

EXCELLENT, GOOD, POOR, LOST = (
    ConnectionQuality.EXCELLENT,
    ConnectionQuality.GOOD,
    ConnectionQuality.POOR,
    ConnectionQuality.LOST,
)


def meeting() -> tuple[Room, Participant, Participant, str]:
    """Alice's camera is watched by Bob; both speak the newest protocol."""
    room, (alice, bob) = room_of("alice", "bob")
    for one in (alice, bob):
        one.client = ClientInfo(protocol=17)
    room.add_track(alice, camera(), "TR_1")
    room.publish(alice.pending[0], 0)
    return room, alice, bob, "TR_1"


def told(effects: Any) -> dict[tuple[str, str], int]:
    """By who is told and of whom, the quality."""
    return {
        (effect.to.identity, one.participant_sid.removeprefix("PA_")): one.quality
        for effect in effects
        if isinstance(effect, Tell)
        for one in effect.message.connection_quality.updates
    }


def windows(room: Room, sid: str, *losses: float, silent: frozenset[str] = frozenset()) -> list[dict[Any, int]]:
    """What is told after each window of a hundred packets, of which so many come."""
    packets = lost = 0
    said = []
    for number, loss in enumerate(losses):
        packets += int(100 * (1 - loss))
        lost += int(100 * loss)
        said.append(told(room.rate({sid: Sample(packets, lost)}, {}, silent, 20_000 + 5000 * number)))
    return said


def test_everybody_hears_of_themselves_and_of_those_they_watch_once() -> None:
    room, _, _, sid = meeting()
    first, second = windows(room, sid, 0, 0)
    assert first == {("alice", "alice"): EXCELLENT, ("bob", "bob"): EXCELLENT, ("bob", "alice"): EXCELLENT}
    assert second == {}
    room.participants["carol"] = carol = somebody("carol", client=ClientInfo(protocol=17))
    assert told(room.rate({}, {}, frozenset(), 0)) == {("carol", carol.identity): EXCELLENT}


def test_loss_is_told_quickly_and_its_end_slowly() -> None:
    room, _, _, sid = meeting()
    qualities = [one.get(("bob", "alice")) for one in windows(room, sid, 0, 0.1, 0, 0, 0)]
    assert qualities == [EXCELLENT, GOOD, None, None, EXCELLENT]
    room, _, _, sid = meeting()
    assert [one.get(("bob", "alice")) for one in windows(room, sid, 0.1, 0.1)] == [GOOD, POOR]


def test_a_bad_way_down_concerns_the_subscriber_alone() -> None:
    room, _, bob, sid = meeting()
    effects = room.rate({sid: Sample(100, 0)}, {(bob.sid, sid): Sample(100, fraction_lost=0.2)}, frozenset(), 0)
    assert told(effects) == {("alice", "alice"): EXCELLENT, ("bob", "alice"): EXCELLENT, ("bob", "bob"): GOOD}


def test_who_sends_nothing_in_dtx_or_pause_is_not_lost() -> None:
    room, _, _, sid = meeting()
    for _ in range(10):
        effects = room.rate({sid: Sample(500, 0)}, {}, frozenset(), 0)
    assert told(effects) == {}
    assert room.participants["alice"].quality == EXCELLENT


def test_who_is_not_heard_at_all_is_lost_while_publishing() -> None:
    room, alice, bob, sid = meeting()
    silent = frozenset({alice.sid, bob.sid})
    (said,) = windows(room, sid, 0, silent=silent)
    assert (said["alice", "alice"], said["bob", "alice"]) == (LOST, LOST)
    assert said["bob", "bob"] == EXCELLENT, "nobody waits for one who publishes nothing"
    alice.tracks[sid].info.muted = True
    assert told(room.rate({}, {}, silent, 0))["bob", "alice"] == EXCELLENT, "nor for one who is muted"


@pytest.mark.parametrize(("protocol", "said"), [(4, None), (5, POOR), (10, POOR), (11, LOST)])
def test_older_clients_are_told_what_they_know(protocol: int, said: int | None) -> None:
    room, alice, _, sid = meeting()
    alice.client = ClientInfo(protocol=protocol)
    (all_said,) = windows(room, sid, 0, silent=frozenset({alice.sid}))
    assert all_said.get(("alice", "alice")) == said


def test_a_missing_layer_counts_once_it_was_asked_for() -> None:
    room, (alice,) = room_of("alice")
    layers = [VideoLayer(quality=quality) for quality in (VideoQuality.LOW, VideoQuality.MEDIUM, VideoQuality.HIGH)]
    room.add_track(alice, camera(layers=layers), "TR_1")
    room.publish(alice.pending[0], 0)
    track = alice.tracks["TR_1"]
    room.rate({"TR_1": Sample(100, 0, layers=2)}, {}, frozenset(), 9_999)
    assert track.scorer.score == 100, "encoders take their time"
    room.rate({"TR_1": Sample(200, 0, layers=2)}, {}, frozenset(), 10_000)
    assert alice.quality == GOOD
    track.asked = {track.mime_types[0]: VideoQuality.MEDIUM}
    for number in range(5):
        room.rate({"TR_1": Sample(300 + 100 * number, 0, layers=2)}, {}, frozenset(), 10_000)
    assert alice.quality == EXCELLENT


def test_sound_bears_more_loss_than_pictures_and_red_more_than_opus() -> None:
    scores = []
    for kind in ("video", "audio", "red"):
        scorer = Scorer()
        scorer.update(Sample(95, 5), kind)
        scores.append(scorer.score)
    assert scores == sorted(scores)
    assert len(set(scores)) == 3


def test_delay_counts() -> None:
    scorer = Scorer()
    scorer.update(Sample(100, 0, round_trip_ms=100), "audio")
    near = scorer.score
    scorer.update(Sample(200, 0, round_trip_ms=800), "audio")
    assert near > 98
    assert scorer.score < 80


def test_a_muted_track_begins_anew() -> None:
    room, (alice,) = room_of("alice")
    room.add_track(alice, AddTrackRequest(cid="m", type=TrackType.AUDIO, source=TrackSource.MICROPHONE), "TR_1")
    room.publish(alice.pending[0], 0)
    room.rate({"TR_1": Sample(50, 50)}, {}, frozenset(), 0)
    assert alice.tracks["TR_1"].scorer.score < 50
    room.mute(alice.tracks["TR_1"], is_muted=True)
    room.rate({}, {}, frozenset(), 0)
    assert alice.tracks["TR_1"].scorer.score == 100


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 2000), st.floats(0, 5000)), max_size=20))
def test_scores_stay_in_their_range(counts: list[tuple[int, int, float]]) -> None:
    scorer, packets, lost = Scorer(), 0, 0
    for more, fewer, delay in counts:
        packets, lost = packets + more, lost + fewer
        scorer.update(Sample(packets, lost, jitter_ms=delay), "video", missing=2)
        assert 30 <= scorer.score <= 100
