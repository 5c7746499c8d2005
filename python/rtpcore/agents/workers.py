"""Workers as the pool knows them, and which of them gets a job.

A worker says itself how loaded it is, and may be wrong. So what it took since it said so counts as well, and one whose
agents do not come, or that does not answer, is left alone for a while.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rtpcore.agents.job import ALL_FULL, NO_WORKER, NONE_TOOK_IT
from rtpcore.wire.messages import ParticipantPermission, WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rtpcore.agents.job import Kind

__all__ = ["Worker", "select", "why_none"]

_JOB_LOAD = 0.1
"""What a job counts that a worker took and has not reported yet: less lets a burst pile up on one worker between two of
its reports (2.5 s), more spreads it over workers that are loaded already."""
_MAX_PENDING = 20
"""Jobs that a worker is asked about or has taken and whose agents are not there yet. A slow one shall not hold the
queue, and one that is given all jobs of another that died shall not suffocate, whatever it says of its load."""
_FIRST_BENCH_MS, _LONGEST_BENCH_MS = 1000, 60_000
_REFUSALS = 3
"""Refusals in a row after which a worker is not asked until it reports again: it is full and has not said so yet."""
_REPORT_MS = 2500
"""How often LiveKit's workers report."""


@dataclass(eq=False, slots=True)
class Worker:
    """A connected worker.

    Attributes:
        id: Unique for ever.
        kind: Which jobs it takes.
        permission: What its agents may do in rooms.
        version: Of its software, as it says.
        registered_at_ms: Unix time.
        is_full: It says that it takes no more.
        is_draining: It says that it will end.
        is_local: It is a function in this process.
        load: 0 to 1, as it says.
        job_count: Jobs that it has, as it says.
        seq: The number of its last report; 0 where it numbers none.
        pending: Jobs that it has, offers included, whose agents are not in their rooms yet.
        jobs: What it has, offers included, by id.
        unreported: Jobs it took since its last report.
        strikes: Times in a row that it took a job, or was asked, and nothing came of it.
        refusals: Times in a row that it said no.
        paused_until_ms: It is not asked before.
    """

    id: str
    kind: Kind
    permission: ParticipantPermission = field(default_factory=ParticipantPermission)
    version: str = ""
    registered_at_ms: int = 0
    is_full: bool = False
    is_draining: bool = False
    is_local: bool = False
    load: float = 0.0
    job_count: int = 0
    seq: int = 0
    pending: int = 0
    jobs: set[str] = field(default_factory=set)
    unreported: int = 0
    strikes: int = 0
    refusals: int = 0
    paused_until_ms: int = 0

    def takes(self, now_ms: int) -> bool:
        """Whether it may be asked now."""
        return not (self.is_full or self.is_draining) and self.pending < _MAX_PENDING and self.paused_until_ms <= now_ms

    @property
    def effective_load(self) -> float:
        """What it says, and what it took since.

        >>> from rtpcore.agents.job import Kind
        >>> Worker("AW_1", Kind(), load=0.5, unreported=2).effective_load
        0.7
        """
        return min(1.0, self.load + _JOB_LOAD * self.unreported)

    def report(self, *, status: int, load: float, job_count: int, seq: int, is_draining: bool) -> bool:
        """Take its word; False where it is older than the last one."""
        if seq and seq <= self.seq:
            return False
        self.seq = seq or self.seq
        self.is_full = status == WorkerStatus.WS_FULL
        self.is_draining = is_draining
        # What is no number says nothing good.
        self.load = 1.0 if math.isnan(load) else min(1.0, max(0.0, load))
        self.job_count = job_count
        self.unreported = 0
        if self.refusals:
            self.refusals = 0
            self.paused_until_ms = 0 if not self.strikes else self.paused_until_ms
        return True

    def strike(self, now_ms: int) -> None:
        """Nothing came of asking it: leave it alone, longer each time."""
        pause_ms = min(_FIRST_BENCH_MS << min(self.strikes, 16), _LONGEST_BENCH_MS)
        self.strikes += 1
        self.paused_until_ms = max(self.paused_until_ms, now_ms + pause_ms)

    def refuse(self, now_ms: int) -> None:
        """It said no."""
        self.refusals += 1
        if self.refusals >= _REFUSALS:
            self.paused_until_ms = max(self.paused_until_ms, now_ms + _REPORT_MS)

    def prove(self) -> None:
        """An agent of it came."""
        self.strikes = 0


def select(candidates: Sequence[Worker], target_load: float, draw: Callable[[], float]) -> Worker:
    """One of them, at random: the less loaded, the likelier.

    Args:
        candidates: At least one.
        target_load: Those that are loaded more are taken where all are.
        draw: Gives a number from 0 to below 1.
    """
    light = [one for one in candidates if one.effective_load < target_load] or list(candidates)
    weights = [max(1.0 - one.effective_load, 0.01) for one in light]
    point = draw() * sum(weights)
    for worker, weight in zip(light, weights, strict=True):
        point -= weight
        if point < 0:
            return worker
    return light[-1]


def why_none(workers: Sequence[Worker]) -> str:
    """Why a job waited for these in vain."""
    if not workers:
        return NO_WORKER
    return ALL_FULL if all(one.is_full or one.is_draining for one in workers) else NONE_TOOK_IT
