"""AgentDispatchService, LiveKit's server API for agents in rooms, at ``/twirp/livekit.AgentDispatchService/{Method}``.

Every call needs a token that grants `roomAdmin` for the room.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from rtpcore.errors import JoinError, LimitError
from rtpcore.http.calls import administered, check, check_size
from rtpcore.joining import check_length
from rtpcore.wire.messages import (
    AgentDispatch,
    CreateAgentDispatchRequest,
    DeleteAgentDispatchRequest,
    JobRestartPolicy,
    ListAgentDispatchRequest,
    ListAgentDispatchResponse,
)
from rtpcore.wire.twirp import TwirpError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtpcore.agents import Dispatcher
    from rtpcore.http.calls import Service
    from rtpcore.room import Room
    from rtpcore.wire.token import VideoGrant

__all__ = ["NAME", "NAMES", "methods"]

NAME = "livekit.AgentDispatchService"

_MAX_NAME = 256
"""Bytes of the name of an agent, and of a deployment."""


def methods(dispatcher: Dispatcher) -> Service:
    """What the service can be called for."""
    return {name: (kind, partial(action, dispatcher)) for name, (kind, action) in _METHODS.items()}


def _create(dispatcher: Dispatcher, grant: VideoGrant | None, request: CreateAgentDispatchRequest) -> AgentDispatch:
    check(grant is not None and grant.room_admin and grant.room == request.room)
    if max(len(request.agent_name.encode()), len(request.deployment.encode())) > _MAX_NAME:
        raise TwirpError("invalid_argument", f"agent_name and deployment have at most {_MAX_NAME} bytes")
    attributes = dict(request.attributes)
    check_size(dispatcher.host.rules.why_too_long(request.metadata, attributes))
    room = _ensured(dispatcher, request.room)
    try:
        dispatch = dispatcher.dispatch(
            room,
            request.agent_name,
            metadata=request.metadata,
            attributes=attributes,
            deployment=request.deployment,
            restarts=request.restart_policy != JobRestartPolicy.JRP_NEVER,
        )
    except LimitError as error:
        raise TwirpError("resource_exhausted", str(error)) from error
    return dispatcher.describe(room, dispatch)


def _ensured(dispatcher: Dispatcher, name: str) -> Room:
    """The room, made where that is allowed: an agent may be there before its user."""
    host = dispatcher.host
    try:
        check_length("a room name", name, host.settings.limit.max_room_name_length)
        if name not in host.rooms and not host.settings.room.auto_create:
            raise TwirpError("not_found", "requested room does not exist")
        return host.ensure_room(name)
    except JoinError as error:
        code = "invalid_argument" if error.status == 400 else "resource_exhausted"
        raise TwirpError(code, error.reason) from error


def _delete(dispatcher: Dispatcher, grant: VideoGrant | None, request: DeleteAgentDispatchRequest) -> AgentDispatch:
    room = administered(dispatcher.host, grant, request.room)
    dispatch = dispatcher.withdraw(room, request.dispatch_id)
    if dispatch is None:
        raise TwirpError("not_found", "agent dispatch does not exist")
    return dispatch


def _list(
    dispatcher: Dispatcher, grant: VideoGrant | None, request: ListAgentDispatchRequest
) -> ListAgentDispatchResponse:
    room = administered(dispatcher.host, grant, request.room)
    found = dispatcher.dispatches(room, request.dispatch_id)
    return ListAgentDispatchResponse(agent_dispatches=found)


_METHODS: dict[str, tuple[Callable[[], Any], Callable[[Dispatcher, VideoGrant | None, Any], Any]]] = {
    "CreateDispatch": (CreateAgentDispatchRequest, _create),
    "DeleteDispatch": (DeleteAgentDispatchRequest, _delete),
    "ListDispatch": (ListAgentDispatchRequest, _list),
}

NAMES = frozenset(_METHODS)
"""The methods that there are."""
