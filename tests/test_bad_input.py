"""What strangers and hostile peers send through real sockets: counted, dropped, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import secrets
import socket
from typing import TYPE_CHECKING, Any

import aioice
import pytest
from aioice import stun
from aiortc.rtp import RtpPacket

from rtpcore import Forwarder, sdp
from rtpcore.parameters import DtlsParameters, Fingerprint, IceParameters, TransportParameters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rtpcore import Transport

DIGEST = Fingerprint("sha-256", ":".join(["AB"] * 32))


def port(forwarder: Forwarder, protocol: str = "udp") -> tuple[str, int]:
    """Where the forwarder listens."""
    (found,) = [(c.address, c.port) for c in forwarder.candidates if c.protocol == protocol]
    return found


def drops(forwarder: Forwarder, *reasons: str) -> int:
    """Packets dropped for any of these reasons, or for any at all."""
    counts = forwarder.stats().drops
    return sum(counts.values()) if not reasons else sum(counts.get(reason, 0) for reason in reasons)


def binding_request(user: str, key: str) -> bytes:
    """A check of a full agent that controls (RFC 8445 §7.2.2)."""
    message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    message.attributes["USERNAME"] = user
    message.attributes["PRIORITY"] = 1
    message.attributes["ICE-CONTROLLING"] = secrets.randbits(64)
    message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity(key.encode())
    return bytes(message)


def framed(packet: bytes) -> bytes:
    """RFC 4571 §2."""
    return len(packet).to_bytes(2, "big") + packet


@pytest.fixture
def stranger(forwarder: Forwarder) -> Any:
    """A UDP socket that nobody expects."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(port(forwarder))
        sock.setblocking(False)
        yield sock


@pytest.fixture
async def checked(forwarder: Forwarder) -> AsyncIterator[tuple[Transport, aioice.Connection]]:
    """A transport whose peer passed its ICE check and goes no further."""
    connection = aioice.Connection(ice_controlling=True, stun_server=None)
    await connection.gather_candidates()
    ice = IceParameters(connection.local_username, connection.local_password)
    transport = forwarder.add_transport(TransportParameters(ice, DtlsParameters((DIGEST,), "active")))
    connection.remote_username = transport.local.ice.ufrag
    connection.remote_password = transport.local.ice.pwd
    connection.remote_is_lite = True
    for candidate in forwarder.candidates:
        if candidate.protocol == "udp":
            await connection.add_remote_candidate(aioice.Candidate.from_sdp(str(candidate).removeprefix("candidate:")))
    await connection.add_remote_candidate(None)
    await connection.connect()
    yield transport, connection
    await connection.close()


class Line:
    """The wire of a connected aiortc peer, below and above its encryption."""

    def __init__(self, client: Any, transport: Transport) -> None:
        self.client, self.transport = client, transport
        self.dtls = client.pc.getSenders()[0].transport
        self.ssrc = client.pc.getSenders()[0]._ssrc

    async def raw(self, datagram: bytes) -> None:
        await self.dtls.transport._connection.send(datagram)

    def sealed(self, packet: bytes, *, rtcp: bool = False) -> bytes:
        srtp = self.dtls._tx_srtp
        data: bytes = srtp.protect_rtcp(packet) if rtcp else srtp.protect(packet)
        return data

    def rtp(self, *, ssrc: int | None = None, payload_type: int = 96, seq: int = 1, payload: bytes = b"x") -> bytes:
        packet = RtpPacket(payload_type=payload_type, sequence_number=seq, ssrc=ssrc or self.ssrc, payload=payload)
        return packet.serialize()


@pytest.fixture
async def line(forwarder: Forwarder, peer: Callable[[], Any], until: Any) -> Line:
    """A connected peer whose audio track is expected, and that sends nothing by itself."""
    client = peer()
    transceiver = client.pc.addTransceiver("audio", direction="sendonly")
    client.channel("chat")
    offer = sdp.parse(await client.offer())
    transport = forwarder.add_transport(offer.transport)
    for track in offer.tracks:
        transport.add_receiver(track)
    await client.accept(str(sdp.answer(offer, transport.local, forwarder.candidates)))
    await transport.connected()
    assert transceiver.sender.transport is client.pc.sctp.transport
    await until(lambda: client.channels["chat"].readyState == "open")
    return Line(client, transport)


class TestStrangers:
    async def test_garbage_of_every_first_byte_and_length(
        self, forwarder: Forwarder, stranger: Any, until: Any
    ) -> None:
        noise = random.Random(1)
        sent = 0
        for first in range(256):
            for length in (0, 1, 11, 12, 19, 20, 100, 1500):
                stranger.send(bytes([first]) + noise.randbytes(length))
                sent += 1
            await until(lambda sent=sent: drops(forwarder) == sent)
        assert forwarder.stats().packets_sent == 0
        assert forwarder.stats().transports == 0

    async def test_a_flood_of_checks_for_nobody(self, forwarder: Forwarder, stranger: Any, until: Any) -> None:
        transport = forwarder.add_transport()
        first = transport.local.ice.ufrag[0]  # names the worker
        for n in range(1, 2001):
            stranger.send(binding_request(f"{first}{secrets.token_hex(4)}:x", "x" * 22))
            if n % 100 == 0:
                await until(lambda n=n: drops(forwarder, "unknown_ufrag") == n)
        assert forwarder.stats().transports == 1
        assert forwarder.stats().packets_sent == 0
        assert transport.state == "new"

    async def test_checks_with_the_wrong_password(self, forwarder: Forwarder, stranger: Any, until: Any) -> None:
        ice = IceParameters("peer", "p" * 22)
        transport = forwarder.add_transport(TransportParameters(ice, DtlsParameters((DIGEST,), "active")))
        for _ in range(100):
            stranger.send(binding_request(f"{transport.local.ice.ufrag}:peer", "x" * 22))
        await until(lambda: drops(forwarder, "bad_stun") == 100)
        stranger.send(b"\x80\x60" + bytes(10))
        await until(lambda: drops(forwarder, "unknown_address") == 1)
        assert transport.state == "new"
        # And the right one is answered, from the same address.
        stranger.send(binding_request(f"{transport.local.ice.ufrag}:peer", transport.local.ice.pwd))
        await until(lambda: forwarder.stats().packets_sent == 1)
        answer = stun.parse_message(stranger.recv(1500))
        assert answer.message_class == stun.Class.RESPONSE
        assert answer.check_message_integrity(transport.local.ice.pwd.encode())

    async def test_media_and_dtls_from_nowhere(self, forwarder: Forwarder, stranger: Any, until: Any) -> None:
        for first in (0x80, 0x16):
            for _ in range(50):
                stranger.send(bytes([first, 0x60]) + bytes(60))
        await until(lambda: drops(forwarder, "unknown_address") == 100)
        assert forwarder.stats().packets_sent == 0


class TestBeforeKeys:
    async def test_rtp_and_rtcp_before_dtls(self, forwarder: Forwarder, checked: Any, until: Any) -> None:
        transport, connection = checked
        for second in (96, 200):
            for _ in range(10):
                await connection.send(bytes([0x80, second]) + bytes(60))
        await until(lambda: transport.stats().drops.get("no_keys") == 20)
        assert transport.state == "connecting"

    async def test_dtls_garbage_does_not_end_a_handshake(self, forwarder: Forwarder, checked: Any, until: Any) -> None:
        transport, connection = checked
        noise = random.Random(2)
        for n in range(200):
            kind = (20, 21, 22, 23, 24, 63)[n % 6]
            body = noise.randbytes(n)
            await connection.send(bytes([kind, 254, 253]) + bytes(8) + len(body).to_bytes(2, "big") + body)
        received = forwarder.stats().packets_received
        await until(lambda: forwarder.stats().packets_received >= received)
        await connection.send(bytes([0x80, 96]) + bytes(60))
        await until(lambda: drops(forwarder, "no_keys", "unknown_address") >= 1)
        assert transport.state == "connecting"

    async def test_a_peer_with_another_certificate(
        self, forwarder: Forwarder, peer: Callable[[], Any], until: Any
    ) -> None:
        client = peer()
        client.channel("chat")
        offer = sdp.parse(await client.offer())
        remote = offer.transport
        wrong = TransportParameters(remote.ice, DtlsParameters((DIGEST,), remote.dtls.role), sctp_port=5000)
        events = forwarder.events()
        transport = forwarder.add_transport(wrong)
        await client.accept(str(sdp.answer(offer, transport.local, forwarder.candidates)))
        states = [((await anext(events)).state, (await anext(events)).reason)]  # type: ignore[union-attr]
        assert states == [("connecting", "wrong_fingerprint")]
        await until(lambda: forwarder.stats().transports == 0)


class TestPeers:
    async def test_forged_replayed_and_oversized(self, line: Line, until: Any) -> None:
        packet = line.sealed(line.rtp(seq=10))
        await line.raw(packet)
        await line.raw(packet)
        for seq, at in ((20, 1), (21, 5), (22, 13), (23, -1)):
            forged = bytearray(line.sealed(line.rtp(seq=seq)))
            forged[at] ^= 0x10
            await line.raw(bytes(forged))
        await line.raw(b"\x80\x60" + bytes(3000))
        await line.raw(packet[:11])
        expected = {"replayed": 1, "bad_auth": 4, "oversized": 1, "bad_rtp": 1}
        await until(lambda: sum(line.transport.stats().drops.values()) == 7)
        assert line.transport.stats().drops == expected
        assert line.transport.state == "connected"

    async def test_ssrcs_and_payload_types_that_were_not_agreed(self, line: Line, until: Any) -> None:
        for n in range(10_000):
            await line.raw(line.sealed(line.rtp(ssrc=1_000_000 + n, payload_type=50)))
            if n % 200 == 199:
                await until(lambda n=n: sum(line.transport.stats().drops.values()) == n + 1)
        found = line.transport.stats().drops
        assert set(found) <= {"unknown_ssrc", "too_many_ssrcs", "unknown_payload_type"}
        assert found["too_many_ssrcs"] > 9_000
        assert line.transport.state == "connected"

    async def test_a_packet_behind_a_flood_of_ssrcs_is_still_taken(
        self, line: Line, forwarder: Forwarder, until: Any
    ) -> None:
        codec = line.client.pc.getTransceivers()[0]._codecs[0]
        await line.raw(line.sealed(line.rtp(payload_type=codec.payloadType)))
        await until(lambda: next(iter(forwarder._receivers.values())).stats().encodings[0].packets_received == 1)
        for n in range(200):
            await line.raw(line.sealed(line.rtp(ssrc=1_000_000 + n, payload_type=50)))
        await line.raw(line.sealed(line.rtp(payload_type=codec.payloadType, seq=2)))
        await until(lambda: next(iter(forwarder._receivers.values())).stats().encodings[0].packets_received == 2)

    async def test_rtcp_of_lying_lengths(self, line: Line, until: Any) -> None:
        ssrc = line.ssrc.to_bytes(4, "big")
        lies = [
            b"\x80\xc9\x00\x50" + ssrc,  # beyond the datagram
            b"\x9f\xc9\x00\x01" + ssrc,  # 31 blocks, none there
            b"\xa0\xc9\x00\x01" + ssrc,  # padding longer than the packet, or of no bytes
            b"\x81\xca\x00\x02" + ssrc + b"\x01\xff\x00\x00",  # an SDES item beyond its chunk
            b"\x8f\xcd\x00\x04" + ssrc + ssrc + b"\x00\x01\xff\xff\x00\x00\x00\x00",  # 65535 statuses, no chunk
            b"\x41\xc9\x00\x01" + ssrc,  # version 1
        ]
        for lie in lies:
            await line.raw(line.sealed(lie, rtcp=True) if lie[0] >> 6 == 2 else lie)
        await until(lambda: line.transport.stats().drops.get("bad_rtcp", 0) == 5, "five lies are counted")
        assert line.transport.state == "connected"

    async def test_dtls_garbage_does_not_end_a_connection(self, line: Line, until: Any) -> None:
        noise = random.Random(3)
        for n in range(100):
            body = noise.randbytes(n)
            kind = (20, 21, 22, 23, 24, 63)[n % 6]
            await line.raw(bytes([kind, 254, 253]) + bytes(8) + len(body).to_bytes(2, "big") + body)
        for n in range(20):
            await line.raw(bytes([22, 254, 253]) + bytes(8) + b"\xff\xff" + bytes(n))
        await line.raw(b"\x80\x60" + bytes(60))
        await until(lambda: line.transport.stats() is None or line.transport.stats().drops.get("bad_auth", 0) >= 1)
        assert line.transport.state == "connected"
        line.transport.send_data("chat", b"still here")
        await until(lambda: line.client.messages == [("chat", b"still here")])

    async def test_sctp_garbage_in_dtls(self, line: Line, until: Any) -> None:
        noise = random.Random(4)
        for n in range(100):
            await line.dtls._send_data(noise.randbytes(n + 1))
        await until(lambda: line.transport.stats().drops.get("bad_sctp", 0) >= 90)
        assert line.transport.state == "connected"

    async def test_dcep_that_lies(self, line: Line, until: Any) -> None:
        sctp = line.client.pc.sctp
        lie = b"\x03\x00\x01\x00" + bytes(4) + b"\xff\xff\xff\xff" + b"label"
        await sctp._send(30, 50, lie)
        await sctp._send(31, 50, b"\x03\x07\x01\x00" + bytes(8))
        await sctp._send(40, 51, b"a message on a channel that was never opened")
        await until(lambda: line.transport.stats().drops.get("bad_data_channel", 0) == 3)
        assert line.transport.state == "connected"


MOST_CONNECTIONS = 4096
"""Of one worker, see rust/net/src/worker/connections.rs."""


class Tcp:
    """Connections of strangers and peers."""

    def __init__(self, forwarder: Forwarder) -> None:
        self.forwarder = forwarder
        self.writers: list[asyncio.StreamWriter] = []

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*port(self.forwarder, "tcp"))
        self.writers.append(writer)
        return reader, writer

    async def checked(self) -> tuple[Transport, asyncio.StreamReader, asyncio.StreamWriter]:
        """A peer that passed its check, sent byte by byte."""
        ice = IceParameters("peer", "p" * 22)
        transport = self.forwarder.add_transport(TransportParameters(ice, DtlsParameters((DIGEST,), "active")))
        reader, writer = await self.open()
        for byte in framed(binding_request(f"{transport.local.ice.ufrag}:peer", transport.local.ice.pwd)):
            writer.write(bytes([byte]))
            await writer.drain()
        length = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), 30), "big")
        answer = stun.parse_message(await reader.readexactly(length))
        assert answer.message_class == stun.Class.RESPONSE
        assert answer.check_message_integrity(transport.local.ice.pwd.encode())
        return transport, reader, writer


@pytest.fixture
async def tcp(forwarder: Forwarder) -> AsyncIterator[Tcp]:
    connections = Tcp(forwarder)
    yield connections
    for writer in connections.writers:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    with contextlib.suppress(ConnectionResetError):
        return await asyncio.wait_for(reader.read(1), 30) == b""
    return True


class TestTcp:
    @pytest.mark.parametrize(
        ("nonsense", "reason"),
        [
            (b"GET / HTTP/1.1\r\n\r\n", "oversized"),
            (b"\xff\xff" + bytes(100), "oversized"),
            (framed(b""), "unknown_protocol"),
            (framed(b"hello"), "unknown_protocol"),
            (framed(bytes(20)), "bad_stun"),
            (framed(b"\x80\x60" + bytes(60)), "unknown_address"),
            (framed(b"\x16\xfe\xfd" + bytes(60)), "unknown_address"),
        ],
    )
    async def test_nonsense_ends_the_connection(
        self, forwarder: Forwarder, tcp: Tcp, nonsense: bytes, reason: str, until: Any
    ) -> None:
        reader, writer = await tcp.open()
        writer.write(nonsense)
        assert await is_closed(reader)
        await until(lambda: drops(forwarder, reason) == 1)
        assert drops(forwarder) == 1

    async def test_silent_connections_do_not_keep_others_out(self, tcp: Tcp) -> None:
        for n in range(100):
            _, writer = await tcp.open()
            writer.write(framed(bytes(20))[: n % 20])
        await tcp.checked()

    async def test_whom_nobody_knows_any_more_is_let_go(self, tcp: Tcp) -> None:
        silent, _ = await tcp.open()
        nobody, writer = await tcp.open()
        writer.write(framed(binding_request("Anobody:x", "x" * 22)))
        transport, gone, _ = await tcp.checked()
        _, still_there, _ = await tcp.checked()
        transport.close()
        assert await asyncio.gather(is_closed(silent), is_closed(nobody), is_closed(gone)) == [True] * 3
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(still_there.read(1), 0.1)

    async def test_strangers_who_name_nobody_do_not_fill_the_table(self, forwarder: Forwarder, tcp: Tcp) -> None:
        _, known, _ = await tcp.checked()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard < 20_000 else 20_000, hard))
        request = framed(binding_request("Anobody:x", "x" * 22))
        with contextlib.ExitStack() as stack:
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
            for _ in range(MOST_CONNECTIONS + 100):
                stranger = stack.enter_context(socket.create_connection(port(forwarder, "tcp")))
                stranger.sendall(request)
            await tcp.checked()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(known.read(1), 0.1)

    async def test_connections_that_come_and_go(self, forwarder: Forwarder, tcp: Tcp) -> None:
        for _ in range(200):
            _, writer = await tcp.open()
            writer.close()
        await tcp.checked()
        assert drops(forwarder) == 0, "nothing was sent, so nothing was dropped"

    async def test_a_lying_length_ends_a_known_connection_and_not_the_peer(
        self, forwarder: Forwarder, tcp: Tcp, until: Any
    ) -> None:
        transport, reader, writer = await tcp.checked()
        writer.write(framed(b"\x80\x60" + bytes(60)))
        await until(lambda: drops(forwarder, "no_keys") == 1)
        writer.write(b"\xff\xff" + os.urandom(100))
        assert await is_closed(reader)
        await until(lambda: drops(forwarder, "oversized") == 1)
        assert transport.state == "connecting"
