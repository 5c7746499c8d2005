"""A track on the publisher's side: announced, refused, ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtpcore.room import subscribing
from rtpcore.room.effects import Adjust, Effect, Tell
from rtpcore.room.track import Track, describe
from rtpcore.wire.messages import BackupCodecPolicy, RequestResponse, SignalResponse, TrackType

if TYPE_CHECKING:
    from rtpcore.room.participant import Participant
    from rtpcore.room.room import Room
    from rtpcore.room.rules import Rules
    from rtpcore.wire.messages import AddTrackRequest

__all__ = ["add", "end", "refuse", "settle_codecs"]

_MAX_CODECS = 2
"""A track's own and a backup."""

_MAX_PENDING = 20
"""Tracks that one client may announce before media come for them, as many as LiveKit's server takes."""


def add(participant: Participant, request: AddTrackRequest, sid: str, rules: Rules) -> list[Effect]:
    """Take a track, or say why not."""
    reasons = RequestResponse.Reason
    if not participant.may_publish(request.source):
        return refuse(participant, request, reasons.NOT_ALLOWED, "this source may not be published")
    if request.type not in (TrackType.AUDIO, TrackType.VIDEO):
        return refuse(participant, request, reasons.UNSUPPORTED_TYPE, "publish audio or video")
    if len(participant.pending) >= _MAX_PENDING:
        return refuse(participant, request, reasons.LIMIT_EXCEEDED, f"{_MAX_PENDING} tracks wait for media")
    if request.sid:
        return _add_codec(participant, request, rules)
    known = next((one for one in participant.pending if one.cid == request.cid), None)
    if known is None:
        known = Track(participant, request.cid, describe(request, sid, rules))
        participant.pending.append(known)
    return [Tell(participant, _published(request.cid, known))]


def refuse(
    participant: Participant, request: AddTrackRequest, reason: RequestResponse.Reason, message: str
) -> list[Effect]:
    """Answer with the reason, and the request so that the client knows which one is meant."""
    response = SignalResponse()
    response.request_response.CopyFrom(RequestResponse(reason=reason, message=message, add_track=request))
    return [Tell(participant, response)]


def end(room: Room, track: Track) -> list[Effect]:
    """Take a track from its publisher and from all who have it."""
    track.publisher.tracks.pop(track.sid, None)
    track.is_published = False
    effects: list[Effect] = []
    for subscription in list(track.subscriptions.values()):
        effects += subscribing.end(room, subscription)
    return effects


def settle_codecs(room: Room, track: Track) -> list[Effect]:
    """One of a track's codecs came or went: choose whether the backup replaces the first, and tell its subscribers."""
    if len(track.mime_types) < 2 or not track.is_published:
        return []
    policies = BackupCodecPolicy
    is_small = len(room.participants) < room.rules.regression_threshold
    may = track.info.backup_codec_policy == policies.REGRESSION or (
        track.info.backup_codec_policy == policies.PREFER_REGRESSION and is_small
    )
    track.is_regressed = may and 1 in track.live
    return [Adjust(subscription) for subscription in track.subscriptions.values() if subscription.is_active]


def _add_codec(participant: Participant, request: AddTrackRequest, rules: Rules) -> list[Effect]:
    """Another codec of a track that is there (backup codec)."""
    track = participant.find(request.sid)
    if track is None:
        return refuse(participant, request, RequestResponse.Reason.NOT_FOUND, "no such track")
    known = {codec.mime_type: codec for codec in track.info.codecs}
    for codec in describe(request, track.sid, rules).codecs:
        if codec.mime_type in known:
            # Announced with the track as something that it could send; now it will.
            known[codec.mime_type].cid = codec.cid
        elif len(known) < _MAX_CODECS:
            track.info.codecs.append(codec)
    return [Tell(participant, _published(request.cid, track))]


def _published(cid: str, track: Track) -> SignalResponse:
    response = SignalResponse()
    response.track_published.cid = cid
    response.track_published.track.CopyFrom(track.info)
    return response
