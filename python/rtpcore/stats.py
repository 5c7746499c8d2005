"""What was counted, as frozen values: cumulative, at most ``Media.stats_interval_ms`` old."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtpcore.events import Layer, TransportState

__all__ = ["EncodingStats", "Histogram", "MemberStats", "ReceiverStats", "SenderStats", "Stats", "TransportStats"]


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long things took, by powers of two.

    Attributes:
        counts: Entry n counts what took at most 2^n microseconds, and more than the one before; the last one what took
            longer than any other holds.
        sum_s: All of it together, in seconds.

    >>> Histogram((1, 0, 2), 9e-6).cumulative
    ((1e-06, 1), (2e-06, 1), (inf, 3))
    """

    counts: tuple[int, ...] = (0,)
    sum_s: float = 0.0

    @property
    def cumulative(self) -> tuple[tuple[float, int], ...]:
        """Bounds in seconds with how many took at most so long, the last bound infinite."""
        bounds = [2**n / 1e6 for n in range(len(self.counts) - 1)]
        return tuple(zip([*bounds, math.inf], itertools.accumulate(self.counts), strict=True))


@dataclass(frozen=True, slots=True)
class Stats:
    """Totals of a forwarder since its start, at most ``Media.stats_interval_ms`` old.

    Attributes:
        packets_received: Datagrams from peers.
        bytes_received: UDP payload bytes of these.
        packets_sent: Datagrams to peers.
        bytes_sent: UDP payload bytes of these.
        packets_forwarded: RTP packets handed to subscribers, retransmissions not counted.
        drops: Packets that went no further, by reason.
        transports: Peers held now.
        added_delay: For each copy of an RTP packet that was forwarded, from the packet's arrival in the kernel until
            its batch was sent.
        keyframe_wait: From a subscriber's wish for a track or a layer until the keyframe was forwarded that began it.
    """

    packets_received: int
    bytes_received: int
    packets_sent: int
    bytes_sent: int
    packets_forwarded: int
    drops: dict[str, int]
    transports: int
    added_delay: Histogram = Histogram()
    keyframe_wait: Histogram = Histogram()


@dataclass(frozen=True, slots=True)
class BandwidthStats:
    """What a subscriber's path is thought to carry, and what it is used for.

    Attributes:
        estimate_bps: All media together.
        cause: What the estimate goes by: ``start``, ``delay``, ``loss``, ``probe``, ``remb``, ...; see
            ``docs/why/bandwidth-estimation.md``.
        video_budget_bps: What video may cost, audio and repairs taken off; None where the peer promised feedback and
            gives none, so that it gets everything.
        granted_bps: What the layers cost that are granted to its copies.
        packets_queued: Packets that wait for the pacer.
    """

    estimate_bps: int
    cause: str
    video_budget_bps: int | None
    granted_bps: int
    packets_queued: int


@dataclass(frozen=True, slots=True)
class TransportStats:
    """Totals of one peer.

    Attributes:
        srtp_profile: Its name in RFC 5764 or RFC 7714, None before DTLS finished.
        bandwidth: None for peers that give no feedback on it, or get no video.
    """

    state: TransportState
    packets_received: int
    bytes_received: int
    packets_sent: int
    bytes_sent: int
    drops: dict[str, int]
    srtp_profile: str | None
    bandwidth: BandwidthStats | None = None


@dataclass(frozen=True, slots=True)
class EncodingStats:
    """One encoding of a track as it arrives.

    Attributes:
        packets_received: Packets, retransmissions undone.
        bytes_received: Their payload bytes.
        lost: Packets that never came (RFC 3550 §6.4.1).
        jitter_ms: Interarrival jitter (RFC 3550 §6.4.1).
        bitrate_bps: Payload bits of the last second.
        frames_per_second: Frames of the last second.
        size: Width and height of the last keyframe, where the codec tells in the clear.
        nacks: Packets asked for again.
        keyframe_requests: Keyframes asked for.
        recovered: Packets that were lost and made again out of repair packets (FlexFEC).
    """

    packets_received: int
    bytes_received: int
    lost: int
    jitter_ms: int
    bitrate_bps: int
    frames_per_second: int
    size: tuple[int, int] | None
    nacks: int
    keyframe_requests: int
    recovered: int = 0


@dataclass(frozen=True, slots=True)
class ReceiverStats:
    """A track as it arrives: its encodings, smallest first, and how many copies are sent."""

    encodings: tuple[EncodingStats, ...]
    followers: int


@dataclass(frozen=True, slots=True)
class SenderStats:
    """One copy as it leaves.

    Attributes:
        packets_sent: Packets, retransmissions not counted.
        bytes_sent: Their payload bytes.
        nacks: Packets that the subscriber asked for again, repeats included.
        retransmitted: Packets sent again.
        fec_packets: Repair packets sent in advance of loss (FlexFEC).
        playout_delay_ms: How long the subscriber is told to hold pictures back against loss.
        dropped: Packets of the track that this copy did not want or could not take.
        layer: What is forwarded now.
        fraction_lost: Loss the subscriber reported last, 0 to 1.
        round_trip_ms: By the subscriber's reports; None before the first.
        wished: The most that the subscriber wants, as far as the publisher sends it.
        granted: The most that its path has room for; None while paused for want of it, or where nothing is shared.
        limit: Why it does not get more: ``none``, ``wish`` (it wants no more), ``paused`` (by the owner),
            ``bandwidth``, ``publisher`` (sends no more, or nothing), ``keyframe`` (the one that begins it has not
            come), ``source``.
        keyframe_wait_ms: How long the last keyframe that it needed was waited for.
    """

    packets_sent: int
    bytes_sent: int
    retransmitted: int
    dropped: int
    layer: Layer | None
    fraction_lost: float
    round_trip_ms: int | None
    nacks: int = 0
    fec_packets: int = 0
    playout_delay_ms: int = 0
    wished: Layer | None = None
    granted: Layer | None = None
    limit: str = "none"
    keyframe_wait_ms: int | None = None


@dataclass(frozen=True, slots=True)
class MemberStats:
    """One member of a hub.

    Attributes:
        last_sequence: Number of the last reliable message taken from it, 0 before the first that has one.
        messages_received: Messages taken from it.
        bytes_received: Their bytes.
        messages_sent: Messages handed to its transport.
        bytes_sent: Their bytes.
    """

    last_sequence: int
    messages_received: int
    bytes_received: int
    messages_sent: int
    bytes_sent: int
