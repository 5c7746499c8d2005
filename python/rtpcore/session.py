"""One client's signalling: what it asks is checked, done to its room or its peer connections, and answered.

No await and no clock: requests and the time come in, messages wait in `outbox` until a socket takes them, and what
concerns others comes back as effects. The client's socket may break and come back (resume); the session stays.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from typing import TYPE_CHECKING

from rtpcore import sdp
from rtpcore.connection import Connection, Copy
from rtpcore.errors import ProtocolError
from rtpcore.wire import ids
from rtpcore.wire.messages import (
    AddTrackRequest,
    AudioTrackFeature,
    DisconnectReason,
    LeaveRequest,
    RequestResponse,
    SessionDescription,
    SignalResponse,
    SignalTarget,
    SpeakerInfo,
    SubscriptionError,
    TrackSource,
    TrackType,
    UpdateTrackSettings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rtpcore.forwarder import Receiver, Transport
    from rtpcore.parameters import TrackParameters
    from rtpcore.room import Effect, Participant, Room, Subscription, Track
    from rtpcore.wire.join import JoinParameters
    from rtpcore.wire.messages import SignalRequest
    from rtpcore.wire.token import Claims

__all__ = ["Session", "begin_anew"]

logger = logging.getLogger("rtpcore.session")

_MAX_OUTBOX = 2000
"""Messages that may wait for a client that does not read: some minutes of a busy room."""


class Session:
    """A participant's client, from its first message to its last.

    Attributes:
        participant: Who.
        room: Where.
        outbox: What is to be sent, oldest first.
        is_attached: There is a socket.
        drops_next_resume: The next socket is closed at once, since a client wants to see what it does then.
        claims: What its token said.
        token_at_ms: When it last got a new one (Unix time).
        lost_at_ms: Since when a peer connection of it is gone.
        is_over: A goodbye is in `outbox`, or was sent; the socket is closed behind it.
    """

    def __init__(
        self,
        participant: Participant,
        room: Room,
        parameters: JoinParameters,
        claims: Claims,
        *,
        expect: Callable[[], Transport],
        letters: ids.Letters,
        is_attached: bool = True,
    ) -> None:
        """Begin.

        Args:
            participant: Joined already.
            room: Its room.
            parameters: How the client wants to be served.
            claims: What its token said.
            expect: Makes a transport for one of its peer connections.
            letters: Randomness for the sids of tracks.
            is_attached: There is a socket, or will be; without one nothing is said.
        """
        self.participant = participant
        self.room = room
        self.parameters = parameters
        self.claims = claims
        self.token_at_ms = 0
        self.lost_at_ms: int | None = None
        self.outbox: deque[SignalResponse] = deque()
        self.is_over = False
        self.is_attached = is_attached
        self.drops_next_resume = False
        self.wake: Callable[[], None] = _nobody
        self._letters = letters
        enabled = room.rules.enabled_codecs
        capabilities = sdp.Capabilities().only(*enabled) if enabled else None
        self.publisher = Connection(expect, capabilities)
        self.subscriber = self.publisher if parameters.is_single else Connection(expect)
        self._tracks: dict[str, Track] = {}
        self._offer_id = 0
        self._is_stale = False
        self._has_asked = False

    ##### Messages

    def send(self, message: SignalResponse) -> None:
        """Put a message behind those that wait; one too many ends the session."""
        if self.is_over or not self.is_attached:
            return
        if len(self.outbox) >= _MAX_OUTBOX:
            logger.warning("a client of room %s does not read: %d messages wait", self.room.sid, len(self.outbox))
            self.outbox.clear()
            message = begin_anew(DisconnectReason.SIGNAL_CLOSE)
        self.outbox.append(message)
        if message.HasField("leave"):
            self.is_over = True
        self.wake()

    def handle(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        """Do what a client asks; what is malformed or not allowed is refused, and concerns this client alone.

        Raises:
            ProtocolError, ParametersError, LimitError: The request cannot be served at all; the client should
                connect anew.
        """
        kind = request.WhichOneof("message")
        action = getattr(self, f"_handle_{kind}", None)
        if action is None:
            logger.info("a request of kind %s is not served", kind)
            return []
        effects: list[Effect] = action(request, now_ms)
        return effects

    def _handle_ping(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        self.send(SignalResponse(pong=now_ms))
        return []

    def _handle_ping_req(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        response = SignalResponse()
        response.pong_resp.last_ping_timestamp = request.ping_req.timestamp
        response.pong_resp.timestamp = now_ms
        self.send(response)
        return []

    def _handle_leave(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        self.is_over = True
        self.wake()
        return self.room.leave(self.participant, DisconnectReason.CLIENT_INITIATED, now_ms)

    def _handle_update_layers(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        return []  # superseded by dynacast in every SDK that is still in use

    ##### Descriptions and candidates

    def _handle_offer(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        offer = request.offer
        self._has_asked = False
        answered = self.publisher.answer(offer.sdp, self._opus)
        effects: list[Effect] = []
        for receiver in answered.ended:
            track = self._tracks.pop(receiver.id, None)
            if track is not None:
                effects += self.room.unpublish(track)
        for receiver in answered.begun:
            self._bind(receiver)
        response = SignalResponse()
        response.answer.CopyFrom(SessionDescription(type="answer", sdp=answered.text, id=offer.id))
        if self.parameters.is_single:
            response.answer.mid_to_track_id.update(self.publisher.mids())
            self._is_stale = any(self.publisher.unplaced().values())
        self.send(response)
        return effects

    def _handle_answer(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        answer = request.answer
        if not self.subscriber.is_pending or answer.id not in (0, self._offer_id):
            logger.debug("an answer to no offer of ours, or to an earlier one")
            return []
        for sid in self.subscriber.apply(answer.sdp):
            response = SignalResponse()
            response.subscription_response.track_sid = sid
            response.subscription_response.err = SubscriptionError.SE_CODEC_UNSUPPORTED
            self.send(response)
            self.subscriber.drop(sid)
        return []

    def _handle_trickle(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        trickle = request.trickle
        try:
            candidate = json.loads(trickle.candidateInit) if trickle.candidateInit else {}
            text = candidate.get("candidate") or "" if isinstance(candidate, dict) else ""
        except ValueError as error:
            raise ProtocolError("a candidate as JSON (RTCIceCandidateInit)") from error
        is_subscriber = trickle.target == SignalTarget.SUBSCRIBER
        connection = self.subscriber if is_subscriber else self.publisher
        connection.add_candidate(str(text))
        return []

    def negotiate(self) -> None:
        """Offer what has changed, or with a single connection ask the client to. Comes after every batch of effects."""
        if not self._is_stale or self.is_over:
            return
        if self.parameters.is_single:
            if not self._has_asked and self.publisher.is_begun:
                self._has_asked = True
                need = self.subscriber.unplaced()
                response = SignalResponse()
                response.media_sections_requirement.num_audios = need["audio"]
                response.media_sections_requirement.num_videos = need["video"]
                self.send(response)
            return
        if self.subscriber.is_pending:
            return
        self._is_stale = False
        self._offer_id += 1
        offer = SignalResponse()
        offer.offer.CopyFrom(SessionDescription(type="offer", sdp=self.subscriber.offer(), id=self._offer_id))
        offer.offer.mid_to_track_id.update(self.subscriber.mids())
        self.send(offer)

    def begin(self) -> None:
        """Open what the server opens: with two connections, the one for subscriptions and its data channels."""
        if self.parameters.is_single or not self.participant.permission.can_subscribe:
            return
        transport = self.subscriber.transport
        transport.open_channel("_reliable")
        transport.open_channel("_lossy", ordered=False, max_retransmits=0)
        transport.open_channel("_data_track", ordered=False, max_retransmits=0)
        self._is_stale = True

    def exchange(self, offer: str, sources: Mapping[str, TrackSource]) -> str:
        """Take a description from a client that speaks HTTP alone (WHIP, WHEP): its tracks are published as they come.

        Args:
            offer: The client's only description.
            sources: By kind, where its tracks come from.

        Returns:
            Our answer.

        Raises:
            ProtocolError, ParametersError, LimitError: As :meth:`handle`.
        """
        answered = self.publisher.answer(offer, self._opus)
        for receiver in answered.begun:
            section = receiver.track
            request = AddTrackRequest(
                cid=section.track_id or receiver.id,
                type=TrackType.AUDIO if section.kind == "audio" else TrackType.VIDEO,
                source=sources[section.kind],
            )
            sid = ids.track_sid(self._letters, request.type, request.source)
            self.room.add_track(self.participant, request, sid)
            self._bind(receiver)
        return answered.text

    @property
    def primary(self) -> Connection:
        """The connection by which the client is reached."""
        return self.subscriber if self.participant.permission.can_subscribe else self.publisher

    ##### Publishing

    def _handle_add_track(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        announced = request.add_track
        sid = ids.track_sid(self._letters, announced.type, announced.source)
        effects = self.room.add_track(self.participant, announced, sid)
        # Media may have been negotiated before the track was announced.
        for receiver in self.publisher.receivers:
            if receiver.id not in self._tracks:
                self._bind(receiver)
        return effects

    def _bind(self, receiver: Receiver) -> None:
        """Find the announced track that a media section is for."""
        pending = [track for track in self.participant.pending if track.kind == receiver.track.kind]
        bound = {id(track) for track in self._tracks.values()}
        free = [track for track in pending if id(track) not in bound]
        # Firefox and Safari rewrite track ids: then it is the oldest of its kind.
        track = next((one for one in free if one.is_named(receiver.track.track_id)), None) or next(iter(free), None)
        if track is None:
            return
        self._tracks[receiver.id] = track
        track.info.mid = receiver.track.mid or ""
        codec = receiver.track.codecs[0].mime_type if receiver.track.codecs else ""
        track.info.mime_type = codec
        for described in track.info.codecs[:1]:
            described.mime_type = codec.lower()
            described.mid = track.info.mid
            described.sdp_cid = receiver.track.track_id

    def _opus(self, section: TrackParameters) -> dict[str, str]:
        """How a track's opus is to be encoded, as its publisher announced it."""
        kinds = [one for one in (*self.participant.pending, *self.participant.tracks.values()) if one.kind == "audio"]
        track = next((one for one in kinds if one.is_named(section.track_id)), None)
        features = [] if track is None else track.info.audio_features
        asked = {} if AudioTrackFeature.TF_NO_DTX in features else {"usedtx": "1"}
        if AudioTrackFeature.TF_STEREO in features:
            asked |= {"stereo": "1", "maxaveragebitrate": "510000"}
        return asked

    def started(self, receiver: Receiver, now_ms: int) -> list[Effect]:
        """The first packet of a track of ours came."""
        track = self._tracks.get(receiver.id)
        return [] if track is None else self.room.publish(track, now_ms)

    def track_of(self, receiver: Receiver) -> Track | None:
        """What comes in there."""
        return self._tracks.get(receiver.id)

    def receiver_of(self, track: Track) -> Receiver | None:
        """Where a track of ours comes in."""
        return next((one for one in self.publisher.receivers if self._tracks.get(one.id) is track), None)

    def _handle_mute(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        track = self.participant.find(request.mute.sid)
        if track is None:
            return self._refuse(RequestResponse(reason=RequestResponse.Reason.NOT_FOUND, mute=request.mute))
        return self.room.mute(track, is_muted=request.mute.muted)

    def _handle_update_audio_track(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        update = request.update_audio_track
        track = self.participant.find(update.track_sid)
        if track is None:
            return self._refuse(RequestResponse(reason=RequestResponse.Reason.NOT_FOUND, update_audio_track=update))
        del track.info.audio_features[:]
        track.info.audio_features.extend(update.features)
        return self.room.change_track(track)

    def _handle_update_video_track(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        update = request.update_video_track
        track = self.participant.find(update.track_sid)
        if track is None:
            return self._refuse(RequestResponse(reason=RequestResponse.Reason.NOT_FOUND, update_video_track=update))
        track.info.width, track.info.height = update.width, update.height
        return self.room.change_track(track)

    ##### Subscribing

    def _handle_subscription(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        return self.room.update_subscription(self.participant, request.subscription, now_ms)

    def _handle_track_setting(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        return self.room.update_settings(self.participant, request.track_setting)

    def _handle_subscription_permission(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        return self.room.set_subscription_permission(self.participant, request.subscription_permission)

    def subscribe(self, subscription: Subscription, receiver: Receiver) -> None:
        """Send a copy of a track from now on."""
        track = subscription.track
        # Firefox plays streams of several tracks badly out of step; it is left alone, as LiveKit's server does.
        in_sync = self.room.rules.sync_streams and self.participant.client.browser.lower() != "firefox"
        stream_id = track.stream_id(in_sync=in_sync)
        self.subscriber.copies[track.sid] = Copy(
            track.sid, receiver, stream_id, subscription.layer, is_paused=subscription.settings.is_disabled
        )
        self._is_stale = True

    def unsubscribe(self, subscription: Subscription) -> None:
        """Send it no longer."""
        if self.subscriber.drop(subscription.track.sid) is not None:
            self._is_stale = True

    def adjust(self, subscription: Subscription) -> None:
        """Send it in another quality, or not at all for now."""
        copy = self.subscriber.copies.get(subscription.track.sid)
        if copy is not None:
            copy.layer, copy.is_paused = subscription.layer, subscription.settings.is_disabled
            copy.steer()

    ##### Itself

    def _handle_update_metadata(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        update = request.update_metadata
        reasons = RequestResponse.Reason
        too_long = self.room.rules.why_too_long(update.metadata, dict(update.attributes), update.name)
        if not self.participant.permission.can_update_metadata:
            reason, message = reasons.NOT_ALLOWED, "the token does not grant canUpdateOwnMetadata"
        elif too_long:
            reason, message = reasons.LIMIT_EXCEEDED, too_long
        else:
            reason, message = reasons.OK, ""
        self._refuse(
            RequestResponse(request_id=update.request_id, reason=reason, message=message, update_metadata=update)
        )
        if reason != reasons.OK:
            return []
        return self.room.update_participant(
            self.participant, name=update.name, metadata=update.metadata, attributes=update.attributes
        )

    def _refuse(self, response: RequestResponse) -> list[Effect]:
        message = SignalResponse()
        message.request_response.CopyFrom(response)
        self.send(message)
        return []

    ##### The socket

    def resume(self, first: SignalResponse) -> None:
        """The client is back on a new socket, which shall begin with `first`."""
        self.detach()
        self.is_attached = True
        self.send(first)
        if not self.parameters.is_single and self.subscriber.is_begun:
            self.subscriber.restart_ice()
            self.subscriber.rollback()
            self._is_stale = True

    def detach(self) -> None:
        """The socket is gone: what waits for it is of the past, and :meth:`resume` tells how things are."""
        self.outbox.clear()
        self.is_attached = False
        # The old socket wakes to see that it is not wanted any more, and closes.
        wake, self.wake = self.wake, _nobody
        wake()

    def _handle_sync_state(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        state = request.sync_state
        for published in state.publish_tracks:
            if self.participant.find(published.track.sid) is None:
                raise ProtocolError("tracks that this server knows")
        effects: list[Effect] = []
        if state.HasField("subscription"):
            effects += self.room.update_subscription(self.participant, state.subscription, now_ms)
        if state.track_sids_disabled:
            disabled = UpdateTrackSettings(track_sids=state.track_sids_disabled, disabled=True)
            effects += self.room.update_settings(self.participant, disabled)
        return effects

    def _handle_simulate(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        """Play a fault that a client's tests ask for."""
        scenario = request.simulate.WhichOneof("scenario")
        match scenario:
            case "server_leave":
                return self.room.remove(self.participant, DisconnectReason.SERVER_SHUTDOWN, now_ms)
            case "node_failure" | "migration":
                # No goodbye: the socket and the peer connections are simply gone.
                return self.room.leave(self.participant, DisconnectReason.STATE_MISMATCH, now_ms)
            case "leave_request_full_reconnect" | "switch_candidate_protocol":
                self.send(begin_anew(DisconnectReason.STATE_MISMATCH))
                return self.room.leave(self.participant, DisconnectReason.STATE_MISMATCH, now_ms)
            case "speaker_update":
                told = SignalResponse()
                told.speakers_changed.speakers.extend(
                    SpeakerInfo(sid=one.sid, level=0.5, active=True) for one in self.room.participants.values()
                )
                self.send(told)
                return []
            case "disconnect_signal_on_resume" | "disconnect_signal_on_resume_no_messages":
                self.drops_next_resume = True
                return []
            case _:
                logger.info("the scenario %s cannot be simulated here", scenario)
                return []

    ##### The end

    @property
    def transports(self) -> list[Transport]:
        """Those of its peer connections that are there."""
        connections = dict.fromkeys((self.publisher, self.subscriber))
        return [connection.transport for connection in connections if connection.is_begun]

    def close(self) -> None:
        """End the peer connections."""
        self.publisher.close()
        if self.subscriber is not self.publisher:
            self.subscriber.close()


def begin_anew(reason: DisconnectReason) -> SignalResponse:
    """A goodbye after which a client joins again, as somebody new."""
    leave = LeaveRequest(reason=reason, action=LeaveRequest.Action.RECONNECT, can_reconnect=True)
    return SignalResponse(leave=leave)


def _nobody() -> None:
    """No socket waits for messages."""
