"""Agents in the process: functions that take jobs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.agents.conftest import House
from tests.server.conftest import make_server

from rtpcore import ClosedError, ConfigError
from rtpcore.server import AgentJob, Server
from rtpcore.wire.messages import ParticipantInfo

if TYPE_CHECKING:
    from tests.conftest import Until


async def stay(job: AgentJob) -> None:
    """Be there until the room is closed."""
    await asyncio.Event().wait()


def states(house: House) -> list[str]:
    return sorted(house.jobs.values())


async def test_a_function_is_called_for_each_room(house: House, until: Until) -> None:
    seen: list[AgentJob] = []

    async def greet(job: AgentJob) -> None:
        seen.append(job)
        job.participant.send_text(f"welcome to {job.room.name}", topic="lk.chat")

    house.server.agents.register(greet)
    ada = await house.user()
    told = (await ada.until("update")).participants[0]
    assert (told.kind, told.attributes["lk.agent_name"]) == (ParticipantInfo.Kind.AGENT, "")
    await until(lambda: states(house) == ["done"])
    (job,) = seen
    assert (job.room.name, job.user, job.attempt) == ("stage", "", 1)
    assert job.participant.identity == f"agent-{job.id}"
    assert not job.participant.is_here


async def test_it_is_told_what_it_is_for(house: House, until: Until) -> None:
    seen: list[AgentJob] = []

    async def note(job: AgentJob) -> None:
        seen.append(job)
        await stay(job)

    house.server.agents.register(note, name="helper", for_each="participant")
    await house.user("ada")
    id = house.server.agents.dispatch("stage", "helper", metadata="m", attributes={"a": "b"})
    await until(lambda: seen)
    assert (seen[0].user, seen[0].metadata, seen[0].attributes) == ("ada", "m", {"a": "b"})
    assert house.server.agents.listing()["workers"][0]["is_local"]
    house.server.agents.withdraw("stage", id)
    await until(lambda: not seen[0].participant.is_here)
    assert states(house) == ["cancelled"]
    with pytest.raises(ClosedError):
        house.server.agents.withdraw("stage", id)


async def test_one_that_fails_is_called_again(house: House, until: Until, caplog: pytest.LogCaptureFixture) -> None:
    attempts: list[int] = []

    async def stumble(job: AgentJob) -> None:
        attempts.append(job.attempt)
        if job.attempt == 1:
            raise RuntimeError("at first")
        await stay(job)

    house.server.agents.register(stumble)
    await house.user()
    await until(lambda: attempts == [1, 2])
    await until(lambda: states(house) == ["running"])
    assert "RuntimeError: at first" in caplog.text
    agents = [one for one in house.server.rooms["stage"].participants.values() if one.kind == "agent"]
    assert len(agents) == 1


async def test_more_than_it_may_have_wait(house: House, until: Until) -> None:
    done = asyncio.Event()

    async def wait(job: AgentJob) -> None:
        await done.wait()

    worker = house.server.agents.register(wait, max_jobs=2)
    for number in range(4):
        house.server.create_room(f"room {number}")
    await until(lambda: states(house) == ["queued", "queued", "running", "running"])
    assert worker.jobs == 2
    done.set()
    await until(lambda: states(house) == ["done"] * 4)
    assert worker.jobs == 0
    with pytest.raises(ConfigError, match="less than 1"):
        house.server.agents.register(wait, max_jobs=0)


async def test_a_closed_room_cancels_it(house: House, until: Until) -> None:
    ends: list[str] = []

    async def watch(job: AgentJob) -> None:
        try:
            await stay(job)
        finally:
            ends.append(job.id)

    house.server.agents.register(watch)
    room = house.server.create_room("stage")
    await until(lambda: states(house) == ["running"])
    room.close()
    await until(lambda: ends)
    assert states(house) == ["done"]


async def test_who_is_taken_off_ends_what_it_has(house: House, until: Until) -> None:
    done = asyncio.Event()

    async def wait(job: AgentJob) -> None:
        await done.wait()

    worker = house.server.agents.register(wait)
    house.server.create_room("stage")
    await until(lambda: states(house) == ["running"])
    worker.unregister()
    worker.unregister()
    house.server.create_room("other")
    done.set()
    await until(lambda: not any(one.kind == "agent" for one in house.server.rooms["stage"].participants.values()))
    await until(lambda: states(house).count("queued") == 1, "the other room waits for another worker")


async def test_it_may_be_registered_before_the_server_runs(server: Server, until: Until) -> None:
    seen: list[str] = []

    async def note(job: AgentJob) -> None:
        seen.append(job.room.name)
        await stay(job)

    server.agents.register(note)
    with pytest.raises(ClosedError):
        server.agents.dispatch("first", "")
    for name in ("first", "second"):
        async with server:
            server.create_room(name)
            await until(lambda name=name: name in seen)  # type: ignore[misc]
    assert seen == ["first", "second"]


@pytest.fixture
def server() -> Server:
    return make_server()
