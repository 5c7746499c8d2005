"""What the pool asks of the outside: values, carried out by the dispatcher in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtpcore.agents.job import Job, State

__all__ = ["Answer", "Assign", "Effect", "Evict", "Ignored", "LookAfter", "Moved", "Offer", "Terminate"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker says to an offer.

    Attributes:
        is_available: It takes the job.
        is_final: Nobody shall do it: the wish is met without an agent.
        identity: What its agent is to be called in the room; empty for ``agent-`` and the job's id.
        name: What others call it.
        metadata: The agent's.
        attributes: The same, by name.
    """

    is_available: bool
    is_final: bool = False
    identity: str = ""
    name: str = ""
    metadata: str = ""
    attributes: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """Ask a worker whether it takes a job."""

    worker_id: str
    job: Job


@dataclass(frozen=True, slots=True)
class Assign:
    """Give a worker the job that it took, with a token for this attempt; then call `Pool.hand_over`."""

    worker_id: str
    job: Job
    answer: Answer


@dataclass(frozen=True, slots=True)
class Terminate:
    """Tell a worker to end a job."""

    worker_id: str
    job_id: str


@dataclass(frozen=True, slots=True)
class Evict:
    """Send the agent of an attempt away, if it is in the room still."""

    agent_sid: str
    job_id: str


@dataclass(frozen=True, slots=True)
class LookAfter:
    """Give an agent up unless its client is connected: its worker was lost, and it may have been with it."""

    agent_sid: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A job is in another state.

    Attributes:
        job: A copy, as it was at that moment.
        before: Where it was; None for a new one.
        lasted_ms: How long it was there.
    """

    job: Job
    before: State | None
    lasted_ms: int


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something that a worker said means nothing here, or comes too late.

    Attributes:
        worker_id: Who.
        what: In words that say nothing of the worker's own.
    """

    worker_id: str
    what: str


Effect: TypeAlias = Offer | Assign | Terminate | Evict | LookAfter | Moved | Ignored
"""Anything the pool asks for."""
