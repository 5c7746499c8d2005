"""What becomes of a job: every way that its worker, its agent, its room and time can take."""

from __future__ import annotations

import pytest
from tests.agents.stage import NO, Stage, running

from rtpcore.agents import Limits, State
from rtpcore.agents.effects import Answer
from rtpcore.agents.job import ALL_FULL, NO_WORKER, QUEUE_FULL
from rtpcore.errors import LimitError
from rtpcore.wire.messages import JobStatus, JobType


class TestTheUsualWay:
    def test_a_room_gets_an_agent_from_a_worker_without_a_name(self, stage: Stage) -> None:
        job_id = running(stage)
        assert stage.path(job_id) == ["queued", "offered", "accepted", "assigned", "running"]
        stage.leave(job_id)
        assert stage.state(job_id) == State.RUNNING, "it may come back, and its worker has not said how it went"
        stage.report(job_id, JobStatus.JS_SUCCESS)
        assert stage.state(job_id) == State.DONE
        assert not stage.terminated

    def test_a_room_without_agents_costs_nothing(self, stage: Stage) -> None:
        stage.room()
        assert not stage.effects
        assert stage.pool.next_at_ms is None

    def test_what_an_agent_is_called_is_its_workers_choice(self, stage: Stage) -> None:
        stage.worker()
        stage.room()
        job_id = stage.say(answer=Answer(is_available=True, identity="helper"))
        assert stage.pool.books.jobs[job_id].identity == "helper"

    def test_a_named_agent_comes_only_where_it_is_asked_for(self, stage: Stage) -> None:
        stage.worker("AW_1", "helper")
        stage.room("RM_1")
        stage.room("RM_2", "helper")
        assert [job.room_sid for job in stage.jobs] == ["RM_2"]

    def test_each_participant_gets_its_own(self, stage: Stage) -> None:
        stage.worker(type=JobType.JT_PARTICIPANT)
        stage.room()
        stage.person("ada")
        stage.person("bob")
        assert sorted(job.participant for job in stage.jobs) == ["ada", "bob"]

    def test_each_publisher_gets_its_own_once(self, stage: Stage) -> None:
        stage.worker(type=JobType.JT_PUBLISHER)
        stage.room()
        stage.person("ada", publishes=True)
        stage.person("bob")
        stage.do(stage.pool.person_published("RM_1", "ada", stage.now_ms))
        assert [job.participant for job in stage.jobs] == ["ada"]

    def test_ids_follow_from_what_jobs_are_for(self) -> None:
        ids = []
        for seed in (1, 2):
            stage = Stage(seed=seed)
            stage.worker()
            stage.room()
            ids += [job.id for job in stage.jobs]
        assert ids[0] == ids[1]


class TestWaiting:
    def test_a_worker_that_registers_late_gets_what_waits_the_oldest_first(self, stage: Stage) -> None:
        for number in range(3):
            stage.room(f"RM_{number}", "helper")
            stage.wait(1000)
        assert [job.state for job in stage.jobs] == [State.QUEUED] * 3
        stage.worker("AW_1", "helper")
        rooms = [stage.pool.books.jobs[job_id].room_sid for job_id in stage.offers["AW_1"]]
        assert rooms == ["RM_0", "RM_1", "RM_2"]

    def test_a_worker_without_a_name_gets_the_rooms_of_the_last_minutes(self, stage: Stage) -> None:
        stage.room("RM_old")
        stage.wait(300_000)
        stage.room("RM_new")
        stage.worker()
        assert [job.room_sid for job in stage.jobs] == ["RM_new"]

    def test_a_full_pool_lets_jobs_wait(self, stage: Stage) -> None:
        stage.worker()
        stage.update(full=True)
        stage.room()
        (job,) = stage.jobs
        assert job.state == State.QUEUED
        stage.wait(60_000)
        stage.update()
        assert stage.say() == job.id

    @pytest.mark.parametrize(("has_worker", "reason"), [(False, NO_WORKER), (True, ALL_FULL)])
    def test_what_waited_too_long_has_failed_with_a_reason(self, stage: Stage, has_worker: bool, reason: str) -> None:
        if has_worker:
            stage.worker("AW_1", "helper")
            stage.update(full=True)
        stage.room("RM_1", "helper")
        stage.wait(299_000)
        (job,) = stage.jobs
        assert job.state == State.QUEUED
        stage.wait(2000)
        assert (job.state, job.reason) == (State.FAILED, reason)
        assert not stage.pool.books.queue(job.kind)

    def test_a_queue_that_is_full_takes_no_more(self) -> None:
        stage = Stage(Limits(max_queue=2))
        for number in range(3):
            stage.room(f"RM_{number}", "helper")
        assert [job.state for job in stage.jobs] == [State.QUEUED, State.QUEUED, State.FAILED]
        assert stage.jobs[2].reason == QUEUE_FULL

    def test_nobody_knows_how_an_agent_works_until_one_says_so(self, stage: Stage) -> None:
        stage.room("RM_1", "helper")
        stage.person("ada")
        (guessed,) = stage.jobs
        stage.worker("AW_1", "helper", JobType.JT_PARTICIPANT)
        assert guessed.state == State.CANCELLED
        (job_id,) = stage.offers["AW_1"]
        assert stage.pool.books.jobs[job_id].participant == "ada"
        assert guessed.id not in stage.pool.books.jobs

    def test_whose_workers_are_gone_for_a_moment_still_waits(self, stage: Stage) -> None:
        stage.worker()
        stage.lose()
        stage.room()
        (job,) = stage.jobs
        stage.worker("AW_2")
        assert stage.say("AW_2") == job.id


class TestAnswers:
    def test_who_refuses_is_not_asked_again_at_once_but_others_are(self, stage: Stage) -> None:
        stage.worker("AW_1")
        stage.worker("AW_2")
        stage.room()
        first = next(iter(stage.offers))
        other = {"AW_1": "AW_2", "AW_2": "AW_1"}[first]
        job_id = stage.say(first, NO)
        assert stage.offers[other] == [job_id]
        stage.say(other, NO)
        assert stage.state(job_id) == State.QUEUED
        stage.wait(5000)
        assert stage.offers[first] or stage.offers[other], "after a while they are asked again"

    def test_who_does_not_answer_loses_it_and_answers_in_vain(self, stage: Stage) -> None:
        stage.worker("AW_1")
        stage.room()
        stage.worker("AW_2")
        stage.wait(2000)
        (job_id,) = stage.offers["AW_2"]
        stage.wait(8001)
        stage.say("AW_1")
        assert stage.ignored == ["an answer to no offer, or too late"]
        stage.say("AW_2")
        assert stage.pool.books.jobs[job_id].worker_id == "AW_2"
        assert [worker for worker, _ in stage.tokens[job_id]] == ["AW_2"]

    @pytest.mark.parametrize(("first", "second"), [("AW_1", "AW_2"), ("AW_2", "AW_1")])
    def test_where_one_is_slow_another_is_asked_and_the_first_yes_counts(
        self, stage: Stage, first: str, second: str
    ) -> None:
        stage.worker("AW_1")
        stage.room()
        stage.worker("AW_2")
        stage.wait(3000)
        job_id = stage.say(first)
        stage.say(second)
        assert [worker for worker, _ in stage.tokens[job_id]] == [first]
        assert stage.ignored == ["an answer to no offer, or too late"]
        assert stage.join(job_id)
        assert [worker.pending for worker in stage.pool.books.workers.values()] == [0, 0]

    def test_a_slow_no_takes_nothing_from_the_other(self, stage: Stage) -> None:
        stage.worker("AW_1")
        stage.room()
        stage.worker("AW_2")
        stage.wait(3000)
        stage.say("AW_1", NO)
        assert stage.join(stage.say("AW_2"))

    def test_where_nobody_else_is_there_it_has_its_time(self, stage: Stage) -> None:
        worker = stage.worker("AW_1")
        stage.room()
        stage.wait(9000)
        assert stage.join(stage.say("AW_1"))
        assert worker.strikes == 0

    def test_a_second_answer_means_nothing(self, stage: Stage) -> None:
        job_id = running(stage)
        stage.do(stage.pool.answer("AW_1", job_id, Answer(is_available=True), stage.now_ms))
        stage.do(stage.pool.answer("AW_1", job_id, NO, stage.now_ms))
        assert len(stage.ignored) == 2
        assert stage.state(job_id) == State.RUNNING
        assert len(stage.tokens[job_id]) == 1

    def test_answers_about_jobs_that_are_not_there_or_somebody_elses_mean_nothing(self, stage: Stage) -> None:
        job_id = running(stage)
        stage.worker("AW_2")
        for id in ("AJ_nothing", "", job_id):
            stage.do(stage.pool.answer("AW_2", id, Answer(is_available=True), stage.now_ms))
            stage.report(id, JobStatus.JS_FAILED, "AW_2")
        assert len(stage.ignored) == 6
        assert stage.state(job_id) == State.RUNNING

    def test_a_worker_may_say_that_nobody_needs_to(self, stage: Stage) -> None:
        stage.worker()
        stage.room()
        job_id = stage.say(answer=Answer(is_available=False, is_final=True))
        assert stage.state(job_id) == State.DONE
        assert not stage.tokens

    def test_who_is_full_and_does_not_say_so_is_left_alone_until_its_next_report(self, stage: Stage) -> None:
        stage.worker()
        for number in range(5):
            stage.room(f"RM_{number}")
        for _ in range(5):
            stage.say(answer=NO)
        stage.room("RM_more")
        assert not stage.offers["AW_1"]
        stage.update()
        assert len(stage.offers["AW_1"]) == 1, "the one that it was not asked about"


class TestChoosing:
    def test_the_less_loaded_gets_more(self, stage: Stage) -> None:
        stage.worker("AW_1")
        stage.worker("AW_2")
        got = {"AW_1": 0, "AW_2": 0}
        for number in range(200):
            stage.update("AW_1", load=0.6)
            stage.update("AW_2", load=0.1)
            stage.room(f"RM_{number}")
            (chosen,) = [worker for worker, jobs in stage.offers.items() if jobs]
            got[chosen] += 1
            stage.join(stage.say(chosen))
        assert 0.5 < got["AW_1"] / got["AW_2"] * 0.9 / 0.4 < 2

    def test_those_above_the_target_get_one_only_where_all_are(self, stage: Stage) -> None:
        stage.worker("AW_1")
        stage.worker("AW_2")
        stage.update("AW_1", load=0.75)
        for number in range(20):
            stage.update("AW_2", load=0.1)
            stage.room(f"RM_{number}")
            stage.join(stage.say("AW_2"))
        stage.update("AW_2", load=0.99)
        stage.room("RM_last")
        assert any(stage.offers.values())

    def test_a_burst_between_two_reports_is_spread(self, stage: Stage) -> None:
        for name in ("AW_1", "AW_2", "AW_3"):
            stage.worker(name)
        got = dict.fromkeys(("AW_1", "AW_2", "AW_3"), 0)
        for number in range(30):
            stage.room(f"RM_{number}")
            (chosen,) = [worker for worker, jobs in stage.offers.items() if jobs]
            got[chosen] += 1
            stage.say(chosen)
        assert min(got.values()) >= 5

    def test_there_may_be_only_so_many_workers(self) -> None:
        stage = Stage(Limits(max_workers=1))
        stage.worker("AW_1")
        with pytest.raises(LimitError, match="more than 1 agent workers"):
            stage.worker("AW_2")

    def test_a_slow_worker_does_not_hold_the_queue(self, stage: Stage) -> None:
        stage.worker("AW_1")
        for number in range(50):
            stage.room(f"RM_{number}")
        assert len(stage.offers["AW_1"]) == 20
        stage.worker("AW_2")
        assert len(stage.offers["AW_2"]) == 20
        job_id = stage.say("AW_1")
        assert len(stage.offers["AW_1"]) == 19, "what it took is work as well"
        stage.join(job_id)
        assert len(stage.offers["AW_1"]) == 20
