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

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from aiohttp import web

from rtpcore.errors import ClosedError, LimitError, ParametersError, ProtocolError
from rtpcore.events import Layer
from rtpcore.node import Player

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtpcore.node import Node, Session

__all__ = ["NODE", "routes"]

T = TypeVar("T")

NODE: web.AppKey[Node] = web.AppKey("rtpcore.node")
"""Where an application keeps its node."""

_SDP = "application/sdp"
_MAX_OFFER = 512 * 1024
"""Characters of an offer; those of browsers with many tracks have some ten thousand."""
_FRAGMENT = "application/trickle-ice-sdpfrag"


def routes() -> list[web.RouteDef]:
    """The routes of this module, for `web.Application.add_routes`."""
    return [
        web.post("/whip/{room}", _publish),
        web.post("/whep/{room}", _play),
        web.post("/whep/{room}/{publisher}", _play),
        web.options("/whip/{room}", _options),
        web.options("/whep/{room}", _options),
        web.patch("/session/{room}/{session}", _patch),
        web.delete("/session/{room}/{session}", _delete),
        web.post("/session/{room}/{session}/layer", _layer),
    ]


async def _publish(request: web.Request) -> web.Response:
    offer = await _offer(request)
    session, answer = _guarded(lambda: request.app[NODE].publish(request.match_info["room"], offer))
    return _created(session, answer)


async def _play(request: web.Request) -> web.Response:
    offer = await _offer(request)
    name = request.match_info.get("publisher")
    made = _guarded(lambda: request.app[NODE].play(request.match_info["room"], offer, name))
    if made is None:
        raise web.HTTPNotFound(text="nobody publishes here yet", headers={"Retry-After": "1"})
    return _created(*made)


async def _options(_request: web.Request) -> web.Response:
    return web.Response(status=204, headers={"Accept-Post": _SDP, "Access-Control-Allow-Methods": "POST, OPTIONS"})


async def _patch(request: web.Request) -> web.Response:
    session = _session(request)
    if request.content_type != _FRAGMENT:
        raise web.HTTPUnsupportedMediaType(text=f"send {_FRAGMENT}")
    match = request.headers.get("If-Match")
    if match is None:
        raise web.HTTPPreconditionRequired(text="If-Match is needed: the ETag of this session, or * to restart ICE")
    if match not in ("*", session.etag):
        raise web.HTTPPreconditionFailed(text="the ICE session has changed")
    text = await request.text()
    fragment = _guarded(lambda: request.app[NODE].trickle(session, text))
    if fragment is None:
        return web.Response(status=204)
    headers = {"ETag": session.etag}
    return web.Response(status=200, text=str(fragment), content_type=_FRAGMENT, headers=headers)


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
            _guarded(partial(sender.prefer, layer))
    return web.Response(status=204)


async def _offer(request: web.Request) -> str:
    if request.content_type != _SDP:
        raise web.HTTPUnsupportedMediaType(text=f"send {_SDP}", headers={"Accept-Post": _SDP})
    text = await request.text()
    if len(text) > _MAX_OFFER:
        raise web.HTTPRequestEntityTooLarge(_MAX_OFFER, len(text))
    return text


def _session(request: web.Request) -> Session:
    session = request.app[NODE].find(request.match_info["room"], request.match_info["session"])
    if session is None:
        raise web.HTTPNotFound(text="no such session")
    return session


def _created(session: Session, answer: str) -> web.Response:
    location = f"/session/{quote(session.room.name, safe='')}/{session.id}"
    headers = {"Location": location, "ETag": session.etag, "Access-Control-Expose-Headers": "Location, ETag, Link"}
    return web.Response(status=201, text=answer, content_type=_SDP, headers=headers)


def _guarded(action: Callable[[], T]) -> T:
    """Turn what a peer did wrong into the status that says so."""
    try:
        return action()
    except ProtocolError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    except ParametersError as error:
        raise web.HTTPUnprocessableEntity(text=str(error)) from error
    except (LimitError, ClosedError) as error:
        raise web.HTTPServiceUnavailable(text=str(error), headers={"Retry-After": "5"}) from error
