"""Names, and what clients look for in them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from rtpcore.wire import ids
from rtpcore.wire.messages import TrackSource, TrackType


@pytest.mark.parametrize(
    ("make", "prefix"),
    [
        (ids.room_sid, "RM_"),
        (ids.participant_sid, "PA_"),
        (ids.data_track_sid, "DTR_"),
        (ids.node_id, "ND_"),
        (ids.dispatch_id, "AD_"),
        (ids.job_id, "AJ_"),
        (ids.worker_id, "AW_"),
        (ids.event_id, "EV_"),
    ],
)
def test_every_id_has_its_prefix_and_twelve_letters(make: Callable[[ids.Letters], str], prefix: str) -> None:
    assert re.fullmatch(prefix + f"[{ids.ALPHABET}]{{12}}", make(ids.secret))
    assert make(ids.seeded(3)) == make(ids.seeded(3)) != make(ids.seeded(4))


@pytest.mark.parametrize(
    ("kind", "source", "prefix"),
    [
        (TrackType.AUDIO, TrackSource.MICROPHONE, "TR_AM"),
        (TrackType.VIDEO, TrackSource.CAMERA, "TR_VC"),
        (TrackType.VIDEO, TrackSource.SCREEN_SHARE, "TR_VS"),
        (TrackType.AUDIO, TrackSource.SCREEN_SHARE_AUDIO, "TR_As"),
        (TrackType.VIDEO, TrackSource.UNKNOWN, "TR_V"),
        (TrackType.AUDIO, 77, "TR_A"),
    ],
)
def test_a_tracks_name_says_what_it_is(kind: TrackType, source: TrackSource, prefix: str) -> None:
    assert re.fullmatch(prefix + f"[{ids.ALPHABET}]{{12}}", ids.track_sid(ids.secret, kind, source))


def test_ids_do_not_repeat() -> None:
    letters = ids.seeded(1)
    assert len({ids.room_sid(letters) for _ in range(10_000)}) == 10_000
    assert len({ids.room_sid(ids.secret) for _ in range(10_000)}) == 10_000


def test_what_is_hashed_has_one_name() -> None:
    names = [ids.job_id(ids.hashed("RM_1", str(number))) for number in range(10_000)]
    assert len(set(names)) == 10_000
    assert names[7] == ids.job_id(ids.hashed("RM_1", "7"))
    assert re.fullmatch(f"AJ_[{ids.ALPHABET}]{{12}}", names[0])
