"""What `make quality` is made of: the signalling proxy, and figures from notes."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from bench.local import hosting
from bench.quality import table
from bench.quality.figures import BOUNDS, UNITS, figures, longest_gap_ms, rows, skews_ms
from bench.quality.proxy import proxy, rewrite_candidate, rewrite_sdp
from bench.quality.run import Run
from google.protobuf import json_format
from livekit.protocol import rtc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

UDP = "candidate:1 1 udp 2130706431 127.0.0.1 7882 typ host"
TCP = "candidate:2 1 tcp 1671430143 127.0.0.1 7881 typ host tcptype passive"
REFLEXIVE = "candidate:3 1 UDP 1694498815 198.51.100.1 7882 typ srflx raddr 0.0.0.0 rport 0"
MOVED = "candidate:1 1 udp 2130706431 127.0.0.9 47882 typ host"
SDP = "\r\n".join(["v=0", "m=audio 9 UDP/TLS/RTP/SAVPF 111", f"a={UDP}", f"a={TCP}", "a=end-of-candidates", ""])


async def redirect(host: str, port: int) -> tuple[str, int]:
    return host.replace("0.1", "0.9"), port + 40_000


##### The proxy


@pytest.mark.parametrize(("theirs", "ours"), [(UDP, MOVED), (TCP, None), (REFLEXIVE, None)])
async def test_only_udp_host_candidates_stay_and_point_to_the_relay(theirs: str, ours: str | None):
    assert await rewrite_candidate(theirs, redirect) == ours


async def test_a_description_keeps_all_its_other_lines():
    assert await rewrite_sdp(SDP, redirect) == SDP.replace(UDP, MOVED).replace(f"a={TCP}\r\n", "")
    assert await rewrite_sdp(SDP, None) == SDP.replace(f"a={UDP}\r\n", "").replace(f"a={TCP}\r\n", "")


class Server:
    """One that greets, sends candidates, and keeps what it is told."""

    def __init__(self) -> None:
        self.queries: list[dict[str, str]] = []
        self.tokens: list[str] = []
        self.told: list[rtc.SignalRequest] = []

    async def signal(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(dict(request.query))
        self.tokens.append(request.headers.get("Authorization", ""))
        if request.query.get("access_token") == "bad":
            return web.Response(status=401)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        is_json = "json" in request.query

        async def send(message: rtc.SignalResponse) -> None:
            if is_json:
                await socket.send_str(json_format.MessageToJson(message))
            else:
                await socket.send_bytes(message.SerializeToString())

        join = rtc.SignalResponse()
        join.join.server_version = "1.2.3"
        join.join.ice_servers.add(urls=["stun:198.51.100.1:3478"])
        await send(join)
        for text in (UDP, TCP, ""):
            trickle = rtc.TrickleRequest(candidateInit=json.dumps({"candidate": text, "sdpMid": "0"}))
            await send(rtc.SignalResponse(trickle=trickle))
        await send(rtc.SignalResponse(answer=rtc.SessionDescription(type="answer", sdp=SDP)))
        async for frame in socket:
            kind = rtc.SignalRequest
            self.told.append(json_format.Parse(frame.data, kind()) if is_json else kind.FromString(frame.data))
            await send(rtc.SignalResponse(pong=len(self.told)))
        return socket

    async def validate(self, _: web.Request) -> web.Response:
        return web.Response(text="no such room", status=404, headers={"Access-Control-Allow-Origin": "*"})


@contextlib.asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Server, str]]:
    server = Server()
    app = web.Application()
    app.add_routes([web.get("/rtc", server.signal), web.get("/rtc/validate", server.validate)])
    async with hosting(app, shutdown_timeout=1) as behind, proxy(behind, redirect) as url:
        yield server, url


@pytest.mark.parametrize("form", ["binary", "json"])
async def test_candidates_are_the_relays_and_the_clients_own_stay_here(form: str):
    async with proxied() as (server, url), aiohttp.ClientSession() as client:
        query = {form: "1", "access_token": "good"}
        async with client.ws_connect(f"{url}/rtc", params=query, headers={"Authorization": "Bearer x"}) as socket:

            async def receive() -> Any:
                data = (await socket.receive()).data
                kind = rtc.SignalResponse
                return kind.FromString(data) if isinstance(data, bytes) else json_format.Parse(data, kind())

            async def send(message: rtc.SignalRequest) -> None:
                if form == "json":
                    await socket.send_str(json_format.MessageToJson(message))
                else:
                    await socket.send_bytes(message.SerializeToString())

            join = (await receive()).join
            assert (join.server_version, list(join.ice_servers)) == ("1.2.3", [])
            seen = [json.loads((await receive()).trickle.candidateInit) for _ in range(2)]
            assert seen == [{"candidate": MOVED, "sdpMid": "0"}, {"candidate": "", "sdpMid": "0"}]
            assert (await receive()).answer.sdp == await rewrite_sdp(SDP, redirect)

            await send(rtc.SignalRequest(trickle=rtc.TrickleRequest(candidateInit=json.dumps({"candidate": UDP}))))
            await send(rtc.SignalRequest(offer=rtc.SessionDescription(type="offer", sdp=SDP, id=7)))
            # The first one never came.
            assert (await receive()).pong == 1
        assert [message.offer.sdp for message in server.told] == [await rewrite_sdp(SDP, None)]
        assert server.told[0].offer.id == 7
        assert server.tokens == ["Bearer x"]
        assert server.queries == [query]


@pytest.mark.parametrize("is_packed", [False, True])
async def test_the_first_offer_of_a_single_connection_has_no_candidates_either(is_packed: bool):
    request = rtc.JoinRequest(publisher_offer=rtc.SessionDescription(type="offer", sdp=SDP))
    packed = request.SerializeToString()
    kinds = rtc.WrappedJoinRequest
    wrapped = kinds(
        compression=kinds.GZIP if is_packed else kinds.NONE, join_request=gzip.compress(packed) if is_packed else packed
    )
    text = base64.urlsafe_b64encode(wrapped.SerializeToString()).decode()
    async with proxied() as (server, url), aiohttp.ClientSession() as client:
        async with client.ws_connect(f"{url}/rtc", params={"join_request": text}) as socket:
            await socket.receive()
        seen = kinds.FromString(base64.urlsafe_b64decode(server.queries[0]["join_request"]))
    assert seen.compression == wrapped.compression
    inner = gzip.decompress(seen.join_request) if is_packed else seen.join_request
    assert rtc.JoinRequest.FromString(inner).publisher_offer.sdp == await rewrite_sdp(SDP, None)


async def test_what_the_server_refuses_is_refused_and_what_it_says_is_said():
    async with proxied() as (_, url), aiohttp.ClientSession() as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect(f"{url}/rtc", params={"access_token": "bad"})
        assert refused.value.status == 401
        async with client.get(f"{url}/rtc/validate") as response:
            assert (response.status, await response.text()) == (404, "no such room")
            assert response.headers["Access-Control-Allow-Origin"] == "*"


##### Figures


def sample(at: float, frames: int, *, height: int = 720, **more: float) -> dict[str, Any]:
    """What a viewer notes when all goes well."""
    video = {
        "framesDecoded": frames,
        "frameHeight": height,
        "freezeCount": 0,
        "totalFreezesDuration": 0,
        "bytesReceived": 900_000,
        "headerBytesReceived": 50_000,
        "retransmittedBytesReceived": 40_000,
        "retransmittedPacketsReceived": 8,
        "fecBytesReceived": 10_000,
        "nackCount": 9,
        "pliCount": 1,
        "firCount": 1,
        "keyFramesDecoded": 2,
        "packetsLost": 10,
        "jitterBufferDelay": 0.03 * frames,
        "jitterBufferEmittedCount": frames,
        "playedAt": 1e12 + at,
        "playedRtp": int((1 << 32) - 90_000 + at * 90) % (1 << 32),
    }
    audio = {
        "totalSamplesReceived": 48 * at,
        "concealedSamples": 0.48 * at,
        "silentConcealedSamples": 0.24 * at,
        "jitterBufferDelay": 0.05 * 48 * at,
        "jitterBufferEmittedCount": 48 * at,
        "bytesReceived": 40_000,
        "headerBytesReceived": 10_000,
        "playedAt": 1e12 + at + more.get("late", 0),
        "playedRtp": int(at * 48),
    }
    return {"at": at, "video": video, "audio": audio}


def ran(samples: list[dict[str, Any]], trace: str = "loss5-rtt20", capacities: list[int | None] | None = None) -> Run:
    second = {"passed": 60_000, "queue_p95_ms": 5}
    seconds = [{**second, "capacity": capacity} for capacity in capacities or [None] * 10]
    link = {"down": {"passed": 60_000 * len(seconds), "queue_p95_ms": 50, "late_p95_ms": 0.1, "seconds": seconds}}
    layers = [{"height": 180, "fps": 20, "kbps": 150}, {"height": 720, "fps": 30, "kbps": 1200}]
    viewer = {"samples": samples, "frames": [], "first_frame_ms": 400, "joined_ms": 300}
    return Run(trace, viewer, link, layers, busy=0.5)


def test_a_run_without_faults_has_figures_that_say_so():
    found = figures(ran([sample(at, at * 30 // 1000) for at in range(500, 10_000, 50)]))
    assert found["frozen_s"] == 0
    assert found["no_frame_s"] == pytest.approx(0.05)
    assert found["fps"] == pytest.approx(30, rel=0.1)
    assert found["concealed_percent"] == pytest.approx(0.5)
    assert (found["retransmitted_percent"], found["fec_percent"]) == (4, 1)
    assert (found["lost"], found["unrepaired"]) == (10, 2)
    assert (found["plis"], found["publisher_kbps"], found["join_to_frame_ms"]) == (2, 1200, 400)
    # The sender's clock turned over meanwhile.
    assert found["skew_p95_ms"] == pytest.approx(20, abs=1)
    assert (found["audio_buffer_ms"], found["video_buffer_ms"]) == pytest.approx((50, 30))
    assert found.keys() <= UNITS.keys()
    assert "utilisation_percent" not in found


def test_a_picture_that_stands_until_the_end_is_frozen():
    samples = [sample(at, min(at, 4000) * 30 // 1000) for at in range(500, 10_000, 50)]
    found = figures(ran(samples))
    assert found["frozen_s"] == pytest.approx(5.95, abs=0.06)
    assert found["no_frame_s"] == found["frozen_s"]


def test_nothing_seen_is_the_worst():
    found = figures(ran([{"at": at} for at in range(0, 10_000, 50)]))
    assert (found["frozen_s"], found["fps"]) == (9.95, 0)
    assert "join_to_frame_ms" in found


def test_a_gap_is_as_long_as_both_ways_to_see_it_allow():
    counted = [(at, {"framesDecoded": count}) for at, count in ((0, 1), (50, 2), (300, 2), (350, 3), (400, 4))]
    assert longest_gap_ms(counted, [], 450) == 300
    assert longest_gap_ms(counted, [10, 40, 200, 345, 380, 410], 450) == 160


def test_skew_is_what_sound_and_picture_have_moved_against_each_other():
    together = [sample(at, at * 30 // 1000) for at in range(500, 10_000, 50)]
    apart = [sample(at, at * 30 // 1000, late=60) for at in range(10_000, 20_000, 50)]
    # Sound waits 20 ms longer than pictures from the first, and later plays 60 ms later than that.
    assert set(map(round, skews_ms(together))) == {20}
    assert set(map(round, skews_ms(together + apart))) == {20, 80}
    told = [{"audio": {"estimatedPlayoutTimestamp": 1030}, "video": {"estimatedPlayoutTimestamp": 1000}}]
    assert skews_ms(told) == [30]


def test_a_squeezed_link_has_a_steady_part_and_a_recovery():
    capacities = [375_000] * 10 + [75_000] * 20 + [375_000] * 15
    samples = [
        sample(at, at * 30 // 1000, height=180 if 12_000 < at < 33_500 else 720) for at in range(500, 45_000, 250)
    ]
    found = figures(ran(samples, "squeeze-600", capacities))
    assert found["utilisation_percent"] == 80
    assert found["full_layer_after_s"] == 3.5
    assert found["queue_p95_ms"] == 50
    assert found["full_layer_percent"] == pytest.approx(100 * (1 - 21.5 / 44.5), abs=1)


def test_every_fourth_picture_is_no_full_layer():
    samples = [sample(at, at * 30 // 1000) for at in range(500, 5000, 50)]
    slow = [sample(at, 150 + (at - 5000) * 8 // 1000) for at in range(5000, 9500, 50)]
    assert figures(ran(samples + slow))["full_layer_percent"] == pytest.approx(50, abs=7)


def test_our_rows_have_bounds_and_others_none():
    run = ran([sample(at, at * 30 // 1000) for at in range(500, 10_000, 50)])
    ours, theirs = rows(run), rows(run, "livekit")
    held = {row.name: row.holds for row in ours}
    assert held["loss5-rtt20/frozen_s"] is True
    assert held["loss5-rtt20/concealed_percent"] is False
    assert {row.name for row in theirs} == {f"livekit/{row.name}" for row in ours}
    assert not any(row.bound for row in theirs)
    written = table.markdown([*ours, *theirs], {"cpu": "a"})
    assert "| loss5-rtt20 | frozen_s | s | 0 | 0 | <= 0.3 | yes |" in written
    assert "| loss5-rtt20 | concealed_percent | % | 0.5 | 0.5 | <= 0.3 | NO |" in written
    assert "livekit" in table.text([*ours, *theirs]).splitlines()[0]


def test_every_bound_is_on_a_figure():
    assert {name for bounds in BOUNDS.values() for name in bounds} <= UNITS.keys()
