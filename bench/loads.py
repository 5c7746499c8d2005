"""What LiveKit's clients cost a server: `rtpcore bench load` against ours, and against LiveKit's where it is built.

    python -m bench.loads                                    1x200-video and 10x50-audio, what two cores carry
    python -m bench.loads 1x300-video 10x100-audio           ROOMSxSUBSCRIBERS, one publisher in each room
    python -m bench.loads 1x50-meeting 100x5-meeting         all publish audio and six video, all watch all
    python -m bench.loads 100x10-audio --join-rate 1000      a storm of joins

The clients are `bench/load`'s, on a WebRTC stack that is not ours. Prints rows as `bench.rows.Row.parse` reads them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.local import KEY, SECRET, serving
from bench.quality.servers import oracle

from rtpcore.bench_load import Figures, Wish, find_binary, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).resolve().parent.parent
ORACLE = ROOT / ".build" / "oracle-1.11.0" / "server"
DEFAULT = ("1x200-video", "10x50-audio")
QUICK = ("1x20-video", "2x10-audio")
SERVERS = ("one_worker", "two_workers", "livekit")
MEETING_CAMERAS = 6


@dataclass(frozen=True)
class Shape:
    """So many rooms of so many, and what they are there for."""

    rooms: int
    size: int
    kind: str

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Read ``10x50-audio``. Raises ValueError."""
        found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)-(video|audio|meeting)", text)
        if found is None:
            raise ValueError(f"{text!r} is not a shape such as 1x200-video, 10x50-audio or 1x50-meeting")
        return cls(int(found[1]), int(found[2]), found[3])

    def __str__(self) -> str:
        return f"{self.rooms}x{self.size}-{self.kind}"

    def wish(self, url: str, pid: int, seconds: float, join_rate: float) -> Wish:
        """The load that it is."""
        is_meeting = self.kind == "meeting"
        return Wish(
            url=url,
            key=KEY,
            secret=SECRET,
            name=f"load-{secrets.token_hex(4)}",
            rooms=self.rooms,
            publishers=self.size if is_meeting else 1,
            subscribers=0 if is_meeting else self.size,
            audio=self.kind != "video",
            video=self.kind != "audio",
            video_publishers=min(MEETING_CAMERAS, self.size) if is_meeting else None,
            publishers_subscribe=is_meeting,
            seconds=seconds,
            join_rate=join_rate,
            pid=pid,
        )


@contextlib.asynccontextmanager
async def server(which: str) -> AsyncIterator[tuple[str, int]]:
    """A server's URL and process id."""
    if which == "livekit":
        async with oracle(str(ORACLE)) as served:
            yield served.url, served.pid
    else:
        async with serving("--workers", "1" if which == "one_worker" else "2") as (url, pid):
            yield url, pid


def rows(name: str, figures: Figures) -> list[str]:
    """A load's figures, a line each."""
    told = {
        "took_part": (figures.ready, "clients"),
        "packets_out": (figures.received_per_s, "1/s"),
        "lost": (figures.lost, "packets"),
        "cpu_per_packet_us": (figures.cpu_us_per_packet, "us"),
        "memory_per_subscriber_kb": (figures.memory_kb_per_subscriber, "kB"),
        "join_p99_ms": (figures.join_ms and figures.join_ms.p99, "ms"),
        "delay_p50_ms": (figures.delay_ms and figures.delay_ms.p50, "ms"),
        "delay_p99_ms": (figures.delay_ms and figures.delay_ms.p99, "ms"),
        "load_cores": (figures.load_cores, "cores"),
    }
    return [f"load/{name}/{what} {value} {unit}" for what, (value, unit) in told.items() if value is not None]


async def measure(shapes: list[Shape], servers: list[str], seconds: float, join_rate: float) -> None:
    """Each load with each server, one after the other; a server is started for each."""
    binary = find_binary()
    for shape in shapes:
        costs = {}
        for which in servers:
            async with server(which) as (url, pid):
                figures = await run(binary, shape.wish(url, pid, seconds, join_rate))
            for failure in figures.failures:
                print(f"{shape} {which}: {failure['count']} x {failure['reason']}", file=sys.stderr)
            print("\n".join(rows(f"{shape}/{which}", figures)), flush=True)
            costs[which] = figures.cpu_us_per_packet
        ours, theirs = costs.get("one_worker"), costs.get("livekit")
        if ours and theirs:
            print(f"load/{shape}/livekit_cpu_to_ours {theirs / ours} x", flush=True)


def build() -> None:
    """Make the program with the clients."""
    command = ["cargo", "build", "--release", "--quiet", "--package", "rtpcore-load"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "OPENSSL_NO_VENDOR": "1"}, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", type=Shape.parse, metavar="shape", help=f"default: {' '.join(DEFAULT)}")
    parser.add_argument("--servers", nargs="+", choices=SERVERS, help="default: all; LiveKit's where it is built")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to measure each (default: 10)")
    parser.add_argument("--join-rate", type=float, default=50.0, help="joins a second (default: 50)")
    parser.add_argument("--quick", action="store_true", help="small and short")
    arguments = parser.parse_args()
    shapes = arguments.shapes or [Shape.parse(text) for text in (QUICK if arguments.quick else DEFAULT)]
    servers = arguments.servers or [which for which in SERVERS if which != "livekit" or ORACLE.exists()]
    build()
    asyncio.run(measure(shapes, servers, 3.0 if arguments.quick else arguments.seconds, arguments.join_rate))


if __name__ == "__main__":
    main()
