"""A server as a process, as its operator sees it: what it counts, what it writes down, how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.test_utils import unused_port
from livekit import api
from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.peers import until

from rtpcore.doctor.call import call
from rtpcore.wire.messages import DisconnectReason, LeaveRequest, SessionDescription, SignalRequest, SignalResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY, SECRET = "key", "a secret of more than thirty-two bytes"
IDENTITIES, ROOM, METADATA = ("Grace-Hopper", "Ada-Lovelace"), "a-very-private-room", "born-in-1906"


def token(identity: str, room: str = ROOM) -> str:
    grants = api.VideoGrants(room_join=True, room=room)
    made = api.AccessToken(KEY, SECRET).with_identity(identity).with_metadata(METADATA).with_grants(grants)
    return made.to_jwt()


class Server:
    """One process with its output."""

    def __init__(self, process: asyncio.subprocess.Process, base: str, session: aiohttp.ClientSession) -> None:
        self.process = process
        self.base = base
        self.session = session
        self.log = ""

    async def status(self, path: str, **query: str) -> int:
        async with self.session.get(f"{self.base}{path}", params=query) as answer:
            return answer.status

    async def join(self, identity: str, room: str = ROOM) -> aiohttp.ClientWebSocketResponse[bool]:
        socket = await self.session.ws_connect(f"{self.base}/rtc", params={"access_token": token(identity, room)})
        assert (await message(socket)).HasField("join")
        return socket

    async def ended(self) -> int:
        """Its status, and in `log` what it wrote."""
        _, errors = await asyncio.wait_for(self.process.communicate(), 30)
        self.log = errors.decode()
        assert self.process.returncode is not None
        return self.process.returncode


async def message(socket: aiohttp.ClientWebSocketResponse[bool]) -> SignalResponse:
    return SignalResponse.FromString((await asyncio.wait_for(socket.receive(), 30)).data)


async def leave_of(socket: aiohttp.ClientWebSocketResponse[bool]) -> LeaveRequest:
    while not (said := await message(socket)).HasField("leave"):
        pass
    return said.leave


@contextlib.asynccontextmanager
async def serving(*arguments: str) -> AsyncIterator[Server]:
    words = ["--keys", f"{KEY}: {SECRET}", "--host", "127.0.0.1", "--port", "0", "--udp-port", "0", "--tcp-port", "0"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rtpcore.cli", "serve", *words, *arguments, stdout=pipe, stderr=pipe
    )
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        found = re.search(r":(\d+)/", line)
        assert found, line
        async with aiohttp.ClientSession() as session:
            yield Server(process, f"http://127.0.0.1:{found[1]}", session)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_a_drain_waits_for_those_who_are_there() -> None:
    async with serving("--drain-timeout", "3600") as server:
        inside = await server.join(IDENTITIES[0])
        assert await server.status("/readyz") == 200
        server.process.send_signal(signal.SIGTERM)

        async def is_draining() -> bool:
            return await server.status("/readyz") == 503

        await until("it drains", is_draining)
        assert await server.status("/livez") == 200
        assert await server.status("/rtc/validate", access_token=token("late")) == 503
        await inside.send_bytes(SignalRequest(ping=1).SerializeToString())
        while not (await message(inside)).HasField("pong"):
            pass
        await inside.send_bytes(SignalRequest(leave=LeaveRequest()).SerializeToString())
        assert await server.ended() == 0


async def test_at_the_deadline_everybody_is_told() -> None:
    async with serving("--drain-timeout", "0.1") as server:
        inside = await server.join(IDENTITIES[0])
        server.process.send_signal(signal.SIGTERM)
        said = await leave_of(inside)
        assert (said.reason, said.action) == (DisconnectReason.SERVER_SHUTDOWN, LeaveRequest.Action.DISCONNECT)
        assert await server.ended() == 0


async def test_a_second_signal_ends_the_drain() -> None:
    async with serving("--drain-timeout", "3600") as server:
        inside = await server.join(IDENTITIES[0])
        server.process.send_signal(signal.SIGTERM)

        async def is_draining() -> bool:
            return await server.status("/readyz") == 503

        await until("it drains", is_draining)
        server.process.send_signal(signal.SIGTERM)
        assert (await leave_of(inside)).reason == DisconnectReason.SERVER_SHUTDOWN
        assert await server.ended() == 0


async def test_an_interrupt_does_not_wait() -> None:
    async with serving("--drain-timeout", "3600") as server:
        inside = await server.join(IDENTITIES[0])
        server.process.send_signal(signal.SIGINT)
        assert (await leave_of(inside)).reason == DisconnectReason.SERVER_SHUTDOWN
        assert await server.ended() == 0


async def test_metrics_come_from_a_port_of_their_own() -> None:
    port = unused_port()
    async with serving("--config-body", f"prometheus: {{port: {port}, username: eve, password: secret}}") as server:
        url = f"http://127.0.0.1:{port}/metrics"
        async with server.session.get(url) as answer:
            assert answer.status == 401
        headers = {"Authorization": "Basic ZXZlOnNlY3JldA=="}
        async with server.session.get(url, headers=headers) as answer:
            families = {one.name for one in text_string_to_metric_families(await answer.text())}
        assert {"rtpcore_rooms", "livekit_room_total", "process_cpu_seconds"} <= families
        assert await server.status("/metrics") == 404


async def log_of_a_call(*arguments: str) -> str:
    """Everything that a server writes while two clients call each other, others are refused, and it stops."""
    async with serving("--log-level", "debug", "--drain-timeout", "0", *arguments) as server:
        found = await call(server.base, (token(IDENTITIES[0]), token(IDENTITIES[1])), 30)
        assert [one.verdict for one in found if one.leg == "media"] == ["ok"], found
        inside = await server.join(IDENTITIES[0])
        await inside.send_bytes(b"\xff\xff\xff")
        nonsense = SessionDescription(type="offer", sdp="nonsense")
        await inside.send_bytes(SignalRequest(offer=nonsense).SerializeToString())
        await leave_of(inside)
        with contextlib.suppress(aiohttp.WSServerHandshakeError):
            await server.session.ws_connect(f"{server.base}/rtc", params={"access_token": f"{token('x')}forged"})
        await server.join(IDENTITIES[1])
        server.process.send_signal(signal.SIGTERM)
        assert await server.ended() == 0
        return server.log


SECRETS = (*IDENTITIES, ROOM, METADATA, "127.0.0.1", token(IDENTITIES[0])[:40], SECRET)


async def test_the_log_says_what_happened_and_not_to_whom() -> None:
    log = await log_of_a_call()
    for words in ("room_started: room RM_", "participant_joined", "track_published", "is connected", "draining"):
        assert words in log
    assert not [word for word in SECRETS if word in log]
    assert "GET /" not in log, "no access log"


async def test_in_json_neither_unless_it_is_asked_for() -> None:
    lines = (await log_of_a_call("--config-body", "logging: {json: true}")).splitlines()
    told: list[dict[str, Any]] = [json.loads(line) for line in lines]
    joined = next(one for one in told if one.get("event") == "participant_joined")
    assert joined["room"].startswith("RM_")
    assert joined["participant"].startswith("PA_")
    assert not [word for word in SECRETS if word in "\n".join(lines)]
    shown = await log_of_a_call("--config-body", "logging: {json: true, pii: true}")
    assert IDENTITIES[0] in shown
    assert ROOM in shown
    assert SECRET not in shown
