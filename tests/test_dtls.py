"""Peers on OpenSSL, which may have an RSA certificate, in both parts of the handshake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiortc.rtcdtlstransport import RTCCertificate, generate_certificate
from cryptography.hazmat.primitives.asymmetric import rsa

from rtpcore import sdp

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtpcore import Forwarder


@pytest.fixture(scope="session")
def certificate() -> RTCCertificate:
    """One of RSA; making it takes a while."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return RTCCertificate(key=key, cert=generate_certificate(key))


@pytest.mark.parametrize(
    ("is_rsa", "setup"),
    # aiortc as server has no cipher suite for an RSA certificate.
    [(True, "actpass"), (False, "actpass"), (False, "passive")],
)
async def test_media_and_data_both_ways(
    forwarder: Forwarder,
    peer: Callable[[], Any],
    until: Any,
    certificate: RTCCertificate,
    is_rsa: bool,
    setup: str,
) -> None:
    client = peer()
    if is_rsa:
        client.pc._RTCPeerConnection__certificates = [certificate]
    client.send("audio")
    channel = client.channel("chat")
    offer = sdp.parse((await client.offer()).replace("a=setup:actpass", f"a=setup:{setup}"))
    transport = forwarder.add_transport(offer.transport)
    for track in offer.tracks:
        transport.add_receiver(track)
    answer = str(sdp.answer(offer, transport.local, forwarder.candidates))
    assert ("a=setup:active" if setup == "passive" else "a=setup:passive") in answer
    await client.accept(answer)
    await transport.connected()

    def arrives() -> bool:
        stats = transport.stats()
        return stats is not None and stats.packets_received >= 5

    await until(arrives, "sound arrives")
    stats = transport.stats()
    assert stats is not None
    assert "_GCM" in (stats.srtp_profile or "")
    assert stats.drops.get("bad_auth", 0) == 0
    await until(lambda: channel.readyState == "open", "the channel is open")
    transport.send_data("chat", "hello")
    await until(lambda: client.messages == [("chat", "hello")], "the message arrives")
