"""What signalling and the core tell each other about tracks and transports.

Frozen values of plain fields (str, int, bool, None, tuples): SDP and LiveKit's messages are turned into these, and the
Rust core reads them by field name. Direction is the node's view: a `TrackParameters` describes what a peer sends us, a
`SenderParameters` the copy we send to a peer. No SDP grammar lives here except the two forms which also travel outside
of SDP: candidates (RFC 8839 §5.1) and fingerprints (RFC 8122 §5).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Literal, cast

from rtpcore.errors import ProtocolError

__all__ = [
    "Candidate",
    "Codec",
    "Direction",
    "DtlsParameters",
    "DtlsRole",
    "Encoding",
    "Extension",
    "Fingerprint",
    "IceParameters",
    "Kind",
    "SenderParameters",
    "SrtpProfile",
    "TrackParameters",
    "TransportParameters",
    "UdpAddress",
    "unsigned",
]

Kind = Literal["audio", "video"]
Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
SrtpProfile = Literal["SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_256_GCM", "SRTP_AES128_CM_HMAC_SHA1_80"]
DtlsRole = Literal["auto", "active", "passive"]


@dataclass(frozen=True, slots=True)
class Codec:
    """One payload type of a media section, with its retransmissions (RFC 8866 §6.6, RFC 4588 §8).

    Attributes:
        mime_type: Such as ``video/VP8``; compared without case.
        payload_type: 0 to 127.
        clock_rate: Ticks of the RTP timestamp per second.
        channels: 1 for video.
        fmtp: The format's parameters as SDP writes them, without the payload type; empty if there are none.
        rtx: The payload type of retransmissions; None if they were not negotiated.
        feedback: RTCP feedback (RFC 4585 §4.2), such as ``nack pli``.
    """

    mime_type: str
    payload_type: int
    clock_rate: int
    channels: int = 1
    fmtp: str = ""
    rtx: int | None = None
    feedback: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Extension:
    """What one header extension id means (RFC 8285 §5).

    Attributes:
        uri: The extension's name.
        id: 1 to 14 in the one-byte form, up to 255 in the two-byte form.
    """

    uri: str
    id: int


@dataclass(frozen=True, slots=True)
class Encoding:
    """One stream of a track: known by its rid (RFC 8853), by its SSRC, or by neither until packets come.

    Attributes:
        rid: The restriction identifier, 1 to 16 characters.
        ssrc: The SSRC, where SDP announced it.
        rtx_ssrc: The SSRC of its retransmissions, where SDP announced it.
        fec_ssrc: The SSRC of its repair packets (FlexFEC), where SDP announced it.
    """

    rid: str | None = None
    ssrc: int | None = None
    rtx_ssrc: int | None = None
    fec_ssrc: int | None = None


@dataclass(frozen=True, slots=True)
class TrackParameters:
    """A media section seen from its far end: what the peer sends, or is ready to receive.

    Attributes:
        mid: The media section's tag (RFC 9143 §15), 1 to 16 characters; None where a lone section has none.
        kind: ``audio`` or ``video``.
        codecs: What may arrive, preferred first.
        encodings: 1 to 3, smallest first; empty where the peer only receives.
        extensions: What the header extension ids mean.
        stream_id: The media stream that the track belongs to (RFC 8830); empty for none.
        track_id: The track's name at its sender; empty if it was not told.
        direction: As the peer wrote it.
        fec_payload_type: That of flexfec-03, where the peer takes repair packets, or sends them for its one encoding.
    """

    mid: str | None
    kind: Kind
    codecs: tuple[Codec, ...] = ()
    encodings: tuple[Encoding, ...] = ()
    extensions: tuple[Extension, ...] = ()
    stream_id: str = ""
    track_id: str = ""
    direction: Direction = "sendonly"
    fec_payload_type: int | None = None


@dataclass(frozen=True, slots=True)
class SenderParameters:
    """The copy of a track that a subscriber gets.

    Attributes:
        mid: The media section it travels in.
        kind: ``audio`` or ``video``.
        codecs: What may be sent, with the subscriber's payload types; empty for all that can be negotiated.
        ssrc: The SSRC of every packet of this copy.
        rtx_ssrc: The SSRC of its retransmissions; None for none.
        extensions: The ids under which extensions are written; empty for all that can be negotiated.
        stream_id: The media stream announced to the subscriber (RFC 8830); empty for none.
        track_id: The track's name announced to the subscriber.
        cname: RTCP's canonical name (RFC 7022): tracks to be played in step share one.
        fec_payload_type: The payload type of flexfec-03, where the subscriber takes repair packets; None for none.
        fec_ssrc: The SSRC of the repair packets.
        playout_delay_ms: The least and the most that the subscriber shall hold pictures back, 0 to 40950 each; None
            leaves it to what the publisher says, or to the subscriber.
    """

    mid: str | None
    kind: Kind
    codecs: tuple[Codec, ...] = ()
    ssrc: int = 0
    rtx_ssrc: int | None = None
    extensions: tuple[Extension, ...] = ()
    stream_id: str = ""
    track_id: str = ""
    cname: str = ""
    fec_payload_type: int | None = None
    fec_ssrc: int | None = None
    playout_delay_ms: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class UdpAddress:
    """Where media is received over UDP.

    Attributes:
        local: Address and port of the socket.
        advertised: Those that peers are told: behind a NAT, the NAT's.
    """

    local: tuple[str, int]
    advertised: tuple[str, int]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An address at which a peer may be reached (RFC 8839 §5.1, TCP: RFC 6544 §4.5).

    `str` writes the form that browsers hand out, without the leading ``a=``.

    Attributes:
        foundation: Candidates with the same one share their fate, 1 to 32 characters.
        component: 1 for RTP (and all else, with rtcp-mux), 2 for RTCP.
        protocol: ``udp`` or ``tcp``.
        priority: Higher is tried first, below 2^32.
        address: An IPv4 or IPv6 address, or a host name.
        port: 0 to 65535; 9 for a TCP candidate that only connects.
        type: ``host``, ``srflx``, ``prflx``, ``relay``, or one not known yet.
        tcp_type: ``active``, ``passive`` or ``so``; None for UDP.
        related_address: The base of a reflexive or relayed candidate.
        related_port: Its port.
        extensions: Further pairs, such as ``("generation", "0")``, in order.

    >>> c = Candidate.from_string("candidate:1 1 UDP 2113937151 3c1f5c2e.local 54400 typ host generation 0")
    >>> c.protocol, c.is_mdns, c.extensions
    ('udp', True, (('generation', '0'),))
    >>> str(c)
    'candidate:1 1 udp 2113937151 3c1f5c2e.local 54400 typ host generation 0'
    """

    foundation: str
    component: int
    protocol: Literal["udp", "tcp"]
    priority: int
    address: str
    port: int
    type: str = "host"
    tcp_type: Literal["active", "passive", "so"] | None = None
    related_address: str | None = None
    related_port: int | None = None
    extensions: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_string(cls, text: str) -> Candidate:
        """Read ``candidate:…``, with or without ``a=`` and ``candidate:`` before it. Raises ProtocolError."""
        words = [word for word in text.removeprefix("a=").removeprefix("candidate:").split(" ") if word]
        if len(words) < 8 or len(words) % 2 or words[6] != "typ":
            raise ProtocolError("a candidate: foundation component transport priority address port typ type …")
        foundation, component, protocol, priority, address, port, _, type_ = words[:8]
        if len(foundation) > 32 or not (foundation.isascii() and foundation.isprintable()):
            raise ProtocolError("a candidate foundation of 1 to 32 characters")
        if (protocol := protocol.lower()) not in ("udp", "tcp"):
            raise ProtocolError("a candidate over udp or tcp")
        if not _TOKEN.fullmatch(type_):
            raise ProtocolError("a candidate type")
        related_address = related_port = tcp_type = None
        extensions = []
        for name, value in zip(words[8::2], words[9::2], strict=True):
            if name == "raddr":
                related_address = _address(value)
            elif name == "rport":
                related_port = unsigned(value, most=65535, what="a candidate's rport")
            elif name == "tcptype":
                if value not in ("active", "passive", "so"):
                    raise ProtocolError("tcptype active, passive or so")
                tcp_type = value
            else:
                extensions.append((name, value))
        return cls(
            foundation=foundation,
            component=unsigned(component, most=256, what="a candidate's component"),
            protocol=cast("Literal['udp', 'tcp']", protocol),
            priority=unsigned(priority, most=2**32 - 1, what="a candidate's priority"),
            address=_address(address),
            port=unsigned(port, most=65535, what="a candidate's port"),
            type=type_,
            tcp_type=cast("Literal['active', 'passive', 'so'] | None", tcp_type),
            related_address=related_address,
            related_port=related_port,
            extensions=tuple(extensions),
        )

    @property
    def is_host_name(self) -> bool:
        """Whether the address must be looked up before packets can be sent to it."""
        return not _is_ip(self.address)

    @property
    def is_mdns(self) -> bool:
        """Whether the address is a browser's mask for a local one: nobody outside of its network can resolve it."""
        return self.address.lower().endswith(".local")

    def __str__(self) -> str:
        """The candidate as SDP attribute, without ``a=``."""
        words = [self.foundation, str(self.component), self.protocol, str(self.priority), self.address, str(self.port)]
        words += ["typ", self.type]
        if self.related_address is not None:
            words += ["raddr", self.related_address]
        if self.related_port is not None:
            words += ["rport", str(self.related_port)]
        if self.tcp_type is not None:
            words += ["tcptype", self.tcp_type]
        for pair in self.extensions:
            words += pair
        return "candidate:" + " ".join(words)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The hash of a DTLS certificate (RFC 8122 §5).

    Attributes:
        algorithm: In lower case: ``sha-256``.
        value: Bytes as two upper-case hexadecimal digits each, with colons between.

    >>> Fingerprint.from_string("SHA-1 " + ":".join(["ab"] * 20)).value[:8]
    'AB:AB:AB'
    """

    algorithm: str
    value: str

    @classmethod
    def from_string(cls, text: str) -> Fingerprint:
        """Read ``sha-256 AB:CD:…``. Raises ProtocolError also where the length is not the algorithm's."""
        algorithm, _, value = text.strip(" ").partition(" ")
        algorithm, value = algorithm.lower(), value.strip(" ").upper()
        if not _TOKEN.fullmatch(algorithm) or not _HEX_BYTES.fullmatch(value):
            raise ProtocolError("a fingerprint: algorithm, then bytes in hexadecimal with colons")
        size = _HASH_SIZES.get(algorithm)
        if size is not None and len(value) != 3 * size - 1:
            raise ProtocolError(f"a {algorithm} fingerprint of {size} bytes")
        return cls(algorithm, value)

    def __str__(self) -> str:
        """The fingerprint as SDP attribute, without ``a=``."""
        return f"fingerprint:{self.algorithm} {self.value}"


@dataclass(frozen=True, slots=True)
class IceParameters:
    """One end's ICE credentials (RFC 8839 §5.4); new ones mean a restart.

    Attributes:
        ufrag: 4 to 256 characters.
        pwd: 22 to 256 characters; kept out of `repr`.
        lite: This end only answers checks (RFC 8445 §2.5).
    """

    ufrag: str
    pwd: str = field(repr=False)
    lite: bool = False


@dataclass(frozen=True, slots=True)
class DtlsParameters:
    """One end's certificate hashes and its part in the handshake (RFC 8842 §5.1).

    Attributes:
        fingerprints: The peer's certificate must match one of them.
        role: ``active`` sends the ClientHello, ``passive`` waits for it, ``auto`` leaves it to the other end.
    """

    fingerprints: tuple[Fingerprint, ...]
    role: DtlsRole = "auto"


@dataclass(frozen=True, slots=True)
class TransportParameters:
    """One end of the single 5-tuple that carries everything (RFC 9143).

    Attributes:
        ice: Credentials.
        dtls: Fingerprints and role.
        candidates: Where this end may be reached, in the order given.
        end_of_candidates: No more will come (RFC 8840 §8).
        sctp_port: The SCTP port of data channels (RFC 8841 §5); None if there are none.
        max_message_size: The longest data channel message this end takes, in bytes; 0 for any (RFC 8841 §6).
        trickle: This end understands candidates that come later (RFC 8840 §4).
    """

    ice: IceParameters
    dtls: DtlsParameters
    candidates: tuple[Candidate, ...] = ()
    end_of_candidates: bool = False
    sctp_port: int | None = 5000
    max_message_size: int = 262_144
    trickle: bool = True


def unsigned(text: str, *, most: int, what: str, least: int = 0) -> int:
    """Read a decimal number from a peer; `what` names it in the ProtocolError.

    Stricter than `int`, which takes signs, spaces, underscores, and digits of every script, and needs quadratic time
    for long ones.
    """
    if text.isascii() and text.isdigit() and len(text) <= 20 and least <= (number := int(text)) <= most:
        return number
    raise ProtocolError(f"{what} from {least} to {most}")


_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+")
_HEX_BYTES = re.compile(r"[0-9A-F]{2}(:[0-9A-F]{2})*")
_HOST_NAME = re.compile(r"[0-9A-Za-z_]([0-9A-Za-z_.\-]{0,253}[0-9A-Za-z_.])?")
_HASH_SIZES = {"md5": 16, "sha-1": 20, "sha-224": 28, "sha-256": 32, "sha-384": 48, "sha-512": 64}


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _address(text: str) -> str:
    if _HOST_NAME.fullmatch(text) or (text.isascii() and text.isprintable() and _is_ip(text)):
        return text
    raise ProtocolError("a candidate's address: IPv4, IPv6 or a host name")
