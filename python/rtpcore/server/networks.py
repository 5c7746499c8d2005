"""What stands between a server and its clients: the address that it has from outside, and TURN for who reaches no more.

::

    ask for the address ──▶ Forwarder ──▶ TurnServer, which must know where media is
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from rtpcore.external_address import with_external_address
from rtpcore.livekit_config import Turn
from rtpcore.turn import TurnServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rtpcore.config import Listen
    from rtpcore.forwarder import Forwarder
    from rtpcore.livekit_config import LiveKitConfig

__all__ = ["reachable"]


@asynccontextmanager
async def reachable(forwarder: Forwarder, settings: LiveKitConfig, listen: Listen) -> AsyncIterator[TurnServer | None]:
    """Run a forwarder such that clients reach it; what comes is its TURN server, if there is one.

    Args:
        forwarder: Not running yet.
        settings: What is wanted.
        listen: Where it listens, before the address from outside is known.

    Raises:
        BindError: An address or port cannot be had.
        ConfigError: No STUN server said the address, or the certificate of TURN cannot be shown.
    """
    if settings.rtc.use_external_ip:
        forwarder.listen_on(await with_external_address(listen, settings.rtc.stun_servers))
    async with forwarder:
        if not settings.turn.enabled:
            yield None
            return
        async with TurnServer(_turn(settings), keys=settings.keys, media=forwarder.udp_addresses) as turn:
            yield turn


def _turn(settings: LiveKitConfig) -> Turn:
    """How TURN is to run: with keys that everybody knows it stays on this machine as everything does."""
    if settings.development and settings.bind_addresses and settings.turn.bind_addresses == Turn().bind_addresses:
        return replace(settings.turn, bind_addresses=settings.bind_addresses)
    return settings.turn
