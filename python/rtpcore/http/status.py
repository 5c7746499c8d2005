"""What goes on, as JSON for the page, and whether the server lives."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aiohttp import web

from rtpcore.http.whip import NODE
from rtpcore.node import Player, Publisher

if TYPE_CHECKING:
    from rtpcore.forwarder import Receiver, Sender
    from rtpcore.node import Session

__all__ = ["health_routes", "routes"]


def health_routes() -> list[web.RouteDef]:
    """Whether the process lives; depends on nothing outside of it."""
    return [web.get("/livez", _livez)]


def routes() -> list[web.RouteDef]:
    """What goes on in rooms, for the page."""
    return [
        web.get("/api/stats", _stats),
        web.get("/api/rooms/{room}", _room),
        web.get("/session/{room}/{session}/stats", _own),
    ]


async def _livez(_request: web.Request) -> web.Response:
    return web.Response(text="OK")


async def _stats(request: web.Request) -> web.Response:
    return web.json_response(asdict(request.app[NODE].forwarder.stats()))


async def _room(request: web.Request) -> web.Response:
    node = request.app[NODE]
    room = node.rooms.get(request.match_info["room"])
    publishers = [] if room is None else [_publisher(publisher) for publisher in room.publishers.values()]
    players = [] if room is None else [_player(player) for player in room.players.values()]
    return web.json_response({"publishers": publishers, "players": players, "drops": node.forwarder.stats().drops})


async def _own(request: web.Request) -> web.Response:
    """One session for those who know its id: its client. The resource itself answers no GET (RFC 9725 §4)."""
    match request.app[NODE].find(request.match_info["room"], request.match_info["session"]):
        case Publisher() as publisher:
            return web.json_response(_publisher(publisher))
        case Player() as player:
            return web.json_response(_player(player))
        case _:
            raise web.HTTPNotFound(text="no such session")


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
