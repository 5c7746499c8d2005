"""TURN (RFC 8656) in this process: for clients whose network lets nothing out but to one port, or nothing but TLS.

::

    client ──UDP or TLS──▶ TurnServer (own thread) ──UDP──▶ this server's media port

Python starts and stops it. Who may relay is checked there, by the API keys that it was given: the names and passwords
that :mod:`rtpcore.wire.ice_servers` hands out say all that is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rtpcore import _core
from rtpcore.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from rtpcore.livekit_config import Turn
    from rtpcore.parameters import UdpAddress

__all__ = ["TurnServer", "TurnStats"]

logger = logging.getLogger("rtpcore.turn")

_PATIENCE_MS = 30_000
"""How long a client may take from its first word to its relay; libwebrtc gives up sooner."""

_IDLE_MS = 300_000
"""How long a relay is kept to which no peer sends anything. Media that flows never leaves such a gap; who was sent out
of a room does, because this server answers it no more."""

_NO_LIMIT = 1 << 16
_WATCH_S = 5.0
_WORDS = {
    "malformed": "a client sent what is no TURN",
    "stranger": "somebody without a relay sent something; its address may have changed",
    "unauthorized": "a client had a wrong or expired password; it may have kept ICE servers of an earlier join",
    "forbidden_peer": "a client wanted to reach an address that is not public; turn.allow_restricted_peer_cidrs opens"
    " networks",
    "quota": "a participant wanted more relays than turn.per_user_relay_allocation_limit, or more than 64 peers",
    "no_capacity": "no relay port was free, or there were too many clients; turn.relay_range_end raises the number",
    "slow_client": "a client's connection takes less than it is sent",
    "slow_peer": "the network did not take what was relayed; without a route to the peer it takes nothing",
    "idle": "a relay was closed because no peer used it",
    "fault": "a fault here cost a client its relay; please report it",
}
"""What each reason in the counters means, and what to do."""


@dataclass(frozen=True, slots=True)
class TurnStats:
    """What a TURN server did.

    Attributes:
        clients: Clients now.
        connections: Of them, over TCP and TLS.
        allocations: Relays now.
        allocations_made: Relays since the start.
        packets_to_peers: From clients to peers.
        bytes_to_peers: Without what TURN adds.
        packets_to_clients: From peers to clients.
        bytes_to_clients: Without what TURN adds.
        drops: Messages that went no further, by reason.
    """

    clients: int
    connections: int
    allocations: int
    allocations_made: int
    packets_to_peers: int
    bytes_to_peers: int
    packets_to_clients: int
    bytes_to_clients: int
    drops: Mapping[str, int]


class TurnServer:
    """A TURN server for the participants of this server, as ``async with``.

    What it relays to is this server's media and the public Internet. Loopback, private and link-local networks and the
    other ports of this machine are closed: a relay would open them to everybody who has a token.
    """

    def __init__(self, settings: Turn, *, keys: Mapping[str, str], media: Sequence[UdpAddress]) -> None:
        """Remember how to start; bind nothing.

        Args:
            settings: Ports, certificate, bounds.
            keys: Secret by API key; passwords are made of them.
            media: Where this server receives media. Relays are bound to the first address of each family.
        """
        self._settings = settings
        self._keys = dict(keys)
        self._media = tuple(media)
        self._core: _core.TurnServer | None = None
        self._watch: asyncio.Task[None] | None = None
        self._said: set[str] = set()

    async def __aenter__(self) -> Self:
        """Bind the sockets, start the thread.

        Raises:
            BindError: An address or port cannot be had.
            ConfigError: Certificate or key cannot be read or used.
        """
        self._core = await asyncio.to_thread(self._start)
        self._watch = asyncio.create_task(self._tell())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all relays."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        if self._core is not None:
            self._look(self._core)
            await asyncio.to_thread(self._core.stop)
            self._core = None

    def _start(self) -> _core.TurnServer:
        settings = self._settings
        relays: dict[bool, tuple[str, str]] = {}
        for address in self._media:
            relays.setdefault(":" in address.local[0], (address.local[0], address.advertised[0]))
        has_certificate = bool(settings.tls_port) and not settings.external_tls
        return _core.TurnServer(
            udp=[(host, settings.udp_port) for host in settings.bind_addresses if settings.udp_port],
            tcp=[(host, settings.tls_port) for host in settings.bind_addresses if settings.tls_port],
            certificate=(
                (_read("turn.cert_file", settings.cert_file), _read("turn.key_file", settings.key_file))
                if has_certificate
                else None
            ),
            keys=self._keys,
            relays=list(relays.values()),
            ports=(settings.relay_range_start, settings.relay_range_end),
            media=[(address.advertised, address.local) for address in self._media],
            denied=[_network(text) for text in settings.deny_peer_cidrs],
            allowed=[_network(text) for text in settings.allow_restricted_peer_cidrs],
            relays_of_one=settings.per_user_relay_allocation_limit or _NO_LIMIT,
            patience_ms=_PATIENCE_MS,
            idle_ms=_IDLE_MS,
        )

    def stats(self) -> TurnStats:
        """What it did since its start; nothing while it does not run."""
        if self._core is None:
            return TurnStats(0, 0, 0, 0, 0, 0, 0, 0, {})
        return TurnStats(**self._core.stats())

    async def _tell(self) -> None:
        """Say once of each kind of trouble that it is there: relaying that fails silently cannot be mended."""
        while self._core is not None:
            self._look(self._core)
            await asyncio.sleep(_WATCH_S)

    def _look(self, core: _core.TurnServer) -> None:
        for reason, count in core.stats()["drops"].items():
            if count and reason not in self._said:
                self._said.add(reason)
                logger.warning("TURN dropped something (%s): %s", reason, _WORDS[reason])


def _read(setting: str, path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(setting, f"{path} cannot be read: {error.strerror}") from None


def _network(text: str) -> tuple[str, int]:
    network = ipaddress.ip_network(text, strict=False)
    return str(network.network_address), network.prefixlen
