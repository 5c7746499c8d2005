"""Networks other than IPv4 without obstacles: IPv6, both families, TCP over it, a NAT in front of the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aioice.ice
import pytest
from aioice import stun
from tests.conftest import PATIENCE, Peer
from tests.test_bad_input import binding_request, framed

from rtpcore import Config, Forwarder, Listen, Media, sdp
from rtpcore.parameters import DtlsParameters, Fingerprint, IceParameters, SenderParameters, TransportParameters

if TYPE_CHECKING:
    from collections.abc import Callable

DIGEST = Fingerprint("sha-256", ":".join(["AB"] * 32))


def on(*addresses: str, **listen: Any) -> Config:
    return Config(listen=Listen(addresses, tcp_port=0, **listen), media=Media(stats_interval_ms=10), workers=2, seed=1)


def selected(peer: Peer) -> str:
    """Our address by which a peer is connected."""
    (transceiver,) = peer.pc.getTransceivers()
    host: str = transceiver.sender.transport.transport._connection._nominated[1].remote_candidate.host
    return host


@pytest.fixture
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make aiortc gather on loopback, which it passes over: every machine has that in both families."""

    def only(*addresses: str) -> None:
        def gather(use_ipv4: bool, use_ipv6: bool) -> list[str]:
            return [address for address in addresses if (use_ipv6 if ":" in address else use_ipv4)]

        monkeypatch.setattr(aioice.ice, "get_host_addresses", gather)

    return only


async def calls(forwarder: Forwarder, peer: Callable[[], Peer]) -> tuple[Peer, Peer]:
    """Somebody publishes sound, somebody hears it."""
    publisher, player = peer(), peer()
    publisher.send("audio")
    player.receive("audio")
    offer = sdp.parse(await publisher.offer())
    transport = forwarder.add_transport(offer.transport)
    receiver = transport.add_receiver(offer.tracks[0])
    await publisher.accept(str(sdp.answer(offer, transport.local)))
    wish = sdp.parse(await player.offer())
    other = forwarder.add_transport(wish.transport)
    wished = [SenderParameters(track.mid, track.kind, ssrc=1000, stream_id="s", cname="c") for track in wish.wanted]
    negotiation = sdp.Negotiation()
    await player.accept(str(negotiation.answer(wish, other.local, senders=wished)))
    assert negotiation.agreement is not None
    for agreed in negotiation.agreement.senders:
        other.add_sender(receiver, agreed)
    await player.frames("audio")
    return publisher, player


class TestIPv6:
    async def test_a_call_over_nothing_else(self, peer: Callable[[], Peer], on_loopback: Callable[..., None]) -> None:
        on_loopback("::1")
        async with Forwarder(on("::1")) as forwarder:
            assert {(c.protocol, c.address) for c in forwarder.candidates} == {("udp", "::1"), ("tcp", "::1")}
            publisher, player = await calls(forwarder, peer)
            for one in (publisher, player):
                assert selected(one) == "::1"

    @pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
    async def test_both_families_for_peers_that_have_one(
        self, peer: Callable[[], Peer], on_loopback: Callable[..., None], address: str
    ) -> None:
        on_loopback(address)
        async with Forwarder(on("127.0.0.1", "::1")) as forwarder:
            assert {(c.protocol, c.address) for c in forwarder.candidates} == {
                (protocol, host) for protocol in ("udp", "tcp") for host in ("127.0.0.1", "::1")
            }
            assert len({c.port for c in forwarder.candidates if c.protocol == "udp"}) == 1, "one port for a firewall"
            publisher, _ = await calls(forwarder, peer)
            assert selected(publisher) == address

    async def test_tcp(self) -> None:
        async with Forwarder(on("::1")) as forwarder:
            (candidate,) = [c for c in forwarder.candidates if c.protocol == "tcp"]
            assert candidate.tcp_type == "passive"
            ice = IceParameters("peer", "p" * 22)
            transport = forwarder.add_transport(TransportParameters(ice, DtlsParameters((DIGEST,), "active")))
            reader, writer = await asyncio.open_connection(candidate.address, candidate.port)
            request = binding_request(f"{transport.local.ice.ufrag}:peer", transport.local.ice.pwd)
            writer.write(framed(request))
            length = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), PATIENCE), "big")
            answer = stun.parse_message(await reader.readexactly(length))
            assert answer.message_class == stun.Class.RESPONSE
            assert answer.attributes["XOR-MAPPED-ADDRESS"] == writer.get_extra_info("sockname")[:2]
            writer.close()


class TestAddressesThatAreTold:
    async def test_those_of_a_nat_by_family(self) -> None:
        listen = on("127.0.0.1", "::1", advertise=("198.51.100.1", "2001:db8::1"))
        async with Forwarder(listen) as forwarder:
            assert {c.address for c in forwarder.candidates} == {"198.51.100.1", "2001:db8::1"}
            assert {(a.local[0], a.advertised[0]) for a in forwarder.udp_addresses} == {
                ("127.0.0.1", "198.51.100.1"),
                ("::1", "2001:db8::1"),
            }

    async def test_the_inner_one_comes_after(self) -> None:
        async with Forwarder(on("127.0.0.1", advertise=("198.51.100.1",), advertise_local=True)) as forwarder:
            outer, inner = [c for c in forwarder.candidates if c.protocol == "udp"]
            assert (outer.address, inner.address) == ("198.51.100.1", "127.0.0.1")
            assert outer.priority > inner.priority
            assert outer.foundation != inner.foundation

    async def test_a_peer_on_this_side_of_the_nat_connects(self, peer: Callable[[], Peer]) -> None:
        async with Forwarder(on("127.0.0.1", advertise=("198.51.100.1",), advertise_local=True)) as forwarder:
            publisher, _ = await calls(forwarder, peer)
            assert selected(publisher) == "127.0.0.1"

    async def test_nothing_is_told_twice(self) -> None:
        async with Forwarder(on("127.0.0.1", advertise_local=True)) as forwarder:
            assert len(forwarder.candidates) == 2
