"""Servers to measure: ours, LiveKit's own, or one that runs already."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
from bench.local import KEY, SECRET, end, free_ports, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["KEY", "SECRET", "Served", "oracle", "ours", "running"]

STARTS_WITHIN_S = 20


@dataclass(frozen=True)
class Served:
    """A server, where it tells its metrics, if it does, and its process, if it was started here."""

    url: str
    key: str
    secret: str
    metrics: str = ""
    pid: int = 0


@contextlib.asynccontextmanager
async def ours() -> AsyncIterator[Served]:
    """This project's."""
    async with serving("--dev", "--drain-timeout", "0") as (url, pid):
        yield Served(url, KEY, SECRET, f"{url}/metrics", pid)


@contextlib.asynccontextmanager
async def oracle(binary: str) -> AsyncIterator[Served]:
    """LiveKit's, with its defaults."""
    port, udp_port, tcp_port, metrics_port = free_ports(4)
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
        yield Served(url, KEY, SECRET, f"http://127.0.0.1:{metrics_port}/metrics", process.pid)
    finally:
        await end(process)


@contextlib.asynccontextmanager
async def running(url: str, key: str, secret: str) -> AsyncIterator[Served]:
    """One that somebody else has started."""
    yield Served(url.rstrip("/").replace("ws", "http", 1) if url.startswith("ws") else url.rstrip("/"), key, secret)
