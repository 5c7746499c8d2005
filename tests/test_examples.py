"""The examples run as they are, and are as short as they claim."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import WSMsgType
from aiohttp.test_utils import TestServer
from fastapi import FastAPI
from tests.serving import uvicorn_of

from rtpcore.wire.messages import SignalResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import ModuleType

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[str]:
    """The example's application on a free port; its URL."""
    app = load(path).app
    if isinstance(app, FastAPI):
        async with uvicorn_of(app) as port:
            yield f"http://127.0.0.1:{port}"
    else:
        async with TestServer(app) as aiohttp_server:
            yield str(aiohttp_server.make_url("")).rstrip("/")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_at_most_twenty_lines_of_code(path: Path) -> None:
    """Imports, comments, docstrings and empty lines are not counted."""
    tree = ast.parse(path.read_text())
    imports = (ast.Import, ast.ImportFrom)
    code: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and not isinstance(node, imports):
            is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if not is_docstring:
                body = getattr(node, "body", None)
                last = body[0].lineno - 1 if body else node.end_lineno
                code.update(range(node.lineno, max(node.lineno, last or 0) + 1))
                code.update(decorator.lineno for decorator in getattr(node, "decorator_list", ()))
    text = path.read_text().splitlines()
    lines = [text[number - 1] for number in sorted(code) if text[number - 1].strip()]
    assert 5 < len(lines) <= 20, "\n".join(lines)


@pytest.mark.parametrize("path", [one for one in EXAMPLES if "whip" in one.stem], ids=lambda path: path.stem)
async def test_aiortc_publishes_and_plays_through_it(path: Path, peer: Callable[[], Any]) -> None:
    headers = {"Content-Type": "application/sdp"}
    async with served(path) as url, aiohttp.ClientSession(headers=headers) as http:

        async def join(client: Any, way: str) -> str:
            async with http.post(f"{url}/{way}/stage", data=await client.offer()) as response:
                assert response.status == 201, await response.text()
                assert response.content_type == "application/sdp"
                await client.accept(await response.text())
                return url + response.headers["Location"]

        early = peer()
        early.receive("video")
        async with http.post(f"{url}/whep/stage", data=await early.offer()) as response:
            assert response.status == 404
        async with http.post(f"{url}/whip/stage", data="hello") as response:
            assert response.status == 400

        publisher, player = peer(), peer()
        publisher.send("audio", "video")
        published = await join(publisher, "whip")
        player.receive("audio", "video")
        await join(player, "whep")
        assert len(await player.frames("audio")) == len(await player.frames("video")) == 3

        async with http.delete(published) as response:
            assert response.status == 200
        late = peer()
        late.receive("video")
        async with http.post(f"{url}/whep/stage", data=await late.offer()) as response:
            assert response.status == 404


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the examples with LiveKit's clients read from the environment, and a port of media that is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    monkeypatch.setenv("LIVEKIT_KEYS", "key: a secret of more than thirty-two bytes")
    monkeypatch.setenv("LIVEKIT_CONFIG", f"rtc: {{udp_port: {port}, tcp_port: 0}}")


@pytest.mark.parametrize(("name", "prefix"), [("fastapi_livekit", ""), ("aiohttp_livekit", "/live")])
@pytest.mark.usefixtures("keys")
async def test_a_client_joins_with_a_token_of_the_application(name: str, prefix: str) -> None:
    path = next(one for one in EXAMPLES if one.stem == name)
    async with served(path) as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/token", params={"room": "stage", "identity": "alice"}) as answer:
            token = (await answer.text()).strip('"')
        async with http.ws_connect(f"{url}{prefix}/rtc", params={"access_token": token}) as client:
            message = await asyncio.wait_for(client.receive(), 30)
            assert message.type == WSMsgType.BINARY
            assert SignalResponse.FromString(message.data).join.participant.identity == "alice"
            if name == "aiohttp_livekit":
                async with http.get(f"{url}/rooms") as answer:
                    assert await answer.json() == {"stage": ["alice"]}
            else:
                async with http.get(f"{url}/rooms/stage/speakers") as answer:
                    assert await answer.json() == []
                async with http.get(f"{url}/rooms/nowhere/speakers") as answer:
                    assert answer.status == 404


@pytest.mark.usefixtures("keys")
async def test_the_bot_says_what_it_hears() -> None:
    module = load(next(one for one in EXAMPLES if one.stem == "echo_bot"))
    server = module.server
    async with uvicorn_of(module.app):
        alice = await server.join("stage", "alice")
        heard, events = alice.events(), server.events()
        while "echo" not in server.rooms["stage"].participants:
            await asyncio.wait_for(anext(events), 30)
        alice.send("hello", topic="t")
        alice.send_text("a line", topic="lk.chat")
        said = [await asyncio.wait_for(anext(heard), 30) for _ in range(2)]
        assert [(one.sender, one.topic) for one in said] == [("echo", "t"), ("echo", "lk.chat")]
        assert (said[0].payload, said[1].text) == (b"hello", "a line")
        assert await alice.perform_rpc("echo", "shout", "hey") == "HEY"


@pytest.mark.usefixtures("keys")
async def test_the_greeter_is_in_every_room() -> None:
    module = load(next(one for one in EXAMPLES if one.stem == "greeter"))
    server = module.server
    async with uvicorn_of(module.app):
        alice = await server.join("stage", "alice", kind="standard")
        heard = alice.events()
        welcome = await asyncio.wait_for(anext(heard), 30)
        assert (welcome.topic, welcome.text) == ("lk.chat", "welcome to stage")
        alice.send_text("hello", topic="lk.chat")
        assert (await asyncio.wait_for(anext(heard), 30)).text == "you said: hello"
