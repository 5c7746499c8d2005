"""From what a viewer noted and a relay counted to figures, and what those are held to."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from bench.rows import Bound, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.quality.run import Run

__all__ = ["BOUNDS", "figures", "rows"]

FULL_HEIGHT = 720
FULL_FPS = 20
"""Of the 30 that are sent: what drops a third of them is no full layer."""

SETTLED_S = 5
"""After a change of the rate, until a figure may be called steady."""

UNITS = {
    "frozen_s": "s",
    "freezes": "times",
    "no_frame_s": "s",
    "fps": "1/s",
    "concealed_percent": "%",
    "join_to_frame_ms": "ms",
    "full_layer_percent": "%",
    "full_layer_after_s": "s",
    "skew_p95_ms": "ms",
    "video_buffer_ms": "ms",
    "audio_buffer_ms": "ms",
    "retransmitted_percent": "%",
    "fec_percent": "%",
    "utilisation_percent": "%",
    "queue_p95_ms": "ms",
    "received_kbps": "kbit/s",
    "nacks": "packets",
    "plis": "times",
    "keyframes": "frames",
    "lost": "packets",
    "unrepaired": "packets",
    "publisher_fps": "1/s",
    "publisher_kbps": "kbit/s",
    "machine_busy_percent": "%",
    "relay_late_p95_ms": "ms",
}


def _video(frozen_s: float, no_frame_s: float, concealed_percent: float) -> dict[str, Bound]:
    limits = {"frozen_s": frozen_s, "no_frame_s": no_frame_s, "concealed_percent": concealed_percent}
    return {name: Bound(limit) for name, limit in limits.items()}


SKEW = {"skew_p95_ms": Bound(40)}
SQUEEZED = {"full_layer_after_s": Bound(6), "utilisation_percent": Bound(85, at_least=True), "queue_p95_ms": Bound(100)}
# Of the bytes, where a twentieth of the packets is lost.
REPAIR = {"repair_percent": Bound(15)}

# What LiveKit's viewers have on these traces is in bench/results/quality.md.
BOUNDS: dict[str, dict[str, Bound]] = {
    "clean-rtt20": {**_video(0, 0.15, 0.3), **SKEW, "repair_percent": Bound(0)},
    "loss5-rtt20": {**_video(0.3, 0.15, 0.3), **SKEW, **REPAIR},
    "loss5-rtt100": {**_video(0.5, 0.2, 0.3), **SKEW, **REPAIR},
    "bursts8-rtt50": {**_video(1.5, 0.3, 1), **SKEW, **REPAIR},
    "loss10-rtt250": {**_video(3, 0.5, 0.7), **SKEW},
    "loss20-rtt100": {**_video(3, 0.5, 2), **SKEW},
    "squeeze-600": {**_video(1.5, 0.8, 0.3), **SKEW, **SQUEEZED},
    # There is no room for a picture in the squeeze itself, which takes 15 s.
    "squeeze-80": {
        "frozen_s": Bound(15),
        "concealed_percent": Bound(1),
        **SKEW,
        "full_layer_after_s": Bound(6),
        "queue_p95_ms": Bound(100),
    },
}
UNITS["repair_percent"] = "%"


def rows(run: Run, who: str = "") -> list[Row]:
    """The figures of a run as rows; `who` is somebody else's server, which is held to nothing."""
    bounds = {} if who else BOUNDS.get(run.trace, {})
    prefix = f"{who}/" if who else ""
    return [
        Row(f"{prefix}{run.trace}/{name}", round(value, 3), UNITS[name], bounds.get(name))
        for name, value in figures(run).items()
    ]


def figures(run: Run) -> dict[str, float]:
    """What is said of a run, in the units of `UNITS`."""
    samples = run.viewer["samples"]
    ends_ms = samples[-1]["at"]
    video = [(one["at"], one["video"]) for one in samples if one.get("video", {}).get("framesDecoded")]
    audio = [one["audio"] for one in samples if "audio" in one]
    down = run.link["down"]
    found: dict[str, float] = {}
    if video:
        first_ms, last = video[0][0], video[-1][1]
        gaps = longest_gap_ms(video, run.viewer["frames"], ends_ms)
        changed_ms = next(at for at, one in video if one["framesDecoded"] == last["framesDecoded"])
        # A freeze that lasts until the end is in no counter yet.
        open_freeze_ms = ends_ms - changed_ms if ends_ms - changed_ms > 500 else 0
        received = sum(one["bytesReceived"] + one["headerBytesReceived"] for one in (last, *audio[-1:]))
        found |= {
            "frozen_s": last["totalFreezesDuration"] + open_freeze_ms / 1000,
            "no_frame_s": gaps / 1000,
            "fps": last["framesDecoded"] / (ends_ms - first_ms) * 1000,
            "freezes": last["freezeCount"],
            "full_layer_percent": 100 * sum(is_full for _, is_full in full(video)) / len(video),
            "retransmitted_percent": 100 * last["retransmittedBytesReceived"] / received,
            "fec_percent": 100 * last["fecBytesReceived"] / received,
            "nacks": last["nackCount"],
            "plis": last["pliCount"] + last["firCount"],
            "keyframes": last["keyFramesDecoded"],
            "lost": last["packetsLost"],
            # By a stream of their own, which the counter of lost ones does not know of.
            "unrepaired": max(0, last["packetsLost"] - last["retransmittedPacketsReceived"]),
        }
        found["repair_percent"] = found["retransmitted_percent"] + found["fec_percent"]
        found["video_buffer_ms"] = buffered_ms(video[0][1], last)
    else:
        # Nothing was ever seen.
        found |= {"frozen_s": ends_ms / 1000, "no_frame_s": ends_ms / 1000, "fps": 0}
    if audio and audio[-1]["totalSamplesReceived"]:
        last = audio[-1]
        concealed = last["concealedSamples"] - last["silentConcealedSamples"]
        found["concealed_percent"] = 100 * concealed / last["totalSamplesReceived"]
        found["audio_buffer_ms"] = buffered_ms(audio[0], last)
    if run.viewer["first_frame_ms"] is not None:
        found["join_to_frame_ms"] = run.viewer["first_frame_ms"]
    if (skews := skews_ms(samples)) and len(skews) > 20:
        found["skew_p95_ms"] = percentile(map(abs, skews), 95)
    found |= _limited(down, video)
    found["received_kbps"] = 8 * (down["passed"]) / ends_ms
    top = max(run.layers, key=lambda layer: layer["height"], default={"fps": 0, "kbps": 0})
    found |= {
        "publisher_fps": top["fps"],
        "publisher_kbps": top["kbps"],
        "machine_busy_percent": 100 * run.busy,
        "relay_late_p95_ms": down["late_p95_ms"],
    }
    return found


def full(video: Sequence[tuple[float, dict[str, Any]]]) -> list[tuple[float, bool]]:
    """For each sample, whether all lines and most pictures came in the second before it.

    A server may keep the lines and send every fourth picture: that is not what the publisher sends.
    """
    found = []
    oldest = 0
    for number, (at, one) in enumerate(video):
        while at - video[oldest][0] > 1000:
            oldest += 1
        begins, before = video[oldest]
        # From the first picture on, as many as there was time for.
        enough = FULL_FPS * (at - begins) / 1000
        is_smooth = one["framesDecoded"] - before["framesDecoded"] >= enough or number == 0
        found.append((at, one["frameHeight"] >= FULL_HEIGHT and is_smooth))
    return found


def longest_gap_ms(video: Sequence[tuple[float, dict[str, Any]]], shown: Sequence[float], ends_ms: float) -> float:
    """The longest time without a picture.

    What was decoded is known to the time between two samples, what was shown to that between two of the page's own
    pictures: each may say too much, and rarely at the same time.
    """
    changes = [video[0][0]]
    for (_, before), (at, after) in itertools.pairwise(video):
        if after["framesDecoded"] != before["framesDecoded"]:
            changes.append(at)
    by_count = _longest([*changes, ends_ms])
    # Less than a second at the end is only the last picture's own time.
    return min(by_count, _longest([*shown, ends_ms])) if shown else by_count


def _longest(times: Sequence[float]) -> float:
    return max((after - before for before, after in itertools.pairwise(times)), default=0)


def skews_ms(samples: Sequence[dict[str, Any]]) -> list[float]:
    """How much later sound plays than the picture that belongs to it.

    LiveKit's SDK tells it, Chromium no longer does. There each plays at a time of its own clock, and the difference of
    the two offsets is constant while they stay as far apart as they are. How far that is, the two buffers tell.
    """
    both = [(one["audio"], one["video"]) for one in samples if {"audio", "video"} <= one.keys()]
    told = [[one.get("estimatedPlayoutTimestamp") for one in pair] for pair in both]
    if exact := [audio - video for audio, video in told if audio and video]:
        return exact
    offsets = []
    references: dict[str, tuple[float, int]] = {}
    for one in samples:
        if not all("playedAt" in one.get(kind, {}) for kind in ("audio", "video")):
            continue
        parts = []
        for kind, rate in (("audio", 48), ("video", 90)):
            played_at, rtp = one[kind]["playedAt"], one[kind]["playedRtp"]
            first_at, first_rtp = references.setdefault(kind, (played_at, rtp))
            # Signed, for timestamps turn over at 2^32.
            ticks = (rtp - first_rtp + (1 << 31)) % (1 << 32) - (1 << 31)
            parts.append((played_at, played_at - first_at - ticks / rate))
        # A picture that stands still is not out of step, it is frozen.
        if abs(parts[0][0] - parts[1][0]) < 100:
            offsets.append((one["at"], parts[0][1] - parts[1][1]))
    if not offsets:
        return []
    begins = offsets[0][0]
    early = sorted(offset for at, offset in offsets if 2000 <= at - begins < SETTLED_S * 1000)
    if not early:
        return []
    # By then what each waits for in its own buffer says how far they are apart: the network's part is one and the same.
    apart = _buffered_ms(samples, "audio", begins) - _buffered_ms(samples, "video", begins)
    reference = early[len(early) // 2] - apart
    return [offset - reference for at, offset in offsets if at - begins >= 2000]


def _buffered_ms(samples: Sequence[dict[str, Any]], kind: str, begins: float) -> float:
    """The mean time that what was played in the first seconds had waited, from its first packet on."""
    early = [one[kind] for one in samples if kind in one and 2000 <= one["at"] - begins < SETTLED_S * 1000]
    return buffered_ms(early[0], early[-1])


def buffered_ms(before: dict[str, Any], after: dict[str, Any]) -> float:
    """The mean time that what was played between two samples had waited."""
    waited: float = after["jitterBufferDelay"] - before["jitterBufferDelay"]
    count: int = after["jitterBufferEmittedCount"] - before["jitterBufferEmittedCount"]
    return 1000 * waited / max(1, count)


def _limited(down: dict[str, Any], video: Sequence[tuple[float, dict[str, Any]]]) -> dict[str, float]:
    """What became of a link with a bottleneck."""
    seconds = down["seconds"]
    if not seconds or any(one["capacity"] is None for one in seconds):
        return {}
    found = {"queue_p95_ms": down["queue_p95_ms"]}
    capacities = [one["capacity"] for one in seconds]
    # Only where there is one squeeze is there a steady part, and a recovery.
    least = min(capacities)
    low = [number for number, capacity in enumerate(capacities) if capacity == least]
    is_step = len(set(capacities)) == 2 and low == list(range(low[0], low[-1] + 1)) and low[-1] + 1 < len(capacities)
    if not is_step:
        return found
    steady = [seconds[number] for number in low[SETTLED_S:]]
    if steady:
        found["utilisation_percent"] = 100 * sum(one["passed"] for one in steady) / (least * len(steady))
    recovers_ms = 1000 * (low[-1] + 1)
    back = (at for at, is_full in full(video) if is_full and at >= recovers_ms)
    # Never is as long as was waited.
    ends_ms = max(recovers_ms, video[-1][0] if video else 0)
    found["full_layer_after_s"] = (next(back, ends_ms) - recovers_ms) / 1000
    return found


def percentile(values: Iterable[float], percent: float) -> float:
    """The nearest rank of some values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
