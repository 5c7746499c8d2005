"""Count instructions per packet under valgrind, and hold them against the committed counts.

    python bench/instructions.py            print the counts
    python bench/instructions.py --check    also fail where one rose by more than 2 %
    python bench/instructions.py --update   write bench/baseline.txt

Instructions do not depend on what else the machine does, so a change of 1 % is a change of the code. They say nothing
of caches: `make bench` does.

Valgrind is run directly on one plain binary (src/bin/instructions.rs). A harness such as gungraun runs the same tool
and needs a runner of its very version, of more than a hundred crates, on every machine that checks.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINE = ROOT / "bench" / "baseline.txt"
TOLERANCE = 0.02


def build(program: str) -> Path:
    """Compile one of src/bin, and say where it lies."""
    command = ["cargo", "build", "--quiet", "--release", "--package", "rtpcore-bench", "--bin", program]
    subprocess.run(command, cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / program


def count() -> dict[str, float]:
    """Instructions per unit of every case, by name."""
    program = build("instructions")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind"
        run = subprocess.run(
            [
                "valgrind",
                "--quiet",
                "--tool=callgrind",
                "--toggle-collect=measured",
                "--dump-before=case_ends",
                "--zero-before=case_ends",
                f"--callgrind-out-file={out}",
                str(program),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        cases = [line.split() for line in run.stdout.splitlines()]
        # Dumps are numbered from 1; the unnumbered one is of what came after the last case.
        totals = [total(out.with_name(f"callgrind.{n}")) for n in range(1, len(cases) + 1)]
    counts = {name: instructions / int(units) for (name, units), instructions in zip(cases, totals, strict=True)}
    for name in [name for name in counts if name.startswith("forward/") and name.endswith("/100")]:
        _, media, cipher, _ = name.split("/")
        # The tool's processor has no AVX-512, so ciphers take slower ways than they do in production: ours is the rest.
        counts[name.replace("forward", "ours")] = (
            counts[name] - counts[f"seal/{media.removeprefix('numbered_')}/{cipher}"]
        )
    return counts


def total(dump: Path) -> int:
    found = re.search(r"^(?:summary|totals): (\d+)", dump.read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{dump.name} has no total: is this callgrind's format?")
    return int(found[1])


def baseline() -> dict[str, float]:
    if not BASELINE.exists():
        return {}
    return {name: float(value) for name, value in (line.split() for line in BASELINE.read_text().splitlines())}


def change(value: float, before: float | None) -> str:
    """How a count stands to the committed one, in words short enough for a table."""
    if before is None:
        return "new"
    ratio = value / before - 1
    return "" if abs(ratio) < 0.0005 else f"{ratio:+.1%}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="fail where a count rose by more than 2 %%")
    choice.add_argument("--update", action="store_true", help="write bench/baseline.txt")
    arguments = parser.parse_args()

    counts, before = count(), baseline()
    risen = []
    for name, value in counts.items():
        if value > before.get(name, value) * (1 + TOLERANCE):
            risen.append(name)
        print(f"{name:<26} {value:9.1f}  {change(value, before.get(name))}")
    for name in before.keys() - counts.keys():
        print(f"{name:<26}            gone")
    if arguments.update:
        BASELINE.write_text("".join(f"{name} {value:.1f}\n" for name, value in counts.items()))
    elif arguments.check and risen:
        print(f"\nMore instructions than in bench/baseline.txt: {', '.join(risen)}.", file=sys.stderr)
        print("If they are worth it, run with --update and say why in the commit.", file=sys.stderr)
        return 1
    elif arguments.check and not before:
        print("\nbench/baseline.txt is missing: run with --update.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
