"""Data tracks in a room: who may publish them, who gets them under which number, and what everybody is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.room.test_room import room_of, somebody, told

from rtpcore.room import OpenData, RouteData, Rules, ShutData, Tell, datatracks
from rtpcore.wire.messages import (
    ParticipantPermission,
    PublishDataTrackRequest,
    RequestResponse,
    UnpublishDataTrackRequest,
    UpdateDataSubscription,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rtpcore.room import Effect, Participant, Room

Reason = RequestResponse.Reason


def publish(room: Room, who: Participant, handle: int = 7, name: str = "pose") -> list[Effect]:
    request = PublishDataTrackRequest(pub_handle=handle, name=name)
    return datatracks.publish(room, who, request, f"DTR_{name}")


def subscribe(room: Room, who: Participant, *sids: str, wanted: bool = True) -> list[Effect]:
    updates = [UpdateDataSubscription.Update(track_sid=sid, subscribe=wanted) for sid in sids]
    return datatracks.update(room, who, UpdateDataSubscription(updates=updates))


def handles(effects: Iterable[Effect], who: Participant) -> dict[int, str]:
    """What somebody was told last of what it gets."""
    lists = [e.message.data_track_subscriber_handles for e in effects if isinstance(e, Tell) and e.to is who]
    return {number: one.track_sid for number, one in lists[-1].sub_handles.items()}


def routes(effects: Iterable[Effect]) -> list[tuple[str, int | None]]:
    return [(e.subscriber.identity, e.handle) for e in effects if isinstance(e, RouteData)]


def test_a_data_track_is_answered_listed_and_subscribed_to() -> None:
    room, (alice, bob) = room_of("alice", "bob")
    effects = publish(room, alice)
    assert any(isinstance(e, OpenData) for e in effects)
    assert told(effects, alice) == ["publish_data_track_response"]
    assert told(effects, bob) == ["update"], "nothing is sent to those who did not ask"
    assert [one.name for one in alice.info().data_tracks] == ["pose"]
    effects = subscribe(room, bob, "DTR_pose")
    assert (routes(effects), handles(effects, bob)) == ([("bob", 1)], {1: "DTR_pose"})
    effects = subscribe(room, bob, "DTR_pose")
    assert (routes(effects), handles(effects, bob)) == ([], {1: "DTR_pose"}), "who asks again is told again"
    effects = subscribe(room, bob, "DTR_pose", wanted=False)
    assert (routes(effects), handles(effects, bob)) == ([("bob", None)], {})
    assert routes(subscribe(room, bob, "DTR_pose")) == [("bob", 2)], "no number is used twice"
    assert subscribe(room, alice, "DTR_pose", "DTR_none")[:-1] == [], "neither one's own nor unknown ones"


def test_it_ends_with_its_publisher() -> None:
    room, (alice, bob) = room_of("alice", "bob")
    publish(room, alice)
    subscribe(room, bob, "DTR_pose")
    effects = room.leave(alice, 0, 0)
    assert any(isinstance(e, ShutData) for e in effects)
    assert handles([e for e in effects if "data_track_subscriber_handles" in str(e)], bob) == {}


def test_a_subscriber_that_leaves_is_forgotten() -> None:
    room, (alice, bob) = room_of("alice", "bob")
    publish(room, alice)
    subscribe(room, bob, "DTR_pose")
    room.leave(bob, 0, 0)
    assert not alice.data_tracks["DTR_pose"].subscribers


def test_a_publisher_ends_its_own_by_number() -> None:
    room, (alice, bob) = room_of("alice", "bob")
    publish(room, alice)
    subscribe(room, bob, "DTR_pose")
    effects = datatracks.unpublish(room, alice, UnpublishDataTrackRequest(pub_handle=7))
    assert told(effects, alice) == ["unpublish_data_track_response"]
    assert told(effects, bob) == ["data_track_subscriber_handles", "update"]
    effects = datatracks.unpublish(room, alice, UnpublishDataTrackRequest(pub_handle=7))
    assert [e.message.request_response.reason for e in effects if isinstance(e, Tell)] == [Reason.NOT_FOUND]


def test_who_wants_all_gets_all() -> None:
    room, (alice, bob) = room_of("alice", "bob")
    bob.auto_subscribe_data = True
    assert routes(publish(room, alice)) == [("bob", 1)]
    late = somebody("late", auto_subscribe_data=True)
    effects = room.join(late)
    assert (routes(effects), handles(effects, late)) == ([("late", 1)], {1: "DTR_pose"})


@pytest.mark.parametrize(
    ("handle", "name", "reason"),
    [
        (0, "x", Reason.INVALID_HANDLE),
        (65536, "x", Reason.INVALID_HANDLE),
        (1, "", Reason.INVALID_NAME),
        (1, "x" * 257, Reason.INVALID_NAME),
        (7, "x", Reason.DUPLICATE_HANDLE),
        (1, "pose", Reason.DUPLICATE_NAME),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(handle: int, name: str, reason: int) -> None:
    room, (alice,) = room_of("alice")
    publish(room, alice)
    (refusal,) = publish(room, alice, handle, name)
    assert isinstance(refusal, Tell)
    assert refusal.message.request_response.reason == reason
    assert refusal.message.request_response.publish_data_track.name == name, "so that the client knows which"


@pytest.mark.parametrize("by_rules", [True, False])
def test_who_may_not_publish_data_publishes_none(by_rules: bool) -> None:
    room, (alice,) = room_of("alice")
    if by_rules:
        room.rules = Rules(has_data_tracks=False)
    else:
        alice.permission = ParticipantPermission(can_publish=True)
    (refusal,) = publish(room, alice)
    assert isinstance(refusal, Tell)
    assert refusal.message.request_response.reason == Reason.NOT_ALLOWED


def test_a_revoked_permission_takes_both_ends_away() -> None:
    room, (alice, bob) = room_of("alice", "bob")
    publish(room, alice)
    subscribe(room, bob, "DTR_pose")
    effects = room.update_participant(bob, permission=ParticipantPermission(can_publish_data=True))
    assert routes(effects) == [("bob", None)]
    subscribe(room, bob, "DTR_pose")
    assert routes(subscribe(room, bob, "DTR_pose")) == [], "not without the right to subscribe"
    room.update_participant(alice, permission=ParticipantPermission(can_subscribe=True))
    assert not alice.data_tracks


def test_numbers_of_data_tracks_are_bounded() -> None:
    room, (alice,) = room_of("alice")
    for number in range(1, 257):
        publish(room, alice, number, str(number))
    (refusal,) = publish(room, alice, 300, "one too many")
    assert isinstance(refusal, Tell)
    assert refusal.message.request_response.reason == Reason.LIMIT_EXCEEDED
