"""``python -m rtpcore.serve`` as a process."""

from __future__ import annotations

import asyncio
import re
import signal
import sys

import aiohttp


async def test_starts_answers_and_stops() -> None:
    ports = ("--port", "0", "--udp-port", "0", "--tcp-port", "0")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rtpcore.serve", "--dev", *ports, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        address = re.search(r"http://localhost:\d+/", line)
        assert address, line
        async with aiohttp.ClientSession() as session, session.get(f"{address[0]}livez") as answer:
            assert await answer.text() == "OK"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
