"""Media through a forwarder with SDP and nothing else: aiortc publishes, aiortc plays."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from rtpcore import (
    AudioLevelChanged,
    EncodingStarted,
    Forwarder,
    LayerChanged,
    Receiver,
    ReceiverEnded,
    Sender,
    TransportChanged,
    sdp,
)
from rtpcore.parameters import SenderParameters

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def publish(forwarder: Forwarder, peer: Callable[[], Any]) -> Callable[..., Any]:
    """Publish test tracks; what comes of them, by kind."""

    async def negotiate(*kinds: str) -> tuple[Any, dict[str, Receiver]]:
        client = peer()
        client.send(*kinds)
        offer = sdp.parse(await client.offer())
        client.transport = transport = forwarder.add_transport(offer.transport)
        receivers = {track.kind: transport.add_receiver(track) for track in offer.tracks}
        await client.accept(str(sdp.answer(offer, transport.local)))
        await transport.connected()
        return client, receivers

    return negotiate


@pytest.fixture
def play(forwarder: Forwarder, peer: Callable[[], Any]) -> Callable[..., Any]:
    """Play one receiver for each kind; the copies, by kind."""

    async def negotiate(receivers: dict[str, Receiver]) -> tuple[Any, dict[str, Sender]]:
        client = peer()
        client.receive(*receivers)
        offer = sdp.parse(await client.offer())
        client.transport = transport = forwarder.add_transport(offer.transport)
        wished = [
            SenderParameters(section.mid, section.kind, ssrc=1000 + n, rtx_ssrc=2000 + n, stream_id="s", cname="c")
            for n, section in enumerate(offer.wanted)
        ]
        negotiation = sdp.Negotiation()
        answer = negotiation.answer(offer, transport.local, senders=wished)
        assert negotiation.agreement is not None
        agreed = negotiation.agreement.senders
        senders = {track.kind: transport.add_sender(receivers[track.kind], track) for track in agreed}
        await client.accept(str(answer))
        await transport.connected()
        return client, senders

    return negotiate


async def test_two_players_decode_audio_and_video(publish: Any, play: Any, until: Any) -> None:
    _, receivers = await publish("audio", "video")
    players = [await play(receivers) for _ in range(2)]
    for client, _ in players:
        assert {(frame.width, frame.height) for frame in await client.frames("video", 5)} == {(640, 480)}
        assert any(any(bytes(frame.planes[0])) for frame in await client.frames("audio", 5))
    await until(lambda: receivers["video"].stats().encodings[0].size == (640, 480))
    assert receivers["video"].stats().followers == 2
    assert receivers["video"].stats().encodings[0].keyframe_requests >= 1
    for _, senders in players:
        assert senders["video"].stats().packets_sent > 0
        assert senders["audio"].stats().packets_sent > 0
        assert senders["video"].layer is not None


async def test_what_happens_is_told(forwarder: Forwarder, publish: Any, play: Any, until: Any) -> None:
    events = forwarder.events()
    publisher, receivers = await publish("audio")
    player, senders = await play(receivers)
    await player.frames("audio")
    await publisher.pc.getSenders()[0].stop()
    seen: list[Any] = []
    async for event in events:
        seen.append(event)
        if isinstance(event, ReceiverEnded):
            break
    assert ReceiverEnded(receivers["audio"]) in seen
    assert seen.count(EncodingStarted(receivers["audio"], 0)) == 1
    assert [event.layer is not None for event in seen if isinstance(event, LayerChanged)] == [True]
    states = [event.state for event in seen if isinstance(event, TransportChanged)]
    assert states == ["connecting", "connected"] * 2
    assert senders["audio"].transport is player.transport


async def test_a_copy_goes_on_with_another_source(publish: Any, play: Any, until: Any) -> None:
    _, first = await publish("audio", "video")
    _, second = await publish("audio", "video")
    player, senders = await play(first)
    times = [frame.pts for frame in await player.frames("video", 5)]
    for kind in ("audio", "video"):
        senders[kind].follow(second[kind])
    await until(lambda: second["video"].stats().followers == second["audio"].stats().followers == 1)
    await until(lambda: first["video"].stats().followers == 0)
    times += [frame.pts for frame in await player.frames("video", 20)]
    assert times == sorted(set(times)), "time goes on over the switch"
    await player.frames("audio", 20)


async def test_a_copy_pauses_and_goes_on(forwarder: Forwarder, publish: Any, play: Any, until: Any) -> None:
    _, receivers = await publish("video")
    player, senders = await play(receivers)
    await player.frames("video")
    senders["video"].pause()
    await until(lambda: senders["video"].layer is None)
    sent = senders["video"].stats().packets_sent
    arrived = receivers["video"].stats().encodings[0].packets_received
    await until(lambda: receivers["video"].stats().encodings[0].packets_received > arrived + 10)
    assert senders["video"].stats().packets_sent == sent
    senders["video"].resume()
    await until(lambda: senders["video"].stats().packets_sent > sent)
    await player.frames("video")


async def test_ends_of_a_track_and_of_a_copy(forwarder: Forwarder, publish: Any, play: Any, until: Any) -> None:
    _, receivers = await publish("audio", "video")
    _, senders = await play(receivers)
    await until(lambda: receivers["video"].stats().followers == 1)
    senders["video"].close()
    await until(lambda: receivers["video"].stats().followers == 0)
    assert senders["video"].stats() is None
    receivers["audio"].close()
    await until(lambda: receivers["audio"].stats() is None)
    sent = senders["audio"].stats().packets_sent
    _, others = await publish("audio")
    senders["audio"].follow(others["audio"])
    await until(lambda: senders["audio"].stats().packets_sent > sent, "the copy goes on with another track")


async def test_a_keyframe_is_asked_for(publish: Any, until: Any) -> None:
    _, receivers = await publish("video")
    await until(lambda: receivers["video"].stats().encodings[0].packets_received > 5)
    before = receivers["video"].stats().encodings[0].keyframe_requests
    for _ in range(5):
        receivers["video"].request_keyframe()
    await until(lambda: receivers["video"].stats().encodings[0].keyframe_requests > before)


async def test_media_crosses_between_workers(config: Any, peer: Callable[[], Any], until: Any) -> None:
    async with Forwarder(replace(config, workers=2)) as forwarder:
        publisher = peer()
        publisher.send("video")
        offer = sdp.parse(await publisher.offer())
        source = forwarder.add_transport(offer.transport)
        (receiver,) = [source.add_receiver(track) for track in offer.tracks]
        await publisher.accept(str(sdp.answer(offer, source.local)))
        players = []
        for n in range(4):
            client = peer()
            client.receive("video")
            offer = sdp.parse(await client.offer())
            transport = forwarder.add_transport(offer.transport)
            negotiation = sdp.Negotiation()
            wished = [SenderParameters(offer.wanted[0].mid, "video", ssrc=1000 + n, cname="c")]
            answer = negotiation.answer(offer, transport.local, senders=wished)
            assert negotiation.agreement is not None
            transport.add_sender(receiver, negotiation.agreement.senders[0])
            await client.accept(str(answer))
            players.append((client, transport))
        for client, transport in players:
            await transport.connected()
            await client.frames("video", 5)
        assert len({transport._number >> 56 for _, transport in players}) == 2, "on both workers"


async def test_loudness_is_told(forwarder: Forwarder, publish: Any) -> None:
    events = forwarder.events()
    publisher, receivers = await publish("audio")
    levels: list[float] = []
    async for event in events:
        if isinstance(event, AudioLevelChanged):
            assert event.receiver is receivers["audio"]
            levels.append(event.level)
            if len(levels) == 1:
                publisher.pc.getSenders()[0].replaceTrack(None)
            if event.level == 0:
                break
    assert 0 < levels[0] <= 1
    assert all(8 * level == int(8 * level) for level in levels), "eighths"
    assert levels[-1] == 0
