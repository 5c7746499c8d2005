"""What the forwarder has counted of a room, in the form in which its connections are judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtpcore.room.quality import Sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtpcore.forwarder import Receiver
    from rtpcore.room import Effect, Room
    from rtpcore.session import Session
    from rtpcore.snapshot import Snapshot

__all__ = ["Judge"]


class Judge:
    """Remembers which peers were heard of when, between one snapshot and the next."""

    def __init__(self) -> None:
        """Begin without a snapshot."""
        self._heard: dict[str, int] = {}

    def judge(self, room: Room, sessions: Mapping[str, Session], snapshot: Snapshot, now_ms: int) -> list[Effect]:
        """Judge the connections of one room; call it every `rtpcore.room.quality.INTERVAL_MS`."""
        published: dict[str, Sample] = {}
        subscribed: dict[tuple[str, str], Sample] = {}
        silent = set()
        for participant in room.participants.values():
            session = sessions.get(participant.sid)
            if session is None:
                continue
            if self._is_silent(session, snapshot):
                silent.add(participant.sid)
            for track in participant.tracks.values():
                receivers = list(session.peer.receivers_of(track).values())
                sample = _received(receivers, snapshot)
                if sample is not None:
                    published[track.sid] = sample
            for copy in session.peer.subscriber.copies.values():
                stats = None if copy.sender is None or copy.is_paused else snapshot.sender(copy.sender)
                if stats is not None:
                    subscribed[participant.sid, copy.sid] = Sample(
                        stats.packets_sent, fraction_lost=stats.fraction_lost, round_trip_ms=stats.round_trip_ms or 0
                    )
        return room.rate(published, subscribed, frozenset(silent), now_ms)

    def forget(self, session: Session) -> None:
        """A participant is gone."""
        self._heard.pop(session.participant.sid, None)

    def _is_silent(self, session: Session, snapshot: Snapshot) -> bool:
        """Whether nothing at all came since the last time, not even a check that the way is still there."""
        counts = [snapshot.transport(transport) for transport in session.peer.transports]
        heard = sum(one.packets_received for one in counts if one is not None)
        before = self._heard.get(session.participant.sid)
        self._heard[session.participant.sid] = heard
        return before is not None and heard == before


def _received(receivers: list[Receiver], snapshot: Snapshot) -> Sample | None:
    """What came of all codecs and encodings of a track; jitter is that of the worst."""
    stats = [one for one in map(snapshot.receiver, receivers) if one is not None]
    encodings = [encoding for one in stats for encoding in one.encodings]
    if not encodings:
        return None
    return Sample(
        packets=sum(one.packets_received for one in encodings),
        lost=sum(one.lost for one in encodings),
        jitter_ms=max(one.jitter_ms for one in encodings),
        layers=sum(1 for one in encodings if one.bitrate_bps),
    )
