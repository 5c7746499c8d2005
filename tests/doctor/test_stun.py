"""Questions to ICE agents and TURN servers; the other opinion on STUN is aioice's."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aioice import stun as theirs

from rtpcore import Forwarder
from rtpcore.doctor import stun
from rtpcore.parameters import DtlsParameters, Fingerprint, IceParameters, TransportParameters

USER, PASSWORD, REALM, NONCE = "1700000000:ada", "a password", "example.org", b"nonce"
KEY = hashlib.md5(f"{USER}:{REALM}:{PASSWORD}".encode()).digest()
RELAY = ("198.51.100.9", 40_000)


def answer(data: bytes, seen: list[Any]) -> bytes | None:
    """A TURN server's word, as short as it may be."""
    asked = theirs.parse_message(data)
    if "USERNAME" not in asked.attributes:
        told = theirs.Message(asked.message_method, theirs.Class.ERROR, asked.transaction_id)
        told.attributes.update({"ERROR-CODE": (401, "Unauthorized"), "REALM": REALM, "NONCE": NONCE})
        return bytes(told)
    if not asked.check_message_integrity(KEY):
        told = theirs.Message(asked.message_method, theirs.Class.ERROR, asked.transaction_id)
        told.attributes["ERROR-CODE"] = (441, "Wrong Credentials")
        return bytes(told)
    seen.append(asked.message_method)
    told = theirs.Message(asked.message_method, theirs.Class.RESPONSE, asked.transaction_id)
    if asked.message_method == theirs.Method.ALLOCATE:
        assert asked.attributes["REQUESTED-TRANSPORT"] == 17 << 24
        told.attributes["XOR-RELAYED-ADDRESS"] = RELAY
    told.add_message_integrity(KEY)
    return bytes(told)


class _Server(asyncio.DatagramProtocol):
    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen
        self.lost = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.lost += 1
        if self.lost == 1:
            return  # the first is lost on the way
        self.transport.sendto(b"noise", addr)
        told = answer(data, self.seen)
        if told is not None:
            self.transport.sendto(told, addr)


@pytest.fixture
async def turn() -> AsyncIterator[tuple[int, list[Any]]]:
    """A TURN server by UDP and TCP, and what it granted."""
    seen: list[Any] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readexactly(20)
                writer.write(answer(head + await reader.readexactly(int.from_bytes(head[2:4], "big")), seen) or b"")
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Server(seen), local_addr=("127.0.0.1", port)
    )
    yield port, seen
    transport.close()
    server.close()
    await server.wait_closed()


class TestAllocate:
    @pytest.mark.parametrize("way", ["udp", "tcp"])
    async def test_a_relay(self, turn: tuple[int, list[Any]], way: stun.Way) -> None:
        port, seen = turn
        found = await stun.allocate("127.0.0.1", port, way, username=USER, password=PASSWORD, timeout_s=30)
        assert (found.address, found.port) == RELAY
        given_back = [theirs.Method.REFRESH] if way == "udp" else []
        assert seen == [theirs.Method.ALLOCATE, *given_back]

    async def test_a_wrong_password(self, turn: tuple[int, list[Any]]) -> None:
        with pytest.raises(stun.StunError, match="441"):
            await stun.allocate("127.0.0.1", turn[0], "udp", username=USER, password="x", timeout_s=30)

    @pytest.mark.parametrize("way", ["udp", "tcp", "tls"])
    async def test_nobody_is_there(self, way: stun.Way) -> None:
        with pytest.raises(stun.StunError):
            await stun.allocate("127.0.0.1", 1, way, username=USER, password="x", timeout_s=0.5)

    async def test_who_speaks_no_tls(self, turn: tuple[int, list[Any]]) -> None:
        with pytest.raises(stun.StunError):
            await stun.allocate("127.0.0.1", turn[0], "tls", username=USER, password="x", timeout_s=5)


class TestCheck:
    async def test_every_candidate_answers(self, forwarder: Forwarder) -> None:
        ours = IceParameters("ours", "a password of ours that is long")
        fingerprint = Fingerprint("sha-256", ":".join(["AB"] * 32))
        transport = forwarder.add_transport(TransportParameters(ours, DtlsParameters((fingerprint,), "active")))
        local = transport.local.ice
        ways: list[stun.Way] = []
        for one in forwarder.candidates:
            found = await stun.check(
                one.address,
                one.port,
                one.protocol,
                username=f"{local.ufrag}:ours",
                password=local.pwd,
                timeout_s=30,
            )
            assert found.address == "127.0.0.1"
            ways.append(one.protocol)
        assert ways == ["udp", "tcp"]
        assert transport.state in ("new", "connecting"), "no path is chosen by it"

    async def test_a_stranger_gets_no_answer(self, forwarder: Forwarder) -> None:
        one = forwarder.candidates[0]
        with pytest.raises(stun.StunError, match="no answer"):
            await stun.check(one.address, one.port, "udp", username="x:y", password="z" * 22, timeout_s=0.5)
