"""From joining to the first picture on bad networks: many joins, since one lost packet decides on each.

    python -m bench.quality.joins                 the traces that begin with what they are named after
    python -m bench.quality.joins clean-rtt20 --times 30 --only-ours

Rows are as `bench.quality` writes them. The publisher, on a clean link, stays; each viewer is
a new page, behind the same relay.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import time
from typing import TYPE_CHECKING

import playwright.async_api
from bench.quality import servers
from bench.quality.__main__ import ORACLE, find
from bench.quality.proxy import proxy
from bench.quality.relay import build, relay
from bench.quality.run import BITRATE, WARM_UP_S, browsers, open_page, pages, token
from bench.rows import Row, show

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Browser

TRACES = ["clean-rtt20", "loss5-rtt20", "loss5-rtt100", "bursts8-rtt50", "loss10-rtt250", "loss20-rtt100"]
PATIENCE_S = 15.0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.quality.joins", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("traces", nargs="*", metavar="trace", help="names of bench/traces, or files")
    parser.add_argument("--times", type=int, default=15, help="joins on each trace (15)")
    parser.add_argument("--only-ours", action="store_true", help="not LiveKit's server")
    options = parser.parse_args()
    binary = build()
    for trace in options.traces or TRACES:
        for who in ("", "livekit") if ORACLE.exists() and not options.only_ours else ("",):
            times = asyncio.run(join_often(find(trace), who, binary, options.times))
            show(" ".join(filter(None, (trace, who))), rows(trace, who, times))
    return 0


def rows(trace: str, who: str, times: list[float]) -> list[Row]:
    """Percentiles, in milliseconds."""
    deciles = statistics.quantiles(times, n=10, method="inclusive")
    named = {"p50": statistics.median(times), "p90": deciles[-1], "max": max(times)}
    tail = f"@{who}" if who else ""
    return [Row(f"{trace}/joins_to_frame_{name}_ms{tail}", value, "ms") for name, value in named.items()]


async def join_often(trace: Path, who: str, binary: Path, times: int) -> list[float]:
    """Milliseconds from joining to the first picture, `PATIENCE_S` where none came."""
    room = f"joins-{time.time_ns()}"
    found = []
    async with contextlib.AsyncExitStack() as stack:
        served = await stack.enter_async_context(servers.oracle(str(ORACLE)) if who else servers.ours())
        both = await stack.enter_async_context(browsers())
        origin = await stack.enter_async_context(pages())
        sender = await open_page(both[0], origin)
        url = served.url.replace("http", "ws", 1)
        join = {"url": url, "token": token(served, room, "publisher"), "bitrate": BITRATE}
        await sender.evaluate("argument => publisher.join(argument)", join)
        await asyncio.sleep(WARM_UP_S)
        # One link for all: a new one would draw the same chances for each.
        link = await stack.enter_async_context(relay(binary, trace))
        through = (await stack.enter_async_context(proxy(served.url, link.port_for))).replace("http", "ws", 1)
        link.start()
        for number in range(times):
            access = token(served, room, f"viewer-{number}")
            found.append(await join_once(both[1], origin, {"url": through, "token": access, "single": True}))
    return found


async def join_once(browser: Browser, origin: str, join: dict[str, object]) -> float:
    page = await open_page(browser, origin)
    try:
        # Not awaited: a viewer may have joined for its page before the picture is there, or long after.
        await page.evaluate("argument => void viewer.join(argument).catch(() => {})", join)
        await page.wait_for_function("viewer.first_frame_ms !== null", timeout=PATIENCE_S * 1000, polling=20)
        return float(await page.evaluate("viewer.first_frame_ms"))
    except playwright.async_api.TimeoutError:
        return PATIENCE_S * 1000
    finally:
        await page.context.close()


if __name__ == "__main__":
    sys.exit(main())
