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

from rtpcore.errors import JoinError
from rtpcore.events import Layer
from rtpcore.http.description import SDP, answering, created, patched, read_fragment, read_offer
from rtpcore.http.request import Response, Route
from rtpcore.node import Player

if TYPE_CHECKING:
    from rtpcore.http.request import Request
    from rtpcore.node import Node, Session

__all__ = ["routes"]


def routes(node: Node) -> list[Route]:
    """The routes of this module; ``rtpcore.http.aiohttp.routes`` puts them into an application."""

    async def publish(request: Request) -> Response:
        return _created(request, *node.publish(request.parameters["room"], await read_offer(request)))

    async def play(request: Request) -> Response:
        offer = await read_offer(request)
        made = node.play(request.parameters["room"], offer, request.parameters.get("publisher"))
        if made is None:
            return Response.of_text("nobody publishes here yet", 404, Retry_After="1")
        return _created(request, *made)

    async def patch(request: Request) -> Response:
        session = _session(node, request)
        fragment = node.trickle(session, await read_fragment(request, session.etag))
        return patched(fragment, session.etag)

    async def delete(request: Request) -> Response:
        node.end(_session(node, request))
        return Response(200)

    async def layer(request: Request) -> Response:
        return await _layer(_session(node, request), request)

    return [
        Route("POST", "/whip/{room}", answering(publish, _text)),
        Route("POST", "/whep/{room}", answering(play, _text)),
        Route("POST", "/whep/{room}/{publisher}", answering(play, _text)),
        Route("OPTIONS", "/whip/{room}", _options),
        Route("OPTIONS", "/whep/{room}", _options),
        Route("PATCH", "/session/{room}/{session}", answering(patch, _text)),
        Route("DELETE", "/session/{room}/{session}", answering(delete, _text)),
        Route("POST", "/session/{room}/{session}/layer", answering(layer, _text)),
    ]


async def _options(_request: Request) -> Response:
    return Response(204, headers={"Accept-Post": SDP, "Access-Control-Allow-Methods": "POST, OPTIONS"})


async def _layer(session: Session, request: Request) -> Response:
    try:
        wish: dict[str, Any] = await request.json()
        mid = str(wish["mid"])
        layer = Layer(int(wish.get("spatial", Layer().spatial)), int(wish.get("temporal", Layer().temporal)))
    except (ValueError, KeyError, TypeError):
        return _text('send {"mid": …, "spatial": …, "temporal": …} or {"mid": …, "paused": …}', 400)
    senders = [sender for sender in session.senders if sender.track.mid == mid] if isinstance(session, Player) else []
    if not senders:
        return _text(f"no track is played in section {mid}", 404)
    for sender in senders:
        if "paused" in wish:
            sender.pause() if wish["paused"] else sender.resume()
        else:
            sender.prefer(layer)
    return Response(204)


def _session(node: Node, request: Request) -> Session:
    session = node.find(request.parameters["room"], request.parameters["session"])
    if session is None:
        raise JoinError(404, "no such session")
    return session


def _created(request: Request, session: Session, answer: str) -> Response:
    location = f"{request.prefix}/session/{quote(session.room.name, safe='')}/{session.id}"
    return created(answer, location, session.etag)


def _text(reason: str, status: int) -> Response:
    return Response.of_text(reason, status)
