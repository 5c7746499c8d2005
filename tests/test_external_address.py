"""Asking STUN servers, which these tests are themselves."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aioice import stun

from rtpcore.config import Config, Listen
from rtpcore.errors import ConfigError, RtpcoreError
from rtpcore.external_address import ask, with_external_address
from rtpcore.forwarder import Forwarder
from rtpcore.livekit_config import LiveKitConfig, Rtc
from rtpcore.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SEEN = {4: ("198.51.100.7", 4242), 6: ("2001:db8::7", 4242)}


class Stun(asyncio.DatagramProtocol):
    """A STUN server that says what the test wants."""

    def __init__(self, *, answers: Callable[[stun.Message], list[bytes]]) -> None:
        self.answers = answers
        self.requests = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.requests += 1
        for answer in self.answers(stun.parse_message(data)):
            self.transport.sendto(answer, addr)


def answer(request: stun.Message, version: int = 4, *, kind: stun.Class = stun.Class.RESPONSE) -> bytes:
    message = stun.Message(request.message_method, kind, request.transaction_id)
    if kind == stun.Class.RESPONSE:
        message.attributes["XOR-MAPPED-ADDRESS"] = SEEN[version]
    return bytes(message)


@asynccontextmanager
async def serving(
    answers: Callable[[stun.Message], list[bytes]], host: str = "127.0.0.1"
) -> AsyncIterator[tuple[str, Stun]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: Stun(answers=answers), local_addr=(host, 0))
    address = transport.get_extra_info("sockname")
    yield (f"[{address[0]}]:{address[1]}" if ":" in host else f"{address[0]}:{address[1]}"), server
    transport.close()


async def test_the_first_answer_counts() -> None:
    async with serving(lambda _: []) as (silent, _), serving(lambda request: [answer(request)]) as (speaks, _):
        assert await ask([silent, speaks], "127.0.0.1", deadline_s=30) == "198.51.100.7"


async def test_a_request_that_is_lost_is_sent_again() -> None:
    async with serving(lambda request: [answer(request)] if server.requests == 2 else []) as (name, server):
        assert await ask([name], "127.0.0.1", deadline_s=30) == "198.51.100.7"


async def test_other_messages_are_no_answer() -> None:
    def lies(request: stun.Message) -> list[bytes]:
        other = stun.Message(request.message_method, stun.Class.REQUEST)
        refusal = answer(request, kind=stun.Class.ERROR)
        return [b"", b"hello", bytes(20), refusal, answer(other, 6), answer(request)]

    async with serving(lies) as (name, _):
        assert await ask([name], "127.0.0.1", deadline_s=30) == "198.51.100.7"


async def test_each_family_is_asked() -> None:
    async with (
        serving(lambda request: [answer(request)]) as (v4, _),
        serving(lambda request: [answer(request, 6)], "::1") as (v6, _),
    ):
        listen = await with_external_address(Listen(("127.0.0.1", "::1")), [v4, v6], deadline_s=30)
    assert listen.advertise == ("198.51.100.7", "2001:db8::7")


async def test_what_is_known_is_not_asked() -> None:
    async with serving(lambda request: [answer(request, 6)], "::1") as (name, _):
        known = Listen(("127.0.0.1", "::1"), advertise=("192.0.2.1",))
        assert (await with_external_address(known, [name])).advertise == ("192.0.2.1", "2001:db8::7")
    everything = Listen(("127.0.0.1",), advertise=("192.0.2.1",))
    assert await with_external_address(everything, ["stun.invalid"]) == everything


async def test_no_answer_says_what_to_do() -> None:
    async with serving(lambda _: []) as (name, _):
        with pytest.raises(ConfigError, match=r"rtc.use_external_ip.*IPv4.*rtc.node_ip.*rtc.stun_servers") as caught:
            await with_external_address(Listen(("127.0.0.1",)), [name, "no-such-name.invalid"], deadline_s=0.1)
    assert name in caught.value.problem
    with pytest.raises(ConfigError, match="IPv6"):
        await with_external_address(Listen(("::1",)), [name], deadline_s=0.1)
    with pytest.raises(ConfigError, match=r"no socket on 192\.0\.2\.1"):
        await ask([name], "192.0.2.1", deadline_s=0.1)


async def test_ipv6_may_go_unanswered_beside_ipv4(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(lambda request: [answer(request)]) as (name, _):
        listen = await with_external_address(Listen(("127.0.0.1", "::1")), [name], deadline_s=0.1)
    assert listen.advertise == ("198.51.100.7",)
    assert "IPv6 addresses are told as they are" in caplog.text


async def test_a_server_tells_clients_of_it_and_asks_anew_at_each_start() -> None:
    keys = {"key": "a secret of more than thirty-two bytes"}
    config = Config(listen=Listen(("127.0.0.1",)), workers=1)
    async with serving(lambda request: [answer(request)]) as (name, asked):
        server = Server(LiveKitConfig(keys=keys, rtc=Rtc(use_external_ip=True, stun_servers=(name,))), config=config)
        for _ in range(2):
            async with server:
                assert server.forwarder.advertised_hosts == ["198.51.100.7"]
        assert asked.requests >= 2
    async with Forwarder(config) as forwarder:
        with pytest.raises(RtpcoreError, match="running"):
            forwarder.listen_on(Listen(("::1",)))
    forwarder.listen_on(Listen(("::1",)))
    async with forwarder:
        assert forwarder.advertised_hosts == ["::1"]
