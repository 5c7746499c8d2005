"""Peers in Chromium, and waiting for what they see."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Page

SIMULCAST = [
    {"rid": "q", "scaleResolutionDownBy": 4},
    {"rid": "h", "scaleResolutionDownBy": 2},
    {"rid": "f", "scaleResolutionDownBy": 1},
]
CODECS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "vp8": ("video/VP8", SIMULCAST),
    "h264": ("video/H264", SIMULCAST),
    "vp9": ("video/VP9", [{"scalabilityMode": "L3T3_KEY"}]),
    "av1": ("video/AV1", [{"scalabilityMode": "L3T3"}]),
}

HARNESS = Path(__file__).with_name("peer.js").read_text(encoding="utf-8")

DEADLINE = float(os.environ.get("DEADLINE", "60"))
"""Seconds. Most things take one; a machine that builds something else beside takes many."""


async def until(
    what: str,
    condition: Callable[[], Awaitable[Any]],
    explain: Callable[[], Awaitable[Any]] | None = None,
    *,
    deadline: float = DEADLINE,
) -> Any:
    """Ask again and again until the condition gives something true, and return that."""
    end = time.monotonic() + deadline
    while not (seen := await condition()):
        if time.monotonic() > end:
            told = "" if explain is None else json.dumps(await explain(), indent=1)
            raise AssertionError(f"waited {deadline:.0f} s until {what}; there is {seen!r}\n{told}")
        await asyncio.sleep(0.1)
    return seen


class Peer:
    """A peer connection in a page of its own (see peer.js)."""

    def __init__(self, page: Page, room: str) -> None:
        self.page = page
        self.room = room

    @classmethod
    async def open(cls, page: Page, base: str, room: str) -> Peer:
        # Any page of the server will do: what counts is the origin.
        await page.goto(f"{base}/livez")
        await page.evaluate(HARNESS)
        return cls(page, room)

    async def publish(self, codec: str = "vp8", *, is_tcp_only: bool = False) -> Peer:
        mime_type, encodings = CODECS[codec]
        options = {"mimeType": mime_type, "encodings": encodings, "isTcpOnly": is_tcp_only}
        await self.page.evaluate("options => peer.publish(options)", {"url": f"/whip/{self.room}", **options})
        return self

    async def play(
        self, publisher: str = "", *, kinds: tuple[str, ...] = ("audio", "video"), is_tcp_only: bool = False
    ) -> Peer:
        url = f"/whep/{self.room}" + (f"/{publisher}" if publisher else "")
        options = {"url": url, "kinds": list(kinds), "isTcpOnly": is_tcp_only}
        await self.page.evaluate("options => peer.play(options)", options)
        return self

    async def choose(self, **wish: Any) -> None:
        video = "peer.pc.getTransceivers().find(({ receiver }) => receiver.track.kind === 'video').mid"
        status = await self.page.evaluate(f"wish => peer.choose({{ mid: {video}, ...wish }})", wish)
        assert status == 204

    async def say(self, text: str) -> None:
        is_open = "peer.channel.readyState === 'open'"
        await until("the channel is open", lambda: self.page.evaluate(is_open), self.explain)
        await self.page.evaluate("text => peer.channel.send(text)", text)

    async def hears(self, *texts: str) -> None:
        """Wait until exactly these messages came."""

        async def heard() -> bool:
            messages: list[str] = await self.page.evaluate("peer.messages")
            return messages == list(texts)

        await until(f"{len(texts)} messages came", heard, self.explain)

    async def leave(self) -> None:
        assert await self.page.evaluate("peer.leave()") == 200

    async def all_stats(self, type_: str, **facts: Any) -> list[dict[str, Any]]:
        entries = await self.page.evaluate("peer.stats()")
        return [e for e in entries if e["type"] == type_ and all(e.get(key) == value for key, value in facts.items())]

    async def stats(self, type_: str, **facts: Any) -> dict[str, Any]:
        """The first entry of a kind, or nothing."""
        return next(iter(await self.all_stats(type_, **facts)), {})

    async def candidates(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The local and the remote candidate that are in use."""
        transport = await self.stats("transport")
        pair = await self.stats("candidate-pair", id=transport["selectedCandidatePairId"])
        local = await self.stats("local-candidate", id=pair["localCandidateId"])
        return local, await self.stats("remote-candidate", id=pair["remoteCandidateId"])

    async def video(self) -> dict[str, Any]:
        return await self.stats("inbound-rtp", kind="video")

    async def audio(self) -> dict[str, Any]:
        return await self.stats("inbound-rtp", kind="audio")

    async def sees_frames(self, *, more: int = 10, width: int | None = None) -> dict[str, Any]:
        """Wait until pictures have this width, and from then on for so many more."""

        async def has_width() -> bool:
            return bool((await self.video()).get("frameWidth") == width)

        if width is not None:
            await until(f"pictures are {width} wide", has_width, self.explain)
        start = (await self.video()).get("framesDecoded", 0)

        async def has_more() -> dict[str, Any] | None:
            video = await self.video()
            return video if video.get("framesDecoded", 0) >= start + more else None

        seen: dict[str, Any] = await until(f"{more} more pictures are decoded", has_more, self.explain)
        return seen

    async def explain(self) -> Any:
        """What goes into the message of a test that waited in vain."""
        wanted = ("inbound-rtp", "outbound-rtp", "transport", "candidate-pair", "data-channel")
        stats = [entry for entry in await self.page.evaluate("peer.stats()") if entry["type"] in wanted]
        return {"peer": stats, "server": await room_state(self.page, self.room)}


async def room_state(page: Page, room: str) -> dict[str, Any]:
    """What the server says of a room."""
    ask = "room => fetch(`/api/rooms/${room}`).then((answer) => answer.json())"
    state: dict[str, Any] = await page.evaluate(ask, room)
    return state
