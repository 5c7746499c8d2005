"""Where the pool's effects happen: messages to workers, tokens for agents, agents sent away, time.

It follows the host, which knows nothing of agents: who joins, publishes and leaves there becomes an event of the pool.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from rtpcore.agents.describing import dispatch_message, job_message
from rtpcore.agents.effects import Answer, Assign, Evict, Ignored, LookAfter, Moved, Offer, Terminate
from rtpcore.agents.job import State
from rtpcore.agents.limits import Departure, Limits
from rtpcore.agents.place import Dispatch, Place, dispatch_id
from rtpcore.agents.pool import Pool
from rtpcore.errors import JoinError
from rtpcore.host import now_ms
from rtpcore.wire import ids
from rtpcore.wire.messages import DisconnectReason, JobRestartPolicy
from rtpcore.wire.token import Claims, VideoGrant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rtpcore.agents.effects import Effect
    from rtpcore.agents.job import Job
    from rtpcore.agents.workers import Worker
    from rtpcore.host import Host
    from rtpcore.livekit_config import Agents
    from rtpcore.room import Happened, Participant, Room
    from rtpcore.wire.messages import AgentDispatch, ParticipantInfo
    from rtpcore.wire.messages import Job as JobMessage

__all__ = ["ATTRIBUTE_AGENT_NAME", "Dispatcher", "Link"]

logger = logging.getLogger("rtpcore.agents")

ATTRIBUTE_AGENT_NAME = "lk.agent_name"
"""The attribute of an agent by which clients know which agent it is."""

_TOKEN_LIFETIME_S = 3600.0
"""How long an agent's token is good to join with, LiveKit's value; the session renews it."""

_DEPARTURES = {
    DisconnectReason.CLIENT_INITIATED: Departure.LEFT,
    DisconnectReason.DUPLICATE_IDENTITY: Departure.REPLACED,
    DisconnectReason.PARTICIPANT_REMOVED: Departure.REMOVED,
    DisconnectReason.ROOM_CLOSED: Departure.CLOSED,
    DisconnectReason.ROOM_DELETED: Departure.CLOSED,
    DisconnectReason.SERVER_SHUTDOWN: Departure.CLOSED,
}
"""All others: it was cut off."""


class Link(Protocol):
    """The way to one worker. Nothing here waits: what cannot be said costs the worker its connection."""

    @property
    def key(self) -> str | None:
        """The API key that signs its agents' tokens; None for the server's first."""

    def offer(self, job: Job, message: JobMessage) -> None:
        """Ask whether it takes a job."""

    def assign(self, job: Job, message: JobMessage, token: str, claims: Claims) -> None:
        """Give it a job that it took, with the token of its agent and what that says."""

    def terminate(self, job_id: str) -> None:
        """Tell it to end a job."""

    def close(self) -> None:
        """The server stops."""


class Dispatcher:
    """A server's pool of workers.

    Attributes:
        pool: What is decided.
        on_moved: Told of every job that goes to another state.
        ignored: Things that workers said which meant nothing.
    """

    def __init__(self, host: Host, limits: Limits | None = None, draw: Callable[[], float] = random.random) -> None:
        """Follow ``host``; ``draw`` gives a number from 0 to below 1, by which workers are chosen."""
        self.host = host
        self.pool = Pool(limits or limits_of(host.settings.agents), draw)
        self.on_moved: list[Callable[[Moved], None]] = [_note]
        self.ignored = 0
        self._effects: deque[Effect] = deque()
        self._is_performing = False
        self._links: dict[str, Link] = {}
        self._jobs_of: dict[str, str] = {}
        self._complained: set[tuple[str, str]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ms = 0
        host.guards.append(self._check)
        host.on_created.append(self._created)
        host.on_joined.append(self._joined)
        host.on_event.append(self._happened)

    def close(self) -> None:
        """Let go of all workers. Idempotent."""
        for link in list(self._links.values()):
            link.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    ##### Workers

    def register(self, worker: Worker, link: Link) -> None:
        """A worker is there, and hears of jobs by ``link``. Raises LimitError: there are too many."""
        effects = self.pool.register(worker, now_ms())
        self._links[worker.id] = link
        kind = worker.kind
        logger.info("worker %s registered, for each %s, version %s", worker.id, kind.type_name, worker.version[:32])
        self.perform(effects)

    def lose(self, worker_id: str) -> None:
        """A worker's connection is gone. Idempotent."""
        if self._links.pop(worker_id, None) is None:
            return
        logger.info("worker %s is gone", worker_id)
        self._complained = {(id, what) for id, what in self._complained if id != worker_id}
        self.perform(self.pool.lose(worker_id, now_ms()))

    def answer(self, worker_id: str, job_id: str, answer: Answer) -> None:
        """A worker answers an offer."""
        attributes = dict(answer.attributes or {})
        most = self.host.settings.limit.max_participant_identity_length
        problem = self.host.rules.why_too_long(answer.metadata, attributes, answer.name)
        if 0 < most < len(answer.identity.encode()):
            problem = f"an identity has at most {most} bytes"
        if answer.is_available and problem:
            # Its agent could not join.
            self._ignore(Ignored(worker_id, f"a job taken with what may not be: {problem}"))
            answer = Answer(is_available=False)
        self.perform(self.pool.answer(worker_id, job_id, answer, now_ms()))

    def simulate(self, worker_id: str, room: str) -> None:
        """A worker wants a job made up for itself; the room is made where there is none. Raises JoinError."""
        place = self.host.ensure_room(room)
        self.perform(self.pool.simulate(worker_id, place.sid, ids.job_id(ids.secret), now_ms()))

    ##### Dispatches

    def dispatch(
        self,
        room: Room,
        agent_name: str,
        *,
        metadata: str = "",
        attributes: dict[str, str] | None = None,
        deployment: str = "",
        restarts: bool = True,
    ) -> Dispatch:
        """Want an agent in a room. Raises LimitError: too many are wanted there.

        Args:
            room: Where.
            agent_name: Which; empty for workers without a name.
            metadata: For the agent.
            attributes: For the agent, by name.
            deployment: Which version of it.
            restarts: One that fails is replaced.
        """
        wish = Dispatch(
            ids.dispatch_id(ids.secret), agent_name, now_ms(), metadata, attributes or {}, deployment, restarts
        )
        self.perform(self.pool.dispatch(room.sid, wish, now_ms()))
        return wish

    def withdraw(self, room: Room, dispatch_id: str) -> AgentDispatch | None:
        """Want an agent no longer; None where it was not wanted."""
        dispatch = self.pool.places[room.sid].dispatches.get(dispatch_id)
        if dispatch is None:
            return None
        self.perform(self.pool.withdraw(room.sid, dispatch_id, now_ms()))
        return self.describe(room, dispatch, deleted_at_ms=now_ms())

    def dispatches(self, room: Room, dispatch_id: str = "") -> list[AgentDispatch]:
        """What is wanted in a room, with its jobs; all of it, or one."""
        wanted = self.pool.places[room.sid].dispatches.values()
        return [self.describe(room, one) for one in wanted if dispatch_id in ("", one.id)]

    def describe(self, room: Room, dispatch: Dispatch, *, deleted_at_ms: int = 0) -> AgentDispatch:
        """A dispatch with its jobs, as the API tells of it."""
        jobs = [job for job in self.pool.places[room.sid].jobs.values() if job.dispatch_id == dispatch.id]
        messages = [job_message(job, None, self._participant(room, job)) for job in jobs]
        return dispatch_message(dispatch, room.name, messages, deleted_at_ms=deleted_at_ms)

    ##### Effects

    def perform(self, effects: Iterable[Effect]) -> None:
        """Carry out what the pool asks for, in order; what comes of that comes after it."""
        self._effects.extend(effects)
        if self._is_performing:
            return
        self._is_performing = True
        try:
            while self._effects:
                self._perform(self._effects.popleft())
        finally:
            self._is_performing = False
        self._schedule()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Offer(worker_id, job):
                if (link := self._links.get(worker_id)) is not None:
                    link.offer(job, self._message(job))
            case Assign(worker_id, job, answer):
                self._assign(worker_id, job, answer)
            case Terminate(worker_id, job_id):
                if (link := self._links.get(worker_id)) is not None:
                    link.terminate(job_id)
            case Evict(agent_sid, job_id):
                self._evict(agent_sid, job_id)
            case LookAfter(agent_sid):
                self._look_after(agent_sid)
            case Moved():
                for told in self.on_moved:
                    told(effect)
            case Ignored():
                self._ignore(effect)

    def _assign(self, worker_id: str, job: Job, answer: Answer) -> None:
        link, worker = self._links.get(worker_id), self.pool.books.workers.get(worker_id)
        if link is None or worker is None or job.state != State.ACCEPTED:
            return
        grant = VideoGrant(room_join=True, room=job.room, agent=True).with_permission(worker.permission)
        claims = Claims(
            identity=job.identity,
            name=answer.name,
            metadata=answer.metadata,
            attributes={**(answer.attributes or {}), ATTRIBUTE_AGENT_NAME: job.kind.agent_name},
            kind="agent",
            video=grant,
            job=job.id,
            fence=job.fence,
        )
        token = self.host.keyring.issue(claims, now=time.time(), ttl=_TOKEN_LIFETIME_S, key=link.key)
        moved = self.pool.hand_over(job.id, job.fence, now_ms())
        self.perform(moved)
        link.assign(job, self._message(job), token, claims)

    def _evict(self, agent_sid: str, job_id: str) -> None:
        session = self.host.sessions.get(agent_sid)
        if session is not None:
            logger.info("the agent %s of job %s is sent away", agent_sid, job_id)
            room, participant = session.room, session.participant
            reason = DisconnectReason.PARTICIPANT_REMOVED
            self.host.perform(room, room.remove(participant, reason, now_ms()))

    def _look_after(self, agent_sid: str) -> None:
        session = self.host.sessions.get(agent_sid)
        if session is not None and not session.is_attached:
            logger.info("the agent %s has gone with its worker", agent_sid)
            self.host.leave(session, DisconnectReason.SIGNAL_CLOSE)

    def _message(self, job: Job) -> JobMessage:
        room = self.host.rooms.get(job.room)
        if room is None or room.sid != job.room_sid:
            return job_message(job)
        return job_message(job, room.info(), self._participant(room, job))

    def _participant(self, room: Room, job: Job) -> ParticipantInfo | None:
        participant = room.participants.get(job.participant) if job.participant else None
        return None if participant is None else participant.info()

    def _ignore(self, effect: Ignored) -> None:
        self.ignored += 1
        # Once for each worker and matter: it may say the same a million times.
        is_new = (effect.worker_id, effect.what) not in self._complained
        logger.log(
            logging.INFO if is_new else logging.DEBUG, "of worker %s is ignored: %s", effect.worker_id, effect.what
        )
        self._complained.add((effect.worker_id, effect.what))

    ##### Time

    def _schedule(self) -> None:
        at_ms = self.pool.next_at_ms
        if at_ms is None or (self._timer is not None and self._timer_at_ms <= at_ms):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_ms = at_ms
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0, at_ms - now_ms()) / 1000, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.perform(self.pool.tick(now_ms()))

    ##### From the host

    def _check(self, claims: Claims) -> None:
        """Let no agent in that another one has taken the place of."""
        if claims.job and (reason := self.pool.why_not(claims.job, claims.fence)):
            raise JoinError(409, reason)

    def _created(self, room: Room) -> None:
        place = Place(room.sid, room.name, now_ms())
        for index, wish in enumerate(room.agents[: self.pool.limits.max_dispatches]):
            restarts = wish.restart_policy != JobRestartPolicy.JRP_NEVER
            place_id = dispatch_id(room.sid, index, wish.agent_name)
            attributes = dict(wish.attributes)
            place.dispatches[place_id] = Dispatch(
                place_id, wish.agent_name, now_ms(), wish.metadata, attributes, wish.deployment, restarts
            )
        if not place.dispatches:
            implicit = Dispatch(dispatch_id(room.sid, 0, ""), "", now_ms(), is_implicit=True)
            place.dispatches[implicit.id] = implicit
        self.perform(self.pool.open(place, now_ms()))

    def _joined(self, room: Room, participant: Participant, claims: Claims) -> None:
        effects: list[Effect] = []
        if claims.job:
            self._jobs_of[participant.sid] = claims.job
            effects += self.pool.arrived(claims.job, claims.fence, participant.sid, now_ms())
        effects += self.pool.displaced(room.sid, participant.identity, claims.job, now_ms())
        if not participant.is_dependent:
            effects += self.pool.person_joined(room.sid, participant.identity, now_ms())
        self.perform(effects)

    def _happened(self, room: Room, happened: Happened) -> None:
        participant = happened.participant
        match happened.name:
            case "room_finished":
                self.perform(self.pool.close(room.sid, now_ms()))
            case "track_published" if participant is not None:
                self.perform(self.pool.person_published(room.sid, participant.identity, now_ms()))
            case "participant_left" | "participant_connection_aborted" if participant is not None:
                self._left(room, participant)

    def _left(self, room: Room, participant: Participant) -> None:
        departure = _DEPARTURES.get(participant.disconnect_reason, Departure.LOST)  # type: ignore[call-overload]
        job_id = self._jobs_of.pop(participant.sid, None)
        if job_id is not None:
            self.perform(self.pool.departed(job_id, participant.sid, departure, now_ms()))
        if not participant.is_dependent:
            may_return = departure in (Departure.LOST, Departure.REPLACED)
            self.perform(self.pool.person_left(room.sid, participant.identity, now_ms(), may_return=may_return))


def limits_of(settings: Agents) -> Limits:
    """A pool's bounds by the configuration."""
    return Limits(
        target_load=settings.target_load,
        queue_timeout_ms=int(settings.queue_timeout_s * 1000),
        answer_timeout_ms=int(settings.answer_timeout_s * 1000),
        join_timeout_ms=int(settings.join_timeout_s * 1000),
        max_attempts=settings.max_attempts,
        max_workers=settings.max_workers,
        max_queue=settings.max_queue,
        max_dispatches=settings.max_dispatches,
    )


def _note(moved: Moved) -> None:
    """A line for each state of each job."""
    job = moved.job
    extra = {"event": f"job_{job.state.value}", "room": job.room_sid, "job": job.id}
    words = "job %s of room %s is %s (attempt %d, worker %s): %s"
    told = (job.id, job.room_sid, job.state.value, job.failures + 1, job.worker_id or "none", job.reason)
    logger.info(words, *told, extra=extra)
