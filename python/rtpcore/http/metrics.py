"""``GET /metrics``: what the server counts, in Prometheus' text, and what is counted at the edge of HTTP.

::

    prometheus.port      an HTTP port of its own, with prometheus.username and .password where they are set
    --dev                the main port as well
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from rtpcore.errors import BindError, JoinError
from rtpcore.http import aiohttp, dispatches, rooms
from rtpcore.http.request import Response, Route, Upgrade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from rtpcore.http.request import Handler, Request, WebSocket
    from rtpcore.livekit_config import Prometheus
    from rtpcore.metrics import Metrics

__all__ = ["counted", "registry", "routes", "serving"]


def registry(metrics: Metrics) -> CollectorRegistry:
    """A registry with the server's metrics and those of its process: memory, processor time, open files."""
    made = CollectorRegistry()
    made.register(metrics)
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    GCCollector(registry=made)
    return made


def routes(metrics: Metrics, settings: Prometheus | None = None) -> list[Route]:
    """The route of this module.

    Args:
        metrics: What to tell.
        settings: To whom; None for everybody.
    """
    found = registry(metrics)
    asks = settings is not None and bool(settings.username)
    expected = b"" if settings is None else base64.b64encode(f"{settings.username}:{settings.password}".encode())

    async def tell(request: Request) -> Response:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # RFC 7617.
        is_right = scheme.lower() == "basic" and hmac.compare_digest(given.strip().encode(), expected)
        if asks and not is_right:
            return Response(401, headers={"WWW-Authenticate": 'Basic realm="metrics"'})
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(200, encode(found), content_type)

    return [Route("GET", "/metrics", tell)]


def counted(metrics: Metrics, these: Iterable[Route]) -> list[Route]:
    """The same routes, with joins, messages on websockets and calls of the server API counted."""
    return [replace(route, handler=_count(metrics, route)) for route in these]


@contextlib.asynccontextmanager
async def serving(metrics: Metrics, settings: Prometheus, addresses: tuple[str, ...]) -> AsyncIterator[tuple[int, ...]]:
    """Serve metrics on a port of their own meanwhile; the ports that were bound, none where none is configured.

    Args:
        metrics: What to tell.
        settings: Where, and to whom.
        addresses: Of which interfaces, the first of which must be there.

    Raises:
        BindError: The port cannot be had.
    """
    if not settings.port:
        yield ()
        return
    app = web.Application()
    app.add_routes(aiohttp.routes(routes(metrics, settings)))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        for address in addresses:
            try:
                await web.TCPSite(runner, address, settings.port).start()
            except OSError as error:
                if address == addresses[0]:
                    raise BindError(address, settings.port, error.errno or 0, error.strerror or str(error)) from error
        yield tuple(address[1] for address in runner.addresses)
    finally:
        await runner.cleanup()


def _count(metrics: Metrics, route: Route) -> Handler:
    handler = route.handler

    async def join(request: Request) -> Response | Upgrade:
        try:
            answer = await handler(request)
        except JoinError as error:
            metrics.joins[error.status] += 1
            raise
        if isinstance(answer, Response):
            metrics.joins[answer.status] += 1
            return answer
        metrics.joins[101] += 1
        serve = answer.serve
        return replace(answer, serve=lambda socket: serve(_Counted(metrics, socket)))

    async def call(request: Request) -> Response | Upgrade:
        began, status = time.monotonic(), 500
        try:
            answer = await handler(request)
            if isinstance(answer, Response):
                status = answer.status
            return answer
        except JoinError as error:
            status = error.status
            raise
        finally:
            metrics.call_s.count(time.monotonic() - began)
            # What is not served is counted together: names that callers invent must not become labels.
            service, method = request.parameters["service"], request.parameters["method"]
            is_served = method in _METHODS.get(service, ())
            called = (service, method) if is_served else ("", "")
            metrics.calls[called[0], called[1], status] += 1

    match route.pattern:
        case "/rtc" | "/rtc/v1":
            return join
        case "/twirp/{service}/{method}":
            return call
        case _:
            return handler


_METHODS = {rooms.NAME: rooms.NAMES, dispatches.NAME: dispatches.NAMES}


class _Counted:
    """A websocket whose messages are counted."""

    def __init__(self, metrics: Metrics, socket: WebSocket) -> None:
        self._metrics = metrics
        self._socket = socket
        self.accept, self.close, self.abort = socket.accept, socket.close, socket.abort

    async def receive(self) -> bytes | str | None:
        message = await self._socket.receive()
        if message is not None:
            self._metrics.messages["received"] += 1
        return message

    async def send(self, message: bytes | str) -> None:
        await self._socket.send(message)
        self._metrics.messages["sent"] += 1
