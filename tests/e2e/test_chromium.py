"""Chromium publishes by WHIP and plays by WHEP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.e2e.peers import Peer, room_state, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Open = Callable[[], Awaitable[Peer]]

pytestmark = pytest.mark.asyncio(loop_scope="session")

WIDTHS = (240, 480, 960)
"""Of the three layers of a picture of 960 x 540."""


async def test_picture_and_sound_arrive(peer: Open) -> None:
    await (await peer()).publish("vp8")
    player = await (await peer()).play()
    video = await player.sees_frames(width=960)
    assert (video["frameWidth"], video["frameHeight"]) == (960, 540)

    async def hears() -> Any:
        audio = await player.audio()
        return audio if audio.get("totalAudioEnergy", 0) > 0.1 else None

    audio = await until("something is heard", hears, player.explain)
    assert audio["concealedSamples"] < audio["totalSamplesReceived"] / 2


async def test_the_path_is_udp_and_sealed_with_gcm(peer: Open, room: str) -> None:
    publisher = await (await peer()).publish()
    player = await (await peer()).play()
    await player.sees_frames(more=1)
    for end in (publisher, player):
        transport = await end.stats("transport")
        assert transport["dtlsState"] == "connected"
        assert "_GCM" in transport["srtpCipher"]
        _, remote = await end.candidates()
        assert (remote["protocol"], remote["candidateType"]) == ("udp", "host")

    async def profiles() -> Any:
        state = await room_state(player.page, room)
        sessions = [session["transport"] for session in (*state["publishers"], *state["players"])]
        return [session["srtp_profile"] for session in sessions if session] if all(sessions) else None

    assert all("_GCM" in profile for profile in await until("the server counts its peers", profiles, player.explain))


@pytest.mark.parametrize("codec", ["vp8", "h264", "vp9", "av1"])
async def test_layers_change_on_request(peer: Open, codec: str) -> None:
    """Down to the smallest, up to the largest and half way down, with a picture all the time."""
    await (await peer()).publish(codec)
    player = await (await peer()).play()
    before = await player.sees_frames(width=960)
    for spatial in (0, 2, 1):
        await player.choose(spatial=spatial)
        video = await player.sees_frames(width=WIDTHS[spatial])
        assert video["framesDecoded"] > before["framesDecoded"]
        assert video["ssrc"] == before["ssrc"], "one stream over all switches"
        before = video
    await player.choose()
    await player.sees_frames(width=960)


async def test_fewer_pictures_a_second_on_request(peer: Open) -> None:
    publisher = await (await peer()).publish("vp8")
    player = await (await peer()).play()
    await player.sees_frames(width=960)
    await player.choose(temporal=0)

    async def is_slow() -> bool:
        sent, seen = await publisher.stats("outbound-rtp", rid="f"), await player.video()
        return bool(0 < seen.get("framesPerSecond", 0) <= sent.get("framesPerSecond", 0) / 2)

    await until("half of the pictures are left out", is_slow, player.explain)
    await player.sees_frames(more=3, width=960)


async def test_a_pause_stops_the_picture_and_not_the_sound(peer: Open) -> None:
    await (await peer()).publish()
    player = await (await peer()).play()
    await player.sees_frames()
    await player.choose(paused=True)

    readings: list[tuple[int, int]] = []

    async def stands_still() -> bool:
        readings.append(((await player.video())["packetsReceived"], (await player.audio())["packetsReceived"]))
        # No picture in the time of a hundred packets of sound, two seconds.
        return any(video == readings[-1][0] and readings[-1][1] - audio > 100 for video, audio in readings)

    await until("the picture stands still", stands_still, player.explain)
    await player.choose(paused=False)
    await player.sees_frames()


async def test_who_joins_late_gets_a_keyframe(peer: Open) -> None:
    publisher = await (await peer()).publish("vp8")
    first = await (await peer()).play()
    await first.sees_frames(more=30, width=960)

    async def asked() -> int:
        streams = await publisher.all_stats("outbound-rtp", kind="video")
        return sum(stream.get("pliCount", 0) + stream.get("firCount", 0) for stream in streams)

    before = await asked()
    second = await (await peer()).play()
    await second.sees_frames(more=1)
    assert await asked() > before
    await first.sees_frames()


async def test_two_publishers_on_one_connection(peer: Open) -> None:
    await (await peer()).publish("vp8")
    await (await peer()).publish("vp9")
    player = await (await peer()).play(kinds=("audio", "video", "audio", "video"))

    async def both() -> bool:
        streams = await player.all_stats("inbound-rtp", kind="video")
        return len(streams) == 2 and all(stream.get("framesDecoded", 0) > 10 for stream in streams)

    await until("both pictures move", both, player.explain)
    streams = await player.all_stats("inbound-rtp")
    codecs = [await player.stats("codec", id=stream["codecId"]) for stream in streams]
    assert sorted(codec["mimeType"] for codec in codecs) == ["audio/opus", "audio/opus", "video/VP8", "video/VP9"]


async def test_one_of_two_publishers(peer: Open, room: str) -> None:
    first = await (await peer()).publish("vp8")
    [known] = (await room_state(first.page, room))["publishers"]
    await (await peer()).publish("vp9")
    player = await (await peer()).play(known["name"])
    video = await player.sees_frames()
    assert (await player.stats("codec", id=video["codecId"]))["mimeType"] == "video/VP8"


async def test_messages_cross(peer: Open) -> None:
    publisher = await (await peer()).publish()
    players = [await (await peer()).play() for _ in range(2)]
    for player in players:
        await player.sees_frames(more=1)
        await player.say("from a player")
    await publisher.hears("from a player", "from a player")
    large = "é" * 50_000
    for text in ("hello", large):
        await publisher.say(text)
    for player in players:
        await player.hears("hello", large)


async def test_media_over_tcp(peer: Open) -> None:
    """For networks that let no UDP out: the answer's UDP candidates are kept from both ends."""
    publisher = await (await peer()).publish("vp8", is_tcp_only=True)
    player = await (await peer()).play(is_tcp_only=True)
    await player.sees_frames(width=960)
    for end in (publisher, player):
        local, remote = await end.candidates()
        assert (local["protocol"], remote["protocol"]) == ("tcp", "tcp")
        assert (local["tcpType"], remote["tcpType"]) == ("active", "passive")
    await publisher.say("over TCP")
    await player.hears("over TCP")


async def test_a_publisher_leaves(peer: Open, room: str) -> None:
    publisher = await (await peer()).publish()
    player = await (await peer()).play()
    await player.sees_frames()
    await publisher.leave()
    # What a player without a page around it can see: the server says goodbye.
    is_over = "peer.pc.sctp.transport.state === 'closed' && peer.channel.readyState === 'closed'"
    await until("the player is told", lambda: player.page.evaluate(is_over), player.explain)
    assert await is_empty(player, room)


async def test_one_of_two_publishers_leaves(peer: Open, room: str) -> None:
    publishers = [await (await peer()).publish() for _ in range(2)]
    player = await (await peer()).play(kinds=("audio", "video", "audio", "video"))

    async def moving() -> set[str]:
        streams = await player.all_stats("inbound-rtp", kind="video")
        return {stream["trackIdentifier"] for stream in streams if stream.get("framesDecoded", 0) > 10}

    async def both() -> bool:
        return len(await moving()) == 2

    await until("both pictures move", both, player.explain)
    await publishers[0].leave()
    before = {stream["id"]: stream["framesDecoded"] for stream in await player.all_stats("inbound-rtp", kind="video")}

    async def goes_on() -> bool:
        streams = await player.all_stats("inbound-rtp", kind="video")
        return any(stream["framesDecoded"] > before[stream["id"]] + 10 for stream in streams)

    await until("the other picture goes on", goes_on, player.explain)
    await player.leave()
    await publishers[1].leave()
    assert await is_empty(player, room)


async def is_empty(peer: Peer, room: str) -> bool:
    state = await room_state(peer.page, room)
    return not state["publishers"] and not state["players"]
