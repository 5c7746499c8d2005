"""Who gets which track: wishes, permissions, settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtpcore.room import ranking, speakers
from rtpcore.room.effects import Adjust, Effect, Subscribe, Tell, Unsubscribe
from rtpcore.room.track import Subscription, TrackSettings
from rtpcore.wire.messages import SignalResponse, StreamState, SubscriptionError, VideoQuality

if TYPE_CHECKING:
    from rtpcore.room.participant import Participant
    from rtpcore.room.room import Room
    from rtpcore.room.track import Track
    from rtpcore.wire.messages import SubscriptionPermission, UpdateTrackSettings

__all__ = ["adjust", "end", "expire", "offer", "permit", "reconsider", "refuse", "starve", "wish"]

_MAX_EARLY = 1000
"""Tracks of which one client may speak before they exist."""

_PATIENCE_MS = 60_000
"""How long a track may take that was asked for before it was there: its publisher may be about to publish it."""

_NOT_ASKED = -1


def offer(room: Room, track: Track, subscriber: Participant) -> list[Effect]:
    """A track is there that `subscriber` may want."""
    asked_at_ms = subscriber.wishes.pop(track.sid, _NOT_ASKED)
    if asked_at_ms is None or (asked_at_ms == _NOT_ASKED and not subscriber.auto_subscribe):
        return []
    return _begin(room, track, subscriber)


def wish(room: Room, subscriber: Participant, sid: str, *, is_wanted: bool, now_ms: int) -> list[Effect]:
    """`subscriber` wants a track, or no longer. One that is not there yet may come (see :func:`expire`)."""
    known = subscriber.subscriptions.get(sid)
    if known is not None:
        known.is_wanted = is_wanted
        return [*_settle(room, known), *_resettle(room, known)]
    track = room.find_track(sid)
    if track is None:
        if len(subscriber.wishes) < _MAX_EARLY:
            subscriber.wishes[sid] = now_ms if is_wanted else None
        return []
    if track.publisher is subscriber:
        return []
    return _begin(room, track, subscriber) if is_wanted else []


def expire(subscriber: Participant, now_ms: int) -> list[Effect]:
    """Tell `subscriber` of tracks that it asked for and that did not come."""
    effects: list[Effect] = []
    for sid, asked_at_ms in list(subscriber.wishes.items()):
        if asked_at_ms is not None and now_ms - asked_at_ms >= _PATIENCE_MS:
            del subscriber.wishes[sid]
            response = SignalResponse()
            response.subscription_response.track_sid = sid
            response.subscription_response.err = SubscriptionError.SE_TRACK_NOTFOUND
            effects.append(Tell(subscriber, response))
    return effects


def adjust(room: Room, subscriber: Participant, request: UpdateTrackSettings) -> list[Effect]:
    """What is shown of tracks; effects only for those that are sent."""
    settings = TrackSettings(
        is_disabled=request.disabled,
        quality=request.quality,
        width=request.width,
        height=request.height,
        fps=request.fps,
        priority=min(request.priority, 255),
    )
    effects: list[Effect] = []
    for sid in request.track_sids:
        subscription = subscriber.subscriptions.get(sid)
        if subscription is None:
            if len(subscriber.early_settings) < _MAX_EARLY:
                subscriber.early_settings[sid] = settings
        elif subscription.settings != settings:
            subscription.settings = settings
            if subscription.is_active:
                effects.append(Adjust(subscription))
            effects += ranking.weigh(room, subscription)
    return effects


def starve(room: Room, subscriber: Participant, sid: str, *, is_paused: bool) -> list[Effect]:
    """The forwarder paused a copy for want of bandwidth, or resumed it: its client shows that."""
    subscription = subscriber.subscriptions.get(sid)
    if subscription is None or not subscription.is_active or subscription.is_starved == is_paused:
        return []
    subscription.is_starved = is_paused
    response = SignalResponse()
    state = response.stream_state_update.stream_states.add()
    state.participant_sid, state.track_sid = subscription.track.publisher.sid, sid
    state.state = StreamState.PAUSED if is_paused else StreamState.ACTIVE
    return [Tell(subscriber, response), *ranking.weigh(room, subscription)]


def permit(room: Room, publisher: Participant, request: SubscriptionPermission) -> list[Effect]:
    """A publisher says who may have its tracks; those that had them and may not any more lose them."""
    if request.all_participants:
        publisher.granted = None
    else:
        publisher.granted = {
            one.participant_sid or one.participant_identity: None if one.all_tracks else frozenset(one.track_sids)
            for one in request.track_permissions
        }
    effects: list[Effect] = []
    for track in publisher.tracks.values():
        for subscriber in room.others(publisher):
            subscription = subscriber.subscriptions.get(track.sid)
            if subscription is None:
                continue
            is_allowed = publisher.lets(subscriber, track.sid)
            if is_allowed != subscription.is_allowed:
                subscription.is_allowed = is_allowed
                effects += [Tell(subscriber, _permission(subscription)), *_settle(room, subscription)]
    return effects


def refuse(room: Room, subscription: Subscription) -> list[Effect]:
    """The server does not let `subscription` be; the subscriber is told as if the publisher did not."""
    subscription.is_allowed = False
    return [Tell(subscription.subscriber, _permission(subscription)), *_settle(room, subscription)]


def reconsider(room: Room, subscriber: Participant) -> list[Effect]:
    """What a participant may subscribe to has changed."""
    effects: list[Effect] = []
    for subscription in list(subscriber.subscriptions.values()):
        effects += _settle(room, subscription)
    for track in [track for other in room.others(subscriber) for track in other.tracks.values()]:
        if track.sid not in subscriber.subscriptions:
            effects += offer(room, track, subscriber)
    return effects


def end(room: Room, subscription: Subscription) -> list[Effect]:
    """Forget a subscription, since one of its ends has gone."""
    subscription.track.subscriptions.pop(subscription.subscriber.sid, None)
    subscription.subscriber.subscriptions.pop(subscription.track.sid, None)
    if not subscription.is_active:
        return []
    subscription.is_active = False
    return [Unsubscribe(subscription), *ranking.weigh(room, subscription), *_resettle(room, subscription)]


def _begin(room: Room, track: Track, subscriber: Participant) -> list[Effect]:
    known = track.subscriptions.get(subscriber.sid)
    if known is not None:
        return []
    quality = VideoQuality.LOW if subscriber.adaptive_stream else VideoQuality.HIGH
    subscription = Subscription(
        subscriber,
        track,
        is_allowed=track.publisher.lets(subscriber, track.sid),
        settings=subscriber.early_settings.pop(track.sid, TrackSettings(quality=quality)),
    )
    track.subscriptions[subscriber.sid] = subscription
    subscriber.subscriptions[track.sid] = subscription
    refused = [] if subscription.is_allowed else [Tell(subscriber, _permission(subscription))]
    return [*refused, *_settle(room, subscription)]


def _resettle(room: Room, gone: Subscription) -> list[Effect]:
    """Begin what there was no place for beside a subscription that is not active any more."""
    if gone.is_active or not _most(room, gone.track):
        return []
    effects: list[Effect] = []
    for waiting in list(gone.subscriber.subscriptions.values()):
        if waiting is not gone and not waiting.is_active and waiting.track.kind == gone.track.kind:
            effects += _settle(room, waiting)
    return effects


def _most(room: Room, track: Track) -> int:
    rules = room.rules
    return rules.max_audio_subscriptions if track.kind == "audio" else rules.max_video_subscriptions


def _has_place(room: Room, subscription: Subscription) -> bool:
    """Whether one more track of this kind is not too many."""
    most, kind = _most(room, subscription.track), subscription.track.kind
    active = (one for one in subscription.subscriber.subscriptions.values() if one.is_active and one.track.kind == kind)
    return not most or subscription.is_active or sum(1 for _ in active) < most


def _settle(room: Room, subscription: Subscription) -> list[Effect]:
    """Begin or end the copy as wish, permission and the room's rules have it."""
    is_allowed = subscription.subscriber.permission.can_subscribe and subscription.is_allowed
    may = is_allowed and _has_place(room, subscription)
    should = subscription.is_wanted and may
    if should == subscription.is_active:
        return []
    subscription.is_active = should
    subscription.is_starved = False
    track, subscriber = subscription.track, subscription.subscriber
    if not should:
        return [Unsubscribe(subscription), *ranking.weigh(room, subscription)]
    effects = [Subscribe(subscription), *speakers.current(subscriber, track), *ranking.weigh(room, subscription)]
    if not track.was_subscribed and not subscriber.is_hidden:
        track.was_subscribed = True
        response = SignalResponse()
        response.track_subscribed.track_sid = track.sid
        effects.append(Tell(track.publisher, response))
    return effects


def _permission(subscription: Subscription) -> SignalResponse:
    response = SignalResponse()
    update = response.subscription_permission_update
    update.participant_sid = subscription.track.publisher.sid
    update.track_sid = subscription.track.sid
    update.allowed = subscription.is_allowed
    return response
