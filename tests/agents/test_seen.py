"""What is seen of agents: figures, a listing over HTTP and on the command line, webhooks, lines of the log."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from tests.agents.conftest import KEY, KEYRING, SECRET, House, open_house, token
from tests.test_metrics import Scraped

from rtpcore import cli
from rtpcore.asking import agents_as_table
from rtpcore.wire.messages import JobStatus, LeaveRequest, UpdateJobStatus

if TYPE_CHECKING:
    from tests.agents.conftest import Worker
    from tests.conftest import Until


def scrape(house: House) -> Scraped:
    registry = CollectorRegistry()
    registry.register(house.server.metrics)
    return Scraped(generate_latest(registry).decode())


async def call_of(house: House, worker: Worker) -> str:
    """One agent's whole job; its id."""
    await house.user()
    job, access = await worker.take()
    agent = await house.join(access)
    await agent.until("join")
    await agent.send(leave=LeaveRequest())
    await worker.send(update_job=UpdateJobStatus(job_id=job.id, status=JobStatus.JS_SUCCESS))
    return job.id


async def test_jobs_and_workers_are_counted(house: House, until: Until) -> None:
    worker = await house.worker()
    await worker.register()
    before = scrape(house)
    assert before("rtpcore_agent_workers", state="available") == 1
    assert before("rtpcore_agent_jobs") == 0
    await call_of(house, worker)
    await until(lambda: scrape(house)("rtpcore_agent_jobs_ended_total", outcome="done") == 1)
    house.server.dispatcher.dispatch(house.server.host.rooms["stage"], "helper")
    after = scrape(house)
    assert after("rtpcore_agent_jobs", state="queued") == 1
    for state in ("queued", "offered", "accepted", "assigned", "running"):
        assert after("rtpcore_agent_state_seconds_count", state=state) == 1, state
    assert after("rtpcore_agent_dispatch_seconds_count") == after("rtpcore_agent_join_seconds_count") == 1
    assert after("rtpcore_agent_retries_total") == after("rtpcore_agent_messages_ignored_total") == 0
    assert after("rtpcore_agent_workers") == 1


async def test_a_listing_for_whoever_may_see_it(house: House, until: Until) -> None:
    worker = await house.worker()
    worker_id = await worker.register(version="1.8.9")
    await worker.update(load=0.25)
    job_id = await call_of(house, worker)
    await until(lambda: house.jobs[job_id] == "done")
    house.server.dispatcher.dispatch(house.server.host.rooms["stage"], "helper")
    house.server.create_room("other")

    async def ask(grant: dict[str, Any], **query: str) -> Any:
        headers = {"Authorization": f"Bearer {token(**grant)}"} if grant else {}
        async with house.http.get("/rtpcore/agents", params=query, headers=headers) as answer:
            return await answer.json() if answer.status == 200 else answer.status

    told = await ask({"room_list": True})
    (shown,) = told["workers"]
    assert (shown["id"], shown["type"], shown["state"], shown["load"]) == (worker_id, "room", "available", 0.25)
    assert (shown["running"], shown["pending"], shown["version"]) == (0, 1, "1.8.9")
    assert [(job["room"], job["state"]) for job in told["jobs"]] == [("stage", "queued"), ("other", "offered")]
    assert [(job["id"], job["state"]) for job in told["ended"]] == [(job_id, "done")]
    assert told["jobs"][0]["deadline_in_ms"] > 0
    of_stage = await ask({"room_admin": True, "room": "stage"}, room="stage")
    assert [job["room"] for job in of_stage["jobs"]] == ["stage"]
    assert of_stage["workers"] == []
    assert await ask({"room_admin": True, "room": "stage"}) == 403
    assert await ask({"room_admin": True, "room": "stage"}, room="other") == 403
    assert await ask({"room_join": True, "room": "stage"}, room="stage") == 403
    assert await ask({}) == 401


async def test_the_command_line_lists_them(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    worker = await house.worker()
    worker_id = await worker.register("helper")
    house.server.create_room("stage")
    house.server.dispatcher.dispatch(house.server.host.rooms["stage"], "another")
    url = str(house.http.make_url("/")).replace("http", "ws")
    arguments = ["agents", "list", "--keys", f"{KEY}: {SECRET}", "--url", url]

    async def run(*more: str) -> str:
        assert await asyncio.to_thread(cli.main, [*arguments, *more]) == 0
        return capsys.readouterr().out

    lines = (await run()).splitlines()
    assert lines[0].split() == ["WORKER", "AGENT", "FOR", "EACH", "STATE", "LOAD", "RUNNING", "PENDING"]
    assert lines[1].split() == [worker_id, "helper", "room", "available", "0%", "0", "0"]
    assert lines[3] == "1 waiting, 0 running"
    assert lines[4].split()[1:4] == ["another", "stage", "queued"]
    assert json.loads(await run("--json", "--room", "stage"))["jobs"][0]["agent_name"] == "another"
    assert json.loads(await run("--json", "--room", "nowhere"))["jobs"] == []


def test_where_nobody_works_that_is_said() -> None:
    told = {"workers": [], "jobs": [], "ended": [], "counts": {"queued": 0, "running": 0}}
    assert agents_as_table(told) == "No worker is there.\n\n0 waiting, 0 running"


async def test_webhooks_tell_of_jobs(until: Until) -> None:
    heard: list[dict[str, Any]] = []

    async def hook(request: web.Request) -> web.Response:
        KEYRING.verify(request.headers["Authorization"], time.time())
        heard.append(json.loads(await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", hook)
    async with TestServer(app) as receiver:
        events = "[agent_job_queued, agent_job_started, agent_job_retried, agent_job_ended]"
        url = receiver.make_url("/hook")
        extra = f"webhook: {{api_key: {KEY}, urls: ['{url}'], filter_params: {{include_events: {events}}}}}"
        async with open_house(extra) as house:
            worker = await house.worker()
            await worker.register()
            await house.user()
            job, access = await worker.take()
            await worker.send(update_job=UpdateJobStatus(job_id=job.id, status=JobStatus.JS_FAILED, error="it broke"))
            assert (await worker.until("termination")).job_id == job.id
            again, access = await worker.take()
            await (await house.join(access)).until("join")
            await worker.send(update_job=UpdateJobStatus(job_id=job.id, status=JobStatus.JS_SUCCESS))
            await until(lambda: len(heard) == 4, "four events")
    names = [event["event"].removeprefix("agent_job_") for event in heard]
    assert names == ["queued", "retried", "started", "ended"]
    assert {event["job"]["id"] for event in heard} == {job.id} == {again.id}
    assert heard[0]["room"]["name"] == "stage"
    assert heard[3]["job"]["state"]["status"] == "JS_SUCCESS"


async def test_the_log_has_a_line_for_each_state_and_names_nobody(
    house: House, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    caplog.set_level(logging.INFO, "rtpcore.agents")
    worker = await house.worker()
    await worker.register()
    job_id = await call_of(house, worker)
    await until(lambda: house.jobs[job_id] == "done")
    lines = [record.message for record in caplog.records if job_id in record.message]
    assert [line.split(" is ")[1].split()[0] for line in lines] == [
        "queued",
        "offered",
        "accepted",
        "assigned",
        "running",
        "done",
    ]
    assert not [word for word in ("stage", "ada", "helper") if word in caplog.text]
