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

from rtpcore import sdp
from rtpcore.errors import JoinError, RtpcoreError
from rtpcore.http.description import answering, created, patched, read_fragment, read_offer
from rtpcore.http.request import Response, Route
from rtpcore.http.rtc import claims_of
from rtpcore.wire.ice_servers import links
from rtpcore.wire.join import JoinParameters
from rtpcore.wire.messages import AddTrackRequest, ClientInfo, TrackSource, TrackType

if TYPE_CHECKING:
    from rtpcore.host import Host
    from rtpcore.http.request import Request
    from rtpcore.session import Session
    from rtpcore.wire.token import Claims

__all__ = ["routes"]

_PROTOCOL = 16
_SOURCES = {"audio": TrackSource.MICROPHONE, "video": TrackSource.CAMERA}
_TYPES = {"audio": TrackType.AUDIO, "video": TrackType.VIDEO}


def routes(host: Host) -> list[Route]:
    """The routes of this module."""

    async def publish(request: Request) -> Response:
        return await _begin(host, request, subscribes=False)

    async def play(request: Request) -> Response:
        return await _begin(host, request, subscribes=True)

    async def patch(request: Request) -> Response:
        session = _session(host, request)
        fragment = session.peer.publisher.trickle(await read_fragment(request, _tag(session)))
        return patched(fragment, _tag(session))

    async def delete(request: Request) -> Response:
        host.leave(_session(host, request))
        return Response(200)

    return [
        Route("POST", "/whip/v1", answering(publish, _json)),
        Route("POST", "/whep/v1", answering(play, _json)),
        *(Route("PATCH", f"/{way}/v1/{{sid}}", answering(patch, _json)) for way in ("whip", "whep")),
        *(Route("DELETE", f"/{way}/v1/{{sid}}", answering(delete, _json)) for way in ("whip", "whep")),
    ]


def _json(reason: str, status: int) -> Response:
    """A refusal as LiveKit writes it."""
    return Response.of_json({"error": reason}, status)


async def _begin(host: Host, request: Request, *, subscribes: bool) -> Response:
    claims = claims_of(host, request)
    if claims.video is None or not (claims.video.may_subscribe if subscribes else claims.video.may_publish()):
        raise JoinError(401, "permissions denied")
    offer = await read_offer(request)
    wish = JoinParameters(client=ClientInfo(protocol=_PROTOCOL), is_single=True, auto_subscribe=subscribes)
    admission = await host.admit(claims, wish)
    if not subscribes:
        await _check_tracks(host, admission.claims, offer)
    session = host.join(admission.claims, admission.parameters, is_attached=False)
    # It is answered once, with what it may have by then.
    await host.gate.settled(session.participant)
    if session.is_over:
        raise JoinError(403, "the participant was sent away")
    try:
        answer = session.exchange(offer, _SOURCES)
    except RtpcoreError:
        host.leave(session)
        raise
    way = "whep" if subscribes else "whip"
    servers = links(host.ice_servers(session.participant.sid))
    return created(answer, f"{request.prefix}/{way}/v1/{session.participant.sid}", _tag(session), servers)


async def _check_tracks(host: Host, claims: Claims, offer: str) -> None:
    """Refuse an offer with a track that a hook does not let be published: there is no way to take half of it."""
    if host.policy.hooks.may_publish is None or claims.video is None:
        return
    for kind in dict.fromkeys(track.kind for track in sdp.parse(offer).tracks):
        track = AddTrackRequest(type=_TYPES[kind], source=_SOURCES[kind])
        if not await host.policy.publish(claims.video.room, claims.identity, track):
            raise JoinError(403, f"the server does not let {kind} be published")


def _session(host: Host, request: Request) -> Session:
    """The session that the path names, for whoever has a token of the same participant."""
    session = host.sessions.get(request.parameters["sid"])
    if session is None:
        raise JoinError(404, "no such session")
    claims = claims_of(host, request)
    if (
        claims.identity != session.participant.identity
        or claims.video is None
        or claims.video.room != session.room.name
    ):
        raise JoinError(401, "the token is another participant's")
    return session


def _tag(session: Session) -> str:
    return f'"{session.peer.publisher.transport.local.ice.ufrag}"'
