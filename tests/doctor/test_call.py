"""A call through a server that has one broken leg: it is the one that is named."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.test_livekit import FORWARDER, settings, token

from rtpcore.config import Config, Listen
from rtpcore.connection import Connection
from rtpcore.doctor import Finding, client
from rtpcore.doctor.call import _Call, call
from rtpcore.serve import application
from rtpcore.source import Source
from rtpcore.wire.messages import ICEServer


async def examined(app: web.Application, timeout_s: float = 30, access: str = "") -> dict[str, Finding]:
    async with TestServer(app) as server:
        url = str(server.make_url("/")).rstrip("/")
        found = await call(url, (access or token("speaker"), token("hearer")), timeout_s)
    legs = [one.leg for one in found]
    assert len(legs) == len(set(legs)), "each leg is told of once"
    return {one.leg: one for one in found}


def broken(legs: dict[str, Finding]) -> list[str]:
    return [leg for leg, one in legs.items() if one.verdict == "failed"]


async def test_nothing_is_broken() -> None:
    legs = await examined(application(FORWARDER, settings()))
    assert not broken(legs), legs
    assert legs["media"].verdict == "ok"


async def test_nobody_serves() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    found = {one.leg: one for one in await call(f"http://127.0.0.1:{port}", (token(), token("b")), 5)}
    assert broken(found) == ["HTTP"]
    assert found["media"].words == "not reached"


async def test_the_token_is_refused() -> None:
    legs = await examined(application(FORWARDER, settings()), access="nonsense")
    assert broken(legs) == ["token"]


async def test_a_proxy_passes_no_websockets_on() -> None:
    @web.middleware
    async def refuse(request: web.Request, handler: Any) -> Any:
        return web.Response(status=400) if request.path == "/rtc" else await handler(request)

    app = application(FORWARDER, settings())
    app.middlewares.append(refuse)
    legs = await examined(app)
    assert broken(legs) == ["websocket"]
    assert "400" in legs["websocket"].words


async def test_the_ports_of_media_are_closed() -> None:
    # An address for documentation (RFC 5737): nothing is there.
    listen = Listen(addresses=("127.0.0.1",), tcp_port=0, advertise=("192.0.2.1",))
    legs = await examined(application(Config(listen=listen, workers=1), settings()), timeout_s=1)
    assert broken(legs) == ["ICE over UDP", "ICE over TCP"]
    assert "192.0.2.1" in legs["ICE over UDP"].words
    assert legs["DTLS"].words == "not reached"


async def test_somebody_answers_in_the_servers_place(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forged(Connection):
        def apply(self, text: str) -> tuple[str, ...]:
            return super().apply(re.sub("(a=fingerprint:sha-256 )[0-9A-F:]+", r"\1" + ":".join(["AB"] * 32), text))

    monkeypatch.setattr(client, "Connection", Forged)
    legs = await examined(application(FORWARDER, settings()))
    assert broken(legs) == ["DTLS"]
    assert "wrong_fingerprint" in legs["DTLS"].words


async def test_no_packets_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Source, "send", lambda _source, **_packet: True)
    legs = await examined(application(FORWARDER, settings()), timeout_s=2)
    assert broken(legs) == ["media"]


async def test_each_relay_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with _Unused() as talk:
        told = ["turn:127.0.0.1:1?transport=tcp", "stun:127.0.0.1:3478", "turn:"]
        await talk._allocate([ICEServer(urls=told, username="u", credential="c")])
    assert [(one.leg, one.verdict) for one in talk.findings] == [("TURN", "failed"), ("TURN", "warning")]


class _Unused(_Call):
    """A call that nobody makes."""

    def __init__(self) -> None:
        self.findings = []
        self._timeout_s = 5

    async def __aenter__(self) -> _Unused:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)
