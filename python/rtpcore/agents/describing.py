"""Jobs, dispatches and workers in LiveKit's messages, and as values for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rtpcore.agents.job import (
    ALL_FULL,
    DISPATCH_DELETED,
    NO_WORKER,
    NONE_TOOK_IT,
    QUEUE_FULL,
    ROOM_CLOSED,
    Job,
    State,
)
from rtpcore.wire.messages import (
    AgentDispatch,
    JobRestartPolicy,
    JobState,
    JobStateReason,
    JobStatus,
)
from rtpcore.wire.messages import Job as JobMessage
from rtpcore.wire.messages import Room as RoomInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rtpcore.agents.place import Dispatch
    from rtpcore.agents.pool import Pool
    from rtpcore.agents.workers import Worker
    from rtpcore.wire.messages import ParticipantInfo

__all__ = ["dispatch_message", "job_message", "listing"]

_STATUSES = {
    State.RUNNING: JobStatus.JS_RUNNING,
    State.DONE: JobStatus.JS_SUCCESS,
    State.FAILED: JobStatus.JS_FAILED,
    State.CANCELLED: JobStatus.JS_CANCELLED,
}
"""All others are pending."""

_REASONS = {
    ROOM_CLOSED: JobStateReason.JSR_ROOM_CLOSED,
    DISPATCH_DELETED: JobStateReason.JSR_DISPATCH_DELETED,
    **dict.fromkeys((NO_WORKER, ALL_FULL, NONE_TOOK_IT, QUEUE_FULL), JobStateReason.JSR_NO_CAPACITY),
}
_NS = 1_000_000
"""Nanoseconds of a millisecond: LiveKit's times of jobs and dispatches are in those."""


def job_message(job: Job, room: RoomInfo | None = None, participant: ParticipantInfo | None = None) -> JobMessage:
    """A job as workers and the API are told of it.

    Args:
        job: The job.
        room: Its room as it is now; None where its names are enough.
        participant: Whom it is for, where that is somebody.
    """
    message = JobMessage(
        id=job.id,
        dispatch_id=job.dispatch_id,
        type=job.kind.type,  # type: ignore[arg-type]
        room=room or RoomInfo(sid=job.room_sid, name=job.room),
        namespace=job.kind.namespace,
        metadata=job.metadata,
        agent_name=job.kind.agent_name,
        deployment=job.kind.deployment,
        attributes=dict(job.attributes),
    )
    if participant is not None:
        message.participant.CopyFrom(participant)
    reason = JobStateReason.JSR_RETRYING if job.is_live and job.failures else _REASONS.get(job.reason)
    message.state.CopyFrom(
        JobState(
            status=_STATUSES.get(job.state, JobStatus.JS_PENDING),
            error=(job.error or job.reason) if job.state == State.FAILED else "",
            started_at=job.started_at_ms * _NS,
            ended_at=job.ended_at_ms * _NS,
            updated_at=job.since_ms * _NS,
            participant_identity=job.identity,
            worker_id=job.worker_id,
            agent_id=job.agent_sid,
            reason=reason or JobStateReason.JSR_UNSPECIFIED,
        )
    )
    return message


def dispatch_message(
    dispatch: Dispatch, room: str, jobs: Iterable[JobMessage], *, deleted_at_ms: int = 0
) -> AgentDispatch:
    """A dispatch with its jobs as the API tells of it."""
    policy = JobRestartPolicy.JRP_ON_FAILURE if dispatch.restarts else JobRestartPolicy.JRP_NEVER
    message = AgentDispatch(
        id=dispatch.id,
        agent_name=dispatch.agent_name,
        room=room,
        metadata=dispatch.metadata,
        restart_policy=policy,
        deployment=dispatch.deployment,
        attributes=dict(dispatch.attributes),
    )
    message.state.created_at, message.state.deleted_at = dispatch.created_at_ms * _NS, deleted_at_ms * _NS
    message.state.jobs.extend(jobs)
    return message


def listing(pool: Pool, now_ms: int) -> dict[str, Any]:
    """All of a pool in values that JSON has: workers, live jobs, and the last ones that ended."""
    live = [job for job in pool.books.jobs.values() if job.is_live]
    over = [job for job in pool.books.jobs.values() if not job.is_live]
    ended = sorted([*over, *pool.ended], key=lambda job: -job.ended_at_ms)[:_MAX_SHOWN]
    return {
        "workers": [_worker(worker, pool, now_ms) for worker in pool.books.workers.values()],
        "counts": {state.value: count for state, count in pool.books.counts.items()},
        "jobs": [_job(job, now_ms) for job in sorted(live, key=lambda job: job.created_at_ms)[:_MAX_SHOWN]],
        "ended": [_job(job, now_ms) for job in ended],
    }


_MAX_SHOWN = 500
"""Jobs of either sort in one answer."""


def _worker(worker: Worker, pool: Pool, now_ms: int) -> dict[str, Any]:
    states = [pool.books.jobs[id].state for id in worker.jobs]
    paused_ms = max(0, worker.paused_until_ms - now_ms)
    state = "draining" if worker.is_draining else "full" if worker.is_full else "paused" if paused_ms else "available"
    return {
        "id": worker.id,
        "agent_name": worker.kind.agent_name,
        "deployment": worker.kind.deployment,
        "type": worker.kind.type_name,
        "version": worker.version,
        "is_local": worker.is_local,
        "state": state,
        "load": round(worker.load, 3),
        "running": states.count(State.RUNNING),
        "pending": len(states) - states.count(State.RUNNING),
        "registered_at_ms": worker.registered_at_ms,
    }


def _job(job: Job, now_ms: int) -> dict[str, Any]:
    return {
        "id": job.id,
        "agent_name": job.kind.agent_name,
        "type": job.kind.type_name,
        "room": job.room,
        "room_sid": job.room_sid,
        "participant": job.participant,
        "dispatch_id": job.dispatch_id,
        "state": job.state.value,
        "reason": job.reason,
        "error": job.error,
        "attempt": job.failures + 1,
        "worker_id": job.worker_id,
        "identity": job.identity,
        "agent_sid": job.agent_sid,
        "created_at_ms": job.created_at_ms,
        "assigned_at_ms": job.assigned_at_ms,
        "started_at_ms": job.started_at_ms,
        "ended_at_ms": job.ended_at_ms,
        "in_state_ms": max(0, now_ms - job.since_ms),
        "deadline_in_ms": None if job.deadline_at_ms is None else max(0, job.deadline_at_ms - now_ms),
    }
