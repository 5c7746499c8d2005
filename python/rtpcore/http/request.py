"""Requests, responses, websockets and routes, whichever server they come by.

What is behind a path is written once, against this, and two adapters carry it: `rtpcore.http.aiohttp` and
`rtpcore.http.asgi`. ::

    server ──▶ adapter ──Request──▶ respond ──▶ Route.handler ──▶ Response, or Upgrade with what to do with the socket

Whether a websocket opens is the handler's decision like any other: a client that may not come in gets a status.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from rtpcore.errors import JoinError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = [
    "MAX_REQUEST_LINE",
    "Handler",
    "Mountable",
    "Request",
    "Response",
    "Route",
    "Upgrade",
    "WebSocket",
    "respond",
    "with_preflight",
]

MAX_REQUEST_LINE = 1 << 20
"""Bytes of a request's first line, and of a header: what Go's servers take, and so what clients count on. A client that
joins by one request puts its first description into the query; the server in front of this must let it through."""

_MAX_BODY = 1 << 20
"""Bytes of a body, where nothing else is configured."""


class WebSocket(Protocol):
    """An open websocket, or one about to open."""

    async def accept(self) -> None:
        """Complete the upgrade; comes first."""

    async def receive(self) -> bytes | str | None:
        """The next message, of `Upgrade.max_message` bytes at most; None at the end."""

    async def send(self, message: bytes | str) -> None:
        """Send a message; waits while the other end does not read. After the end it does nothing."""

    async def close(self) -> None:
        """Say goodbye (RFC 6455 §7.1.1). Idempotent."""

    def abort(self) -> None:
        """Let go of a client that takes nothing any more, not even a goodbye."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks.

    Attributes:
        method: In capitals.
        path: Decoded, below where this is mounted, without slashes too many.
        prefix: Where this is mounted, as in URLs; empty, or from a slash on to before the next.
        query: Decoded; the first of a name that is there twice.
        headers: By name in lower case.
        parameters: What the names in the route's pattern stand for, decoded.
        is_websocket: It asks for an upgrade to a websocket.
        body: Reads it all; raises JoinError with 413 past so many bytes.
        max_body: How many that are.
    """

    method: str
    path: str
    prefix: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    parameters: Mapping[str, str]
    is_websocket: bool
    body: Callable[[int], Awaitable[bytes]]
    max_body: int = _MAX_BODY

    @property
    def content_type(self) -> str:
        """The media type of the body in lower case, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def read(self) -> bytes:
        """The body. Raises JoinError with 413 where it is too long."""
        return await self.body(self.max_body)

    async def text(self) -> str:
        """The body as UTF-8; what is none becomes U+FFFD. Raises JoinError with 413 where it is too long."""
        return (await self.read()).decode(errors="replace")

    async def json(self) -> Any:
        """The body as JSON. Raises ValueError where it is none, JoinError with 413 where it is too long."""
        return json.loads(await self.read())


@dataclass(slots=True)
class Response:
    """What a client is answered.

    Attributes:
        status: Of HTTP.
        body: As it is sent.
        content_type: Its media type, if there is a body.
        headers: Others than that and its length.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_text(cls, text: str, status: int = 200, **headers: str) -> Response:
        """A line of text, with headers whose names are written with underscores.

        >>> Response.of_text("later", 503, Retry_After="5").headers
        {'Retry-After': '5'}
        """
        return cls(status, text.encode(), headers={name.replace("_", "-"): value for name, value in headers.items()})

    @classmethod
    def of_json(cls, value: Any, status: int = 200) -> Response:
        """A value as JSON."""
        return cls(status, json.dumps(value).encode(), "application/json")


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The websocket may open.

    Attributes:
        serve: The adapter calls it at once; it accepts the socket and returns when it is over.
        max_message: Bytes of a message that a client may send; a longer one ends the socket (1009).
    """

    serve: Callable[[WebSocket], Awaitable[None]]
    max_message: int


class Mountable(Protocol):
    """What can be mounted: `rtpcore.Server`, or anything else with routes that runs while it is entered."""

    @property
    def routes(self) -> Sequence[Route]:
        """What there is."""

    @property
    def max_body(self) -> int:
        """Bytes of a request's body."""

    @property
    def is_running(self) -> bool:
        """Whether it is entered."""

    def close(self) -> None:
        """Say goodbye to everybody."""

    async def __aenter__(self) -> object:
        """Start."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""


Handler: TypeAlias = Callable[[Request], Awaitable[Response | Upgrade]]
"""What is behind a path. It may raise JoinError: the client gets its status and reason."""


@dataclass(frozen=True, slots=True)
class Route:
    """A path and what is behind it.

    Attributes:
        method: In capitals; ``GET`` answers HEAD as well, ``*`` is every one.
        pattern: Begins with a slash; a part in braces stands for anything without one.
        handler: Answers.
    """

    method: str
    pattern: str
    handler: Handler


def with_preflight(routes: Iterable[Route]) -> list[Route]:
    """The routes, and for each path one that answers OPTIONS, which browsers ask before they call (Fetch §4.8)."""
    routes = list(routes)
    answered = {route.pattern for route in routes if route.method in ("OPTIONS", "*")}
    patterns = dict.fromkeys(route.pattern for route in routes if route.pattern not in answered)
    return [*routes, *(Route("OPTIONS", pattern, _options) for pattern in patterns)]


async def _options(request: Request) -> Response:
    return Response(405)


async def respond(handler: Handler, request: Request) -> Response | Upgrade:
    """Answer a request, and let pages of every origin read it (Fetch §3.2).

    Who may is told by tokens, not by where a page comes from.
    """
    is_preflight = request.method == "OPTIONS" and "access-control-request-method" in request.headers
    try:
        answer = Response(204) if is_preflight else await handler(request)
    except JoinError as error:
        answer = Response.of_text(error.reason, error.status)
    origin = request.headers.get("origin")
    if isinstance(answer, Upgrade) or origin is None:
        return answer
    answer.headers.setdefault("Access-Control-Allow-Origin", origin)
    answer.headers.setdefault("Access-Control-Expose-Headers", "*")
    if request.method == "OPTIONS":
        answer.headers["Access-Control-Allow-Methods"] = "OPTIONS, HEAD, GET, POST, PATCH, DELETE"
        answer.headers["Access-Control-Allow-Headers"] = request.headers.get("access-control-request-headers", "*")
        answer.headers["Access-Control-Max-Age"] = "86400"
    return answer
