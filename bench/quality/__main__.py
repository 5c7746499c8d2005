"""What real clients see on bad networks: two Chromiums, one of them behind a relay that follows a trace.

    python -m bench.quality                        every trace, with our server; with LiveKit's too where it is there
    python -m bench.quality loss5-rtt20 my.trace   these only, shown and not written
    python -m bench.quality --only-ours
    python -m bench.quality --url ws://host:7880 --key K --secret S
    python -m bench.quality --oracle BINARY        LiveKit's server, where `make` did not put it

bench/traces/README.md says what a trace is, docs/quality.md what the figures mean. They are only as quiet as
the machine: `machine_busy_percent` is beside them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bench.__main__ import ROOT, machine
from bench.quality import servers, table
from bench.quality.figures import BOUNDS, rows
from bench.quality.relay import build
from bench.quality.run import Run, browsers, measure
from bench.rows import show, write_json

if TYPE_CHECKING:
    from bench.rows import Row

TRACES = ROOT / "bench" / "traces"
RESULTS = ROOT / "bench" / "results" / "quality.json"
ORACLE = ROOT / ".build" / "oracle-1.11.0" / "server"
OURS, THEIRS = "", "livekit"
TRIES = 3


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("traces", nargs="*", metavar="trace", help="names of bench/traces, or files; all without")
    parser.add_argument("--seconds", type=float, default=45, help="of each trace, from joining on (45)")
    parser.add_argument("--only-ours", action="store_true", help="not LiveKit's server")
    parser.add_argument("--only-oracle", action="store_true", help="not ours")
    parser.add_argument("--oracle", type=Path, default=ORACLE, metavar="BINARY", help="LiveKit's server")
    parser.add_argument("--url", help="a LiveKit-compatible server that runs already, in place of ours")
    parser.add_argument("--key", default=servers.KEY, help="its API key")
    parser.add_argument("--secret", default=servers.SECRET, help="its secret")
    parser.add_argument("--sdk", action="store_true", help="also with LiveKit's SDK from PyPI as the viewer")
    parser.add_argument("--restless", action="store_true", help="the publisher mutes and publishes anew meanwhile")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="write all that was noted there")
    parser.add_argument("--check", action="store_true", help="exit status 1 where a bound does not hold")
    options = parser.parse_args()
    traces = [find(name) for name in options.traces] or sorted(TRACES.glob("*.trace"), key=order)

    binary = build()
    found = asyncio.run(measure_all(traces, binary, options))
    measured = [row for _, some in found for row in some]
    print(table.text(measured))
    if not (options.traces or options.url or options.only_oracle or options.restless):
        facts = {**machine(), "seconds": options.seconds}
        write_json(RESULTS, facts, measured)
        RESULTS.with_suffix(".md").write_text(table.markdown(measured, facts))
        print(f"Written to {RESULTS.relative_to(ROOT)}.")
    broken = [row for row in measured if row.holds is False]
    held = sum(row.holds is True for row in measured)
    print(f"{held} of {held + len(broken)} bounds hold.")
    return 1 if options.check and broken else 0


def find(name: str) -> Path:
    path = TRACES / f"{name}.trace"
    if path.exists():
        return path
    if Path(name).exists():
        return Path(name)
    raise SystemExit(
        f"No trace is called {name}; there are {', '.join(sorted(one.stem for one in TRACES.glob('*.trace')))}."
    )


def order(trace: Path) -> tuple[int, str]:
    """Those that are held to something come first."""
    names = list(BOUNDS)
    return names.index(trace.stem) if trace.stem in names else len(names), trace.stem


async def measure_all(traces: list[Path], binary: Path, options: argparse.Namespace) -> list[tuple[Run, list[Row]]]:
    who = [] if options.only_oracle else [OURS]
    if not options.only_ours and not options.url and options.oracle.exists():
        who.append(THEIRS)
    found = []
    for trace in traces:
        for one in who:
            for sdk in (False, True) if options.sdk else (False,):
                run = await measure_one(trace, one, binary, options, sdk=sdk)
                column = "/".join(filter(None, (one, "sdk" if sdk else "")))
                some = rows(run, column)
                show(" ".join(filter(None, (trace.stem, column))), some)
                found.append((run, some))
                if options.keep:
                    options.keep.mkdir(exist_ok=True, parents=True)
                    name = "-".join(filter(None, (trace.stem, column.replace("/", "-"))))
                    (options.keep / f"{name}.json").write_text(json.dumps(asdict(run)))
    return found


async def measure_one(trace: Path, who: str, binary: Path, options: argparse.Namespace, *, sdk: bool) -> Run:
    """A run with everything new: nothing of one is left in the next."""
    for _ in range(TRIES - 1):
        run = await _once(trace, who, binary, options, sdk=sdk)
        # LiveKit's server now and then never answers a connectivity check; that is not what is measured here.
        if run.link["down"]["packets"] or who == OURS:
            return run
        print(f"{who} did not answer on {trace.stem}; once more.", file=sys.stderr)
    return await _once(trace, who, binary, options, sdk=sdk)


async def _once(trace: Path, who: str, binary: Path, options: argparse.Namespace, *, sdk: bool) -> Run:
    if who == THEIRS:
        server = servers.oracle(str(options.oracle))
    elif options.url:
        server = servers.running(options.url, options.key, options.secret)
    else:
        server = servers.ours()
    async with server as served, browsers() as both:
        return await measure(served, both, binary, trace, options.seconds, sdk=sdk, restless=options.restless)


if __name__ == "__main__":
    sys.exit(main())
