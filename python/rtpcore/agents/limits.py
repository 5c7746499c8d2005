"""How long things may take, and how much there may be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Departure", "Limits"]

HAND_OVER_MS = 5000
"""How long making a token may take; LiveKit's Python workers drop a job that is not assigned after 7.5 s."""
SLOW_MS = 2000
"""How long an offer is left alone before another worker is asked as well. Most answer in milliseconds; an application
that takes its time to decide may still say yes, and the first yes counts."""
LOST_WORKER_MS = 2000
"""How long an agent whose worker was lost may take to join: workers that lost only their socket still bring it."""
VERDICT_MS = 30_000
"""How long a worker may take to say how a job ended whose agent has left, or its agent to come back. Processes take
seconds to end, and where the worker itself ends meanwhile, it was no end of the job."""
SILENCE_MS = 10_000
"""How long an agent may be without its worker and without a socket of its own: so long it takes to reconnect. That its
media have stopped shows only after half a minute (RFC 7675), and a user waits."""
REJOIN_MS = 15_000
"""How long an agent that was cut off may take to come back; LiveKit's clients try for about as long."""
EVICT_MS = 3000
"""How long an agent may take to leave by itself once its job has ended, LiveKit's value."""
COOLDOWN_MS = 5000
"""How long a worker is not asked again about a job that it refused."""
FIRST_BACKOFF_MS, LONGEST_BACKOFF_MS = 1000, 30_000
"""Before the third attempt and those after; the second is made at once, since a user waits."""
MAX_ENDED = 200
"""Jobs of closed rooms that are still shown."""
MAX_ERROR = 1000
"""Letters that are kept of what a worker says of a failure."""


class Departure(Enum):
    """Why an agent is not in its room any more."""

    LEFT = "left"
    LOST = "lost"
    REPLACED = "replaced"
    REMOVED = "removed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds and choices of a pool.

    Attributes:
        target_load: Workers loaded more than this, 0 to 1, get jobs only where all are.
        queue_timeout_ms: How long a job waits for a worker before it fails.
        answer_timeout_ms: How long a worker may take to answer an offer.
        join_timeout_ms: How long an agent may take to join once its worker has the job.
        max_attempts: Attempts at a job before it fails for good.
        max_workers: Workers at a time.
        max_queue: Jobs that wait; one more fails at once.
        max_dispatches: Wishes for agents in one room.
    """

    target_load: float = 0.7
    queue_timeout_ms: int = 300_000
    answer_timeout_ms: int = 10_000
    join_timeout_ms: int = 60_000
    max_attempts: int = 5
    max_workers: int = 1000
    max_queue: int = 10_000
    max_dispatches: int = 100
