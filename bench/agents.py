"""How soon users have their agents: users who arrive one after the other, each in a room of its own, on a few workers.

``python -m bench.agents`` starts a server, workers of `livekit-agents` (``make e2e`` installs them) and users with
LiveKit's SDK from PyPI, and writes a table. What is measured is at the edges: by the server's own listing how long jobs
waited, and by each user's SDK when it showed the agent, which publishes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.agent_worker import working
from bench.local import KEY, SECRET, serving
from livekit import api, rtc

from rtpcore.asking import ask_for_agents

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).parent / "results" / "agents.md"
_PATIENCE_S = 60.0


@dataclass
class Seen:
    """What one user saw.

    Attributes:
        joined_s: From the wish to join until the SDK said that it had.
        shown_s: From then until it showed the agent; 0 where it was there already.
        agents: How many it showed in the end.
    """

    joined_s: float
    shown_s: float
    agents: int


def _agents(room: rtc.Room) -> list[str]:
    kind = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
    return [one.identity for one in room.remote_participants.values() if one.kind == kind]


async def _arrive(url: str, name: str, stay: asyncio.Event) -> Seen:
    grants = api.VideoGrants(room_join=True, room=name)
    token = api.AccessToken(KEY, SECRET).with_identity("user").with_grants(grants).to_jwt()
    room, shown = rtc.Room(), asyncio.Event()
    at: list[float] = []

    def notice(_: Any) -> None:
        if not at and _agents(room):
            at.append(time.monotonic())
            shown.set()

    room.on("participant_connected", notice)
    began = time.monotonic()
    await room.connect(url, token)
    joined = time.monotonic()
    notice(None)
    try:
        await asyncio.wait_for(shown.wait(), _PATIENCE_S)
        await stay.wait()
        return Seen(joined - began, max(0.0, at[0] - joined), len(_agents(room)))
    finally:
        await room.disconnect()


def _line(name: str, figures: Sequence[float]) -> str:
    """A row of milliseconds."""
    ordered = sorted(figures)
    p50, p90, p99 = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.9, 0.99))
    return f"| {name} | {p50:.0f} | {p90:.0f} | {p99:.0f} | {ordered[-1]:.0f} |"


async def measure(users: int, seconds: float, workers: int, executor: str) -> str:
    """Let them arrive, and make a table of it. Raises RuntimeError where a user has no agent, or more than one."""
    async with contextlib.AsyncExitStack() as stack:
        url, _ = await stack.enter_async_context(serving())
        arguments = ("stay", "--executor", executor, "--idle", str(min(20, -(-users // workers))))
        starting = [working(url, KEY, SECRET, *arguments) for _ in range(workers)]
        await asyncio.gather(*(stack.enter_async_context(one) for one in starting))
        await asyncio.sleep(5)  # idle runners of jobs are made meanwhile
        stay = asyncio.Event()
        arriving = []
        for number in range(users):
            arriving.append(asyncio.create_task(_arrive(url.replace("http", "ws"), f"room {number}", stay)))
            await asyncio.sleep(seconds / users)
        told: dict[str, Any] = {}
        deadline = time.monotonic() + _PATIENCE_S
        while told.get("counts", {}).get("running") != users and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
            told = await ask_for_agents(url, {KEY: SECRET})
        stay.set()
        seen = await asyncio.gather(*arriving)
    jobs = told["jobs"]
    if told["counts"]["running"] != users or any(one.agents != 1 for one in seen):
        raise RuntimeError(f"not everybody has one agent: {told['counts']}")
    by_worker = [sum(job["worker_id"] == worker["id"] for job in jobs) for worker in told["workers"]]
    return "\n".join(
        [
            f"{users} users in {seconds:g} s, {workers} workers of livekit-agents (jobs are {executor}s), "
            f"{os.cpu_count()} cores for all of them. Everybody has exactly one agent; "
            f"{sum(job['attempt'] > 1 for job in jobs)} needed a second attempt; by worker: {by_worker}.",
            "",
            "| milliseconds | p50 | p90 | p99 | most |",
            "|---|---|---|---|---|",
            _line("server: room made until a worker has the job", [_span(job, "assigned_at_ms") for job in jobs]),
            _line("server: room made until the agent has joined", [_span(job, "started_at_ms") for job in jobs]),
            _line("user: wish to join until joined", [1000 * one.joined_s for one in seen]),
            _line("user: joined until the SDK shows the agent", [1000 * one.shown_s for one in seen]),
            "",
        ]
    )


def _span(job: dict[str, Any], until: str) -> float:
    return float(job[until] - job["created_at_ms"])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument(
        "--seconds", type=float, nargs="+", default=[10.0, 60.0], help="in which they arrive, each a run"
    )
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--executor", choices=["thread", "process"], default="thread")
    parser.add_argument("--write", action="store_true", help=f"to {RESULTS.name} as well")
    arguments = parser.parse_args()
    tables = []
    for seconds in arguments.seconds:
        tables.append(asyncio.run(measure(arguments.users, seconds, arguments.workers, arguments.executor)))
        print(tables[-1])
    if arguments.write:
        head = "# Agents\n\nWritten by `python -m bench.agents --write`."
        RESULTS.write_text("\n\n".join([head, *tables]), encoding="utf-8")


if __name__ == "__main__":
    main()
