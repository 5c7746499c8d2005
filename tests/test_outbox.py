"""Messages that wait are bounded, whatever their size."""

from __future__ import annotations

import pytest

from rtpcore.outbox import Outbox
from rtpcore.wire.messages import SignalResponse


def message(size: int) -> SignalResponse:
    return SignalResponse(refresh_token="x" * size)


def test_they_come_out_in_order() -> None:
    outbox = Outbox()
    for size in (1, 2, 3):
        assert outbox.append(message(size))
    assert [len(outbox.popleft().refresh_token) for _ in range(len(outbox))] == [1, 2, 3]
    assert (len(outbox), outbox.size) == (0, 0)
    with pytest.raises(IndexError):
        outbox.popleft()


def test_not_too_many() -> None:
    outbox = Outbox(max_messages=2)
    assert [outbox.append(message(1)) for _ in range(3)] == [True, True, False]
    outbox.popleft()
    assert outbox.append(message(1))


def test_not_too_large() -> None:
    outbox = Outbox(max_bytes=1000)
    assert [outbox.append(message(450)) for _ in range(3)] == [True, True, False]
    outbox.clear()
    assert outbox.size == 0
    assert outbox.append(message(5000)), "one message always fits"
    assert not outbox.append(message(1))
