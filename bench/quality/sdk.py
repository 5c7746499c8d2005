"""LiveKit's SDK from PyPI as the viewer: ``python -m bench.quality.sdk URL SECONDS``, with the token on its input.

It prints what page.js gives for Chromium, in the same names, so that the same figures are made of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from typing import Any

from livekit import rtc

SAMPLE_S = 0.1
"""Each sample is a round trip to the SDK's threads."""

NOTED = {
    "framesDecoded": "frames_decoded",
    "framesReceived": "frames_received",
    "keyFramesDecoded": "key_frames_decoded",
    "frameWidth": "frame_width",
    "frameHeight": "frame_height",
    "freezeCount": "freeze_count",
    "totalFreezesDuration": "total_freeze_duration",
    "bytesReceived": "bytes_received",
    "headerBytesReceived": "header_bytes_received",
    "retransmittedPacketsReceived": "retransmitted_packets_received",
    "retransmittedBytesReceived": "retransmitted_bytes_received",
    "fecBytesReceived": "fec_bytes_received",
    "nackCount": "nack_count",
    "pliCount": "pli_count",
    "firCount": "fir_count",
    "jitterBufferDelay": "jitter_buffer_delay",
    "jitterBufferEmittedCount": "jitter_buffer_emitted_count",
    "totalSamplesReceived": "total_samples_received",
    "concealedSamples": "concealed_samples",
    "silentConcealedSamples": "silent_concealed_samples",
    "estimatedPlayoutTimestamp": "estimated_playout_timestamp",
}


class Viewer:
    """Somebody who looks and takes notes."""

    def __init__(self) -> None:
        self._room = rtc.Room()
        self._room.on("track_subscribed", self._subscribed)
        self._tracks: dict[str, rtc.RemoteTrack] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._began = time.monotonic()
        self._notes: dict[str, Any] = {"samples": [], "frames": [], "joined_ms": None, "first_frame_ms": None}

    async def look(self, url: str, token: str, seconds: float) -> dict[str, Any]:
        """Join, look for so long, and leave."""
        self._began = time.monotonic()
        self._tasks.append(asyncio.create_task(self._sample()))
        joining = asyncio.create_task(self._join(url, token))
        await asyncio.sleep(seconds)
        for task in (joining, *self._tasks):
            task.cancel()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._room.disconnect(), 3)
        return {**self._notes, "events": [], "pairs": []}

    async def _join(self, url: str, token: str) -> None:
        await self._room.connect(url, token)
        self._notes["joined_ms"] = self._now_ms()

    def _now_ms(self) -> float:
        return 1000 * (time.monotonic() - self._began)

    def _subscribed(self, track: rtc.RemoteTrack, *_: object) -> None:
        is_video = track.kind == rtc.TrackKind.KIND_VIDEO
        self._tracks["video" if is_video else "audio"] = track
        self._tasks.append(asyncio.create_task(self._watch(track) if is_video else self._listen(track)))

    async def _watch(self, track: rtc.RemoteTrack) -> None:
        async for _ in rtc.VideoStream(track):
            if self._notes["first_frame_ms"] is None:
                self._notes["first_frame_ms"] = self._now_ms()
            self._notes["frames"].append(self._now_ms())

    async def _listen(self, track: rtc.RemoteTrack) -> None:
        # What nobody takes is not decoded.
        async for _ in rtc.AudioStream(track):
            pass

    async def _sample(self) -> None:
        while True:
            noted: dict[str, Any] = {"at": self._now_ms()}
            for kind, track in self._tracks.items():
                for one in await track.get_stats():
                    if one.WhichOneof("stats") == "inbound_rtp":
                        inbound, received = one.inbound_rtp.inbound, one.inbound_rtp.received
                        noted[kind] = {name: getattr(inbound, field) for name, field in NOTED.items()}
                        noted[kind] |= {"packetsReceived": received.packets_received}
                        noted[kind] |= {"packetsLost": received.packets_lost}
            self._notes["samples"].append(noted)
            await asyncio.sleep(SAMPLE_S)


async def main() -> None:
    url, seconds = sys.argv[1:]
    # A room belongs to the loop in which it is made.
    print(json.dumps(await Viewer().look(url, sys.stdin.readline().strip(), float(seconds))))


if __name__ == "__main__":
    asyncio.run(main())
