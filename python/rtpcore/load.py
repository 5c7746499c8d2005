"""How much of what one server may carry it carries now, so that it refuses newcomers before it fails everybody."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rtpcore.errors import JoinError

if TYPE_CHECKING:
    from rtpcore.forwarder import Forwarder
    from rtpcore.livekit_config import SessionLimits

__all__ = ["Load"]

_TRACKS_PER_CORE = 8000
"""Where nothing is configured: as many copies of sound as a core forwards with nothing left over (docs/performance.md).
LiveKit's server stops at 400."""


class Load:
    """Tracks and bytes of one forwarder beside their limits (``limit.num_tracks``, ``limit.bytes_per_sec``)."""

    def __init__(self, forwarder: Forwarder, limit: SessionLimits) -> None:
        """Measure nothing yet."""
        self._forwarder = forwarder
        tracks = limit.num_tracks
        self._max_tracks = _TRACKS_PER_CORE * (os.cpu_count() or 1) if tracks is None else tracks
        self._max_rate = limit.bytes_per_sec
        self._bytes, self._at_ms = 0, 0
        self.bytes_per_sec = 0.0

    def measure(self, now_ms: int) -> None:
        """Count what went through since the last time; call about once a second."""
        stats = self._forwarder.stats()
        total = stats.bytes_received + stats.bytes_sent
        if self._at_ms and now_ms > self._at_ms:
            self.bytes_per_sec = (total - self._bytes) * 1000 / (now_ms - self._at_ms)
        self._bytes, self._at_ms = total, now_ms

    def check(self) -> None:
        """Let somebody in. Raises JoinError with 503 where the server is full."""
        if 0 < self._max_tracks <= self._forwarder.tracks:
            raise JoinError(503, f"the server carries {self._forwarder.tracks} tracks, as many as it may")
        if 0 < self._max_rate <= self.bytes_per_sec:
            raise JoinError(503, "the server carries as many bytes per second as it may")
