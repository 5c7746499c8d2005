"""WHIP in, WHEP out, in an aiohttp application: ``python examples/aiohttp_whip.py``.

Publish with ``POST /whip/{room}`` (RFC 9725), play with ``POST /whep/{room}``. ICE restarts, layers and the ends of
sessions come with the routes; put your own login in front of them as a middleware.
"""

from aiohttp import web

import rtpcore
from rtpcore.http import aiohttp, whip
from rtpcore.node import Node

node = Node(rtpcore.Forwarder())


async def forward(app: web.Application):
    """Run a forwarder for as long as the application runs."""
    async with node.forwarder, node:
        yield


app = web.Application()
app.cleanup_ctx.append(forward)
app.add_routes(aiohttp.routes(whip.routes(node)))

if __name__ == "__main__":
    web.run_app(app, port=8080)
