"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep) with LiveKit's tokens: clients without signalling join its rooms.

::

    POST   /whip/v1          an offer that sends; the token names the room       201, answer, Location
    POST   /whep/v1          an offer that receives what is published there      201, answer, Location
    PATCH  Location          candidates 204, ICE restart 200
    DELETE Location          200

Whoever publishes so is a participant like any other. Whoever plays so gets the tracks that are there when it comes, in
the order of their publication, one for each section that it offers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from rtpcore.errors import JoinError, RtpcoreError
from rtpcore.http.description import answering, created, patched, read_fragment, read_offer
from rtpcore.http.rtc import HOST, claims_of
from rtpcore.wire.join import JoinParameters
from rtpcore.wire.messages import ClientInfo, TrackSource

if TYPE_CHECKING:
    from rtpcore.session import Session

__all__ = ["routes"]

_PROTOCOL = 16
_SOURCES = {"audio": TrackSource.MICROPHONE, "video": TrackSource.CAMERA}


def routes() -> list[web.RouteDef]:
    """The routes of this module."""
    return [
        web.post("/whip/v1", answering(_publish, _json)),
        web.post("/whep/v1", answering(_play, _json)),
        web.patch("/{way:whip|whep}/v1/{sid}", answering(_patch, _json)),
        web.delete("/{way:whip|whep}/v1/{sid}", answering(_delete, _json)),
    ]


def _json(reason: str, status: int) -> web.Response:
    """A refusal as LiveKit writes it."""
    return web.json_response({"error": reason}, status=status)


async def _publish(request: web.Request) -> web.Response:
    return await _begin(request, subscribes=False)


async def _play(request: web.Request) -> web.Response:
    return await _begin(request, subscribes=True)


async def _begin(request: web.Request, *, subscribes: bool) -> web.Response:
    host = request.app[HOST]
    claims = claims_of(request)
    if claims.video is None or not (claims.video.may_subscribe if subscribes else claims.video.may_publish()):
        raise JoinError(401, "permissions denied")
    offer = await read_offer(request)
    parameters = JoinParameters(client=ClientInfo(protocol=_PROTOCOL), is_single=True, auto_subscribe=subscribes)
    session = host.join(claims, parameters, is_attached=False)
    try:
        answer = session.exchange(offer, _SOURCES)
    except RtpcoreError:
        host.leave(session)
        raise
    way = "whep" if subscribes else "whip"
    return created(answer, f"/{way}/v1/{session.participant.sid}", _tag(session))


async def _patch(request: web.Request) -> web.Response:
    session = _session(request)
    fragment = session.peer.publisher.trickle(await read_fragment(request, _tag(session)))
    return patched(fragment, _tag(session))


async def _delete(request: web.Request) -> web.Response:
    request.app[HOST].leave(_session(request))
    return web.Response(status=200)


def _session(request: web.Request) -> Session:
    """The session that the path names, for whoever has a token of the same participant."""
    session = request.app[HOST].sessions.get(request.match_info["sid"])
    if session is None:
        raise JoinError(404, "no such session")
    claims = claims_of(request)
    if (
        claims.identity != session.participant.identity
        or claims.video is None
        or claims.video.room != session.room.name
    ):
        raise JoinError(401, "the token is another participant's")
    return session


def _tag(session: Session) -> str:
    return f'"{session.peer.publisher.transport.local.ice.ufrag}"'
