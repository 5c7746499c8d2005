"""LiveKit's protocol for agent workers, spoken to a server that runs."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from tests.agents.conftest import KEYRING, Client, House, open_house, token
from tests.serving import WAYS

from rtpcore.agents import worker as worker_module
from rtpcore.wire.messages import (
    JobStatus,
    JobType,
    LeaveRequest,
    MigrateJobRequest,
    ParticipantInfo,
    ParticipantPermission,
    RegisterWorkerRequest,
    Room,
    SimulateJobRequest,
    UpdateJobStatus,
    WorkerMessage,
    WorkerPing,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Until


@pytest.fixture(params=WAYS)
async def everywhere(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    async with open_house(way=request.param) as made:
        yield made


async def test_a_user_joins_and_an_agent_comes(everywhere: House) -> None:
    house = everywhere
    worker = await house.worker()
    worker_id = await worker.register()
    assert worker_id.startswith("AW_")
    ada = await house.user()
    job = (await worker.until("availability")).job
    assert (job.type, job.room.name, job.agent_name) == (JobType.JT_ROOM, "stage", "")
    assert job.id.startswith("AJ_")
    assert job.dispatch_id.startswith("AD_")
    await worker.say(job, participant_identity="helper", participant_name="Helper", participant_attributes={"a": "b"})
    assignment = await worker.until("assignment")
    assert (assignment.job.state.status, assignment.job.state.participant_identity) == (JobStatus.JS_PENDING, "helper")
    agent = await house.join(assignment.token)
    joined = await agent.until("join")
    assert [one.identity for one in joined.other_participants] == ["ada"]
    (told,) = (await ada.until("update")).participants
    assert (told.identity, told.name, told.kind) == ("helper", "Helper", ParticipantInfo.Kind.AGENT)
    assert dict(told.attributes) == {"a": "b", "lk.agent_name": ""}
    assert told.permission.agent
    assert house.jobs == {job.id: "running"}
    await agent.send(leave=LeaveRequest())
    await worker.send(update_job=UpdateJobStatus(job_id=job.id, status=JobStatus.JS_SUCCESS))
    await worker.send(ping=WorkerPing(timestamp=7))
    pong = await worker.until("pong")
    assert pong.last_timestamp == 7
    assert house.jobs == {job.id: "done"}


async def test_the_tokens_of_agents_say_what_they_may(house: House) -> None:
    worker = await house.worker()
    may = ParticipantPermission(can_subscribe=True, can_publish_data=True, hidden=True)
    await worker.register("helper", type=JobType.JT_PARTICIPANT, allowed_permissions=may)
    house.server.create_room("stage")
    await house.user()
    room = house.server.host.rooms["stage"]
    house.server.dispatcher.dispatch(room, "helper", metadata="{}", attributes={"x": "y"})
    offered = (await worker.until("availability")).job
    assert (offered.participant.identity, offered.metadata, dict(offered.attributes)) == ("ada", "{}", {"x": "y"})
    await worker.say(offered)
    claims = KEYRING.verify((await worker.until("assignment")).token, offered.room.creation_time)
    assert claims.identity == f"agent-{offered.id}"
    assert (claims.kind, claims.job) == ("agent", offered.id)
    assert claims.attributes == {"lk.agent_name": "helper"}
    grant = claims.video
    assert grant is not None
    assert (grant.agent, grant.room, grant.room_join, grant.hidden) == (True, "stage", True, True)
    assert (grant.may_publish(), grant.may_subscribe, grant.may_publish_data) == (False, True, True)


@pytest.mark.parametrize("grant", [{}, {"room_join": True, "room": "stage"}, {"room_admin": True}])
async def test_who_may_not_work_is_told_so(house: House, grant: dict[str, Any]) -> None:
    for access in (token(**grant), "nonsense", ""):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await house.worker(Authorization=f"Bearer {access}")
        assert refused.value.status == 401
    async with house.http.get("/agent") as answer:
        assert answer.status == 404


async def test_who_does_not_say_who_it_is_is_let_go(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_REGISTER_PATIENCE_S", 0.1)
    await (await house.worker()).closed()
    other = await house.worker()
    await other.send(ping=WorkerPing())
    await other.closed()
    strange = await house.worker()
    await strange.send(register={"agent_name": "x" * 300})
    await strange.closed()
    assert not house.server.dispatcher.pool.books.workers


async def test_nonsense_is_passed_over_with_one_line(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rtpcore.agents")
    worker = await house.worker()
    await worker.register()
    for _ in range(3):
        await worker.socket.send_bytes(b"\xff\xff\xff")
        await worker.socket.send_str("hello")
        await worker.send()
        for job_id in ("AJ_nothing", "another"):
            await worker.send(update_job=UpdateJobStatus(job_id=job_id, status=JobStatus.JS_FAILED))
            await worker.send(availability={"job_id": job_id, "available": True})
    await worker.send(ping=WorkerPing())
    await worker.until("pong")
    lines = [record.message for record in caplog.records if "registered" not in record.message]
    assert len(lines) == 4, lines
    assert house.server.dispatcher.ignored == 15


async def test_a_message_that_is_too_long_ends_the_connection() -> None:
    async with open_house("limit: {agent_signal_message_size_limit: 1000}") as house:
        worker = await house.worker()
        await worker.register()
        await worker.send(update_job=UpdateJobStatus(error="x" * 2000))
        await worker.closed()
        assert worker.socket.close_code == 1009


async def test_there_may_be_only_so_many_workers() -> None:
    async with open_house("agents: {max_workers: 1}") as house:
        early, late = await house.worker(), await house.worker()
        await early.register()
        await late.send(register={})
        await late.closed()
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await house.worker()
        assert refused.value.status == 503


class Deaf:
    """A worker's end of a socket that takes one message and then no more."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[bytes] = asyncio.Queue()
        self.heard = 0
        self.is_aborted = False

    async def accept(self) -> None:
        return None

    async def receive(self) -> bytes:
        return await self.said.get()

    async def send(self, message: bytes | str) -> None:
        if self.heard:
            await asyncio.Event().wait()
        self.heard += 1

    async def close(self) -> None:
        await asyncio.Event().wait()

    def abort(self) -> None:
        self.is_aborted = True


async def test_a_worker_that_never_reads_is_let_go_and_nobody_else_notices(
    house: House, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_MAX_MESSAGES", 10)
    monkeypatch.setattr(worker_module, "_CLOSE_PATIENCE_S", 0.1)
    other = await house.worker()
    dispatcher, deaf = house.server.dispatcher, Deaf()
    serving = asyncio.create_task(worker_module.Connection(dispatcher, "key").serve(deaf))
    deaf.said.put_nowait(WorkerMessage(register=RegisterWorkerRequest()).SerializeToString())
    await until(lambda: deaf.heard, "it is registered")
    await other.register()
    await house.user()
    for _ in range(20):
        deaf.said.put_nowait(WorkerMessage(ping=WorkerPing()).SerializeToString())
    await asyncio.wait_for(serving, 30)
    assert deaf.is_aborted
    assert len(dispatcher.pool.books.workers) == 1
    job = (await other.until("availability")).job
    await other.say(job)
    assert (await other.until("assignment")).job.id == job.id, "whoever was asked first"


async def test_an_agent_that_comes_too_late_is_not_let_in(house: House) -> None:
    first, second = await house.worker(), await house.worker()
    await first.register()
    await house.user()
    job, late = await first.take()
    assert await house.status(late) == (200, "success")
    await second.register()
    await first.send(update_job=UpdateJobStatus(job_id=job.id, status=JobStatus.JS_FAILED))
    winner = second
    for worker in (first, second):
        if (offer := await asyncio.wait_for(_offer(worker), 30)) is not None:
            winner = worker
            await worker.say(offer)
            break
    access = (await winner.until("assignment")).token
    assert (await house.status(late))[0] == 409
    agent = await house.join(access)
    await agent.until("join")
    assert (await house.status(late))[0] == 409
    agents = [one for one in house.server.rooms["stage"].participants.values() if one.kind == "agent"]
    assert len(agents) == 1
    # Neither may it take over the session of who has its identity by now.
    stolen = Client(await house.http.ws_connect("/rtc", params={"access_token": late, "reconnect": "1"}))
    assert (await stolen.until("leave")).action == LeaveRequest.Action.RECONNECT
    assert agents[0].is_here


async def _offer(worker: Any) -> Any:
    try:
        message = await asyncio.wait_for(worker.next(), 0.5)
    except asyncio.TimeoutError:
        return None
    # The first attempt's worker is told to end it.
    if message.HasField("termination"):
        return await _offer(worker)
    return message.availability.job


async def test_a_worker_that_comes_back_keeps_its_jobs(house: House, until: Until) -> None:
    worker = await house.worker()
    await worker.register()
    await house.user()
    job, access = await worker.take()
    agent = await house.join(access)
    await agent.until("join")
    await worker.socket.close()
    await until(lambda: not house.server.dispatcher.pool.books.workers)
    assert house.jobs == {job.id: "running"}
    back = await house.worker()
    worker_id = await back.register()
    await back.send(migrate_job=MigrateJobRequest(job_ids=[job.id, "AJ_nothing"]))
    await back.send(ping=WorkerPing())
    await back.until("pong")
    assert house.server.dispatcher.pool.books.jobs[job.id].worker_id == worker_id
    await agent.send(leave=LeaveRequest())
    await back.send(update_job=UpdateJobStatus(job_id=job.id, status=JobStatus.JS_SUCCESS))
    await until(lambda: house.jobs == {job.id: "done"})


async def test_a_worker_tries_itself(house: House) -> None:
    worker = await house.worker()
    await worker.register("helper")
    await worker.send(simulate_job=SimulateJobRequest(type=JobType.JT_ROOM, room=Room(name="rehearsal")))
    job, access = await worker.take()
    assert job.room.name == "rehearsal"
    assert (await house.status(access))[0] == 200


async def test_what_no_agent_could_join_with_is_a_refusal(house: House) -> None:
    worker = await house.worker()
    await worker.register()
    await house.user()
    job = (await worker.until("availability")).job
    await worker.say(job, participant_identity="x" * 300)
    await worker.send(ping=WorkerPing())
    await worker.until("pong")
    assert house.jobs == {job.id: "queued"}


async def test_a_server_that_stops_lets_workers_go(house: House) -> None:
    worker = await house.worker()
    await worker.register()
    await house.user()
    job, _ = await worker.take()
    house.server.close()
    assert (await worker.until("termination")).job_id == job.id
    await worker.closed()
    assert house.jobs == {job.id: "cancelled"}


async def test_a_server_that_drains_still_lets_agents_to_those_who_are_there(house: House) -> None:
    worker = await house.worker()
    await worker.register()
    await house.user()
    offered = (await worker.until("availability")).job
    house.server.host.is_draining = True
    await worker.say(offered)
    access = (await worker.until("assignment")).token
    assert (await house.status(token("late", room_join=True, room="stage")))[0] == 503
    agent = await house.join(access)
    await agent.until("join")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await house.worker()
    assert refused.value.status == 503
