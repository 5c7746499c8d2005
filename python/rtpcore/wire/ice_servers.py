"""What clients are told of STUN and TURN servers, in LiveKit's order, and the passwords for them.

::

    this server's TURN ── rtc.turn_servers ── rtc.stun_servers

Where nothing is configured the list is empty: nobody else learns who calls whom.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

from rtpcore.wire.messages import ICEServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rtpcore.livekit_config import LiveKitConfig, Turn
    from rtpcore.livekit_config.sections import TurnServer

__all__ = ["ice_servers", "links", "turn_password", "turn_username"]

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_DEFAULT_TTL_S = 4 * 60 * 60
"""How long a password for somebody else's TURN server is good for; LiveKit's value."""

_TLS_PORT = 443
"""Where a load balancer takes TLS: what gets through where nothing else does."""


def ice_servers(settings: LiveKitConfig, hosts: Sequence[str], sid: str, now: float) -> list[ICEServer]:
    """What a participant is told when it joins or comes back.

    Args:
        settings: The server's.
        hosts: Addresses by which clients know this server, best first.
        sid: The participant's.
        now: Unix seconds; passwords end some time after.
    """
    rtc = settings.rtc
    servers = list(_embedded(settings, hosts, sid, now))
    servers.extend(_elsewhere(server, sid, now) for server in rtc.turn_servers)
    if rtc.stun_servers:
        servers.append(ICEServer(urls=[_stun(server) for server in rtc.stun_servers]))
    return servers


def links(servers: Iterable[ICEServer]) -> list[str]:
    """The same as values of ``Link``, for clients of WHIP and WHEP (RFC 9725 §4.6).

    >>> links([ICEServer(urls=["turn:192.0.2.1:3478?transport=udp"], username="u", credential="p")])
    ['<turn:192.0.2.1:3478?transport=udp>; rel="ice-server"; username="u"; credential="p"; credential-type="password"']
    """
    found: list[str] = []
    for server in servers:
        secret = ""
        if server.username:
            name, password = _quoted(server.username), _quoted(server.credential)
            secret = f'; username={name}; credential={password}; credential-type="password"'
        found.extend(f'<{url}>; rel="ice-server"{secret}' for url in server.urls)
    return found


def turn_username(key: str, sid: str, expires_at: int) -> str:
    """The name by which a participant is known to this server's TURN: which key, who, until when.

    >>> turn_username("devkey", "PA_x", 1000)
    '33RbH6tYb7vASHT3PIFJbc'
    """
    return _base62(f"{key}|{sid}|{expires_at}".encode())


def turn_password(secret: str, sid: str, expires_at: int) -> str:
    """The password that goes with it, which whoever has the key's secret can make again.

    >>> turn_password("secret", "PA_x", 1000)
    'Z8Y0dOEJJMIGLEUGR4FT2FTcvqwTNk4GvTXDw64IWww'
    """
    return _base62(hashlib.sha256(f"{secret}|{sid}|{expires_at}".encode()).digest())


def _embedded(settings: LiveKitConfig, hosts: Sequence[str], sid: str, now: float) -> Iterable[ICEServer]:
    turn = settings.turn
    if turn.enabled and settings.keys:
        key, secret = next(iter(settings.keys.items()))
        expires_at = int(now) + turn.ttl_s
        yield ICEServer(
            urls=_urls(turn, hosts),
            username=turn_username(key, sid, expires_at),
            credential=turn_password(secret, sid, expires_at),
        )


def _urls(turn: Turn, hosts: Sequence[str]) -> Iterable[str]:
    if turn.udp_port:
        yield from (f"turn:{_bracketed(host)}:{turn.udp_port}?transport=udp" for host in hosts)
    if turn.tls_port:
        yield f"turns:{turn.domain}:{_TLS_PORT if turn.external_tls else turn.tls_port}?transport=tcp"


def _elsewhere(server: TurnServer, sid: str, now: float) -> ICEServer:
    scheme, transport = ("turns", "tcp") if server.protocol == "tls" else ("turn", server.protocol)
    url = f"{scheme}:{_bracketed(server.host)}:{server.port}?transport={transport}"
    if not server.secret:
        return ICEServer(urls=[url], username=server.username, credential=server.credential)
    # Passwords that expire, as TURN servers with a shared secret take them (draft-uberti-behave-turn-rest).
    username = f"{int(now) + (server.ttl_s or _DEFAULT_TTL_S)}:{sid}"
    digest = hmac.digest(server.secret.encode(), username.encode(), "sha1")
    return ICEServer(urls=[url], username=username, credential=base64.b64encode(digest).decode())


def _stun(server: str) -> str:
    return server if server.startswith("stun:") else f"stun:{server}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _base62(data: bytes) -> str:
    """A number of any size in digits and letters, most significant byte first; rust/turn/src/base62.rs reads it."""
    number, digits = int.from_bytes(data, "big"), ""
    while number:
        number, rest = divmod(number, 62)
        digits = _DIGITS[rest] + digits
    return digits
