"""Measure all that there is to measure, show it as tables, and write bench/results/bench.json.

    python -m bench                     everything, in ten minutes or so
    python -m bench --quick             fewer turns: whether all runs, not figures to compare
    python -m bench cost aiortc         these parts only, shown and not written
    python -m bench --check             exit status 1 where a bound does not hold

docs/performance.md says what the figures mean. They are only as quiet as the machine.
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import instructions
from bench.rows import BOUNDS, Row, show, write

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "bench.json"
# The parts of src/bin/forward.rs, in their order.
FORWARD = ("cost", "delay", "scaling", "memory", "allocations")
# Those of bench/rooms.py, likewise.
ROOMS = ("joins", "large", "first_frame")
# bench/loads.py is "load".
PARTS = ("instructions", *FORWARD, *ROOMS, "load", "aiortc")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="part", help=f"one of {', '.join(PARTS)}; all without")
    parser.add_argument("--quick", action="store_true", help="fewer turns; nothing is written")
    parser.add_argument("--check", action="store_true", help="exit status 1 where a bound does not hold")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    parts = [part for part in PARTS if part in arguments.parts or not arguments.parts]

    rows: list[Row] = []
    for part in parts:
        rows += measure(part, arguments.quick)
    by_name = {row.name: row.value for row in rows}
    to_aiortc, to_floor = "packets_per_core_to_aiortc_passthrough", "video_cpu_ratio_to_floor"
    if to_aiortc in by_name and to_floor in by_name:
        # What any unit could reach at best.
        limit = Row(f"floor_{to_aiortc}", by_name[to_aiortc] * by_name[to_floor], "x")
        show("the floor beside aiortc", [limit])
        rows.append(limit)

    broken = [row for row in rows if row.holds is False]
    held = sum(row.holds is True for row in rows)
    print(f"{held} of {held + len(broken)} bounds hold.", *(f"{row.name} is not {row.bound}." for row in broken))
    if not arguments.parts and (missing := BOUNDS.keys() - by_name.keys()):
        raise SystemExit(f"Bounds without a row: {', '.join(sorted(missing))}.")
    if not arguments.parts and not arguments.quick:
        write(RESULTS, machine(), rows)
        print(f"Written to {RESULTS.relative_to(ROOT)}.")
    return 1 if arguments.check and broken else 0


def measure(part: str, quick: bool) -> list[Row]:
    """Run one part, showing what it says when it ends."""
    if part == "instructions":
        counts, before = instructions.count(), instructions.baseline()
        rows = [Row(f"instructions/{name}", round(value, 1), "instructions") for name, value in counts.items()]
        notes = {f"instructions/{name}": instructions.change(value, before.get(name)) for name, value in counts.items()}
        show(part, rows, notes)
        return rows
    if part in FORWARD:
        binary = instructions.build("forward")
        rows = printed([str(binary), *(["--quick"] if quick else []), part])
    elif part in ROOMS:
        rows = printed([sys.executable, "-m", "bench.rooms", *(["--quick"] if quick else []), part])
    elif part == "load":
        rows = printed([sys.executable, "-m", "bench.loads", *(["--quick"] if quick else [])])
    else:
        rows = printed([sys.executable, "-m", "bench.aiortc_unit", *(["--quick"] if quick else [])])
    show(part, rows)
    return rows


def printed(command: list[str]) -> list[Row]:
    """The rows that a program prints, a line each."""
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    rows = [Row.parse(line) for line in run.stdout.splitlines()]
    if any(row.name == "runs_first" and not row.value for row in rows):
        print("Not allowed to go before other programs: delays include theirs.")
    return [row for row in rows if row.name != "runs_first"]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in cpus if line.startswith("model name")), platform.machine())
    return {
        "cpu": model,
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "rustc": said("rustc", "--version").removeprefix("rustc "),
        "commit": said("git", "describe", "--always", "--dirty"),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }


def said(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
