"""A job: one agent's work in one room, from the wish for it to its end.

::

                  ┌──────── no, or no answer ────────┐
                  ▼                                  │
    wish ──▶ QUEUED ──▶ OFFERED ──yes──▶ ACCEPTED ──▶ ASSIGNED ──agent joins──▶ RUNNING ──▶ DONE
                  ▲                          │           │                        │
                  └── worker lost, too late, agent lost: the next attempt ────────┘
                  │
                  └──▶ FAILED: nobody took it in time, or too many attempts; CANCELLED: nobody wants it any more

Every attempt has a *fence*, a number that only rises within a room. The agent's token carries it: who comes with an
older one comes too late, and is not let in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from rtpcore.wire import ids
from rtpcore.wire.messages import JobType

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ALL_FULL",
    "DISPATCH_DELETED",
    "LIVE",
    "NONE_TOOK_IT",
    "NO_WORKER",
    "PENDING",
    "QUEUE_FULL",
    "ROOM_CLOSED",
    "WITH_WORKER",
    "Job",
    "Kind",
    "State",
    "job_id",
]


class State(str, Enum):
    """Where a job is; the values are what API, log and metrics say."""

    QUEUED = "queued"
    OFFERED = "offered"
    ACCEPTED = "accepted"
    ASSIGNED = "assigned"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


LIVE = (State.QUEUED, State.OFFERED, State.ACCEPTED, State.ASSIGNED, State.RUNNING)
"""The states of a job that has not ended."""

WITH_WORKER = (State.OFFERED, State.ACCEPTED, State.ASSIGNED, State.RUNNING)
"""The states in which a worker has it."""

PENDING = (State.OFFERED, State.ACCEPTED, State.ASSIGNED)
"""The states in which a worker has work with it before its agent is in the room."""

ROOM_CLOSED, DISPATCH_DELETED = "its room was closed", "its dispatch was deleted"
NO_WORKER, ALL_FULL, NONE_TOOK_IT = "there was no worker for it", "all workers were full", "no worker took it"
QUEUE_FULL = "as many jobs wait as may"
"""Reasons that the API has a word for; see `rtpcore.agents.describing`."""


class Kind(NamedTuple):
    """Which workers can do a job: those that registered with exactly this.

    Attributes:
        agent_name: Empty for workers that serve every room that names nobody.
        deployment: Of several versions of the same agent, which.
        namespace: LiveKit's older way to keep agents apart.
        type: A `JobType`: once for a room, for each participant, or for each one that publishes.
    """

    agent_name: str = ""
    deployment: str = ""
    namespace: str = ""
    type: int = JobType.JT_ROOM

    @property
    def type_name(self) -> str:
        """``room``, ``participant`` or ``publisher``.

        >>> Kind(type=JobType.JT_PUBLISHER).type_name
        'publisher'
        """
        return JobType.Name(self.type).removeprefix("JT_").lower()


def job_id(room_sid: str, dispatch_id: str, kind: Kind, participant: str) -> str:
    """The name of a job, which follows from what it is for.

    Two servers that both think they have to dispatch for a room come to the same name, and see that it is one job.

    >>> job_id("RM_1", "AD_1", Kind("helper"), "") == job_id("RM_1", "AD_1", Kind("helper"), "")
    True
    """
    return ids.job_id(ids.hashed(room_sid, dispatch_id, *map(str, kind), participant))


@dataclass(eq=False, slots=True)
class Job:
    """One agent's work. All times are Unix time in milliseconds.

    Attributes:
        id: See :func:`job_id`.
        kind: Which workers can do it.
        dispatch_id: The wish that it comes from; empty for one that a worker simulates.
        room_sid: Where.
        room: The same by name.
        participant: The identity of whom it is for; empty for a job of type room.
        metadata: The application's, for the agent.
        attributes: The same, by name.
        restarts: After a failure it is tried again, as `AgentDispatch.restart_policy` has it.
        pinned_to: The one worker that may do it; empty for all.
        created_at_ms: When it was first wanted; the queue goes by it.
        state: Where it is.
        since_ms: Since when.
        deadline_at_ms: When it leaves that state whether or not something happens. None for a running job whose agent
            is in its room: calls last as long as they last.
        wanted_until_ms: When it fails if no worker has taken it by then.
        fence: The number of this attempt, higher than all before it in its room.
        failures: Attempts that have failed.
        ready_at_ms: It is not offered before.
        asked: By worker, until when its answer counts.
        refused: By worker, until when it is not asked again.
        worker_id: Who has it, or had it last.
        identity: What its agent is called in the room.
        agent_sid: Its agent while that is in the room; empty while it is not.
        has_left: Its agent has said goodbye, and may yet come back.
        reason: Why it is where it is, in words.
        error: What the worker said of a failure.
        assigned_at_ms: When the latest attempt was given out; 0 before.
        started_at_ms: When an agent first joined; 0 before.
        ended_at_ms: When it ended; 0 before.
        look_at_ms: When its agent has to be looked after; 0 for never. One whose job has ended is sent away then, one
            whose worker was lost is given up if it says nothing either.
        orphaned_at_ms: When its worker was lost; 0 where it was not, or is back.
    """

    id: str
    kind: Kind
    dispatch_id: str
    room_sid: str
    room: str
    created_at_ms: int
    participant: str = ""
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    restarts: bool = True
    pinned_to: str = ""
    state: State = State.QUEUED
    since_ms: int = 0
    deadline_at_ms: int | None = None
    wanted_until_ms: int = 0
    fence: int = 0
    failures: int = 0
    ready_at_ms: int = 0
    asked: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    worker_id: str = ""
    identity: str = ""
    agent_sid: str = ""
    has_left: bool = False
    reason: str = ""
    error: str = ""
    assigned_at_ms: int = 0
    started_at_ms: int = 0
    ended_at_ms: int = 0
    look_at_ms: int = 0
    orphaned_at_ms: int = 0

    @property
    def is_live(self) -> bool:
        """Whether it has not ended."""
        return self.state in LIVE
