"""A real call of two clients, leg by leg: the first that is broken is named, those behind it are not reached."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from typing import TYPE_CHECKING

import aiohttp

from rtpcore.config import Config, Limits, Listen, Media
from rtpcore.doctor import stun
from rtpcore.doctor.client import Client, States
from rtpcore.doctor.report import Finding
from rtpcore.forwarder import Forwarder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Literal

    from rtpcore.connection import Connection
    from rtpcore.parameters import Candidate, TransportParameters
    from rtpcore.wire.messages import ICEServer

__all__ = ["call"]

_LEGS = ("HTTP", "token", "websocket", "TURN", "ICE over UDP", "ICE over TCP", "DTLS", "media")
_GLANCE_S = 0.02
_ENOUGH_PACKETS = 10
"""Packets that must arrive: a fifth of a second of sound."""


async def call(url: str, tokens: tuple[str, str], timeout_s: float) -> list[Finding]:
    """Let two clients call each other through the server at ``url``.

    Args:
        url: Beginning with ``http``, without a slash at the end.
        tokens: Of two identities that may join one room; the first publishes.
        timeout_s: Seconds that each leg may take.
    """
    listen = Listen(addresses=("127.0.0.1", "0.0.0.0"))
    config = Config(listen, Limits(transports=16), Media(ice_lite=False, stats_interval_ms=50), workers=1)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=None)
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        forwarders = [await stack.enter_async_context(Forwarder(config)) for _ in range(4)]
        talk = _Call(session, forwarders, url, timeout_s)
        stack.push_async_callback(talk.close)
        await talk.run(tokens)
        found = talk.findings
    reached = {finding.leg for finding in found}
    return [*found, *(Finding(leg, "unknown", "not reached") for leg in _LEGS if leg not in reached)]


class _Broken(Exception):
    """A leg has failed: those behind it cannot be tried."""


class _Call:
    def __init__(
        self, session: aiohttp.ClientSession, forwarders: Sequence[Forwarder], url: str, timeout_s: float
    ) -> None:
        self.findings: list[Finding] = []
        self._session = session
        self._url = url
        self._timeout_s = timeout_s
        self._states = States()
        self._following = [asyncio.create_task(self._states.follow(forwarder)) for forwarder in forwarders]
        self._speaker, self._hearer = Client(*forwarders[:2]), Client(*forwarders[2:])

    async def close(self) -> None:
        for client in (self._speaker, self._hearer):
            await client.close()
        for task in self._following:
            task.cancel()
        await asyncio.wait(self._following)

    async def run(self, tokens: tuple[str, str]) -> None:
        with contextlib.suppress(_Broken):
            await self._ask_http()
            for token in tokens:
                await self._ask_token(token)
            self._find("token", "ok", "both are let in")
            await self._join(tokens)
            joined = self._hearer.joined
            await self._allocate([] if joined is None else joined.ice_servers)
            await self._check_paths()
            await self._connect()
            await self._listen()

    def _find(self, leg: str, verdict: Literal["ok", "warning", "unknown"], words: str, advice: str = "") -> None:
        self.findings.append(Finding(leg, verdict, words, advice))

    def _break(self, leg: str, words: str, advice: str = "") -> _Broken:
        self.findings.append(Finding(leg, "failed", words, advice))
        return _Broken()

    async def _until(self, condition: Callable[[], object]) -> bool:
        until = time.monotonic() + self._timeout_s
        while not condition():
            if time.monotonic() > until:
                return False
            await asyncio.sleep(_GLANCE_S)
        return True

    ##### The legs

    async def _get(self, path: str, **query: str) -> tuple[int, str]:
        """Status and text of an answer. Raises what `_TROUBLE` lists."""

        async def ask() -> tuple[int, str]:
            async with self._session.get(f"{self._url}{path}", params=query) as answer:
                return answer.status, (await answer.text())[:200]

        return await asyncio.wait_for(ask(), self._timeout_s)

    async def _ask_http(self) -> None:
        advice = "is this the address of a server that runs, and does every proxy on the way know it?"
        try:
            status, _ = await self._get("/")
        except _TROUBLE as error:
            raise self._break("HTTP", f"no answer: {_words(error)}", advice) from error
        if status != 200:
            raise self._break("HTTP", f"answered with {status}", advice)
        self._find("HTTP", "ok", "answers")

    async def _ask_token(self, token: str) -> None:
        try:
            status, text = await self._get("/rtc/validate", access_token=token)
        except _TROUBLE as error:
            raise self._break("token", f"/rtc/validate does not answer: {_words(error)}") from error
        if status == 401:
            advice = "use the server's own keys (the same configuration), and compare the clocks"
            raise self._break("token", f"refused: {text}", advice)
        if status != 200:
            raise self._break("token", f"/rtc/validate answers {status}: {text}")

    async def _join(self, tokens: tuple[str, str]) -> None:
        clients = (self._speaker, self._hearer)
        advice = "a proxy in front must pass websockets on: Upgrade and Connection, and no buffering"
        try:
            for client, token in zip(clients, tokens, strict=True):
                await asyncio.wait_for(client.join(self._session, self._url, token), self._timeout_s)
        except _TROUBLE as error:
            raise self._break("websocket", f"does not open: {_words(error)}", advice) from error
        if not await self._until(lambda: all(client.joined is not None for client in clients)):
            raise self._break("websocket", "opens, and no message comes", advice)
        if not await self._until(lambda: "subscriber" in self._hearer.remotes):
            raise self._break("websocket", "messages come, and no offer of media among them")
        self._find("websocket", "ok", "messages pass both ways")

    async def _allocate(self, servers: Sequence[ICEServer]) -> None:
        told = [(url, server) for server in servers for url in server.urls if url.startswith(("turn:", "turns:"))]
        if not told:
            self._find("TURN", "unknown", "not enabled: clients are told no relay")
        for url, server in told:
            place = _place(url)
            if place is None:
                self._find("TURN", "warning", f"{url} is no address of a TURN server (RFC 7065)")
                continue
            host, port, way = place
            try:
                relay = await stun.allocate(
                    host, port, way, username=server.username, password=server.credential, timeout_s=self._timeout_s
                )
            except stun.StunError as error:
                advice = "calls go on without it, but not out of networks that let nothing else through"
                self.findings.append(Finding("TURN", "failed", f"{url}: {error}", advice))
            else:
                self._find("TURN", "ok", f"{url} relays from {relay.address}")

    async def _check_paths(self) -> None:
        """Ask each candidate of the server itself: a call would only show the first that works."""
        remote = self._hearer.remotes["subscriber"]
        local = self._hearer.subscriber.transport.local.ice.ufrag
        ways: dict[Literal["udp", "tcp"], str] = {"udp": "ICE over UDP", "tcp": "ICE over TCP"}
        works = False
        for way, leg in ways.items():
            candidates = [one for one in remote.candidates if one.protocol == way and one.tcp_type != "active"]
            if not candidates:
                self._find(leg, "unknown", f"the server has no {way.upper()} candidate")
                continue
            answers = await asyncio.gather(*(self._check(one, remote, local) for one in candidates))
            good = [str(one.port) for one, trouble in zip(candidates, answers, strict=True) if not trouble]
            bad = [f"{one.address}:{one.port} {why}" for one, why in zip(candidates, answers, strict=True) if why]
            works |= bool(good) and way == "udp"
            advice = f"open {way.upper()} port {candidates[0].port} in firewalls, or tell clients another address"
            if not good:
                self.findings.append(Finding(leg, "failed", "; ".join(bad), advice))
            elif bad:
                self._find(leg, "warning", "; ".join(bad), advice)
            else:
                self._find(leg, "ok", f"port {', '.join(dict.fromkeys(good))} answers")
        if not works:
            # The clients of the test call have nothing else.
            raise _Broken

    async def _check(self, candidate: Candidate, remote: TransportParameters, local: str) -> str:
        """Why nobody answers there; empty if somebody does."""
        try:
            await stun.check(
                candidate.address,
                candidate.port,
                candidate.protocol,
                username=f"{remote.ice.ufrag}:{local}",
                password=remote.ice.pwd,
                timeout_s=min(3.0, self._timeout_s),
            )
        except stun.StunError as error:
            return str(error)
        return ""

    async def _connect(self) -> None:
        await self._speaker.publish()
        ends = {"the publisher": self._speaker.publisher, "the subscriber": self._hearer.subscriber}
        await self._until(lambda: all(self._state(end) in _LAST for end in ends.values()))
        for name, end in ends.items():
            state = self._state(end)
            if state == "connected":
                continue
            reason = self._states.reason(end.transport) if end.is_begun else ""
            if not end.is_begun or not self._states.has_path(end.transport):
                words = f"{name}'s checks did not come to a path, though the server answers single ones"
                self.findings = [finding for finding in self.findings if finding.leg != "ICE over UDP"]
                raise self._break("ICE over UDP", words, "something on the way changes or drops later packets")
            words = f"{name} has a path, and keys were not agreed on" + (f" ({reason})" if reason else "")
            advice = "large datagrams get lost on the way (MTU), or something answers in the server's place"
            raise self._break("DTLS", words, advice)
        self._find("DTLS", "ok", "keys are agreed on, certificates are those that were announced")

    def _state(self, connection: Connection) -> str:
        return connection.transport.state if connection.is_begun else ""

    async def _listen(self) -> None:
        def count() -> int:
            encodings = [stats.encodings for one in self._hearer.subscriber.receivers if (stats := one.stats())]
            return sum(encoding.packets_received for track in encodings for encoding in track)

        if await self._until(lambda: count() >= _ENOUGH_PACKETS):
            self._find("media", "ok", "sound that one sends arrives at the other")
            return
        if not self._hearer.subscriber.receivers:
            raise self._break("media", "the track is not offered to the other participant", "see the server's log")
        raise self._break("media", f"{count()} packets arrived of a track that is sent", "see rtpcore_packets_dropped")


_LAST = ("connected", "failed", "closed")

_TROUBLE = (aiohttp.ClientError, OSError, ValueError, asyncio.TimeoutError)
"""How HTTP fails; a URL that is none is a ValueError."""


def _words(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "not in time"
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return f"status {error.status}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return type(error).__name__


def _place(url: str) -> tuple[str, int, stun.Way] | None:
    """Host, port and way of a TURN server's URL (RFC 7065).

    >>> _place("turns:turn.example.org?transport=tcp"), _place("turn:[2001:db8::1]:3478")
    (('turn.example.org', 5349, 'tls'), ('2001:db8::1', 3478, 'udp'))
    """
    found = re.fullmatch(r"(turns?):(\[[0-9A-Fa-f:.]+\]|[^:?\[\]]+)(?::(\d+))?(?:\?transport=(udp|tcp))?", url)
    if found is None:
        return None
    scheme, host, port, transport = found.groups()
    way: stun.Way = "tls" if scheme == "turns" else "tcp" if transport == "tcp" else "udp"
    return host.strip("[]"), int(port or (5349 if scheme == "turns" else 3478)), way
