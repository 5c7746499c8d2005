"""One reader of what happens, with a bounded queue: a callback of the event loop pushes, a task awaits."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

from rtpcore.errors import LimitError

__all__ = ["Listener"]

T = TypeVar("T")


class Listener(Generic[T]):
    """A queue between one callback and one reader."""

    def __init__(self, capacity: int) -> None:
        """Let at most ``capacity`` values wait."""
        self._queue: deque[T] = deque()
        self._capacity = capacity
        self._wakeup = asyncio.Event()
        self._is_closed = False
        self._overflowed = False

    def push(self, value: T) -> None:
        """Append a value; if there are too many, the reader is told so after those that wait."""
        if len(self._queue) >= self._capacity:
            self._overflowed = True
        else:
            self._queue.append(value)
        self._wakeup.set()

    def close(self) -> None:
        """End the reader after what waits."""
        self._is_closed = True
        self._wakeup.set()

    async def next(self) -> T | None:
        """Wait for the next value; None after the end.

        Raises:
            LimitError: Values were lost behind a slow reader.
        """
        while not self._queue:
            if self._overflowed:
                raise LimitError("events waiting for a slow reader", self._capacity)
            if self._is_closed:
                return None
            self._wakeup.clear()
            await self._wakeup.wait()
        return self._queue.popleft()
