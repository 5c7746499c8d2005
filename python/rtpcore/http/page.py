"""Pages for browsers in development: a room at ``/``, WHIP and WHEP at ``/whip``, and tokens for whoever opens them.

::

    GET /             the page for browsers, OK for everybody else
    GET /whip         the page for WHIP and WHEP
    GET /page/…       what the pages consist of, files from the wheel
    GET /dev/token    a token for ?room= and ?identity=, with ?name= if wanted
    GET /dev/agents   agent workers and their jobs, as /rtpcore/agents has them
    GET /dev/why      why ?identity= in ?room= sees what it sees, as /rtpcore/why has it

Only with ``--dev``, and only of `rtpcore.serve`: elsewhere ``/`` is what health checks ask, and there is nothing else
of this.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from rtpcore.errors import JoinError
from rtpcore.http.agents import shown
from rtpcore.http.why import explained
from rtpcore.wire.token import Claims, VideoGrant

if TYPE_CHECKING:
    from rtpcore.agents import Dispatcher
    from rtpcore.host import Host
    from rtpcore.wire.token import Keyring

__all__ = ["routes"]

_ROOT = Path(__file__).parents[1] / "page"

_CLIENT = "vendor/livekit-client.js"
"""LiveKit's client, which `make build` takes from npm; it is in every wheel, but not in a bare checkout."""

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_TOKEN_LIFETIME = 6 * 3600.0
"""Seconds. A server renews the tokens of those who are in a room, so this is for how long joining takes at the most."""

_AUTHORITY = re.compile(r"[A-Za-z0-9.-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")


def routes(host: Host, dispatcher: Dispatcher) -> list[web.RouteDef]:
    """The routes of this module, for an aiohttp application; they stand before the health check at ``/``."""

    async def token(request: web.Request) -> web.Response:
        return await _token(request, host.keyring)

    async def why(request: web.Request) -> web.Response:
        return await _why(request, host)

    async def agents(request: web.Request) -> web.Response:
        _check_origin(request)
        return web.json_response(shown(dispatcher), headers={"Cache-Control": "no-store"})

    return [
        web.get("/", _index),
        web.get("/whip", _whip),
        web.get(r"/page/{path:[a-z/-]+\.(css|js|svg)}", _file),
        web.get("/dev/token", token),
        web.get("/dev/why", why),
        web.get("/dev/agents", agents),
    ]


async def _index(request: web.Request) -> web.StreamResponse:
    if "text/html" not in request.headers.get("Accept", ""):
        # Load balancers and health checks ask without saying what they take.
        return web.Response(text="OK")
    if not (_ROOT / _CLIENT).is_file():
        return _respond(request, "room/incomplete.html", status=503)
    return _respond(request, "room/index.html")


async def _whip(request: web.Request) -> web.StreamResponse:
    return _respond(request, "whip/index.html")


async def _file(request: web.Request) -> web.StreamResponse:
    return _respond(request, request.match_info["path"])


async def _token(request: web.Request, keyring: Keyring) -> web.Response:
    room, identity = _asked(request)
    grant = VideoGrant(room_join=True, room=room, can_update_own_metadata=True)
    claims = Claims(identity=identity, name=request.query.get("name", ""), video=grant)
    token = keyring.issue(claims, now=time.time(), ttl=_TOKEN_LIFETIME)
    return web.json_response({"token": token}, headers={"Cache-Control": "no-store"})


async def _why(request: web.Request, host: Host) -> web.Response:
    # A route of its own, so that the page needs no token with roomAdmin: that one could send others away.
    room, identity = _asked(request)
    try:
        told = explained(host, room, identity)
    except JoinError as error:
        raise web.HTTPNotFound(text=error.reason) from error
    return web.json_response(told, headers={"Cache-Control": "no-store"})


def _asked(request: web.Request) -> tuple[str, str]:
    """For which room and for whom the page asks."""
    _check_origin(request)
    room, identity = request.query.get("room", ""), request.query.get("identity", "")
    if not room or not identity:
        raise web.HTTPBadRequest(text=f"say for whom and for which room: {request.path}?room=&identity=")
    return room, identity


def _check_origin(request: web.Request) -> None:
    # The keys may be others than those that everybody knows: pages of other sites get nothing.
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "none")
    if site not in ("none", "same-origin") or (origin is not None and origin.partition("://")[2] != request.host):
        raise web.HTTPForbidden(text=f"{request.path} is only for the page of this server")


def _respond(request: web.Request, path: str, *, status: int = 200) -> web.StreamResponse:
    file = _ROOT / path
    if not file.is_file():
        raise web.HTTPNotFound
    headers = {
        "Content-Type": _TYPES[file.suffix],
        # Asked for each time, sent where it changed.
        "Cache-Control": "no-cache",
        "Content-Security-Policy": _policy(request.host),
        "X-Content-Type-Options": "nosniff",
    }
    return web.FileResponse(file, status=status, headers=headers)


def _policy(host: str) -> str:
    """No script or style but ours, nobody asked but us (Content Security Policy Level 3).

    >>> _policy("localhost:7880").partition("; ")[2].partition("; ")[0]
    "connect-src 'self' ws://localhost:7880 wss://localhost:7880"
    """
    # 'self' means websockets too (§6.7.2.8), but Safari before 15.4 and older Firefox want them named.
    sockets = f" ws://{host} wss://{host}" if _AUTHORITY.fullmatch(host) else ""
    return "; ".join(
        [
            "default-src 'self'",
            f"connect-src 'self'{sockets}",
            "img-src 'self' data:",
            "media-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )
