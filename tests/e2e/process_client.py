"""Clients in a process for each: a request per line of its standard input, an answer per line of its output.

Requests have numbers, since a call to somebody else is answered when that one has answered.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

from tests.e2e.client import Refused, Remote
from tests.e2e.peers import DEADLINE

__all__ = ["Process"]

CLIENTS = Path(__file__).parents[1] / "clients"

COMMANDS = {
    "go": (str(CLIENTS / "go" / "client"),),
    "node": ("node", str(CLIENTS / "node" / "client.mjs")),
}
"""LiveKit's Go SDK on pion, and the one for Node, which is the Rust one on libwebrtc behind JavaScript."""


class Process(Remote):
    """A client in a process."""

    def __init__(self, sdk: str, **options: Any) -> None:
        self._command = COMMANDS[sdk]
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count()

    async def do(self, what: str, **arguments: Any) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number, "do": what, **arguments}).encode() + b"\n")
        said = await answer
        if "error" in said:
            raise Refused(said["error"])
        return said.get("result")

    async def join(self, url: str, token: str) -> None:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe, limit=1 << 24)
        self._reader = asyncio.create_task(self._read(self._process))
        await self.do("join", url=url, token=token, options=self._options)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                answer = json.loads(line)
                # What the SDK for Node logs comes by the same way, and has no number.
                if "id" in answer:
                    self._answer(answer["id"], answer)
        finally:
            for number in list(self._waiting):
                self._answer(number, {"error": f"{self._command[-1]} has ended"})

    def _answer(self, number: int, answer: dict[str, Any]) -> None:
        waiting = self._waiting.pop(number)
        # Who asked may have given up.
        if not waiting.done():
            waiting.set_result(answer)

    async def leave(self) -> None:
        if self._process is not None and self._reader is not None and self._process.returncode is None:
            assert self._process.stdin is not None
            try:
                await asyncio.wait_for(self.do("leave"), DEADLINE)
                # At the end of its input it ends.
                self._process.stdin.close()
                await asyncio.wait_for(self._process.wait(), DEADLINE)
            except (TimeoutError, asyncio.TimeoutError):
                self._process.kill()
            await self._reader
