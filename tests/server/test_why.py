"""Why a subscriber sees what it sees, asked of a server that runs: by the application and over HTTP."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.server.test_server import publish

from rtpcore.server import Explanation
from rtpcore.wire.messages import TrackSource, TrackType
from rtpcore.wire.token import Claims, Keyring, VideoGrant

if TYPE_CHECKING:
    from tests.server.conftest import House

KEYRING = Keyring({"key": "a secret of more than thirty-two bytes"})


def bearer(**grant: Any) -> dict[str, str]:
    token = KEYRING.issue(Claims(identity="x", video=VideoGrant(**grant)), now=time.time(), ttl=60)
    return {"Authorization": f"Bearer {token}"}


ADMIN = bearer(room_admin=True, room="stage")


async def ask(house: House, headers: dict[str, str], **query: str) -> tuple[int, str]:
    async with house.http.get("/rtpcore/why", params=query, headers=headers) as answer:
        return answer.status, await answer.text()


@pytest.fixture
async def watched(house: House) -> House:
    """Alice publishes, Bob is subscribed and has not answered."""
    await (await house.join("alice")).until("join")
    await (await house.join("bob")).until("join")
    publish(house.server, "alice", TrackSource.CAMERA, TrackType.VIDEO)
    return house


async def test_an_application_asks_a_participant(watched: House) -> None:
    people = watched.server.rooms["stage"].participants
    (track,) = people["bob"].why().tracks
    assert (track.publisher, track.track_sid, track.kind, track.limit) == ("alice", "TR_1", "video", "negotiation")
    assert people["alice"].why() == Explanation("alice")
    bob = people["bob"]
    bob.remove()
    assert bob.why() == Explanation("bob")


async def test_who_administers_the_room_hears_of_everybody_or_of_one(watched: House) -> None:
    async with watched.http.get("/rtpcore/why", params={"room": "stage"}, headers=ADMIN) as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        told = await answer.json()
    assert (told["room"], [one["identity"] for one in told["participants"]]) == ("stage", ["alice", "bob"])
    query = {"room": "stage", "identity": "bob"}
    async with watched.http.get("/rtpcore/why", params=query, headers=ADMIN) as answer:
        (bob,) = (await answer.json())["participants"]
    assert (bob["path"], [track["limit"] for track in bob["tracks"]]) == (None, ["negotiation"])
    assert bob["tracks"][0]["repairs"] == {"nacks": 0, "retransmitted": 0, "fec_packets": 0}


async def test_without_a_token_that_proves_anything_nothing_is_told(watched: House) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic eDp5"}):
        status, text = await ask(watched, headers, room="stage")
        assert status == 401
        assert text
        assert "alice" not in text


@pytest.mark.parametrize(
    "grant",
    [
        {"room_join": True, "room": "stage"},
        {"room_admin": True, "room": "other"},
        {"room_admin": True},
        {"room_create": True, "room_list": True},
    ],
)
async def test_others_are_told_what_they_lack(watched: House, grant: dict[str, Any]) -> None:
    assert await ask(watched, bearer(**grant), room="stage") == (403, "the token must grant roomAdmin for this room")


async def test_what_is_not_there_is_said(watched: House) -> None:
    assert await ask(watched, bearer(room_admin=True, room="nowhere"), room="nowhere") == (
        404,
        "requested room does not exist",
    )
    assert await ask(watched, ADMIN, room="stage", identity="carol") == (404, "participant does not exist")
    assert (await ask(watched, ADMIN))[0] == 400
