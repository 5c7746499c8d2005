"""Why a subscriber sees what it sees, from rooms and counts that are made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.room.test_room import camera, room_of

from rtpcore.events import Layer
from rtpcore.explaining import CAUSES, LIMITS, Explanation, Picture, Repairs, explain
from rtpcore.room import Rules
from rtpcore.stats import BandwidthStats, EncodingStats, ReceiverStats, SenderStats, TransportStats
from rtpcore.wire.messages import (
    AddTrackRequest,
    SubscriptionPermission,
    TrackSource,
    TrackType,
    UpdateSubscription,
    UpdateTrackSettings,
    VideoLayer,
    VideoQuality,
)

if TYPE_CHECKING:
    from rtpcore.room import Participant, Room

SENT = SenderStats(
    packets_sent=100,
    bytes_sent=90_000,
    retransmitted=3,
    dropped=0,
    layer=Layer(1, 2),
    fraction_lost=0.05,
    round_trip_ms=40,
    nacks=4,
    fec_packets=2,
    playout_delay_ms=60,
    wished=Layer(2, 7),
    granted=Layer(1, 2),
    limit="bandwidth",
    keyframe_wait_ms=120,
)
ENCODING = EncodingStats(0, 0, 0, 0, 0, 0, None, 0, 0)
LAYERS = [
    VideoLayer(quality=VideoQuality.LOW, width=320, height=180),
    VideoLayer(quality=VideoQuality.MEDIUM, width=640, height=360),
    VideoLayer(quality=VideoQuality.HIGH, width=1280, height=720),
]


class Watching:
    """Alice's track is sent to Bob: a room, Bob's connection, and what was counted."""

    def __init__(self, request: AddTrackRequest | None = None) -> None:
        self.room: Room
        self.bob: Participant
        self.room, (self.alice, self.bob) = room_of("alice", "bob")
        self.room.add_track(self.alice, request or camera(layers=LAYERS), "TR_1")
        self.room.publish(self.alice.pending[0], 0)
        self.sent: SenderStats | None = SENT
        self.sizes: list[tuple[int, int] | None] = [(320, 180), (640, 360), None]
        self.bandwidth: BandwidthStats | None = BandwidthStats(700_000, "delay", 600_000, 500_000, 3)
        sources = SimpleNamespace(receivers={"": "receiver"})
        self.copy = SimpleNamespace(sources=sources, mime_type="", parameters="agreed", sender="sender")
        self.copies = {"TR_1": self.copy}

    def explained(self) -> Explanation:
        bandwidth = TransportStats("connected", 0, 0, 0, 0, {}, None, self.bandwidth)
        encodings = tuple(replace(ENCODING, size=size) for size in self.sizes)
        snapshot: Any = SimpleNamespace(
            transport=lambda _: bandwidth,
            receiver=lambda _: ReceiverStats(encodings, 1),
            sender=lambda _: self.sent,
        )
        connection = SimpleNamespace(copies=self.copies, is_begun=True, transport="transport")
        peer: Any = SimpleNamespace(subscriber=connection)
        return explain(self.bob, peer, snapshot)

    @property
    def limit(self) -> str:
        (track,) = self.explained().tracks
        assert track.reason
        return track.limit


def test_a_narrow_path_is_told_with_all_its_figures() -> None:
    told = Watching().explained()
    assert told.identity == "bob"
    assert told.path is not None
    assert (told.path.estimate_bps, told.path.cause, told.path.video_budget_bps) == (700_000, "delay", 600_000)
    assert told.path.reason == CAUSES["delay"]
    (track,) = told.tracks
    assert (track.publisher, track.track_sid, track.kind, track.source) == ("alice", "TR_1", "video", "camera")
    assert (track.limit, track.reason) == ("bandwidth", LIMITS["bandwidth"])
    assert track.layer == track.granted == Picture(1, 2, 640, 360)
    assert track.wished == Picture(2, None, 1280, 720), "every frame, in the size that was announced"
    assert (track.fraction_lost, track.round_trip_ms, track.keyframe_wait_ms) == (0.05, 40, 120)
    assert (track.repairs, track.playout_delay_ms) == (Repairs(4, 3, 2), 60)


def test_one_that_is_paused_for_want_of_room_says_so() -> None:
    watching = Watching()
    watching.sent = replace(SENT, layer=None, granted=None)
    (track,) = watching.explained().tracks
    assert (track.limit, track.layer, track.granted) == ("bandwidth", None, None)
    assert track.reason.startswith("paused")


@pytest.mark.parametrize("limit", ["none", "wish", "publisher", "keyframe"])
def test_what_the_core_says_is_passed_on_in_words(limit: str) -> None:
    watching = Watching()
    watching.sent = replace(SENT, limit=limit)
    (track,) = watching.explained().tracks
    assert (track.limit, track.reason) == (limit, LIMITS[limit])


def test_what_the_room_says_comes_first() -> None:
    watching = Watching()
    watching.room.update_settings(watching.bob, UpdateTrackSettings(track_sids=["TR_1"], disabled=True))
    assert watching.limit == "paused"
    assert watching.explained().tracks[0].granted is None, "what it was granted before says nothing of now"
    watching.room.update_settings(watching.bob, UpdateTrackSettings(track_sids=["TR_1"], quality=VideoQuality.HIGH))
    watching.room.mute(watching.alice.tracks["TR_1"], is_muted=True)
    assert watching.limit == "muted"
    watching.room.set_subscription_permission(watching.alice, SubscriptionPermission(all_participants=False))
    assert watching.limit == "forbidden"
    watching.room.update_subscription(watching.bob, UpdateSubscription(track_sids=["TR_1"], subscribe=False), 0)
    assert watching.limit == "unsubscribed"


def test_a_participant_without_the_right_to_subscribe_is_told_so() -> None:
    watching = Watching()
    watching.bob.permission.can_subscribe = False
    assert watching.limit == "forbidden"


def test_one_track_too_many_is_told() -> None:
    watching = Watching()
    watching.room.rules = Rules(max_video_subscriptions=1)
    watching.room.add_track(watching.alice, camera("other"), "TR_2")
    watching.room.publish(watching.alice.pending[0], 0)
    assert [one.limit for one in watching.explained().tracks] == ["bandwidth", "too_many"]


def test_before_anything_is_agreed_or_has_come() -> None:
    watching = Watching()
    watching.sent = None
    assert watching.limit == "source"
    watching.copy.parameters = watching.copy.sender = None
    assert watching.limit == "negotiation"
    watching.copies.clear()
    assert watching.limit == "negotiation"
    watching.bandwidth = None
    assert watching.explained().path is None


def test_sound_has_no_layers() -> None:
    watching = Watching(AddTrackRequest(cid="m", type=TrackType.AUDIO, source=TrackSource.MICROPHONE))
    watching.sent = replace(SENT, limit="none")
    (track,) = watching.explained().tracks
    assert (track.kind, track.source, track.limit) == ("audio", "microphone", "none")
    assert (track.layer, track.granted, track.wished) == (None, None, None)
    assert track.repairs.nacks == 4


def test_one_encoding_of_several_layers_has_the_size_of_its_largest() -> None:
    watching = Watching()
    watching.sizes = [(1280, 720)]
    watching.sent = replace(SENT, layer=Layer(1, 2), wished=Layer(7, 7), granted=Layer(2, 1))
    (track,) = watching.explained().tracks
    assert track.layer == Picture(1, 2, 640, 360)
    assert track.wished == Picture(2, None, 1280, 720)
    assert track.granted == Picture(2, 1, 1280, 720)


def test_a_size_that_nobody_knows_is_zero() -> None:
    watching = Watching()
    watching.sizes = []
    watching.alice.tracks["TR_1"].info.ClearField("layers")
    assert watching.explained().tracks[0].layer == Picture(0, 2, 0, 0)


def test_one_who_has_gone_gets_nothing() -> None:
    watching = Watching()
    watching.room.leave(watching.bob, 1, 0)  # type: ignore[arg-type]
    snapshot: Any = SimpleNamespace()
    assert explain(watching.bob, None, snapshot) == Explanation("bob")


def test_every_limit_and_cause_has_a_place_in_the_documentation() -> None:
    page = (Path(__file__).parents[1] / "docs" / "howto" / "small-video.md").read_text()
    for name in (*LIMITS, *CAUSES):
        assert f"`{name}`" in page, name
