"""The examples run as they are, and are as short as they claim."""

from __future__ import annotations

import ast
import importlib.util
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import uvicorn
from aiohttp.test_utils import TestServer

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
    if "fastapi" in path.stem:
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="on"))
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup()
        try:
            port = server.servers[0].sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}"
        finally:
            await server.shutdown()
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


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
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
