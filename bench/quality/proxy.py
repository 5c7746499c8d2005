"""A signalling proxy: clients join through it, and their media then has to pass a relay.

A client connects here instead of to the server. Messages pass as they are but for candidates: of the server's only UDP
host candidates stay, and they point to the relay; of the client's none reach the server, which learns of the client by
its connectivity checks as peer-reflexive candidates (RFC 8445 §7.3.1.3), that is by the relay's addresses. ICE servers
go too: they would be a way round.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from bench.local import hosting
from google.protobuf import json_format
from livekit.protocol import rtc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from google.protobuf.message import Message

__all__ = ["proxy", "rewrite_candidate", "rewrite_request", "rewrite_response", "rewrite_sdp"]

if TYPE_CHECKING:
    Address = tuple[str, int]
    Socket = aiohttp.ClientWebSocketResponse[Any] | web.WebSocketResponse[Any]
    Redirect = Callable[[str, int], Awaitable[Address]]
    """Gives the relay's address for one of the server's."""

# What concerns one connection and not the request.
HOP_BY_HOP = {"connection", "host", "upgrade", "content-length", "transfer-encoding", "content-encoding"}
# LiveKit's clients put a description into the first line.
LONGEST_LINE = 1 << 20


##### Candidates


async def rewrite_candidate(text: str, redirect: Redirect) -> str | None:
    """A candidate of the server as the client may see it (RFC 8839 §5.1), or None.

    Args:
        text: What follows `a=`: ``candidate:1 1 udp 2130706431 127.0.0.1 7882 typ host``.
        redirect: From the server's address to the relay's.
    """
    fields = text.split(" ")
    is_direct = fields[2].lower() == "udp" and fields[6:8] == ["typ", "host"] and ":" not in fields[4]
    if not is_direct:
        return None
    host, port = await redirect(fields[4], int(fields[5]))
    fields[4], fields[5] = host, str(port)
    return " ".join(fields)


async def rewrite_sdp(sdp: str, redirect: Redirect | None) -> str:
    """A description with the relay's candidates, or without any."""
    lines = []
    for line in sdp.split("\r\n"):
        if line.startswith("a=candidate:"):
            text = None if redirect is None else await rewrite_candidate(line[2:], redirect)
            if text is not None:
                lines.append(f"a={text}")
        else:
            lines.append(line)
    return "\r\n".join(lines)


##### Messages


async def rewrite_response(response: rtc.SignalResponse, redirect: Redirect) -> bool:
    """Change a message of the server for the client; False where nothing is left of it."""
    what = response.WhichOneof("message")
    if what in ("offer", "answer"):
        description = getattr(response, what)
        description.sdp = await rewrite_sdp(description.sdp, redirect)
    elif what in ("join", "reconnect"):
        del getattr(response, what).ice_servers[:]
    elif what == "trickle":
        init = json.loads(response.trickle.candidateInit)
        # An empty one says that there are no more.
        if init.get("candidate"):
            text = await rewrite_candidate(init["candidate"].removeprefix("a="), redirect)
            if text is None:
                return False
            response.trickle.candidateInit = json.dumps({**init, "candidate": text})
    return True


async def rewrite_request(request: rtc.SignalRequest) -> bool:
    """Change a message of the client for the server; False where nothing is left of it."""
    what = request.WhichOneof("message")
    if what in ("offer", "answer"):
        description = getattr(request, what)
        description.sdp = await rewrite_sdp(description.sdp, None)
    elif what == "trickle":
        return not json.loads(request.trickle.candidateInit).get("candidate")
    elif what == "sync_state":
        for name in ("offer", "answer"):
            if request.sync_state.HasField(name):
                description = getattr(request.sync_state, name)
                description.sdp = await rewrite_sdp(description.sdp, None)
    return True


async def rewrite_join(text: str) -> str:
    """The same for the request of a single peer connection, which is part of its URL."""
    wrapped = rtc.WrappedJoinRequest.FromString(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    is_packed = wrapped.compression == rtc.WrappedJoinRequest.GZIP
    request = rtc.JoinRequest.FromString(gzip.decompress(wrapped.join_request) if is_packed else wrapped.join_request)
    if request.HasField("publisher_offer"):
        request.publisher_offer.sdp = await rewrite_sdp(request.publisher_offer.sdp, None)
    packed = request.SerializeToString()
    wrapped.join_request = gzip.compress(packed) if is_packed else packed
    return base64.urlsafe_b64encode(wrapped.SerializeToString()).decode()


##### Connections


@contextlib.asynccontextmanager
async def proxy(server: str, redirect: Redirect) -> AsyncIterator[str]:
    """Run one in front of a server; gives the URL for clients.

    Args:
        server: A LiveKit-compatible server, ``http://127.0.0.1:7880``.
        redirect: From the server's address of media to the relay's.
    """
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:

        async def handle(request: web.Request) -> web.StreamResponse:
            query = dict(request.query)
            if "join_request" in query:
                query["join_request"] = await rewrite_join(query["join_request"])
            headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
            url = server + request.path
            if request.headers.get("Upgrade", "").lower() == "websocket":
                headers = {name: value for name, value in headers.items() if not name.lower().startswith("sec-")}
                return await _socket(request, client, url, query, headers, redirect)
            body = await request.read()
            async with client.request(request.method, url, params=query, headers=headers, data=body) as answer:
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
                return web.Response(status=answer.status, headers=kept, body=await answer.read())

        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", handle)
        async with hosting(app, shutdown_timeout=1, max_line_size=LONGEST_LINE, max_field_size=LONGEST_LINE) as url:
            yield url


async def _socket(
    request: web.Request,
    client: aiohttp.ClientSession,
    url: str,
    query: dict[str, str],
    headers: dict[str, str],
    redirect: Redirect,
) -> web.StreamResponse:
    # The server first: where it refuses, its status is the client's.
    try:
        upstream = await client.ws_connect(url, params=query, headers=headers, max_msg_size=0, autoping=True)
    except aiohttp.WSServerHandshakeError as refused:
        return web.Response(status=refused.status, text=refused.message)
    downstream = web.WebSocketResponse(max_msg_size=0)
    await downstream.prepare(request)

    async def pass_up(message: Message) -> bool:
        assert isinstance(message, rtc.SignalRequest)
        return await rewrite_request(message)

    async def pass_down(message: Message) -> bool:
        assert isinstance(message, rtc.SignalResponse)
        return await rewrite_response(message, redirect)

    ways = [
        asyncio.create_task(_pass(downstream, upstream, rtc.SignalRequest, pass_up)),
        asyncio.create_task(_pass(upstream, downstream, rtc.SignalResponse, pass_down)),
    ]
    _, others = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for one in others:
        one.cancel()
    await upstream.close()
    await downstream.close()
    return downstream


async def _pass(
    source: Socket,
    sink: Socket,
    kind: type[Message],
    rewrite: Callable[[Message], Awaitable[bool]],
) -> None:
    """Messages of one direction, in protobuf or in JSON as they come."""
    with contextlib.suppress(ConnectionError, aiohttp.ClientError):
        async for frame in source:
            if frame.type is aiohttp.WSMsgType.TEXT:
                message = json_format.Parse(frame.data, kind(), ignore_unknown_fields=True)
                if await rewrite(message):
                    await sink.send_str(json_format.MessageToJson(message))
            elif frame.type is aiohttp.WSMsgType.BINARY:
                message = kind.FromString(frame.data)
                if await rewrite(message):
                    await sink.send_bytes(message.SerializeToString())
