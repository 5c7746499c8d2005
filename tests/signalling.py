"""A client that speaks LiveKit's signalling and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import WSMsgType

from rtpcore.wire.messages import SignalRequest, SignalResponse


class Client:
    """A client's socket."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    async def send(self, **message: Any) -> None:
        await self.socket.send_bytes(SignalRequest(**message).SerializeToString())

    async def until(self, kind: str) -> Any:
        """The next message of a kind."""
        while (message := await asyncio.wait_for(self.socket.receive(), 30)).type == WSMsgType.BINARY:
            response = SignalResponse.FromString(message.data)
            if response.WhichOneof("message") == kind:
                return getattr(response, kind)
        pytest.fail(f"the socket closed before {kind}")
