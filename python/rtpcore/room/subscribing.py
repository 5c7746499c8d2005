"""Who gets which track: wishes, permissions, settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtpcore.room import speakers
from rtpcore.room.effects import Adjust, Effect, Subscribe, Tell, Unsubscribe
from rtpcore.room.track import Subscription, TrackSettings
from rtpcore.wire.messages import SignalResponse, SubscriptionError, VideoQuality

if TYPE_CHECKING:
    from rtpcore.room.participant import Participant
    from rtpcore.room.room import Room
    from rtpcore.room.track import Track
    from rtpcore.wire.messages import SubscriptionPermission, UpdateTrackSettings

__all__ = ["adjust", "end", "offer", "permit", "reconsider", "wish"]

_MAX_SETTINGS = 1000
"""Tracks that one client may describe before they exist."""


def offer(track: Track, subscriber: Participant) -> list[Effect]:
    """A track is there that `subscriber` may want."""
    if not subscriber.auto_subscribe:
        return []
    return _begin(track, subscriber)


def wish(room: Room, subscriber: Participant, sid: str, *, is_wanted: bool) -> list[Effect]:
    """`subscriber` wants a track, or no longer."""
    known = subscriber.subscriptions.get(sid)
    if known is not None:
        known.is_wanted = is_wanted
        return _settle(known)
    track = room.find_track(sid)
    if track is None or track.publisher is subscriber:
        if not is_wanted:
            return []
        response = SignalResponse()
        response.subscription_response.track_sid = sid
        response.subscription_response.err = SubscriptionError.SE_TRACK_NOTFOUND
        return [Tell(subscriber, response)]
    return _begin(track, subscriber) if is_wanted else []


def adjust(subscriber: Participant, request: UpdateTrackSettings) -> list[Effect]:
    """What is shown of tracks; effects only for those that are sent."""
    settings = TrackSettings(
        is_disabled=request.disabled,
        quality=request.quality,
        width=request.width,
        height=request.height,
        fps=request.fps,
    )
    effects: list[Effect] = []
    for sid in request.track_sids[:_MAX_SETTINGS]:
        subscription = subscriber.subscriptions.get(sid)
        if subscription is not None and subscription.settings != settings:
            subscription.settings = settings
            if subscription.is_active:
                effects.append(Adjust(subscription))
    return effects


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
                effects += [Tell(subscriber, _permission(subscription)), *_settle(subscription)]
    return effects


def reconsider(room: Room, subscriber: Participant) -> list[Effect]:
    """What a participant may subscribe to has changed."""
    effects: list[Effect] = []
    for subscription in list(subscriber.subscriptions.values()):
        effects += _settle(subscription)
    for track in [track for other in room.others(subscriber) for track in other.tracks.values()]:
        if track.sid not in subscriber.subscriptions:
            effects += offer(track, subscriber)
    return effects


def end(subscription: Subscription) -> list[Effect]:
    """Forget a subscription, since one of its ends has gone."""
    subscription.track.subscriptions.pop(subscription.subscriber.sid, None)
    subscription.subscriber.subscriptions.pop(subscription.track.sid, None)
    if not subscription.is_active:
        return []
    subscription.is_active = False
    return [Unsubscribe(subscription)]


def _begin(track: Track, subscriber: Participant) -> list[Effect]:
    known = track.subscriptions.get(subscriber.sid)
    if known is not None:
        return []
    quality = VideoQuality.LOW if subscriber.adaptive_stream else VideoQuality.HIGH
    subscription = Subscription(
        subscriber,
        track,
        is_allowed=track.publisher.lets(subscriber, track.sid),
        settings=TrackSettings(quality=quality),
    )
    track.subscriptions[subscriber.sid] = subscription
    subscriber.subscriptions[track.sid] = subscription
    refused = [] if subscription.is_allowed else [Tell(subscriber, _permission(subscription))]
    return [*refused, *_settle(subscription)]


def _settle(subscription: Subscription) -> list[Effect]:
    """Begin or end the copy as wish and permission have it."""
    may = subscription.subscriber.permission.can_subscribe and subscription.is_allowed
    should = subscription.is_wanted and may
    if should == subscription.is_active:
        return []
    subscription.is_active = should
    if not should:
        return [Unsubscribe(subscription)]
    track = subscription.track
    effects: list[Effect] = [Subscribe(subscription), *speakers.current(subscription.subscriber, track)]
    if not track.was_subscribed and not subscription.subscriber.is_hidden:
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
