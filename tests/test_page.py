"""The pages of ``--dev`` over HTTP: who is given what, and what is said where something is missing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from rtpcore.http import page
from rtpcore.livekit_config import load
from rtpcore.serve import application
from rtpcore.wire.token import Keyring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rtpcore import Config

HTML = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
async def client(config: Config) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(application(config))) as running:
        yield running


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands where the pages are."""
    (tmp_path / "room").mkdir()
    (tmp_path / "vendor").mkdir()
    (tmp_path / "room" / "index.html").write_text("complete")
    (tmp_path / "room" / "incomplete.html").write_text("make build")
    monkeypatch.setattr(page, "_ROOT", tmp_path)
    return tmp_path


class TestIndex:
    @pytest.mark.parametrize("headers", [{}, {"Accept": "*/*"}])
    async def test_health_checks_hear_ok(self, client: TestClient[Any, Any], headers: dict[str, str]) -> None:
        async with client.get("/", headers=headers) as answer:
            assert (answer.status, await answer.text()) == (200, "OK")

    async def test_browsers_get_the_page(self, client: TestClient[Any, Any], files: Path) -> None:
        (files / "vendor" / "livekit-client.js").touch()
        async with client.get("/", headers=HTML) as answer:
            assert (answer.status, answer.content_type, await answer.text()) == (200, "text/html", "complete")

    async def test_without_livekits_client_it_says_what_to_run(self, client: TestClient[Any, Any], files: Path) -> None:
        async with client.get("/", headers=HTML) as answer:
            assert (answer.status, await answer.text()) == (503, "make build")

    async def test_outside_of_development_there_is_no_page(self, config: Config) -> None:
        settings = load("keys: {key: a-secret-of-more-than-32-characters}", environ={})
        async with TestClient(TestServer(application(config, settings))) as client:
            async with client.get("/", headers=HTML) as answer:
                assert await answer.text() == "OK"
            for path in (
                "/whip",
                "/page/base.css",
                "/dev/token?room=lab&identity=ada",
                "/dev/why?room=lab&identity=ada",
                "/dev/agents",
            ):
                async with client.get(path) as answer:
                    assert answer.status == 404, path


class TestFiles:
    async def test_nothing_is_inline_and_nobody_else_is_asked(self, client: TestClient[Any, Any]) -> None:
        async with client.get("/whip") as answer:
            policy = answer.headers["Content-Security-Policy"]
            host = answer.url.authority
        assert "default-src 'self'" in policy
        assert f"connect-src 'self' ws://{host} wss://{host};" in policy
        assert "unsafe" not in policy

    async def test_a_strange_host_does_not_get_into_the_policy(self, client: TestClient[Any, Any]) -> None:
        async with client.get("/whip", headers={"Host": "a; script-src *"}) as answer:
            assert "connect-src 'self';" in answer.headers["Content-Security-Policy"]

    async def test_what_did_not_change_is_not_sent_again(self, client: TestClient[Any, Any]) -> None:
        async with client.get("/page/base.css") as answer:
            assert answer.content_type == "text/css"
            tag = answer.headers["ETag"]
        async with client.get("/page/base.css", headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304

    @pytest.mark.parametrize(
        "path", ["nothing.js", "..%2f..%2fserve.py", "room", "room/", "py.typed", "room/index.html"]
    )
    async def test_there_are_no_others(self, client: TestClient[Any, Any], path: str) -> None:
        async with client.get(f"/page/{path}") as answer:
            assert answer.status == 404


class TestToken:
    async def test_it_lets_into_that_room(self, client: TestClient[Any, Any]) -> None:
        async with client.get("/dev/token", params={"room": "lab", "identity": "ada", "name": "Ada"}) as answer:
            token = (await answer.json())["token"]
        claims = Keyring({"devkey": "secret"}, allow_short=True).verify(token, now=time.time())
        assert claims.video is not None
        assert (claims.identity, claims.name, claims.video.room) == ("ada", "Ada", "lab")
        assert (claims.video.room_join, claims.video.room_admin) == (True, False)

    @pytest.mark.parametrize("query", [{}, {"room": "lab"}, {"identity": "ada"}, {"room": "", "identity": "ada"}])
    async def test_it_wants_to_know_for_what(self, client: TestClient[Any, Any], query: dict[str, str]) -> None:
        async with client.get("/dev/token", params=query) as answer:
            assert answer.status == 400

    @pytest.mark.parametrize(
        "headers",
        [{"Origin": "https://example.com"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
    )
    async def test_other_sites_get_none(self, client: TestClient[Any, Any], headers: dict[str, str]) -> None:
        async with client.get("/dev/token?room=lab&identity=ada", headers=headers) as answer:
            assert answer.status == 403


class TestWhy:
    async def test_it_needs_no_token_and_gives_no_right(self, client: TestClient[Any, Any]) -> None:
        async with client.get("/dev/token", params={"room": "lab", "identity": "ada"}) as answer:
            token = (await answer.json())["token"]
        socket = await client.ws_connect("/rtc", params={"access_token": token})
        await socket.receive()
        async with client.get("/dev/why", params={"room": "lab", "identity": "ada"}) as answer:
            assert await answer.json() == {
                "room": "lab",
                "participants": [{"identity": "ada", "path": None, "tracks": []}],
            }
        async with client.get("/rtpcore/why", params={"room": "lab", "access_token": token}) as answer:
            assert answer.status == 403, "the page's token administers nothing"
        await socket.close()

    @pytest.mark.parametrize(
        ("query", "headers", "status"),
        [
            ({"room": "lab", "identity": "ada"}, {}, 404),
            ({"room": "lab"}, {}, 400),
            ({"room": "lab", "identity": "ada"}, {"Origin": "https://example.com"}, 403),
            ({"room": "lab", "identity": "ada"}, {"Sec-Fetch-Site": "cross-site"}, 403),
        ],
    )
    async def test_what_it_does_not_tell(
        self, client: TestClient[Any, Any], query: dict[str, str], headers: dict[str, str], status: int
    ) -> None:
        async with client.get("/dev/why", params=query, headers=headers) as answer:
            assert answer.status == status
