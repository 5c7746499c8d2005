"""Everything that a forwarder has counted, taken at once: for whoever wants the statistics of many objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rtpcore.events import Layer
from rtpcore.stats import BandwidthStats, EncodingStats, ReceiverStats, SenderStats, TransportStats

if TYPE_CHECKING:
    from rtpcore.forwarder import Receiver, Sender, Transport

__all__ = ["Snapshot"]


class Snapshot:
    """Statistics of one moment. Those of an object are made when they are asked for; ``None`` for one that has none."""

    def __init__(self, counted: Any) -> None:
        """Not to be called: :meth:`rtpcore.Forwarder.snapshot` makes snapshots."""
        self._counted = counted

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
