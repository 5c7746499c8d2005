"""A pool with a stage round it: what the dispatcher does with effects, in a few lines and without a server."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from rtpcore.agents import Dispatch, Job, Kind, Limits, Place, Pool, State, Worker
from rtpcore.agents.effects import Answer, Assign, Effect, Evict, Ignored, LookAfter, Moved, Offer, Terminate
from rtpcore.agents.limits import Departure
from rtpcore.wire.messages import JobType, WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Stage", "running"]

YES, NO = Answer(is_available=True), Answer(is_available=False)


class Stage:
    """Everything that happens to a pool, with the effects of it.

    Attributes:
        offers: What each worker was asked and has not answered, oldest first, by worker.
        tokens: The fences of what was assigned, by job, oldest first.
        inside: By job, the fence and the sid of each agent that is in its room.
        attached: The sids of agents that have a socket.
        effects: All there were.
    """

    def __init__(self, limits: Limits | None = None, seed: int = 1) -> None:
        self.pool = Pool(limits or Limits(), random.Random(seed).random)
        self.now_ms = 1_000_000
        self.offers: dict[str, list[str]] = {}
        self.tokens: dict[str, list[tuple[str, int]]] = {}
        self.inside: dict[str, dict[str, int]] = {}
        self.attached: set[str] = set()
        self.effects: list[Effect] = []
        self._sids = 0

    def do(self, effects: Iterable[Effect]) -> list[Effect]:
        """Carry them out."""
        done = list(effects)
        for effect in done:
            self.effects.append(effect)
            match effect:
                case Offer(worker_id, job):
                    self.offers.setdefault(worker_id, []).append(job.id)
                case Assign(worker_id, job, _):
                    self.tokens.setdefault(job.id, []).append((worker_id, job.fence))
                    self.do(self.pool.hand_over(job.id, job.fence, self.now_ms))
                case Evict(agent_sid, job_id):
                    self.leave(job_id, agent_sid, Departure.REMOVED)
                case LookAfter(agent_sid):
                    for job_id in [id for id, there in self.inside.items() if agent_sid in there]:
                        if agent_sid not in self.attached:
                            self.leave(job_id, agent_sid, Departure.LOST)
        return done

    ##### Rooms

    def room(self, sid: str = "RM_1", *agents: str) -> Place:
        place = Place(sid, f"room {sid}", self.now_ms)
        names = agents or ("",)
        for name in names:
            wish = Dispatch(f"AD_{sid}{name}", name, self.now_ms, is_implicit=not agents)
            place.dispatches[wish.id] = wish
        self.do(self.pool.open(place, self.now_ms))
        return place

    def close(self, sid: str = "RM_1") -> None:
        for job_id in list(self.inside):
            job = self.pool.books.jobs.get(job_id)
            if job is not None and job.room_sid == sid:
                for agent_sid in list(self.inside[job_id]):
                    self.leave(job_id, agent_sid, Departure.CLOSED)
        self.do(self.pool.close(sid, self.now_ms))

    def person(self, identity: str = "ada", sid: str = "RM_1", *, publishes: bool = False) -> None:
        self.do(self.pool.person_joined(sid, identity, self.now_ms))
        if publishes:
            self.do(self.pool.person_published(sid, identity, self.now_ms))

    ##### Workers

    def worker(self, id: str = "AW_1", name: str = "", type: int = JobType.JT_ROOM) -> Worker:
        worker = Worker(id, Kind(name, type=type), registered_at_ms=self.now_ms)
        self.do(self.pool.register(worker, self.now_ms))
        return worker

    def lose(self, worker_id: str = "AW_1") -> None:
        self.offers.pop(worker_id, None)
        self.do(self.pool.lose(worker_id, self.now_ms))

    def say(self, worker_id: str = "AW_1", answer: Answer = YES) -> str:
        """Answer the oldest offer; which job it was."""
        job_id = self.offers[worker_id].pop(0)
        self.do(self.pool.answer(worker_id, job_id, answer, self.now_ms))
        return job_id

    def update(
        self, worker_id: str = "AW_1", load: float = 0.0, seq: int = 0, *, full: bool = False, draining: bool = False
    ) -> list[Effect]:
        status = WorkerStatus.WS_FULL if full else WorkerStatus.WS_AVAILABLE
        return self.do(
            self.pool.update(
                worker_id, self.now_ms, status=status, load=load, job_count=0, seq=seq, is_draining=draining
            )
        )

    def report(self, job_id: str, status: int, worker_id: str = "AW_1") -> list[Effect]:
        return self.do(self.pool.report(worker_id, job_id, status, "", self.now_ms))

    ##### Agents

    def join(self, job_id: str, fence: int | None = None) -> bool:
        """The agent of the latest attempt, or of another, comes; whether it was let in."""
        number = self.tokens[job_id][-1][1] if fence is None else fence
        if self.pool.why_not(job_id, number):
            return False
        # It has one identity, and who has had that is sent away by the host.
        for sid in list(self.inside.get(job_id, {})):
            self.leave(job_id, sid, Departure.REPLACED)
        self._sids += 1
        sid = f"PA_{self._sids}"
        self.inside.setdefault(job_id, {})[sid] = number
        self.attached.add(sid)
        self.do(self.pool.arrived(job_id, number, sid, self.now_ms))
        return sid in self.inside.get(job_id, {})

    def leave(self, job_id: str, agent_sid: str = "", departure: Departure = Departure.LEFT) -> None:
        there = self.inside.get(job_id, {})
        sid = agent_sid or next(iter(there), "")
        if there.pop(sid, None) is not None:
            if not there:
                del self.inside[job_id]
            self.do(self.pool.departed(job_id, sid, departure, self.now_ms))

    ##### Time

    def wait(self, ms: int) -> None:
        """Let time pass, and what is due happen when it is."""
        until_ms = self.now_ms + ms
        while (at_ms := self.pool.next_at_ms) is not None and at_ms <= until_ms:
            self.now_ms = max(self.now_ms, at_ms)
            self.do(self.pool.tick(self.now_ms))
        self.now_ms = until_ms

    ##### What came of it

    @property
    def jobs(self) -> list[Job]:
        """All that are shown."""
        return [*self.pool.books.jobs.values(), *self.pool.ended]

    def state(self, job_id: str) -> State:
        return next(job.state for job in self.jobs if job.id == job_id)

    def path(self, job_id: str) -> list[str]:
        """The states of a job, in order."""
        return [
            effect.job.state.value for effect in self.effects if isinstance(effect, Moved) and effect.job.id == job_id
        ]

    @property
    def ignored(self) -> list[str]:
        return [effect.what for effect in self.effects if isinstance(effect, Ignored)]

    @property
    def terminated(self) -> list[tuple[str, str]]:
        return [(effect.worker_id, effect.job_id) for effect in self.effects if isinstance(effect, Terminate)]


def running(stage: Stage, worker_id: str = "AW_1") -> str:
    """A room with an agent in it."""
    stage.worker(worker_id)
    stage.room()
    job_id = stage.say(worker_id)
    assert stage.join(job_id)
    return job_id
