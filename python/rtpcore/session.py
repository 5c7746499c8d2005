"""One client's signalling: what it asks is checked, done to its room or its peer connections, and answered.

No await and no clock: requests and the time come in, messages wait in `outbox` until a socket takes them, and what
concerns others comes back as effects. The client's socket may break and come back (resume); the session stays.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from rtpcore import sdp
from rtpcore.copies import Copy, Sources
from rtpcore.errors import ProtocolError
from rtpcore.outbox import Outbox
from rtpcore.peer import Peer
from rtpcore.room import datatracks
from rtpcore.wire import ids
from rtpcore.wire.messages import (
    AddTrackRequest,
    ClientInfo,
    DisconnectReason,
    Encryption,
    LeaveRequest,
    RequestResponse,
    SignalRequest,
    SignalResponse,
    SpeakerInfo,
    SubscriptionError,
    TrackSource,
    TrackType,
    UpdateTrackSettings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rtpcore.forwarder import Receiver, Sender, Transport
    from rtpcore.room import Effect, Participant, Room, Subscription, Track
    from rtpcore.wire.join import JoinParameters
    from rtpcore.wire.token import Claims

__all__ = ["Session", "begin_anew"]

logger = logging.getLogger("rtpcore.session")


class Session:
    """A participant's client, from its first message to its last.

    Attributes:
        participant: Who.
        room: Where.
        outbox: What is to be sent, oldest first.
        is_attached: There is a socket.
        drops_next_resume: The next socket is closed at once, since a client wants to see what it does then.
        claims: What its token said.
        peer: Its peer connections.
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
        self.outbox = Outbox[SignalResponse]()
        self.is_over = False
        self.is_attached = is_attached
        self.drops_next_resume = False
        self._has_wondered = False
        self.wake: Callable[[], None] = _nobody
        self._letters = letters
        self._kept: SignalRequest | None = None
        enabled = room.rules.enabled_codecs
        self.peer = Peer(
            participant,
            is_single=parameters.is_single,
            expect=expect,
            capabilities=sdp.Capabilities().only(*enabled) if enabled else None,
            send=self.send,
        )

    ##### Messages

    def send(self, message: SignalResponse) -> None:
        """Put a message behind those that wait; one too many ends the session."""
        if self.is_over or not self.is_attached:
            return
        if not self.outbox.append(message):
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
            # Once: a client may send a million of them.
            logger.log(
                logging.DEBUG if self._has_wondered else logging.INFO, "a request of kind %s is not served", kind
            )
            self._has_wondered = True
            return []
        effects: list[Effect] = action(request, now_ms)
        return effects

    def early(self) -> list[SignalRequest]:
        """What the client sent along with its wish to join, as the messages it would have sent after.

        The offer of LiveKit's Go SDK is kept until its first candidate: that client reads on while it applies its own
        offer, and an answer that is there before is lost. It cannot connect without a candidate, so there will be one.
        """
        requests = [SignalRequest(add_track=request) for request in self.parameters.add_tracks]
        offer = self.parameters.publisher_offer
        if offer is not None and offer.sdp:
            request = SignalRequest(offer=offer)
            if self.parameters.client.sdk == ClientInfo.SDK.GO and "\na=candidate:" not in offer.sdp:
                self._kept = request
            else:
                requests.append(request)
        return requests

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
        self._kept = None  # a later offer has all that it had
        answered = self.peer.answer(request.offer)
        effects: list[Effect] = []
        for receiver in answered.ended:
            feed = self.peer.forget(receiver)
            if feed is not None:
                effects += self.room.end_codec(feed.track, feed.codec)
        return [*effects, *self._refuse_copies(answered.refused), *self._choose_codecs(now_ms)]

    def _handle_answer(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        refused = self.peer.apply(request.answer)
        return [*self._refuse_copies(refused), *self._choose_codecs(now_ms)]

    def _handle_trickle(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        effects = [] if self._kept is None else self._handle_offer(self._kept, now_ms)
        self.peer.add_candidate(request.trickle)
        return effects

    def _refuse_copies(self, sids: Iterable[str]) -> list[Effect]:
        """Say of which tracks the client takes no codec; they are not sent."""
        effects: list[Effect] = []
        for sid in sids:
            response = SignalResponse()
            response.subscription_response.track_sid = sid
            response.subscription_response.err = SubscriptionError.SE_CODEC_UNSUPPORTED
            self.send(response)
            effects += self.room.refuse(self.participant, sid)
        return effects

    def _choose_codecs(self, now_ms: int) -> list[Effect]:
        effects: list[Effect] = []
        for sid, mime_type in self.peer.chosen().items():
            effects += self.room.choose_codec(self.participant, sid, mime_type, now_ms)
        return effects

    def negotiate(self) -> None:
        """Offer what has changed, or ask the client to. Comes after every batch of effects."""
        if not self.is_over:
            self.peer.negotiate()

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
        answered = self.peer.publisher.answer(offer, lambda section: {"usedtx": "1"})
        for receiver in answered.begun:
            section = receiver.track
            request = AddTrackRequest(
                cid=section.track_id or receiver.id,
                type=TrackType.AUDIO if section.kind == "audio" else TrackType.VIDEO,
                source=sources[section.kind],
            )
            sid = ids.track_sid(self._letters, request.type, request.source)
            self.room.add_track(self.participant, request, sid)
            self.peer.bind()
        return answered.text

    ##### Publishing

    def _handle_add_track(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        announced = request.add_track
        sid = ids.track_sid(self._letters, announced.type, announced.source)
        effects = self.room.add_track(self.participant, announced, sid)
        self.peer.bind()
        return effects

    def started(self, receiver: Receiver, now_ms: int) -> list[Effect]:
        """The first packet of a track of ours came, or of one of its codecs."""
        feed = self.peer.feed_of(receiver)
        return [] if feed is None else self.room.begin_codec(feed.track, feed.codec, now_ms)

    def hear(self, receiver: Receiver, level: float) -> list[Effect]:
        """A track of ours is louder or quieter than before, 0 to 1."""
        feed = self.peer.feed_of(receiver)
        return [] if feed is None else self.room.hear(feed.track, level)

    def sources_of(self, track: Track) -> Sources | None:
        """Where a track of ours can be had from; None where its media are gone."""
        receivers = self.peer.receivers_of(track)
        if not receivers:
            return None
        # What is encrypted end to end must not be taken apart.
        has_red = self.room.rules.has_red and track.info.encryption == Encryption.Type.NONE
        return Sources.of(receivers, track.mime_types, is_regressed=track.is_regressed, has_red=has_red)

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

    def subscribe(self, subscription: Subscription, sources: Sources) -> None:
        """Send a copy of a track from now on."""
        track = subscription.track
        # Firefox plays streams of several tracks badly out of step; it is left alone, as LiveKit's server does.
        in_sync = self.room.rules.sync_streams and self.participant.client.browser.lower() != "firefox"
        self.peer.subscribe(
            Copy(
                track.sid,
                sources,
                track.stream_id(in_sync=in_sync),
                subscription.layer,
                is_paused=subscription.settings.is_disabled,
                priority=subscription.priority,
                own_stream_id=track.stream_id(),
                playout_delay_ms=self.room.rules.playout_delay_ms,
            )
        )

    def unsubscribe(self, subscription: Subscription) -> None:
        """Send it no longer."""
        self.peer.unsubscribe(subscription.track.sid)

    def adjust(self, subscription: Subscription, sources: Sources, now_ms: int) -> list[Effect]:
        """Send it in another quality or codec, or not at all for now."""
        self.peer.subscriber.adjust(
            subscription.track.sid,
            sources,
            subscription.layer,
            is_paused=subscription.settings.is_disabled,
            priority=subscription.priority,
        )
        return self._choose_codecs(now_ms)

    def starve(self, sender: Sender, *, is_paused: bool) -> list[Effect]:
        """Its path became too narrow for a copy, or wide enough again."""
        sid = next((copy.sid for copy in self.peer.subscriber.copies.values() if copy.sender is sender), "")
        return self.room.starve(self.participant, sid, is_paused=is_paused)

    def measure(self, transport: Transport, bitrate_bps: int) -> list[Effect]:
        """What one of its paths is thought to carry has changed; the one by which it subscribes counts."""
        if not self.peer.subscriber.is_carried_by(transport):
            return []
        return self.room.measure(self.participant, bitrate_bps)

    ##### Data tracks

    def _handle_publish_data_track_request(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        sid = ids.data_track_sid(self._letters)
        return datatracks.publish(self.room, self.participant, request.publish_data_track_request, sid)

    def _handle_unpublish_data_track_request(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        return datatracks.unpublish(self.room, self.participant, request.unpublish_data_track_request)

    def _handle_update_data_subscription(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        return datatracks.update(self.room, self.participant, request.update_data_subscription)

    def _handle_store_data_blob_request(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        return self._refuse_blob(request.store_data_blob_request.request_id)

    def _handle_get_data_blob_request(self, request: SignalRequest, now_ms: int) -> list[Effect]:
        return self._refuse_blob(request.get_data_blob_request.request_id)

    def _refuse_blob(self, request_id: int) -> list[Effect]:
        reason = RequestResponse.Reason.NOT_ALLOWED
        return self._refuse(RequestResponse(request_id=request_id, reason=reason, message="there are no data blobs"))

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

    def refuse_track(self, announced: AddTrackRequest) -> None:
        """The application does not let a track be published; it never comes to the room."""
        reason, words = RequestResponse.Reason.NOT_ALLOWED, "the server does not let this track be published"
        self._refuse(RequestResponse(reason=reason, message=words, add_track=announced))

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
        self.peer.restart()

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
        for data_track in state.publish_data_tracks:
            if data_track.info.sid not in self.participant.data_tracks:
                raise ProtocolError("data tracks that this server knows")
        effects: list[Effect] = []
        if state.HasField("subscription"):
            effects += self.room.update_subscription(self.participant, state.subscription, now_ms)
        if state.HasField("data_subscription"):
            effects += datatracks.update(self.room, self.participant, state.data_subscription)
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


def begin_anew(reason: DisconnectReason) -> SignalResponse:
    """A goodbye after which a client joins again, as somebody new."""
    leave = LeaveRequest(reason=reason, action=LeaveRequest.Action.RECONNECT, can_reconnect=True)
    return SignalResponse(leave=leave)


def _nobody() -> None:
    """No socket waits for messages."""
