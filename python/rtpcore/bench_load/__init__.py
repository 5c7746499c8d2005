"""``rtpcore bench load``: a load of LiveKit clients for any server that speaks LiveKit's protocol.

::

    wish (Wish) ──plan──▶ rtpcore-load (Rust, on str0m) ──events──▶ figures ──▶ table, JSON, plot
                             │  signalling, ICE, DTLS, SRTP
                             ▼
                         the server ◀── its process: CPU time, memory (process)

The clients are a program of their own, which is no part of the package; ``cargo build --release -p rtpcore-load``
makes it in a checkout. Nothing else of rtpcore imports this.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rtpcore.bench_load.plan import Wish
from rtpcore.bench_load.plot import delay_over_load
from rtpcore.bench_load.process import look
from rtpcore.bench_load.progress import watcher
from rtpcore.bench_load.running import Figures, LoadError, find_binary, run
from rtpcore.bench_load.table import table

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Figures", "LoadError", "Wish", "find_binary", "main", "run"]


def main(arguments: Sequence[str]) -> int:
    """Run ``rtpcore bench`` with these arguments; 0 is well, 1 where a client failed or a packet was lost.

    Raises:
        LoadError: There is no program, no server, or nobody could join.
        OSError: A file cannot be written, or the server's process not be looked at.
    """
    parsed = _parser().parse_args(arguments)
    binary = find_binary(parsed.binary)
    wishes = _wishes(parsed)
    figures = asyncio.run(_run_all(binary, wishes))
    print(table(figures))
    if parsed.json:
        told = {"url": parsed.url, "steps": [one.to_json() for one in figures]}
        Path(parsed.json).write_text(json.dumps(told, indent=2) + "\n")
    if parsed.plot:
        Path(parsed.plot).write_text(delay_over_load(figures))
    for one in figures:
        for failure in one.failures:
            print(f"{failure['count']} of {one.clients} clients: {failure['reason']}", file=sys.stderr)
    return 1 if any(one.failures or one.lost for one in figures) else 0


async def _run_all(binary: Path, wishes: list[Wish]) -> list[Figures]:
    figures = []
    pid = wishes[0].pid
    idle = look(pid) if pid is not None else None
    for number, wish in enumerate(wishes, start=1):
        with watcher(f"step {number} of {len(wishes)}", wish) as show:
            figures.append(await run(binary, wish, show, idle=idle))
    return figures


def _wishes(parsed: argparse.Namespace) -> list[Wish]:
    has_kind = parsed.audio or parsed.video
    wish = Wish(
        url=parsed.url,
        key=parsed.key,
        secret=parsed.secret,
        rooms=parsed.rooms,
        publishers=parsed.publishers,
        subscribers=parsed.subscribers,
        audio=parsed.audio or not has_kind,
        video=parsed.video or not has_kind,
        video_publishers=parsed.video_publishers,
        publishers_subscribe=parsed.publishers_subscribe,
        seconds=parsed.seconds,
        join_rate=parsed.join_rate,
        decrypt_every=parsed.decrypt_every,
        packets_per_frame=parsed.packets_per_frame,
        pid=parsed.pid,
    )
    # A room's name is used once: what an earlier load left behind is no part of this one.
    name = f"load-{secrets.token_hex(4)}"
    sizes = parsed.steps or [parsed.subscribers]
    return [replace(wish, subscribers=size, name=f"{name}-{size}") for size in sizes]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rtpcore bench", description="Measure a server.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    load = commands.add_parser(
        "load",
        help="let clients publish and subscribe, and count",
        description="Let clients join a server that speaks LiveKit's protocol, publish and subscribe; tell what "
        "arrived, how late, and what it cost. The exit status is 1 where a client failed or a packet was lost.",
    )
    where = load.add_argument_group("where")
    where.add_argument("--url", required=True, help="ws://HOST:PORT of the server")
    where.add_argument("--key", required=True, help="one of its API keys")
    where.add_argument("--secret", required=True, help="the key's secret")
    where.add_argument("--pid", type=int, help="its process, on this machine: tells CPU per packet and memory, too")
    who = load.add_argument_group("who (for each room)")
    who.add_argument("--rooms", type=_count, default=1, metavar="N", help="rooms (default: 1)")
    who.add_argument("--publishers", type=_count, default=1, metavar="N", help="who publish (default: 1)")
    who.add_argument("--subscribers", type=_count_or_none, default=10, metavar="N", help="who only watch (default: 10)")
    who.add_argument("--steps", type=_counts, metavar="N,N", help="one run for each of these numbers of subscribers")
    who.add_argument("--publishers-subscribe", action="store_true", help="publishers watch each other, as in a meeting")
    who.add_argument("--join-rate", type=_positive, default=50.0, metavar="N", help="joins a second (default: 50)")
    what = load.add_argument_group("what (without --audio and --video: both)")
    what.add_argument("--audio", action="store_true", help="50 packets of 80 bytes a second")
    what.add_argument("--video", action="store_true", help="30 frames a second of packets of 1,100 bytes")
    what.add_argument("--video-publishers", type=_count, metavar="N", help="how many publish video (default: all)")
    what.add_argument("--packets-per-frame", type=_count, default=8, metavar="N", help="of video (default: 8)")
    how = load.add_argument_group("how")
    how.add_argument("--seconds", type=_positive, default=10.0, metavar="S", help="how long to measure (default: 10)")
    how.add_argument(
        "--decrypt-every",
        type=_count,
        default=100,
        metavar="N",
        help="subscribers decrypt one packet in N (default: 100) and count the others; with 1 they also give feedback",
    )
    how.add_argument("--json", metavar="FILE", help="write the figures")
    how.add_argument("--plot", metavar="FILE.svg", help="draw the delay over the load")
    how.add_argument("--binary", metavar="FILE", help="the program rtpcore-load, where it is not found")
    return parser


def _count(text: str) -> int:
    value = _count_or_none(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1 is needed")
    return value


def _count_or_none(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of clients or packets")
    return int(text)


def _counts(text: str) -> list[int]:
    return [_count(part) for part in text.split(",")]


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value
