"""Which ports a configuration needs open, and whether they can be had now."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rtpcore.config import Config
    from rtpcore.livekit_config import LiveKitConfig

__all__ = ["Port", "needed"]


@dataclass(frozen=True, slots=True)
class Port:
    """One port, or a range of them.

    Attributes:
        protocol: ``udp`` or ``tcp``.
        address: Where it is bound; ``0.0.0.0`` and ``::`` are every interface.
        port: Its number; 0 lets the kernel choose, so that no firewall can be told.
        purpose: What goes through it.
        last: The last port of a range; None for a single one.
        is_public: Clients must reach it; the others are for operators.
    """

    protocol: Literal["udp", "tcp"]
    address: str
    port: int
    purpose: str
    last: int | None = None
    is_public: bool = True

    @property
    def numbers(self) -> str:
        """The port or the range.

        >>> Port("udp", "0.0.0.0", 30000, "relays", last=40000).numbers, Port("tcp", "::", 0, "HTTP").numbers
        ('30000-40000', 'any')
        """
        return "any" if not self.port else str(self.port) if self.last is None else f"{self.port}-{self.last}"

    def trouble(self) -> str:
        """Why it cannot be bound, in a few words; empty if it can. Of a range the first one speaks for all."""
        family = socket.AF_INET6 if ipaddress.ip_address(self.address).version == 6 else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM if self.protocol == "udp" else socket.SOCK_STREAM) as probe:
                if self.protocol == "tcp":
                    # What a server that stopped a moment ago left behind does no harm.
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((self.address, self.port))
        except OSError as error:
            return _WORDS.get(error.errno or 0) or os.strerror(error.errno or 0)
        return ""


_WORDS = {
    errno.EADDRINUSE: "in use",
    errno.EACCES: "not allowed: a port below 1024 needs a privilege",
    errno.EADDRNOTAVAIL: "no such address on this machine",
}


def needed(settings: LiveKitConfig, config: Config) -> tuple[Port, ...]:
    """Every port that a server with this configuration binds, what clients need first.

    Args:
        settings: Of everything but the forwarder.
        config: Of the forwarder.
    """
    listen, turn = config.listen, settings.turn
    http = settings.bind_addresses or ("0.0.0.0", "::")
    found = [Port("tcp", address, settings.port, "HTTP and websockets") for address in http]
    for address in listen.addresses:
        found.append(Port("udp", address, listen.udp_port, "media"))
        if listen.tcp_port is not None:
            found.append(Port("tcp", address, listen.tcp_port, "media without UDP"))
    if turn.enabled:
        for address in turn.bind_addresses:
            if turn.udp_port:
                found.append(Port("udp", address, turn.udp_port, "TURN, and STUN"))
            if turn.tls_port:
                words = "TURN behind a proxy's TLS" if turn.external_tls else "TURN over TLS"
                found.append(Port("tcp", address, turn.tls_port, words))
            found.append(Port("udp", address, turn.relay_range_start, "TURN's relays", turn.relay_range_end))
    if settings.prometheus.port:
        found += [Port("tcp", address, settings.prometheus.port, "metrics", is_public=False) for address in http]
    return tuple(found)
