"""Agents asked for by LiveKit's server API, when a room is made, and by a user's token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from livekit import api
from livekit.api.twirp_client import TwirpError
from tests.agents.conftest import KEY, SECRET, House, Worker, open_house
from tests.server.test_server import publish

from rtpcore.wire.messages import (
    JobStateReason,
    JobStatus,
    JobType,
    RoomAgentDispatch,
    RoomConfiguration,
    TrackSource,
    TrackType,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Until


def calls_of(house: House) -> api.LiveKitAPI:
    return api.LiveKitAPI(str(house.http.make_url("/")), KEY, SECRET)


@pytest.fixture
async def calls(house: House) -> AsyncIterator[api.LiveKitAPI]:
    async with calls_of(house) as running:
        yield running


def wish(name: str = "helper", room: str = "stage", **facts: Any) -> api.CreateAgentDispatchRequest:
    return api.CreateAgentDispatchRequest(agent_name=name, room=room, **facts)


async def helper(house: House, name: str = "helper") -> Worker:
    worker = await house.worker()
    await worker.register(name)
    return worker


async def test_a_dispatch_brings_an_agent_and_shows_its_job(house: House, calls: api.LiveKitAPI, until: Until) -> None:
    made = await calls.agent_dispatch.create_dispatch(wish(metadata="for you", attributes={"tone": "kind"}))
    assert made.id.startswith("AD_")
    assert (made.agent_name, made.room, made.metadata) == ("helper", "stage", "for you")
    (waiting,) = made.state.jobs
    assert waiting.state.status == JobStatus.JS_PENDING
    worker = await helper(house)
    job, access = await worker.take()
    assert (job.id, job.metadata, dict(job.attributes)) == (waiting.id, "for you", {"tone": "kind"})
    await (await house.join(access)).until("join")
    found = await calls.agent_dispatch.get_dispatch(made.id, "stage")
    assert found is not None
    (running,) = found.state.jobs
    assert running.state.status == JobStatus.JS_RUNNING
    assert running.state.participant_identity == f"agent-{job.id}"
    assert running.state.started_at > 10**18
    assert await calls.agent_dispatch.get_dispatch("AD_nothing", "stage") is None
    listed = await calls.agent_dispatch.list_dispatch("stage")
    assert sorted(one.agent_name for one in listed) == ["", "helper"]


async def test_a_deleted_dispatch_sends_its_agent_away(house: House, calls: api.LiveKitAPI, until: Until) -> None:
    made = await calls.agent_dispatch.create_dispatch(wish())
    worker = await helper(house)
    job, access = await worker.take()
    agent = await house.join(access)
    await agent.until("join")
    gone = await calls.agent_dispatch.delete_dispatch(made.id, "stage")
    assert gone.state.deleted_at >= made.state.created_at
    (ended,) = gone.state.jobs
    assert (ended.state.status, ended.state.reason) == (JobStatus.JS_CANCELLED, JobStateReason.JSR_DISPATCH_DELETED)
    assert (await worker.until("termination")).job_id == job.id
    assert await agent.until("leave")
    with pytest.raises(TwirpError, match="agent dispatch does not exist"):
        await calls.agent_dispatch.delete_dispatch(made.id, "stage")


async def test_what_nobody_takes_has_failed_and_the_api_says_why() -> None:
    async with open_house("agents: {queue_timeout: 100ms}") as house, calls_of(house) as calls:
        made = await calls.agent_dispatch.create_dispatch(wish())
        job = made.state.jobs[0]
        while job.state.status == JobStatus.JS_PENDING:
            found = await calls.agent_dispatch.get_dispatch(made.id, "stage")
            assert found is not None
            job = found.state.jobs[0]
        assert (job.state.status, job.state.reason) == (JobStatus.JS_FAILED, JobStateReason.JSR_NO_CAPACITY)
        assert job.state.error == "there was no worker for it"


async def test_a_room_is_made_with_its_agents(house: House, calls: api.LiveKitAPI) -> None:
    worker, unnamed = await helper(house), await helper(house, "")
    agents = [RoomAgentDispatch(agent_name="helper", metadata="m")]
    await calls.room.create_room(api.CreateRoomRequest(name="stage", agents=agents))
    assert (await worker.until("availability")).job.metadata == "m"
    assert [one.agent_name for one in await calls.agent_dispatch.list_dispatch("stage")] == ["helper"]
    await calls.room.create_room(api.CreateRoomRequest(name="other"))
    assert (await unnamed.until("availability")).job.room.name == "other", "where agents are named, only those come"


async def test_a_users_token_says_which_agents_its_room_has(house: House) -> None:
    worker = await helper(house)
    config = RoomConfiguration(agents=[RoomAgentDispatch(agent_name="helper", attributes={"a": "b"})])
    grants = api.VideoGrants(room_join=True, room="stage")
    access = api.AccessToken(KEY, SECRET).with_identity("ada").with_grants(grants).with_room_config(config).to_jwt()
    await house.join(access)
    job = (await worker.until("availability")).job
    assert (job.room.name, dict(job.attributes)) == ("stage", {"a": "b"})


async def test_each_who_publishes_gets_one(house: House) -> None:
    worker = await house.worker()
    await worker.register(type=JobType.JT_PUBLISHER)
    await house.user("ada")
    await house.user("bob")
    publish(house.server, "bob", TrackSource.MICROPHONE, TrackType.AUDIO)
    job = (await worker.until("availability")).job
    assert (job.type, job.participant.identity) == (JobType.JT_PUBLISHER, "bob")
    assert len(job.participant.tracks) == 1


@pytest.mark.parametrize("grant", [{"room_join": True}, {"room_admin": True, "room": "other"}, {}])
async def test_who_does_not_administer_the_room_may_not(house: House, grant: dict[str, Any]) -> None:
    grants = api.VideoGrants(**{"room": "stage", **grant})
    access = api.AccessToken(KEY, SECRET).with_identity("x").with_grants(grants).to_jwt()
    for method in ("CreateDispatch", "DeleteDispatch", "ListDispatch"):
        path = f"/twirp/livekit.AgentDispatchService/{method}"
        headers = {"Authorization": f"Bearer {access}"}
        async with house.http.post(path, json={"room": "stage"}, headers=headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == (401, "unauthenticated")


async def test_what_cannot_be_dispatched_is_refused() -> None:
    settings = "agents: {max_dispatches: 2}\nroom: {auto_create: false}"
    async with open_house(settings) as house, calls_of(house) as calls:
        with pytest.raises(TwirpError, match="requested room does not exist"):
            await calls.agent_dispatch.create_dispatch(wish())
        await calls.room.create_room(api.CreateRoomRequest(name="stage"))
        for request, words in (
            (wish("x" * 300), "at most 256 bytes"),
            (wish(metadata="x" * 600_000), "metadata has at most"),
            (wish(attributes={"x": "x" * 70_000}), "attributes have at most"),
        ):
            with pytest.raises(TwirpError, match=words):
                await calls.agent_dispatch.create_dispatch(request)
        await calls.agent_dispatch.create_dispatch(wish())
        with pytest.raises(TwirpError, match="more than 2 dispatches in a room"):
            await calls.agent_dispatch.create_dispatch(wish())
