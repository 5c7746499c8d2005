"""Data tracks: announced, listed, subscribed to. Their packets go from member to member in Rust.

A publisher numbers its tracks; each subscriber has numbers of its own for those that it gets (handles, 1 to 65535), and
is told all of them at every change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rtpcore.room.effects import Effect, OpenData, RouteData, ShutData, Tell
from rtpcore.wire.messages import DataTrackInfo, RequestResponse, SignalResponse

if TYPE_CHECKING:
    from rtpcore.room.participant import Participant
    from rtpcore.room.room import Room
    from rtpcore.wire.messages import PublishDataTrackRequest, UnpublishDataTrackRequest, UpdateDataSubscription

__all__ = ["DataTrack", "find", "leave", "listing", "offer_all", "publish", "reconsider", "unpublish", "update"]

_MAX_HANDLE = 0xFFFF
_MAX_NAME = 256
_MAX_TRACKS = 256
"""Data tracks that one participant may publish."""


@dataclass(eq=False, slots=True)
class DataTrack:
    """A data track.

    Attributes:
        publisher: Whose.
        info: What others are told.
        subscribers: By their sid, under which number they get it.
    """

    publisher: Participant
    info: DataTrackInfo
    subscribers: dict[str, int] = field(default_factory=dict)


def publish(room: Room, publisher: Participant, request: PublishDataTrackRequest, sid: str) -> list[Effect]:
    """Take a data track, or say why not."""
    reasons = RequestResponse.Reason
    others = publisher.data_tracks.values()
    if not room.rules.has_data_tracks or not publisher.permission.can_publish_data:
        return _refuse(publisher, request, reasons.NOT_ALLOWED, "data tracks may not be published")
    if not 1 <= request.pub_handle <= _MAX_HANDLE:
        return _refuse(publisher, request, reasons.INVALID_HANDLE, f"a handle is 1 to {_MAX_HANDLE}")
    if not 1 <= len(request.name) <= _MAX_NAME:
        return _refuse(publisher, request, reasons.INVALID_NAME, f"a name has 1 to {_MAX_NAME} characters")
    if any(one.info.pub_handle == request.pub_handle for one in others):
        return _refuse(publisher, request, reasons.DUPLICATE_HANDLE, "the handle is in use")
    if any(one.info.name == request.name for one in others):
        return _refuse(publisher, request, reasons.DUPLICATE_NAME, "the name is in use")
    if len(others) >= _MAX_TRACKS:
        return _refuse(publisher, request, reasons.LIMIT_EXCEEDED, f"a participant has at most {_MAX_TRACKS}")
    info = DataTrackInfo(pub_handle=request.pub_handle, sid=sid, name=request.name, encryption=request.encryption)
    if request.HasField("frame_encoding"):
        info.frame_encoding.CopyFrom(request.frame_encoding)
    if request.HasField("schema"):
        info.schema.CopyFrom(request.schema)
    track = publisher.data_tracks[sid] = DataTrack(publisher, info)
    answer = SignalResponse()
    answer.publish_data_track_response.info.CopyFrom(info)
    effects: list[Effect] = [OpenData(track), Tell(publisher, answer), *room.announce(publisher)]
    for other in room.others(publisher):
        effects += _told(room, other, _offer(track, other))
    return effects


def unpublish(room: Room, publisher: Participant, request: UnpublishDataTrackRequest) -> list[Effect]:
    """A publisher ends one of its data tracks."""
    tracks = publisher.data_tracks.values()
    track = next((one for one in tracks if one.info.pub_handle == request.pub_handle), None)
    if track is None:
        response = SignalResponse()
        response.request_response.reason = RequestResponse.Reason.NOT_FOUND
        response.request_response.unpublish_data_track.CopyFrom(request)
        return [Tell(publisher, response)]
    return [*_end(room, track), *room.announce(publisher)]


def _end(room: Room, track: DataTrack) -> list[Effect]:
    """Take a data track from its publisher, who is told, and from all who have it."""
    publisher = track.publisher
    del publisher.data_tracks[track.info.sid]
    answer = SignalResponse()
    answer.unpublish_data_track_response.info.CopyFrom(track.info)
    effects: list[Effect] = [ShutData(track), Tell(publisher, answer)]
    for other in room.others(publisher):
        if track.subscribers.pop(other.sid, None) is not None:
            effects.append(Tell(other, listing(room, other)))
    return effects


def leave(room: Room, participant: Participant) -> list[Effect]:
    """Somebody goes, with its data tracks and its subscriptions to those of others."""
    effects: list[Effect] = []
    for other in room.others(participant):
        for track in other.data_tracks.values():
            track.subscribers.pop(participant.sid, None)
    for track in list(participant.data_tracks.values()):
        effects += _end(room, track)
    return effects


def offer_all(room: Room, subscriber: Participant) -> list[Effect]:
    """Subscribe somebody who has just joined, and wants every data track, to all of them."""
    tracks = [track for other in room.others(subscriber) for track in other.data_tracks.values()]
    return _told(room, subscriber, [effect for track in tracks for effect in _offer(track, subscriber)])


def update(room: Room, subscriber: Participant, request: UpdateDataSubscription) -> list[Effect]:
    """Somebody wants data tracks, or no longer; unknown ones are passed over, for they may have ended meanwhile."""
    effects: list[Effect] = []
    for wish in request.updates:
        track = find(room, wish.track_sid)
        if track is None or track.publisher is subscriber:
            continue
        effects += _route(track, subscriber) if wish.subscribe else _unroute(track, subscriber)
    # Told even where nothing has changed: clients wait for it.
    return [*effects, Tell(subscriber, listing(room, subscriber))]


def reconsider(room: Room, subscriber: Participant) -> list[Effect]:
    """What somebody may publish or subscribe to has changed."""
    effects: list[Effect] = []
    if not subscriber.permission.can_publish_data:
        for track in list(subscriber.data_tracks.values()):
            effects += _end(room, track)
    changes: list[Effect] = []
    for track in [track for other in room.others(subscriber) for track in other.data_tracks.values()]:
        if subscriber.permission.can_subscribe:
            changes += _offer(track, subscriber)
        else:
            changes += _unroute(track, subscriber)
    return [*effects, *_told(room, subscriber, changes)]


def find(room: Room, sid: str) -> DataTrack | None:
    """The data track with this sid."""
    return next((one.data_tracks[sid] for one in room.participants.values() if sid in one.data_tracks), None)


def listing(room: Room, subscriber: Participant) -> SignalResponse:
    """What a subscriber gets, by the numbers under which it gets it."""
    response = SignalResponse()
    handles = response.data_track_subscriber_handles.sub_handles
    for other in room.others(subscriber):
        for track in other.data_tracks.values():
            handle = track.subscribers.get(subscriber.sid)
            if handle is not None:
                one = handles[handle]
                one.publisher_identity, one.publisher_sid = other.identity, other.sid
                one.track_sid = track.info.sid
    response.data_track_subscriber_handles.SetInParent()
    return response


def _told(room: Room, subscriber: Participant, changes: list[Effect]) -> list[Effect]:
    """With changes of what somebody gets, say so."""
    return [*changes, Tell(subscriber, listing(room, subscriber))] if changes else []


def _offer(track: DataTrack, subscriber: Participant) -> list[Effect]:
    return _route(track, subscriber) if subscriber.auto_subscribe_data else []


def _route(track: DataTrack, subscriber: Participant) -> list[Effect]:
    if subscriber.sid in track.subscribers or not subscriber.permission.can_subscribe:
        return []
    if subscriber.last_handle >= _MAX_HANDLE:
        return []
    # No number is used twice: packets of an old track may still be on their way.
    subscriber.last_handle += 1
    track.subscribers[subscriber.sid] = subscriber.last_handle
    return [RouteData(track, subscriber, subscriber.last_handle)]


def _unroute(track: DataTrack, subscriber: Participant) -> list[Effect]:
    if track.subscribers.pop(subscriber.sid, None) is None:
        return []
    return [RouteData(track, subscriber, None)]


def _refuse(
    publisher: Participant, request: PublishDataTrackRequest, reason: RequestResponse.Reason, message: str
) -> list[Effect]:
    response = SignalResponse()
    response.request_response.CopyFrom(RequestResponse(reason=reason, message=message, publish_data_track=request))
    return [Tell(publisher, response)]
