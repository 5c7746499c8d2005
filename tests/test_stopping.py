"""How a server comes to its end."""

from __future__ import annotations

import asyncio
import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from rtpcore.stopping import Stop


@pytest.fixture
def host() -> Any:
    """As much of a host as this needs: somebody is there."""
    return SimpleNamespace(sessions={"PA_1": object()}, is_draining=False)


async def has_ended(waiting: asyncio.Task[None]) -> bool:
    await asyncio.wait([waiting], timeout=30)
    return waiting.done()


async def test_a_drain_ends_when_the_last_has_left(host: Any) -> None:
    stop = Stop(host, drain_timeout_s=3600)
    waiting = asyncio.create_task(stop.wait())
    await asyncio.sleep(0)
    assert not host.is_draining
    stop.drain()
    assert host.is_draining
    await asyncio.sleep(0)
    assert not waiting.done()
    host.sessions.clear()
    assert await has_ended(waiting)


async def test_a_drain_ends_with_its_time(host: Any) -> None:
    stop = Stop(host, drain_timeout_s=0.01)
    stop.drain()
    await asyncio.wait_for(stop.wait(), 30)
    assert host.sessions, "they are still there"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_at_once(host: Any, number: int, until: Any) -> None:
    stop = Stop(host, drain_timeout_s=3600)
    with stop.signals():
        waiting = asyncio.create_task(stop.wait())
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: host.is_draining)
        assert not waiting.done()
        os.kill(os.getpid(), number)
        assert await has_ended(waiting)


async def test_an_interrupt_ends_without_a_drain(host: Any) -> None:
    stop = Stop(host, drain_timeout_s=3600)
    with stop.signals():
        waiting = asyncio.create_task(stop.wait())
        os.kill(os.getpid(), signal.SIGINT)
        assert await has_ended(waiting)
    assert not host.is_draining
