"""What a server counts, for Prometheus: a collector that any registry takes.

::

    Forwarder.snapshot() ──┐
    Host: rooms, events ───┼──▶ Metrics.collect() ──▶ a registry ──▶ text at /metrics
    sockets, calls, hooks ─┘

Names of our own begin with ``rtpcore_`` and carry their units. Where LiveKit's server counts the same thing, its name
is there too, so that dashboards go on; where it counts something else under a similar name, it is not.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from rtpcore.wire.messages import ParticipantInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rtpcore.host import Host
    from rtpcore.room import Happened, Participant, Room
    from rtpcore.snapshot import CopyCounts, Snapshot
    from rtpcore.stats import Stats

__all__ = ["Metrics", "Repaired", "Spans", "Told"]


class Told(Protocol):
    """What webhooks came to; see `rtpcore.http.webhooks.Webhooks`."""

    delivered: int
    failed: int
    dropped: int

    @property
    def queued(self) -> int:
        """How many wait."""


@dataclass(slots=True)
class Spans:
    """How long things took, counted in buckets.

    >>> spans = Spans((1.0, 5.0))
    >>> for seconds in (0.5, 7.0, 1.0):
    ...     spans.count(seconds)
    >>> spans.buckets()
    [('1.0', 2), ('5.0', 2), ('+Inf', 3)]
    """

    bounds: Sequence[float]
    sum: float = 0.0
    _counts: Counter[int] = field(default_factory=Counter)

    def count(self, span: float) -> None:
        """Count one."""
        self._counts[next((n for n, bound in enumerate(self.bounds) if span <= bound), len(self.bounds))] += 1
        self.sum += span

    def buckets(self) -> list[tuple[str, int]]:
        """Cumulative counts by bound as text."""
        names = [*(str(float(bound)) for bound in self.bounds), "+Inf"]
        counts = (self._counts[n] for n in range(len(names)))
        return list(zip(names, itertools.accumulate(counts), strict=True))


class Repaired:
    """What was repaired by all copies together, though copies come and go: totals that only rise.

    A copy counts from one reading to the next; what it does between the last one and its end is not counted.

    Attributes:
        nacks: Packets that subscribers asked for again, repeats included.
        retransmitted: Packets sent again.
        fec_packets: Repair packets sent in advance of loss.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self.nacks = self.retransmitted = self.fec_packets = 0
        self._seen: dict[int, CopyCounts] = {}

    def read(self, copies: Iterable[CopyCounts]) -> None:
        """Add what is new."""
        seen = {}
        for copy in copies:
            seen[copy.number] = copy
            before = self._seen.get(copy.number)
            self.nacks += copy.nacks - (before.nacks if before else 0)
            self.retransmitted += copy.retransmitted - (before.retransmitted if before else 0)
            self.fec_packets += copy.fec_packets - (before.fec_packets if before else 0)
        self._seen = seen


class Metrics(Collector):
    """Counts what happens in rooms, and reads everything else when it is asked.

    Attributes:
        joins: By HTTP status, attempts to join over a websocket; 101 came in.
        messages: On websockets, ``received`` and ``sent``.
        calls: By service, method and HTTP status, calls of the server API.
        call_s: How long these took.
        webhooks: What became of them, where there are any.
        others: Whatever else is counted, asked for at each reading.
        is_ready: Whether new participants are taken.
    """

    JOIN_S: ClassVar = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
    SESSION_S: ClassVar = (1.0, 10.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 18000.0, 36000.0)
    ROOM_S: ClassVar = (5.0, 10.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 18000.0, 36000.0)
    CALL_S: ClassVar = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

    def __init__(self, host: Host) -> None:
        """Count for ``host`` from now on."""
        self._host = host
        self._repaired = Repaired()
        self.joins: Counter[int] = Counter()
        self.messages = Counter({"received": 0, "sent": 0})
        self.calls: Counter[tuple[str, str, int]] = Counter()
        self.call_s = Spans(self.CALL_S)
        self.webhooks: Told | None = None
        self.others: list[Callable[[], Iterable[Metric]]] = []
        self._events: Counter[str] = Counter()
        self._published: Counter[str] = Counter()
        self._join_s, self._session_s, self._room_s = Spans(self.JOIN_S), Spans(self.SESSION_S), Spans(self.ROOM_S)
        host.on_event.append(self._note)

    def describe(self) -> Iterable[Metric]:
        """Nothing: names do not depend on what there is, and a registry need not ask for values to learn them."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        # One for all: with thousands of copies, taking it is most of the work.
        snapshot = self._host.forwarder.snapshot()
        yield from _traffic(snapshot.totals)
        yield from self._copies(snapshot)
        yield from _paths(snapshot)
        yield from self._rooms()
        yield from self._sessions()
        yield from self._signalling()
        for other in self.others:
            yield from other()
        yield _gauge("rtpcore_ready", "1 while new participants are taken, 0 while the server drains.", self.is_ready)

    @property
    def is_ready(self) -> bool:
        """Whether new participants are taken."""
        return not self._host.is_draining

    def _note(self, room: Room, happened: Happened) -> None:
        now_ms = time.time() * 1000
        self._events[happened.name] += 1
        participant = happened.participant
        if happened.name == "participant_joined" and participant is not None:
            self._join_s.count((now_ms - participant.joined_at_ms) / 1000)
        elif happened.name == "participant_left" and participant is not None:
            self._session_s.count((now_ms - participant.joined_at_ms) / 1000)
        elif happened.name == "track_published" and happened.track is not None:
            self._published[happened.track.kind] += 1
        elif happened.name == "room_finished":
            self._room_s.count((now_ms - room.created_at_ms) / 1000)

    def _participants(self) -> Iterator[Participant]:
        for room in self._host.rooms.values():
            yield from room.participants.values()

    def _copies(self, snapshot: Snapshot) -> Iterator[Metric]:
        counts = list(snapshot.copies())
        self._repaired.read(counts)
        senders = self._host.forwarder.senders
        limited = Counter({(kind, limit): 0 for kind in ("audio", "video") for limit in _LIMITS})
        limited.update(
            (sender.track.kind, one.limit) for one in counts if (sender := senders.get(one.number)) is not None
        )
        copies = GaugeMetricFamily(
            "rtpcore_copies", "Copies of tracks now, by why they do not get more.", labels=["kind", "limit"]
        )
        for labels, count in limited.items():
            copies.add_metric(labels, count)
        yield copies
        repaired = self._repaired
        yield _counter("rtpcore_packets_nacked", "Packets that subscribers asked for again.", repaired.nacks)
        yield _counter("rtpcore_packets_retransmitted", "Packets sent again.", repaired.retransmitted)
        yield _counter("rtpcore_packets_fec", "Repair packets sent in advance of loss.", repaired.fec_packets)
        paused = self._host.streams_paused
        yield _counter("rtpcore_streams_paused", "Times that video was paused for want of bandwidth.", paused)

    def _rooms(self) -> Iterator[Metric]:
        states = Counter({name: 0 for name in ("joined", "active")})
        published, subscribed = (Counter({"audio": 0, "video": 0}) for _ in range(2))
        for participant in self._participants():
            states["active" if participant.state == ParticipantInfo.State.ACTIVE else "joined"] += 1
            published.update(track.kind for track in participant.tracks.values())
            subscribed.update(one.track.kind for one in participant.subscriptions.values() if one.is_active)
        rooms = len(self._host.rooms)
        yield _gauge("rtpcore_rooms", "Rooms now.", rooms)
        yield _gauges("rtpcore_participants", "Participants now; those that are active have media.", "state", states)
        yield _gauges("rtpcore_tracks_published", "Tracks that are published now.", "kind", published)
        yield _gauges("rtpcore_tracks_subscribed", "Copies of tracks that are sent now.", "kind", subscribed)
        counted = {kind: self._published[kind] for kind in ("audio", "video")}
        yield _counters("rtpcore_tracks_published_ever", "Tracks that were published.", "kind", counted)
        yield _gauge("livekit_room_total", "As rtpcore_rooms.", rooms)
        yield _gauge("livekit_participant_total", "As rtpcore_participants, all states.", sum(states.values()))
        for name, counts in (("published", published), ("subscribed", subscribed)):
            upper = {kind.upper(): count for kind, count in counts.items()}
            yield _gauges(f"livekit_track_{name}_total", f"As rtpcore_tracks_{name}.", "kind", upper)

    def _sessions(self) -> Iterator[Metric]:
        known = {name: self._events[name] for name in _EVENTS}
        yield _counters("rtpcore_events", "What happened in rooms, by its name in webhooks.", "event", known)
        join, session, room = self._join_s, self._session_s, self._room_s
        yield _histogram("rtpcore_join_seconds", "From a request to join until media can flow.", join)
        yield _histogram("rtpcore_session_seconds", "From a participant's joining until it left.", session)
        yield _histogram("rtpcore_room_seconds", "How long rooms existed.", room)
        yield _histogram("livekit_room_duration_seconds", "As rtpcore_room_seconds.", room)

    def _signalling(self) -> Iterator[Metric]:
        joins = {str(status): count for status, count in self.joins.items()}
        yield _counters("rtpcore_joins", "Attempts to join by websocket, by HTTP status; 101 came in.", "status", joins)
        yield _counters("rtpcore_signal_messages", "Messages on websockets.", "direction", self.messages)
        attached = sum(1 for session in self._host.sessions.values() if session.is_attached)
        yield _gauge("rtpcore_signal_sessions", "Sessions with a websocket now.", attached)
        calls = CounterMetricFamily(
            "rtpcore_twirp_requests", "Calls of the server API, by HTTP status.", labels=["service", "method", "status"]
        )
        for (service, method, status), count in self.calls.items():
            calls.add_metric([service, method, str(status)], count)
        yield calls
        yield _histogram("rtpcore_twirp_request_seconds", "How long calls of the server API took.", self.call_s)
        if self.webhooks is not None:
            told = self.webhooks
            counts = {"delivered": told.delivered, "failed": told.failed, "dropped": told.dropped}
            yield _gauge("rtpcore_webhooks_queued", "Webhook events that wait to be told.", told.queued)
            yield _counters(
                "rtpcore_webhooks",
                "Webhook events delivered, attempts that failed, events given up.",
                "outcome",
                counts,
            )


_EVENTS = (
    "room_started",
    "room_finished",
    "participant_joined",
    "participant_left",
    "participant_connection_aborted",
    "track_published",
    "track_unpublished",
)


_LIMITS = ("none", "wish", "paused", "bandwidth", "publisher", "keyframe", "source")
"""All that copies have; see `rtpcore.stats.SenderStats`."""

_CAUSES = ("start", "delay", "loss", "remb", "probe", "silence", "maximum")
"""All that estimates have; see `rtpcore.stats.BandwidthStats`."""

_ESTIMATE_BPS = (50e3, 100e3, 200e3, 300e3, 500e3, 750e3, 1e6, 1.5e6, 2e6, 3e6, 5e6, 10e6)
"""From what carries sound alone to what carries a screen and several cameras."""


def _paths(snapshot: Snapshot) -> Iterator[Metric]:
    """What subscribers' paths are thought to carry now."""
    estimates, causes = Spans(_ESTIMATE_BPS), Counter({cause: 0 for cause in _CAUSES})
    for path in snapshot.paths():
        estimates.count(path.estimate_bps)
        causes[path.cause] += 1
    yield GaugeHistogramMetricFamily(
        "rtpcore_bandwidth_estimate_bps",
        "What each subscriber's path is thought to carry now.",
        buckets=estimates.buckets(),
        gsum_value=estimates.sum,
    )
    yield _gauges("rtpcore_bandwidth_cause", "Subscribers now, by what their estimate goes by.", "cause", causes)


def _traffic(stats: Stats) -> Iterator[Metric]:
    """What the workers counted."""
    packets = {"in": stats.packets_received, "out": stats.packets_sent}
    octets = {"in": stats.bytes_received, "out": stats.bytes_sent}
    yield _counters("rtpcore_packets", "Datagrams from peers and to peers.", "direction", packets)
    yield _counters("rtpcore_bytes", "UDP payload bytes of these.", "direction", octets)
    forwarded = stats.packets_forwarded
    yield _counter("rtpcore_packets_forwarded", "RTP packets handed to subscribers, by copy.", forwarded)
    yield _counters("rtpcore_packets_dropped", "Packets that went no further.", "reason", stats.drops)
    yield _gauge("rtpcore_transports", "Peer connections now.", stats.transports)
    for name, text, histogram in (
        ("added_delay", "From a packet's arrival in the kernel until its batch was sent, by copy.", stats.added_delay),
        ("keyframe_wait", "From the wish for a track or layer until its keyframe was forwarded.", stats.keyframe_wait),
    ):
        buckets = [("+Inf" if bound == float("inf") else str(bound), n) for bound, n in histogram.cumulative]
        yield HistogramMetricFamily(f"rtpcore_{name}_seconds", text, buckets=buckets, sum_value=histogram.sum_s)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _gauges(name: str, text: str, label: str, values: dict[str, int] | Counter[str]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counter(name: str, text: str, value: int) -> Metric:
    family = CounterMetricFamily(name, text)
    family.add_metric([], value)
    return family


def _counters(name: str, text: str, label: str, values: dict[str, int] | Counter[str]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _histogram(name: str, text: str, spans: Spans) -> Metric:
    return HistogramMetricFamily(name, text, buckets=spans.buckets(), sum_value=spans.sum)
