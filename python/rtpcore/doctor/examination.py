"""All legs in their order, through a server that runs or one that is started for it."""

from __future__ import annotations

import contextlib
import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from rtpcore import serve
from rtpcore.doctor import machine
from rtpcore.doctor.call import call
from rtpcore.doctor.report import Finding
from rtpcore.errors import RtpcoreError
from rtpcore.wire.token import Claims, Keyring, VideoGrant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rtpcore.config import Config
    from rtpcore.livekit_config import LiveKitConfig

__all__ = ["Examination", "examine"]

_TOKEN_TTL_S = 600.0


@dataclass(frozen=True, slots=True)
class Examination:
    """What to examine.

    Attributes:
        settings: The server's, with its keys.
        config: Of its forwarder.
        url: Where it runs; empty to start one with this configuration for the while.
        clock_url: An HTTP server whose clock is right; empty for those of webhooks, or the server's own.
        timeout_s: Seconds that each leg may take.
    """

    settings: LiveKitConfig
    config: Config
    url: str = ""
    clock_url: str = ""
    timeout_s: float = 10.0


async def examine(wish: Examination) -> list[Finding]:
    """Look at everything; what has failed does not keep the rest from being looked at, as far as it can."""
    findings: list[Finding] = []
    url = wish.url.rstrip("/")
    async with contextlib.AsyncExitStack() as stack:
        if not url:
            findings += machine.bound(wish.settings, wish.config)
            try:
                url, told = await stack.enter_async_context(_started(wish.settings, wish.config))
            except (RtpcoreError, OSError) as error:
                findings.append(Finding("HTTP", "failed", f"no server could be started: {error}"))
            else:
                findings.append(told)
        url = url.replace("wss:", "https:", 1) if url.startswith("wss:") else url.replace("ws:", "http:", 1)
        timeout = aiohttp.ClientTimeout(total=wish.timeout_s)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            others = [wish.clock_url] if wish.clock_url else list(wish.settings.webhook.urls)
            # A server on this machine has this machine's clock.
            asked = others or ([url] if wish.url else [])
            findings.append(await machine.clock(session, asked))
        findings.append(machine.certificate(wish.settings.turn, time.time()))
        if url:
            findings += await call(url, _tokens(wish.settings), wish.timeout_s)
    return findings


@contextlib.asynccontextmanager
async def _started(settings: LiveKitConfig, config: Config) -> AsyncIterator[tuple[str, Finding]]:
    """A server of this configuration on its own ports, which tells nobody of what happens."""
    quiet = replace(settings, webhook=replace(settings.webhook, urls=()))
    app = serve.application(config, quiet)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        address = (settings.bind_addresses or ("0.0.0.0",))[0]
        await web.TCPSite(runner, address, settings.port).start()
        url = serve.url(address, runner.addresses[0][1]).replace("localhost", _loopback(address)).rstrip("/")
        yield url, machine.addresses(app[serve.SERVER].forwarder.candidates)
    finally:
        await runner.cleanup()


def _loopback(address: str) -> str:
    return "[::1]" if ":" in address else "127.0.0.1"


def _tokens(settings: LiveKitConfig) -> tuple[str, str]:
    """Two participants of a room that nobody else is in."""
    keyring = Keyring(settings.keys, allow_short=True)
    room = f"doctor-{secrets.token_hex(4)}"

    def make(identity: str) -> str:
        claims = Claims(identity=identity, video=VideoGrant(room_join=True, room=room, hidden=False))
        return keyring.issue(claims, now=time.time(), ttl=_TOKEN_TTL_S)

    return make("speaker"), make("hearer")
