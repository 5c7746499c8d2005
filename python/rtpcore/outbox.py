"""Messages that wait for a client to read them: bounded in number and in bytes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from rtpcore.wire.messages import Message

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Outbox"]

_MAX_MESSAGES = 2000
"""Some minutes of a busy room."""
_MAX_BYTES = 16 << 20
"""What joins a room of ten thousand, several times over."""


M = TypeVar("M", bound=Message)


class Outbox(Generic[M]):
    """A queue of messages.

    Attributes:
        size: Bytes of those that wait, encoded.
    """

    def __init__(self, max_messages: int = _MAX_MESSAGES, max_bytes: int = _MAX_BYTES) -> None:
        """Hold nothing yet."""
        self._max_messages, self._max_bytes = max_messages, max_bytes
        self._messages: deque[tuple[M, int]] = deque()
        self.size = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._messages)

    def __iter__(self) -> Iterator[M]:
        """Those that wait, oldest first."""
        return (message for message, _ in self._messages)

    def append(self, message: M) -> bool:
        """Put a message behind those that wait; False where it would be too much, and then nothing is changed."""
        size = message.ByteSize()
        if len(self._messages) >= self._max_messages or (self._messages and self.size + size > self._max_bytes):
            return False
        self._messages.append((message, size))
        self.size += size
        return True

    def popleft(self) -> M:
        """Take the oldest. Raises IndexError where none waits."""
        message, size = self._messages.popleft()
        self.size -= size
        return message

    def clear(self) -> None:
        """Throw away all that waits."""
        self._messages.clear()
        self.size = 0
