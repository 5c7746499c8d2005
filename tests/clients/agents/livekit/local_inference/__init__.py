"""Stands in for LiveKit's models, which `livekit-agents` imports and whose licence is not free; nobody asks them."""

from __future__ import annotations

from typing import Any, NoReturn

VAD_WINDOW_SAMPLES = EOT_MAX_SAMPLES = 0


def _absent(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError("LiveKit's models are not installed: name a voice activity detector and turn_detection")


VAD = EOT = init_vad = init_eot = _absent
