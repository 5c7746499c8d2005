"""What becomes of jobs whose workers, agents or rooms are lost."""

from __future__ import annotations

import pytest
from tests.agents.stage import NO, Stage, running

from rtpcore.agents import Dispatch, Limits, State
from rtpcore.agents.effects import Answer, Evict
from rtpcore.agents.limits import Departure
from rtpcore.errors import LimitError
from rtpcore.wire.messages import JobStatus, JobType


class TestWorkersThatFail:
    def test_one_that_dies_while_it_is_asked(self, stage: Stage) -> None:
        stage.worker("AW_1")
        stage.room()
        stage.worker("AW_2")
        stage.lose("AW_1")
        assert stage.join(stage.say("AW_2"))

    def test_one_that_dies_between_yes_and_joining(self, stage: Stage) -> None:
        stage.worker("AW_1")
        stage.room()
        job_id = stage.say("AW_1")
        stage.worker("AW_2")
        stage.lose("AW_1")
        stage.wait(2000)
        late = stage.tokens[job_id][0][1]
        assert not stage.join(job_id, late), "it comes too late"
        assert stage.say("AW_2") == job_id
        assert not stage.join(job_id, late)
        assert stage.join(job_id)
        assert list(stage.inside[job_id].values()) == [stage.pool.books.jobs[job_id].fence]

    def test_one_that_lost_only_its_socket_still_brings_its_agent(self, stage: Stage) -> None:
        stage.worker("AW_1")
        stage.room()
        job_id = stage.say("AW_1")
        stage.lose("AW_1")
        stage.wait(1000)
        assert stage.join(job_id)
        stage.wait(3_600_000)
        assert stage.state(job_id) == State.RUNNING

    def test_one_whose_agent_never_comes_is_left_alone_longer_each_time(self, stage: Stage) -> None:
        worker = stage.worker("AW_1")
        stage.room()
        job_id = stage.say("AW_1")
        stage.wait(60_000)
        assert stage.terminated == [("AW_1", job_id)]
        assert worker.strikes == 1
        assert not stage.offers["AW_1"]
        stage.wait(1000)
        assert stage.offers["AW_1"] == [job_id]
        stage.say("AW_1")
        stage.wait(60_000)
        assert worker.paused_until_ms - stage.now_ms == 2000

    def test_an_agent_that_crashes_is_replaced(self, stage: Stage) -> None:
        job_id = running(stage)
        stage.report(job_id, JobStatus.JS_FAILED)
        assert not stage.inside, "what is left of it is sent away"
        assert stage.say() == job_id
        assert stage.join(job_id)
        assert stage.pool.books.jobs[job_id].failures == 1

    def test_but_not_where_that_is_not_wanted(self, stage: Stage) -> None:
        stage.worker("AW_1", "helper")
        stage.room()
        stage.do(stage.pool.dispatch("RM_1", Dispatch("AD_x", "helper", stage.now_ms, restarts=False), stage.now_ms))
        job_id = stage.say()
        stage.join(job_id)
        stage.report(job_id, JobStatus.JS_FAILED)
        assert stage.state(job_id) == State.FAILED

    def test_one_that_always_crashes_has_failed_in_the_end(self, stage: Stage) -> None:
        job_id = running(stage)
        for _ in range(4):
            stage.report(job_id, JobStatus.JS_FAILED)
            while not stage.offers["AW_1"]:
                stage.wait(1000)
            stage.say()
            stage.join(job_id)
        stage.report(job_id, JobStatus.JS_FAILED)
        assert stage.state(job_id) == State.FAILED
        assert "attempt 5" in next(job.reason for job in stage.jobs)
        stage.wait(60_000)
        assert not stage.inside
        assert not stage.offers["AW_1"]

    def test_one_that_dies_while_its_agent_stays(self, stage: Stage) -> None:
        job_id = running(stage)
        stage.lose()
        stage.wait(3_600_000)
        assert stage.state(job_id) == State.RUNNING
        stage.worker("AW_2")
        stage.do(stage.pool.adopt("AW_2", [job_id], stage.now_ms))
        stage.leave(job_id)
        stage.report(job_id, JobStatus.JS_SUCCESS, "AW_2")
        assert stage.state(job_id) == State.DONE

    def test_one_that_dies_with_its_agent_which_says_nothing(self, stage: Stage) -> None:
        job_id = running(stage)
        stage.attached.clear()
        stage.lose()
        stage.worker("AW_2")
        stage.wait(9000)
        assert stage.state(job_id) == State.RUNNING, "both may have lost their sockets for a moment"
        stage.wait(3000)
        assert stage.say("AW_2") == job_id
        assert stage.join(job_id)

    def test_one_that_is_back_in_time_with_its_agent(self, stage: Stage) -> None:
        job_id = running(stage)
        stage.attached.clear()
        stage.lose()
        stage.wait(5000)
        stage.worker("AW_2")
        stage.do(stage.pool.adopt("AW_2", [job_id], stage.now_ms))
        stage.wait(3_600_000)
        assert stage.state(job_id) == State.RUNNING

    def test_one_that_is_back_before_its_agent(self, stage: Stage) -> None:
        job_id = running(stage)
        stage.leave(job_id, departure=Departure.LOST)
        stage.lose()
        stage.wait(5000)
        stage.worker("AW_2")
        stage.do(stage.pool.adopt("AW_2", [job_id], stage.now_ms))
        stage.wait(14_000)
        assert stage.join(job_id)
        stage.wait(3_600_000)
        assert stage.state(job_id) == State.RUNNING

    def test_one_that_ends_a_while_after_its_agents(self, stage: Stage) -> None:
        job_id = running(stage)
        stage.person("ada")
        stage.leave(job_id)
        stage.wait(20_000)
        stage.worker("AW_2")
        stage.lose("AW_1")
        stage.wait(2000)
        assert stage.say("AW_2") == job_id

    def test_one_that_dies_with_its_agent(self, stage: Stage) -> None:
        job_id = running(stage)
        stage.lose()
        stage.wait(3000)
        stage.leave(job_id, departure=Departure.LOST)
        stage.worker("AW_2")
        stage.wait(6000)
        assert stage.state(job_id) == State.RUNNING, "the agent connects anew, perhaps"
        stage.wait(1000)
        assert stage.say("AW_2") == job_id
        assert stage.join(job_id)

    @pytest.mark.parametrize(("is_somebody_there", "state"), [(True, "assigned"), (False, "done")])
    def test_one_that_dies_and_its_agent_says_goodbye(self, stage: Stage, is_somebody_there: bool, state: str) -> None:
        job_id = running(stage)
        if is_somebody_there:
            stage.person("ada")
        stage.lose()
        stage.leave(job_id)
        stage.wait(2000)
        stage.worker("AW_2")
        if is_somebody_there:
            stage.say("AW_2")
        assert stage.state(job_id).value == state

    def test_what_somebody_else_does_by_now_is_not_taken_back(self, stage: Stage) -> None:
        stage.worker("AW_1")
        stage.room()
        job_id = stage.say("AW_1")
        stage.worker("AW_2")
        stage.lose("AW_1")
        stage.wait(2000)
        stage.say("AW_2")
        stage.worker("AW_3")
        stage.do(stage.pool.adopt("AW_3", [job_id, "AJ_nothing"], stage.now_ms))
        assert stage.terminated == [("AW_3", job_id)]
        assert stage.pool.books.jobs[job_id].worker_id == "AW_2"

    def test_one_that_drains_keeps_what_it_has_and_gets_no_more(self, stage: Stage) -> None:
        job_id = running(stage)
        stage.update(draining=True, full=True)
        stage.room("RM_2")
        assert stage.state(job_id) == State.RUNNING
        assert not stage.offers["AW_1"]

    def test_reports_that_come_out_of_order_mean_nothing(self, stage: Stage) -> None:
        worker = stage.worker()
        stage.update(load=0.5, seq=7)
        for seq in (7, 6, 1):
            stage.update(load=0.0, seq=seq)
        assert worker.load == 0.5
        assert len(stage.ignored) == 3
        stage.update(load=0.25)
        assert worker.load == 0.25, "one without a number is not compared"

    @pytest.mark.parametrize(("said", "meant"), [(float("nan"), 1.0), (-3.0, 0.0), (7.0, 1.0), (float("inf"), 1.0)])
    def test_loads_that_are_none(self, stage: Stage, said: float, meant: float) -> None:
        worker = stage.worker()
        stage.update(load=said)
        assert worker.load == meant


class TestAgents:
    def test_one_that_is_cut_off_may_come_back(self, stage: Stage) -> None:
        job_id = running(stage)
        stage.leave(job_id, departure=Departure.LOST)
        stage.wait(10_000)
        assert stage.join(job_id)
        stage.wait(60_000)
        assert stage.state(job_id) == State.RUNNING
        assert len(stage.tokens[job_id]) == 1

    def test_one_that_does_not_is_replaced_and_then_comes_too_late(self, stage: Stage) -> None:
        job_id = running(stage)
        late = stage.tokens[job_id][0][1]
        stage.leave(job_id, departure=Departure.LOST)
        stage.wait(15_000)
        assert not stage.join(job_id, late)
        stage.say()
        assert stage.join(job_id)
        assert not stage.join(job_id, late)

    def test_one_that_left_may_come_back_too_for_a_moment(self, stage: Stage) -> None:
        job_id = running(stage)
        stage.leave(job_id)
        stage.wait(29_000)
        assert stage.join(job_id)
        stage.leave(job_id)
        stage.wait(30_000)
        assert stage.state(job_id) == State.DONE
        assert stage.terminated == [("AW_1", job_id)]
        assert not stage.join(job_id)

    def test_one_that_is_sent_away_is_not_replaced(self, stage: Stage) -> None:
        job_id = running(stage)
        stage.leave(job_id, departure=Departure.REMOVED)
        assert stage.state(job_id) == State.CANCELLED
        assert stage.terminated == [("AW_1", job_id)]
        stage.wait(60_000)
        assert not stage.offers["AW_1"]

    def test_two_agents_with_one_identity_do_not_fight(self, stage: Stage) -> None:
        stage.worker("AW_1", "one")
        stage.worker("AW_2", "two")
        stage.room("RM_1", "one", "two")
        taken = Answer(is_available=True, identity="agent")
        first, second = stage.say("AW_1", taken), stage.say("AW_2", taken)
        stage.join(first)
        stage.leave(first, departure=Departure.REPLACED)
        stage.join(second)
        stage.do(stage.pool.displaced("RM_1", "agent", second, stage.now_ms))
        assert (stage.state(first), stage.state(second)) == (State.DONE, State.RUNNING)

    def test_a_token_says_nothing_of_a_job_that_there_is_not(self, stage: Stage) -> None:
        assert stage.pool.why_not("AJ_nothing", 1)
        (evict,) = stage.pool.arrived("AJ_nothing", 1, "PA_1", 0)
        assert evict == Evict("PA_1", "AJ_nothing")


class TestRooms:
    def test_a_closed_room_ends_what_is_under_way(self, stage: Stage) -> None:
        job_id = running(stage)
        stage.room("RM_2")
        (offered,) = stage.offers["AW_1"]
        stage.close("RM_2")
        stage.close("RM_1")
        assert (stage.state(job_id), stage.state(offered)) == (State.DONE, State.CANCELLED)
        assert stage.terminated == [("AW_1", job_id)]
        stage.say()
        assert stage.ignored == ["an answer to no offer, or too late"]
        assert not stage.pool.books.jobs
        assert not stage.pool.books.workers["AW_1"].jobs
        assert stage.pool.books.workers["AW_1"].pending == 0

    def test_what_waits_in_a_closed_room_is_offered_to_nobody(self, stage: Stage) -> None:
        stage.worker("AW_1")
        stage.room("RM_1")
        for number in range(25):
            stage.do(stage.pool.simulate("AW_1", "RM_1", f"AJ_{number}", stage.now_ms))
        asked = len(stage.offers["AW_1"])
        assert asked == 20
        stage.close("RM_1")
        assert len(stage.offers["AW_1"]) == asked
        assert {job.state for job in stage.jobs} == {State.CANCELLED}

    def test_a_deleted_dispatch_ends_its_job_and_the_agent_has_a_moment(self, stage: Stage) -> None:
        job_id = running(stage)
        stage.do(stage.pool.withdraw("RM_1", "AD_RM_1", stage.now_ms))
        assert stage.state(job_id) == State.CANCELLED
        assert stage.terminated == [("AW_1", job_id)]
        stage.wait(2900)
        assert stage.inside
        stage.wait(200)
        assert not stage.inside
        assert not stage.join(job_id)

    def test_who_leaves_for_good_needs_no_agent(self, stage: Stage) -> None:
        stage.worker(type=JobType.JT_PARTICIPANT)
        stage.room()
        stage.person("ada")
        job_id = stage.say()
        stage.do(stage.pool.person_left("RM_1", "ada", stage.now_ms, may_return=False))
        assert stage.state(job_id) == State.CANCELLED
        stage.person("ada")
        assert stage.say() == job_id, "who comes again gets one again, by the same name"
        assert not stage.join(job_id, stage.tokens[job_id][0][1])
        assert stage.join(job_id)

    def test_who_reconnects_keeps_its_agent(self, stage: Stage) -> None:
        stage.worker(type=JobType.JT_PARTICIPANT)
        stage.room()
        stage.person("ada")
        job_id = stage.say()
        stage.join(job_id)
        stage.do(stage.pool.person_left("RM_1", "ada", stage.now_ms, may_return=True))
        stage.person("ada")
        assert stage.state(job_id) == State.RUNNING
        assert len(stage.jobs) == 1

    def test_who_is_away_keeps_its_place_but_nobody_is_asked(self, stage: Stage) -> None:
        stage.worker(type=JobType.JT_PARTICIPANT)
        stage.update(full=True)
        stage.room()
        stage.person("ada")
        stage.do(stage.pool.person_left("RM_1", "ada", stage.now_ms, may_return=True))
        stage.update()
        assert not stage.offers
        stage.person("ada")
        assert stage.say()

    def test_jobs_that_ended_are_forgotten_one_day(self, stage: Stage) -> None:
        stage.worker(type=JobType.JT_PARTICIPANT)
        place = stage.room()
        for number in range(500):
            stage.person(f"user {number}")
            stage.say(answer=Answer(is_available=False, is_final=True))
            stage.do(stage.pool.person_left("RM_1", f"user {number}", stage.now_ms, may_return=False))
        assert len(place.jobs) == 200
        assert len(stage.pool.books.jobs) == 200
        assert len(stage.pool.ended) == 200

    def test_there_may_be_only_so_many_dispatches(self) -> None:
        stage = Stage(Limits(max_dispatches=2))
        stage.room("RM_1", "a", "b")
        with pytest.raises(LimitError, match="more than 2 dispatches in a room"):
            stage.pool.dispatch("RM_1", Dispatch("AD_3", "c", 0), stage.now_ms)

    def test_a_worker_tries_itself(self, stage: Stage) -> None:
        stage.worker("AW_1", "one")
        stage.worker("AW_2", "one")
        stage.room("RM_1")
        stage.do(stage.pool.simulate("AW_2", "RM_1", "AJ_tried", stage.now_ms))
        assert stage.offers == {"AW_2": ["AJ_tried"]}
        stage.say("AW_2", NO)
        assert stage.state("AJ_tried") == State.FAILED
