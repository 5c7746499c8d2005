"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): publish and play with one HTTP request.

::

    POST   /whip/{room}              an offer that sends       201, answer, Location
    POST   /whep/{room}              an offer that receives    201, answer, Location
    POST   /whep/{room}/{publisher}  the same, one publisher
    PATCH  Location                  candidates 204, ICE restart 200
    DELETE Location                  200
    POST   Location + /layer         {"mid", "spatial", "temporal"} or {"mid", "paused"}: 204
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiohttp import web

from rtpcore.events import Layer
from rtpcore.http.description import SDP, answering, created, patched, read_fragment, read_offer
from rtpcore.node import Player

if TYPE_CHECKING:
    from rtpcore.node import Node, Session

__all__ = ["NODE", "routes"]

NODE: web.AppKey[Node] = web.AppKey("rtpcore.node")
"""Where an application keeps its node."""


def routes() -> list[web.RouteDef]:
    """The routes of this module, for `web.Application.add_routes`."""
    return [
        web.post("/whip/{room}", answering(_publish, _text)),
        web.post("/whep/{room}", answering(_play, _text)),
        web.post("/whep/{room}/{publisher}", answering(_play, _text)),
        web.options("/whip/{room}", _options),
        web.options("/whep/{room}", _options),
        web.patch("/session/{room}/{session}", answering(_patch, _text)),
        web.delete("/session/{room}/{session}", _delete),
        web.post("/session/{room}/{session}/layer", answering(_layer, _text)),
    ]


async def _publish(request: web.Request) -> web.Response:
    offer = await read_offer(request)
    return _created(*request.app[NODE].publish(request.match_info["room"], offer))


async def _play(request: web.Request) -> web.Response:
    offer = await read_offer(request)
    made = request.app[NODE].play(request.match_info["room"], offer, request.match_info.get("publisher"))
    if made is None:
        raise web.HTTPNotFound(text="nobody publishes here yet", headers={"Retry-After": "1"})
    return _created(*made)


async def _options(_request: web.Request) -> web.Response:
    return web.Response(status=204, headers={"Accept-Post": SDP, "Access-Control-Allow-Methods": "POST, OPTIONS"})


async def _patch(request: web.Request) -> web.Response:
    session = _session(request)
    fragment = request.app[NODE].trickle(session, await read_fragment(request, session.etag))
    return patched(fragment, session.etag)


async def _delete(request: web.Request) -> web.Response:
    request.app[NODE].end(_session(request))
    return web.Response(status=200)


async def _layer(request: web.Request) -> web.Response:
    session = _session(request)
    try:
        wish: dict[str, Any] = await request.json()
        mid = str(wish["mid"])
        layer = Layer(int(wish.get("spatial", Layer().spatial)), int(wish.get("temporal", Layer().temporal)))
    except (ValueError, KeyError, TypeError) as error:
        raise web.HTTPBadRequest(
            text='send {"mid": …, "spatial": …, "temporal": …} or {"mid": …, "paused": …}'
        ) from error
    senders = [sender for sender in session.senders if sender.track.mid == mid] if isinstance(session, Player) else []
    if not senders:
        raise web.HTTPNotFound(text=f"no track is played in section {mid}")
    for sender in senders:
        if "paused" in wish:
            sender.pause() if wish["paused"] else sender.resume()
        else:
            sender.prefer(layer)
    return web.Response(status=204)


def _session(request: web.Request) -> Session:
    session = request.app[NODE].find(request.match_info["room"], request.match_info["session"])
    if session is None:
        raise web.HTTPNotFound(text="no such session")
    return session


def _created(session: Session, answer: str) -> web.Response:
    return created(answer, f"/session/{quote(session.room.name, safe='')}/{session.id}", session.etag)


def _text(reason: str, status: int) -> web.Response:
    return web.Response(status=status, text=reason)
