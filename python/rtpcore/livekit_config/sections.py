"""What LiveKit's configuration consists of, as far as it means something here.

Fields are called as in LiveKit's YAML, with a unit at the end where they have one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from rtpcore.config import Config, Listen, Media
from rtpcore.errors import ConfigError
from rtpcore.livekit_config.agents import Agents
from rtpcore.livekit_config.reading import addresses, check_port, duration, ports, setting


@dataclass(frozen=True, slots=True)
class CongestionControl:
    """What happens where a subscriber's bandwidth is short.

    Attributes:
        enabled: Send less; otherwise everything is sent, to be lost.
        allow_pause: Video may stop altogether, so that audio goes on; clients are told. LiveKit's default is no;
            clients may ask for either when they join.
        use_send_side_bwe: Has no effect: transport-wide feedback is taken from all clients that give it, and the
            others' own word from those.
    """

    enabled: bool = True
    allow_pause: bool = True
    use_send_side_bwe: bool = False


@dataclass(frozen=True, slots=True)
class TurnServer:
    """A TURN server of somebody else's that clients are told.

    Attributes:
        host: Its name.
        port: Its port.
        protocol: ``udp``, ``tcp`` or ``tls``.
        username: For a fixed password.
        credential: That password.
        secret: Shared with the server, for passwords that expire; stands over `username`.
        secret_file: Where the secret is instead.
        ttl_s: How long such a password is good for; 0 is four hours.
    """

    host: str = ""
    port: int = 0
    protocol: str = ""
    username: str = ""
    credential: str = setting("", is_secret=True)
    secret: str = setting("", is_secret=True)
    secret_file: str = ""
    ttl_s: int = setting(0, key="ttl")


@dataclass(frozen=True, slots=True)
class Rtc:
    """How media reaches the server.

    Attributes:
        udp_ports: First and last port of media over UDP; the first is used, for one carries all peers. (0, 0): of
            `port_range_start` if that is set, else 7882.
        tcp_port: Port of media over TCP; 0 for none.
        port_range_start: LiveKit's other way to say so, a port for each peer. Here its first port is the one.
        port_range_end: Not needed here.
        node_ip: Addresses that clients are told, at most one of a family; empty for the machine's own.
        use_external_ip: Ask a STUN server for them.
        external_ip_only: Tell clients no others; else the machine's own are told after them.
        stun_servers: Whom to ask, and what clients are told. Empty: public ones are asked, and clients are told none.
        turn_servers: What clients are told besides.
        use_ice_lite: Answer connectivity checks without making any; None is rtpcore's default, which is yes.
        allow_tcp_fallback: Let clients try TCP and TLS after trouble with UDP.
        congestion_control: What happens where bandwidth is short.
    """

    udp_ports: tuple[int, int] = setting((0, 0), key="udp_port", parse=ports)
    tcp_port: int = 7881
    port_range_start: int = 0
    port_range_end: int = 0
    node_ip: tuple[str, ...] = setting((), parse=addresses)
    use_external_ip: bool = False
    external_ip_only: bool = False
    stun_servers: tuple[str, ...] = ()
    turn_servers: tuple[TurnServer, ...] = ()
    use_ice_lite: bool | None = None
    allow_tcp_fallback: bool = True
    congestion_control: CongestionControl = CongestionControl()

    def __post_init__(self) -> None:
        """Refuse ports that are none, and TURN servers that nobody could use."""
        first, last = self.udp_ports
        check_port("rtc.udp_port", first)
        check_port("rtc.udp_port", last)
        if last < first:
            raise ConfigError("rtc.udp_port", f"{first}-{last} ends before it begins")
        for name in ("tcp_port", "port_range_start", "port_range_end"):
            check_port(f"rtc.{name}", getattr(self, name))
        for index, server in enumerate(self.turn_servers):
            name = f"rtc.turn_servers[{index}]"
            check_port(f"{name}.port", server.port)
            if server.protocol not in ("udp", "tcp", "tls"):
                raise ConfigError(f"{name}.protocol", f"{server.protocol!r} is not udp, tcp or tls")
            if not (server.secret or server.secret_file or (server.username and server.credential)):
                raise ConfigError(name, "needs a secret or secret_file, or both username and credential")

    @property
    def udp_port(self) -> int:
        """The one port of media over UDP."""
        return self.udp_ports[0] or self.port_range_start or 7882


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec that may be published.

    Attributes:
        mime: Such as ``video/vp8``.
        fmtp_line: Its parameters, or empty.
    """

    mime: str = ""
    fmtp_line: str = ""


@dataclass(frozen=True, slots=True)
class PlayoutDelay:
    """How long receivers hold video back, to play it smoothly.

    Attributes:
        enabled: Tell them.
        min_ms: At least so long.
        max_ms: At most so long; 0 leaves it to them.
    """

    enabled: bool = False
    min_ms: int = setting(0, key="min")
    max_ms: int = setting(0, key="max")


@dataclass(frozen=True, slots=True)
class Room:
    """What rooms are like unless their creator says otherwise.

    Attributes:
        auto_create: A room comes into being when somebody joins it.
        enabled_codecs: What may be published; empty for everything that rtpcore can forward.
        max_participants: 0 for no limit.
        empty_timeout_s: How long a room waits for the first participant.
        departure_timeout_s: How long it waits after the last has left.
        enable_remote_unmute: Administrators may unmute tracks. Not by default: whoever is muted feels unheard.
        playout_delay: How long receivers hold video back.
        sync_streams: Audio and video of a participant in one stream, which browsers synchronise. LiveKit's default is
            no; then sound and lips part where a path loses packets, for video is held back until it is repaired.
        enable_full_room_in_webhooks: Tell all of the room in webhooks of tracks, not only its name.
        update_batch_target_size: Bytes at which updates of many participants are cut; clients need not hold more.
    """

    auto_create: bool = True
    enabled_codecs: tuple[Codec, ...] = ()
    max_participants: int = 0
    empty_timeout_s: int = setting(300, key="empty_timeout")
    departure_timeout_s: int = setting(20, key="departure_timeout")
    enable_remote_unmute: bool = False
    playout_delay: PlayoutDelay = PlayoutDelay()
    sync_streams: bool = True
    enable_full_room_in_webhooks: bool = False
    update_batch_target_size: int = 128 * 1024

    def __post_init__(self) -> None:
        """Refuse what could not be waited for or counted."""
        for name in ("max_participants", "empty_timeout_s", "departure_timeout_s", "update_batch_target_size"):
            if not 0 <= (value := getattr(self, name)) < 1 << 32:
                raise ConfigError(f"room.{name.removesuffix('_s')}", f"{value} is not between 0 and 4294967295")


@dataclass(frozen=True, slots=True)
class Turn:
    """The TURN server in this one, for clients whose network lets nothing else out.

    Attributes:
        enabled: Run it.
        domain: Its name, as in its certificate; clients of TURN over TLS are sent there.
        cert_file: The certificate, unless `external_tls`.
        key_file: The certificate's key.
        tls_port: Port of TURN over TLS; 0 for none.
        udp_port: Port of TURN over UDP; 0 for none.
        relay_range_start: First port that it relays from.
        relay_range_end: Last one.
        external_tls: A load balancer undoes TLS in front of it, at port 443 of `domain`.
        bind_addresses: Where it listens; with known keys (`development`) on loopback only.
        per_user_relay_allocation_limit: Relays that one participant may hold; 0 for no limit.
        ttl_s: How long a participant's password is good for; 300 is LiveKit's, and only beginning takes one.
        allow_restricted_peer_cidrs: Networks that it may relay to though they are not public.
        deny_peer_cidrs: Networks that it must not relay to; media of this server is always reached.
    """

    enabled: bool = False
    domain: str = ""
    cert_file: str = ""
    key_file: str = ""
    tls_port: int = 0
    udp_port: int = 0
    relay_range_start: int = 30000
    relay_range_end: int = 40000
    external_tls: bool = False
    bind_addresses: tuple[str, ...] = ("0.0.0.0", "::")
    per_user_relay_allocation_limit: int = 12
    ttl_s: int = setting(300, key="ttl_seconds")
    allow_restricted_peer_cidrs: tuple[str, ...] = ()
    deny_peer_cidrs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a server that no client could reach or trust."""
        for name in ("tls_port", "udp_port", "relay_range_start", "relay_range_end"):
            check_port(f"turn.{name}", getattr(self, name))
        if self.relay_range_end < self.relay_range_start:
            raise ConfigError("turn.relay_range_end", f"{self.relay_range_end} is before relay_range_start")
        for name in ("allow_restricted_peer_cidrs", "deny_peer_cidrs"):
            for network in getattr(self, name):
                try:
                    ipaddress.ip_network(network, strict=False)
                except ValueError:
                    raise ConfigError(f"turn.{name}", f"{network!r} is not a network such as 10.0.0.0/8") from None
        if not 1 <= self.ttl_s <= 86_400:
            raise ConfigError("turn.ttl_seconds", f"{self.ttl_s} is not between 1 and 86400")
        if self.enabled and not (self.tls_port or self.udp_port):
            raise ConfigError("turn.enabled", "needs turn.udp_port or turn.tls_port")
        if self.enabled and self.tls_port and not self.domain:
            raise ConfigError("turn.domain", "is the name in the certificate that TURN over TLS has to show")
        if self.enabled and self.tls_port and not self.external_tls and not (self.cert_file and self.key_file):
            raise ConfigError("turn.cert_file", "and turn.key_file are needed for TURN over TLS, or turn.external_tls")


@dataclass(frozen=True, slots=True)
class WebhookFilter:
    """Which events are told.

    Attributes:
        include_events: Only these; empty for all.
        exclude_events: None of these.
    """

    include_events: tuple[str, ...] = ()
    exclude_events: tuple[str, ...] = ()

    def lets(self, event: str) -> bool:
        """Whether an event is told.

        >>> WebhookFilter(exclude_events=("room_started",)).lets("room_started")
        False
        """
        return event not in self.exclude_events and (not self.include_events or event in self.include_events)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Whom to tell of what happens in rooms.

    Attributes:
        urls: Where events are posted.
        api_key: The key that signs them.
        filter_params: Which ones.
    """

    urls: tuple[str, ...] = ()
    api_key: str = ""
    filter_params: WebhookFilter = WebhookFilter()

    def __post_init__(self) -> None:
        """Refuse what nothing could be posted to."""
        for url in self.urls:
            if not url.startswith(("http://", "https://")):
                raise ConfigError("webhook.urls", f"{url!r} begins with neither http:// nor https://")


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What participants may cause; 0 is no limit, and for the first two -1 as well.

    Attributes:
        num_tracks: Tracks in and out of this server, past which nobody joins; None is 8000 per core.
        bytes_per_sec: Likewise; the default is just under 10 Gbit/s.
        subscription_limit_video: Video tracks that a participant may receive at once.
        subscription_limit_audio: Likewise for audio.
        max_metadata_size: Bytes of a room's or a participant's metadata.
        max_attributes_size: Bytes of a participant's attributes, names included.
        max_room_name_length: Bytes.
        max_participant_identity_length: Bytes.
        max_participant_name_length: Bytes.
        signal_message_size_limit: Bytes of one message on a signalling WebSocket.
        agent_signal_message_size_limit: Bytes of one message of an agent worker.
        max_api_request_body_size: Bytes of a request to the server API.
    """

    num_tracks: int | None = None
    bytes_per_sec: float = 1e9
    subscription_limit_video: int = 0
    subscription_limit_audio: int = 0
    max_metadata_size: int = 512 * 1024
    max_attributes_size: int = 64 * 1024
    max_room_name_length: int = 256
    max_participant_identity_length: int = 256
    max_participant_name_length: int = 256
    signal_message_size_limit: int = 2 << 20
    agent_signal_message_size_limit: int = 2 << 20
    max_api_request_body_size: int = 10 << 20

    def __post_init__(self) -> None:
        """Refuse bounds below nothing."""
        for member in fields(self):
            value = getattr(self, member.name)
            least = -1 if member.name in ("num_tracks", "bytes_per_sec") else 0
            if value is not None and not value >= least:
                raise ConfigError(f"limit.{member.name}", f"{value} is less than nothing; 0 is no limit")


@dataclass(frozen=True, slots=True)
class Logging:
    """What is written down.

    Attributes:
        level: ``debug``, ``info``, ``warning`` or ``error``; LiveKit's ``warn`` is ``warning`` here.
        json: One JSON object a line, for machines.
        pii: Write what says who somebody is, too: identities, names of rooms, addresses. Not LiveKit's; rtpcore alone
            reads it.
    """

    level: str = "info"
    json: bool = False
    pii: bool = False

    def __post_init__(self) -> None:
        """Refuse a level that is none."""
        if self.level not in ("debug", "info", "warning", "error"):
            raise ConfigError("logging.level", f"{self.level!r} is not debug, info, warning or error")


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Where metrics are read.

    Attributes:
        port: 0 for nowhere.
        username: Who may; empty for everybody.
        password: Their password.
    """

    port: int = 0
    username: str = ""
    password: str = setting("", is_secret=True)

    def __post_init__(self) -> None:
        """Refuse a port that is none."""
        check_port("prometheus.port", self.port)


@dataclass(frozen=True, slots=True)
class Audio:
    """Who counts as speaking.

    Attributes:
        active_level: Loudness from which audio counts, 0 (loudest) to 127, in -dBov (RFC 6464).
        min_percentile: Percent of an interval that has to be that loud.
        update_interval_ms: How often clients are told.
        smooth_intervals: Intervals over which loudness is averaged.
        active_red_encoding: Repeat Opus (RFC 2198) for those who take it and lose some of it, though the publisher does
            not. LiveKit's default is no; here it costs nothing where nothing is lost.
    """

    active_level: int = 35
    min_percentile: int = 40
    update_interval_ms: int = setting(400, key="update_interval")
    smooth_intervals: int = 2
    active_red_encoding: bool = True

    def __post_init__(self) -> None:
        """Refuse what nobody could be louder than."""
        bounds = {"active_level": (0, 127), "min_percentile": (0, 100), "smooth_intervals": (0, 100)}
        for name, (least, most) in bounds.items():
            if not least <= getattr(self, name) <= most:
                raise ConfigError(f"audio.{name}", f"{getattr(self, name)} is not between {least} and {most}")
        if not 50 <= self.update_interval_ms <= 60_000:
            raise ConfigError("audio.update_interval", f"{self.update_interval_ms} is not between 50 and 60000 (ms)")


@dataclass(frozen=True, slots=True)
class Video:
    """How video is treated.

    Attributes:
        dynacast_pause_delay_s: How long nobody has to want a layer before its publisher stops sending it.
        codec_regression_threshold: Participants from which a backup codec is sent beside the first, not instead.
    """

    dynacast_pause_delay_s: float = setting(5.0, key="dynacast_pause_delay", parse=duration)
    codec_regression_threshold: int = 5


@dataclass(frozen=True, slots=True)
class LiveKitConfig:
    """Everything that LiveKit's server is configured with, as far as it means something here.

    Attributes:
        port: Port of HTTP and WebSocket.
        bind_addresses: Where that listens; empty for everywhere.
        keys: Secret by API key, the one that signs first.
        key_file: Where they are instead.
        region: What clients are told.
        development: As by ``--dev``: known keys, loopback, much logging.
        enable_data_tracks: Participants may publish data tracks.
        rtc: How media reaches the server.
        room: What rooms are like.
        turn: The TURN server in this one.
        webhook: Whom to tell of what happens.
        limit: What participants may cause.
        logging: What is written down.
        prometheus: Where metrics are read.
        audio: Who counts as speaking.
        video: How video is treated.
        agents: How agents are dispatched.
        unsupported: Dotted names that were given and have no effect, each once; to be warned of.
    """

    port: int = 7880
    bind_addresses: tuple[str, ...] = ()
    keys: Mapping[str, str] = setting(factory=dict, is_secret=True)
    key_file: str = ""
    region: str = ""
    development: bool = False
    enable_data_tracks: bool = True
    rtc: Rtc = Rtc()
    room: Room = Room()
    turn: Turn = Turn()
    webhook: Webhook = Webhook()
    limit: SessionLimits = SessionLimits()
    logging: Logging = Logging()
    prometheus: Prometheus = Prometheus()
    audio: Audio = Audio()
    video: Video = Video()
    agents: Agents = field(default=Agents())
    unsupported: tuple[str, ...] = setting((), key="")

    def __post_init__(self) -> None:
        """Refuse what contradicts itself across sections."""
        check_port("port", self.port)
        for address in self.bind_addresses:
            try:
                ipaddress.ip_address(address)
            except ValueError:
                raise ConfigError("bind_addresses", f"{address!r} is not an IPv4 or IPv6 address") from None
        if self.webhook.urls and self.webhook.api_key not in self.keys:
            raise ConfigError("webhook.api_key", "is not one of the keys; without it nobody could trust a webhook")

    @property
    def forwarder(self) -> Config:
        """What the forwarder is started with. Raises ConfigError."""
        # Media has what the machine has. With keys that everybody knows it stays on the machine; one family is enough.
        families = sorted(self.bind_addresses, key=lambda address: ":" in address)
        addresses = tuple(families[:1]) if self.development and families else ("0.0.0.0", "::")
        return Config(
            listen=Listen(
                addresses,
                self.rtc.udp_port,
                self.rtc.tcp_port or None,
                self.rtc.node_ip,
                advertise_local=self.rtc.use_external_ip and not self.rtc.external_ip_only,
            ),
            media=Media(
                ice_lite=Media().ice_lite if self.rtc.use_ice_lite is None else self.rtc.use_ice_lite,
                estimate_bandwidth=self.rtc.congestion_control.enabled,
                speaker_interval_ms=self.audio.update_interval_ms,
                speaker_softest_dbov=self.audio.active_level,
                speaker_least_percent=self.audio.min_percentile,
            ),
        )
