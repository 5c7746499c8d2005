"""The websocket of one worker, at ``GET /agent``: LiveKit's messages for agent workers, in protobuf.

::

    worker: register ──▶ server: register, always first ──▶ availability ──▶ availability ──▶ assignment
    worker: update_worker every 2.5 s, update_job, ping, migrate_job, simulate_job      server: termination, pong
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from rtpcore.agents.effects import Answer, Ignored
from rtpcore.agents.job import Kind
from rtpcore.agents.workers import Worker
from rtpcore.errors import JoinError, LimitError
from rtpcore.host import now_ms
from rtpcore.outbox import Outbox
from rtpcore.wire import ids
from rtpcore.wire.messages import (
    AvailabilityRequest,
    JobAssignment,
    JobTermination,
    JobType,
    ParticipantPermission,
    RegisterWorkerResponse,
    ServerMessage,
    WorkerMessage,
    WorkerPong,
)

if TYPE_CHECKING:
    from rtpcore.agents.dispatcher import Dispatcher
    from rtpcore.agents.job import Job
    from rtpcore.http.request import WebSocket
    from rtpcore.wire.messages import Job as JobMessage
    from rtpcore.wire.messages import RegisterWorkerRequest
    from rtpcore.wire.token import Claims

__all__ = ["Connection"]

logger = logging.getLogger("rtpcore.agents")

_REGISTER_PATIENCE_S = 10.0
"""How long a worker may take to say who it is, LiveKit's value."""
_CLOSE_PATIENCE_S = 5.0
"""How long a worker may take to read the last message."""
_MAX_MESSAGES, _MAX_BYTES = 1000, 4 << 20
"""What waits for a worker that does not read: all that it may be asked, many times over, since it answers nothing."""
_MAX_NAME = 256
"""Bytes of an agent's name, its namespace and its deployment."""
_MAX_MIGRATED = 1000
"""Jobs that a worker may take back in one message."""


class Connection:
    """One worker's websocket; a worker that comes back gets another one.

    Attributes:
        key: The API key with which it came, which signs its agents' tokens.
    """

    def __init__(self, dispatcher: Dispatcher, key: str) -> None:
        """Not registered yet."""
        self.key: str | None = key
        self._dispatcher = dispatcher
        self._id = ids.worker_id(ids.secret)
        self._outbox: Outbox[ServerMessage] = Outbox(_MAX_MESSAGES, _MAX_BYTES)
        self._waiting = asyncio.Event()
        self._is_over = False
        self._is_registered = False
        self._reading: asyncio.Task[None] | None = None
        self._has_complained = False

    ##### The pool's side

    def offer(self, job: Job, message: JobMessage) -> None:
        """Ask whether it takes a job."""
        self._send(ServerMessage(availability=AvailabilityRequest(job=message, resuming=bool(job.failures))))

    def assign(self, job: Job, message: JobMessage, token: str, claims: Claims) -> None:
        """Give it a job. It knows the server's URL better than the server does."""
        self._send(ServerMessage(assignment=JobAssignment(job=message, token=token)))

    def terminate(self, job_id: str) -> None:
        """Tell it to end a job."""
        self._send(ServerMessage(termination=JobTermination(job_id=job_id)))

    def close(self) -> None:
        """Say goodbye."""
        self._is_over = True
        self._waiting.set()

    def _send(self, message: ServerMessage) -> None:
        if self._is_over:
            return
        if not self._outbox.append(message):
            logger.warning("worker %s does not read: %d messages wait", self._id, len(self._outbox))
            self._outbox.clear()
            self._is_over = True
            # It does not read a goodbye either. Its jobs go to others when the reader ends, not in the middle of this.
            if self._reading is not None:
                self._reading.cancel()
        self._waiting.set()

    ##### The socket's side

    async def serve(self, socket: WebSocket) -> None:
        """Carry messages both ways until either end has enough."""
        tasks: list[asyncio.Task[None]] = []
        try:
            await socket.accept()
            self._reading = asyncio.create_task(self._read(socket))
            tasks = [self._reading, asyncio.create_task(self._write(socket))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._reading.cancelled():
                socket.abort()
            elif self._reading.done():
                self._reading.result()
        finally:
            self._dispatcher.lose(self._id)
            self.close()
            if tasks:
                await asyncio.wait(tasks[1:], timeout=_CLOSE_PATIENCE_S)
            for task in tasks:
                task.cancel()

    async def _read(self, socket: WebSocket) -> None:
        try:
            first = await asyncio.wait_for(self._next(socket), _REGISTER_PATIENCE_S)
        except asyncio.TimeoutError:
            logger.info("a worker has not said who it is within %g s", _REGISTER_PATIENCE_S)
            return
        if first is None or not first.HasField("register"):
            logger.info("a worker has not said who it is first")
            return
        if not self._register(first.register):
            return
        while (message := await self._next(socket)) is not None and not self._is_over:
            self._handle(message)

    async def _next(self, socket: WebSocket) -> WorkerMessage | None:
        """The next message; None at the end. What is none is passed over."""
        while (data := await socket.receive()) is not None:
            try:
                if isinstance(data, bytes):
                    return WorkerMessage.FromString(data)
                problem = "text"
            except DecodeError:
                problem = "nonsense"
            # Once for each socket: a worker may send a million of them.
            logger.log(logging.DEBUG if self._has_complained else logging.INFO, "worker %s sends %s", self._id, problem)
            self._has_complained = True
        return None

    async def _write(self, socket: WebSocket) -> None:
        while True:
            while self._outbox:
                await socket.send(self._outbox.popleft().SerializeToString())
            if self._is_over:
                await socket.close()
                return
            self._waiting.clear()
            await self._waiting.wait()

    ##### What it says

    def _register(self, request: RegisterWorkerRequest) -> bool:
        kind = Kind(request.agent_name, request.deployment, request.namespace, request.type)
        if max(len(text.encode()) for text in kind[:3]) > _MAX_NAME or request.type not in JobType.values():
            logger.info("a worker has a name of more than %d bytes, or a type that there is not", _MAX_NAME)
            return False
        permission = _USUAL_PERMISSION
        if request.HasField("allowed_permissions"):
            permission = request.allowed_permissions
        worker = Worker(self._id, kind, permission, request.version, now_ms())
        response = RegisterWorkerResponse(worker_id=self._id)
        response.server_info.CopyFrom(self._dispatcher.host.welcome.server_info())
        # It must be the first message, and offers follow at once.
        self._send(ServerMessage(register=response))
        try:
            self._dispatcher.register(worker, self)
        except LimitError as error:
            logger.warning("a worker is sent away: %s", error)
            self._outbox.clear()
            return False
        return True

    def _handle(self, message: WorkerMessage) -> None:
        dispatcher, pool, at_ms = self._dispatcher, self._dispatcher.pool, now_ms()
        match message.WhichOneof("message"):
            case "availability":
                said = message.availability
                answer = Answer(
                    is_available=said.available,
                    is_final=said.terminate,
                    identity=said.participant_identity,
                    name=said.participant_name,
                    metadata=said.participant_metadata,
                    attributes=dict(said.participant_attributes),
                )
                dispatcher.answer(self._id, said.job_id, answer)
            case "update_worker":
                state = message.update_worker
                dispatcher.perform(
                    pool.update(
                        self._id,
                        at_ms,
                        status=state.status,
                        load=state.load,
                        job_count=state.job_count,
                        seq=state.seq,
                        is_draining=state.draining,
                    )
                )
            case "update_job":
                about = message.update_job
                dispatcher.perform(pool.report(self._id, about.job_id, about.status, about.error, at_ms))
            case "ping":
                self._send(ServerMessage(pong=WorkerPong(last_timestamp=message.ping.timestamp, timestamp=at_ms)))
            case "migrate_job":
                migrated = message.migrate_job
                job_ids = [*migrated.job_ids, *(job.id for job in migrated.jobs)][:_MAX_MIGRATED]
                dispatcher.perform(pool.adopt(self._id, job_ids, at_ms))
            case "simulate_job":
                self._simulate(message.simulate_job.room.name)
            case kind:
                dispatcher.perform([Ignored(self._id, f"a message of kind {kind}")])

    def _simulate(self, room: str) -> None:
        try:
            self._dispatcher.simulate(self._id, room)
        except JoinError as error:
            self._dispatcher.perform([Ignored(self._id, f"a job to simulate: {error}")])


_USUAL_PERMISSION = ParticipantPermission(
    can_publish=True, can_subscribe=True, can_publish_data=True, can_update_metadata=True
)
"""Of agents whose worker does not say, LiveKit's."""
