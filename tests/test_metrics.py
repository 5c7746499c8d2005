"""What is counted, read by Prometheus' own parser."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, unused_port
from livekit import api
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from tests.serving import mount
from tests.test_livekit import FORWARDER, KEY, SECRET, Socket, settings, token

from rtpcore import Server
from rtpcore.doctor.call import call
from rtpcore.errors import BindError
from rtpcore.http import aiohttp as aiohttp_of
from rtpcore.http import metrics
from rtpcore.http.request import Route
from rtpcore.livekit_config import Prometheus
from rtpcore.metrics import Repaired
from rtpcore.serve import application
from rtpcore.snapshot import CopyCounts, Snapshot


class Scraped:
    """One reading: ``scraped("rtpcore_rooms")``, ``scraped("rtpcore_participants", state="active")``."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        found = [one.value for one in self.samples if one.name == name and labels.items() <= one.labels.items()]
        return sum(found)


class Shown:
    """A server that shows its metrics wherever it is mounted."""

    def __init__(self, extra: str = "") -> None:
        self.server = Server(settings(f"room: {{departure_timeout: 1}}\n{extra}"), config=FORWARDER)
        self.max_body = self.server.max_body
        self.close = self.server.close

    @property
    def routes(self) -> list[Route]:
        return [*self.server.routes, *metrics.routes(self.server.metrics)]

    @property
    def is_running(self) -> bool:
        return self.server.is_running

    async def __aenter__(self) -> object:
        return await self.server.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        await self.server.__aexit__(*error)

    def aiohttp_app(self) -> web.Application:
        app = aiohttp_of.application()
        app.add_routes(aiohttp_of.routes(self.routes))
        aiohttp_of.run_with(app, self)
        return app


@pytest.fixture
def server(shown: Shown) -> Server:
    return shown.server


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.fixture(params=["aiohttp", "uvicorn"])
async def client(shown: Shown, request: pytest.FixtureRequest) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(mount(shown, request.param)) as running:
        yield running


def basic(words: str) -> str:
    return f"Basic {base64.b64encode(words.encode()).decode()}"


async def scrape(client: TestClient[Any, Any]) -> Scraped:
    async with client.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        return Scraped(await answer.text())


async def test_a_call_is_counted(client: TestClient[Any, Any]) -> None:
    """Two real clients, media and all."""
    before = await scrape(client)
    assert (before("rtpcore_rooms"), before("rtpcore_ready")) == (0, 1)
    calling = asyncio.create_task(
        call(str(client.make_url("")).rstrip("/"), (token("alice", can_publish=True), token("bob")), 30)
    )
    seen = before
    while not seen("rtpcore_copies", kind="audio", limit="none"):
        assert not calling.done(), calling.result()
        seen = await scrape(client)
    assert seen("rtpcore_copies") == seen("rtpcore_tracks_subscribed", kind="audio") == 1
    assert seen("rtpcore_rooms") == seen("livekit_room_total") == 1
    assert seen("livekit_participant_total") == 2
    assert seen("rtpcore_tracks_published", kind="audio") == seen("livekit_track_published_total", kind="AUDIO") == 1
    assert seen("livekit_track_subscribed_total", kind="AUDIO") == 1
    assert seen("rtpcore_signal_sessions") == 2
    found = await calling
    assert [one.verdict for one in found if one.leg == "media"] == ["ok"], found
    after = await scrape(client)
    while after("rtpcore_room_seconds_count") == 0 or after("rtpcore_added_delay_seconds_count") == 0:
        after = await scrape(client)
    assert after("rtpcore_events_total", event="participant_joined") == 2
    assert after("rtpcore_join_seconds_count") == 2
    assert after("rtpcore_session_seconds_count") == 2
    assert after("livekit_room_duration_seconds_count") == 1
    assert after("rtpcore_tracks_published_ever_total", kind="audio") == 1
    assert after("rtpcore_joins_total", status="101") == 2
    assert after("rtpcore_packets_total", direction="in") > 10 < after("rtpcore_packets_total", direction="out")
    assert after("rtpcore_bytes_total", direction="out") > after("rtpcore_packets_total", direction="out")
    assert after("rtpcore_packets_forwarded_total") >= 10
    assert after("rtpcore_added_delay_seconds_count") == after("rtpcore_packets_forwarded_total")
    assert after("rtpcore_signal_messages_total", direction="received") > 2
    assert after("rtpcore_signal_messages_total", direction="sent") > 2
    assert "rtpcore_keyframe_wait_seconds" in after.families
    assert after.families["rtpcore_packets_dropped"].type == "counter"
    assert after("process_resident_memory_bytes") > 0


def test_repairs_only_rise_though_copies_come_and_go() -> None:
    repaired = Repaired()
    readings = (
        {1: (5, 4, 0), 2: (1, 1, 9)},
        {1: (7, 6, 0), 2: (1, 1, 12)},
        {2: (2, 2, 12), 3: (10, 8, 0)},
        {},
        {4: (1, 0, 0)},
    )
    totals = []
    for reading in readings:
        repaired.read(CopyCounts(number, "none", *counts) for number, counts in reading.items())
        totals.append((repaired.nacks, repaired.retransmitted, repaired.fec_packets))
    assert totals == [(6, 5, 9), (8, 7, 12), (19, 16, 12), (19, 16, 12), (20, 16, 12)]


async def test_paths_are_told_without_names(
    client: TestClient[Any, Any], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = server.forwarder._core.stats()
    path = {"video_budget_bps": None, "granted_bps": 0, "packets_queued": 0}
    transports: dict[int, dict[str, Any]] = {
        1: {"bandwidth": {**path, "estimate_bps": 400_000, "cause": "loss"}},
        2: {"bandwidth": {**path, "estimate_bps": 4_000_000, "cause": "delay"}},
        3: {"bandwidth": None},
    }
    copy = {"limit": "bandwidth", "nacks": 3, "retransmitted": 2, "fec_packets": 1}
    made = Snapshot({**counted, "transports": transports, "senders": {9: copy}})
    monkeypatch.setattr(server.forwarder, "snapshot", lambda: made)
    server.host.streams_paused = 2
    for _ in range(2):
        seen = await scrape(client)
        assert seen("rtpcore_bandwidth_estimate_bps_bucket", le="300000.0") == 0
        assert seen("rtpcore_bandwidth_estimate_bps_bucket", le="500000.0") == 1
        assert seen("rtpcore_bandwidth_estimate_bps_bucket", le="+Inf") == 2
        assert seen("rtpcore_bandwidth_cause", cause="loss") == seen("rtpcore_bandwidth_cause", cause="delay") == 1
        assert seen("rtpcore_bandwidth_cause") == 2
        assert seen("rtpcore_packets_nacked_total") == 3, "once, however often they are read"
        assert (seen("rtpcore_packets_retransmitted_total"), seen("rtpcore_packets_fec_total")) == (2, 1)
        assert seen("rtpcore_streams_paused_total") == 2


async def test_drops_have_reasons(client: TestClient[Any, Any], server: Server) -> None:
    port = next(one.port for one in server.forwarder.candidates if one.protocol == "udp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"\xff" * 100, ("127.0.0.1", port))
    seen = await scrape(client)
    while not seen("rtpcore_packets_dropped_total", reason="unknown_protocol"):
        seen = await scrape(client)


async def test_what_is_refused_is_counted(client: TestClient[Any, Any]) -> None:
    for access in ("", "nonsense"):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.ws_connect("/rtc", params={"access_token": access})
    inside = await Socket.join(client, token())
    await inside.until("join")
    await inside.socket.send_bytes(b"\xff\xff\xff")
    await inside.send(ping=1)
    await inside.until("pong")
    seen = await scrape(client)
    assert seen("rtpcore_joins_total", status="401") == 2
    assert seen("rtpcore_signal_messages_total", direction="received") == 2
    assert seen("rtpcore_participants", state="joined") == 1


async def test_calls_are_counted_by_name_and_status(client: TestClient[Any, Any]) -> None:
    async with api.LiveKitAPI(str(client.make_url("/")), KEY, SECRET) as server:
        await server.room.create_room(api.CreateRoomRequest(name="x"))
    paths = ("livekit.RoomService/ListRooms", "livekit.Invented/Name", "a/b", "livekit.Egress/Invented")
    for path, status in zip(paths, (401, 404, 404, 500), strict=True):
        async with client.post(f"/twirp/{path}", json={}) as answer:
            assert answer.status == status
    seen = await scrape(client)
    assert seen("rtpcore_twirp_requests_total", method="CreateRoom", status="200") == 1
    assert seen("rtpcore_twirp_requests_total", method="ListRooms", status="401") == 1
    named = {(one.labels["service"], one.labels["method"]) for one in seen.samples if "twirp_requests" in one.name}
    assert named == {("livekit.RoomService", "CreateRoom"), ("livekit.RoomService", "ListRooms"), ("", "")}
    assert seen("rtpcore_twirp_requests_total", service="", status="404") == 2, "nobody invents labels"
    assert seen("rtpcore_twirp_request_seconds_count") == 5


async def test_webhooks_are_counted() -> None:
    answers = [500, 200, 200]

    async def hear(_request: web.Request) -> web.Response:
        return web.Response(status=answers.pop(0) if answers else 200)

    hooks = web.Application()
    hooks.router.add_post("/", hear)
    async with TestServer(hooks) as target:
        shown = Shown(f"webhook: {{api_key: {KEY}, urls: ['{target.make_url('/')}']}}")
        async with TestClient(mount(shown, "aiohttp")) as client:
            inside = await Socket.join(client, token())
            await inside.until("join")
            seen = await scrape(client)
            while not seen("rtpcore_webhooks_total", outcome="delivered"):
                seen = await scrape(client)
            assert seen("rtpcore_webhooks_total", outcome="failed") == 1
            assert seen("rtpcore_webhooks_total", outcome="dropped") == 0


class TestPort:
    async def test_a_port_of_its_own_asks_who_it_is(self, client: TestClient[Any, Any], server: Server) -> None:
        wish = Prometheus(port=unused_port(), username="eve", password="secret")
        async with metrics.serving(server.metrics, wish, ("127.0.0.1",)) as ports:
            assert ports == (wish.port,)
            url = f"http://127.0.0.1:{wish.port}/metrics"
            async with aiohttp.ClientSession() as session:
                for given in ("", basic("eve:wrong"), basic("adam:secret"), basic("eve:secret").replace("Basic", "x")):
                    async with session.get(url, headers={"Authorization": given} if given else {}) as answer:
                        assert answer.status == 401
                        assert answer.headers["WWW-Authenticate"].startswith("Basic")
                right = {"Authorization": basic("eve:secret")}
                async with session.get(url, headers=right) as answer:
                    assert Scraped(await answer.text())("rtpcore_ready") == 1
                async with session.get(url, headers={**right, "Accept": "application/openmetrics-text"}) as answer:
                    assert (await answer.text()).endswith("# EOF\n")

    async def test_without_one_there_is_none(self, client: TestClient[Any, Any], server: Server) -> None:
        async with metrics.serving(server.metrics, Prometheus(), ("127.0.0.1",)) as ports:
            assert ports == ()

    async def test_one_that_is_taken_is_said(self, client: TestClient[Any, Any], server: Server) -> None:
        port = client.make_url("/").port or 0
        wish = Prometheus(port=port)
        with pytest.raises(BindError, match=str(port)):
            async with metrics.serving(server.metrics, wish, ("127.0.0.1",)):
                pytest.fail("it is taken")


async def test_only_dev_shows_metrics_on_the_main_port() -> None:
    async with TestClient(TestServer(application(FORWARDER, settings()))) as client, client.get("/metrics") as answer:
        assert answer.status == 404
    async with TestClient(TestServer(application(FORWARDER))) as client, client.get("/metrics") as answer:
        assert answer.status == 200


async def test_a_registry_of_an_application_takes_them_too(client: TestClient[Any, Any], server: Server) -> None:
    made = CollectorRegistry()
    made.register(server.metrics)
    assert {family.name for family in made.collect()} >= {"rtpcore_rooms", "rtpcore_packets"}


async def test_who_drains_is_not_ready_and_lets_nobody_in(client: TestClient[Any, Any], server: Server) -> None:
    inside = await Socket.join(client, token())
    await inside.until("join")
    async with client.get("/readyz") as answer:
        assert (answer.status, await answer.text()) == (200, "OK")
    server.host.is_draining = True
    async with client.get("/readyz") as answer:
        assert answer.status == 503
    for path in ("/livez", "/"):
        async with client.get(path) as answer:
            assert (answer.status, await answer.text()) == (200, "OK")
    async with client.get("/rtc/validate", params={"access_token": token("bob")}) as answer:
        assert (answer.status, await answer.text()) == (503, "the server is shutting down")
    await inside.send(ping=1)
    await inside.until("pong")
    assert (await scrape(client))("rtpcore_ready") == 0
