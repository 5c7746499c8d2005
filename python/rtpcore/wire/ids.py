"""Names of rooms, participants, tracks and the rest, with the prefixes that LiveKit's clients look at.

Clients of the Rust family drop or crash on participants, tracks and rooms whose names begin otherwise. The random part
comes from an argument: `secret` in a server, `seeded` in tests.

>>> room_sid(seeded(1))
'RM_Aexur6J9ZrWY'
>>> track_sid(seeded(1), TrackType.VIDEO, TrackSource.SCREEN_SHARE)
'TR_VSAexur6J9ZrWY'
"""

from __future__ import annotations

import hashlib
import random
import secrets
from collections.abc import Callable
from typing import TypeAlias

from rtpcore.wire.messages import TrackSource, TrackType

__all__ = [
    "ALPHABET",
    "Letters",
    "data_track_sid",
    "dispatch_id",
    "event_id",
    "hashed",
    "job_id",
    "node_id",
    "participant_sid",
    "room_sid",
    "secret",
    "seeded",
    "track_sid",
    "worker_id",
]

Letters: TypeAlias = Callable[[int], str]
"""Gives that many letters of `ALPHABET`."""

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
"""Letters and digits without 0, O, 1, I and l, so that an id can be read out over the telephone."""

LENGTH = 12
"""Letters in the random part: 57^12 is 2^70, so that a billion ids meet one another with a chance of 2^-11."""


def secret(count: int) -> str:
    """Letters that nobody can guess, from the system's randomness."""
    return "".join(secrets.choice(ALPHABET) for _ in range(count))


def seeded(seed: int) -> Letters:
    """A source of letters that repeats itself, for tests."""
    source = random.Random(seed)
    return lambda count: "".join(source.choice(ALPHABET) for _ in range(count))


def hashed(*parts: str) -> Letters:
    """Letters that follow from what they name: whoever knows the same gives the same name, on any machine.

    >>> hashed("RM_1", "helper")(LENGTH) == hashed("RM_1", "helper")(LENGTH) != hashed("RM_1h", "elper")(LENGTH)
    True
    """
    text = "".join(f"{len(part)}:{part}" for part in parts)
    number = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")

    def letters(count: int) -> str:
        # A hash holds 43 letters; no id has that many.
        return "".join(ALPHABET[number // len(ALPHABET) ** place % len(ALPHABET)] for place in range(count))

    return letters


def room_sid(letters: Letters) -> str:
    """One life of a room; its name may live again under another."""
    return "RM_" + letters(LENGTH)


def participant_sid(letters: Letters) -> str:
    """One session of a participant; its identity outlives it."""
    return "PA_" + letters(LENGTH)


def track_sid(letters: Letters, kind: TrackType, source: TrackSource) -> str:
    """A published track. What it is shows in its name, as with LiveKit: people read logs.

    Args:
        letters: Where the random part comes from.
        kind: Audio or video.
        source: Camera, microphone, screen or the screen's sound; one that is none of them has no letter.
    """
    return "TR_" + _KINDS.get(kind, "") + _SOURCES.get(source, "") + letters(LENGTH)


def data_track_sid(letters: Letters) -> str:
    """A published data track."""
    return "DTR_" + letters(LENGTH)


def node_id(letters: Letters) -> str:
    """A running server."""
    return "ND_" + letters(LENGTH)


def dispatch_id(letters: Letters) -> str:
    """The wish for an agent in a room."""
    return "AD_" + letters(LENGTH)


def job_id(letters: Letters) -> str:
    """One agent's work in a room."""
    return "AJ_" + letters(LENGTH)


def worker_id(letters: Letters) -> str:
    """A connected agent worker."""
    return "AW_" + letters(LENGTH)


def event_id(letters: Letters) -> str:
    """A webhook event, by which its receiver knows a repetition."""
    return "EV_" + letters(LENGTH)


_KINDS = {TrackType.AUDIO: "A", TrackType.VIDEO: "V"}
_SOURCES = {
    TrackSource.CAMERA: "C",
    TrackSource.MICROPHONE: "M",
    TrackSource.SCREEN_SHARE: "S",
    TrackSource.SCREEN_SHARE_AUDIO: "s",
}
