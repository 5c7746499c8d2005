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

from rtpcore.errors import ClosedError, JoinError, LimitError, ParametersError, ProtocolError, RtpcoreError
from rtpcore.http.rtc import HOST, claims_of
from rtpcore.wire.join import JoinParameters
from rtpcore.wire.messages import ClientInfo, TrackSource

if TYPE_CHECKING:
    from rtpcore.http.rtc import Handler
    from rtpcore.session import Session

__all__ = ["routes"]

_SDP = "application/sdp"
_FRAGMENT = "application/trickle-ice-sdpfrag"
_MAX_OFFER = 512 * 1024
_PROTOCOL = 16
_SOURCES = {"audio": TrackSource.MICROPHONE, "video": TrackSource.CAMERA}


def routes() -> list[web.RouteDef]:
    """The routes of this module."""
    return [
        web.post("/whip/v1", _answering(_publish)),
        web.post("/whep/v1", _answering(_play)),
        web.patch("/{way:whip|whep}/v1/{sid}", _answering(_patch)),
        web.delete("/{way:whip|whep}/v1/{sid}", _answering(_delete)),
    ]


def _answering(handler: Handler) -> Handler:
    """Turn what a client did wrong into the status that says so, with the reason in JSON as LiveKit writes it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except JoinError as error:
            status, reason = error.status, error.reason
        except ProtocolError as error:
            status, reason = 400, str(error)
        except ParametersError as error:
            status, reason = 422, str(error)
        except (LimitError, ClosedError) as error:
            status, reason = 503, str(error)
        return web.json_response({"error": reason}, status=status)

    return answer


async def _publish(request: web.Request) -> web.Response:
    return await _begin(request, subscribes=False)


async def _play(request: web.Request) -> web.Response:
    return await _begin(request, subscribes=True)


async def _begin(request: web.Request, *, subscribes: bool) -> web.Response:
    if request.content_type != _SDP:
        raise JoinError(415, f"send {_SDP}")
    offer = await request.text()
    if len(offer) > _MAX_OFFER:
        raise JoinError(413, f"an offer has at most {_MAX_OFFER} characters")
    host = request.app[HOST]
    claims = claims_of(request)
    if claims.video is None or not (claims.video.may_subscribe if subscribes else claims.video.may_publish()):
        raise JoinError(401, "permissions denied")
    parameters = JoinParameters(client=ClientInfo(protocol=_PROTOCOL), is_single=True, auto_subscribe=subscribes)
    session = host.join(claims, parameters, is_attached=False)
    try:
        answer = session.exchange(offer, _SOURCES)
    except RtpcoreError:
        host.leave(session)
        raise
    kind = "whep" if subscribes else "whip"
    headers = {
        "Location": f"/{kind}/v1/{session.participant.sid}",
        "ETag": _tag(session),
        "Access-Control-Expose-Headers": "Location, ETag, Link",
    }
    return web.Response(status=201, text=answer, content_type=_SDP, headers=headers)


async def _patch(request: web.Request) -> web.Response:
    session = _session(request)
    if request.content_type != _FRAGMENT:
        raise JoinError(415, f"send {_FRAGMENT}")
    match = request.headers.get("If-Match")
    if match is None:
        raise JoinError(428, "If-Match is needed: the ETag of this session, or * to restart ICE")
    if match not in ("*", _tag(session)):
        raise JoinError(412, "the ICE session has changed")
    text = await request.text()
    fragment = session.publisher.trickle(text)
    if fragment is None:
        return web.Response(status=204)
    return web.Response(status=200, text=str(fragment), content_type=_FRAGMENT, headers={"ETag": _tag(session)})


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
    return f'"{session.publisher.transport.local.ice.ufrag}"'
