"""An agent in every room, in the server's process: ``LIVEKIT_KEYS="key: …" uvicorn greeter:app --app-dir examples``.

It is dispatched as LiveKit's agents are: once for each room, called again where it fails, ended with its room.
"""

import rtpcore
from rtpcore.http import asgi
from rtpcore.server import AgentJob, TextReceived

server = rtpcore.Server()


async def greet(job: AgentJob) -> None:
    """Say hello, then answer what is written."""
    agent = job.participant
    agent.send_text(f"welcome to {job.room.name}", topic="lk.chat")
    async for event in agent.events():
        match event:
            case TextReceived(sender, "lk.chat", text):
                agent.send_text(f"you said: {text}", topic="lk.chat", to=[sender])


server.agents.register(greet)
app = asgi.app(server)
