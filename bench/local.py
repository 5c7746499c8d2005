"""What measurements and tests start on this machine: our server, web applications, browsers that nobody looks at."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

__all__ = ["CHROMIUM", "KEY", "SECRET", "end", "free_ports", "hosting", "serving"]

KEY, SECRET = "bench", "a secret of the benchmark, long enough"

CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    # Nobody can be asked for the camera.
    "--use-fake-ui-for-media-stream",
]
"""Arguments of every Chromium."""


@contextlib.asynccontextmanager
async def serving(*arguments: str) -> AsyncIterator[tuple[str, int]]:
    """Our server with one worker, as users start it: its URL and its process id."""
    command = [sys.executable, "-m", "rtpcore.serve", "--host", "127.0.0.1", "--port", "0", "--workers", "1"]
    command += ["--udp-port", "0", "--tcp-port", "-1", "--keys", f"{KEY}: {SECRET}", "--log-level", "error", *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        while b"is ready" not in (line := await process.stdout.readline()):
            if not line:
                raise SystemExit("The server did not start.")
        yield line.decode().split()[-1].rstrip("/"), process.pid
    finally:
        await end(process)


async def end(process: asyncio.subprocess.Process) -> None:
    """End a process, by force where it does not within five seconds."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except (TimeoutError, asyncio.TimeoutError):
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def hosting(app: web.Application, **options: Any) -> AsyncIterator[str]:
    """The URL of an application that runs in this process; `options` are `aiohttp.web.AppRunner`'s."""
    runner = web.AppRunner(app, access_log=None, **options)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, which is all that can be known for another program."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
