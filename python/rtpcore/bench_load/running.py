"""The program ``rtpcore-load``: where it is, and a run of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtpcore.bench_load.process import Account, look
from rtpcore.errors import RtpcoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtpcore.bench_load.plan import Wish

__all__ = ["Figures", "LoadError", "find_binary", "run"]

NAME = "rtpcore-load"
BUILD = f"build it in a checkout of rtpcore with `cargo build --release -p {NAME}`, or name it with --binary"


class LoadError(RtpcoreError):
    """A load could not be measured.

    Attributes:
        problem: What is wrong.
        advice: What to do about it, perhaps empty.
    """

    def __init__(self, problem: str, advice: str = "") -> None:
        """Name the problem, and if possible the way out."""
        super().__init__(problem, advice)
        self.problem = problem
        self.advice = advice

    def __str__(self) -> str:
        """The problem, then the advice."""
        return f"{self.problem}: {self.advice}" if self.advice else self.problem


@dataclass(frozen=True)
class Percentiles:
    """Durations in milliseconds."""

    samples: int
    p50: float
    p99: float
    p999: float
    max: float


@dataclass(frozen=True)
class Figures:
    """What a load measured.

    Attributes:
        rooms: As wished.
        subscribers: Clients that received, in all rooms.
        clients: Who was to join.
        ready: Who took part to the end.
        failures: Reasons of the others: ``reason``, ``count``.
        seconds: How long it was measured.
        sent_per_s: Packets that publishers sent.
        received_per_s: Packets that subscribers received, from all rooms.
        received: The same in all.
        lost: Numbers of streams that never came.
        reordered: Packets that others had overtaken.
        repaired: Retransmissions and padding.
        delay_ms: From the publisher's call to the kernel's arrival, of stamped packets; None where none was seen.
        join_ms: From the start of a connection to the room's description.
        ice_ms: To a path found by ICE.
        media_ms: To the first media packet.
        late_ms: How late the load itself sent.
        load_cores: CPU time of the load by time. It has one thread: near 1 its own limit was measured.
        server_cores: CPU time of the server by time; None without its process id, as the following.
        cpu_us_per_packet: CPU time of the server by packets received.
        memory_kb_per_subscriber: What its memory grew by, by clients that received.
    """

    rooms: int
    subscribers: int
    clients: int
    ready: int
    failures: tuple[dict[str, Any], ...]
    seconds: float
    sent_per_s: float
    received_per_s: float
    received: int
    lost: int
    reordered: int
    repaired: int
    delay_ms: Percentiles | None
    join_ms: Percentiles | None
    ice_ms: Percentiles | None
    media_ms: Percentiles | None
    late_ms: Percentiles | None
    load_cores: float
    server_cores: float | None = None
    cpu_us_per_packet: float | None = None
    memory_kb_per_subscriber: float | None = None

    def to_json(self) -> dict[str, Any]:
        """All of it, for machines."""
        return asdict(self)


def find_binary(named: str | None = None) -> Path:
    """The program: as named, beside the package, in a checkout's ``target``, or on the path. Raises LoadError."""
    if named is not None:
        path = Path(named)
        if not path.is_file():
            raise LoadError(f"there is no program {named}", BUILD)
        return path
    package = Path(__file__).resolve().parent
    candidates = [package / NAME, package.parents[2] / "target" / "release" / NAME]
    if (on_path := shutil.which(NAME)) is not None:
        candidates.append(Path(on_path))
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise LoadError(f"the program {NAME} is not there", BUILD)
    return found


async def run(
    binary: Path,
    wish: Wish,
    show: Callable[[dict[str, Any]], None] = lambda _: None,
    *,
    idle: Account | None = None,
) -> Figures:
    """Carry out a load.

    Args:
        binary: The program.
        wish: The load.
        show: Called with each event while it runs.
        idle: The server's process before the first of several loads, because servers keep what they have freed; without
            it the process is looked at now.

    Raises:
        LoadError: No client took part, or the program failed.
        OSError: The server's process cannot be looked at.
    """
    accounts = [idle or look(wish.pid)] if wish.pid is not None else []
    process = await asyncio.create_subprocess_exec(
        str(binary), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    result: dict[str, Any] | None = None
    try:
        process.stdin.write(json.dumps(wish.to_plan(time.time())).encode())
        process.stdin.close()
        async for line in process.stdout:
            event = json.loads(line)
            match event["event"]:
                case "measuring" | "measured" if wish.pid is not None:
                    accounts.append(look(wish.pid))
                case "error":
                    raise LoadError(event["reason"])
                case "result":
                    result = event
            show(event)
        await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if result is None:
        raise LoadError(f"{binary} ended with status {process.returncode} and told nothing")
    return figures(wish, result, accounts)


def figures(wish: Wish, result: dict[str, Any], accounts: list[Account]) -> Figures:
    """Put the program's result and the server's account together."""
    told: dict[str, Any] = {}
    if len(accounts) == 3:
        before, full, after = accounts
        cpu_s, received = after.cpu_s - full.cpu_s, result["received"]
        told = {
            "server_cores": cpu_s / result["seconds"],
            "cpu_us_per_packet": 1e6 * cpu_s / received if received else None,
            "memory_kb_per_subscriber": (full.memory_kb - before.memory_kb) / max(1, wish.watching),
        }
    for name in ("delay_ms", "join_ms", "ice_ms", "media_ms", "late_ms"):
        told[name] = Percentiles(**result[name]) if result[name] is not None else None
    plain = ("clients", "ready", "seconds", "sent_per_s", "received_per_s", "received", "lost", "reordered", "repaired")
    return Figures(
        rooms=wish.rooms,
        subscribers=wish.watching,
        failures=tuple(result["failures"]),
        load_cores=result["load"],
        **{name: result[name] for name in plain},
        **told,
    )
