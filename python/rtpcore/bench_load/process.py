"""What the kernel says of the server's process: CPU time and memory (proc(5))."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Account", "look"]


@dataclass(frozen=True)
class Account:
    """A process at one moment.

    Attributes:
        cpu_s: CPU time since its start, in user space and in the kernel.
        memory_kb: Proportional set size: pages that it shares count in part.
    """

    cpu_s: float
    memory_kb: int


def look(pid: int) -> Account:
    """Look at a process. Raises OSError where there is none, or it is somebody else's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    memory_kb = next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return Account(cpu_s, memory_kb)
