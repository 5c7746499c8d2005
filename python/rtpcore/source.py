"""Media made in this process: RTP that comes into a forwarder as any peer's does, over loopback and protected.

For whoever has packets and no client: a test call, a tone, an announcement. ::

    Source.send(packet) ──SRTP──▶ UDP ──▶ the forwarder's port ──▶ Receiver ──▶ followers
"""

from __future__ import annotations

import secrets
import socket
import struct
from typing import TYPE_CHECKING

from rtpcore import _core
from rtpcore.errors import ParametersError

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from rtpcore.forwarder import Forwarder, Receiver, Transport
    from rtpcore.parameters import SrtpProfile, TrackParameters

__all__ = ["Source"]

_PROFILE: SrtpProfile = "SRTP_AEAD_AES_128_GCM"
_KEY, _SALT = 16, 12
"""Bytes of that profile's master key and salt (RFC 7714 §12)."""


class Source:
    """One track whose packets are made here.

    >>> async def main(forwarder: Forwarder, track: TrackParameters) -> None:
    ...     with Source(forwarder, track) as source:
    ...         source.send(payload_type=111, sequence=1, timestamp=0, ssrc=1, payload=b"...")
    """

    def __init__(self, forwarder: Forwarder, track: TrackParameters) -> None:
        """Expect ``track`` in a running forwarder, with the SSRCs that will be sent.

        Raises:
            ParametersError: The forwarder has no UDP candidate of its own, or the track cannot be expected.
            ClosedError: The forwarder is not running.
        """
        candidate = next((one for one in forwarder.candidates if one.protocol == "udp"), None)
        if candidate is None:
            raise ParametersError("the forwarder has no UDP port", "let it listen on an address")
        family = socket.AF_INET6 if ":" in candidate.address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect((candidate.address, candidate.port))
            ours, theirs = ((secrets.token_bytes(_KEY), secrets.token_bytes(_SALT)) for _ in range(2))
            self._outbound = _core.SrtpOutbound(_PROFILE, *ours)
            self.transport: Transport = forwarder.add_keyed_transport(
                local=(candidate.address, candidate.port),
                remote=self._socket.getsockname()[:2],
                profile=_PROFILE,
                outgoing=theirs,
                incoming=ours,
            )
            self.receiver: Receiver = self.transport.add_receiver(track)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        """Be closed at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def send(self, *, payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes) -> bool:
        """Send one packet; whether the machine took it.

        Args:
            payload_type: One of the track's.
            sequence: Counts on by one from packet to packet of an SSRC, past 65535 too, from any number above zero.
            timestamp: In ticks of the codec's clock; wraps.
            ssrc: One of the track's.
            payload: At most some 1400 bytes.
        """
        header = struct.pack("!BBHII", 0x80, payload_type & 0x7F, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
        sealed = self._outbound.protect_rtp(header + payload, sequence)
        if sealed is None:
            return False
        try:
            return self._socket.send(sealed) == len(sealed)
        except OSError:
            # The port's queue is full, or the forwarder has gone: for a packet it is the same.
            return False

    def close(self) -> None:
        """End the track. Idempotent."""
        self.transport.close()
        self._socket.close()
