"""Participants in the process: what they say, hear, answer, and how they go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from rtpcore import ClosedError, LimitError, Permission, RpcFailure, Server
from rtpcore.server import PacketReceived, Removed, RpcCall, TextReceived
from rtpcore.wire.messages import DataPacket, DataStream, RpcRequest

if TYPE_CHECKING:
    from collections.abc import Callable


async def test_messages_go_to_all_others_or_to_some(server: Server, heard: Callable[..., Any]) -> None:
    a, b, c = [await server.join("stage", identity) for identity in "abc"]
    events = {bot.identity: bot.events() for bot in (a, b, c)}
    a.send("to all", topic="t")
    a.send(b"to c", to=["c"])
    c.send("done", is_reliable=False)
    assert await heard(events["b"], 2) == [
        PacketReceived("a", "t", b"to all"),
        PacketReceived("c", "", b"done", is_reliable=False),
    ]
    assert await heard(events["c"], 2) == [PacketReceived("a", "t", b"to all"), PacketReceived("a", "", b"to c")]
    assert await heard(events["a"], 1) == [PacketReceived("c", "", b"done", is_reliable=False)]


async def test_a_text_of_any_length_arrives_whole(server: Server, heard: Callable[..., Any]) -> None:
    a, b = await server.join("stage", "a"), await server.join("stage", "b")
    events = b.events()
    text = "ünïcödé 🎈 " * 5000
    long = a.send_text(text, topic="lk.chat", attributes={"k": "v"})
    empty = a.send_text("", to=["b"])
    assert await heard(events, 2) == [
        TextReceived("a", "lk.chat", text, {"k": "v"}, long),
        TextReceived("a", "", "", {}, empty),
    ]


async def test_what_was_begun_by_who_has_gone_is_forgotten(server: Server, until: Callable[..., Any]) -> None:
    a, b = await server.join("stage", "a"), await server.join("stage", "b")
    header = DataPacket(stream_header=DataStream.Header(stream_id="1"))
    a._say(header, ())
    await until(lambda: b._streams._open)
    a.leave()
    assert not b._streams._open


class TestCalls:
    async def test_one_calls_another(self, server: Server) -> None:
        a, b = await server.join("stage", "a"), await server.join("stage", "b")
        calls: list[RpcCall] = []

        async def double(call: RpcCall) -> str:
            calls.append(call)
            await asyncio.sleep(0)
            return call.payload * 2

        b.register("double", double)
        assert await a.perform_rpc("b", "double", "ab", timeout_s=5) == "abab"
        assert calls == [RpcCall("a", "double", "ab", 5.0)]

    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            (lambda call: 1 / 0, 1500),
            (lambda call: None, 1500),
            (lambda call: "x" * 20_000, 1504),
            (None, 1400),
        ],
    )
    async def test_what_goes_wrong_has_a_code(self, server: Server, answer: Any, code: int) -> None:
        a, b = await server.join("stage", "a"), await server.join("stage", "b")
        if answer is not None:
            b.register("method", answer)
        with pytest.raises(RpcFailure) as failure:
            await a.perform_rpc("b", "method")
        assert failure.value.code == code

    async def test_a_method_fails_in_its_own_words(self, server: Server) -> None:
        a, b = await server.join("stage", "a"), await server.join("stage", "b")

        def refuse(call: RpcCall) -> str:
            raise RpcFailure(42, "not today", "data")

        b.register("method", refuse)
        with pytest.raises(RpcFailure) as failure:
            await a.perform_rpc("b", "method")
        assert (failure.value.code, failure.value.message, failure.value.data) == (42, "not today", "data")

    async def test_a_method_has_no_more_time_than_its_caller(self, server: Server) -> None:
        a, b = await server.join("stage", "a"), await server.join("stage", "b")

        async def never(call: RpcCall) -> str:
            await asyncio.Event().wait()
            return ""

        b.register("method", never)
        with pytest.raises(RpcFailure) as failure:
            await a.perform_rpc("b", "method", timeout_s=0.1)
        assert failure.value.code == 1502

    async def test_a_call_to_nobody_and_from_nobody(self, server: Server) -> None:
        a = await server.join("stage", "a")
        with pytest.raises(RpcFailure) as failure:
            await a.perform_rpc("b", "method")
        assert failure.value.code == 1401
        a.leave()
        with pytest.raises(ClosedError):
            await a.perform_rpc("b", "method")

    async def test_another_version_is_not_understood(self, server: Server, heard: Callable[..., Any]) -> None:
        await server.join("stage", "b")
        room, hub = server.host.rooms["stage"], server.host.exchange
        tap = hub._hubs[room.sid].tap()
        packet = DataPacket(rpc_request=RpcRequest(id="1", method="m", version=2), participant_identity="x")
        hub.send(room, packet)
        told = [DataPacket.FromString(message.payload) for message in await heard(tap, 2)]
        assert told[0].rpc_ack.request_id == "1"
        assert told[1].rpc_response.error.code == 1404


class TestTheEnd:
    async def test_who_leaves_hears_no_more(self, server: Server) -> None:
        bot = await server.join("stage", "bot")
        events = bot.events()
        async with bot:
            assert bot.is_here
        assert not bot.is_here
        assert [event async for event in events] == []
        assert [event async for event in bot.events()] == []
        bot.leave()
        for say in (lambda: bot.send(b"x"), lambda: bot.send_text("x"), lambda: bot.update(name="x")):
            with pytest.raises(ClosedError):
                say()

    @pytest.mark.parametrize(
        ("send_away", "reason"),
        [
            (lambda server: server.rooms["stage"].participants["bot"].remove(), "participant_removed"),
            (lambda server: server.rooms["stage"].close(), "room_deleted"),
            (lambda server: server.close(), "server_shutdown"),
        ],
    )
    async def test_who_is_sent_away_is_told(self, server: Server, send_away: Any, reason: str) -> None:
        bot = await server.join("stage", "bot")
        events = bot.events()
        send_away(server)
        assert [event async for event in events] == [Removed(reason)]
        assert not bot.is_here

    async def test_the_same_identity_again_sends_the_first_away(self, server: Server) -> None:
        first = await server.join("stage", "bot")
        events = first.events()
        second = await server.join("stage", "bot")
        assert [event async for event in events] == [Removed("duplicate_identity")]
        assert second.is_here

    async def test_nothing_is_left_behind(self, server: Server) -> None:
        before = list(server.host.on_event)
        for _ in range(20):
            async with await server.join("stage", "bot"):
                pass
        assert not server.host.sessions
        assert not server.host.exchange._members
        assert server.host.on_event == before, "the server's own"

    async def test_a_slow_reader_is_told(self, server: Server) -> None:
        a, b = await server.join("stage", "a"), await server.join("stage", "b")
        slow, quick = b.events(capacity=1), b.events()
        for n in range(3):
            a.send(bytes([n]))
        for _ in range(3):
            await anext(quick)
        await anext(slow)
        with pytest.raises(LimitError):
            await anext(slow)


async def test_who_may_not_speak_is_not_heard(server: Server, heard: Callable[..., Any]) -> None:
    mute = await server.join("stage", "mute", permission=Permission(can_publish_data=False))
    other, listener = await server.join("stage", "other"), await server.join("stage", "listener")
    events = listener.events()
    mute.send("psst")
    other.send("hello")
    assert await heard(events, 1) == [PacketReceived("other", "", b"hello")]
