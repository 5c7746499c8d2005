"""Servers to measure: ours, LiveKit's own, or one that runs already."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["KEY", "SECRET", "Served", "oracle", "ours", "running"]

KEY, SECRET = "bench", "a secret of the benchmark, long enough"
STARTS_WITHIN_S = 20


@dataclass(frozen=True)
class Served:
    """A server, and where it tells its metrics, if it does."""

    url: str
    key: str
    secret: str
    metrics: str = ""


@contextlib.asynccontextmanager
async def ours() -> AsyncIterator[Served]:
    """This project's, as users start it."""
    command = [sys.executable, "-m", "rtpcore.serve", "--dev", "--host", "127.0.0.1", "--port", "0", "--workers", "1"]
    command += ["--udp-port", "0", "--tcp-port", "-1", "--keys", f"{KEY}: {SECRET}", "--log-level", "error"]
    command += ["--drain-timeout", "0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        while b"is ready" not in (line := await process.stdout.readline()):
            if not line:
                raise SystemExit("The server did not start.")
        url = line.decode().split()[-1].rstrip("/")
        yield Served(url, KEY, SECRET, f"{url}/metrics")
    finally:
        await _end(process)


@contextlib.asynccontextmanager
async def oracle(binary: str) -> AsyncIterator[Served]:
    """LiveKit's, with its defaults."""
    port, udp_port, tcp_port, metrics_port = _free_ports(4)
    settings = {
        "port": port,
        "bind_addresses": ["127.0.0.1"],
        "prometheus": {"port": metrics_port},
        "rtc": {
            "udp_port": udp_port,
            "tcp_port": tcp_port,
            "node_ip": "127.0.0.1",
            "use_external_ip": False,
            "enable_loopback_candidate": True,
        },
        "keys": {KEY: SECRET},
        "logging": {"level": "error"},
    }
    process = await asyncio.create_subprocess_exec(binary, "--config-body", json.dumps(settings))
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as client:
            for _ in range(10 * STARTS_WITHIN_S):
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    async with client.get(url) as response:
                        if response.status == 200:
                            break
                await asyncio.sleep(0.1)
            else:
                raise SystemExit("LiveKit's server did not start.")
        yield Served(url, KEY, SECRET, f"http://127.0.0.1:{metrics_port}/metrics")
    finally:
        await _end(process)


@contextlib.asynccontextmanager
async def running(url: str, key: str, secret: str) -> AsyncIterator[Served]:
    """One that somebody else has started."""
    yield Served(url.rstrip("/").replace("ws", "http", 1) if url.startswith("ws") else url.rstrip("/"), key, secret)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except (TimeoutError, asyncio.TimeoutError):
            process.kill()
            await process.wait()


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, which is all that can be known for another program."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
