"""How a server stops: at once, or when those who are there have left.

::

    SIGTERM ──▶ draining: nobody comes in ──▶ the last has left, or the deadline ──▶ the end
                       └── SIGTERM or SIGINT again ────────────────────────────────────▲
    SIGINT ────────────────────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtpcore.host import Host

__all__ = ["DRAIN_TIMEOUT_S", "Stop"]

logger = logging.getLogger("rtpcore.serve")

DRAIN_TIMEOUT_S = 25.0
"""How long a drain may take unless told: Kubernetes kills after 30 seconds, and then nobody is told goodbye."""

_GLANCE_S = 0.2
"""How often it is looked whether somebody is still there."""


class Stop:
    """Waits until a server is to end."""

    def __init__(self, host: Host, drain_timeout_s: float = DRAIN_TIMEOUT_S) -> None:
        """Be told by `drain` and `end`, or by signals within `signals`; a drain takes ``drain_timeout_s`` at most."""
        self._host = host
        self._timeout_s = drain_timeout_s
        self._asked = asyncio.Event()
        self._ended = asyncio.Event()

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Listen to SIGTERM and SIGINT meanwhile."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.drain)
        loop.add_signal_handler(signal.SIGINT, self.end)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def drain(self) -> None:
        """Let nobody in any more, and end when all have left; asked again, end at once."""
        if self._asked.is_set():
            return self.end()
        self._host.is_draining = True
        self._asked.set()

    def end(self) -> None:
        """End at once."""
        self._ended.set()
        self._asked.set()

    async def wait(self) -> None:
        """Return when the server is to end."""
        await self._asked.wait()
        if self._ended.is_set():
            return
        until = time.monotonic() + self._timeout_s
        logger.info("draining: %d participants have up to %g s", len(self._host.sessions), self._timeout_s)
        while self._host.sessions and not self._ended.is_set():
            left = until - time.monotonic()
            if left <= 0:
                logger.warning("%d participants are sent away: their time is up", len(self._host.sessions))
                return
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ended.wait(), min(left, _GLANCE_S))
