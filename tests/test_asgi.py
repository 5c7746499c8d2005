"""What is ASGI's own; that all else is as under aiohttp is said in tests/test_livekit.py."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType
from tests.server.conftest import make_server
from tests.serving import uvicorn_of

from rtpcore import Config, Listen, Server
from rtpcore.http import asgi
from rtpcore.livekit_config import load


def scope(path: str, kind: str = "http", **more: Any) -> dict[str, Any]:
    return {"type": kind, "method": "GET", "path": path, "query_string": b"", "headers": [], **more}


async def call(app: Any, scope: dict[str, Any], *incoming: dict[str, Any]) -> list[dict[str, Any]]:
    """What an application sends, without a server round it."""
    waiting, sent = list(incoming), []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


CONNECT = {"type": "websocket.connect"}


class TestRefusals:
    async def test_a_status_where_the_server_has_a_way_for_it(self) -> None:
        async with make_server() as server:
            extensions = {"websocket.http.response": {}}
            start, body = await call(asgi.app(server), scope("/rtc", "websocket", extensions=extensions), CONNECT)
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
        assert (body["type"], body["body"]) == ("websocket.http.response.body", b"permissions denied")

    async def test_a_close_where_it_has_none(self) -> None:
        async with make_server() as server:
            (sent,) = await call(asgi.app(server), scope("/rtc", "websocket"), CONNECT)
        assert sent["type"] == "websocket.close", "which servers turn into 403"

    async def test_other_kinds_of_scopes(self) -> None:
        with pytest.raises(ValueError, match="telepathy"):
            await asgi.app(make_server())({"type": "telepathy"}, None, None)  # type: ignore[arg-type]

    async def test_a_client_that_goes_before_its_body_has_come(self) -> None:
        token = make_server().token("alice", "stage")
        async with make_server() as server:
            headers = [(b"authorization", f"Bearer {token}".encode()), (b"content-type", b"application/json")]
            start, _ = await call(
                asgi.app(server),
                scope("/twirp/livekit.RoomService/ListRooms", headers=headers) | {"method": "POST"},
                {"type": "http.request", "body": b"{", "more_body": True},
                {"type": "http.disconnect"},
            )
        assert start["status"] == 400


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "root"),
        [("/livez", ""), ("//livez", ""), ("/live/livez", "/live"), ("/livez", "/live"), ("/live//livez", "/live/")],
    )
    async def test_mounts_with_their_prefix_and_without(self, path: str, root: str) -> None:
        async with make_server() as server:
            start, body = await call(asgi.app(server), scope(path, root_path=root))
        assert (start["status"], body["body"]) == (200, b"OK")

    async def test_what_is_not_there_and_what_may_be_asked(self) -> None:
        async with make_server() as server:
            app = asgi.app(server)
            assert (await call(app, scope("/rtcx")))[0]["status"] == 404
            start, _ = await call(app, scope("/whip/v1"))
        assert (start["status"], dict(start["headers"])[b"allow"]) == (405, b"POST, OPTIONS")

    async def test_head_has_no_body(self) -> None:
        async with make_server() as server:
            start, body = await call(asgi.app(server), scope("/livez") | {"method": "HEAD"})
        assert (dict(start["headers"])[b"content-length"], body["body"]) == (b"2", b"")


async def test_a_client_that_says_a_lot_in_its_first_line() -> None:
    server = make_server()
    async with uvicorn_of(asgi.app(server), "wsproto") as port, ClientSession() as http:
        query = {"access_token": server.token("alice", "stage"), "device_model": "x" * 200_000}
        async with http.ws_connect(f"http://127.0.0.1:{port}/rtc", params=query) as socket:
            assert (await socket.receive()).type == WSMsgType.BINARY


class TestLifespan:
    async def test_alone_it_runs_the_server_while_it_runs(self) -> None:
        server = make_server()
        async with uvicorn_of(asgi.app(server)) as port:
            assert server.is_running
            async with ClientSession() as http, http.get(f"http://127.0.0.1:{port}/livez") as answer:
                assert await answer.text() == "OK"
        assert not server.is_running

    async def test_a_server_that_runs_already_is_left_running(self) -> None:
        async with make_server() as server:
            async with uvicorn_of(asgi.app(server)):
                pass
            assert server.is_running

    async def test_one_that_cannot_start_says_why(self) -> None:
        async with make_server() as server:
            (udp,) = [one.port for one in server.forwarder.candidates if one.protocol == "udp"]
            config = Config(listen=Listen(addresses=("127.0.0.1",), udp_port=udp), workers=1)
            other = Server(load("keys: {key: a secret of more than thirty-two bytes}", environ={}), config=config)
            sent = await call(asgi.app(other), {"type": "lifespan"}, {"type": "lifespan.startup"})
        assert sent[0]["type"] == "lifespan.startup.failed"
        assert str(udp) in sent[0]["message"]

    async def test_a_server_that_nobody_entered_says_so(self) -> None:
        start, body = await call(asgi.app(make_server()), scope("/livez"))
        assert start["status"] == 503
        assert b"lifespan" in body["body"]
