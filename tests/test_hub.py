"""What members of a hub say to each other, in packets that LiveKit's own code writes and reads."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from livekit.protocol.metrics import MetricsBatch
from livekit.protocol.models import (
    ActiveSpeakerUpdate,
    ChatMessage,
    DataPacket,
    DataStream,
    EncryptedPacket,
    RpcAck,
    RpcRequest,
    RpcResponse,
    SipDTMF,
    Transcription,
    UserPacket,
)

from rtpcore import ClosedError, Config, Forwarder, LimitError, Member, ParametersError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.conftest import Peer

LABELS = {
    "_reliable": {},
    "_lossy": {"ordered": False, "maxRetransmits": 0},
    "_data_track": {"ordered": False, "maxRetransmits": 0},
}


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
async def forwarder(config: Config, request: pytest.FixtureRequest) -> AsyncIterator[Forwarder]:
    """A running forwarder; with two workers, neighbours live on different ones."""
    async with Forwarder(replace(config, workers=request.param)) as running:
        yield running


class Guest:
    """A participant: a peer with one transport, and the member it is."""

    def __init__(self, peer: Peer, member: Member) -> None:
        self.peer = peer
        self.member = member

    def say(self, packet: DataPacket | bytes, label: str = "_reliable") -> None:
        payload = packet if isinstance(packet, bytes) else packet.SerializeToString()
        self.peer.channels[label].send(payload)

    def heard(self, label: str = "_reliable") -> list[DataPacket]:
        return [DataPacket.FromString(payload) for at, payload in self.peer.messages if at == label]

    def texts(self, label: str = "_reliable") -> list[str]:
        return [packet.user.payload.decode() for packet in self.heard(label)]


@pytest.fixture
async def join(forwarder: Forwarder, peer: Callable[[], Any], until: Any) -> Callable[..., Any]:
    """Let participants into one room, on neighbouring workers in turn."""
    hub = forwarder.add_hub()

    async def enter(name: str, *, active: bool = True, labels: tuple[str, ...] = tuple(LABELS), **rights: Any) -> Guest:
        client = peer()
        for label in labels:
            client.channel(label, **LABELS.get(label, {}))
        transport = await client.connect(forwarder)
        await until(lambda: all(channel.readyState == "open" for channel in client.channels.values()))
        member = hub.add_member(input=transport, output=transport, sid=f"PA_{name}", identity=name, **rights)
        if active:
            member.activate()
        return Guest(client, member)

    enter.hub = hub  # type: ignore[attr-defined]
    return enter


def text(words: str, sequence: int = 0, **fields: Any) -> DataPacket:
    return DataPacket(user=UserPacket(payload=words.encode()), sequence=sequence, **fields)


async def test_a_packet_reaches_everybody_else_with_its_senders_real_names(join: Any, until: Any) -> None:
    alice, bob, carol = [await join(name) for name in ("alice", "bob", "carol")]
    said = text("hello", 7, participant_identity="bob", participant_sid="PA_bob", kind=DataPacket.LOSSY)
    said.user.participant_sid, said.user.participant_identity, said.user.topic = "PA_bob", "bob", "chat"
    alice.say(said)
    await until(lambda: bob.heard() and carol.heard())
    for guest in (bob, carol):
        (packet,) = guest.heard()
        assert (packet.participant_sid, packet.participant_identity) == ("PA_alice", "alice")
        assert (packet.user.participant_sid, packet.user.participant_identity) == ("PA_alice", "alice")
        assert (packet.kind, packet.sequence, packet.user.topic) == (DataPacket.RELIABLE, 7, "chat")
        assert packet.user.payload == b"hello"
    alice.say(text("quick"), "_lossy")
    await until(lambda: bob.texts("_lossy") == carol.texts("_lossy") == ["quick"])
    assert bob.heard("_lossy")[0].kind == DataPacket.LOSSY
    assert alice.peer.messages == []


async def test_only_those_who_are_named_hear_it(join: Any, until: Any) -> None:
    alice, bob, carol, dave = [await join(name) for name in ("alice", "bob", "carol", "dave")]
    alice.say(text("one", destination_identities=["carol", "alice", "nobody"]))
    legacy = text("two")
    legacy.user.destination_sids.append("PA_bob")
    legacy.user.destination_identities.append("dave")
    alice.say(legacy)
    alice.say(text("three"))
    await until(lambda: all(guest.texts()[-1:] == ["three"] for guest in (bob, carol, dave)))
    assert [guest.texts() for guest in (alice, bob, carol, dave)] == [
        [],
        ["two", "three"],
        ["one", "three"],
        ["two", "three"],
    ]


async def test_a_hidden_participant_stays_so(join: Any, until: Any) -> None:
    ghost = await join("ghost", is_hidden=True)
    bob = await join("bob")
    ghost.say(text("boo", participant_identity="ghost", participant_sid="PA_ghost"))
    await until(bob.heard)
    (packet,) = bob.heard()
    assert packet == DataPacket(user=UserPacket(payload=b"boo"))
    ghost.member.update(is_hidden=False)
    ghost.say(text("me"))
    await until(lambda: len(bob.heard()) == 2)
    assert bob.heard()[1].participant_identity == "ghost"


async def test_who_may_not_publish_is_not_heard(forwarder: Forwarder, join: Any, until: Any) -> None:
    mute, bob = await join("mute", may_publish=False), await join("bob")
    mute.say(text("no", 1))
    mute.say(text("no"), "_lossy")
    await until(lambda: forwarder.stats().drops.get("not_permitted") == 2)
    mute.member.update(may_publish=True)
    mute.say(text("yes", 1))
    await until(lambda: bob.texts() == ["yes"])
    assert bob.heard("_lossy") == []


async def test_what_is_no_packet_is_counted(forwarder: Forwarder, join: Any, until: Any) -> None:
    alice, bob = await join("alice"), await join("bob")
    alice.say(b"\xff")
    alice.say(text("twice").SerializeToString() + DataPacket(rpc_ack=RpcAck()).SerializeToString())
    alice.say(DataPacket(metrics=MetricsBatch()))
    alice.say(DataPacket(speaker=ActiveSpeakerUpdate()))
    alice.say(DataPacket(transcription=Transcription()))
    alice.say(text("end"))
    await until(lambda: bob.texts() == ["end"])
    await until(lambda: forwarder.stats().drops.get("bad_data_packet") == 2)
    assert forwarder.stats().drops["not_permitted"] == 3


async def test_agents_may_write_for_others(join: Any, until: Any) -> None:
    agent, bob = await join("agent", is_agent=True), await join("bob")
    header = DataStream.Header(stream_id="s", topic="lk.chat", text_header=DataStream.TextHeader(version=3))
    file = DataStream.Header(stream_id="f", byte_header=DataStream.ByteHeader(name="x"))
    values = [
        {"transcription": Transcription(transcribed_participant_identity="carol")},
        {"chat_message": ChatMessage(message="hi")},
        {"stream_header": header},
        {"stream_header": file},
        {"user": UserPacket(payload=b"x")},
    ]
    for value in values:
        agent.say(DataPacket(participant_identity="carol", **value))
    await until(lambda: len(bob.heard()) == len(values))
    assert [packet.participant_identity for packet in bob.heard()] == ["carol", "carol", "carol", "agent", "agent"]
    assert {packet.participant_sid for packet in bob.heard()} == {"PA_agent"}
    _, chat, stream, *_ = bob.heard()
    assert (chat.chat_message.message, chat.chat_message.generated) == ("hi", True)
    header.text_header.generated = True
    assert stream.stream_header == header


async def test_all_other_values_arrive_as_they_are(join: Any, until: Any) -> None:
    alice, bob = await join("alice"), await join("bob")
    values: list[dict[str, Any]] = [
        {"sip_dtmf": SipDTMF(code=1, digit="1")},
        {"chat_message": ChatMessage(id="c", message="hi", edit_timestamp=3)},
        {"rpc_request": RpcRequest(id="r", method="m", payload="p", version=1)},
        {"rpc_ack": RpcAck(request_id="r")},
        {"rpc_response": RpcResponse(request_id="r", payload="p")},
        {"stream_header": DataStream.Header(stream_id="s", attributes={"a": "b"}, byte_header=DataStream.ByteHeader())},
        {"stream_chunk": DataStream.Chunk(stream_id="s", chunk_index=1, content=bytes(15_000))},
        {"stream_trailer": DataStream.Trailer(stream_id="s", reason="r")},
        {"encrypted_packet": EncryptedPacket(iv=b"iv", encrypted_value=b"sealed", key_index=2)},
        {},
    ]
    for sequence, value in enumerate(values, 1):
        alice.say(DataPacket(sequence=sequence, **value))
    await until(lambda: len(bob.heard()) == len(values))
    names = {"participant_sid": "PA_alice", "participant_identity": "alice"}
    assert bob.heard() == [DataPacket(sequence=n, **names, **value) for n, value in enumerate(values, 1)]


async def test_what_is_sent_again_after_a_resume_arrives_once(forwarder: Forwarder, join: Any, until: Any) -> None:
    alice, bob = await join("alice"), await join("bob")
    for sequence in (1, 2, 3):
        alice.say(text(f"{sequence}", sequence))
    await until(lambda: alice.member.last_sequence == 3)
    for sequence in (2, 3, 4):
        alice.say(text(f"{sequence}", sequence))
    await until(lambda: bob.texts() == ["1", "2", "3", "4"])
    await until(lambda: join.hub.last_sequences == {alice.member: 4, bob.member: 0})
    assert forwarder.stats().drops["duplicate"] == 2
    await until(lambda: bob.member.stats().messages_sent == 4)
    assert alice.member.stats().messages_received == 4


async def test_who_joins_hears_what_was_said_while_it_connected(
    forwarder: Forwarder, join: Any, peer: Any, until: Any
) -> None:
    alice = await join("alice")
    alice.say(text("before", 1))
    await until(lambda: alice.member.last_sequence == 1)
    late = join.hub.add_member(sid="PA_late", identity="late")
    alice.say(text("one", 2))
    alice.say(text("not for late", 3, destination_identities=["alice"]))
    alice.say(text("gone"), "_lossy")
    alice.say(text("two", 4))
    await until(lambda: alice.member.last_sequence == 4)
    client = peer()
    client.channel("_lossy", **LABELS["_lossy"])
    transport = await client.connect(forwarder)  # on any worker
    if forwarder.worker_count > 1 and transport._number >> 56 != late._number >> 56:
        with pytest.raises(ParametersError, match="beside"):
            late.set_transports(output=transport)
        client = peer()
        client.channel("_lossy", **LABELS["_lossy"])
        transport = await client.connect(forwarder, beside=late)
    late.set_transports(input=transport, output=transport)
    late.activate()
    alice.say(text("three", 5))
    await until(lambda: alice.member.last_sequence == 5)
    assert client.messages == [], "without a reliable channel"
    transport.open_channel("_reliable")
    await until(lambda: len(client.messages) == 3)
    alice.say(text("four", 6))
    await until(lambda: len(client.messages) == 4)
    assert Guest(client, late).texts() == ["one", "two", "three", "four"]


async def test_a_member_moves_to_another_transport(forwarder: Forwarder, join: Any, peer: Any, until: Any) -> None:
    alice, bob = await join("alice"), await join("bob")
    alice.say(text("one", 1))
    await until(lambda: bob.texts() == ["one"])
    bob.peer.transport.close()
    await until(lambda: bob.peer.transport.state == "closed")
    alice.say(text("two", 2))
    await until(lambda: alice.member.last_sequence == 2)
    client = peer()
    client.channel("_reliable")
    transport = await client.connect(forwarder, beside=bob.member)
    bob.member.set_transports(input=transport, output=transport)
    await until(lambda: client.messages)
    again = Guest(client, bob.member)
    assert again.texts() == ["two"]
    again.say(text("back", 1))
    await until(lambda: alice.texts() == ["back"])


async def test_publisher_and_subscriber_connections_are_one_member(
    forwarder: Forwarder, join: Any, peer: Any, until: Any
) -> None:
    alice = await join("alice")
    subscriber, publisher = peer(), peer()
    subscriber.channel("unused")
    publisher.channel("_reliable")
    output = await subscriber.connect(forwarder)
    for label, ordered in (("_reliable", True), ("_lossy", False)):
        output.open_channel(label, ordered=ordered, max_retransmits=None if ordered else 0)
    dual = join.hub.add_member(output=output, sid="PA_dual", identity="dual")
    dual.activate()
    await publisher.connect(forwarder, beside=dual)
    dual.set_transports(input=publisher.transport)
    await until(lambda: {"_reliable", "_lossy"} <= set(subscriber.channels))
    await until(lambda: publisher.channels["_reliable"].readyState == "open")
    publisher.channels["_reliable"].send(text("out").SerializeToString())
    alice.say(text("in"))
    alice.say(text("quick"), "_lossy")
    await until(lambda: alice.texts() == ["out"] and len(subscriber.messages) == 2)
    assert {label for label, _ in subscriber.messages} == {"_reliable", "_lossy"}
    assert publisher.messages == []


async def test_other_labels_are_left_alone(join: Any, until: Any) -> None:
    alice = await join("alice", labels=("chat", "_reliable"))
    bob = await join("bob", labels=("chat",))
    carol = await join("carol", labels=("_reliable",))
    for message in ("text", b"\xff\x00", ""):
        alice.peer.channels["chat"].send(message)
    await until(lambda: len(bob.peer.messages) == 3)
    assert bob.peer.messages == [("chat", "text"), ("chat", b"\xff\x00"), ("chat", "")]
    assert carol.peer.messages == alice.peer.messages == []


async def test_the_owner_sends_to_some_or_to_all(join: Any, until: Any) -> None:
    alice, bob, carol = [await join(name) for name in ("alice", "bob", "carol")]
    packet = text("some", participant_identity="anybody").SerializeToString()
    join.hub.send(packet, to=[alice.member, carol.member])
    join.hub.send(text("all").SerializeToString())
    join.hub.send(text("quick").SerializeToString(), label="_lossy", to=[bob.member])
    await until(lambda: alice.texts() == carol.texts() == ["some", "all"] and bob.texts() == ["all"])
    await until(lambda: bob.texts("_lossy") == ["quick"])
    assert alice.heard()[0].SerializeToString() == packet
    assert alice.texts("_lossy") == []


async def test_the_owner_makes_a_remote_call(join: Any, until: Any) -> None:
    alice, bob = await join("alice"), await join("bob")
    replies = join.hub.replies("mine")
    join.hub.send(DataPacket(rpc_request=RpcRequest(id="mine", method="m")).SerializeToString(), to=[bob.member])
    await until(lambda: bob.heard())
    bob.say(DataPacket(rpc_ack=RpcAck(request_id="mine"), sequence=1))
    bob.say(DataPacket(rpc_response=RpcResponse(request_id="other"), sequence=2))
    bob.say(DataPacket(rpc_response=RpcResponse(request_id="mine", payload="done"), sequence=3))
    ack, response = await anext(replies), await anext(replies)
    assert ack.member is response.member is bob.member
    assert DataPacket.FromString(ack.payload).rpc_ack.request_id == "mine"
    assert DataPacket.FromString(response.payload).rpc_response.payload == "done"
    await until(lambda: [packet.rpc_response.request_id for packet in alice.heard()] == ["other"])
    await replies.aclose()
    bob.say(DataPacket(rpc_ack=RpcAck(request_id="mine"), sequence=4))
    await until(lambda: len(alice.heard()) == 2)


async def test_participants_within_the_process(join: Any, until: Any) -> None:
    alice = await join("alice")
    agent = join.hub.add_member(sid="PA_agent", identity="agent", is_agent=True)
    ear = agent.messages()
    tap = join.hub.tap()
    alice.say(text("early", 1))
    await until(lambda: alice.member.last_sequence == 1)
    agent.activate()
    alice.say(text("hello", 2, destination_identities=["agent"]))
    alice.say(text("to nobody", 3, destination_identities=["bob"]))
    agent.say(text("welcome").SerializeToString())
    await until(lambda: alice.texts() == ["welcome"])
    assert alice.heard()[0].participant_identity == "agent"
    for words in ("early", "hello"):
        message = await anext(ear)
        assert (message.member, message.label, message.is_binary) == (alice.member, "_reliable", True)
        assert DataPacket.FromString(message.payload).user.payload.decode() == words
        assert DataPacket.FromString(message.payload).participant_identity == "alice"
    tapped = [await anext(tap) for _ in range(4)]
    said = [(message.member, DataPacket.FromString(message.payload).user.payload) for message in tapped]
    words = [b"early", b"hello", b"to nobody"]
    assert [payload for member, payload in said if member is alice.member] == words
    assert (agent, b"welcome") in said
    # Nobody listens any more: what is said now waits for whoever does next.
    await ear.aclose()
    await tap.aclose()
    alice.say(text("later", 4))
    await until(lambda: alice.member.last_sequence == 4)
    message = await anext(agent.messages())
    assert DataPacket.FromString(message.payload).user.payload == b"later"


def track_packet(handle: int, payload: bytes) -> bytes:
    return bytes([0x18, 0]) + handle.to_bytes(2, "big") + bytes(range(8)) + payload


async def test_data_tracks(forwarder: Forwarder, join: Any, until: Any) -> None:
    alice, bob, carol, dave = [await join(name) for name in ("alice", "bob", "carol", "dave")]
    first, second = alice.member.add_track(7), alice.member.add_track(65535)
    bob.member.subscribe(first, 1)
    bob.member.subscribe(second, 2)
    carol.member.subscribe(second, 300)
    ear = dave.member.messages()
    dave.member.subscribe(first, 9)
    alice.say(track_packet(7, b"first"), "_data_track")
    alice.say(track_packet(65535, b"second"), "_data_track")
    await until(lambda: len(bob.peer.messages) == 2 and len(carol.peer.messages) == len(dave.peer.messages) == 1)
    sent = {("_data_track", track_packet(1, b"first")), ("_data_track", track_packet(2, b"second"))}
    assert set(bob.peer.messages) == sent
    assert carol.peer.messages == [("_data_track", track_packet(300, b"second"))]
    message = await anext(ear)
    assert (message.member, message.payload) == (alice.member, track_packet(9, b"first"))

    bob.member.unsubscribe(first)
    second.close()
    second.close()
    bob.member.unsubscribe(second)
    dave.member.subscribe(first, 10)
    alice.say(track_packet(7, b"third"), "_data_track")
    alice.say(track_packet(65535, b"lost"), "_data_track")
    alice.say(b"short", "_data_track")
    await until(lambda: len(dave.peer.messages) == 2)
    assert dave.peer.messages[1] == ("_data_track", track_packet(10, b"third"))
    await until(lambda: forwarder.stats().drops.get("unknown_data_track") == 1)
    assert (len(bob.peer.messages), forwarder.stats().drops["bad_data_packet"]) == (2, 1)
    with pytest.raises(ClosedError):
        bob.member.subscribe(second, 1)
    alice.member.close()
    with pytest.raises(ClosedError):
        bob.member.subscribe(first, 1)


async def test_who_leaves_neither_speaks_nor_hears(join: Any, until: Any) -> None:
    alice, bob, carol = [await join(name) for name in ("alice", "bob", "carol")]
    bob.member.close()
    bob.member.close()
    bob.say(text("ignored"))
    alice.say(text("one"))
    await until(lambda: carol.texts() == ["one"])
    assert bob.heard() == []
    assert join.hub.members == (alice.member, carol.member)
    with pytest.raises(ClosedError):
        bob.member.activate()
    join.hub.close()
    join.hub.close()
    for use in (
        lambda: join.hub.add_member(sid="PA_x", identity="x"),
        lambda: join.hub.send(b""),
        join.hub.tap,
        lambda: join.hub.replies("id"),
        lambda: alice.member.say(b""),
    ):
        with pytest.raises(ClosedError):
            use()
    assert (join.hub.members, alice.member.stats(), alice.member.last_sequence) == ((), None, 0)


async def test_rooms_do_not_hear_each_other(forwarder: Forwarder, join: Any, peer: Any, until: Any) -> None:
    alice, bob = await join("alice"), await join("bob")
    other = forwarder.add_hub()
    stranger = peer()
    stranger.channel("_reliable")
    transport = await stranger.connect(forwarder)
    there = other.add_member(input=transport, output=transport, sid="PA_there", identity="there")
    there.activate()
    alice.say(text("here"))
    other.send(text("there").SerializeToString())
    await until(lambda: bob.texts() == ["here"] and Guest(stranger, there).texts() == ["there"])
    with pytest.raises(ParametersError, match="another hub"):
        other.send(b"", to=[alice.member])
    with pytest.raises(ParametersError, match="another hub"):
        there.subscribe(alice.member.add_track(1), 1)


async def test_a_transport_serves_one_member(join: Any, until: Any) -> None:
    alice, bob = await join("alice"), await join("bob")
    heir = join.hub.add_member(input=bob.peer.transport, output=bob.peer.transport, sid="PA_heir", identity="heir")
    heir.activate()
    alice.say(text("who?"))
    await until(lambda: bob.texts() == ["who?"])
    bob.say(text("me"))
    await until(alice.heard)
    assert alice.heard()[0].participant_identity == "heir"
    assert len(bob.heard()) == 1


async def test_mistakes_are_told(forwarder: Forwarder, join: Any, config: Config) -> None:
    alice = await join("alice")
    for handle in (0, 65536):
        with pytest.raises(ParametersError, match="1 to 65535"):
            alice.member.add_track(handle)
    alice.member.add_track(1)
    with pytest.raises(ParametersError, match="already"):
        alice.member.add_track(1)
    with pytest.raises(LimitError):
        join.hub.send(bytes(256 * 1024 + 1))
    async with Forwarder(config) as elsewhere:
        with pytest.raises(ParametersError, match="another forwarder"):
            alice.member.set_transports(output=elsewhere.add_transport())
    closed = forwarder.add_transport()
    closed.close()
    with pytest.raises(ClosedError):
        join.hub.add_member(input=closed, sid="PA_x", identity="x")
    assert join.hub.members == (alice.member,)


async def test_transports_lie_where_they_are_put(config: Config) -> None:
    async with Forwarder(replace(config, workers=4)) as forwarder:
        firsts = [forwarder.add_transport() for _ in range(4)]
        for first in firsts:
            beside = [forwarder.add_transport(beside=first) for _ in range(3)]
            assert {transport._number >> 56 for transport in beside} == {first._number >> 56}
        assert sorted(first._number >> 56 for first in firsts) == [0, 1, 2, 3]
        member = forwarder.add_hub().add_member(sid="PA_x", identity="x", beside=firsts[2])
        member.set_transports(input=firsts[2], output=forwarder.add_transport(beside=member))


async def test_the_end_of_the_forwarder_is_the_end_of_its_hubs(config: Config) -> None:
    async with Forwarder(config) as forwarder:
        hub = forwarder.add_hub()
        member = hub.add_member(sid="PA_x", identity="x")
        readers = [asyncio.ensure_future(anext(reader, None)) for reader in (hub.tap(), member.messages())]
        await asyncio.sleep(0)
    assert await asyncio.gather(*readers) == [None, None]
    with pytest.raises(ClosedError):
        hub.send(b"")
    hub.close()
    member.close()
