"""A bot in every room, in the server's process: ``LIVEKIT_KEYS="key: …" uvicorn echo_bot:app --app-dir examples``.

It says what it hears to who said it, data and text, and has a method ``shout`` to be called.
"""

import asyncio
from contextlib import asynccontextmanager

from fastapi import FastAPI

import rtpcore
from rtpcore.http import asgi
from rtpcore.server import PacketReceived, RoomCreated, TextReceived

server = rtpcore.Server()


async def echo(room: str) -> None:
    """Be in a room until it is closed."""
    async with await server.join(room, "echo", name="Echo") as bot:
        bot.register("shout", lambda call: call.payload.upper())
        async for event in bot.events():
            match event:
                case PacketReceived(sender, topic, payload):
                    bot.send(payload, topic=topic, to=[sender])
                case TextReceived(sender, topic, text):
                    bot.send_text(text, topic=topic, to=[sender])


async def follow(events) -> None:
    """Be in every room that there is."""
    await asyncio.gather(*[asyncio.create_task(echo(e.room.name)) async for e in events if isinstance(e, RoomCreated)])


@asynccontextmanager
async def lifespan(app: FastAPI):
    """Run the server, and the bots in it, for as long as the application runs."""
    async with server:
        following = asyncio.create_task(follow(server.events()))
        yield
    await following


app = FastAPI(lifespan=lifespan)
app.mount("/", asgi.app(server))
