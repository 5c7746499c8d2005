"""RoomService, LiveKit's server API for rooms and participants, at ``/twirp/livekit.RoomService/{Method}``.

Every call needs a token: `roomCreate` and `roomList` for rooms, `roomAdmin` with the room's name for what is in one. A
call that follows another sees what that one did.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from rtpcore.errors import JoinError, LimitError, RpcFailure
from rtpcore.host import now_ms
from rtpcore.http.calls import administered, check, check_size, room_of
from rtpcore.wire.messages import (
    CreateRoomRequest,
    DataPacket,
    DeleteRoomRequest,
    DeleteRoomResponse,
    DisconnectReason,
    ForwardParticipantRequest,
    ListParticipantsRequest,
    ListParticipantsResponse,
    ListRoomsRequest,
    ListRoomsResponse,
    Message,
    MoveParticipantRequest,
    MuteRoomTrackRequest,
    MuteRoomTrackResponse,
    ParticipantInfo,
    PerformRpcRequest,
    PerformRpcResponse,
    RemoveParticipantResponse,
    RoomConfiguration,
    RoomParticipantIdentity,
    SendDataRequest,
    SendDataResponse,
    UpdateParticipantRequest,
    UpdateRoomMetadataRequest,
    UpdateSubscription,
    UpdateSubscriptionsRequest,
    UpdateSubscriptionsResponse,
)
from rtpcore.wire.messages import Room as RoomInfo
from rtpcore.wire.twirp import TwirpError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rtpcore.host import Host
    from rtpcore.http.calls import Service
    from rtpcore.room import Participant, Room
    from rtpcore.wire.token import VideoGrant

__all__ = ["NAME", "NAMES", "methods"]

NAME = "livekit.RoomService"


def methods(host: Host) -> Service:
    """What RoomService can be called for."""
    return {name: (kind, partial(action, host)) for name, (kind, action) in _METHODS.items()}


##### Rooms


def _create_room(host: Host, grant: VideoGrant | None, request: CreateRoomRequest) -> Message:
    check(grant is not None and grant.room_create)
    if not request.name:
        raise TwirpError("invalid_argument", "name is required")
    check_size(host.rules.why_too_long(request.metadata))
    try:
        room = host.ensure_room(request.name, RoomConfiguration(agents=request.agents))
    except JoinError as error:
        raise TwirpError("resource_exhausted", error.reason) from error
    room.empty_timeout = request.empty_timeout or room.empty_timeout
    room.departure_timeout = request.departure_timeout or room.departure_timeout
    room.max_participants = request.max_participants or room.max_participants
    if request.sync_streams:
        room.rules = replace(room.rules, sync_streams=True)
    room.rules = room.rules.delayed(request.min_playout_delay, request.max_playout_delay)
    if request.metadata and request.metadata != room.metadata:
        host.perform(room, room.update_room(request.metadata))
    return room.info()


def _list_rooms(host: Host, grant: VideoGrant | None, request: ListRoomsRequest) -> Message:
    check(grant is not None and grant.room_list)
    names = set(request.names)
    return ListRoomsResponse(rooms=[room.info() for room in host.rooms.values() if not names or room.name in names])


def _delete_room(host: Host, grant: VideoGrant | None, request: DeleteRoomRequest) -> Message:
    check(grant is not None and grant.room_create)
    host.close_room(room_of(host, request.room), DisconnectReason.ROOM_DELETED)
    return DeleteRoomResponse()


def _update_room_metadata(host: Host, grant: VideoGrant | None, request: UpdateRoomMetadataRequest) -> RoomInfo:
    room = administered(host, grant, request.room)
    check_size(room.rules.why_too_long(request.metadata))
    host.perform(room, room.update_room(request.metadata))
    return room.info()


##### Participants


def _list_participants(host: Host, grant: VideoGrant | None, request: ListParticipantsRequest) -> Message:
    room = administered(host, grant, request.room)
    return ListParticipantsResponse(participants=[one.info() for one in room.participants.values()])


def _get_participant(host: Host, grant: VideoGrant | None, request: RoomParticipantIdentity) -> Message:
    return _participant(administered(host, grant, request.room), request.identity).info()


def _remove_participant(host: Host, grant: VideoGrant | None, request: RoomParticipantIdentity) -> Message:
    room = administered(host, grant, request.room)
    participant = _participant(room, request.identity)
    host.perform(room, room.remove(participant, DisconnectReason.PARTICIPANT_REMOVED, now_ms()))
    return RemoveParticipantResponse()


def _mute(host: Host, grant: VideoGrant | None, request: MuteRoomTrackRequest) -> Message:
    room = administered(host, grant, request.room)
    track = _participant(room, request.identity).find(request.track_sid)
    if track is None:
        raise TwirpError("not_found", "track does not exist")
    if not request.muted and track.info.muted and not room.rules.allows_remote_unmute:
        raise TwirpError("failed_precondition", "remote unmute not enabled")
    if request.muted != track.info.muted:
        host.perform(room, room.mute(track, is_muted=request.muted, by_server=True))
    return MuteRoomTrackResponse(track=track.info)


def _update_participant(host: Host, grant: VideoGrant | None, request: UpdateParticipantRequest) -> ParticipantInfo:
    room = administered(host, grant, request.room)
    participant = _participant(room, request.identity)
    check_size(room.rules.why_too_long(request.metadata, dict(request.attributes), request.name))
    effects = room.update_participant(
        participant,
        name=request.name,
        metadata=request.metadata,
        attributes=request.attributes,
        permission=request.permission if request.HasField("permission") else None,
    )
    host.perform(room, effects)
    return participant.info()


def _update_subscriptions(host: Host, grant: VideoGrant | None, request: UpdateSubscriptionsRequest) -> Message:
    room = administered(host, grant, request.room)
    wish = UpdateSubscription(
        track_sids=request.track_sids, subscribe=request.subscribe, participant_tracks=request.participant_tracks
    )
    host.perform(room, room.update_subscription(_participant(room, request.identity), wish, now_ms()))
    return UpdateSubscriptionsResponse()


def _send_data(host: Host, grant: VideoGrant | None, request: SendDataRequest) -> Message:
    room = administered(host, grant, request.room)
    if request.nonce and len(request.nonce) != 16:
        raise TwirpError("invalid_argument", "nonce should be 16-bytes or not present")
    packet = DataPacket(kind=request.kind)
    packet.user.payload = request.data
    if request.HasField("topic"):
        packet.user.topic = request.topic
    packet.user.nonce = request.nonce
    wanted = {*request.destination_identities, *request.destination_sids}
    to = [one for one in room.participants.values() if wanted & {one.identity, one.sid}] if wanted else None
    try:
        host.exchange.send(room, packet, to)
    except LimitError as error:
        raise TwirpError("invalid_argument", str(error)) from error
    return SendDataResponse()


async def _perform_rpc(host: Host, grant: VideoGrant | None, request: PerformRpcRequest) -> Message:
    room = administered(host, grant, request.room)
    participant = _participant(room, request.destination_identity)
    timeout_s = request.response_timeout_ms / 1000 if request.response_timeout_ms else _RPC_TIMEOUT_S
    try:
        answer = await host.exchange.perform_rpc(
            room, participant, request.method, request.payload, timeout_s=timeout_s
        )
    except RpcFailure as error:
        code = "deadline_exceeded" if error.code in (1501, 1502) else "aborted"
        meta = {"rpc_code": str(error.code), "rpc_data": error.data}
        raise TwirpError(code, error.message, meta) from error
    return PerformRpcResponse(payload=answer)


_RPC_TIMEOUT_S = 10.0
"""How long a method may take unless the caller says otherwise, LiveKit's value."""


def _only_in_the_cloud(host: Host, grant: VideoGrant | None, request: Message) -> Message:
    raise TwirpError("unimplemented", "a room is served by one server here: nobody can be moved to another")


def _participant(room: Room, identity: str) -> Participant:
    participant = room.participants.get(identity)
    if participant is None:
        raise TwirpError("not_found", "participant does not exist")
    return participant


_METHODS: dict[
    str, tuple[Callable[[], Any], Callable[[Host, VideoGrant | None, Any], Message | Awaitable[Message]]]
] = {
    "CreateRoom": (CreateRoomRequest, _create_room),
    "ListRooms": (ListRoomsRequest, _list_rooms),
    "DeleteRoom": (DeleteRoomRequest, _delete_room),
    "UpdateRoomMetadata": (UpdateRoomMetadataRequest, _update_room_metadata),
    "ListParticipants": (ListParticipantsRequest, _list_participants),
    "GetParticipant": (RoomParticipantIdentity, _get_participant),
    "RemoveParticipant": (RoomParticipantIdentity, _remove_participant),
    "MutePublishedTrack": (MuteRoomTrackRequest, _mute),
    "UpdateParticipant": (UpdateParticipantRequest, _update_participant),
    "UpdateSubscriptions": (UpdateSubscriptionsRequest, _update_subscriptions),
    "SendData": (SendDataRequest, _send_data),
    "PerformRpc": (PerformRpcRequest, _perform_rpc),
    "ForwardParticipant": (ForwardParticipantRequest, _only_in_the_cloud),
    "MoveParticipant": (MoveParticipantRequest, _only_in_the_cloud),
}

NAMES = frozenset(_METHODS)
"""The methods that there are."""
