"""LiveKit's server API, at ``/twirp/livekit.{Service}/{Method}``: who may call what, and the way there and back.

What a call does is in `rooms` and `dispatches`. A call that follows another sees what that one did.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeAlias

from rtpcore.errors import JoinError
from rtpcore.http.request import Response, Route
from rtpcore.http.rtc import claims_of
from rtpcore.wire import twirp
from rtpcore.wire.messages import Message
from rtpcore.wire.token import VideoGrant
from rtpcore.wire.twirp import TwirpError

if TYPE_CHECKING:
    from rtpcore.host import Host
    from rtpcore.http.request import Request
    from rtpcore.room import Room

__all__ = ["Service", "administered", "check", "check_size", "room_of", "routes"]

Action: TypeAlias = Callable[[VideoGrant | None, Any], Message | Awaitable[Message]]
"""Does what a call asks, by the caller's grant. Raises TwirpError."""

Service: TypeAlias = Mapping[str, tuple[Callable[[], Any], Action]]
"""By the method's name: what makes an empty request, and what is done."""


def routes(host: Host, services: Mapping[str, Service]) -> list[Route]:
    """The one route of all services, which are there by their full names."""

    async def call(request: Request) -> Response:
        return await _call(host, services, request)

    return [Route("*", "/twirp/{service}/{method}", call)]


async def _call(host: Host, services: Mapping[str, Service], request: Request) -> Response:
    try:
        service, name = request.parameters["service"], request.parameters["method"]
        if request.method != "POST":
            raise TwirpError("bad_route", f"unsupported method {request.method} (only POST is allowed)")
        reason = _ABSENT.get(service)
        if reason is not None:
            raise TwirpError("internal", reason)
        found = services.get(service, {}).get(name)
        if found is None:
            raise TwirpError("bad_route", f"no handler for path {request.path}")
        try:
            grant = claims_of(host, request).video
        except JoinError as error:
            raise TwirpError("unauthenticated", error.reason) from error
        kind, action = found
        message = twirp.decode(request.content_type, await request.read(), kind())
        answer = action(grant, message)
        if isawaitable(answer):
            answer = await answer
        return Response(200, twirp.encode(request.content_type, answer), request.content_type)
    except TwirpError as error:
        return Response(error.status, error.to_json().encode(), twirp.JSON)


_ABSENT = {
    "livekit.Egress": "egress not connected (redis required)",
    "livekit.Ingress": "ingress not connected (redis required)",
    "livekit.SIP": "sip not connected (redis required)",
}
"""Services that this server has not, in the words of a LiveKit server that has them not either."""


##### Who may, and what there is


def check_size(reason: str) -> None:
    """Raise TwirpError where there is a reason why something is too long."""
    if reason:
        raise TwirpError("invalid_argument", reason)


def check(may: bool) -> None:
    """Raise TwirpError unless the caller may."""
    if not may:
        raise TwirpError("unauthenticated", "permissions denied")


def administered(host: Host, grant: VideoGrant | None, name: str) -> Room:
    """A room that the caller administers. Raises TwirpError."""
    check(grant is not None and grant.room_admin and grant.room == name)
    return room_of(host, name)


def room_of(host: Host, name: str) -> Room:
    """A room that there is. Raises TwirpError."""
    room = host.rooms.get(name)
    if room is None:
        raise TwirpError("not_found", "requested room does not exist")
    return room
