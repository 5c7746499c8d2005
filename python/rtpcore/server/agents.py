"""Agents in this process: functions that take jobs as LiveKit's workers do, with the same states and limits. ::

async def greet(job: AgentJob) -> None:
    job.participant.send_text(f"welcome to {job.room.name}", topic="lk.chat")
    async for event in job.participant.events():
        ...

server.agents.register(greet)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rtpcore.agents import Kind, Worker
from rtpcore.agents.describing import listing
from rtpcore.agents.effects import Answer
from rtpcore.errors import ClosedError, ConfigError, JoinError
from rtpcore.host import now_ms
from rtpcore.joining import check_length
from rtpcore.policy import Permission
from rtpcore.server.views import Room
from rtpcore.wire import ids
from rtpcore.wire.messages import JobStatus, JobType, ParticipantPermission, WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtpcore.agents import Dispatcher, Job
    from rtpcore.server.local import LocalParticipant
    from rtpcore.wire.messages import Job as JobMessage
    from rtpcore.wire.token import Claims

__all__ = ["AgentJob", "AgentWorker", "Agents"]

logger = logging.getLogger("rtpcore.agents")

_MAX_JOBS = 100


@dataclass(frozen=True, slots=True)
class AgentJob:
    """What an agent has to do, and as whom.

    Attributes:
        id: Of the job; the same in another attempt at it.
        agent_name: Under which name it was registered.
        room: Where.
        participant: Itself, in the room already.
        user: The identity of whom it is for; empty for an agent that is for the room.
        metadata: What whoever asked for it has to say.
        attributes: The same, by name.
        attempt: 1, or higher where others before it came to nothing.
    """

    id: str
    agent_name: str
    room: Room
    participant: LocalParticipant
    user: str
    metadata: str
    attributes: Mapping[str, str]
    attempt: int


Work: TypeAlias = Callable[[AgentJob], Awaitable[None]]
"""What an agent does. The job is done when it returns, has failed when it raises, and is cancelled with its room."""


class Agents:
    """Agents of a server: those in this process, and what was asked of all of them."""

    def __init__(
        self, dispatcher: Dispatcher, join: Callable[[Claims], LocalParticipant], check_running: Callable[[], None]
    ) -> None:
        """Not to be called: `rtpcore.Server.agents` is one. ``join`` lets a participant in, or raises JoinError."""
        self._dispatcher = dispatcher
        self._join = join
        self._check_running = check_running

    def register(
        self,
        work: Work,
        *,
        name: str = "",
        for_each: Literal["room", "participant", "publisher"] = "room",
        max_jobs: int = _MAX_JOBS,
        permission: Permission | None = None,
        deployment: str = "",
    ) -> AgentWorker:
        """Let a function take jobs from now on, those that wait already as well. Also before the server is entered.

        Args:
            work: Called for each job. What it raises is logged, and the job is tried again.
            name: Rooms get it that ask for this name; without one, all rooms that ask for nobody else.
            for_each: Called once for each room, each user, or each user that publishes.
            max_jobs: As many at a time, at least 1; more wait, or go to other workers of the same name.
            permission: What it may do in rooms; None for all but being hidden.
            deployment: Which version of the agent this is.

        Raises:
            ConfigError: ``max_jobs`` is less than 1.
            LimitError: There are as many workers as there may be.
        """
        if max_jobs < 1:
            raise ConfigError("max_jobs", f"{max_jobs} is less than 1, so that it would never be called")
        kind = Kind(name, deployment, "", JobType.Value(f"JT_{for_each.upper()}"))
        may = permission or Permission(can_update_metadata=True)
        worker = Worker(
            ids.worker_id(ids.secret),
            kind,
            may.over(ParticipantPermission()),
            "in process",
            now_ms(),
            is_local=True,
        )
        made = AgentWorker(self._dispatcher, self._join, work, worker.id, max_jobs)
        self._dispatcher.register(worker, made)
        return made

    def dispatch(
        self,
        room: str,
        agent_name: str,
        *,
        metadata: str = "",
        attributes: Mapping[str, str] | None = None,
        deployment: str = "",
        restarts: bool = True,
    ) -> str:
        """Want an agent in a room, in this process or not; the id of that wish, for :meth:`withdraw`.

        Args:
            room: Made if there is none.
            agent_name: Which.
            metadata: For the agent.
            attributes: For the agent, by name.
            deployment: Which version of it.
            restarts: One that fails is replaced.

        Raises:
            JoinError: There are too many rooms, or the name is none.
            LimitError: Too many agents are wanted there.
            ClosedError: The server is not running.
        """
        self._check_running()
        check_length("a room name", room, self._dispatcher.host.settings.limit.max_room_name_length)
        state = self._dispatcher.host.ensure_room(room)
        return self._dispatcher.dispatch(
            state,
            agent_name,
            metadata=metadata,
            attributes=dict(attributes or {}),
            deployment=deployment,
            restarts=restarts,
        ).id

    def withdraw(self, room: str, dispatch_id: str) -> None:
        """Want it no longer: its jobs end. Raises ClosedError: the room is gone, or nobody wanted it there."""
        state = self._dispatcher.host.rooms.get(room)
        if state is None or self._dispatcher.withdraw(state, dispatch_id) is None:
            raise ClosedError("dispatch")

    def listing(self) -> dict[str, Any]:
        """Workers, jobs and what became of the last ones, as ``GET /rtpcore/agents`` has them."""
        return listing(self._dispatcher.pool, now_ms())


class AgentWorker:
    """A function that takes jobs.

    Attributes:
        id: Of the worker.
        key: Nothing; tokens of its agents are not needed.
    """

    key: str | None = None

    def __init__(
        self,
        dispatcher: Dispatcher,
        join: Callable[[Claims], LocalParticipant],
        work: Work,
        id: str,
        max_jobs: int,
    ) -> None:
        """Not to be called: :meth:`Agents.register` makes them."""
        self.id = id
        self._dispatcher = dispatcher
        self._join = join
        self._work = work
        self._max_jobs = max_jobs
        self._taken: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def jobs(self) -> int:
        """Jobs that it has."""
        return len(self._taken)

    def unregister(self) -> None:
        """Take no more jobs. What it does it does to the end. Idempotent."""
        self._dispatcher.lose(self.id)

    ##### The pool's side

    def offer(self, job: Job, message: JobMessage) -> None:
        """Take it, if there is room."""
        is_available = len(self._taken) < self._max_jobs
        if is_available:
            self._taken.add(job.id)
        self._dispatcher.answer(self.id, job.id, Answer(is_available=is_available))
        self._report()

    def assign(self, job: Job, message: JobMessage, token: str, claims: Claims) -> None:
        """Do it."""
        before = self._tasks.get(job.id)
        task = asyncio.create_task(self._run(message, claims, job.failures + 1, before))
        self._tasks[job.id] = task
        task.add_done_callback(lambda task: self._forget(message.id, task))

    def terminate(self, job_id: str) -> None:
        """Do it no longer."""
        self._taken.discard(job_id)
        task = self._tasks.get(job_id)
        if task is not None:
            task.cancel()

    def close(self) -> None:
        """Stay, in case that the server is entered again; its rooms are closed, and so its jobs have ended."""

    ##### The work

    def _forget(self, job_id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(job_id) is task:
            del self._tasks[job_id]
            self._taken.discard(job_id)
        self._report()

    def _report(self) -> None:
        count = len(self._taken)
        status = WorkerStatus.WS_FULL if count >= self._max_jobs else WorkerStatus.WS_AVAILABLE
        load, pool = count / self._max_jobs, self._dispatcher.pool
        if self.id in pool.books.workers:
            self._dispatcher.perform(
                pool.update(self.id, now_ms(), status=status, load=load, job_count=count, seq=0, is_draining=False)
            )

    async def _run(self, message: JobMessage, claims: Claims, attempt: int, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            # The attempt before is being cancelled; it may take its time, but two do not act at once.
            await asyncio.wait([before])
        try:
            participant = self._join(claims)
        except JoinError as error:
            logger.info("the agent of job %s may not join: %s", message.id, error)
            self._end(message.id, JobStatus.JS_FAILED, error.reason)
            return
        job = AgentJob(
            id=message.id,
            agent_name=message.agent_name,
            room=participant.room,
            participant=participant,
            user=message.participant.identity,
            metadata=message.metadata,
            attributes=dict(message.attributes),
            attempt=attempt,
        )
        try:
            await self._work(job)
        except Exception as error:
            logger.exception("the agent of job %s failed", message.id)
            participant.leave()
            self._end(message.id, JobStatus.JS_FAILED, type(error).__name__)
        else:
            participant.leave()
            self._end(message.id, JobStatus.JS_SUCCESS, "")
        finally:
            participant.leave()

    def _end(self, job_id: str, status: int, error: str) -> None:
        self._taken.discard(job_id)
        if self.id in self._dispatcher.pool.books.workers:
            self._dispatcher.perform(self._dispatcher.pool.report(self.id, job_id, status, error, now_ms()))
