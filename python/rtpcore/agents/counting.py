"""What is counted of agents, for Prometheus."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from rtpcore.agents.job import LIVE, State
from rtpcore.metrics import Spans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from rtpcore.agents.dispatcher import Dispatcher
    from rtpcore.agents.effects import Moved

__all__ = ["Counts"]

_OUTCOMES = (State.DONE, State.FAILED, State.CANCELLED)


class Counts:
    """Counts what becomes of jobs, and reads everything else when it is asked.

    Attributes:
        dispatch_s: From the wish for an agent until a worker had the job, at the first attempt.
        join_s: From that wish until the agent was in the room, whatever attempt it took.
    """

    STATE_S: ClassVar = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 3600.0)
    DISPATCH_S: ClassVar = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0)

    def __init__(self, dispatcher: Dispatcher) -> None:
        """Count from now on."""
        self._dispatcher = dispatcher
        self._states = {state: Spans(self.STATE_S) for state in LIVE}
        self._ended: Counter[State] = Counter()
        self._retries = 0
        self.dispatch_s, self.join_s = Spans(self.DISPATCH_S), Spans(self.DISPATCH_S)
        dispatcher.on_moved.append(self._note)

    def _note(self, moved: Moved) -> None:
        job = moved.job
        if moved.before is not None:
            self._states[moved.before].count(moved.lasted_ms / 1000)
        if job.state == State.ASSIGNED and not job.failures:
            self.dispatch_s.count((job.since_ms - job.created_at_ms) / 1000)
        elif job.state == State.RUNNING and job.started_at_ms == job.since_ms:
            self.join_s.count((job.since_ms - job.created_at_ms) / 1000)
        elif job.state in _OUTCOMES:
            self._ended[job.state] += 1
        elif job.state == State.QUEUED and moved.before in (State.ASSIGNED, State.RUNNING):
            self._retries += 1

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        books = self._dispatcher.pool.books
        jobs = GaugeMetricFamily("rtpcore_agent_jobs", "Jobs of agents now, by state.", labels=["state"])
        for state, count in books.counts.items():
            jobs.add_metric([state.value], count)
        yield jobs
        ended = CounterMetricFamily("rtpcore_agent_jobs_ended", "Jobs that ended, by how.", labels=["outcome"])
        for state in _OUTCOMES:
            ended.add_metric([state.value], self._ended[state])
        yield ended
        yield CounterMetricFamily("rtpcore_agent_retries", "Attempts at jobs after a failure.", value=self._retries)
        workers = Counter({"available": 0, "full": 0, "draining": 0})
        workers.update(
            "draining" if one.is_draining else "full" if one.is_full else "available" for one in books.workers.values()
        )
        family = GaugeMetricFamily("rtpcore_agent_workers", "Agent workers now.", labels=["state"])
        for name, count in workers.items():
            family.add_metric([name], count)
        yield family
        ignored = "Things that agent workers said which meant nothing."
        yield CounterMetricFamily("rtpcore_agent_messages_ignored", ignored, value=self._dispatcher.ignored)
        spent = HistogramMetricFamily("rtpcore_agent_state_seconds", "How long jobs were in a state.", labels=["state"])
        for state, spans in self._states.items():
            spent.add_metric([state.value], spans.buckets(), spans.sum)
        yield spent
        for name, text, spans in (
            ("dispatch", "From the wish for an agent until a worker had the job.", self.dispatch_s),
            ("join", "From the wish for an agent until it was in the room.", self.join_s),
        ):
            yield HistogramMetricFamily(
                f"rtpcore_agent_{name}_seconds", text, buckets=spans.buckets(), sum_value=spans.sum
            )
