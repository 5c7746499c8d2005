"""What the benchmarks measured: rows, the bounds that some of them have, and the two forms in which they are shown."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure is held to: at most this, or at least this."""

    limit: float
    at_least: bool = False

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"


# The one place for bounds. All are ratios within one run or do not depend on the machine's speed, but for the delays.
BOUNDS = {
    # CPU per packet out beside the floor's: a bare loop of rewrite, seal and send.
    "video_cpu_ratio_to_floor": Bound(1.3),
    "audio_cpu_ratio_to_floor": Bound(1.3),
    # AES-CM beside AES-GCM, in our own code: the kernel's share would hide the difference.
    "video_user_cm_to_gcm_ratio": Bound(1.8),
    "audio_user_cm_to_gcm_ratio": Bound(1.8),
    # None for any packet in a bare router; through sockets the difference of two loads, which has some noise.
    "video_allocations_per_packet": Bound(0),
    "audio_allocations_per_packet": Bound(0),
    "video_socket_allocations_per_packet": Bound(0.001),
    "audio_socket_allocations_per_packet": Bound(0.001),
    "video_memory_per_subscriber_kb": Bound(100),
    "audio_memory_per_subscriber_kb": Bound(100),
    "video_added_delay_p99_ms": Bound(1.0),
    "audio_added_delay_p99_ms": Bound(1.0),
    "two_worker_scaling": Bound(1.8, at_least=True),
    # The LiveKit server: a thousand arrive within ten seconds, and 300 are in one room of which three speak.
    "join_p99_ms": Bound(100),
    "join_faults": Bound(0),
    "large_room_python_cores": Bound(0.1),
    "join_to_first_frame_p50_ms": Bound(500),
    # The way to forward that aiortc documents. A unit that takes aiortc's decoder out is beside it, without a bound: on
    # loopback the kernel's share is such that not even the floor is 50 times as good.
    "packets_per_core_to_aiortc_relay": Bound(50, at_least=True),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One figure."""

    name: str
    value: float
    unit: str
    own: Bound | None = None
    """What it is held to, where that is not in `BOUNDS`."""

    @classmethod
    def parse(cls, line: str) -> "Row":
        name, value, unit = line.split()
        return cls(name, float(value), unit)

    @property
    def bound(self) -> Bound | None:
        return self.own or BOUNDS.get(self.name)

    @property
    def holds(self) -> bool | None:
        return None if self.bound is None else self.bound.holds(self.value)

    def to_json(self) -> dict[str, Any]:
        bound = None if self.bound is None else str(self.bound)
        return {"name": self.name, "value": self.value, "unit": self.unit, "bound": bound, "holds": self.holds}


def show(title: str, rows: Iterable[Row], notes: dict[str, str] | None = None) -> None:
    """Print a table."""
    table = Table("", box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("bound", justify="right")
    table.add_column("holds")
    for row in rows:
        verdict = {None: "", True: "[green]yes[/]", False: "[bold red]NO[/]"}[row.holds]
        note = (notes or {}).get(row.name, "")
        table.add_row(row.name, readable(row.value), row.unit, str(row.bound or ""), verdict or note)
    Console(width=None if Console().is_terminal else 100, highlight=False).print(table)


def readable(value: float) -> str:
    """Three digits or so of a figure, however large."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}"


def write(path: Path, machine: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write the rows, and what they were measured on: as JSON, and beside it as a table for those who read."""
    write_json(path, machine, rows)
    facts = ", ".join(f"{name} {fact}" for name, fact in machine.items())
    verdicts = {None: "", True: "yes", False: "no"}
    table = [
        f"| `{row.name}` | {readable(row.value)} {row.unit} | {row.bound or ''} | {verdicts[row.holds]} |"
        for row in rows
    ]
    head = ["# The last run", "", f"Written by `make bench`; docs/performance.md says what the rows mean. {facts}.", ""]
    columns = ["| row | value | bound | holds |", "|---|---:|---:|---|"]
    path.with_suffix(".md").write_text("\n".join([*head, *columns, *table]) + "\n")


def write_json(path: Path, machine: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write the rows alone."""
    path.parent.mkdir(exist_ok=True)
    # A row to a line: a change shows as one.
    lines = ",\n".join(f"    {json.dumps(row.to_json())}" for row in rows)
    path.write_text(f'{{\n  "machine": {json.dumps(machine)},\n  "rows": [\n{lines}\n  ]\n}}\n')
