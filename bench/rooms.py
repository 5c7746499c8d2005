"""What the LiveKit server costs beside forwarding: joins, a large room, and how soon a picture shows.

    python -m bench.rooms joins          1,000 participants in 100 rooms, signalling only
    python -m bench.rooms large          300 participants in one room, three of them speaking
    python -m bench.rooms first_frame    Chromium joins and shows somebody's camera

The server is a process of its own, started as users start it; prints rows as `bench.rows.Row.parse` reads them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import random
import shutil
import statistics
import sys
import time
from pathlib import Path

import aiohttp
from bench.local import KEY, SECRET, serving
from bench.viewer import Viewer

from rtpcore.wire.token import Claims, Keyring, VideoGrant

DEADLINE_S = 60.0
TICKS = os.sysconf("SC_CLK_TCK")


def token(room: str, identity: str) -> str:
    claims = Claims(identity=identity, video=VideoGrant(room_join=True, room=room))
    return Keyring({KEY: SECRET}).issue(claims, now=time.time(), ttl=3600)


async def until(what: str, holds: object) -> None:
    """Wait for a condition."""
    ends_at = time.monotonic() + DEADLINE_S
    while not holds():  # type: ignore[operator]
        if time.monotonic() > ends_at:
            raise SystemExit(f"Waited in vain: {what}.")
        await asyncio.sleep(0.05)


def python_seconds(pid: int) -> float:
    """CPU time of a server's main thread, the only one that runs Python."""
    fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def row(name: str, value: float, unit: str) -> None:
    print(name, f"{value:.4g}", unit, flush=True)


##### Joins


async def joins(quick: bool) -> None:
    """Everybody arrives in ten seconds, evenly, in an order of chance."""
    rooms, members, per_s = (10, 10, 100) if quick else (100, 10, 100)
    names = [(f"room {room}", f"member {member}") for room in range(rooms) for member in range(members)]
    random.Random(1).shuffle(names)
    async with serving() as (url, _), aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        viewers = {name: Viewer(http, url, token(*name)) for name in names}
        await Viewer(http, url, token("warm", "up")).join()
        began = time.monotonic()
        tasks = []
        for number, name in enumerate(names):
            await asyncio.sleep(max(0.0, began + number / per_s - time.monotonic()))
            tasks.append(asyncio.create_task(viewers[name].join()))
        took = sorted(await asyncio.gather(*tasks))
        await until("everybody sees everybody", lambda: all(len(one.others) == members - 1 for one in viewers.values()))
        faults = [fault for one in viewers.values() for fault in one.faults]
        for fault in faults[:5]:
            print(fault, file=sys.stderr)
        await asyncio.gather(*(one.leave() for one in viewers.values()))
    row("join_p50_ms", 1000 * took[len(took) // 2], "ms")
    row("join_p99_ms", 1000 * took[math.ceil(0.99 * len(took)) - 1], "ms")
    row("join_faults", len(faults), "messages")


##### A large room


async def large(quick: bool) -> None:
    """Three of LiveKit's own clients speak, the others listen."""
    from livekit import rtc

    count, seconds = (30, 5) if quick else (300, 20)
    async with contextlib.AsyncExitStack() as stack:
        url, pid = await stack.enter_async_context(serving())
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        speakers, sounds = [], []
        for number in range(3):
            room, source = rtc.Room(), rtc.AudioSource(48_000, 1)
            await room.connect(url.replace("http", "ws"), token("large", f"speaker {number}"))
            track = rtc.LocalAudioTrack.create_audio_track("voice", source)
            options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
            await room.local_participant.publish_track(track, options)
            sounds.append(asyncio.create_task(speak(source, number)))
            speakers.append(room)
        viewers = [Viewer(http, url, token("large", f"viewer {number}"), has_media=True) for number in range(count - 3)]
        for viewer in viewers:
            await viewer.join()
        await until("all hear all", lambda: all(len(one.receivers) >= 3 and one.packets > 150 for one in viewers))
        await asyncio.sleep(5)
        heard, packets = sum(one.speakers_heard for one in viewers), sum(one.packets for one in viewers)
        before, began = python_seconds(pid), time.monotonic()
        await asyncio.sleep(seconds)
        share = (python_seconds(pid) - before) / (time.monotonic() - began)
        heard, packets = sum(v.speakers_heard for v in viewers) - heard, sum(v.packets for v in viewers) - packets
        for one in sounds:
            one.cancel()
        await asyncio.gather(*(viewer.leave() for viewer in viewers), *(room.disconnect() for room in speakers))
    row("large_room_python_cores", share, "cores")
    row("large_room_packets_per_s", packets / seconds, "1/s")
    row("large_room_speaker_messages_per_s", heard / seconds, "1/s")


async def speak(source: object, number: int) -> None:
    """Words and pauses of some seconds, so that who speaks changes."""
    from livekit import rtc

    chance = random.Random(number)
    while True:
        is_loud = chance.random() < 0.6
        for _ in range(chance.randrange(50, 300)):
            data = chance.randbytes(960) if is_loud else bytes(960)
            await source.capture_frame(rtc.AudioFrame(data, 48_000, 1, 480))  # type: ignore[attr-defined]


##### The first picture

PUBLISH = """async ([url, token]) => {
  await import('/page/vendor/livekit-client.js');
  const { Room } = globalThis.LivekitClient;
  const room = new Room();
  await room.connect(url, token);
  await room.localParticipant.setCameraEnabled(true);
}"""
WATCH = """async ([url, token]) => {
  await import('/page/vendor/livekit-client.js');
  const { Room, RoomEvent } = globalThis.LivekitClient;
  const room = new Room();
  const shown = new Promise(resolve => room.on(RoomEvent.TrackSubscribed, track => {
    const video = track.attach();
    document.body.append(video);
    video.requestVideoFrameCallback(() => resolve(performance.now()));
  }));
  const began = performance.now();
  await room.connect(url, token);
  const at = await shown;
  await room.disconnect();
  document.body.replaceChildren();
  return at - began;
}"""


async def first_frame(quick: bool) -> None:
    """One page sends its camera; another joins again and again."""
    from playwright.async_api import async_playwright

    path = shutil.which("chromium")
    if path is None:
        raise SystemExit("This part needs Chromium: apt-get install chromium.")
    flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    flags += ["--autoplay-policy=no-user-gesture-required"]
    async with contextlib.AsyncExitStack() as stack:
        url, _ = await stack.enter_async_context(serving("--dev"))
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=path, args=flags)
        stack.push_async_callback(browser.close)
        sender, viewer = await browser.new_page(), await browser.new_page()
        for page in (sender, viewer):
            await page.goto(f"{url}/")
        socket = url.replace("http", "ws")
        await sender.evaluate(PUBLISH, [socket, token("frames", "sender")])
        times = [
            await viewer.evaluate(WATCH, [socket, token("frames", f"viewer {number}")])
            for number in range(4 if quick else 21)
        ]
    # The first one also loads the library.
    row("join_to_first_frame_p50_ms", statistics.median(times[1:]), "ms")
    row("join_to_first_frame_max_ms", max(times[1:]), "ms")


PARTS = {"joins": joins, "large": large, "first_frame": first_frame}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    asyncio.run(PARTS[arguments.part](arguments.quick))


if __name__ == "__main__":
    main()
