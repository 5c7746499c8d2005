"""What the tests share: a forwarder on loopback, waiting for conditions, hypothesis without deadlines."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable

# How long an example takes says nothing here: machines are shared, and nothing is timed.
settings.register_profile("rtpcore", deadline=None)
settings.load_profile("rtpcore")

PATIENCE = 30
"""Seconds until a condition that never comes true fails the test; nothing else depends on it."""


class Until(Protocol):
    """Waits for a condition."""

    async def __call__(self, condition: Callable[[], object], what: str = ...) -> None:
        """Return once ``condition()`` is true; fail with ``what`` if it never is."""


@pytest.fixture
def until() -> Until:
    """Wait for what other threads and peers do: ``await until(lambda: forwarder.stats().transports == 1)``."""

    async def wait(condition: Callable[[], object], what: str = "the condition") -> None:
        for _ in range(100 * PATIENCE):
            if condition():
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"{what} did not come true within {PATIENCE} s")

    return wait
