"""Clients that do not play by the rules: a server as a process bears with them, and others do not notice."""

from __future__ import annotations

import contextlib
import resource
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.e2e.test_operations import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 10_000
BEGINNINGS = (b"", b"GET /rtc HT", b"GET /rtc HTTP/1.1\r\nHost: somewhere\r\n")


@pytest.fixture
def many() -> Iterator[int]:
    """Lets this process open so many sockets: ten thousand, or what its machine lets a process have."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = before[1] if before[1] != resource.RLIM_INFINITY else COUNT + 1000
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    yield min(COUNT, most - 1000)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def memory_kb(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


async def test_half_open_connections_keep_nobody_out(many: int) -> None:
    async with serving() as server, contextlib.AsyncExitStack() as stack:
        port = int(server.base.rpartition(":")[2])
        first = await server.join("Ada-Lovelace")
        before = memory_kb(server.process.pid)
        for number in range(many):
            half = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            half.sendall(BEGINNINGS[number % len(BEGINNINGS)])
        second = await server.join("Grace-Hopper")
        assert await server.status("/livez") == 200
        assert (memory_kb(server.process.pid) - before) / many < 64
        await first.close()
        await second.close()


async def test_rooms_have_any_name() -> None:
    async with serving() as server:
        for room in ("räume", "部屋", "🎉" * 20, "a/b?c#d", "\u200fחדר", "\u0000", "x" * 256):
            one = await server.join("Ada-Lovelace", room)
            other = await server.join("Grace-Hopper", room)
            await one.close()
            await other.close()
