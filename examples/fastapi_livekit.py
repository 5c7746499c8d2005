"""LiveKit's clients in a FastAPI application: ``LIVEKIT_KEYS="key: …" uvicorn fastapi_livekit:app --app-dir examples``.

Point a client at the application with a token of ``/token``. Put your login in front of that: who has a token is in.
"""

from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException

import rtpcore
from rtpcore.http import asgi

server = rtpcore.Server(hooks=rtpcore.Hooks(may_publish=lambda track: track.source != "screen_share"))


@asynccontextmanager
async def lifespan(app: FastAPI):
    """Run the server for as long as the application runs."""
    async with server:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/token")
async def token(room: str, identity: str) -> str:
    """Let somebody into a room."""
    return server.token(identity, room)


@app.get("/rooms/{name}/speakers")
async def speakers(name: str) -> list[str]:
    """Who speaks now, the loudest first."""
    if name not in server.rooms:
        raise HTTPException(404, "there is no such room")
    return [participant.identity for participant in server.rooms[name].speakers]


app.mount("/", asgi.app(server))  # what clients ask: /rtc, /twirp, /whip/v1, /whep/v1
