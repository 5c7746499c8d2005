"""Where LiveKit's agent workers connect, and what they do, as JSON.

::

    GET /agent                      the websocket of a worker
    GET /rtpcore/agents             workers, jobs, and what became of the last ones; for whoever lists rooms
    GET /rtpcore/agents?room=NAME   the jobs of one room; for whoever administers it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rtpcore.agents.describing import listing
from rtpcore.agents.worker import Connection
from rtpcore.errors import JoinError
from rtpcore.host import now_ms
from rtpcore.http.request import Response, Route, Upgrade
from rtpcore.http.rtc import claims_of

if TYPE_CHECKING:
    from rtpcore.agents import Dispatcher
    from rtpcore.http.request import Request

__all__ = ["routes", "shown"]


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

    async def show(request: Request) -> Response:
        grant, room = claims_of(dispatcher.host, request).video, request.query.get("room", "")
        is_admin = grant is not None and grant.room_admin and bool(room) and grant.room == room
        if grant is None or not (grant.room_list or is_admin):
            raise JoinError(403, "the token must grant roomList, or roomAdmin for the room that ?room= names")
        answer = Response.of_json(shown(dispatcher, room))
        answer.headers["Cache-Control"] = "no-store"
        return answer

    return [Route("GET", "/agent", agent), Route("GET", "/rtpcore/agents", show)]


def shown(dispatcher: Dispatcher, room: str = "") -> dict[str, Any]:
    """Workers and jobs in values that JSON has; of one room only its jobs and the workers that have them."""
    told = listing(dispatcher.pool, now_ms())
    if room:
        for name in ("jobs", "ended"):
            told[name] = [job for job in told[name] if job["room"] == room]
        busy = {job["worker_id"] for job in told["jobs"]}
        told["workers"] = [worker for worker in told["workers"] if worker["id"] in busy]
    return told
