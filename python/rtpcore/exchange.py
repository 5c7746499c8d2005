"""The rooms' data: a hub for each room, a member for each participant, and what the server itself says there."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from rtpcore.errors import RpcFailure
from rtpcore.wire.messages import DataPacket, ParticipantInfo

if TYPE_CHECKING:
    from collections.abc import Collection

    from rtpcore.forwarder import Forwarder, Transport
    from rtpcore.hub import DataTrack as HubTrack
    from rtpcore.hub import Hub, Member
    from rtpcore.room import DataTrack, Participant, Room

__all__ = ["CHANNELS", "Exchange"]

CHANNELS = {DataPacket.Kind.RELIABLE: "_reliable", DataPacket.Kind.LOSSY: "_lossy"}
"""By the kind of a packet, the label of the data channel that carries it."""
_ACK_PATIENCE_S = 2.0
"""How long a participant may take to say that it heard a request, as LiveKit's clients wait."""
_MAX_PAYLOAD = 15 * 1024
"""Bytes of an RPC payload (LiveKit's limit for the first version of RPC)."""

CONNECTION_TIMEOUT, RESPONSE_TIMEOUT = 1501, 1502
RECIPIENT_DISCONNECTED, RECIPIENT_NOT_FOUND, REQUEST_TOO_LARGE = 1503, 1401, 1402


class Exchange:
    """Data of all rooms of a server."""

    def __init__(self, forwarder: Forwarder) -> None:
        """Use the hubs of ``forwarder``."""
        self._forwarder = forwarder
        self._hubs: dict[str, Hub] = {}
        self._members: dict[str, Member] = {}
        self._tracks: dict[str, HubTrack] = {}
        self._ways: dict[str, tuple[Transport | None, Transport | None]] = {}

    def join(self, room: Room, participant: Participant) -> None:
        """A participant is in a room: what it misses from now on it will be told."""
        hub = self._hubs.get(room.sid)
        if hub is None:
            hub = self._hubs[room.sid] = self._forwarder.add_hub()
        self._members[participant.sid] = hub.add_member(
            sid=participant.sid,
            identity=participant.identity,
            may_publish=participant.permission.can_publish_data,
            is_hidden=participant.is_hidden,
            is_agent=participant.kind == ParticipantInfo.Kind.AGENT,
        )

    def expect(self, participant: Participant) -> Transport:
        """A transport for a participant, where its data need not cross to another worker."""
        return self._forwarder.add_transport(beside=self._members.get(participant.sid))

    def connect(self, participant: Participant, *, input: Transport | None, output: Transport | None) -> None:
        """A participant speaks and hears by these transports from now on."""
        member = self._members.get(participant.sid)
        if member is not None and self._ways.get(participant.sid) != (input, output):
            self._ways[participant.sid] = (input, output)
            member.set_transports(input=input, output=output)

    def activate(self, participant: Participant) -> None:
        """A participant hears, beginning with what it missed since it joined."""
        member = self._members.get(participant.sid)
        if member is not None:
            member.activate()

    def open_track(self, track: DataTrack) -> None:
        """A data track is published."""
        member = self._members.get(track.publisher.sid)
        if member is not None:
            self._tracks[track.info.sid] = member.add_track(track.info.pub_handle)

    def shut_track(self, track: DataTrack) -> None:
        """A data track has ended."""
        known = self._tracks.pop(track.info.sid, None)
        if known is not None:
            known.close()

    def route_track(self, track: DataTrack, subscriber: Participant, handle: int | None) -> None:
        """Give somebody a data track under a number of its own, or no longer."""
        known, member = self._tracks.get(track.info.sid), self._members.get(subscriber.sid)
        if known is None or member is None:
            return
        if handle is None:
            member.unsubscribe(known)
        else:
            member.subscribe(known, handle)

    def member(self, participant: Participant) -> Member | None:
        """Who speaks and hears for a participant; None once it has gone."""
        return self._members.get(participant.sid)

    def update(self, participant: Participant) -> None:
        """What a participant may do has changed."""
        member = self._members.get(participant.sid)
        if member is not None:
            member.update(may_publish=participant.permission.can_publish_data, is_hidden=participant.is_hidden)

    def leave(self, participant: Participant) -> None:
        """A participant is gone."""
        self._ways.pop(participant.sid, None)
        member = self._members.pop(participant.sid, None)
        if member is not None:
            member.close()

    def close(self, room: Room) -> None:
        """A room is gone."""
        hub = self._hubs.pop(room.sid, None)
        if hub is not None:
            hub.close()

    def last_sequence(self, participant: Participant) -> int:
        """The number of the last reliable packet taken from a participant, 0 before the first."""
        member = self._members.get(participant.sid)
        return 0 if member is None else member.last_sequence

    def send(self, room: Room, packet: DataPacket, to: Collection[Participant] | None = None) -> None:
        """Say something in nobody's name, to all or to some. Raises LimitError where it is too long."""
        hub = self._hubs.get(room.sid)
        if hub is not None:
            members = None if to is None else [self._members[one.sid] for one in to if one.sid in self._members]
            hub.send(packet.SerializeToString(), label=CHANNELS[packet.kind], to=members)

    async def perform_rpc(
        self,
        room: Room,
        participant: Participant,
        method: str,
        payload: str,
        *,
        timeout_s: float,
        caller: Participant | None = None,
    ) -> str:
        """Call a method that a participant's client has registered, and give its answer.

        Args:
            room: Where.
            participant: Whose client.
            method: Its name.
            payload: At most 15 KiB of UTF-8.
            timeout_s: How long the answer may take.
            caller: The participant in this process that calls; None for the server itself.

        Raises:
            RpcFailure: It did not answer in time, has no such method, or its method failed.
        """
        hub, member = self._hubs.get(room.sid), self._members.get(participant.sid)
        if hub is None or member is None:
            raise RpcFailure(RECIPIENT_NOT_FOUND, "Recipient not found")
        if len(payload.encode()) > _MAX_PAYLOAD:
            raise RpcFailure(REQUEST_TOO_LARGE, "Request payload too large")
        packet = DataPacket(kind=DataPacket.Kind.RELIABLE, participant_identity="server")
        packet.destination_identities.append(participant.identity)
        request = packet.rpc_request
        request.id, request.method, request.payload = secrets.token_hex(16), method, payload
        request.response_timeout_ms, request.version = int(timeout_s * 1000), 1
        replies = hub.replies(request.id)
        speaker = None if caller is None else self._members.get(caller.sid)
        if speaker is not None:
            speaker.say(packet.SerializeToString())
        else:
            hub.send(packet.SerializeToString(), to=[member])
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout_s
        patience, is_heard = min(_ACK_PATIENCE_S, timeout_s), False
        try:
            while True:
                reply = DataPacket.FromString((await asyncio.wait_for(anext(replies), patience)).payload)
                if reply.HasField("rpc_ack"):
                    is_heard, patience = True, max(0.0, ends_at - loop.time())
                elif reply.rpc_response.HasField("error"):
                    error = reply.rpc_response.error
                    raise RpcFailure(error.code, error.message, error.data)
                else:
                    return reply.rpc_response.payload
        except StopAsyncIteration:
            raise RpcFailure(RECIPIENT_DISCONNECTED, "Recipient disconnected") from None
        except (TimeoutError, asyncio.TimeoutError):
            if is_heard:
                raise RpcFailure(RESPONSE_TIMEOUT, "Response timeout") from None
            raise RpcFailure(CONNECTION_TIMEOUT, "Connection timeout") from None
        finally:
            await replies.aclose()
