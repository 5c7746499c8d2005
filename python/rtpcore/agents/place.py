"""A room as the pool knows it: who wants which agents there, whom for, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rtpcore.agents.job import Job, Kind, State, job_id
from rtpcore.wire import ids
from rtpcore.wire.messages import JobType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Dispatch", "Place", "Presence", "dispatch_id"]

_MAX_ENDED = 200
"""Jobs that have ended and are still shown, for each room: users come and go in one that lasts."""


def dispatch_id(room_sid: str, index: int, agent_name: str) -> str:
    """The name of a dispatch that comes with its room, which follows from what it is."""
    return ids.dispatch_id(ids.hashed(room_sid, str(index), agent_name))


@dataclass(frozen=True, slots=True)
class Dispatch:
    """The wish for an agent in a room.

    Attributes:
        id: Unique for ever.
        agent_name: Which agent.
        created_at_ms: Unix time.
        metadata: The application's, for the agent.
        attributes: The same, by name.
        deployment: Which version of the agent.
        restarts: An agent that fails is replaced.
        is_implicit: Nobody asked: every room is served by workers without a name, where there are any.
    """

    id: str
    agent_name: str
    created_at_ms: int
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    deployment: str = ""
    restarts: bool = True
    is_implicit: bool = False


@dataclass(slots=True)
class Presence:
    """A participant that agents may be for.

    Attributes:
        joined_at_ms: Unix time.
        published_at_ms: When it first published; None before.
    """

    joined_at_ms: int
    published_at_ms: int | None = None


@dataclass(eq=False, slots=True)
class Place:
    """A room.

    Attributes:
        sid: Its sid.
        name: Its name.
        opened_at_ms: Unix time.
        dispatches: What is wanted, by id.
        people: Whom agents may be for, by identity.
        jobs: By id; those that have ended too, the last few.
        fence: The highest number that an attempt at a job in this room has had.
    """

    sid: str
    name: str
    opened_at_ms: int
    dispatches: dict[str, Dispatch] = field(default_factory=dict)
    people: dict[str, Presence] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    fence: int = 0

    def next_fence(self) -> int:
        """A number for another attempt."""
        self.fence += 1
        return self.fence

    def wanted(self, kinds: Mapping[tuple[str, str], Iterable[Kind]], oldest_ms: int) -> Iterator[Job]:
        """Jobs that there should be and are not.

        Args:
            kinds: By agent name and deployment, the kinds of workers that there are or lately were.
            oldest_ms: What has been wanted since before that is not wanted any more.
        """
        for dispatch in self.dispatches.values():
            found = kinds.get((dispatch.agent_name, dispatch.deployment), ())
            # Nobody knows yet how a worker with that name works; most are for rooms.
            usual = () if dispatch.is_implicit else (Kind(dispatch.agent_name, dispatch.deployment),)
            for kind in tuple(found) or usual:
                for participant, since_ms in self._subjects(kind):
                    identity = job_id(self.sid, dispatch.id, kind, participant)
                    at_ms = max(since_ms, dispatch.created_at_ms)
                    if identity not in self.jobs and at_ms > oldest_ms:
                        yield self._job(dispatch, kind, participant, identity)

    def _subjects(self, kind: Kind) -> Iterator[tuple[str, int]]:
        """Whom a kind of agent is for, and since when it would be wanted; an empty identity is the room."""
        if kind.type == JobType.JT_ROOM:
            yield "", self.opened_at_ms
            return
        for identity, presence in self.people.items():
            since_ms = presence.joined_at_ms if kind.type == JobType.JT_PARTICIPANT else presence.published_at_ms
            if since_ms is not None:
                yield identity, since_ms

    def _job(self, dispatch: Dispatch, kind: Kind, participant: str, identity: str) -> Job:
        return Job(
            id=identity,
            kind=kind,
            dispatch_id=dispatch.id,
            room_sid=self.sid,
            room=self.name,
            created_at_ms=0,
            participant=participant,
            metadata=dispatch.metadata,
            attributes=dispatch.attributes,
            restarts=dispatch.restarts,
        )

    def to_end(self) -> list[Job]:
        """Its jobs in the order to end them: what still waits would be offered when another one makes room."""
        return sorted(self.jobs.values(), key=lambda job: job.state != State.QUEUED)

    def old(self) -> list[Job]:
        """The jobs that ended longest ago, where there are too many."""
        # Of those who are here it must be known that they have had their agent.
        ended = [
            one for one in self.jobs.values() if not (one.is_live or one.agent_sid or one.participant in self.people)
        ]
        return sorted(ended, key=lambda job: job.ended_at_ms)[: max(0, len(ended) - _MAX_ENDED)]

    def misjudged(self, kinds: Iterable[Kind]) -> list[Job]:
        """Jobs of which it was guessed how workers of this name work, who turn out to be of these kinds."""
        known = frozenset(kinds)
        names = {(kind.agent_name, kind.deployment) for kind in known}
        return [
            job
            for job in self.jobs.values()
            if job.state == State.QUEUED
            and not job.pinned_to
            and job.kind not in known
            and (job.kind.agent_name, job.kind.deployment) in names
        ]
