"""The pool's books: which job is where, which worker has it, who waits, and what is due when.

Everything that changes a job's state goes through :meth:`Ledger.move`, so that the books agree with each other.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from rtpcore.agents.effects import Moved
from rtpcore.agents.job import LIVE, PENDING, WITH_WORKER, Job, Kind, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rtpcore.agents.workers import Worker

__all__ = ["Ledger"]


class Ledger:
    """Jobs and workers.

    Attributes:
        jobs: By id, those that have ended too, as long as their room knows them.
        workers: Those that are connected, by id.
        counts: How many live jobs are in each state.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self.jobs: dict[str, Job] = {}
        self.workers: dict[str, Worker] = {}
        self.counts: dict[State, int] = dict.fromkeys(LIVE, 0)
        self._by_kind: dict[Kind, dict[str, Worker]] = {}
        self._seen: dict[Kind, int] = {}
        self._queues: dict[Kind, dict[str, Job]] = {}
        self._due: list[tuple[int, int, str | Kind]] = []
        self._numbers = itertools.count()
        self._wakes: dict[Kind, int] = {}

    ##### Workers

    def enlist(self, worker: Worker) -> None:
        """A worker is there."""
        self.workers[worker.id] = worker
        self._by_kind.setdefault(worker.kind, {})[worker.id] = worker

    def strike_off(self, worker: Worker, now_ms: int) -> None:
        """A worker is gone."""
        del self.workers[worker.id]
        left = self._by_kind[worker.kind]
        del left[worker.id]
        if not left:
            del self._by_kind[worker.kind]
        self._seen[worker.kind] = now_ms

    def workers_of(self, kind: Kind) -> list[Worker]:
        """Those of a kind, oldest first."""
        return list(self._by_kind.get(kind, {}).values())

    def kinds(self, oldest_ms: int) -> Mapping[tuple[str, str], list[Kind]]:
        """By agent name and deployment, the kinds that there are, or that were there since `oldest_ms`."""
        self._seen = {kind: at_ms for kind, at_ms in self._seen.items() if at_ms > oldest_ms}
        found: dict[tuple[str, str], list[Kind]] = {}
        for kind in dict.fromkeys([*self._by_kind, *self._seen]):
            found.setdefault((kind.agent_name, kind.deployment), []).append(kind)
        return found

    ##### Jobs

    def move(self, job: Job, state: State, now_ms: int, reason: str, deadline_at_ms: int | None = None) -> Moved:
        """Put a job into another state, new ones too; one that is with a worker has its `worker_id` set before."""
        before = job.state if job.id in self.jobs else None
        if before in LIVE:
            self.counts[before] -= 1
        if before == State.QUEUED:
            del self._queues[job.kind][job.id]
            if not self._queues[job.kind]:
                del self._queues[job.kind]
        worker = self.workers.get(job.worker_id)
        if worker is not None:
            worker.pending += (state in PENDING) - (before in PENDING)
            if state in WITH_WORKER:
                worker.jobs.add(job.id)
            else:
                worker.jobs.discard(job.id)
        lasted_ms = 0 if before is None else max(0, now_ms - job.since_ms)
        job.state, job.since_ms, job.reason = state, now_ms, reason
        self.jobs[job.id] = job
        if state in LIVE:
            self.counts[state] += 1
        else:
            job.ended_at_ms = now_ms
        if state == State.QUEUED:
            self._queues.setdefault(job.kind, {})[job.id] = job
        self.set_deadline(job, deadline_at_ms)
        return Moved(replace(job), before, lasted_ms)

    def hand_back(self, job: Job, worker: Worker) -> None:
        """A job is with another worker, which has had it before under another name."""
        job.worker_id = worker.id
        worker.jobs.add(job.id)
        worker.pending += job.state in PENDING

    def forget(self, job: Job) -> None:
        """A job that has ended is not shown any more."""
        if self.jobs.get(job.id) is job:
            del self.jobs[job.id]

    def queue(self, kind: Kind) -> list[Job]:
        """Those that wait for a worker of a kind, the one that was wanted first first."""
        return sorted(self._queues.get(kind, {}).values(), key=lambda job: job.created_at_ms)

    @property
    def queued(self) -> Iterator[Job]:
        """All that wait."""
        return itertools.chain.from_iterable(queue.values() for queue in self._queues.values())

    ##### Time

    def set_deadline(self, job: Job, at_ms: int | None) -> None:
        """When :meth:`due` names a job, whatever it was before; None for never."""
        job.deadline_at_ms = at_ms
        if at_ms is not None:
            self._put(at_ms, job.id)

    def look_at(self, job: Job, at_ms: int) -> None:
        """When :meth:`due` names a job for its agent's sake, whatever its deadline."""
        job.look_at_ms = at_ms
        self._put(at_ms, job.id)

    def wake(self, kind: Kind, at_ms: int) -> None:
        """When :meth:`due` names a kind, since its queue may go on then."""
        if at_ms < self._wakes.get(kind, at_ms + 1):
            self._wakes[kind] = at_ms
            self._put(at_ms, kind)

    def _put(self, at_ms: int, what: str | Kind) -> None:
        heapq.heappush(self._due, (at_ms, next(self._numbers), what))

    @property
    def next_at_ms(self) -> int | None:
        """When something is due; None for never. It may turn out to be nothing."""
        return self._due[0][0] if self._due else None

    def due(self, now_ms: int) -> Iterator[Job | Kind]:
        """Jobs whose deadline is there, and kinds whose queue may go on; each once."""
        while self._due and self._due[0][0] <= now_ms:
            at_ms, _, what = heapq.heappop(self._due)
            if isinstance(what, Kind):
                if self._wakes.get(what) == at_ms:
                    del self._wakes[what]
                    yield what
            elif (job := self.jobs.get(what)) is not None:
                is_due = job.deadline_at_ms is not None and job.deadline_at_ms <= now_ms
                if is_due or 0 < job.look_at_ms <= now_ms:
                    yield job
