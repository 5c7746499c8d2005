"""The section on agents: how long jobs wait, how often they are tried, how many there may be."""

from __future__ import annotations

from dataclasses import dataclass

from rtpcore.errors import ConfigError
from rtpcore.livekit_config.reading import duration, setting

__all__ = ["Agents"]


@dataclass(frozen=True, slots=True)
class Agents:
    """How agents are dispatched. All but the first is rtpcore's own; LiveKit's server does not know it.

    Attributes:
        target_load: Workers that say they are loaded more than this, 0 to 1, get jobs only where all are.
        queue_timeout_s: How long a job waits for a worker before it fails. LiveKit's does not let jobs wait.
        answer_timeout_s: How long a worker may take to answer whether it takes a job.
        join_timeout_s: How long an agent may take to join once its worker has the job.
        max_attempts: Attempts at a job before it fails for good.
        max_workers: Workers at a time.
        max_queue: Jobs that wait; one more fails at once.
        max_dispatches: Wishes for agents in one room.
    """

    target_load: float = 0.7
    queue_timeout_s: float = setting(300.0, key="queue_timeout", parse=duration)
    answer_timeout_s: float = setting(10.0, key="answer_timeout", parse=duration)
    join_timeout_s: float = setting(60.0, key="join_timeout", parse=duration)
    max_attempts: int = 5
    max_workers: int = 1000
    max_queue: int = 10_000
    max_dispatches: int = 100

    def __post_init__(self) -> None:
        """Refuse what would let no job be done."""
        if not 0 < self.target_load <= 1:
            raise ConfigError("agents.target_load", f"{self.target_load} is not above 0 and at most 1")
        for name in ("queue_timeout", "answer_timeout", "join_timeout"):
            value = getattr(self, f"{name}_s")
            if not 0.1 <= value <= 86_400:
                raise ConfigError(f"agents.{name}", f"{value:g}s is not between 100ms and 24h")
        for name in ("max_attempts", "max_workers", "max_queue", "max_dispatches"):
            if not 1 <= getattr(self, name) <= 1_000_000:
                raise ConfigError(f"agents.{name}", f"{getattr(self, name)} is not between 1 and 1000000")
