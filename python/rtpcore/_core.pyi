"""The binary half of ``rtpcore``; use the classes of ``rtpcore`` instead.

Everything here converts, raises or enqueues: no decision is taken at this border. Peers, tracks and copies go by
numbers, candidates by their spelling in SDP (RFC 8839 §5.1, without ``a=``). Every method may be called from any
thread; none blocks except :meth:`Forwarder.start` and :meth:`Forwarder.stop`, which let other threads run meanwhile.

All exceptions are those of ``rtpcore.errors``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, TypedDict, final

from rtpcore.events import TransportState
from rtpcore.parameters import SenderParameters, TrackParameters

__all__ = [
    "MAX_MEMBERS",
    "MAX_MESSAGE",
    "Forwarder",
    "Hub",
    "SrtpInbound",
    "SrtpOutbound",
    "TurnServer",
    "__version__",
    "parse_rtcp",
    "parse_rtp",
    "stun_answer",
    "stun_request",
    "write_rtcp",
    "write_rtp",
]

__version__: Final[str]

MAX_MESSAGE: Final[int]
"""Bytes of the largest data channel message that is taken or sent."""

MAX_MEMBERS: Final[int]
"""Members of one hub."""

_Reason: TypeAlias = Literal[
    "normal",
    "consent_expired",
    "wrong_fingerprint",
    "no_srtp_profile",
    "dtls_failed",
    "closed_by_peer",
    "closed_by_owner",
    "fault",
]
_Layer: TypeAlias = tuple[int, int]
_Address: TypeAlias = tuple[str, int]
"""An IP address and a port."""

_Why: TypeAlias = tuple[Literal["tapped", "heard", "reply"], int | None, str | None]
"""Why a hub's message is reported; the member that hears it; the request that it answers."""

_Event: TypeAlias = (
    tuple[Literal["transport"], int, TransportState, _Reason]
    | tuple[Literal["channel_opened", "channel_closed"], int, str]
    | tuple[Literal["data"], int, str, bool, bytes]
    | tuple[Literal["message"], int, _Why, int | None, str, bool, bytes]
    | tuple[Literal["encoding_started"], int, int]
    | tuple[Literal["audio_level"], int, float]
    | tuple[Literal["layer"], int, _Layer | None]
    | tuple[Literal["stream_paused"], int, bool]
    | tuple[Literal["bandwidth"], int, int]
    | tuple[Literal["receiver_ended"], int]
)

_Histogram: TypeAlias = tuple[list[int], int]
"""By bucket, how many; all together, in nanoseconds. Bucket n holds what took at most 2^n microseconds."""

class _BandwidthStats(TypedDict):
    estimate_bps: int
    cause: str
    video_budget_bps: int | None
    granted_bps: int
    packets_queued: int

class _TransportStats(TypedDict):
    state: TransportState
    packets_received: int
    bytes_received: int
    packets_sent: int
    bytes_sent: int
    drops: dict[str, int]
    srtp_profile: str | None
    bandwidth: _BandwidthStats | None

class _EncodingStats(TypedDict):
    packets_received: int
    bytes_received: int
    lost: int
    jitter_ms: int
    bitrate_bps: int
    frames_per_second: int
    size: tuple[int, int] | None
    nacks: int
    keyframe_requests: int
    recovered: int

class _ReceiverStats(TypedDict):
    encodings: list[_EncodingStats]
    followers: int

class _SenderStats(TypedDict):
    packets_sent: int
    bytes_sent: int
    nacks: int
    retransmitted: int
    fec_packets: int
    playout_delay_ms: int
    dropped: int
    layer: _Layer | None
    wished: _Layer | None
    granted: _Layer | None
    limit: str
    keyframe_wait_ms: int | None
    fraction_lost: float
    round_trip_ms: int | None

class _MemberStats(TypedDict):
    last_sequence: int
    messages_received: int
    bytes_received: int
    messages_sent: int
    bytes_sent: int

class _Stats(TypedDict):
    packets_received: int
    bytes_received: int
    packets_sent: int
    bytes_sent: int
    packets_forwarded: int
    drops: dict[str, int]
    added_delay: _Histogram
    keyframe_wait: _Histogram
    transports: dict[int, _TransportStats]
    receivers: dict[int, _ReceiverStats]
    senders: dict[int, _SenderStats]

@final
class Forwarder:
    """One forwarder's workers, or what they will be started with."""

    def __new__(
        cls,
        *,
        workers: int,
        addresses: Sequence[str],
        udp_port: int,
        tcp_port: int | None,
        advertise: Sequence[str],
        advertise_local: bool,
        ice_lite: bool,
        history_packets: int,
        snapshot_interval_ms: int,
        seed: int,
        max_transports: int,
        keyframe_interval_ms: int,
        estimates_bandwidth: bool,
        start_bitrate_bps: int,
        speaker_interval_ms: int,
        speaker_softest: int,
        speaker_least_percent: int,
    ) -> Forwarder:
        """Remember how to start; bind nothing.

        Args:
            workers: Threads that forward, 1 to 64.
            addresses: Local IP addresses, or those that stand for all.
            udp_port: 0 lets the kernel choose.
            tcp_port: For passive candidates (RFC 6544); None for none.
            advertise: What peers are told instead of the local addresses.
            advertise_local: Tell them those as well.
            ice_lite: Answer checks without making any (RFC 8445 §2.5).
            history_packets: Kept for retransmission by each worker.
            snapshot_interval_ms: How old :meth:`stats` may be.
            seed: Of everything random that needs no secret, 64 bits.
            max_transports: Peers at once on one worker.
            keyframe_interval_ms: Requests closer than this count as one.
            start_bitrate_bps: What a path is thought to carry at first.
            estimates_bandwidth: Send no more to a subscriber than its path is thought to carry.
            speaker_interval_ms: How long a window of loudness is.
            speaker_softest: The softest level that counts as speech, in -dBov.
            speaker_least_percent: How much of a window must be speech.

        Raises:
            ParametersError: An address is none.
        """

    def start(self) -> None:
        """Make the certificate, bind the sockets, start the workers. Does nothing if they run.

        Raises:
            BindError: An address or port cannot be had.
        """

    def stop(self) -> None:
        """Say goodbye to all peers and join the workers. Idempotent; afterwards every method raises ClosedError."""

    def worker_count(self) -> int:
        """How many workers run."""

    def event_fd(self) -> int:
        """The descriptor that is readable while events wait; it belongs to this object."""

    def drain(self, most: int) -> list[_Event]:
        """Up to ``most`` events, oldest first, as tuples whose first item names the kind."""

    def candidates(self) -> list[str]:
        """Our host candidates."""

    def udp_addresses(self) -> list[tuple[_Address, _Address]]:
        """Where media is received over UDP: each socket's own address and port, then those that peers are told."""

    def fingerprint(self) -> bytes:
        """The certificate's SHA-256 digest."""

    def add_transport(self, *, beside: int | None) -> tuple[int, str, str]:
        """Expect a peer; its number and our ICE user name fragment and password.

        ``beside`` is a number, of whatever kind, whose worker it is to share; None for the next worker in turn.
        """

    def add_keyed_transport(
        self,
        *,
        local: str,
        remote: str,
        profile: _Profile,
        outgoing: tuple[bytes, bytes],
        incoming: tuple[bytes, bytes],
    ) -> int:
        """Expect a peer whose path and keys are known already; its number.

        Args:
            local: Which of our UDP candidates it sends to, as address and port.
            remote: Where it is, likewise.
            profile: How it is protected.
            outgoing: Master key and master salt of what we send.
            incoming: Those of what it sends.

        Raises:
            ParametersError: An address is none, or a key has another length than the profile's.
        """

    def set_remote(
        self,
        transport: int,
        *,
        ufrag: str,
        pwd: str,
        is_lite: bool,
        fingerprints: Sequence[tuple[str, Sequence[int] | bytes]],
        is_client: bool,
        max_message: int | None,
    ) -> None:
        """Take the peer's description, at first or after a change.

        Args:
            transport: Whose.
            ufrag: Its ICE user name fragment; a new one restarts ICE.
            pwd: Its ICE password.
            is_lite: It makes no connectivity checks: ours decide, unless we are lite too.
            fingerprints: Names of hash functions with digests; one that can be checked is needed.
            is_client: We send the ClientHello.
            max_message: The largest message it takes, 0 for any; None if it has no data channels.

        Raises:
            ParametersError: No fingerprint can be checked.
        """

    def add_candidate(self, transport: int, candidate: str) -> None:
        """Take one more candidate of the peer.

        Raises:
            ParametersError: It is not in the grammar, or of no use.
        """

    def restart_ice(self, transport: int) -> tuple[str, str]:
        """Our new ICE user name fragment and password (RFC 8445 §9)."""

    def close_transport(self, transport: int) -> None:
        """Say goodbye to one peer."""

    def add_receiver(self, transport: int, track: TrackParameters) -> int:
        """Expect a track; its number.

        Raises:
            ParametersError: No codec, more than three encodings, or names that no packet could carry.
        """

    def remove_receiver(self, receiver: int) -> None:
        """Forget a track; its copies go on without a source."""

    def add_sender(self, transport: int, source: int, track: SenderParameters) -> int:
        """Give a peer a copy of a track; the copy's number.

        Raises:
            ParametersError: No codec.
        """

    def remove_sender(self, sender: int) -> None:
        """End a copy."""

    def follow(self, sender: int, source: int) -> None:
        """Continue a copy with another track."""

    def prefer(self, sender: int, spatial: int, temporal: int, priority: int) -> None:
        """Send at most this layer; where bandwidth is short, copies of higher priority are served first."""

    def allow_pause(self, transport: int, is_allowed: bool) -> None:
        """Let video be paused where bandwidth is short, or not."""

    def pause(self, sender: int, is_paused: bool) -> None:
        """Send nothing, or send again."""

    def request_keyframe(self, receiver: int, encoding: int | None) -> None:
        """Ask the publisher for a keyframe of one encoding, or of all."""

    def open_channel(
        self,
        transport: int,
        label: str,
        *,
        protocol: str,
        is_ordered: bool,
        max_retransmits: int | None,
        max_lifetime_ms: int | None,
        negotiated: int | None,
    ) -> None:
        """Open a data channel (RFC 8832).

        Raises:
            ParametersError: Both ways of giving up are named.
        """

    def send_data(self, transport: int, label: str, payload: bytes, is_binary: bool) -> None:
        """Queue one message."""

    def follow_data(self, transport: int, source: int, is_following: bool) -> None:
        """Forward the messages of ``source`` to ``transport``, or stop."""

    def tap(self, label: str, is_tapped: bool) -> None:
        """Also report messages of a label as events, or stop."""

    def add_hub(self) -> Hub:
        """Open a hub on all workers."""

    def stats(self) -> _Stats:
        """The counters of all workers as last published."""

@final
class Hub:
    """One hub on all workers; :meth:`Forwarder.add_hub` makes them. Members and data tracks go by numbers."""

    @property
    def number(self) -> int:
        """The number that its events carry."""

    def close(self) -> None:
        """End it."""

    def add_member(
        self, sid: str, identity: str, *, may_publish: bool, is_hidden: bool, is_agent: bool, beside: int | None
    ) -> int:
        """Add a member on the worker of ``beside``, or on the next in turn; its number."""

    def remove_member(self, member: int) -> None:
        """Forget a member; its data tracks are removed before it."""

    def set_rights(self, member: int, *, may_publish: bool, is_hidden: bool, is_agent: bool) -> None:
        """Say what a member may do from now on."""

    def set_input(self, member: int, transport: int | None) -> None:
        """Say where a member's messages come in.

        Raises:
            ParametersError: The transport lives on another worker.
        """

    def set_output(self, member: int, transport: int | None) -> None:
        """Say where a member gets messages.

        Raises:
            ParametersError: The transport lives on another worker.
        """

    def activate(self, member: int) -> None:
        """Let a member hear."""

    def listen(self, member: int, is_listening: bool) -> None:
        """Also report what a member hears as events, or stop."""

    def say(self, member: int, label: str, payload: bytes) -> None:
        """Say something as a member."""

    def send(self, label: str, payload: bytes, to: Sequence[int] | None) -> None:
        """Say something as nobody, to these members or to all."""

    def tap(self, is_tapped: bool) -> None:
        """Also report what members say as events, or stop."""

    def expect(self, request: str, is_expected: bool) -> None:
        """Report the answers to this RPC request instead of passing them on, or no longer."""

    def add_track(self, publisher: int, handle: int) -> int:
        """Announce a data track; its number."""

    def remove_track(self, track: int) -> None:
        """End a data track."""

    def subscribe(self, track: int, member: int, handle: int | None) -> None:
        """Give a member a data track under this number, or no longer."""

    def stats(self, member: int) -> _MemberStats | None:
        """What its worker last published of a member."""

# What follows is for tests that compare the core's packet code with other implementations.

_Profile: TypeAlias = Literal["SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_256_GCM", "SRTP_AES128_CM_HMAC_SHA1_80"]

class _TurnStats(TypedDict):
    clients: int
    connections: int
    allocations: int
    allocations_made: int
    packets_to_peers: int
    bytes_to_peers: int
    packets_to_clients: int
    bytes_to_clients: int
    drops: dict[str, int]

@final
class TurnServer:
    """A TURN server on its own thread (RFC 8656), from its start to its end."""

    def __new__(
        cls,
        *,
        udp: Sequence[_Address],
        tcp: Sequence[_Address],
        certificate: tuple[bytes, bytes] | None,
        keys: Mapping[str, str],
        relays: Sequence[tuple[str, str]],
        ports: tuple[int, int],
        media: Sequence[tuple[_Address, _Address]],
        denied: Sequence[tuple[str, int]],
        allowed: Sequence[tuple[str, int]],
        relays_of_one: int,
        patience_ms: int,
        idle_ms: int,
    ) -> TurnServer:
        """Bind the sockets and start the thread.

        Args:
            udp: Where clients come in over UDP; unspecified addresses stand for all of the machine, port 0 for any.
            tcp: Where they come in over TCP.
            certificate: What is shown there, and its key, in PEM; None where somebody in front undoes TLS.
            keys: Secret by API key.
            relays: Where relays are bound and what peers are told instead, one of a family.
            ports: First and last port of relays.
            media: This server's own media: as clients are told, and where packets go.
            denied: Networks that are not relayed to, as address and leading bits.
            allowed: Networks that are, though not public.
            relays_of_one: Relays that one participant may hold.
            patience_ms: How long a connection or a client may stay without a relay.
            idle_ms: How long a relay is kept to which no peer sends anything.

        Raises:
            BindError: An address or port cannot be had.
            ConfigError: Certificate or key cannot be used.
            ParametersError: An address is none.
            RtpcoreError: The system refused.
        """

    def stop(self) -> None:
        """End all relays and join the thread. Idempotent."""

    def addresses(self) -> tuple[list[_Address], list[_Address]]:
        """Where it listens, for datagrams and for connections. Raises ClosedError."""

    def stats(self) -> _TurnStats:
        """What it did so far. Raises ClosedError."""

def stun_request(transaction: bytes) -> bytes:
    """A STUN Binding request (RFC 8489 §2); ``transaction`` is twelve random bytes."""

def stun_answer(answer: bytes, transaction: bytes) -> _Address | None:
    """The address and port that ``answer`` says the asker has; None where it is no answer to this request."""

@final
class SrtpInbound:
    """For tests: takes one peer's SRTP and SRTCP out of protection (RFC 3711, RFC 7714)."""

    def __new__(cls, profile: _Profile, key: bytes, salt: bytes, *, max_ssrcs: int = 64) -> SrtpInbound:
        """Key it with the sender's master.

        Raises:
            ParametersError: The lengths are not those of the profile.
        """

    def unprotect_rtp(self, packet: bytes) -> bytes | str:
        """The RTP in it, or the label of the reason for which it is dropped."""

    def unprotect_rtcp(self, packet: bytes) -> bytes | str:
        """The RTCP in it, or the label of the reason for which it is dropped."""

@final
class SrtpOutbound:
    """For tests: puts RTP and RTCP for one peer into protection (RFC 3711, RFC 7714)."""

    def __new__(cls, profile: _Profile, key: bytes, salt: bytes) -> SrtpOutbound:
        """Key it with our master.

        Raises:
            ParametersError: The lengths are not those of the profile.
        """

    def protect_rtp(self, packet: bytes, index: int) -> bytes | None:
        """The SRTP packet; None for an index of more than 48 bits or other low bits than the packet's, or no RTP."""

    def protect_rtcp(self, packet: bytes) -> bytes | None:
        """The SRTCP packet under the next index; None for no RTCP."""

def parse_rtp(packet: bytes, extensions: Sequence[tuple[str, int]]) -> dict[str, Any] | str:
    """For tests: the fields of an RTP packet in the clear, or the label of the reason for which it is dropped.

    Args:
        packet: From the first byte of the header.
        extensions: URIs of header extensions with their ids; those the core does not know are passed over.
    """

def write_rtp(
    *,
    payload_type: int,
    sequence_number: int,
    timestamp: int,
    ssrc: int,
    marker: bool,
    extensions: Sequence[tuple[int, Sequence[int] | bytes]],
    payload: bytes,
) -> bytes | None:
    """For tests: an RTP packet with header extensions by id; None where they do not fit."""

def parse_rtcp(datagram: bytes) -> list[dict[str, Any] | str]:
    """For tests: the packets of an RTCP datagram in the clear; the last may be the label of a drop reason."""

def write_rtcp(packets: Sequence[dict[str, Any]]) -> bytes:
    """For tests: the datagram that :func:`parse_rtcp` would take apart into ``packets``.

    Raises:
        ParametersError: A packet fits neither the datagram nor its own fields, or is of a type that is not written.
    """
