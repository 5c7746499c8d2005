"""Data channels between two peers, through the forwarder (RFC 8831, RFC 8832)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rtpcore import ChannelClosed, ChannelOpened, Forwarder, sdp

if TYPE_CHECKING:
    from collections.abc import Callable

LARGE = 256 * 1024


@pytest.fixture
async def pair(forwarder: Forwarder, peer: Callable[[], Any], until: Any) -> Callable[..., Any]:
    """Two peers with one channel each of the same label, each following the other."""

    async def connect(label: str = "chat", **options: Any) -> tuple[Any, Any]:
        peers = peer(), peer()
        for client in peers:
            client.channel(label, **options)
            await client.connect(forwarder, max_message_size=LARGE)
        first, second = (client.transport for client in peers)
        if options.get("negotiated"):
            for transport in (first, second):
                transport.open_channel(label, negotiated=options["id"], ordered=options.get("ordered", True))
        first.follow_data(second)
        second.follow_data(first)
        await until(lambda: all(client.channels[label].readyState == "open" for client in peers))
        return peers

    return connect


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ordered": False},
        {"ordered": False, "maxRetransmits": 0},
        {"maxPacketLifeTime": 1000},
        {"negotiated": True, "id": 5},
        {"negotiated": True, "id": 4, "ordered": False},
        {"protocol": "json"},
    ],
    ids=str,
)
async def test_messages_cross_both_ways(pair: Any, until: Any, options: dict[str, Any]) -> None:
    first, second = await pair(**options)
    sent: list[bytes | str] = ["text", b"bytes", "", b"", "ä" * 1000, bytes(range(256)) * 4]
    for message in sent:
        first.channels["chat"].send(message)
        second.channels["chat"].send(message)
    await until(lambda: len(first.messages) == len(second.messages) == len(sent), "all messages arrived")
    expected = [("chat", message) for message in sent]
    if options.get("ordered", True):
        assert first.messages == second.messages == expected
    else:
        assert sorted(first.messages, key=repr) == sorted(second.messages, key=repr) == sorted(expected, key=repr)


async def test_a_large_message_arrives_whole(pair: Any, until: Any) -> None:
    first, second = await pair()
    message = bytes(range(250)) * 800
    assert len(message) == 200_000
    first.channels["chat"].send(message)
    await until(lambda: second.messages, "200 kB arrived")
    assert second.messages == [("chat", message)]


async def test_the_owner_sends_and_taps(forwarder: Forwarder, peer: Callable[[], Any], until: Any) -> None:
    client = peer()
    chat = client.channel("chat")
    tap = forwarder.tap("chat")
    transport = await client.connect(forwarder)
    await until(lambda: chat.readyState == "open")
    transport.send_data("chat", "hello")
    transport.send_data("chat", b"\x00")
    await until(lambda: client.messages == [("chat", "hello"), ("chat", b"\x00")])
    chat.send("echo")
    message = await anext(tap)
    assert (message.transport, message.label, message.is_binary, message.payload) == (transport, "chat", False, b"echo")


async def test_the_owner_opens_a_channel(forwarder: Forwarder, peer: Callable[[], Any], until: Any) -> None:
    client = peer()
    client.channel("theirs")
    transport = await client.connect(forwarder)
    transport.open_channel("ours", ordered=False, max_retransmits=2, protocol="p")
    await until(lambda: "ours" in client.channels)
    ours = client.channels["ours"]
    assert (ours.ordered, ours.maxRetransmits, ours.protocol) == (False, 2, "p")


async def test_a_channel_that_was_opened_before_the_peer_was_known(
    forwarder: Forwarder, peer: Callable[[], Any], until: Any
) -> None:
    """As a server does that makes the offer: its channels are there when the answer comes."""
    client = peer()
    client.channel("theirs")
    offer = sdp.parse(await client.offer())
    transport = forwarder.add_transport()
    transport.open_channel("ours")
    transport.set_remote(offer.transport)
    await client.accept(str(sdp.answer(offer, transport.local, forwarder.candidates)))
    await until(lambda: "ours" in client.channels)


async def test_a_channel_that_is_closed_is_told(forwarder: Forwarder, peer: Callable[[], Any], until: Any) -> None:
    client = peer()
    chat = client.channel("chat")
    events = forwarder.events()
    transport = await client.connect(forwarder)
    await until(lambda: chat.readyState == "open")
    chat.close()
    seen = []
    async for event in events:
        seen.append(event)
        if isinstance(event, ChannelClosed):
            break
    assert seen[-2:] == [ChannelOpened(transport, "chat"), ChannelClosed(transport, "chat")]


async def test_messages_for_no_channel_are_counted(forwarder: Forwarder, peer: Callable[[], Any], until: Any) -> None:
    client = peer()
    chat = client.channel("chat")
    transport = await client.connect(forwarder)
    await until(lambda: chat.readyState == "open")
    transport.send_data("other", b"lost")
    forwarder.add_transport().send_data("chat", b"lost")
    await until(lambda: forwarder.stats().drops.get("not_connected") == 2)


async def test_a_message_larger_than_the_peer_takes_is_counted(
    forwarder: Forwarder, peer: Callable[[], Any], until: Any
) -> None:
    client = peer()
    chat = client.channel("chat")
    transport = await client.connect(forwarder, max_message_size=1000)
    await until(lambda: chat.readyState == "open")
    transport.send_data("chat", bytes(1001))
    transport.send_data("chat", bytes(1000))
    await until(lambda: client.messages)
    assert client.messages == [("chat", bytes(1000))]
    await until(lambda: forwarder.stats().drops.get("oversized") == 1)


async def test_a_slow_reader_loses_messages_and_nobody_else_does(
    forwarder: Forwarder, peer: Callable[[], Any], until: Any
) -> None:
    slow, quick = peer(), peer()
    for client in (slow, quick):
        client.channel("chat")
        await client.connect(forwarder, max_message_size=LARGE)
        await until(lambda client=client: client.channels["chat"].readyState == "open")

    async def swallow(_: bytes) -> None:
        """Read nothing, acknowledge nothing."""

    slow.pc.sctp._handle_data = swallow
    message = bytes(100_000)
    for _ in range(60):
        slow.transport.send_data("chat", message)
    quick.transport.send_data("chat", b"quick")
    await until(lambda: quick.messages == [("chat", b"quick")])
    await until(lambda: forwarder.stats().drops.get("slow_reader", 0) >= 30, "the slow reader's messages are counted")
    assert slow.transport.stats().drops["slow_reader"] == forwarder.stats().drops["slow_reader"]
    assert "slow_reader" not in quick.transport.stats().drops


async def test_following_can_stop(pair: Any, until: Any) -> None:
    first, second = await pair()
    first.channels["chat"].send("one")
    await until(lambda: second.messages == [("chat", "one")])
    second.transport.follow_data(first.transport, following=False)
    first.channels["chat"].send("two")
    second.channels["chat"].send("three")
    await until(lambda: first.messages == [("chat", "three")])
    assert second.messages == [("chat", "one")]
