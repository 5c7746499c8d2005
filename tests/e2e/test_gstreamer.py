"""GStreamer publishes by WHIP and plays by WHEP: a peer whose certificate is an RSA one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from tests.e2e.peers import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Debian's, whatever runs the tests: it has the bindings.
PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("gstreamer_peer.py")


class GStreamer:
    """A process with a peer in it, and the last it said of each thing."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: dict[str, Any] = {}
        self.listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, *arguments: str) -> GStreamer:
        return cls(await asyncio.create_subprocess_exec(PYTHON, SCRIPT, *arguments, stdout=asyncio.subprocess.PIPE))

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.said.update(json.loads(line))

    async def is_connected(self) -> bool:
        assert self.process.returncode is None, "it gave up; its last words are above"
        return self.said.get("state") == "connected"

    async def explain(self) -> Any:
        return self.said

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self.listening


@pytest_asyncio.fixture(loop_scope="session")
async def gstreamer() -> AsyncIterator[Callable[..., Awaitable[GStreamer]]]:
    """Starts peers that end with the test."""
    started: list[GStreamer] = []

    async def start(*arguments: str) -> GStreamer:
        started.append(await GStreamer.start(*arguments))
        return started[-1]

    yield start
    for peer in started:
        await peer.stop()


async def test_rsa_peers_publish_and_play(gstreamer: Any, base: str, room: str) -> None:
    publisher = await gstreamer("publish", f"{base}/whip/{room}")
    await until("the publisher is connected", publisher.is_connected, publisher.explain)
    certificate = x509.load_pem_x509_certificate(publisher.said["certificate"].encode())
    assert isinstance(certificate.public_key(), RSAPublicKey), "this test is about such certificates"

    async with aiohttp.ClientSession(base) as session:

        async def sides() -> Any:
            async with session.get(f"/api/rooms/{room}") as answer:
                return await answer.json()

        async def arrives() -> Any:
            (side,) = (await sides())["publishers"]
            encodings = [
                encoding for track in side["tracks"] if track["stats"] for encoding in track["stats"]["encodings"]
            ]
            return side if any(encoding["packets_received"] >= 10 for encoding in encodings) else None

        # What is counted here was decrypted.
        side = await until("its pictures arrive", arrives, sides)
        assert side["state"] == "connected"
        # The only profile that GStreamer has.
        assert side["transport"]["srtp_profile"] == "SRTP_AES128_CM_HMAC_SHA1_80"

        player = await gstreamer("play", f"{base}/whep/{room}")

        async def sees() -> bool:
            return bool(player.said.get("pictures", 0) >= 10)

        await until("pictures are decoded", sees, player.explain)
        (side,) = (await sides())["players"]
        assert side["state"] == "connected"
