"""Hooks decide, fail and are late, and nobody but who asked notices."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.server.conftest import House, open_house

from rtpcore import ConfigError, Hooks, JoinError, JoinRequest, Permission, PublishRequest, RoomNotice, SubscribeRequest
from rtpcore.wire.join import JoinParameters
from rtpcore.wire.messages import (
    AddTrackRequest,
    ParticipantInfo,
    RequestResponse,
    TrackSource,
    TrackType,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CAMERA = AddTrackRequest(cid="cam", type=TrackType.VIDEO, source=TrackSource.CAMERA, name="mine")
MICROPHONE = AddTrackRequest(cid="mic", type=TrackType.AUDIO, source=TrackSource.MICROPHONE)


def fail(request: object) -> Any:
    raise RuntimeError("no database")


async def fail_later(request: object) -> Any:
    raise RuntimeError("no database")


async def never(request: object) -> Any:
    await asyncio.Event().wait()


async def stubborn(request: object) -> Any:
    """Does not let itself be cancelled."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.Event().wait()


class TestJoining:
    async def test_a_hook_sees_who_and_where(self) -> None:
        asked: list[JoinRequest] = []

        def may_join(request: JoinRequest) -> bool:
            asked.append(request)
            return True

        async with open_house(Hooks(may_join=may_join)) as house:
            await (await house.join("alice")).until("join")
        assert asked == [JoinRequest("stage", "alice", "standard", "", "", {}, Permission())]

    async def test_a_hook_refuses_and_says_why(self) -> None:
        async def may_join(request: JoinRequest) -> bool:
            if request.identity == "eve":
                raise JoinError(402, "pay first")
            return request.identity != "mallory"

        async with open_house(Hooks(may_join=may_join)) as house:
            assert await house.validate("eve") == (402, "pay first")
            assert (await house.validate("mallory"))[0] == 403
            assert (await house.validate("alice"))[0] == 200
            with pytest.raises(Exception, match="402"):
                await house.join("eve")
            assert not house.server.rooms

    async def test_a_hook_changes_what_somebody_is_and_may(self) -> None:
        def may_join(request: JoinRequest) -> JoinRequest:
            may = replace(request.permission, can_publish=False, can_publish_sources=("camera",))
            return replace(request, name="Alice", metadata="m", attributes={"a": "1"}, permission=may)

        async with open_house(Hooks(may_join=may_join)) as house:
            joined = await (await house.join("alice")).until("join")
        me = joined.participant
        assert (me.name, me.metadata, me.attributes, me.permission.can_publish) == ("Alice", "m", {"a": "1"}, False)
        assert list(me.permission.can_publish_sources) == [TrackSource.CAMERA]

    @pytest.mark.parametrize(
        "may_join",
        [
            fail,
            fail_later,
            never,
            stubborn,
            lambda request: None,
            lambda request: "yes",
            lambda request: replace(request, room="another"),
            lambda request: threading.Event().wait(0.5),
        ],
        ids=["fails", "fails later", "never", "stubborn", "says nothing", "says a word", "moves", "sleeps"],
    )
    async def test_a_hook_that_fails_or_is_late_refuses(self, may_join: Any, caplog: pytest.LogCaptureFixture) -> None:
        async with open_house(Hooks(may_join=may_join, deadline_s=0.1)) as house:
            status, text = await house.validate("alice")
            assert (status, "decide" in text) == (500, True)
            lines = [one for one in caplog.records if one.name == "rtpcore.policy" and one.levelno >= logging.ERROR]
            assert len(lines) == 1
            assert "alice" not in caplog.text

    async def test_who_waits_for_a_hook_holds_up_nobody(self) -> None:
        begun, answer = threading.Event(), threading.Event()

        def may_join(request: JoinRequest) -> bool:
            if request.identity == "slow":
                begun.set()
                answer.wait(30)
            return True

        async with open_house(Hooks(may_join=may_join, deadline_s=30)) as house:
            slow = asyncio.create_task(house.join("slow"))
            await asyncio.to_thread(begun.wait, 30)
            await (await house.join("quick")).until("join")
            assert not slow.done()
            answer.set()
            await (await slow).until("join")

    @pytest.mark.parametrize("seconds", [0, -1, 61])
    def test_a_deadline_can_be_met(self, seconds: float) -> None:
        with pytest.raises(ConfigError, match="deadline"):
            Hooks(deadline_s=seconds)


class TestPublishing:
    async def test_a_hook_lets_some_tracks_be_published(self) -> None:
        asked: list[PublishRequest] = []

        async def may_publish(request: PublishRequest) -> bool:
            asked.append(request)
            return request.kind == "audio"

        async with open_house(Hooks(may_publish=may_publish)) as house:
            alice = await house.join("alice")
            await alice.send(add_track=CAMERA)
            await alice.send(add_track=MICROPHONE)
            refused = await alice.until("request_response")
            assert (refused.reason, refused.add_track.cid) == (RequestResponse.Reason.NOT_ALLOWED, "cam")
            assert (await alice.until("track_published")).cid == "mic"
        assert asked[0] == PublishRequest("stage", "alice", "video", "camera", "mine")

    async def test_what_a_client_says_next_waits(self) -> None:
        allow = asyncio.Event()

        async def may_publish(request: PublishRequest) -> bool:
            await allow.wait()
            return True

        async with open_house(Hooks(may_publish=may_publish, deadline_s=30)) as house:
            alice, bob = await house.join("alice"), await house.join("bob")
            await alice.send(add_track=CAMERA)
            await alice.send(ping=1)
            await bob.send(ping=1)
            await bob.until("pong")
            allow.set()
            assert (await alice.until("track_published")).cid == "cam"
            await alice.until("pong")

    async def test_a_hook_that_fails_refuses(self) -> None:
        async with open_house(Hooks(may_publish=fail)) as house:
            alice = await house.join("alice")
            await alice.send(add_track=CAMERA)
            assert (await alice.until("request_response")).reason == RequestResponse.Reason.NOT_ALLOWED

    async def test_tracks_that_come_with_the_wish_to_join(self) -> None:
        async with open_house(Hooks(may_publish=lambda request: request.kind == "audio")) as house:
            host = house.server.host
            claims = host.keyring.verify(house.server.token("alice", "stage"), time.time())
            admission = await host.admit(claims, JoinParameters(add_tracks=(CAMERA, MICROPHONE)))
            assert (admission.parameters.add_tracks, admission.refused) == ((MICROPHONE,), (CAMERA,))
            session = host.join(admission.claims, admission.parameters, refused=admission.refused)
            kinds = [message.WhichOneof("message") for message in session.outbox]
            assert kinds.index("request_response") < kinds.index("track_published")

    async def test_whip_is_refused(self, peer: Callable[[], Any]) -> None:
        async with open_house(Hooks(may_publish=lambda request: request.source != "camera")) as house:
            for kinds, status in (("audio", 201), ("video", 403)):
                source = peer()
                source.send(kinds)
                access = house.server.token(kinds, "stage")
                headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {access}"}
                async with house.http.post("/whip/v1", data=await source.offer(), headers=headers) as answer:
                    assert answer.status == status, await answer.text()
            assert list(house.server.rooms["stage"].participants) == ["audio"]


class TestSubscribing:
    """Whoever publishes and plays does so by WHIP and WHEP, aiortc on both sides."""

    async def publish(self, house: House, source: Any) -> None:
        source.send("audio")
        headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {house.server.token('alice', 'stage')}"}
        async with house.http.post("/whip/v1", data=await source.offer(), headers=headers) as answer:
            await source.accept(await answer.text())

    async def test_a_hook_lets_some_have_a_track(self, peer: Callable[[], Any], until: Any) -> None:
        asked: list[SubscribeRequest] = []

        def may_subscribe(request: SubscribeRequest) -> bool:
            asked.append(request)
            return request.identity == "bob"

        async with open_house(Hooks(may_subscribe=may_subscribe)) as house:
            await self.publish(house, peer())
            await until(lambda: house.server.rooms["stage"].participants["alice"].tracks)
            _bob, eve = await house.join("bob"), await house.join("eve")
            state = house.server.host.rooms["stage"].participants
            (track,) = state["alice"].tracks.values()
            assert not (await eve.until("subscription_permission_update")).allowed
            await until(lambda: track.sid in house.server.host.sessions[state["bob"].sid].peer.subscriber.copies)
            assert track.sid not in house.server.host.sessions[state["eve"].sid].peer.subscriber.copies
        assert sorted(asked, key=lambda one: one.identity)[0] == SubscribeRequest(
            "stage", "bob", "alice", track.sid, "audio", "microphone", ""
        )

    @pytest.mark.parametrize("is_allowed", [True, False])
    async def test_whep_waits_for_the_answer(self, is_allowed: bool, peer: Callable[[], Any], until: Any) -> None:
        async def may_subscribe(request: SubscribeRequest) -> bool:
            await asyncio.sleep(0)
            return is_allowed

        async with open_house(Hooks(may_subscribe=may_subscribe)) as house:
            await self.publish(house, peer())
            await until(lambda: house.server.rooms["stage"].participants["alice"].tracks)
            player = peer()
            player.receive("audio")
            headers = {"Content-Type": "application/sdp"}
            headers["Authorization"] = f"Bearer {house.server.token('player', 'stage')}"
            async with house.http.post("/whep/v1", data=await player.offer(), headers=headers) as answer:
                text = await answer.text()
            assert ("a=sendonly" in text) is is_allowed, text
            if is_allowed:
                await player.accept(text)
                assert len(await player.frames("audio")) == 3

    async def test_who_is_gone_before_the_answer(self, peer: Callable[[], Any], until: Any) -> None:
        asked, answer = asyncio.Event(), asyncio.Event()

        async def may_subscribe(request: SubscribeRequest) -> bool:
            asked.set()
            await answer.wait()
            return True

        async with open_house(Hooks(may_subscribe=may_subscribe, deadline_s=30)) as house:
            await self.publish(house, peer())
            await until(lambda: house.server.rooms["stage"].participants["alice"].tracks)
            bob = await house.join("bob")
            await bob.until("join")
            await asyncio.wait_for(asked.wait(), 30)
            host = house.server.host
            assert len(host.gate._asked) == 1
            house.server.rooms["stage"].participants["bob"].remove()
            answer.set()
            await until(lambda: not host.gate._asked)
            (track,) = host.rooms["stage"].participants["alice"].tracks.values()
            assert not track.subscriptions


class TestRooms:
    async def test_hooks_hear_of_rooms_in_order(self, until: Any) -> None:
        heard: list[Any] = []

        async def created(notice: RoomNotice) -> None:
            await asyncio.sleep(0)
            heard.append(("created", notice.room))

        def emptied(notice: RoomNotice) -> None:
            heard.append(("emptied", notice.room))

        async with open_house(Hooks(room_created=created, room_emptied=emptied)) as house:
            async with await house.server.join("stage", "a", kind="standard"):
                pass
            await until(lambda: len(heard) == 2)
            assert heard == [("created", "stage"), ("emptied", "stage")]
            await until(lambda: not house.server._policy._notices)

    async def test_a_hook_that_fails_is_a_line_in_the_log(self, until: Any, caplog: pytest.LogCaptureFixture) -> None:
        async with open_house(Hooks(room_created=fail)) as house:
            house.server.create_room("stage")
            await until(lambda: "room_created" in caplog.text)
            alice = await house.join("alice")
            assert (await alice.until("join")).participant.state == ParticipantInfo.JOINED
