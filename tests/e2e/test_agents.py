"""Agents as users meet them: workers of `livekit-agents` in processes of their own, the SDK from PyPI as a user."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy
import pytest
import pytest_asyncio
from bench.agent_worker import AgentWorker, working
from bench.local import hosting
from livekit import rtc
from tests.e2e.clients import KEY, SECRET, token
from tests.e2e.peers import DEADLINE, until

from rtpcore.agents import State
from rtpcore.config import Config, Listen
from rtpcore.livekit_config import load
from rtpcore.serve import SERVER, application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rtpcore.agents import Job
    from rtpcore.agents.effects import Moved
    from rtpcore.server import Server

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("agents")]

ROUNDS, JOBS, KILLS = int(os.environ.get("AGENT_ROUNDS", "1")), int(os.environ.get("AGENT_JOBS", "12")), 3
"""How often so many jobs are done while so many workers are killed; 5 rounds of 40 are the 200 jobs of the long run."""
USERS = int(os.environ.get("AGENT_USERS", "12"))


class Served:
    """A server in this process, and the workers and users that connect to it."""

    def __init__(self, url: str, server: Server) -> None:
        self.url = url
        self.server = server

    def work(self, work: str, *arguments: str) -> contextlib.AbstractAsyncContextManager[AgentWorker]:
        return working(self.url, KEY, SECRET, work, *arguments)

    @property
    def jobs(self) -> list[Job]:
        """Every job that is known still."""
        pool = self.server.dispatcher.pool
        return [*pool.ended, *pool.books.jobs.values()]

    def agents_in(self, room: str) -> list[str]:
        return [one.identity for one in self.server.rooms[room].participants.values() if one.kind == "agent"]

    async def user(self, room: str, identity: str = "ada") -> User:
        user = User()
        await user.room.connect(self.url.replace("http", "ws"), token(room, identity))
        return user


class User:
    """Somebody with LiveKit's SDK: speaks a tone, hears the agents, reads what they write."""

    HZ = 400

    def __init__(self) -> None:
        self.room = rtc.Room()
        self.texts: list[tuple[str, str]] = []
        self.heard: list[float] = []
        self.is_speaking = False
        self._tasks: list[asyncio.Task[None]] = []
        self.room.on("track_subscribed", self._subscribed)
        self.room.register_text_stream_handler("lk.transcription", self._written)

    @property
    def agents(self) -> list[str]:
        kind = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        return [one.identity for one in self.room.remote_participants.values() if one.kind == kind]

    async def open_microphone(self) -> None:
        source = rtc.AudioSource(48_000, 1)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self.room.local_participant.publish_track(track, options)
        self._tasks.append(asyncio.create_task(self._speak(source)))

    async def _speak(self, source: rtc.AudioSource) -> None:
        frame = rtc.AudioFrame.create(48_000, 1, 480)
        wave = (10_000 * numpy.sin(2 * numpy.pi * self.HZ * numpy.arange(480) / 48_000)).astype(numpy.int16)
        while True:
            numpy.frombuffer(frame.data, numpy.int16)[:] = wave if self.is_speaking else 0
            await source.capture_frame(frame)

    def _subscribed(self, track: Any, *_: Any) -> None:
        async def listen() -> None:
            stream = rtc.AudioStream(track)
            async for event in stream:
                wave = numpy.frombuffer(event.frame.data, numpy.int16).astype(float)
                spectrum = numpy.abs(numpy.fft.rfft(wave))
                if (wave**2).mean() > 500**2:
                    self.heard.append((int(numpy.argmax(spectrum[1:])) + 1) * event.frame.sample_rate / len(wave))

        if track.kind == rtc.TrackKind.KIND_AUDIO:
            self._tasks.append(asyncio.create_task(listen()))

    def _written(self, reader: rtc.TextStreamReader, sender: str) -> None:
        async def read() -> None:
            self.texts.append((sender, await reader.read_all()))

        self._tasks.append(asyncio.create_task(read()))

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.room.disconnect()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served() -> AsyncIterator[Served]:
    listen = Listen(addresses=("127.0.0.1",), udp_port=0, tcp_port=0)
    settings = load("agents: {max_attempts: 8}", environ={}, overrides={"keys": f"{KEY}: {SECRET}"})
    app = application(Config(listen=listen, workers=1), settings)
    async with hosting(app, max_line_size=1 << 20, max_field_size=1 << 20) as url:
        yield Served(url, app[SERVER])


async def when(
    what: str,
    condition: Callable[[], object],
    explain: Callable[[], object] | None = None,
    *,
    deadline: float = DEADLINE,
) -> None:
    """Wait for what this process can see."""

    async def ask() -> object:
        return condition()

    async def tell() -> object:
        return None if explain is None else repr(explain())

    await until(what, ask, tell, deadline=deadline)


async def test_a_user_speaks_and_is_answered(served: Served) -> None:
    async with served.work("talk", "--idle", "1") as worker:
        user = await served.user("call")
        try:
            await when("the agent is seen", lambda: user.agents)
            await user.open_microphone()
            await when("the agent listens", lambda: worker.told("ready"))
            user.is_speaking = True
            await asyncio.sleep(1)  # so long is what it says
            user.is_speaking = False
            (agent,) = user.agents
            await when("the answer is heard", lambda: len(user.heard) > 30, lambda: user.texts)
            answer = next(job for job in served.jobs if job.room == "call")
            assert agent == f"agent-{answer.id}"
            assert 800 < numpy.median(user.heard) < 960
            await when("the answer is read", lambda: [text for who, text in user.texts if who == agent])
            own = [text for who, text in user.texts if who == "ada"]
            assert own[-1] == "tone of 400"
            assert [text.strip() for who, text in user.texts if who == agent] == ["I heard a tone of 400"]
        finally:
            await user.leave()
        await when("its job is done", lambda: answer.state == State.DONE, lambda: answer)
        assert answer.failures == 0


async def test_many_users_arrive_at_once_and_each_gets_one_agent(served: Served) -> None:
    async with contextlib.AsyncExitStack() as stack:
        starting = [served.work("stay", "--name", "many", "--idle", "12") for _ in range(3)]
        workers = await asyncio.gather(*(stack.enter_async_context(one) for one in starting))
        users: list[User] = []
        for number in range(USERS):
            served.server.agents.dispatch(f"many {number}", "many")
            users.append(await served.user(f"many {number}"))
        try:
            await when("everybody has an agent", lambda: all(user.agents for user in users), lambda: served.jobs)
            for number, user in enumerate(users):
                assert len(user.agents) == 1
                assert len(served.agents_in(f"many {number}")) == 1
            jobs = [job for job in served.jobs if job.kind.agent_name == "many"]
            assert [job.state for job in jobs] == [State.RUNNING] * USERS
            assert [job.failures for job in jobs] == [0] * USERS
            taken = Counter(job.worker_id for job in jobs)
            assert set(taken) <= {worker.id for worker in workers}
            assert min(taken.values()) >= USERS // 10, taken
        finally:
            await asyncio.gather(*(user.leave() for user in users))
        for number in range(USERS):
            served.server.rooms[f"many {number}"].close()


class Killer:
    """Keeps so many workers, and kills them in the middle of jobs, in a state that is drawn anew each time."""

    STATES = (State.OFFERED, State.ACCEPTED, State.ASSIGNED, State.RUNNING)

    def __init__(self, served: Served, seed: int) -> None:
        self.draw = random.Random(seed)
        self.workers: dict[str, AgentWorker] = {}
        self.left = KILLS
        self.killed: list[State] = []
        self._served = served
        self._next = self.draw.choice(self.STATES)

    def see(self, moved: Moved) -> None:
        job = moved.job
        worker = self.workers.get(job.worker_id)
        if worker is None or job.state != self._next or not self.left or self.draw.random() < 0.5:
            return
        self.left -= 1
        self.killed.append(job.state)
        del self.workers[job.worker_id]
        worker.kill()
        self._next = self.draw.choice(self.STATES)

    async def keep_one(self, name: str) -> None:
        """One worker after the other; under load they also crash by themselves."""
        while True:
            async with self._served.work("stay", "--name", name, "--idle", "8") as worker:
                self.workers[worker.id] = worker
                await worker.process.wait()
                self.workers.pop(worker.id, None)


@pytest.mark.parametrize("seed", range(1, ROUNDS + 1))
async def test_workers_are_killed_and_no_job_is_lost(served: Served, seed: int) -> None:
    name = f"mortal {seed}"
    killer = Killer(served, seed)
    served.server.dispatcher.on_moved.append(killer.see)
    keeping = [asyncio.create_task(killer.keep_one(name)) for _ in range(3)]

    def jobs() -> list[Job]:
        return [job for job in served.jobs if job.kind.agent_name == name]

    def is_well(job: Job) -> bool:
        """It has exactly one agent, whose worker is there, or a recorded failure."""
        there = served.agents_in(job.room)
        if job.state == State.FAILED:
            return bool(job.reason) and not there
        return job.state == State.RUNNING and there == [job.identity] and job.worker_id in killer.workers

    try:
        await when("all workers are there", lambda: len(killer.workers) == 3)
        for number in range(JOBS):
            # A user who stays, so that whoever is lost has to be replaced.
            await served.server.join(f"{name}, {number}", "ada", kind="standard")
            served.server.agents.dispatch(f"{name}, {number}", name)
            await asyncio.sleep(0.1)
            for room in served.server.rooms:
                assert len(served.agents_in(room)) <= 1
        # An agent that was cut off on its way in is given `join_timeout`, and so is the next.
        await when(
            "every job is well",
            lambda: all(map(is_well, jobs())),
            lambda: [killer.workers, *jobs()],
            deadline=5 * DEADLINE,
        )
        assert len(jobs()) == JOBS
        assert len(killer.killed) == KILLS, killer.killed
    finally:
        served.server.dispatcher.on_moved.remove(killer.see)
        for task in keeping:
            task.cancel()
        await asyncio.wait(keeping)
        for job in jobs():
            if job.room in served.server.rooms:
                served.server.rooms[job.room].close()


class Gate:
    """A way to the server that can be cut: what goes through it breaks, and nothing comes in until it is mended."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._is_open = True
        self._writers: set[asyncio.StreamWriter] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_open:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        ways = ((reader, back), (there, writer))
        self._writers |= {writer, back}
        await asyncio.gather(*(self._carry(*way) for way in ways))
        self._writers -= {writer, back}

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    def cut(self) -> None:
        self._is_open = False
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        self._is_open = True


async def test_sockets_are_cut_for_five_seconds_and_come_back(served: Served) -> None:
    gate = Gate(int(served.url.rpartition(":")[2]))
    async with await asyncio.start_server(gate, "127.0.0.1", 0) as proxy:
        url = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        async with working(url, KEY, SECRET, "stay", "--name", "cut") as worker:
            user = await served.user("cut")
            served.server.agents.dispatch("cut", "cut")
            await when("the agent is seen", lambda: user.agents)
            (job,) = [job for job in served.jobs if job.kind.agent_name == "cut"]
            first, pool = worker.id, served.server.dispatcher.pool
            gate.cut()
            await when("the worker is missed", lambda: first not in pool.books.workers)
            await asyncio.sleep(5)
            gate.mend()
            await when("the worker is back", lambda: worker.id != first and worker.id in pool.books.workers)
            await when("it has its job again", lambda: job.worker_id == worker.id)
            # Its client may have connected anew; where a slow machine takes ten seconds for that, it is replaced.
            await when("the agent is back", lambda: job.agent_sid and user.agents == [job.identity])
            assert (job.state, served.agents_in("cut")) == (State.RUNNING, [job.identity])
            assert job.failures <= 1
            served.server.agents.dispatch("after", "cut")
            await when("it takes another", lambda: "after" in served.server.rooms and served.agents_in("after"))
            assert user.agents == [job.identity]
            await user.leave()
            for name in ("cut", "after"):
                served.server.rooms[name].close()


async def test_an_agent_that_always_crashes_is_given_up(served: Served) -> None:
    async with served.work("crash", "--name", "crash", "--executor", "process", "--idle", "1"):
        await served.server.join("crash", "ada", kind="standard")
        served.server.agents.dispatch("crash", "crash")
        (job,) = [job for job in served.jobs if job.kind.agent_name == "crash"]
        await when("it is tried again", lambda: job.failures >= 2, lambda: job)
        assert len(served.agents_in("crash")) <= 1
        served.server.agents.withdraw("crash", job.dispatch_id)
        await when("nobody is there", lambda: not served.agents_in("crash"))
        assert job.state == State.CANCELLED
    served.server.rooms["crash"].close()


async def test_a_worker_that_drains_finishes_what_it_has(served: Served) -> None:
    async with served.work("stay", "--name", "drain") as old:
        served.server.agents.dispatch("before", "drain")
        await when("the agent is there", lambda: served.agents_in("before"))
        old.drain()
        async with served.work("stay", "--name", "drain") as new:
            served.server.agents.dispatch("after", "drain")
            await when("the other one's is, too", lambda: served.agents_in("after"))
            by_room = {job.room: job.worker_id for job in served.jobs if job.kind.agent_name == "drain"}
            assert by_room == {"before": old.id, "after": new.id}
            assert len(served.agents_in("before")) == 1
            for name in ("before", "after"):
                served.server.rooms[name].close()
        await asyncio.wait_for(old.process.wait(), 30)
