"""LiveKit's clients in an aiohttp application: ``LIVEKIT_KEYS="key: …" python examples/aiohttp_livekit.py``.

The server is at ``/live``, so that clients are pointed at ``ws://localhost:8080/live``, with a token of ``/token``.
"""

from aiohttp import web

import rtpcore
from rtpcore.http.request import MAX_REQUEST_LINE

server = rtpcore.Server()


async def token(request: web.Request) -> web.Response:
    """Let somebody into a room. Put your login in front of it."""
    return web.Response(text=server.token(request.query["identity"], request.query["room"]))


async def rooms(request: web.Request) -> web.Response:
    """Who is where."""
    return web.json_response({name: list(room.participants) for name, room in server.rooms.items()})


app = web.Application()
app.add_routes([web.get("/token", token), web.get("/rooms", rooms)])
app.add_subapp("/live", server.aiohttp_app())

if __name__ == "__main__":
    # Clients with one peer connection put their first description into the first line of their request.
    web.run_app(app, port=8080, max_line_size=MAX_REQUEST_LINE, max_field_size=MAX_REQUEST_LINE)
