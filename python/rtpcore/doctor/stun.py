"""STUN and TURN as a client needs them to ask whether somebody answers (RFC 8489, RFC 8656): a request, its answer.

No connectivity is kept and nothing is sent twice but the one question: media goes through the forwarder.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import secrets
import ssl
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Literal

    Way = Literal["udp", "tcp", "tls"]

__all__ = ["Answer", "StunError", "allocate", "check"]

_COOKIE = 0x2112A442
_FINGERPRINT_MASK = 0x5354554E
_BINDING, _ALLOCATE = 0x001, 0x003
_USERNAME, _INTEGRITY, _ERROR, _REALM, _NONCE = 0x0006, 0x0008, 0x0009, 0x0014, 0x0015
_RELAYED, _REQUESTED_TRANSPORT, _MAPPED = 0x0016, 0x0019, 0x0020
_PRIORITY, _FINGERPRINT, _CONTROLLING = 0x0024, 0x8028, 0x802A
_UDP = 17
_FIRST_PAUSE_S = 0.3
"""A datagram may be lost: the question is asked again after this, and then after twice that."""


class StunError(Exception):
    """Nobody answered, or the answer was no; says which."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said.

    Attributes:
        address: For a check the address that it sees us under, for an allocation the one that it relays from.
        port: Its port.
    """

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class _Message:
    kind: int
    transaction: bytes
    attributes: dict[int, bytes]

    @property
    def error(self) -> int:
        """The error code, 0 for none (RFC 8489 §14.8)."""
        value = self.attributes.get(_ERROR, b"")
        return value[2] * 100 + value[3] if len(value) >= 4 else 0

    def address(self, attribute: int) -> Answer | None:
        """An XOR'ed address (RFC 8489 §14.2)."""
        value = self.attributes.get(attribute, b"")
        if len(value) not in (8, 20):
            return None
        mask = struct.pack("!I", _COOKIE) + self.transaction
        port = struct.unpack("!H", value[2:4])[0] ^ (_COOKIE >> 16)
        packed = bytes(one ^ other for one, other in zip(value[4:], mask, strict=False))
        return Answer(str(ipaddress.ip_address(packed)), port)


async def check(host: str, port: int, way: Way, *, username: str, password: str, timeout_s: float) -> Answer:
    """Ask an ICE agent whether it can be reached there (RFC 8445 §7.2), without choosing the path.

    Args:
        host: Address of its candidate.
        port: Its port.
        way: ``udp``, or ``tcp`` for a passive candidate.
        username: Its user name fragment, a colon, ours.
        password: Its ICE password.
        timeout_s: Seconds that it may take.

    Raises:
        StunError: It does not answer, or refuses.
    """
    attributes = [
        (_USERNAME, username.encode()),
        (_PRIORITY, struct.pack("!I", 1)),
        (_CONTROLLING, secrets.token_bytes(8)),
    ]
    async with _Wire(host, port, way, timeout_s, is_framed=way == "tcp") as wire:
        answer = await wire.ask(_request(_BINDING, attributes, password.encode()))
    if answer.error:
        raise StunError(f"answered with error {answer.error}")
    found = answer.address(_MAPPED)
    if found is None:
        raise StunError("answered without an address")
    return found


async def allocate(
    host: str, port: int, way: Way, *, username: str, password: str, timeout_s: float, server_name: str | None = None
) -> Answer:
    """Ask a TURN server for a relay (RFC 8656 §7), by the password it was given out with (RFC 8489 §9.2).

    The relay ends with the connection, or for ``udp`` is given back by a second request.

    Args:
        host: Its name or address.
        port: Its port.
        way: How it is reached; it relays UDP in any case.
        username: As in the ICE server that clients are told.
        password: Likewise.
        timeout_s: Seconds that it may take.
        server_name: Name in its certificate; None for ``host``.

    Raises:
        StunError: It does not answer, or refuses.
    """
    wanted = [(_REQUESTED_TRANSPORT, bytes([_UDP, 0, 0, 0]))]
    async with _Wire(host, port, way, timeout_s, server_name=server_name or host) as wire:
        answer = await wire.ask(_request(_ALLOCATE, wanted))
        if answer.error == 401:
            realm, nonce = answer.attributes.get(_REALM, b""), answer.attributes.get(_NONCE, b"")
            # MD5 is what the protocol has; it keeps no secret here that matters after these seconds.
            key = hashlib.md5(b":".join([username.encode(), realm, password.encode()]), usedforsecurity=False).digest()
            proof = [(_USERNAME, username.encode()), (_REALM, realm), (_NONCE, nonce)]
            answer = await wire.ask(_request(_ALLOCATE, [*wanted, *proof], key))
            found = answer.address(_RELAYED)
            if found is not None and way == "udp":
                await wire.ask(_request(_REFRESH, [(_LIFETIME, bytes(4)), *proof], key))
    if answer.error:
        raise StunError(f"refused with error {answer.error}")
    found = answer.address(_RELAYED)
    if found is None:
        raise StunError("answered without a relay")
    return found


_REFRESH, _LIFETIME = 0x004, 0x000D


def _request(method: int, attributes: list[tuple[int, bytes]], key: bytes | None = None) -> bytes:
    transaction = secrets.token_bytes(12)
    body = b"".join(_attribute(*attribute) for attribute in attributes)
    if key is not None:
        # The length that is signed ends behind the signature (RFC 8489 §14.5).
        head = struct.pack("!HHI", method, len(body) + 24, _COOKIE) + transaction
        body += _attribute(_INTEGRITY, hmac.new(key, head + body, hashlib.sha1).digest())
    head = struct.pack("!HHI", method, len(body) + 8, _COOKIE) + transaction
    checksum = zlib.crc32(head + body) ^ _FINGERPRINT_MASK
    return head + body + _attribute(_FINGERPRINT, struct.pack("!I", checksum))


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def _parse(data: bytes) -> _Message | None:
    if len(data) < 20 or data[0] > 3:
        return None
    kind, length, cookie = struct.unpack("!HHI", data[:8])
    if cookie != _COOKIE or length + 20 > len(data):
        return None
    attributes: dict[int, bytes] = {}
    at = 20
    while at + 4 <= 20 + length:
        attribute, size = struct.unpack("!HH", data[at : at + 4])
        attributes.setdefault(attribute, data[at + 4 : at + 4 + size])
        at += 4 + size + -size % 4
    return _Message(kind, data[8:20], attributes)


class _Datagrams(asyncio.DatagramProtocol):
    """Keeps what came, and what went wrong."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[bytes | OSError] = asyncio.Queue(64)

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.came.full():
            self.came.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, OSError) and not self.came.full():
            self.came.put_nowait(exc)


class _Wire:
    """Asks one server questions, by datagrams or by a stream."""

    def __init__(
        self, host: str, port: int, way: Way, timeout_s: float, *, is_framed: bool = False, server_name: str = ""
    ) -> None:
        self._where = (host, port)
        self._way = way
        self._timeout_s = timeout_s
        self._is_framed = is_framed
        self._server_name = server_name
        self._datagrams: tuple[asyncio.DatagramTransport, _Datagrams] | None = None
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> _Wire:
        try:
            await asyncio.wait_for(self._open(), self._timeout_s)
        except (TimeoutError, asyncio.TimeoutError):
            raise StunError(f"no connection within {self._timeout_s:g} s") from None
        except (OSError, ssl.SSLError) as error:
            raise StunError(f"no connection: {error.strerror or error}") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._datagrams is not None:
            self._datagrams[0].close()
        if self._stream is not None:
            self._stream[1].close()

    async def _open(self) -> None:
        if self._way == "udp":
            loop = asyncio.get_running_loop()
            self._datagrams = await loop.create_datagram_endpoint(_Datagrams, remote_addr=self._where)
        elif self._way == "tls":
            context = ssl.create_default_context()
            self._stream = await asyncio.open_connection(*self._where, ssl=context, server_hostname=self._server_name)
        else:
            self._stream = await asyncio.open_connection(*self._where)

    async def ask(self, request: bytes) -> _Message:
        """Send a request until it is answered. Raises StunError."""
        try:
            return await asyncio.wait_for(self._ask(request), self._timeout_s)
        except (TimeoutError, asyncio.TimeoutError):
            raise StunError(f"no answer within {self._timeout_s:g} s") from None
        except (OSError, asyncio.IncompleteReadError) as error:
            raise StunError(f"no answer: {getattr(error, 'strerror', None) or 'the connection was closed'}") from error

    async def _ask(self, request: bytes) -> _Message:
        transaction = request[8:20]
        if self._stream is not None:
            reader, writer = self._stream
            writer.write((struct.pack("!H", len(request)) if self._is_framed else b"") + request)
            while True:
                if self._is_framed:
                    size = struct.unpack("!H", await reader.readexactly(2))[0]
                    data = await reader.readexactly(size)
                else:
                    head = await reader.readexactly(20)
                    data = head + await reader.readexactly(struct.unpack("!H", head[2:4])[0])
                message = _parse(data)
                if message is not None and message.transaction == transaction:
                    return message
        if self._datagrams is None:
            raise StunError("not connected")
        transport, datagrams = self._datagrams
        pause = _FIRST_PAUSE_S
        while True:
            transport.sendto(request)
            try:
                while True:
                    came = await asyncio.wait_for(datagrams.came.get(), pause)
                    if isinstance(came, OSError):
                        raise came
                    message = _parse(came)
                    if message is not None and message.transaction == transaction:
                        return message
            except asyncio.TimeoutError:
                pause *= 2
