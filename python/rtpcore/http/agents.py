"""``GET /agent``: where LiveKit's agent workers connect; and ``GET /rtpcore/agents``: what they do, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtpcore.agents.worker import Connection
from rtpcore.errors import JoinError
from rtpcore.http.request import Response, Route, Upgrade
from rtpcore.http.rtc import claims_of

if TYPE_CHECKING:
    from rtpcore.agents import Dispatcher
    from rtpcore.http.request import Request

__all__ = ["routes"]


def routes(dispatcher: Dispatcher) -> list[Route]:
    """The routes of this module."""

    async def agent(request: Request) -> Response | Upgrade:
        if not request.is_websocket:
            return Response(404)
        claims = claims_of(dispatcher.host, request)
        if claims.video is None or not claims.video.agent:
            raise JoinError(401, "permissions denied")
        if dispatcher.host.is_draining:
            raise JoinError(503, "the server is shutting down")
        if len(dispatcher.pool.books.workers) >= dispatcher.pool.limits.max_workers:
            raise JoinError(503, "the server has as many agent workers as it may")
        longest = dispatcher.host.settings.limit.agent_signal_message_size_limit
        return Upgrade(Connection(dispatcher, claims.issuer).serve, longest)

    return [Route("GET", "/agent", agent)]
