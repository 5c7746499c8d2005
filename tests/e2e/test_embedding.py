"""A real client, the PyPI package `livekit`, in servers that are part of other applications."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from livekit import rtc
from livekit.rtc.participant import PublishTrackError
from tests.server.conftest import make_server
from tests.serving import WAYS, mount

from rtpcore import Hooks, JoinError, JoinRequest, PublishRequest, RpcFailure
from rtpcore.server import PacketReceived, ParticipantJoined, ParticipantLeft, TextReceived, TrackPublished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rtpcore import Server


async def until_event(events: AsyncIterator[Any], kind: type) -> Any:
    while not isinstance(event := await asyncio.wait_for(anext(events), 60), kind):
        pass
    return event


async def connect(server: Server, url: str, identity: str, *, is_single: bool = False) -> rtc.Room:
    room = rtc.Room()
    options = rtc.RoomOptions(single_peer_connection=is_single)
    await room.connect(url, server.token(identity, "stage"), options)
    return room


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_single", [False, True], ids=["two connections", "one connection"])
async def test_a_client_and_a_participant_in_the_process_talk(way: str, is_single: bool) -> None:
    server = make_server()
    running = mount(server, way)
    await running.start_server()
    try:
        events = server.events()
        bot = await server.join("stage", "bot", attributes={"role": "echo"})
        bot.register("shout", lambda call: f"{call.caller}: {call.payload.upper()}")
        heard = bot.events()

        url = str(running.make_url("/")).rstrip("/").replace("http", "ws")
        room = await connect(server, url, "alice", is_single=is_single)
        received: asyncio.Queue[rtc.DataPacket] = asyncio.Queue()
        texts: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        room.on("data_received", received.put_nowait)

        async def read(reader: rtc.TextStreamReader, sender: str) -> None:
            texts.put_nowait((sender, await reader.read_all()))

        tasks: list[asyncio.Task[None]] = []
        room.register_text_stream_handler("lk.chat", lambda *args: tasks.append(asyncio.create_task(read(*args))))
        room.local_participant.register_rpc_method("add", lambda data: f"{data.payload} and {data.caller_identity}")

        assert room.remote_participants["bot"].attributes == {"role": "echo"}
        assert room.remote_participants["bot"].kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        joined = await until_event(events, ParticipantJoined)
        while joined.participant.identity != "alice":
            joined = await until_event(events, ParticipantJoined)

        await room.local_participant.publish_data(b"hello", topic="greet")
        assert await until_event(heard, PacketReceived) == PacketReceived("alice", "greet", b"hello")
        bot.send("hello yourself", topic="greet", to=["alice"])
        packet = await asyncio.wait_for(received.get(), 60)
        assert (packet.data, packet.topic) == (b"hello yourself", "greet")
        assert packet.participant is not None
        assert packet.participant.identity == "bot"

        long = "a line of chat, " * 5000
        await room.local_participant.send_text(long, topic="lk.chat")
        assert (await until_event(heard, TextReceived)).text == long
        bot.send_text(long, topic="lk.chat")
        assert await asyncio.wait_for(texts.get(), 60) == ("bot", long)

        me = room.local_participant
        assert await me.perform_rpc(destination_identity="bot", method="shout", payload="hey") == "alice: HEY"
        assert await bot.perform_rpc("alice", "add", "one") == "one and bot"
        assert await joined.participant.perform_rpc("add", "two") == "two and server"
        with pytest.raises(RpcFailure, match="1400"):
            await bot.perform_rpc("alice", "nothing")
        with pytest.raises(rtc.RpcError):
            await me.perform_rpc(destination_identity="bot", method="nothing", payload="")

        gone = asyncio.Event()
        room.on("participant_disconnected", lambda _: gone.set())
        bot.leave()
        await asyncio.wait_for(gone.wait(), 60)
        await room.disconnect()
        left = await until_event(events, ParticipantLeft)
        while left.participant.identity != "alice":
            left = await until_event(events, ParticipantLeft)
        assert left.reason == "client_initiated"
        await asyncio.gather(*tasks)
    finally:
        await running.close()


async def test_hooks_as_a_client_meets_them() -> None:
    async def may_join(request: JoinRequest) -> bool:
        if request.identity == "eve":
            raise JoinError(403, "not on the list")
        return True

    def may_publish(request: PublishRequest) -> bool:
        return request.source == "microphone"

    server = make_server(Hooks(may_join=may_join, may_publish=may_publish, may_subscribe=lambda request: False))
    running = mount(server, "fastapi under a prefix")
    await running.start_server()
    try:
        url = str(running.make_url("/")).rstrip("/").replace("http", "ws")
        with pytest.raises(rtc.ConnectError, match="not on the list"):
            await connect(server, url, "eve")
        events = server.events()
        alice, bob = await connect(server, url, "alice"), await connect(server, url, "bob")
        subscribed: list[Any] = []
        bob.on("track_subscribed", lambda *args: subscribed.append(args))

        sound = rtc.AudioSource(48_000, 1)
        track = rtc.LocalAudioTrack.create_audio_track("voice", sound)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await alice.local_participant.publish_track(track, options)
        silence = rtc.AudioFrame.create(48_000, 1, 480)
        speaking = asyncio.create_task(speak(sound, silence))
        published = await until_event(events, TrackPublished)
        assert (published.participant.identity, published.track.source) == ("alice", "microphone")

        picture = rtc.LocalVideoTrack.create_video_track("camera", rtc.VideoSource(64, 64))
        # This client does not read why; it gives up waiting.
        with pytest.raises(PublishTrackError):
            await alice.local_participant.publish_track(picture, rtc.TrackPublishOptions())
        await alice.local_participant.publish_data(b"past the track")
        assert not subscribed
        speaking.cancel()
        await alice.disconnect()
        await bob.disconnect()
    finally:
        await running.close()


async def speak(source: rtc.AudioSource, frame: rtc.AudioFrame) -> None:
    while True:
        await source.capture_frame(frame)
