"""``GET /rtpcore/why``: why subscribers see what they see, as JSON, for whoever administers their room.

::

    GET /rtpcore/why?room=NAME                everybody in it
    GET /rtpcore/why?room=NAME&identity=ID    one of them
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rtpcore.errors import JoinError
from rtpcore.explaining import explain
from rtpcore.http.request import Response, Route
from rtpcore.http.rtc import claims_of

if TYPE_CHECKING:
    from rtpcore.host import Host
    from rtpcore.http.request import Request

__all__ = ["explained", "routes"]


def routes(host: Host) -> list[Route]:
    """The routes of this module."""

    async def why(request: Request) -> Response:
        grant = claims_of(host, request).video
        room = request.query.get("room", "")
        if not room:
            raise JoinError(400, "say in which room: /rtpcore/why?room=")
        if grant is None or not grant.room_admin or grant.room != room:
            raise JoinError(403, "the token must grant roomAdmin for this room")
        answer = Response.of_json(explained(host, room, request.query.get("identity", "")))
        answer.headers["Cache-Control"] = "no-store"
        return answer

    return [Route("GET", "/rtpcore/why", why)]


def explained(host: Host, name: str, identity: str = "") -> dict[str, Any]:
    """What those in a room get and why, from one snapshot, in values that JSON has.

    Args:
        host: Whose room.
        name: The room's.
        identity: Of whom; empty for everybody.

    Raises:
        JoinError: With 404 where there is no such room, or nobody of that identity in it.
    """
    room = host.rooms.get(name)
    if room is None:
        raise JoinError(404, "requested room does not exist")
    if identity and identity not in room.participants:
        raise JoinError(404, "participant does not exist")
    people = [room.participants[identity]] if identity else list(room.participants.values())
    snapshot = host.forwarder.snapshot()
    peers = {one.sid: session.peer for one in people if (session := host.sessions.get(one.sid)) is not None}
    told = [asdict(explain(one, peers.get(one.sid), snapshot)) for one in people]
    return {"room": name, "participants": told}
