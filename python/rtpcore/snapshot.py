"""Everything that a forwarder has counted, taken at once: for whoever wants the statistics of many objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rtpcore.events import Layer
from rtpcore.stats import (
    BandwidthStats,
    EncodingStats,
    Histogram,
    ReceiverStats,
    SenderStats,
    Stats,
    TransportStats,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtpcore.forwarder import Receiver, Sender, Transport

__all__ = ["CopyCounts", "Snapshot"]


class CopyCounts(NamedTuple):
    """The few figures of a copy that are added up over all of them; see :class:`rtpcore.stats.SenderStats`.

    Attributes:
        number: Which copy; no other of this forwarder had it or will have it.
        limit: Why it does not get more.
        nacks: Packets that the subscriber asked for again.
        retransmitted: Packets sent again.
        fec_packets: Repair packets sent in advance of loss.
    """

    number: int
    limit: str
    nacks: int
    retransmitted: int
    fec_packets: int


class Snapshot:
    """Statistics of one moment. Those of an object are made when they are asked for; ``None`` for one that has none."""

    def __init__(self, counted: Any) -> None:
        """Not to be called: :meth:`rtpcore.Forwarder.snapshot` makes snapshots."""
        self._counted = counted

    @property
    def totals(self) -> Stats:
        """Those of the forwarder since its start."""
        counted = self._counted
        return Stats(
            packets_received=counted["packets_received"],
            bytes_received=counted["bytes_received"],
            packets_sent=counted["packets_sent"],
            bytes_sent=counted["bytes_sent"],
            packets_forwarded=counted["packets_forwarded"],
            drops=counted["drops"],
            transports=len(counted["transports"]),
            added_delay=_histogram(*counted["added_delay"]),
            keyframe_wait=_histogram(*counted["keyframe_wait"]),
        )

    def copies(self) -> Iterator[CopyCounts]:
        """All copies that there are, for a fifth of what their ``SenderStats`` would cost."""
        for number, stats in self._counted["senders"].items():
            yield CopyCounts(number, stats["limit"], stats["nacks"], stats["retransmitted"], stats["fec_packets"])

    def paths(self) -> Iterator[BandwidthStats]:
        """The ways to all peers for which bandwidth is estimated."""
        for stats in self._counted["transports"].values():
            if stats["bandwidth"] is not None:
                yield BandwidthStats(**stats["bandwidth"])

    def transport(self, transport: Transport) -> TransportStats | None:
        """Totals of one peer."""
        stats = self._counted["transports"].get(transport._number)
        if stats is None:
            return None
        bandwidth = stats["bandwidth"]
        return TransportStats(**{**stats, "bandwidth": None if bandwidth is None else BandwidthStats(**bandwidth)})

    def receiver(self, receiver: Receiver) -> ReceiverStats | None:
        """A track as it arrives."""
        stats = self._counted["receivers"].get(receiver._number)
        if stats is None:
            return None
        encodings = tuple(EncodingStats(**encoding) for encoding in stats["encodings"])
        return ReceiverStats(encodings=encodings, followers=stats["followers"])

    def sender(self, sender: Sender) -> SenderStats | None:
        """One copy as it leaves."""
        stats = self._counted["senders"].get(sender._number)
        if stats is None:
            return None
        layers = {name: None if stats[name] is None else Layer(*stats[name]) for name in ("layer", "wished", "granted")}
        return SenderStats(**{**stats, **layers})


def _histogram(counts: list[int], nanos: int) -> Histogram:
    return Histogram(tuple(counts), nanos / 1e9)
