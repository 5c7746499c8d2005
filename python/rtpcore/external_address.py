"""The address that this machine has from outside, by asking STUN servers (RFC 8489) where a request came from.

::

    Listen without advertise ──request──▶ STUN servers ──first answer──▶ Listen with advertise

Asked once, at the start, over each IP family that media uses.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from rtpcore import _core
from rtpcore.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtpcore.config import Listen

__all__ = ["PUBLIC_SERVERS", "ask", "with_external_address"]

logger = logging.getLogger("rtpcore.external_address")

PUBLIC_SERVERS = ("global.stun.twilio.com:3478", "stun.l.google.com:19302", "stun1.l.google.com:19302")
"""Whom LiveKit's server asks unless told otherwise. Only who sets ``rtc.use_external_ip`` and names none gets there."""

_DEFAULT_PORT = 3478
_FIRST_RETRY_S = 0.5
"""After that a request is sent again, then after twice that, and so on (RFC 8489 §6.2.1)."""


async def with_external_address(listen: Listen, servers: Sequence[str], *, deadline_s: float = 5.0) -> Listen:
    """Advertise what the machine is called from outside, for each family that nothing is advertised for yet.

    Args:
        listen: Where media is received.
        servers: Whom to ask, as ``host:port``; any answer will do. Empty for public ones.
        deadline_s: How long to wait for one.

    Raises:
        ConfigError: Nobody answered over IPv4; or over IPv6, where there is nothing else. With both, IPv6 may go
            unanswered: its addresses are seldom translated, and many machines have only local ones.
    """
    servers = servers or PUBLIC_SERVERS
    known = {ipaddress.ip_address(address).version for address in listen.advertise}
    local: dict[int, str] = {}
    for address in listen.addresses:
        local.setdefault(ipaddress.ip_address(address).version, address)
    found = list(listen.advertise)
    for version in sorted(set(local) - known):
        try:
            address = await ask(servers, local[version], deadline_s=deadline_s)
        except ConfigError as error:
            if version == 4 or not found:
                raise
            logger.warning("IPv6 addresses are told as they are: %s", error.problem)
            continue
        logger.info("the external address over IPv%d is known", version)
        found.append(address)
    return replace(listen, advertise=tuple(found))


async def ask(servers: Sequence[str], local: str, *, deadline_s: float) -> str:
    """The address from which ``servers`` saw a request that was sent from ``local``; the first answer counts.

    Raises:
        ConfigError: No answer came in time; says what to do.
    """
    family = socket.AF_INET6 if ":" in local else socket.AF_INET
    loop = asyncio.get_running_loop()
    transaction = os.urandom(12)
    answer: asyncio.Future[str] = loop.create_future()
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Question(transaction, answer), local_addr=(local, 0), family=family
        )
    except OSError as error:
        raise _unknown(family, f"no socket on {local}: {error.strerror}") from None
    asking = [asyncio.create_task(_ask_one(transport, server, family, transaction)) for server in servers]
    try:
        return await asyncio.wait_for(answer, deadline_s)
    except asyncio.TimeoutError:
        raise _unknown(family, f"none of {', '.join(servers)} answered within {deadline_s:g} s") from None
    finally:
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
        transport.close()


async def _ask_one(transport: asyncio.DatagramTransport, server: str, family: int, transaction: bytes) -> None:
    """Ask one server until cancelled; one without a name in this family is passed over."""
    host, port = _host_and_port(server)
    with contextlib.suppress(OSError):
        addresses = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_DGRAM)
        pause = _FIRST_RETRY_S
        while True:
            transport.sendto(_core.stun_request(transaction), addresses[0][4])
            await asyncio.sleep(pause)
            pause *= 2


def _host_and_port(server: str) -> tuple[str, int]:
    """Take a server's name apart.

    >>> _host_and_port("stun.example.org"), _host_and_port("[2001:db8::1]:19302")
    (('stun.example.org', 3478), ('2001:db8::1', 19302))
    """
    host, colon, port = server.removeprefix("stun:").rpartition(":")
    if not colon or not port.isdecimal() or (":" in host and not host.endswith("]")):
        host, port = server.removeprefix("stun:"), str(_DEFAULT_PORT)
    return host.strip("[]"), int(port)


def _unknown(family: int, why: str) -> ConfigError:
    version = 6 if family == socket.AF_INET6 else 4
    return ConfigError(
        "rtc.use_external_ip",
        f"the external IPv{version} address is not known: {why}. Set rtc.node_ip to it, name STUN servers that can be"
        " reached in rtc.stun_servers, or let UDP out to them",
    )


class _Question(asyncio.DatagramProtocol):
    """Takes the first answer to one request."""

    def __init__(self, transaction: bytes, answer: asyncio.Future[str]) -> None:
        self._transaction = transaction
        self._answer = answer

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Whoever guessed the transaction's 96 bits was asked."""
        seen = _core.stun_answer(data, self._transaction)
        if seen is not None and not self._answer.done():
            self._answer.set_result(seen[0])
