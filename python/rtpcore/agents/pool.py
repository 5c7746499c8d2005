"""The pool: what becomes of jobs when workers come, answer, report and go, when agents and rooms do, and with time.

Every method takes the time and returns effects for the dispatcher to carry out in order. What does not fit the books
(an answer for a job that was not offered, a report on one that is somebody else's) changes nothing and is `Ignored`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from rtpcore.agents.effects import Answer, Assign, Effect, Evict, Ignored, LookAfter, Offer, Terminate
from rtpcore.agents.job import (
    DISPATCH_DELETED,
    PENDING,
    QUEUE_FULL,
    ROOM_CLOSED,
    Job,
    Kind,
    State,
)
from rtpcore.agents.ledger import Ledger
from rtpcore.agents.limits import (
    COOLDOWN_MS,
    EVICT_MS,
    FIRST_BACKOFF_MS,
    HAND_OVER_MS,
    LONGEST_BACKOFF_MS,
    LOST_WORKER_MS,
    MAX_ENDED,
    MAX_ERROR,
    REJOIN_MS,
    SILENCE_MS,
    SLOW_MS,
    VERDICT_MS,
    Departure,
    Limits,
)
from rtpcore.agents.place import Dispatch, Place, Presence
from rtpcore.agents.workers import Worker, select, why_none
from rtpcore.errors import LimitError
from rtpcore.wire.messages import JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Pool"]


class Pool:
    """Jobs, the workers that do them, and the rooms that want them.

    Attributes:
        limits: Its bounds.
        books: What is where.
        places: Rooms that are open, by sid.
        ended: The latest jobs of rooms that are closed.
    """

    def __init__(self, limits: Limits, draw: Callable[[], float]) -> None:
        """An empty one; ``draw`` gives a number from 0 to below 1, by which workers are chosen."""
        self.limits = limits
        self.books = Ledger()
        self.places: dict[str, Place] = {}
        self.ended: deque[Job] = deque(maxlen=MAX_ENDED)
        self._draw = draw

    ##### Rooms, and who wants what in them

    def open(self, place: Place, now_ms: int) -> list[Effect]:
        """A room is there, with what is wanted in it from the start."""
        self.places[place.sid] = place
        return self._want(place, now_ms)

    def close(self, room_sid: str, now_ms: int) -> list[Effect]:
        """A room is gone, with everybody in it."""
        place = self.places.pop(room_sid, None)
        effects: list[Effect] = []
        if place is None:
            return effects
        for job in place.to_end():
            if job.is_live:
                job.agent_sid = ""
                state = State.DONE if job.state == State.RUNNING else State.CANCELLED
                effects += self._end(job, state, ROOM_CLOSED, now_ms)
            self._shelve(place, job)
        return effects

    def _shelve(self, place: Place, job: Job) -> None:
        """Take a job that has ended off the books; it is shown among the last ones for a while."""
        place.jobs.pop(job.id, None)
        self.books.forget(job)
        self.ended.append(job)

    def dispatch(self, room_sid: str, dispatch: Dispatch, now_ms: int) -> list[Effect]:
        """An agent is wanted in a room. Raises LimitError: too many are wanted there."""
        place = self.places[room_sid]
        if len(place.dispatches) >= self.limits.max_dispatches:
            raise LimitError("dispatches in a room", self.limits.max_dispatches)
        place.dispatches[dispatch.id] = dispatch
        return self._want(place, now_ms)

    def withdraw(self, room_sid: str, dispatch_id: str, now_ms: int) -> list[Effect]:
        """It is wanted no longer: its jobs end, and agents get a moment to leave."""
        place = self.places[room_sid]
        place.dispatches.pop(dispatch_id, None)
        effects: list[Effect] = []
        for job in place.to_end():
            if job.dispatch_id == dispatch_id and job.is_live:
                effects += self._end(job, State.CANCELLED, DISPATCH_DELETED, now_ms)
        return effects

    def person_joined(self, room_sid: str, identity: str, now_ms: int) -> list[Effect]:
        """Somebody is there whom agents may be for, perhaps again."""
        place = self.places.get(room_sid)
        if place is None:
            return []
        place.people[identity] = Presence(now_ms)
        effects: list[Effect] = []
        for job in [job for job in place.jobs.values() if job.participant == identity and not job.is_live]:
            # A job that has ended was for the last time this one was here.
            effects += [Evict(job.agent_sid, job.id)] if job.agent_sid else []
            self._shelve(place, job)
        waiting = dict.fromkeys(job.kind for job in place.jobs.values() if job.participant == identity)
        return [*effects, *self._want(place, now_ms), *self._serve(waiting, now_ms)]

    def person_published(self, room_sid: str, identity: str, now_ms: int) -> list[Effect]:
        """Somebody publishes; only the first time counts."""
        place = self.places.get(room_sid)
        presence = None if place is None else place.people.get(identity)
        if place is None or presence is None or presence.published_at_ms is not None:
            return []
        presence.published_at_ms = now_ms
        return self._want(place, now_ms)

    def person_left(self, room_sid: str, identity: str, now_ms: int, *, may_return: bool) -> list[Effect]:
        """Somebody is gone; an agent for who may return is kept, or at least its place in the queue."""
        place = self.places.get(room_sid)
        if place is None or place.people.pop(identity, None) is None or may_return:
            return []
        effects: list[Effect] = []
        for job in list(place.jobs.values()):
            if job.participant == identity and job.is_live and job.state != State.RUNNING:
                effects += self._end(job, State.CANCELLED, "whom it was for has left", now_ms)
        for job in place.old():
            self._shelve(place, job)
        return effects

    def _want(self, place: Place, now_ms: int) -> list[Effect]:
        oldest_ms = now_ms - self.limits.queue_timeout_ms
        jobs = list(place.wanted(self.books.kinds(oldest_ms), oldest_ms))
        effects = [effect for job in jobs for effect in self._add(place, job, now_ms)]
        return [*effects, *self._serve(dict.fromkeys(job.kind for job in jobs), now_ms)]

    def _add(self, place: Place, job: Job, now_ms: int) -> list[Effect]:
        place.jobs[job.id] = job
        job.created_at_ms, job.fence = now_ms, place.next_fence()
        job.wanted_until_ms = now_ms + self.limits.queue_timeout_ms
        effects: list[Effect] = [self.books.move(job, State.QUEUED, now_ms, "it is new", job.wanted_until_ms)]
        if self.books.counts[State.QUEUED] > self.limits.max_queue:
            effects += self._end(job, State.FAILED, QUEUE_FULL, now_ms)
        return effects

    ##### Workers

    def register(self, worker: Worker, now_ms: int) -> list[Effect]:
        """A worker is there; what waits for one like it is offered. Raises LimitError: there are too many."""
        if len(self.books.workers) >= self.limits.max_workers:
            raise LimitError("agent workers", self.limits.max_workers)
        self.books.enlist(worker)
        known = self.books.kinds(now_ms - self.limits.queue_timeout_ms)
        effects: list[Effect] = []
        for place in list(self.places.values()):
            for job in place.misjudged(known[worker.kind.agent_name, worker.kind.deployment]):
                effects += self._end(job, State.CANCELLED, f"its agent is for each {worker.kind.type_name}", now_ms)
                self._shelve(place, job)
            effects += self._want(place, now_ms)
        return [*effects, *self._serve([worker.kind], now_ms)]

    def update(
        self, worker_id: str, now_ms: int, *, status: int, load: float, job_count: int, seq: int, is_draining: bool
    ) -> list[Effect]:
        """A worker says how it is."""
        worker = self.books.workers.get(worker_id)
        if worker is None:
            return [Ignored(worker_id, "a report of a worker that is not registered")]
        if not worker.report(status=status, load=load, job_count=job_count, seq=seq, is_draining=is_draining):
            return [Ignored(worker_id, "a report that is older than its last one")]
        return self._serve([worker.kind], now_ms)

    def lose(self, worker_id: str, now_ms: int) -> list[Effect]:
        """A worker's connection is gone. Agents that are in their rooms stay there."""
        worker = self.books.workers.get(worker_id)
        if worker is None:
            return []
        held = [self.books.jobs[id] for id in sorted(worker.jobs)]
        self.books.strike_off(worker, now_ms)
        effects: list[Effect] = []
        for job in held:
            job.orphaned_at_ms = now_ms
            if job.state in (State.OFFERED, State.ACCEPTED):
                effects += self._requeue(job, "its worker was lost", now_ms)
            elif job.agent_sid:
                self.books.look_at(job, now_ms + SILENCE_MS)
            elif job.deadline_at_ms is not None:
                is_coming_back = job.state == State.RUNNING and not job.has_left
                patience_ms = SILENCE_MS if is_coming_back else LOST_WORKER_MS
                self.books.set_deadline(job, min(job.deadline_at_ms, now_ms + patience_ms))
        return [*effects, *self._serve([worker.kind], now_ms)]

    def adopt(self, worker_id: str, job_ids: Iterable[str], now_ms: int) -> list[Effect]:
        """A worker that lost its connection is back and says what it still does."""
        worker = self.books.workers.get(worker_id)
        effects: list[Effect] = []
        for id in job_ids if worker is not None else ():
            job = self.books.jobs.get(id)
            is_orphan = job is not None and job.worker_id not in self.books.workers
            if worker is None or job is None or not job.is_live or job.worker_id == worker_id:
                effects.append(Ignored(worker_id, "a job to take back that is not there, or its own"))
            elif is_orphan and job.state in (State.ASSIGNED, State.RUNNING) and job.kind == worker.kind:
                job.orphaned_at_ms = 0
                self.books.hand_back(job, worker)
                if job.state == State.ASSIGNED:
                    self.books.set_deadline(job, job.assigned_at_ms + self.limits.join_timeout_ms)
                elif not job.agent_sid:
                    self.books.set_deadline(job, now_ms + (VERDICT_MS if job.has_left else REJOIN_MS))
            else:
                # Somebody else has it, or will: what this worker does is the attempt before.
                effects.append(Terminate(worker_id, id))
        return effects

    def simulate(self, worker_id: str, room_sid: str, job_id: str, now_ms: int) -> list[Effect]:
        """A worker wants a job made up for itself, to try how it does it."""
        worker, place = self.books.workers.get(worker_id), self.places.get(room_sid)
        if worker is None or place is None:
            return [Ignored(worker_id, "a job to simulate in a room that is not there")]
        job = Job(job_id, worker.kind, "", room_sid, place.name, now_ms, pinned_to=worker_id, restarts=False)
        return [*self._add(place, job, now_ms), *self._serve([job.kind], now_ms)]

    ##### Offers and answers

    def _serve(self, kinds: Iterable[Kind], now_ms: int) -> list[Effect]:
        """Offer what waits to whom may take it, the oldest first."""
        effects: list[Effect] = []
        for kind in kinds:
            workers = self.books.workers_of(kind)
            for job in self.books.queue(kind) if workers else ():
                asked = [one for one in workers if one.takes(now_ms)]
                if not asked:
                    break
                place = self.places[job.room_sid]
                is_away = job.participant and job.participant not in place.people
                if is_away or job.wanted_until_ms <= now_ms:
                    continue  # it goes on when whom it is for is back, or it ends now
                if job.ready_at_ms > now_ms:
                    self.books.wake(kind, job.ready_at_ms)
                    continue
                willing = [one for one in asked if self._may_ask(one, job, now_ms)]
                if willing:
                    worker = select(willing, self.limits.target_load, self._draw)
                    effects += self._offer(job, worker, now_ms)
                elif later := [at_ms for at_ms in (*job.refused.values(), *job.asked.values()) if at_ms > now_ms]:
                    self.books.wake(kind, min(later))
            for worker in workers:
                if worker.paused_until_ms > now_ms and self.books.queue(kind):
                    self.books.wake(kind, worker.paused_until_ms)
        return effects

    def _may_ask(self, worker: Worker, job: Job, now_ms: int) -> bool:
        if job.pinned_to and job.pinned_to != worker.id:
            return False
        if job.refused.get(worker.id, 0) > now_ms or job.asked.get(worker.id, 0) > now_ms:
            return False
        job.refused.pop(worker.id, None)
        if job.asked.pop(worker.id, None) is not None:
            # It never answered, though another one was asked meanwhile.
            worker.strike(now_ms)
        return worker.takes(now_ms)

    def _offer(self, job: Job, worker: Worker, now_ms: int) -> list[Effect]:
        job.worker_id, job.orphaned_at_ms = worker.id, 0
        job.asked[worker.id] = now_ms + self.limits.answer_timeout_ms
        deadline_at_ms = now_ms + min(SLOW_MS, self.limits.answer_timeout_ms)
        moved = self.books.move(job, State.OFFERED, now_ms, "a worker is asked", deadline_at_ms)
        return [moved, Offer(worker.id, job)]

    def answer(self, worker_id: str, job_id: str, answer: Answer, now_ms: int) -> list[Effect]:
        """A worker answers an offer."""
        worker, job = self.books.workers.get(worker_id), self.books.jobs.get(job_id)
        is_open = job is not None and job.state in (State.QUEUED, State.OFFERED)
        if worker is None or job is None or not is_open or job.asked.pop(worker_id, 0) < now_ms:
            return [Ignored(worker_id, "an answer to no offer, or too late")]
        is_latest = job.state == State.OFFERED and job.worker_id == worker_id
        if answer.is_available:
            return self._accept(job, worker, answer, now_ms, is_latest=is_latest)
        if answer.is_final:
            return self._end(job, State.DONE, "its worker says that nobody needs to do it", now_ms, is_told=True)
        worker.refuse(now_ms)
        job.refused[worker_id] = now_ms + COOLDOWN_MS
        if job.pinned_to:
            return self._end(job, State.FAILED, "its worker refused it", now_ms)
        effects = self._requeue(job, "a worker refused it", now_ms) if is_latest else []
        return [*effects, *self._serve([job.kind], now_ms)]

    def _accept(self, job: Job, worker: Worker, answer: Answer, now_ms: int, *, is_latest: bool) -> list[Effect]:
        """A worker takes a job; others that were asked may answer what they like."""
        effects: list[Effect] = []
        if job.state == State.OFFERED and not is_latest:
            effects.append(self.books.move(job, State.QUEUED, now_ms, "another worker was sooner"))
        worker.refusals = 0
        worker.unreported += 1
        job.worker_id, job.orphaned_at_ms = worker.id, 0
        job.asked.clear()
        job.identity = answer.identity or f"agent-{job.id}"
        effects.append(self.books.move(job, State.ACCEPTED, now_ms, "a worker took it", now_ms + HAND_OVER_MS))
        return [*effects, Assign(worker.id, job, answer), *self._serve([job.kind], now_ms)]

    def hand_over(self, job_id: str, fence: int, now_ms: int) -> list[Effect]:
        """The token of an attempt is on its way to the worker."""
        job = self.books.jobs.get(job_id)
        if job is None or job.state != State.ACCEPTED or job.fence != fence:
            return []
        job.assigned_at_ms = now_ms
        deadline_at_ms = now_ms + self.limits.join_timeout_ms
        return [self.books.move(job, State.ASSIGNED, now_ms, "its agent has to join", deadline_at_ms)]

    def report(self, worker_id: str, job_id: str, status: int, error: str, now_ms: int) -> list[Effect]:
        """A worker says how a job of its own is."""
        job = self.books.jobs.get(job_id)
        has_it = job is not None and job.worker_id == worker_id and job.state in (State.ASSIGNED, State.RUNNING)
        if job is None or not has_it:
            return [Ignored(worker_id, "a report on a job that it does not have")]
        match status:
            case JobStatus.JS_RUNNING:
                # That it has begun shows when its agent joins; this is its word only.
                return []
            case JobStatus.JS_SUCCESS:
                return self._end(job, State.DONE, "its worker says that it is done", now_ms, is_told=True)
            case JobStatus.JS_FAILED:
                job.error = error[:MAX_ERROR]
                return self._retry(job, "its worker says that it failed", now_ms)
            case _:
                return [Ignored(worker_id, "a report that jobs never have")]

    ##### Agents

    def why_not(self, job_id: str, fence: int) -> str:
        """Why an agent with this token may not join; empty where it may."""
        job = self.books.jobs.get(job_id)
        if job is None or not job.is_live:
            return "the agent's job has ended"
        if job.fence != fence or job.state not in (State.ASSIGNED, State.RUNNING):
            return "the agent comes too late: its job is somebody else's"
        return ""

    def arrived(self, job_id: str, fence: int, agent_sid: str, now_ms: int) -> list[Effect]:
        """An agent is in its room, or back there."""
        job = self.books.jobs.get(job_id)
        if job is None or self.why_not(job_id, fence):
            return [Evict(agent_sid, job_id)]
        job.agent_sid, job.has_left = agent_sid, False
        if (worker := self.books.workers.get(job.worker_id)) is not None:
            worker.prove()
        if job.state == State.RUNNING:
            self.books.set_deadline(job, None)
            return []
        job.started_at_ms = job.started_at_ms or now_ms
        moved = self.books.move(job, State.RUNNING, now_ms, "its agent is in the room")
        # Its worker may take another one.
        return [moved, *self._serve([job.kind], now_ms)]

    def departed(self, job_id: str, agent_sid: str, departure: Departure, now_ms: int) -> list[Effect]:
        """An agent is not in its room any more."""
        job = self.books.jobs.get(job_id)
        if job is None or job.agent_sid != agent_sid:
            return []
        job.agent_sid = ""
        if not job.is_live:
            return []
        if departure == Departure.REMOVED:
            return self._end(job, State.CANCELLED, "its agent was sent away", now_ms)
        job.has_left = departure == Departure.LEFT
        job.reason = "its agent has left" if job.has_left else "its agent was cut off"
        deadline_at_ms = now_ms + (VERDICT_MS if job.has_left else REJOIN_MS)
        if job.orphaned_at_ms:
            # Both were lost at about the same time, by one cause; the agent still may come back.
            silence_ends_ms = 0 if job.has_left else job.orphaned_at_ms + SILENCE_MS
            deadline_at_ms = max(silence_ends_ms, now_ms + LOST_WORKER_MS)
        self.books.set_deadline(job, deadline_at_ms)
        return []

    def displaced(self, room_sid: str, identity: str, job_id: str, now_ms: int) -> list[Effect]:
        """Somebody joined who took the identity of whoever had it; of agents of other jobs as well."""
        place = self.places.get(room_sid)
        effects: list[Effect] = []
        for job in [] if place is None else list(place.jobs.values()):
            if job.state == State.RUNNING and not job.agent_sid and job.identity == identity and job.id != job_id:
                effects += self._end(job, State.DONE, "somebody else took its agent's identity", now_ms)
        return effects

    ##### Time

    @property
    def next_at_ms(self) -> int | None:
        """When :meth:`tick` has something to do; None for never."""
        return self.books.next_at_ms

    def tick(self, now_ms: int) -> list[Effect]:
        """Do what time alone brings."""
        effects: list[Effect] = []
        for what in self.books.due(now_ms):
            effects += self._expire(what, now_ms) if isinstance(what, Job) else self._serve([what], now_ms)
        return effects

    def _expire(self, job: Job, now_ms: int) -> list[Effect]:
        worker = self.books.workers.get(job.worker_id)
        is_looked_after, job.look_at_ms = bool(job.look_at_ms and job.agent_sid), 0
        if is_looked_after and job.is_live:
            return [LookAfter(job.agent_sid)] if worker is None else []
        if is_looked_after:
            return [Evict(job.agent_sid, job.id)]
        match job.state:
            case State.QUEUED:
                return self._end(job, State.FAILED, self._why_queued(job), now_ms)
            case State.OFFERED:
                return self._ask_another(job, worker, now_ms)
            case State.ACCEPTED:
                return [*self._requeue(job, "it was not handed over", now_ms), *self._serve([job.kind], now_ms)]
            case State.ASSIGNED:
                if worker is not None:
                    worker.strike(now_ms)
                return self._retry(job, "its agent did not join" if worker else "its worker was lost", now_ms)
            case State.RUNNING if job.has_left and (worker or not self.places[job.room_sid].people):
                return self._end(job, State.DONE, "its agent has left", now_ms)
            case State.RUNNING:
                # Processes of a worker that was killed say goodbye too, in the middle of a call.
                return self._retry(job, "its worker was lost" if job.has_left else "its agent was cut off", now_ms)
            case _:
                return []

    def _ask_another(self, job: Job, worker: Worker | None, now_ms: int) -> list[Effect]:
        """A worker is slow to answer, or does not at all."""
        until_ms = job.asked.get(job.worker_id, 0)
        if now_ms >= until_ms:
            job.asked.pop(job.worker_id, None)
            job.refused[job.worker_id] = now_ms + COOLDOWN_MS
            if worker is not None:
                worker.strike(now_ms)
            return [*self._requeue(job, "a worker did not answer", now_ms), *self._serve([job.kind], now_ms)]
        others = [one for one in self.books.workers_of(job.kind) if one.takes(now_ms)]
        if not any(self._may_ask(one, job, now_ms) for one in others):
            self.books.set_deadline(job, until_ms)
            return []
        return [*self._requeue(job, "a worker is slow to answer", now_ms), *self._serve([job.kind], now_ms)]

    def _why_queued(self, job: Job) -> str:
        """What a job waited for in vain."""
        if job.participant and job.participant not in self.places[job.room_sid].people:
            return "whom it was for did not come back"
        return why_none(self.books.workers_of(job.kind))

    ##### From one state to another

    def _requeue(self, job: Job, reason: str, now_ms: int) -> list[Effect]:
        """It waits again, as long as it would have; no agent has had it."""
        if job.state == State.ACCEPTED:
            job.fence = self.places[job.room_sid].next_fence()
        return [self.books.move(job, State.QUEUED, now_ms, reason, job.wanted_until_ms)]

    def _retry(self, job: Job, reason: str, now_ms: int) -> list[Effect]:
        """An attempt came to nothing: another one, unless it was the last. Whoever comes of it is too late."""
        job.failures += 1
        if job.pinned_to or (job.state == State.RUNNING and not job.restarts):
            return self._end(job, State.FAILED, reason, now_ms)
        if job.failures >= self.limits.max_attempts:
            return self._end(job, State.FAILED, f"{reason}, at attempt {job.failures} of as many", now_ms)
        effects: list[Effect] = [Terminate(job.worker_id, job.id)] if job.worker_id in self.books.workers else []
        effects += [Evict(job.agent_sid, job.id)] if job.agent_sid else []
        job.agent_sid = ""
        pause_ms = min(FIRST_BACKOFF_MS << min(job.failures - 2, 16), LONGEST_BACKOFF_MS) if job.failures > 1 else 0
        job.ready_at_ms = now_ms + pause_ms
        job.fence = self.places[job.room_sid].next_fence()
        job.wanted_until_ms = now_ms + self.limits.queue_timeout_ms
        job.refused.clear()
        job.asked.clear()
        job.has_left = False
        effects.append(self.books.move(job, State.QUEUED, now_ms, reason, job.wanted_until_ms))
        return [*effects, *self._serve([job.kind], now_ms)]

    def _end(self, job: Job, state: State, reason: str, now_ms: int, *, is_told: bool = False) -> list[Effect]:
        """It is over; its worker is told, unless it said so itself."""
        holds = job.state not in (State.QUEUED, State.OFFERED) and job.worker_id in self.books.workers
        effects: list[Effect] = [Terminate(job.worker_id, job.id)] if holds and not is_told else []
        is_pending = job.state in PENDING
        effects.append(self.books.move(job, state, now_ms, reason))
        if job.agent_sid:
            self.books.look_at(job, now_ms + EVICT_MS)
        # Its worker may take another one.
        return [*effects, *self._serve([job.kind], now_ms)] if is_pending else effects
