"""What a forwarder is configured with; each default with its reason."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from rtpcore.errors import ConfigError

__all__ = ["Config", "Limits", "Listen", "Media", "environment"]


@dataclass(frozen=True, slots=True)
class Listen:
    """Where peers reach the forwarder.

    Attributes:
        addresses: Local IP addresses. ``0.0.0.0`` and ``::`` stand for every address of the machine that a peer can use
            (loopback only where there is no other).
        udp_port: One port for all peers, so that one firewall rule does. 0 lets the kernel choose.
        tcp_port: Port for peers whose network lets no UDP out (passive candidates, RFC 6544); None for none.
        advertise: Addresses that peers are told instead of the local ones, one per IP family: those of a NAT.
        advertise_local: Tell the local ones all the same, after those, for peers on this side of the NAT. Others learn
            which addresses are in use there.
    """

    addresses: tuple[str, ...] = ("0.0.0.0",)
    udp_port: int = 0
    tcp_port: int | None = None
    advertise: tuple[str, ...] = ()
    advertise_local: bool = False

    def __post_init__(self) -> None:
        """Refuse what no socket could be bound to."""
        if not self.addresses:
            raise ConfigError("listen.addresses", "name at least one address, such as '0.0.0.0'")
        for name, addresses in (("addresses", self.addresses), ("advertise", self.advertise)):
            for address in addresses:
                try:
                    ipaddress.ip_address(address)
                except ValueError:
                    raise ConfigError(f"listen.{name}", f"{address!r} is not an IPv4 or IPv6 address") from None
        for name, port in (("udp_port", self.udp_port), ("tcp_port", self.tcp_port)):
            if port is not None and not 0 <= port <= 65535:
                raise ConfigError(f"listen.{name}", f"{port} is not between 0 and 65535")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what peers can make a forwarder hold.

    Attributes:
        transports: Peers at once, on all workers together. Each idle one costs some ten kilobytes.
    """

    transports: int = 10_000

    def __post_init__(self) -> None:
        """Refuse a forwarder for nobody."""
        if self.transports < 1:
            raise ConfigError("limits.transports", f"{self.transports} is not at least 1")


@dataclass(frozen=True, slots=True)
class Media:
    """How media is handled.

    Attributes:
        history_packets: Packets each worker keeps for retransmission, all tracks together. The default is one to two
            seconds of forty video streams and costs at most 20 MB once they flow.
        keyframe_interval_ms: Keyframe requests closer than this count as one; a keyframe costs ten times a delta frame.
        speaker_interval_ms: How often it is judged how loud an audio track is; shorter is quicker, and restless.
        speaker_softest_dbov: The softest packet that counts as speech, in -dBov (RFC 6464): 0 is the loudest, 127 none,
            and rooms are noisy at 40.
        speaker_least_percent: How much of an interval must be speech: a cough is not.
        estimate_bandwidth: Find out what each subscriber's path carries and send no more; otherwise everything that is
            wanted is sent, to be lost where there is no room.
        start_bitrate_bps: What a subscriber's path is thought to carry before anything is known of it. More shows large
            pictures a second sooner, and floods narrow paths for as long.
        stats_interval_ms: How old ``stats()`` may be. Smaller costs workers with thousands of peers some time.
        ice_lite: Answer connectivity checks without making any (RFC 8445 §2.5), as befits a server peers can reach.
    """

    history_packets: int = 16_384
    keyframe_interval_ms: int = 500
    speaker_interval_ms: int = 400
    speaker_softest_dbov: int = 35
    speaker_least_percent: int = 40
    stats_interval_ms: int = 500
    ice_lite: bool = True
    estimate_bandwidth: bool = True
    start_bitrate_bps: int = 1_000_000

    def __post_init__(self) -> None:
        """Refuse what would starve retransmission or flood publishers."""
        if not 256 <= self.history_packets <= 1 << 22:
            raise ConfigError("media.history_packets", f"{self.history_packets} is not between 256 and 4194304")
        if not 0 <= self.keyframe_interval_ms <= 60_000:
            raise ConfigError("media.keyframe_interval_ms", f"{self.keyframe_interval_ms} is not between 0 and 60000")
        for name, value, least, most in (
            ("speaker_interval_ms", self.speaker_interval_ms, 50, 10_000),
            ("speaker_softest_dbov", self.speaker_softest_dbov, 0, 127),
            ("speaker_least_percent", self.speaker_least_percent, 0, 100),
        ):
            if not least <= value <= most:
                raise ConfigError(f"media.{name}", f"{value} is not between {least} and {most}")
        if not 30_000 <= self.start_bitrate_bps <= 200_000_000:
            raise ConfigError("media.start_bitrate_bps", f"{self.start_bitrate_bps} is not between 30000 and 200000000")
        if not 10 <= self.stats_interval_ms <= 60_000:
            raise ConfigError("media.stats_interval_ms", f"{self.stats_interval_ms} is not between 10 and 60000")


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a :class:`rtpcore.Forwarder` is started with.

    Attributes:
        listen: Addresses and ports.
        limits: Bounds.
        media: Handling of media.
        workers: Threads that forward, 1 to 64; None for one per core, which is what a machine can carry.
        seed: Seed of everything random that needs no secret; None takes one from the system. Tests set it.

    >>> Config(workers=2).worker_count
    2
    """

    listen: Listen = field(default_factory=Listen)
    limits: Limits = field(default_factory=Limits)
    media: Media = field(default_factory=Media)
    workers: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        """Refuse a number of workers that cannot be started."""
        if self.workers is not None and not 1 <= self.workers <= 64:
            raise ConfigError("workers", f"{self.workers} is not between 1 and 64; None is one per core")

    @property
    def worker_count(self) -> int:
        """How many threads will forward."""
        if self.workers is not None:
            return self.workers
        if hasattr(os, "sched_getaffinity"):
            return max(1, min(64, len(os.sched_getaffinity(0))))
        return max(1, min(64, os.cpu_count() or 1))


def environment() -> Mapping[str, str]:
    """The process's environment. Whoever configures by it takes it as an argument, so that tests need none."""
    return os.environ
