"""Workers of LiveKit's `livekit-agents` in processes of their own, for tests and for measurements; see `make e2e`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["AgentWorker", "working"]

_ROOT = Path(__file__).parents[1]
_PYTHON = _ROOT / ".build" / "agents" / "bin" / "python"
_SCRIPT = _ROOT / "tests" / "clients" / "agents" / "worker.py"
_PATIENCE_S = 60.0


class AgentWorker:
    """One worker.

    Attributes:
        process: Itself; its jobs may be processes of the same group.
        id: What the server calls it; another one each time that it connects.
        events: Everything that it told, oldest first.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """It has been started."""
        self.process = process
        self.id = ""
        self.events: list[dict[str, Any]] = []
        self._registered = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def registered(self) -> None:
        """Wait until the server has it. Raises TimeoutError, RuntimeError where it has ended before."""
        waiting = asyncio.create_task(self._registered.wait())
        await asyncio.wait([waiting, self._reading], timeout=_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        if not self._registered.is_set():
            waiting.cancel()
            raise RuntimeError("the worker did not register: run `make e2e`, and see what it wrote")

    def told(self, event: str) -> list[dict[str, Any]]:
        """What it told of one matter."""
        return [one for one in self.events if one["event"] == event]

    def kill(self) -> None:
        """End it as a crash would: it says goodbye to nobody. Processes of its jobs are left to see for themselves."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    def drain(self) -> None:
        """Ask it to finish what it does and end."""
        self.process.send_signal(signal.SIGTERM)

    async def end(self) -> None:
        """Let nothing of it be left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            event = json.loads(line)
            self.events.append(event)
            if event["event"] == "registered":
                self.id = event["worker"]
                self._registered.set()


@contextlib.asynccontextmanager
async def working(url: str, key: str, secret: str, work: str, *arguments: str) -> AsyncIterator[AgentWorker]:
    """A worker that is registered.

    Args:
        url: Of the server.
        key: The API key.
        secret: Its secret.
        work: What its agents do: ``talk``, ``stay`` or ``crash``.
        arguments: Others of ``tests/clients/agents/worker.py``.
    """
    own = {"LIVEKIT_URL": url.replace("http", "ws", 1), "LIVEKIT_API_KEY": key, "LIVEKIT_API_SECRET": secret}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = await asyncio.create_subprocess_exec(
        str(_PYTHON),
        str(_SCRIPT),
        work,
        *arguments,
        env={**environment, **own},
        stdout=asyncio.subprocess.PIPE,
        # A group of its own, so that its jobs end with it when the test does.
        start_new_session=True,
        limit=1 << 20,
    )
    worker = AgentWorker(process)
    try:
        await worker.registered()
        yield worker
    finally:
        await worker.end()
