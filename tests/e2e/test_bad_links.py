"""livekit-client in Chromium behind links that are narrow or lose packets: what is seen, heard and said of it.

::

    ada ────────────────────── server
    bob ── relay, proxy ──────── │

The relay (rust/sim) carries media, the proxy signalling (bench/quality). How good it looks is for `make quality` to
measure; here things must only happen at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from bench.quality.proxy import proxy
from bench.quality.relay import Relay, build, relay
from tests.e2e.clients import KEY, SECRET, open_client, token
from tests.e2e.peers import until

from rtpcore.asking import ask
from rtpcore.explaining import CAUSES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from playwright.async_api import BrowserContext
    from tests.e2e.client import Client
    from tests.e2e.servers import Served

    Enter = Callable[..., Awaitable[Client]]
    Behind = Callable[[str], Awaitable[tuple[Client, Relay]]]

# One after the other where there are several workers: a busy machine is a bad link too.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("bad-links")]

LARGE = {
    "videoCaptureDefaults": {"resolution": {"width": 1280, "height": 720, "frameRate": 20}},
    "publishDefaults": {"videoEncoding": {"maxBitrate": 2_000_000, "maxFramerate": 20}},
}
"""Of the two layers the upper one is too much for a narrow link: Chromium's test picture comes to 800 kbit/s."""


@pytest.fixture(scope="session")
def binary() -> Path:
    """The relay."""
    return build()


@pytest_asyncio.fixture(loop_scope="session")
async def enter(served: Served, pages: str, context: BrowserContext, room: str) -> AsyncIterator[Enter]:
    """Lets somebody into the test's room: ``await enter("ada")``; with a URL through a proxy, with room options."""
    async with contextlib.AsyncExitStack() as stack:

        async def enter(identity: str, url: str = served.url, **options: Any) -> Client:
            client = await open_client("js-newest-single", pages, context, room=options)
            client.identity = identity
            stack.push_async_callback(client.leave)
            await client.join(url.replace("http", "ws"), token(room, identity))
            return client

        yield enter


@pytest_asyncio.fixture(loop_scope="session")
async def behind(served: Served, enter: Enter, binary: Path, tmp_path: Path) -> AsyncIterator[Behind]:
    """Lets Bob in from behind a link with this trace (bench/traces/README.md), which waits for its start."""
    async with contextlib.AsyncExitStack() as stack:

        async def join(trace: str) -> tuple[Client, Relay]:
            file = tmp_path / "link.trace"
            file.write_text(trace, encoding="utf-8")
            link = await stack.enter_async_context(relay(binary, file))
            url = await stack.enter_async_context(proxy(served.url, link.port_for))
            return await enter("bob", url), link

        yield join


async def arrival(bob: Client, source: str) -> dict[str, Any]:
    """What Chromium counts of Ada's track."""
    counted: dict[str, Any] = await bob.do("arrival", identity="ada", source=source)  # type: ignore[attr-defined]
    return counted


async def why(served: Served, room: str, source: str, identity: str = "bob") -> tuple[dict[str, Any], dict[str, Any]]:
    """What the server says of Bob's path, or of another's, and of Ada's track there."""
    told = await ask(served.url, {KEY: SECRET}, room, identity)
    (one,) = told["participants"]
    return one["path"] or {}, next((track for track in one["tracks"] if track["source"] == source), {})


async def size(bob: Client) -> float:
    """Bytes in a packet of Ada's voice, the mean of the next hundred: Chromium beeps once a second."""
    before = await arrival(bob, "microphone")
    await grows(bob, "microphone", "packetsReceived", 100)
    after = await arrival(bob, "microphone")
    sizes, counts = (after[name] - before.get(name, 0) for name in ("bytesReceived", "packetsReceived"))
    return float(sizes / counts)


async def pixels(client: Client) -> int:
    """How much came of Ada's picture, as frames of the width that they have now."""
    counted = await arrival(client, "camera")
    return int(counted["framesReceived"] * counted["frameWidth"])


def _rank(layer: dict[str, Any]) -> tuple[int, float]:
    return layer["spatial"], math.inf if layer["temporal"] is None else layer["temporal"]


async def grows(bob: Client, source: str, name: str, by: int) -> None:
    """Wait until a count of Ada's track is so much higher."""
    before = (await arrival(bob, source)).get(name, 0)

    async def has_grown() -> bool:
        return bool((await arrival(bob, source)).get(name, 0) >= before + by)

    await until(f"{by} more {name} of the {source}", has_grown, lambda: arrival(bob, source))


async def test_sound_goes_on_where_there_is_no_room_for_a_picture(
    enter: Enter, behind: Behind, served: Served, room: str
) -> None:
    ada = await enter("ada")
    await ada.publish("microphone", dtx=False)
    # One layer, so that there is none that is small enough.
    await ada.publish("camera", simulcast=False)
    bob, link = await behind("both 0 delay=25\ndown 0 rate=2000 queue=300\ndown 1 rate=80\ndown 13 rate=2000")
    await grows(bob, "camera", "framesDecoded", 30)
    link.start()

    async def is_paused() -> bool:
        _, picture = await why(served, room, "camera")
        is_told = (picture["limit"], picture["layer"]) == ("bandwidth", None) and "no room" in picture["reason"]
        return bool(is_told and (await arrival(bob, "camera"))["states"][-1:] == ["paused"])

    await until("client and server say that the picture is paused", is_paused, lambda: why(served, room, "camera"))
    await grows(bob, "microphone", "packetsReceived", 100)

    async def is_active() -> bool:
        return bool((await arrival(bob, "camera"))["states"][-1:] == ["active"])

    await until("the picture is back", is_active, lambda: why(served, room, "camera"))
    await grows(bob, "camera", "framesDecoded", 10)
    assert (await arrival(bob, "microphone"))["states"] == [], "sound is never paused"


async def test_a_narrow_link_gets_a_smaller_picture_that_moves(
    enter: Enter, behind: Behind, served: Served, room: str
) -> None:
    ada = await enter("ada", **LARGE)
    await ada.publish("camera")
    bob, _ = await behind("both 0 delay=25\ndown 0 rate=600 queue=300")
    carol = await enter("carol")
    await carol.watches("ada", width=1280)
    await bob.watches("ada")

    async def gets_less() -> bool:
        path, picture = await why(served, room, "camera")
        _, whole = await why(served, room, "camera", "carol")
        layers = picture["layer"], whole["layer"]
        is_limited = picture["limit"] == "bandwidth" and path["estimate_bps"] < 700_000
        if not is_limited or None in layers or _rank(layers[0]) >= _rank(layers[1]):
            return False
        before = await asyncio.gather(*(pixels(one) for one in (bob, carol)))
        await bob.watches("ada", more=30)
        after = await asyncio.gather(*(pixels(one) for one in (bob, carol)))
        seen, sent = (late - early for early, late in zip(before, after, strict=True))
        return 0 < seen < 0.8 * sent

    await until("Bob gets less than Carol", gets_less, lambda: why(served, room, "camera"))


async def test_pictures_are_repaired_in_advance_where_asking_again_takes_too_long(
    enter: Enter, behind: Behind, served: Served, room: str
) -> None:
    ada = await enter("ada")
    await ada.publish("camera")
    bob, _ = await behind("seed 5\nboth 0 delay=125 loss=5")
    await grows(bob, "camera", "fecPacketsReceived", 5)
    await grows(bob, "camera", "framesDecoded", 30)

    async def is_told() -> bool:
        path, picture = await why(served, room, "camera")
        repairs = picture["repairs"]
        return bool(path["estimate_bps"] and picture["round_trip_ms"] and repairs["fec_packets"])

    await until("the server tells of it", is_told, lambda: why(served, room, "camera"))
    path, picture = await why(served, room, "camera")
    assert picture["limit"] in {"none", "bandwidth"}
    assert picture["round_trip_ms"] >= 250
    assert path["cause"] in CAUSES


async def test_sound_is_sent_twice_where_packets_get_lost(enter: Enter, behind: Behind) -> None:
    ada = await enter("ada")
    # Ada's own client repeats nothing: what comes twice is the server's doing.
    await ada.publish("microphone", red=False, dtx=False)
    bob, link = await behind("both 0 delay=25\ndown 1 loss=10")
    once = await size(bob)
    link.start()

    async def is_doubled() -> bool:
        return await size(bob) > 1.8 * once

    await until("packets are twice as large", is_doubled, lambda: arrival(bob, "microphone"))
