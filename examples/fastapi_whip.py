"""WHIP in, WHEP out, in a FastAPI application: ``uvicorn fastapi_whip:app --app-dir examples``.

Publish with ``POST /whip/{room}`` (RFC 9725), play with ``POST /whep/{room}``, leave with ``DELETE`` on ``Location``.
"""

from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response

import rtpcore
from rtpcore.node import Node


@asynccontextmanager
async def lifespan(app: FastAPI):
    """Run a forwarder for as long as the application runs."""
    async with rtpcore.Forwarder() as forwarder, Node(forwarder) as app.state.node:
        yield


app = FastAPI(lifespan=lifespan)
app.add_exception_handler(rtpcore.RtpcoreError, lambda _request, error: Response(str(error), 400))


def created(session, answer) -> Response:
    """Answer with SDP and the name of the session."""
    return Response(answer, 201, {"Location": f"/session/{session.room.name}/{session.id}"}, "application/sdp")


@app.post("/whip/{room}")
async def publish(room: str, request: Request) -> Response:
    """Take what the client offers."""
    return created(*app.state.node.publish(room, (await request.body()).decode()))


@app.post("/whep/{room}")
async def play(room: str, request: Request) -> Response:
    """Send the client what others publish."""
    played = app.state.node.play(room, (await request.body()).decode())
    return created(*played) if played else Response("nobody publishes here yet", 404)


@app.delete("/session/{room}/{name}")
async def leave(room: str, name: str) -> None:
    """End a session."""
    if session := app.state.node.find(room, name):
        app.state.node.end(session)
