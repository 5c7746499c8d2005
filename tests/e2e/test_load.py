"""The load generator against a real server: LiveKit's clients on a WebRTC stack that is not this project's."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bench.local import KEY, SECRET, serving

from rtpcore.bench_load import LoadError, Wish, find_binary, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def server() -> AsyncIterator[tuple[str, int]]:
    async with serving() as (url, pid):
        yield url, pid


def wish(url: str, **more: Any) -> Wish:
    return Wish(url, KEY, SECRET, subscribers=5, seconds=3, join_rate=20, **more)


async def rtpcore(*arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rtpcore.cli", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("decrypt_every", [1, 100], ids=["all decrypted", "one in a hundred"])
async def test_all_packets_reach_all_subscribers(server: tuple[str, int], decrypt_every: int) -> None:
    url, pid = server
    events: list[str] = []
    figures = await run(
        find_binary(), wish(url, pid=pid, decrypt_every=decrypt_every), lambda event: events.append(event["event"])
    )
    assert (figures.clients, figures.ready, figures.failures) == (6, 6, ())
    # Five subscribers, 50 packets of audio and 30 frames of eight packets a second for each. A busy machine sends late.
    assert figures.received > 1000
    assert figures.lost == 0
    assert figures.delay_ms is not None
    assert figures.delay_ms.samples > 5
    assert figures.delay_ms.samples <= figures.received / (1 if decrypt_every == 1 else 20)
    for times, samples in ((figures.join_ms, 6), (figures.ice_ms, 6), (figures.media_ms, 5)):
        assert times is not None
        assert times.samples == samples
    assert figures.cpu_us_per_packet is not None
    assert figures.memory_kb_per_subscriber is not None
    assert [event for event in events if event != "progress"] == ["measuring", "measured", "result"]


async def test_a_meeting_is_publishers_who_watch_each_other(server: tuple[str, int]) -> None:
    meeting = Wish(server[0], KEY, SECRET, rooms=2, publishers=3, subscribers=0, seconds=2, video_publishers=1)
    figures = await run(find_binary(), replace(meeting, publishers_subscribe=True))
    assert (figures.subscribers, figures.ready, figures.failures, figures.lost) == (6, 6, (), 0)
    # In each room three voices go to two others each, and one camera to two.
    assert figures.received_per_s == pytest.approx(2 * figures.sent_per_s, rel=0.3)


async def test_the_command_tells_a_table_and_writes_files(server: tuple[str, int], tmp_path: Path) -> None:
    url, pid = server
    told, drawn = tmp_path / "load.json", tmp_path / "load.svg"
    where = ["--url", url.replace("http", "ws"), "--key", KEY, "--secret", SECRET, "--pid", str(pid)]
    files = ["--json", str(told), "--plot", str(drawn)]
    status, out, err = await rtpcore("bench", "load", *where, *files, "--steps", "2,3", "--seconds", "1", "--audio")
    assert status == 0, err
    assert "step 2 of 2: measuring for 1 s" in err
    table = {name: values for name, *values in (re.split(r"\s{2,}", line) for line in out.splitlines())}
    assert table["subscribers"] == ["2", "3"]
    assert table["lost"] == ["0", "0"]
    assert len(table["server CPU per packet out (us)"]) == 2
    steps = json.loads(told.read_text())["steps"]
    assert [step["ready"] for step in steps] == [3, 4]
    circles = ET.fromstring(drawn.read_text()).findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 4


async def test_a_wrong_secret_is_told_as_the_server_tells_it(server: tuple[str, int]) -> None:
    status, _, err = await rtpcore("bench", "load", "--url", server[0], "--key", KEY, "--secret", "of somebody else's")
    assert status == 1
    assert "rtpcore: no client took part: the server refused: 401" in err


async def test_nobody_at_the_url_is_an_error() -> None:
    with socket.socket() as taken:
        # Bound, and nobody listens: so nobody else can, either.
        taken.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}"
        status, out, err = await rtpcore("bench", "load", "--url", url, "--key", KEY, "--secret", SECRET)
    assert (status, out) == (1, "")
    assert "no client took part: no connection: Connection refused" in err


@pytest.mark.parametrize("url", ["wss://localhost:7880", "localhost:7880", "ws://localhost:7880/rtc"])
async def test_a_url_of_another_kind_is_an_error(url: str) -> None:
    with pytest.raises(LoadError, match="is not the URL of a server: ws://HOST:PORT"):
        await run(find_binary(), wish(url))


async def test_a_program_that_says_nothing_is_an_error() -> None:
    with pytest.raises(LoadError, match="ended with status 0 and told nothing"):
        await run(Path("/bin/true"), wish("ws://localhost:1"))


async def test_a_process_that_is_not_there_cannot_be_looked_at(server: tuple[str, int]) -> None:
    beyond = (1 << 22) + 1  # Linux counts to 2^22.
    with pytest.raises(OSError, match=f"/proc/{beyond}/stat"):
        await run(find_binary(), wish(server[0], pid=beyond))
