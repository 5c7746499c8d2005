"""The page at ``/``: publish a camera, play what others publish, see the numbers. Static files from the wheel."""

from __future__ import annotations

from importlib import resources

from aiohttp import web

__all__ = ["routes"]

_TYPES = {
    "index.html": "text/html",
    "app.js": "text/javascript",
    "session.js": "text/javascript",
    "stats.js": "text/javascript",
    "tile.js": "text/javascript",
    "style.css": "text/css",
    "icon.svg": "image/svg+xml",
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
    """The routes of this module; without the page ``/`` is only what health checks ask."""
    if not has_page:
        return [web.get("/", _health)]
    return [web.get("/", _index), web.get("/page/{name}", _file)]


async def _health(_request: web.Request) -> web.Response:
    return web.Response(text="OK")


async def _index(request: web.Request) -> web.Response:
    if "text/html" not in request.headers.get("Accept", ""):
        # Load balancers and health checks ask without saying what they take.
        return await _health(request)
    return _respond("index.html")


async def _file(request: web.Request) -> web.Response:
    return _respond(request.match_info["name"])


def _respond(name: str) -> web.Response:
    if name not in _TYPES:
        raise web.HTTPNotFound
    text = (resources.files("rtpcore") / "page" / name).read_text(encoding="utf-8")
    headers = {"Cache-Control": "no-cache", "Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
    return web.Response(text=text, content_type=_TYPES[name], headers=headers)
