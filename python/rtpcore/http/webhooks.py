"""Webhooks: what happens in rooms, posted to URLs, signed, in order for each room, tried again until it is old.

::

    Happened, Moved ──▶ queue of (url, room) ──▶ POST ──▶ 2xx: the next one
                                           └── else: wait 0.5, 1, 2, … s and try the same again, 30 s long
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from rtpcore.agents import State
from rtpcore.agents.describing import job_message
from rtpcore.wire import ids, text
from rtpcore.wire.messages import WebhookEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from typing_extensions import Self

    from rtpcore.agents.effects import Moved
    from rtpcore.room import Happened, Room
    from rtpcore.wire.token import Keyring

__all__ = ["Webhooks"]

logger = logging.getLogger("rtpcore.webhooks")

_MAX_WAITING = 200
"""Events that wait for one URL and room, as many as LiveKit keeps."""
_MAX_AGE_S = 30.0
"""How long an event is worth telling."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0
_TIMEOUT = aiohttp.ClientTimeout(total=10)


_JOB_EVENTS = {
    State.QUEUED: "agent_job_queued",
    State.RUNNING: "agent_job_started",
    **dict.fromkeys((State.DONE, State.FAILED, State.CANCELLED), "agent_job_ended"),
}
"""Names of our own: LiveKit's server tells of jobs in its cloud alone."""


@dataclass(slots=True)
class _Waiting:
    """An event on its way to one URL."""

    event: WebhookEvent
    at: float


class Webhooks:
    """Tells URLs of events; knows nothing of what they mean.

    Attributes:
        delivered: Events that a URL took.
        failed: Attempts that it did not.
        dropped: Events that were given up, for too many waited or they were too old.
    """

    def __init__(
        self,
        keyring: Keyring,
        *,
        key: str,
        urls: Iterable[str],
        wants: Callable[[str], bool],
        has_full_room: bool = False,
    ) -> None:
        """Be ready to tell.

        Args:
            keyring: Signs.
            key: By which API key, so that a receiver knows by its secret who posts.
            urls: Whom.
            wants: Of which events, by name.
            has_full_room: Tell all of the room with every track, not only its name.
        """
        self._keyring = keyring
        self._key = key
        self._urls = tuple(urls)
        self._wants = wants
        self._has_full_room = has_full_room
        self._queues: dict[tuple[str, str], deque[_Waiting]] = {}
        self._dropped: dict[tuple[str, str], int] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None
        self.delivered = self.failed = self.dropped = 0

    @property
    def queued(self) -> int:
        """Events that wait."""
        return sum(map(len, self._queues.values()))

    async def __aenter__(self) -> Self:
        """Be ready to post."""
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Post what waits, as long as the first try takes, and stop."""
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=_FIRST_PAUSE_S)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._session is not None:
            await self._session.close()

    def notify(self, room: Room, happened: Happened) -> None:
        """Queue an event for every URL; returns at once."""
        if not self._wants(happened.name):
            return
        event = WebhookEvent(event=happened.name, id=ids.event_id(ids.secret), created_at=int(time.time()))
        about_track = happened.name.startswith("track_")
        if about_track and not self._has_full_room:
            # Rooms change with every track: their name says enough.
            event.room.sid, event.room.name = room.sid, room.name
        else:
            event.room.CopyFrom(room.info())
        if happened.participant is not None:
            event.participant.CopyFrom(happened.participant.info())
            if about_track:
                del event.participant.tracks[:]
        if happened.track is not None:
            event.track.CopyFrom(happened.track.info)
        self._queue(room.sid, event)

    def notify_of_job(self, moved: Moved) -> None:
        """Queue an event about an agent's job for every URL; returns at once."""
        job = moved.job
        name = _JOB_EVENTS.get(job.state)
        is_retry = job.state == State.QUEUED and moved.before in (State.ASSIGNED, State.RUNNING)
        name = "agent_job_retried" if is_retry else name
        if name is None or (job.state == State.QUEUED and moved.before is not None and not is_retry):
            return
        if self._wants(name):
            event = WebhookEvent(event=name, id=ids.event_id(ids.secret), created_at=int(time.time()))
            event.job.CopyFrom(job_message(job))
            event.room.CopyFrom(event.job.room)
            self._queue(job.room_sid, event)

    def _queue(self, room_sid: str, event: WebhookEvent) -> None:
        for url in self._urls:
            self._put((url, room_sid), _Waiting(event, time.monotonic()))

    def _put(self, key: tuple[str, str], waiting: _Waiting) -> None:
        queue = self._queues.setdefault(key, deque())
        if len(queue) >= _MAX_WAITING:
            queue.popleft()
            self._drop(key)
        queue.append(waiting)
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._run(key))

    async def _run(self, key: tuple[str, str]) -> None:
        """Post one room's events to one URL, one after the other, until none waits."""
        queue, pause = self._queues[key], _FIRST_PAUSE_S
        try:
            while queue:
                waiting = queue[0]
                if time.monotonic() - waiting.at > _MAX_AGE_S:
                    logger.warning("webhook event %s of room %s is too old to be told", waiting.event.event, key[1])
                    self._drop(key)
                elif not await self._post(key, waiting.event):
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE_S)
                    continue
                pause = _FIRST_PAUSE_S
                if queue and queue[0] is waiting:
                    queue.popleft()
        finally:
            del self._queues[key], self._tasks[key]

    def _drop(self, key: tuple[str, str]) -> None:
        self._dropped[key] = self._dropped.get(key, 0) + 1
        self.dropped += 1

    async def _post(self, key: tuple[str, str], event: WebhookEvent) -> bool:
        if self._session is None:
            return False
        event.num_dropped = self._dropped.get(key, 0)
        body = text.write(event).encode()
        headers = {
            "Content-Type": "application/webhook+json",
            "Authorization": self._keyring.sign_webhook(body, key=self._key, now=time.time()),
        }
        try:
            async with self._session.post(key[0], data=body, headers=headers) as answer:
                if answer.status < 300:
                    self._dropped.pop(key, None)
                    self.delivered += 1
                    return True
                logger.info("webhook %s was answered with %d", event.event, answer.status)
        except (aiohttp.ClientError, TimeoutError, asyncio.TimeoutError) as error:
            logger.info("webhook %s was not delivered: %s", event.event, type(error).__name__)
        self.failed += 1
        return False
