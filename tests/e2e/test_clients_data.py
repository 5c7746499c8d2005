"""What LiveKit's clients, unmodified, say to each other beside their media; each test runs with each client.

Three clients of a kind share a room for all of it: nothing here changes the room.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from livekit import api
from tests.e2e.client import RpcFailed
from tests.e2e.clients import GO, KEY, NODE, OLDEST, RUST, SECRET
from tests.e2e.peers import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.e2e.client import Client, Trio
    from tests.e2e.servers import Served

    Join = Callable[..., Awaitable[Client]]

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = "a line of text, again and again\n" * 3000
"""More than a data channel takes at once: streams cut it."""

UNSUPPORTED_METHOD, RESPONSE_TIMEOUT = 1400, 1502
"""Codes of LiveKit's RPC."""


##### Packets


async def test_reliable_data_arrive_in_order(trio: Trio) -> None:
    said = [f"reliable {number}" for number in range(20)]
    for text in said:
        await trio.ada.say(text, topic="counting")
    for one in (trio.bob, trio.carol):
        last = await one.is_told("data", said[-1])
        assert last["from"] == "ada"
        heard = (await one.state())["heard"]
        assert [message["text"] for message in heard if message["topic"] == "counting"] == said
    await trio.bob.say("back", topic="counting")
    await trio.ada.is_told("data", "back", **{"from": "bob", "topic": "counting"})


async def test_lossy_data_arrive(trio: Trio) -> None:
    for one, other in ((trio.ada, trio.bob), (trio.bob, trio.ada)):
        text = f"lossy, of {one.identity}"

        async def arrives(one: Client = one, other: Client = other, text: str = text) -> bool:
            # It may be lost, and is then said again.
            await one.say(text, topic="lossy", reliable=False)
            return any(message["text"] == text for message in (await other.state())["heard"])

        await until(f"{other.identity} hears {one.identity}", arrives, other.state)
        assert (await other.is_told("data", text))["from"] == one.identity


@pytest.mark.parametrize("is_reliable", [True, False])
async def test_data_for_one_are_not_for_others(trio: Trio, is_reliable: bool) -> None:
    secret, public = f"for bob ({is_reliable})", f"for all ({is_reliable})"

    async def arrive() -> bool:
        await trio.ada.say(secret, to=["bob"], reliable=is_reliable)
        await trio.ada.say(public, reliable=is_reliable)
        told = [{message["text"] for message in (await one.state())["heard"]} for one in (trio.bob, trio.carol)]
        return {secret, public} <= told[0] and public in told[1]

    await until("bob hears both, carol one", arrive, trio.carol.state)
    assert all(message["text"] != secret for message in (await trio.carol.state())["heard"])


async def test_tones_are_heard(trio: Trio) -> None:
    await trio.ada.dial("7")
    await trio.bob.is_told("dtmf", "7", **{"from": "ada"})


@pytest.mark.without(*RUST, because="The SDK has no chat but text streams.")
async def test_chat_is_read(trio: Trio) -> None:
    await trio.ada.chat("a word to all")
    for one in (trio.bob, trio.carol):
        await one.is_told("chat", "a word to all", **{"from": "ada"})


@pytest.mark.without(*NODE, because="The SDK does not hand transcriptions to the application.")
async def test_transcriptions_of_an_agent_are_read(join: Join) -> None:
    agent, bob = await asyncio.gather(join("agent", sdk="rust-single", kind="agent"), join("bob"))
    await agent.publish("microphone")
    sid = (await bob.sees_track("agent", "microphone"))["sid"]
    await agent.transcribe("agent", sid, "what the agent said")
    await bob.is_told("transcription", "what the agent said", **{"from": "agent"})


##### Streams


@pytest.mark.parametrize("text", ["short", LONG], ids=["short", "long"])
async def test_text_streams_arrive_whole(trio: Trio, text: str) -> None:
    for one, other in ((trio.ada, trio.bob), (trio.bob, trio.ada)):
        await one.stream(text, to=[other.identity])
        await other.is_told("text", text, **{"from": one.identity})
    assert not any(message["kind"] == "text" for message in (await trio.carol.state())["heard"])


async def test_byte_streams_arrive_whole(trio: Trio) -> None:
    for one, others in ((trio.ada, (trio.bob, trio.carol)), (trio.bob, (trio.ada, trio.carol))):
        await one.send(f"of {one.identity}: {LONG}")
        for other in others:
            await other.is_told("bytes", f"of {one.identity}: {LONG}", **{"from": one.identity})


##### Calls


async def test_a_call_is_answered(trio: Trio) -> None:
    assert await trio.ada.call("bob", "echo", "hello") == "ada: hello"
    assert await trio.bob.call("ada", "echo", "hello") == "bob: hello"


async def test_a_call_is_refused_in_the_words_of_the_called(trio: Trio) -> None:
    with pytest.raises(RpcFailed) as failed:
        await trio.ada.call("bob", "refuse")
    assert (failed.value.code, failed.value.message, failed.value.data) == (101, "not today", "perhaps tomorrow")


async def test_a_call_of_a_method_that_nobody_has(trio: Trio) -> None:
    with pytest.raises(RpcFailed) as failed:
        await trio.ada.call("bob", "sing")
    assert failed.value.code == UNSUPPORTED_METHOD


async def test_a_call_that_takes_too_long(trio: Trio) -> None:
    with pytest.raises(RpcFailed) as failed:
        await trio.asleep
    assert failed.value.code == RESPONSE_TIMEOUT


##### Data tracks


@pytest.mark.without(*OLDEST, *NODE, *GO, because="The SDK has no data tracks.")
async def test_frames_of_a_data_track_arrive(trio: Trio) -> None:
    await trio.ada.publish_data("sensor")

    async def arrive() -> bool:
        # Frames are for those who subscribe by now, and may be lost.
        await trio.ada.push("sensor", LONG[:3000])
        told = [(await one.state())["heard"] for one in (trio.bob, trio.carol)]
        return all(any(message["kind"] == "track" for message in heard) for heard in told)

    await until("frames arrive", arrive, trio.bob.state)
    for one in (trio.bob, trio.carol):
        await one.is_told("track", LONG[:3000], **{"from": "ada", "topic": "sensor"})


##### What the server says


async def test_data_from_the_server(trio: Trio, server: api.LiveKitAPI) -> None:
    def request(text: str, *to: str) -> api.SendDataRequest:
        kind = api.DataPacket.Kind.RELIABLE
        return api.SendDataRequest(
            room=trio.room, data=text.encode(), kind=kind, destination_identities=to, topic="server"
        )

    await server.room.send_data(request("from the server to bob", "bob"))
    await server.room.send_data(request("from the server"))
    for one in (trio.bob, trio.carol):
        await one.is_told("data", "from the server", **{"from": "", "topic": "server"})
    await trio.bob.is_told("data", "from the server to bob", **{"from": "", "topic": "server"})
    assert all(message["text"] != "from the server to bob" for message in (await trio.carol.state())["heard"])


async def test_a_call_from_the_server(trio: Trio, served: Served) -> None:
    grants = api.VideoGrants(room_admin=True, room=trio.room)
    access = api.AccessToken(KEY, SECRET).with_grants(grants).with_ttl(timedelta(minutes=5)).to_jwt()

    async def perform(method: str) -> tuple[int, dict[str, Any]]:
        request = {"room": trio.room, "destination_identity": "bob", "method": method, "payload": "hello"}
        url = f"{served.url}/twirp/livekit.RoomService/PerformRpc"
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {access}"}) as client,
            client.post(url, json=request) as response,
        ):
            return response.status, await response.json()

    status, answer = await perform("echo")
    assert status == 200
    assert answer["payload"].endswith(": hello")
    status, answer = await perform("refuse")
    assert status != 200
    assert "not today" in answer["msg"]


##### How well they are connected; last, since it takes seconds until a server says so


async def test_everybody_hears_how_well_they_are_connected(trio: Trio) -> None:
    for one in (trio.ada, trio.bob, trio.carol):
        await one.sees("its quality", lambda s: s["me"]["quality"] == "excellent")
