"""The impairment relay (rust/sim/src/bin/relay) as a process, and what it says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Relay", "build", "relay"]

ROOT = Path(__file__).resolve().parents[2]


def build() -> Path:
    """Compile the relay, and say where it is."""
    command = ["cargo", "build", "--quiet", "--package", "rtpcore-sim", "--bin", "relay"]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "OPENSSL_NO_VENDOR": "1"})
    return ROOT / "target" / "debug" / "relay"


class Relay:
    """A link that follows a trace, with a port for each address behind it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ports: dict[tuple[str, int], asyncio.Task[tuple[str, int]]] = {}
        self._turn = asyncio.Lock()

    async def port_for(self, host: str, port: int) -> tuple[str, int]:
        """Where to send what shall go to this address through the link."""
        if (host, port) not in self._ports:
            self._ports[host, port] = asyncio.create_task(self._listen(host, port))
        return await self._ports[host, port]

    async def _listen(self, host: str, port: int) -> tuple[str, int]:
        async with self._turn:
            self._say(f"to {host}:{port}")
            there, _, number = (await self._answer())["listens"].rpartition(":")
            return there, int(number)

    def start(self) -> None:
        """The trace begins."""
        self._say("start")

    async def end(self) -> dict[str, Any]:
        """Stop, and get what it counted."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return await self._answer()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    async def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return answer


@contextlib.asynccontextmanager
async def relay(binary: Path, trace: Path) -> AsyncIterator[Relay]:
    """Run a relay."""

    def go_first() -> None:
        # Where that is allowed, so that the clients' work does not delay their packets.
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))

    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        str(binary), str(trace), stdin=pipe, stdout=pipe, limit=1 << 24, preexec_fn=go_first
    )
    try:
        yield Relay(process)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()
