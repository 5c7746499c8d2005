"""Who would join what, and with what: by its token, by what its client asks for, and by the server's configuration."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rtpcore.errors import JoinError
from rtpcore.room import Participant, Room, Rules
from rtpcore.wire import ids

if TYPE_CHECKING:
    from rtpcore.livekit_config import LiveKitConfig, SessionLimits
    from rtpcore.wire.join import JoinParameters
    from rtpcore.wire.messages import RoomConfiguration
    from rtpcore.wire.token import Claims

__all__ = ["check_length", "new_room", "participant_of", "rules_of"]


def participant_of(
    claims: Claims, parameters: JoinParameters, now_ms: int, limit: SessionLimits, rules: Rules
) -> Participant:
    """Somebody who is in no room yet. Raises JoinError with the HTTP status that says why it may not join."""
    grant = claims.video
    if grant is None or not grant.room_join:
        raise JoinError(401, "permissions denied")
    check_length("a room name", grant.room, limit.max_room_name_length)
    identity = claims.identity
    check_length("an identity", identity, limit.max_participant_identity_length)
    if parameters.publish_suffix:
        identity = f"{identity}#{parameters.publish_suffix}"
    permission = grant.permission
    reason = rules.why_too_long(parameters.metadata or "", dict(parameters.attributes), claims.name)
    if reason:
        raise JoinError(400, reason)
    if (parameters.metadata or parameters.attributes) and not permission.can_update_metadata:
        raise JoinError(401, "the token does not grant canUpdateOwnMetadata")
    return Participant(
        sid=ids.participant_sid(ids.secret),
        identity=identity,
        joined_at_ms=now_ms,
        name=claims.name,
        metadata=parameters.metadata or claims.metadata,
        attributes={**claims.attributes, **parameters.attributes},
        kind=claims.participant_kind,
        kind_details=claims.participant_kind_details,
        permission=permission,
        client=parameters.client,
        is_dependent=claims.is_dependent,
        auto_subscribe=parameters.auto_subscribe and not parameters.publish_suffix,
        auto_subscribe_data=parameters.auto_subscribe_data_track and not parameters.publish_suffix,
        adaptive_stream=parameters.adaptive_stream,
    )


def new_room(name: str, wish: RoomConfiguration, settings: LiveKitConfig, rules: Rules, now_ms: int) -> Room:
    """A room as somebody wishes it, and where nothing is wished as the configuration has it."""
    usual = settings.room
    rules = replace(rules, sync_streams=rules.sync_streams or wish.sync_streams)
    return Room(
        name,
        ids.room_sid(ids.secret),
        now_ms,
        empty_timeout=wish.empty_timeout or usual.empty_timeout_s,
        departure_timeout=wish.departure_timeout or usual.departure_timeout_s,
        max_participants=wish.max_participants or usual.max_participants,
        metadata=wish.metadata,
        agents=tuple(wish.agents),
        rules=rules.delayed(wish.min_playout_delay, wish.max_playout_delay),
    )


def rules_of(settings: LiveKitConfig) -> Rules:
    """What rooms let their participants do, by the configuration."""
    limit, delay = settings.limit, settings.room.playout_delay
    rules = Rules(
        enabled_codecs=frozenset(codec.mime.lower() for codec in settings.room.enabled_codecs),
        allows_remote_unmute=settings.room.enable_remote_unmute,
        sync_streams=settings.room.sync_streams,
        has_red=settings.audio.active_red_encoding,
        has_data_tracks=settings.enable_data_tracks,
        dynacast_pause_ms=int(settings.video.dynacast_pause_delay_s * 1000),
        regression_threshold=settings.video.codec_regression_threshold,
        max_metadata=limit.max_metadata_size,
        max_attributes=limit.max_attributes_size,
        max_name=limit.max_participant_name_length,
        max_update=settings.room.update_batch_target_size,
        max_video_subscriptions=limit.subscription_limit_video,
        max_audio_subscriptions=limit.subscription_limit_audio,
    )
    return rules.delayed(delay.min_ms, delay.max_ms) if delay.enabled else rules


def check_length(what: str, text: str, most: int) -> None:
    """Raise JoinError unless a text has one byte, and at most so many; 0 for any number."""
    if not text or 0 < most < len(text.encode()):
        raise JoinError(400, f"{what} of 1 to {most} bytes is needed" if most else f"{what} is needed")
