"""A server as a part of an application: what it tells, what can be asked of it, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.server.conftest import SETTINGS, House, make_server

import rtpcore
from rtpcore import ClosedError, ConfigError, JoinError, LimitError, ParametersError, Permission, RpcFailure, Server
from rtpcore.livekit_config import load
from rtpcore.server import (
    ParticipantChanged,
    ParticipantJoined,
    ParticipantLeft,
    RoomClosed,
    RoomCreated,
    RoomEmptied,
    TrackPublished,
    TrackUnpublished,
)
from rtpcore.wire.messages import AddTrackRequest, DisconnectReason, ParticipantInfo, TrackSource, TrackType

if TYPE_CHECKING:
    from collections.abc import Callable


def publish(server: Server, identity: str, source: TrackSource, kind: TrackType) -> str:
    """As though media of a track had come."""
    room = server.host.rooms["stage"]
    participant = room.participants[identity]
    request = AddTrackRequest(cid="c", type=kind, source=source, name="mine", width=640, height=480)
    room.add_track(participant, request, "TR_1")
    server.host.perform(room, room.publish(participant.pending[0], 0))
    return "TR_1"


class TestRunning:
    async def test_it_may_be_entered_again(self) -> None:
        server = make_server()
        for _ in range(2):
            assert not server.is_running
            async with server:
                assert server.is_running
                server.create_room("stage")
            assert not server.rooms

    async def test_what_needs_it_running_says_so(self) -> None:
        server = make_server()
        with pytest.raises(ClosedError, match="server"):
            server.create_room("stage")
        with pytest.raises(ClosedError, match="server"):
            await server.join("stage", "bot")

    def test_without_keys_there_is_no_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("LIVEKIT_KEYS", raising=False)
        with pytest.raises(ConfigError):
            Server()
        monkeypatch.setenv("LIVEKIT_KEYS", "key: a secret of more than thirty-two bytes")
        assert Server().settings.keys

    def test_a_forwarder_alone_loads_none_of_it(self) -> None:
        code = "import sys, rtpcore; rtpcore.Forwarder; sys.exit('aiohttp' in sys.modules or 'livekit' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
        with pytest.raises(AttributeError):
            _ = rtpcore.nothing

    async def test_who_comes_with_a_token_of_its_own_is_let_in(self, house: House) -> None:
        assert await house.validate("alice") == (200, "success")
        other = Server(load(SETTINGS.replace("thirty", "forty"), environ={}))
        async with house.http.get("/rtc/validate", params={"access_token": other.token("alice", "stage")}) as answer:
            assert answer.status == 401


class TestEvents:
    async def test_they_come_in_order(self, server: Server, heard: Callable[..., Any]) -> None:
        events = server.events()
        alice = await server.join("stage", "alice", kind="standard")
        alice.update(metadata="m")
        publish(server, "alice", TrackSource.CAMERA, TrackType.VIDEO)
        room = server.host.rooms["stage"]
        server.host.perform(room, room.unpublish(room.participants["alice"].tracks["TR_1"]))
        alice.leave()
        server.rooms["stage"].close()
        told = await heard(events, 8)
        assert [type(event) for event in told] == [
            RoomCreated,
            ParticipantJoined,
            ParticipantChanged,
            TrackPublished,
            TrackUnpublished,
            ParticipantLeft,
            RoomEmptied,
            RoomClosed,
        ]
        assert told[1].participant == alice.participant
        assert told[1].participant.identity == "alice"
        assert told[3].track.sid == "TR_1"
        assert told[5].reason == "client_initiated"
        assert told[7].room == told[0].room
        assert not told[7].room.is_open

    async def test_who_never_connected_is_not_told_of(self, house: House, heard: Callable[..., Any]) -> None:
        events = house.server.events()
        alice = await house.join("alice")
        await alice.until("join")
        await alice.socket.close()
        assert [type(event) for event in await heard(events, 2)] == [RoomCreated, RoomEmptied]

    async def test_they_end_with_the_server(self) -> None:
        server = make_server()
        async with server:
            events = server.events()
            server.create_room("stage")
        assert [type(event) async for event in events] == [RoomCreated, RoomClosed]

    async def test_a_reader_that_falls_behind_is_told(self, server: Server) -> None:
        events = server.events(capacity=2)
        for name in "abc":
            server.create_room(name)
        assert (await anext(events)).room.name == "a"
        assert (await anext(events)).room.name == "b"
        with pytest.raises(LimitError):
            await anext(events)

    async def test_an_agent_empties_no_room(self, server: Server, heard: Callable[..., Any]) -> None:
        events = server.events()
        async with await server.join("stage", "user", kind="standard"):
            bot = await server.join("stage", "bot")
        bot.leave()
        kinds = [type(event) for event in await heard(events, 6)]
        assert kinds[3:] == [ParticipantLeft, RoomEmptied, ParticipantLeft]


class TestViews:
    async def test_rooms_and_who_is_in_them(self, server: Server) -> None:
        assert "stage" not in server.rooms
        room = server.create_room("stage", metadata="m", max_participants=5)
        assert server.create_room("stage", metadata="other") == room
        assert (room.metadata, room.max_participants, list(server.rooms), len(server.rooms)) == ("m", 5, ["stage"], 1)
        bot = await server.join("stage", "bot", name="Bot", attributes={"a": "1"}, permission=Permission(hidden=True))
        found = room.participants["bot"]
        assert found == bot.participant
        assert (found.name, dict(found.attributes), found.kind) == ("Bot", {"a": "1"}, "agent")
        assert found.permission == Permission(hidden=True)
        assert (found.is_active, found.is_here, found.is_speaking, found.tracks) == (True, True, False, ())
        assert found.room == room == server.rooms["stage"]
        assert "Bot" not in repr(found) + repr(room) + repr(bot)

    async def test_who_speaks_is_first_by_loudness(self, server: Server) -> None:
        room = server.create_room("stage")
        for identity in "abc":
            await server.join("stage", identity)
        state = server.host.rooms["stage"].participants
        state["a"].level, state["c"].level = 0.25, 0.75
        assert [one.identity for one in room.speakers] == ["c", "a"]
        assert room.speakers[0].audio_level == 0.75

    async def test_tracks(self, house: House) -> None:
        alice = await house.join("alice")
        await alice.until("join")
        publish(house.server, "alice", TrackSource.SCREEN_SHARE, TrackType.VIDEO)
        (track,) = house.server.rooms["stage"].participants["alice"].tracks
        assert (track.kind, track.source, track.name, track.sid) == ("video", "screen_share", "mine", "TR_1")
        assert (track.width, track.height, track.is_muted, track.is_published) == (640, 480, False, True)
        assert track.publisher.identity == "alice"
        track.mute()
        assert track.is_muted
        assert (await alice.until("mute")).muted
        track.publisher.remove()
        assert not track.is_published
        for action in (track.mute, track.unmute):
            with pytest.raises(ClosedError, match="track"):
                action()

    async def test_a_server_unmutes_where_the_settings_let_it(self, server: Server) -> None:
        await server.join("stage", "alice")
        publish(server, "alice", TrackSource.MICROPHONE, TrackType.AUDIO)
        (track,) = server.rooms["stage"].participants["alice"].tracks
        track.mute()
        with pytest.raises(ConfigError, match="enable_remote_unmute"):
            track.unmute()
        room = server.host.rooms["stage"]
        room.rules = replace(room.rules, allows_remote_unmute=True)
        track.unmute()
        assert not track.is_muted

    async def test_what_is_too_long_is_refused(self, server: Server) -> None:
        bot = await server.join("stage", "bot")
        for action in (
            lambda: bot.update(metadata="x" * 600_000),
            lambda: bot.update(name="x" * 300),
            lambda: bot.update(attributes={"x": "x" * 70_000}),
            lambda: bot.room.set_metadata("x" * 600_000),
        ):
            with pytest.raises(ParametersError, match="bytes"):
                action()

    async def test_what_is_changed_is_told_to_clients(self, house: House) -> None:
        alice = await house.join("alice")
        await alice.until("join")
        room = house.server.rooms["stage"]
        room.set_metadata("now")
        assert (await alice.until("room_update")).room.metadata == "now"
        participant = room.participants["alice"]
        participant.update(name="Alice", attributes={"a": "1"}, permission=Permission(can_publish=False))
        (told,) = (await alice.until("update")).participants
        assert (told.name, told.attributes, told.permission.can_publish) == ("Alice", {"a": "1"}, False)
        assert participant.permission == Permission(can_publish=False)
        participant.remove()
        participant.remove()
        assert (await alice.until("leave")).reason == DisconnectReason.PARTICIPANT_REMOVED
        assert not participant.is_here

    async def test_what_is_gone_says_so(self, server: Server) -> None:
        bot = await server.join("stage", "bot")
        participant, room = bot.participant, bot.room
        room.close()
        room.close()
        for action in (
            lambda: participant.update(name="x"),
            lambda: participant.send(b""),
            lambda: room.set_metadata("x"),
            lambda: room.send(b""),
        ):
            with pytest.raises(ClosedError):
                action()
        with pytest.raises(ClosedError):
            await participant.perform_rpc("x")
        with pytest.raises(KeyError):
            server.rooms["stage"]
        assert participant.identity == "bot", "as it was"

    @pytest.mark.parametrize("name", ["", "x" * 257])
    async def test_a_room_has_a_name(self, server: Server, name: str) -> None:
        with pytest.raises(JoinError):
            server.create_room(name)

    def test_a_permission_knows_its_sources(self) -> None:
        with pytest.raises(ConfigError, match="camera"):
            Permission(can_publish_sources=("kamera",))

    async def test_a_full_room_takes_nobody(self, server: Server) -> None:
        server.create_room("stage", max_participants=1)
        await server.join("stage", "a", kind="standard")
        with pytest.raises(JoinError, match="full"):
            await server.join("stage", "b", kind="standard")
        await server.join("stage", "agent")

    async def test_the_server_speaks_to_all_or_to_some(self, server: Server, heard: Callable[..., Any]) -> None:
        bots = [await server.join("stage", identity) for identity in "ab"]
        events = [bot.events() for bot in bots]
        room = server.rooms["stage"]
        room.send("to all", topic="t")
        room.send(b"to b", to=["b", "nobody"], is_reliable=False)
        room.participants["a"].send("to a")
        assert {one.payload for one in await heard(events[0], 2)} == {b"to all", b"to a"}
        told = await heard(events[1], 2)
        assert {(one.sender, one.payload) for one in told} == {("", b"to all"), ("", b"to b")}
        with pytest.raises(LimitError):
            room.send(bytes(10_000_000))

    async def test_the_server_calls_methods(self, server: Server) -> None:
        bot = await server.join("stage", "bot")
        bot.register("greet", lambda call: f"hello {call.payload} from {call.caller}")
        participant = server.rooms["stage"].participants["bot"]
        assert await participant.perform_rpc("greet", "you") == "hello you from server"
        with pytest.raises(RpcFailure) as failure:
            await participant.perform_rpc("nothing")
        assert failure.value.code == 1400


async def test_others_see_a_participant_in_the_process_like_any(house: House) -> None:
    alice = await house.join("alice")
    await alice.until("join")
    bot = await house.server.join("stage", "bot", metadata="m", kind="agent")
    told = [(await alice.until("update")).participants[0] for _ in range(2)]
    assert [one.state for one in told] == [ParticipantInfo.JOINED, ParticipantInfo.ACTIVE]
    assert (told[1].identity, told[1].metadata, told[1].kind) == ("bot", "m", ParticipantInfo.AGENT)
    bot.leave()
    assert (await alice.until("update")).participants[0].state == ParticipantInfo.DISCONNECTED
