"""TURN in this process, through aiortc's client: by UDP, by TLS, and what is refused."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aioice import stun
from aioice import turn as client
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection
from aiortc.rtcconfiguration import RTCIceTransportPolicy
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from livekit import api
from tests import certificates
from tests.conftest import PATIENCE, Peer

from rtpcore import BindError, Config, ConfigError, Forwarder, Listen, Media
from rtpcore.livekit_config import Turn, load
from rtpcore.parameters import UdpAddress
from rtpcore.serve import SERVER, application
from rtpcore.turn import TurnServer
from rtpcore.wire.ice_servers import turn_password, turn_username
from rtpcore.wire.messages import SignalResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

KEY, SECRET = "key", "a secret of more than thirty-two bytes"
NOWHERE = [UdpAddress(("127.0.0.1", 9), ("127.0.0.1", 9))]
LATER = 1 << 40


def free_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A certificate and its key, trusted by clients in this process."""
    made = certificates.make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", made[0])
    return made


@pytest.fixture
def turn(certificate: tuple[str, str]) -> Turn:
    """Settings with free ports on loopback."""
    return Turn(
        enabled=True,
        domain="localhost",
        cert_file=certificate[0],
        key_file=certificate[1],
        tls_port=free_port(socket.SOCK_STREAM),
        udp_port=free_port(socket.SOCK_DGRAM),
        bind_addresses=("127.0.0.1",),
    )


@pytest.fixture
async def http(turn: Turn) -> AsyncIterator[TestClient[Any, Any]]:
    """A server with TURN."""
    settings = replace(load(f"keys: {{{KEY}: {SECRET}}}", environ={}), turn=turn)
    config = Config(listen=Listen(("127.0.0.1",)), media=Media(stats_interval_ms=10), workers=1, seed=1)
    async with TestClient(TestServer(application(config, settings))) as running:
        yield running


def parsed(link: str) -> RTCIceServer:
    """A server that a `Link` names."""
    match = re.fullmatch(r'<([^>]+)>; rel="ice-server"; username="(\w+)"; credential="(\w+)".*', link)
    assert match is not None, link
    return RTCIceServer(match[1], match[2], match[3])


async def publish(http: TestClient[Any, Any], servers: list[RTCIceServer] | None = None) -> tuple[Peer, list[str]]:
    """Publish by WHIP; with servers, by nothing but a relay. The peer, and what it was told of servers."""
    grants = api.VideoGrants(room_join=True, room="stage")
    token = api.AccessToken(KEY, SECRET).with_identity("ada").with_grants(grants).to_jwt()
    peer = Peer()
    policy = RTCIceTransportPolicy.RELAY if servers else RTCIceTransportPolicy.ALL
    peer.pc = RTCPeerConnection(RTCConfiguration(servers or [], policy))
    peer.send("audio")
    headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {token}"}
    async with http.post("/whip/v1", data=await peer.offer(), headers=headers) as response:
        assert response.status == 201, await response.text()
        await peer.accept(await response.text())
        return peer, response.headers["Link"].split(", ")


@pytest.mark.parametrize("scheme", ["turn", "turns"])
async def test_who_reaches_nothing_but_turn_publishes(http: TestClient[Any, Any], scheme: str, until: Any) -> None:
    first, links = await publish(http)
    await first.pc.close()
    assert [link.split(":")[0] for link in links] == ["<turn", "<turns"]
    (server,) = [parsed(link) for link in links if link.startswith(f"<{scheme}:")]
    peer, _ = await publish(http, [server])
    await until(lambda: peer.pc.connectionState == "connected", "the call is up")
    running = http.app[SERVER].turn
    before = running.stats().packets_to_peers
    await until(lambda: running.stats().packets_to_peers > before + 20, "audio flows by the relay")
    assert running.stats().packets_to_clients > 0
    assert running.stats().connections == (scheme == "turns")
    await peer.pc.close()
    await until(lambda: running.stats().allocations == 0, "the relay is given back")


async def test_who_joins_and_who_comes_back_is_told_of_it(http: TestClient[Any, Any], turn: Turn) -> None:
    grants = api.VideoGrants(room_join=True, room="stage")
    token = api.AccessToken(KEY, SECRET).with_identity("ada").with_grants(grants).to_jwt()

    async def first(**query: str) -> SignalResponse:
        socket = await http.ws_connect("/rtc", params={"access_token": token, "protocol": "16", **query})
        message = SignalResponse.FromString(await asyncio.wait_for(socket.receive_bytes(), PATIENCE))
        if query:
            await socket.close()
        return message

    join = (await first()).join
    again = (await first(reconnect="1", sid=join.participant.sid)).reconnect
    for servers in (join.ice_servers, again.ice_servers):
        (server,) = servers
        assert list(server.urls) == [
            f"turn:127.0.0.1:{turn.udp_port}?transport=udp",
            f"turns:localhost:{turn.tls_port}?transport=tcp",
        ]
        (await relay(turn, server.username, server.credential)).close()


class Listener(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.heard.put_nowait(data)


async def relay(turn: Turn, name: str, password: str, *, tls: bool = False) -> Any:
    port = turn.tls_port if tls else turn.udp_port
    transport, _ = await client.create_turn_endpoint(
        Listener,
        server_addr=("localhost" if tls else "127.0.0.1", port),
        username=name,
        password=password,
        ssl=tls,
        transport="tcp" if tls else "udp",
    )
    return transport


def pass_of(sid: str, expires_at: int = LATER, secret: str = SECRET) -> tuple[str, str]:
    return turn_username(KEY, sid, expires_at), turn_password(secret, sid, expires_at)


@pytest.fixture
async def running(turn: Turn) -> AsyncIterator[TurnServer]:
    async with TurnServer(turn, keys={KEY: SECRET}, media=NOWHERE) as running:
        yield running


@pytest.mark.parametrize("tls", [False, True])
async def test_only_who_has_a_password_relays(running: TurnServer, turn: Turn, tls: bool) -> None:
    for name, password in (pass_of("PA_a", 1), pass_of("PA_a", secret="guessed"), ("ada", "love")):
        with pytest.raises(stun.TransactionFailed, match="401"):
            await relay(turn, name, password, tls=tls)
    assert running.stats().allocations_made == 0
    transport = await relay(turn, *pass_of("PA_a"), tls=tls)
    assert running.stats().allocations == 1
    host, port = transport.get_extra_info("sockname")
    assert host == "127.0.0.1"
    assert turn.relay_range_start <= port <= turn.relay_range_end
    transport.close()


async def test_a_participant_has_so_many_relays(turn: Turn) -> None:
    few = replace(turn, per_user_relay_allocation_limit=2)
    async with TurnServer(few, keys={KEY: SECRET}, media=NOWHERE) as running:
        transports = [await relay(turn, *pass_of("PA_a")) for _ in range(2)]
        with pytest.raises(stun.TransactionFailed, match="486"):
            await relay(turn, *pass_of("PA_a"))
        transports.append(await relay(turn, *pass_of("PA_b")))
        assert running.stats().drops["quota"] == 1
        for transport in transports:
            transport.close()


async def test_networks_behind_the_server_are_closed_and_it_is_said_once(
    running: TurnServer, turn: Turn, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    transport = await relay(turn, *pass_of("PA_a"))
    protocol = transport._TurnTransport__inner_protocol
    for address in (("127.0.0.2", 80), ("10.0.0.1", 80), ("169.254.169.254", 80)):
        with pytest.raises(stun.TransactionFailed, match="403"):
            await protocol.channel_bind(0x4000, address)
    assert running.stats().drops["forbidden_peer"] == 3
    await until(lambda: "forbidden_peer" in caplog.text)
    running._look(running._core)
    assert caplog.text.count("forbidden_peer") == 1
    transport.close()


async def test_the_operator_may_open_a_network(turn: Turn) -> None:
    port = free_port(socket.SOCK_DGRAM)
    loop = asyncio.get_running_loop()
    endpoint, listener = await loop.create_datagram_endpoint(Listener, local_addr=("127.0.0.1", port))
    media = [UdpAddress(("127.0.0.1", port), ("127.0.0.1", port))]
    opened = replace(turn, allow_restricted_peer_cidrs=("10.0.0.0/8",), deny_peer_cidrs=("10.9.0.0/16", "127.0.0.0/8"))
    async with TurnServer(opened, keys={KEY: SECRET}, media=media):
        transport = await relay(turn, *pass_of("PA_a"))
        protocol = transport._TurnTransport__inner_protocol
        await protocol.channel_bind(0x4100, ("10.0.0.1", 80))
        with pytest.raises(stun.TransactionFailed, match="403"):
            await protocol.channel_bind(0x4101, ("10.9.0.1", 80))
        transport.sendto(b"hello", ("127.0.0.1", port))
        assert await asyncio.wait_for(listener.heard.get(), PATIENCE) == b"hello"
        transport.close()
    endpoint.close()


async def test_tls_that_is_none_disturbs_nobody(running: TurnServer, turn: Turn, until: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", turn.tls_port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()
    context = ssl.create_default_context(cafile=turn.cert_file)
    _, writer = await asyncio.open_connection("localhost", turn.tls_port, ssl=context)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await until(lambda: running.stats().drops["malformed"] == 1, "it is cut off")
    writer.close()
    await until(lambda: running.stats().connections == 0)


class TestRefusals:
    async def start(self, turn: Turn) -> None:
        async with TurnServer(turn, keys={KEY: SECRET}, media=NOWHERE):
            pass

    async def test_certificates_that_cannot_be_shown(self, turn: Turn, tmp_path: Path) -> None:
        text = tmp_path / "text.pem"
        text.write_text("no certificate")
        for changed, setting, problem in [
            (replace(turn, cert_file=str(tmp_path / "none")), "turn.cert_file", "cannot be read"),
            (replace(turn, cert_file=str(text)), "turn.cert_file", "no certificate"),
            (replace(turn, key_file=str(text)), "turn.key_file", "no private key"),
        ]:
            with pytest.raises(ConfigError, match=problem) as caught:
                await self.start(changed)
            assert caught.value.setting == setting

    async def test_a_key_of_another_certificate(self, turn: Turn, tmp_path: Path) -> None:
        other = tmp_path / "other.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        other.write_bytes(key.private_bytes(*form))
        with pytest.raises(ConfigError, match="cannot be used together"):
            await self.start(replace(turn, key_file=str(other)))

    @pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
    async def test_a_taken_port(self, turn: Turn, kind: int) -> None:
        with socket.socket(socket.AF_INET, kind) as taken:
            taken.bind(("127.0.0.1", turn.udp_port if kind == socket.SOCK_DGRAM else turn.tls_port))
            if kind == socket.SOCK_STREAM:
                taken.listen()
            with pytest.raises(BindError):
                await self.start(turn)


async def test_a_server_that_does_not_run_has_done_nothing(turn: Turn) -> None:
    server = TurnServer(turn, keys={KEY: SECRET}, media=NOWHERE)
    assert server.stats().allocations_made == 0
    async with server:
        (await relay(turn, *pass_of("PA_a"))).close()
        assert server.stats().allocations_made == 1
    assert server.stats().allocations_made == 0


async def test_with_known_keys_turn_stays_on_this_machine(turn: Turn, monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = replace(turn, bind_addresses=Turn().bind_addresses)
    settings = replace(load(environ={}, is_dev=True), turn=everywhere)
    config = Config(listen=Listen(("127.0.0.1",)), workers=1)
    async with TestClient(TestServer(application(config, settings))) as http:
        udp, tcp = http.app[SERVER].turn._core.addresses()
        assert {host for host, _ in [*udp, *tcp]} == {"127.0.0.1", "::1"}


async def test_media_is_named_for_relays(forwarder: Forwarder, peer: Callable[[], Any]) -> None:
    (address,) = forwarder.udp_addresses
    assert address.local == address.advertised
    assert {(c.address, c.port) for c in forwarder.candidates if c.protocol == "udp"} == {address.advertised}
