"""What goes on, as JSON for the page, and whether the server lives."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rtpcore.errors import JoinError
from rtpcore.http.request import Response, Route
from rtpcore.node import Player, Publisher

if TYPE_CHECKING:
    from rtpcore.forwarder import Receiver, Sender
    from rtpcore.host import Host
    from rtpcore.http.request import Request
    from rtpcore.node import Node, Session

__all__ = ["health_routes", "routes"]


def health_routes(host: Host) -> list[Route]:
    """Whether the process lives, which depends on nothing outside of it, and whether it takes new participants.

    ``/`` is what LiveKit's health checks ask.
    """

    async def readyz(_request: Request) -> Response:
        return Response.of_text("draining", 503) if host.is_draining else Response.of_text("OK")

    return [Route("GET", "/", _livez), Route("GET", "/livez", _livez), Route("GET", "/readyz", readyz)]


def routes(node: Node) -> list[Route]:
    """What goes on in rooms, for the page."""

    async def stats(_request: Request) -> Response:
        return Response.of_json(asdict(node.forwarder.stats()))

    async def room(request: Request) -> Response:
        return _room(node, request.parameters["room"])

    async def own(request: Request) -> Response:
        return _own(node, request)

    return [
        Route("GET", "/api/stats", stats),
        Route("GET", "/api/rooms/{room}", room),
        Route("GET", "/session/{room}/{session}/stats", own),
    ]


async def _livez(_request: Request) -> Response:
    return Response.of_text("OK")


def _room(node: Node, name: str) -> Response:
    room = node.rooms.get(name)
    publishers = [] if room is None else [_publisher(publisher) for publisher in room.publishers.values()]
    players = [] if room is None else [_player(player) for player in room.players.values()]
    return Response.of_json({"publishers": publishers, "players": players, "drops": node.forwarder.stats().drops})


def _own(node: Node, request: Request) -> Response:
    """One session for those who know its id: its client. The resource itself answers no GET (RFC 9725 §4)."""
    match node.find(request.parameters["room"], request.parameters["session"]):
        case Publisher() as publisher:
            return Response.of_json(_publisher(publisher))
        case Player() as player:
            return Response.of_json(_player(player))
        case _:
            raise JoinError(404, "no such session")


def _session(session: Session) -> dict[str, Any]:
    stats = session.transport.stats()
    return {"state": session.transport.state, "transport": None if stats is None else asdict(stats)}


def _publisher(publisher: Publisher) -> dict[str, Any]:
    tracks = [_receiver(receiver) for receiver in publisher.receivers]
    return {"name": publisher.name, "tracks": tracks, **_session(publisher)}


def _player(player: Player) -> dict[str, Any]:
    # Without its id: who knows that may end the session.
    return {"tracks": [_sender(sender) for sender in player.senders], **_session(player)}


def _receiver(receiver: Receiver) -> dict[str, Any]:
    stats = receiver.stats()
    track = receiver.track
    return {
        "mid": track.mid,
        "kind": track.kind,
        "rids": [encoding.rid for encoding in track.encodings],
        "codecs": [codec.mime_type for codec in track.codecs],
        "stats": None if stats is None else asdict(stats),
    }


def _sender(sender: Sender) -> dict[str, Any]:
    stats = sender.stats()
    return {"mid": sender.track.mid, "kind": sender.track.kind, "stats": None if stats is None else asdict(stats)}
