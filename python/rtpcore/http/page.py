"""Pages for browsers in development: WHIP and WHEP at ``/whip``. Static files from the wheel."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

__all__ = ["routes"]

_ROOT = Path(__file__).parents[1] / "page"

_TYPES = {
    ".css": "text/css",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_POLICY = "; ".join(
    [
        "default-src 'self'",
        "img-src 'self' data:",
        "media-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
"""No script or style but ours, nobody asked but us (Content Security Policy Level 3)."""


def routes(*, has_page: bool = True) -> list[web.RouteDef]:
    """The routes of this module; without the pages ``/`` is only what health checks ask."""
    if not has_page:
        return [web.get("/", _health)]
    return [
        web.get("/", _index),
        web.get("/whip", _whip),
        web.get(r"/page/{path:[a-z/-]+\.(css|js|svg)}", _file),
    ]


async def _health(_request: web.Request) -> web.Response:
    return web.Response(text="OK")


async def _index(request: web.Request) -> web.StreamResponse:
    if "text/html" not in request.headers.get("Accept", ""):
        # Load balancers and health checks ask without saying what they take.
        return await _health(request)
    return await _whip(request)


async def _whip(_request: web.Request) -> web.StreamResponse:
    return _respond("whip/index.html")


async def _file(request: web.Request) -> web.StreamResponse:
    return _respond(request.match_info["path"])


def _respond(path: str) -> web.StreamResponse:
    file = _ROOT / path
    if not file.is_file():
        raise web.HTTPNotFound
    headers = {
        "Content-Type": _TYPES[file.suffix],
        # Asked for each time, sent where it changed.
        "Cache-Control": "no-cache",
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
    }
    return web.FileResponse(file, headers=headers)
