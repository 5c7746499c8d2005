"""A client's peer connections: descriptions in and out, and which track lies in which media section.

A client has two, one that it offers for what it publishes and one that we offer for what it is subscribed to, or a
single one for both, which it always offers: then we can only say how many more sections we would need.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtpcore import sdp
from rtpcore.connection import Connection
from rtpcore.copies import Copy
from rtpcore.errors import ProtocolError
from rtpcore.wire.messages import AudioTrackFeature, Encryption, SessionDescription, SignalResponse, SignalTarget

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtpcore.connection import Answered
    from rtpcore.forwarder import Receiver, Transport
    from rtpcore.parameters import TrackParameters
    from rtpcore.room import Participant, Track
    from rtpcore.wire.messages import TrickleRequest

__all__ = ["Feed", "Peer"]

_PATIENCE_MS = 15_000
"""How long a client may take to answer an offer, as with LiveKit's server."""

logger = logging.getLogger("rtpcore.peer")


@dataclass(frozen=True, slots=True)
class Feed:
    """What comes in by one receiver: a track, in the codec with this number of those announced for it."""

    track: Track
    codec: int = 0


class Peer:
    """The connections of one client.

    Attributes:
        publisher: By which it publishes.
        subscriber: By which it gets what it is subscribed to; the same one where there is one only.
    """

    def __init__(
        self,
        participant: Participant,
        *,
        is_single: bool,
        expect: Callable[[], Transport],
        capabilities: sdp.Capabilities | None,
        send: Callable[[SignalResponse], None],
    ) -> None:
        """Negotiate nothing yet.

        Args:
            participant: Whose tracks come in.
            is_single: There is one connection.
            expect: Makes a transport.
            capabilities: What may be published.
            send: Puts a message into the client's outbox.
        """
        self.publisher = Connection(expect, capabilities)
        self.subscriber = self.publisher if is_single else Connection(expect)
        self._participant = participant
        self._is_single = is_single
        self._send = send
        self._feeds: dict[str, Feed] = {}
        self._offer_id = 0
        self._seen_pending: tuple[int, int] | None = None
        self._is_stale = False
        self._has_asked = False

    @property
    def primary(self) -> Connection:
        """The connection by which the client is reached."""
        return self.subscriber if self._participant.permission.can_subscribe else self.publisher

    @property
    def transports(self) -> list[Transport]:
        """Those of the connections that are begun."""
        connections = dict.fromkeys((self.publisher, self.subscriber))
        return [connection.transport for connection in connections if connection.is_begun]

    ##### Descriptions

    def begin(self) -> None:
        """Open what the server opens: with two connections, the one for subscriptions and its data channels."""
        if self._is_single or not self._participant.permission.can_subscribe:
            return
        transport = self.subscriber.transport
        transport.open_channel("_reliable")
        transport.open_channel("_lossy", ordered=False, max_retransmits=0)
        transport.open_channel("_data_track", ordered=False, max_retransmits=0)
        self._is_stale = True

    def answer(self, offer: SessionDescription) -> Answered:
        """Take the client's offer and send our answer; receivers that begin are bound to announced tracks.

        Raises:
            ProtocolError, ParametersError, LimitError: The offer cannot be served.
        """
        self._has_asked = False
        answered = self.publisher.answer(offer.sdp, self._opus, self._wanted_codec)
        self.bind()
        response = SignalResponse()
        response.answer.CopyFrom(SessionDescription(type="answer", sdp=answered.text, id=offer.id))
        if self._is_single:
            response.answer.mid_to_track_id.update(self.publisher.mids())
            self._is_stale = any(self.publisher.unplaced().values())
        self._send(response)
        return answered

    def apply(self, answer: SessionDescription) -> tuple[str, ...]:
        """Take the client's answer; the sids of copies that it cannot take.

        Raises:
            ProtocolError, ParametersError: The answer makes no sense.
        """
        if not self.subscriber.is_pending or answer.id not in (0, self._offer_id):
            logger.debug("an answer to no offer of ours, or to an earlier one")
            return ()
        return self.subscriber.apply(answer.sdp)

    def add_candidate(self, trickle: TrickleRequest) -> None:
        """Take a candidate of the client. Raises ProtocolError."""
        try:
            candidate = json.loads(trickle.candidateInit) if trickle.candidateInit else {}
            text = candidate.get("candidate") or "" if isinstance(candidate, dict) else ""
        except ValueError as error:
            raise ProtocolError("a candidate as JSON (RTCIceCandidateInit)") from error
        is_subscriber = trickle.target == SignalTarget.SUBSCRIBER
        connection = self.subscriber if is_subscriber else self.publisher
        connection.add_candidate(str(text))

    def negotiate(self) -> None:
        """Offer what has changed, or with a single connection ask the client to."""
        if not self._is_stale:
            return
        if self._is_single:
            if not self._has_asked and self.publisher.is_begun:
                self._has_asked = True
                need = self.subscriber.unplaced()
                response = SignalResponse()
                response.media_sections_requirement.num_audios = need["audio"]
                response.media_sections_requirement.num_videos = need["video"]
                self._send(response)
            return
        if self.subscriber.is_pending:
            return
        self._is_stale = False
        self._offer_id += 1
        offer = SignalResponse()
        offer.offer.CopyFrom(SessionDescription(type="offer", sdp=self.subscriber.offer(), id=self._offer_id))
        offer.offer.mid_to_track_id.update(self.subscriber.mids())
        self._send(offer)

    def is_overdue(self, now_ms: int) -> bool:
        """Whether the client leaves an offer of ours without an answer; ask every second or so.

        Args:
            now_ms: Unix time.
        """
        if not self.subscriber.is_pending:
            self._seen_pending = None
        elif self._seen_pending is None or self._seen_pending[0] != self._offer_id:
            self._seen_pending = (self._offer_id, now_ms)
        return self._seen_pending is not None and now_ms - self._seen_pending[1] >= _PATIENCE_MS

    def restart(self) -> None:
        """The client is back, perhaps from another network: offer new ICE credentials where it is we who offer."""
        if not self._is_single and self.subscriber.is_begun:
            self.subscriber.restart_ice()
            self.subscriber.rollback()
            self._is_stale = True

    def close(self) -> None:
        """End the connections."""
        for connection in dict.fromkeys((self.publisher, self.subscriber)):
            connection.close()

    ##### What comes in

    def bind(self) -> None:
        """Find the announced tracks for receivers that have none: media may be negotiated before or after."""
        for receiver in self.publisher.receivers:
            if receiver.id not in self._feeds:
                feed = self._feed_of(receiver)
                if feed is not None:
                    self._feeds[receiver.id] = feed
                    _describe(feed, receiver)

    def _feed_of(self, receiver: Receiver) -> Feed | None:
        """The announced track, with its codec, that a media section is for."""
        tracks = [*self._participant.pending, *self._participant.tracks.values()]
        bound = {(id(feed.track), feed.codec) for feed in self._feeds.values()}
        free = [
            Feed(track, number)
            for track in tracks
            if track.kind == receiver.track.kind
            for number in track.announced
            if (id(track), number) not in bound
        ]
        name = receiver.track.track_id
        # Firefox and Safari rewrite track ids: then it is the oldest of its kind.
        named = next((feed for feed in free if feed.track.is_named(name, feed.codec)), None)
        return named or next(iter(free), None)

    def forget(self, receiver: Receiver) -> Feed | None:
        """A receiver has ended; what came by it."""
        return self._feeds.pop(receiver.id, None)

    def feed_of(self, receiver: Receiver) -> Feed | None:
        """What comes in there."""
        return self._feeds.get(receiver.id)

    def receivers_of(self, track: Track) -> dict[str, Receiver]:
        """Where a track of ours comes in, by MIME type in lower case, in the order of its codecs."""
        feeds = [(self._feeds.get(one.id), one) for one in self.publisher.receivers]
        found = sorted((feed.codec, one.id, one) for feed, one in feeds if feed is not None and feed.track is track)
        return {track.mime_type(number): receiver for number, _, receiver in found}

    def _opus(self, section: TrackParameters) -> dict[str, str]:
        """How a track's opus is to be encoded, as its publisher announced it."""
        track = self._announced(section)
        features = [] if track is None else track.info.audio_features
        asked = {} if AudioTrackFeature.TF_NO_DTX in features else {"usedtx": "1"}
        if AudioTrackFeature.TF_STEREO in features:
            asked |= {"stereo": "1", "maxaveragebitrate": "510000"}
        return asked

    def _wanted_codec(self, section: TrackParameters) -> str | None:
        """In which codec a track shall come, as its publisher announced it."""
        track = self._announced(section)
        if track is None:
            return None
        if track.kind == "audio":
            return "audio/red" if _has_red(track) else "audio/opus"
        numbers = range(len(track.info.codecs))
        return next((track.mime_type(one) for one in numbers if track.is_named(section.track_id, one)), None)

    def _announced(self, section: TrackParameters) -> Track | None:
        tracks = (*self._participant.pending, *self._participant.tracks.values())
        return next((one for one in tracks if one.kind == section.kind and one.is_named(section.track_id)), None)

    ##### What goes out

    def subscribe(self, copy: Copy) -> None:
        """Send a copy of a track from the next description on."""
        self.subscriber.copies[copy.sid] = copy
        self._is_stale = True

    def unsubscribe(self, sid: str) -> None:
        """Send it no longer."""
        if self.subscriber.drop(sid) is not None:
            self._is_stale = True

    def chosen(self) -> dict[str, str]:
        """By sid, the MIME types of the copies whose track comes in several codecs."""
        return {copy.sid: copy.mime_type for copy in self.subscriber.copies.values() if copy.mime_type}


def _has_red(track: Track) -> bool:
    """Whether sound shall come with redundancy: it is undone for those who do not take it, except where frames are
    encrypted end to end."""
    return not track.info.disable_red and track.info.encryption == Encryption.Type.NONE


def _describe(feed: Feed, receiver: Receiver) -> None:
    """Write into a track's description what its media section says."""
    info, mid = feed.track.info, receiver.track.mid or ""
    first = receiver.track.codecs[0].mime_type if receiver.track.codecs else ""
    names = {codec.mime_type.lower(): codec.mime_type for codec in receiver.track.codecs}
    if feed.codec < len(info.codecs):
        codec = info.codecs[feed.codec]
        # A client that does not obey sends what its section has.
        codec.mime_type = codec.mime_type if codec.mime_type in names else first.lower()
        codec.mid, codec.sdp_cid = mid, receiver.track.track_id
        first = names.get(codec.mime_type, first)
    if feed.codec == 0:
        info.mid = mid
        info.mime_type = names["audio/red"] if "audio/red" in names and _has_red(feed.track) else first
