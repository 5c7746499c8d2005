"""Every event in every order: no job is lost, none has two agents, and the books agree."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.agents.stage import NO, YES, Stage

from rtpcore.agents import Dispatch, Job, Limits, State, Worker
from rtpcore.agents.effects import Answer, Assign, Moved, Offer, Terminate
from rtpcore.agents.job import LIVE, PENDING, WITH_WORKER
from rtpcore.agents.limits import Departure
from rtpcore.wire.messages import JobStatus, JobType

ROOMS = st.sampled_from([0, 0, 1])
NAMES = st.sampled_from(["", "", "helper"])
TYPES = st.sampled_from([JobType.JT_ROOM, JobType.JT_ROOM, JobType.JT_PARTICIPANT, JobType.JT_PUBLISHER])
PEOPLE = st.sampled_from(["ada", "bob"])
NUMBERS = st.integers(0, 1000)
ANSWERS = st.sampled_from([YES, YES, YES, NO, Answer(is_available=False, is_final=True)])
STATUSES = st.sampled_from([*JobStatus.values(), 99])
TIMES = st.sampled_from([0, 1, 300, 1000, 1000, 2000, 2000, 5000, 5000, 10_000, 15_000, 60_000, 300_000])


class Watched(Stage):
    """A stage that looks at each effect as it comes."""

    def do(self, effects):  # type: ignore[no-untyped-def]
        effects = list(effects)
        workers = self.pool.books.workers
        for effect in effects:
            match effect:
                case Offer(worker_id, job):
                    assert workers[worker_id].kind == job.kind
                    assert job.pinned_to in ("", worker_id)
                case Assign(worker_id, job, _):
                    assert worker_id in workers
                    assert all(fence < job.fence for _, fence in self.tokens.get(job.id, [])), "a token of its own"
                case Terminate(worker_id, _):
                    assert worker_id in workers
                case Moved(job, before, lasted_ms):
                    assert before != job.state
                    assert lasted_ms >= 0
                    assert before in LIVE or before is None, "what has ended stays so"
                    assert job.reason
        return super().do(effects)


class Agents(RuleBasedStateMachine):
    """A pool, and everything that can happen to it."""

    @initialize(attempts=st.integers(1, 4), queue=st.sampled_from([2, 1000]))
    def begin(self, attempts: int, queue: int) -> None:
        self.stage = Watched(Limits(max_attempts=attempts, max_queue=queue))
        self.numbers = iter(range(1_000_000))
        self.issued: list[tuple[str, int]] = []
        self.sids = ["RM_first", "RM_none"]
        self.stage.room("RM_first")
        self.stage.worker("AW_first")
        self.stage.person("ada", "RM_first", publishes=True)

    @property
    def books(self):  # type: ignore[no-untyped-def]
        return self.stage.pool.books

    def worker_of(self, number: int) -> str:
        """One of those that are there, or nobody."""
        ids = [*self.books.workers, "AW_nobody"]
        return ids[number % len(ids)]

    def job_of(self, number: int) -> str:
        """One of those that there are or were, or none."""
        ids = [*(job.id for job in self.stage.jobs), "AJ_nothing"]
        return ids[number % len(ids)]

    ##### Rooms

    @rule(room=ROOMS, names=st.lists(NAMES, max_size=2, unique=True))
    def open_room(self, room: int, names: list[str]) -> None:
        if self.sids[room] not in self.stage.pool.places:
            # A sid is never used twice.
            self.sids[room] = f"RM_{next(self.numbers)}"
            self.stage.room(self.sids[room], *names)

    @rule(room=ROOMS, number=NUMBERS)
    def close_room(self, room: int, number: int) -> None:
        if number % 4 == 0:
            self.stage.close(self.sids[room])

    @rule(room=ROOMS, identity=PEOPLE, publishes=st.booleans())
    def person_comes(self, room: int, identity: str, publishes: bool) -> None:
        self.stage.person(identity, self.sids[room], publishes=publishes)

    @rule(room=ROOMS, identity=PEOPLE, may_return=st.booleans())
    def person_goes(self, room: int, identity: str, may_return: bool) -> None:
        pool = self.stage.pool
        self.stage.do(pool.person_left(self.sids[room], identity, self.stage.now_ms, may_return=may_return))

    @rule(room=ROOMS, name=NAMES, restarts=st.booleans())
    def dispatch(self, room: int, name: str, restarts: bool) -> None:
        pool, sid = self.stage.pool, self.sids[room]
        if sid in pool.places and len(pool.places[sid].dispatches) < 4:
            wish = Dispatch(f"AD_{next(self.numbers)}", name, self.stage.now_ms, restarts=restarts)
            self.stage.do(pool.dispatch(sid, wish, self.stage.now_ms))

    @rule(room=ROOMS, number=NUMBERS)
    def withdraw(self, room: int, number: int) -> None:
        pool, sid = self.stage.pool, self.sids[room]
        if sid in pool.places:
            ids = [*pool.places[sid].dispatches, "AD_nothing"]
            self.stage.do(pool.withdraw(sid, ids[number % len(ids)], self.stage.now_ms))

    ##### Workers

    @rule(name=NAMES, type=TYPES, number=NUMBERS)
    def register(self, name: str, type: int, number: int) -> None:
        if len(self.books.workers) < 5:
            worker = self.stage.worker(f"AW_{next(self.numbers)}", name, type)
            if number % 2:
                self.stage.do(self.stage.pool.adopt(worker.id, [self.job_of(number)], self.stage.now_ms))

    @rule(number=NUMBERS)
    def lose(self, number: int) -> None:
        self.stage.lose(self.worker_of(number))

    @rule(number=NUMBERS, load=st.floats(), seq=st.integers(0, 5), full=st.booleans(), draining=st.booleans())
    def update(self, number: int, load: float, seq: int, full: bool, draining: bool) -> None:
        self.stage.update(self.worker_of(number), load, seq, full=full, draining=draining)

    @rule(number=NUMBERS, answer=ANSWERS)
    def answer(self, number: int, answer: Answer) -> None:
        asked = [worker for worker, jobs in self.stage.offers.items() if jobs]
        if asked:
            job_id = self.stage.say(asked[number % len(asked)], answer)
            self.issued += [(job_id, fence) for _, fence in self.stage.tokens.get(job_id, [])[-1:]]

    @rule()
    def everybody_does_as_asked(self) -> None:
        for worker_id in list(self.stage.offers):
            while self.stage.offers.get(worker_id):
                job_id = self.stage.say(worker_id, YES)
                self.issued += [(job_id, fence) for _, fence in self.stage.tokens.get(job_id, [])[-1:]]
        self.agents_join()

    @rule()
    def agents_join(self) -> None:
        for job in list(self.books.jobs.values()):
            if job.state == State.ASSIGNED:
                assert self.stage.join(job.id)

    @rule(number=NUMBERS, other=NUMBERS, answer=ANSWERS)
    def answer_unasked(self, number: int, other: int, answer: Answer) -> None:
        effects = self.stage.pool.answer(self.worker_of(number), self.job_of(other), answer, self.stage.now_ms)
        self.stage.do(effects)

    @rule(number=NUMBERS, other=NUMBERS, status=STATUSES)
    def report(self, number: int, other: int, status: int) -> None:
        self.stage.report(self.job_of(other), status, self.worker_of(number))

    @rule(number=NUMBERS, status=st.sampled_from([JobStatus.JS_FAILED, JobStatus.JS_FAILED, JobStatus.JS_SUCCESS]))
    def report_own(self, number: int, status: int) -> None:
        own = [job for job in self.books.jobs.values() if job.state in (State.ASSIGNED, State.RUNNING)]
        if own:
            job = own[number % len(own)]
            self.stage.report(job.id, status, job.worker_id)

    @rule(number=NUMBERS, room=ROOMS)
    def simulate(self, number: int, room: int) -> None:
        job_id, sid = f"AJ_{next(self.numbers)}", self.sids[room]
        self.stage.do(self.stage.pool.simulate(self.worker_of(number), sid, job_id, self.stage.now_ms))

    ##### Agents

    @rule(number=NUMBERS)
    def agent_comes_with_any_token(self, number: int) -> None:
        if self.issued:
            job_id, fence = self.issued[number % len(self.issued)]
            self.stage.join(job_id, fence)

    @rule(number=NUMBERS, departure=st.sampled_from(Departure))
    def agent_goes(self, number: int, departure: Departure) -> None:
        inside = list(self.stage.inside)
        if inside:
            self.stage.leave(inside[number % len(inside)], departure=departure)

    @rule(is_attached=st.booleans())
    def sockets_go_or_come(self, is_attached: bool) -> None:
        there = {sid for inside in self.stage.inside.values() for sid in inside}
        self.stage.attached = there if is_attached else set()

    @rule(ms=TIMES)
    def time_passes(self, ms: int) -> None:
        self.stage.wait(ms)

    ##### What always holds

    @invariant()
    def no_job_has_two_agents(self) -> None:
        for job_id, there in getattr(self, "stage", Stage()).inside.items():
            assert len(there) == 1
            job = self.books.jobs.get(job_id)
            ((sid, fence),) = there.items()
            if job is not None and job.is_live:
                assert (job.state, job.agent_sid, job.fence) == (State.RUNNING, sid, fence)

    @invariant()
    def every_job_that_has_not_ended_has_an_agent_or_a_deadline(self) -> None:
        for job in self.books.jobs.values():
            if job.is_live and not (job.state == State.RUNNING and job.agent_sid):
                assert job.deadline_at_ms is not None
                assert job.deadline_at_ms >= self.stage.now_ms or job.deadline_at_ms >= self.books.next_at_ms
                assert self.books.next_at_ms <= job.deadline_at_ms
            elif job.is_live:
                assert job.deadline_at_ms is None

    @invariant()
    def nothing_waits_that_somebody_could_do(self) -> None:
        now_ms = self.stage.now_ms
        for job in self.books.jobs.values():
            place = self.stage.pool.places[job.room_sid]
            is_there = not job.participant or job.participant in place.people
            if job.state == State.QUEUED and job.ready_at_ms <= now_ms < job.wanted_until_ms and is_there:
                for worker in self.books.workers_of(job.kind):
                    assert not self.could(worker, job)

    def could(self, worker: Worker, job: Job) -> bool:
        now_ms = self.stage.now_ms
        is_free = job.refused.get(worker.id, 0) <= now_ms and job.asked.get(worker.id, 0) <= now_ms
        may = job.pinned_to in ("", worker.id) and is_free
        return may and worker.takes(now_ms)

    @invariant()
    def the_books_agree(self) -> None:
        books, jobs = self.books, list(self.books.jobs.values())
        for worker in books.workers.values():
            mine = {job.id: job.state for job in jobs if job.worker_id == worker.id and job.state in WITH_WORKER}
            assert worker.jobs == set(mine)
            assert worker.pending == sum(state in PENDING for state in mine.values())
        for state in LIVE:
            assert books.counts[state] == sum(job.state == state for job in jobs)
        assert {job.id for job in books.queued} == {job.id for job in jobs if job.state == State.QUEUED}
        for place in self.stage.pool.places.values():
            assert all(books.jobs[job.id] is job for job in place.jobs.values())
        assert sum(len(place.jobs) for place in self.stage.pool.places.values()) == len(jobs)
        for job in jobs:
            # A worker that could still bring an agent is known, or it has little time.
            if job.state in (State.OFFERED, State.ACCEPTED):
                assert job.worker_id in books.workers

    def teardown(self) -> None:
        if hasattr(self, "stage"):
            self.stage.wait(7_200_000)
            for job in self.books.jobs.values():
                assert not job.is_live or (job.state == State.RUNNING and job.agent_sid), job
            for job_id in self.stage.inside:
                assert self.books.jobs[job_id].is_live, "who has no job any more is sent away"


Agents.TestCase.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
TestAgents = Agents.TestCase
