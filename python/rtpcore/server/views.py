"""Rooms, participants and tracks as an application sees them: what they are now, and what can be done to them.

A view is a window: what it shows is what is so at that moment, and it stays what it was once its room or participant
has gone. Two views of the same thing are equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtpcore import room as state
from rtpcore.errors import ClosedError, ConfigError, ParametersError
from rtpcore.explaining import Explanation, explain
from rtpcore.host import Host, now_ms
from rtpcore.policy import Permission, kind_name, source_name
from rtpcore.wire.messages import DataPacket, DisconnectReason, ParticipantInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Participant", "Room", "Rooms", "Track", "packet_of"]


@dataclass(frozen=True, slots=True, repr=False)
class Room:
    """A room: who is in it, and what can be said to all of them."""

    _host: Host
    _state: state.Room

    def __repr__(self) -> str:
        """The sid; a name may say more than a log should."""
        return f"<Room {self.sid}>"

    @property
    def name(self) -> str:
        """Unique among the rooms that there are."""
        return self._state.name

    @property
    def sid(self) -> str:
        """Unique for ever: a room that is made again has another one."""
        return self._state.sid

    @property
    def metadata(self) -> str:
        """The application's."""
        return self._state.metadata

    @property
    def created_at_ms(self) -> int:
        """Unix time."""
        return self._state.created_at_ms

    @property
    def max_participants(self) -> int:
        """Agents and recorders not counted; 0 for any number."""
        return self._state.max_participants

    @property
    def is_open(self) -> bool:
        """Whether it is there still."""
        return self._host.rooms.get(self.name) is self._state

    @property
    def participants(self) -> Mapping[str, Participant]:
        """Everybody in it by identity, hidden ones too, in the order they came."""
        return {name: Participant(self._host, self._state, one) for name, one in self._state.participants.items()}

    @property
    def speakers(self) -> tuple[Participant, ...]:
        """Those who speak now, the loudest first."""
        return tuple(
            sorted((one for one in self.participants.values() if one.is_speaking), key=lambda one: -one.audio_level)
        )

    def set_metadata(self, metadata: str) -> None:
        """Change it, and tell everybody. Raises ClosedError, and ParametersError where it is longer than it may be."""
        self._check_open()
        _check_size(self._state.rules.why_too_long(metadata))
        self._host.perform(self._state, self._state.update_room(metadata))

    def send(
        self, data: bytes | str, *, topic: str = "", to: Iterable[str] | None = None, is_reliable: bool = True
    ) -> None:
        """Say something in the server's name; clients get a data packet without a sender.

        Args:
            data: Bytes, or text as UTF-8.
            topic: What it is about, for those who listen for one thing.
            to: Identities; None for all. Who is not there is passed over.
            is_reliable: Else it may be lost, and is never late.

        Raises:
            ClosedError: The room is gone.
            LimitError: It is longer than any client takes.
        """
        self._check_open()
        wanted = None if to is None else set(to)
        people = [one for one in self._state.participants.values() if wanted is not None and one.identity in wanted]
        packet = packet_of(data, topic, is_reliable=is_reliable)
        self._host.exchange.send(self._state, packet, None if wanted is None else people)

    def close(self) -> None:
        """Send everybody away and forget the room. Idempotent."""
        if self.is_open:
            self._host.close_room(self._state, DisconnectReason.ROOM_DELETED)

    def _check_open(self) -> None:
        if not self.is_open:
            raise ClosedError("room")


class Rooms(Mapping[str, Room]):
    """The rooms that there are, by name."""

    def __init__(self, host: Host) -> None:
        """Show those of ``host``."""
        self._host = host

    def __getitem__(self, name: str) -> Room:
        """The room with this name. Raises KeyError."""
        return Room(self._host, self._host.rooms[name])

    def __iter__(self) -> Iterator[str]:
        """Names, in the order the rooms were made."""
        return iter(tuple(self._host.rooms))

    def __len__(self) -> int:
        """How many."""
        return len(self._host.rooms)


@dataclass(frozen=True, slots=True, repr=False)
class Participant:
    """Somebody in a room."""

    _host: Host
    _room: state.Room
    _state: state.Participant

    def __repr__(self) -> str:
        """The sid; an identity may say more than a log should."""
        return f"<Participant {self.sid}>"

    @property
    def room(self) -> Room:
        """Where."""
        return Room(self._host, self._room)

    @property
    def sid(self) -> str:
        """Unique for ever: who joins again has another one."""
        return self._state.sid

    @property
    def identity(self) -> str:
        """Unique in the room."""
        return self._state.identity

    @property
    def name(self) -> str:
        """What others call it."""
        return self._state.name

    @property
    def metadata(self) -> str:
        """The application's."""
        return self._state.metadata

    @property
    def attributes(self) -> Mapping[str, str]:
        """The application's, by name: a copy."""
        return dict(self._state.attributes)

    @property
    def kind(self) -> str:
        """``standard``, ``ingress``, ``egress``, ``sip``, ``agent``, ``connector`` or ``bridge``."""
        return ParticipantInfo.Kind.Name(self._state.kind).lower()

    @property
    def permission(self) -> Permission:
        """What it may do."""
        return Permission.of(self._state.permission)

    @property
    def joined_at_ms(self) -> int:
        """Unix time."""
        return self._state.joined_at_ms

    @property
    def is_active(self) -> bool:
        """Whether its media and data can flow: its client has connected."""
        return self._state.state == ParticipantInfo.State.ACTIVE

    @property
    def is_here(self) -> bool:
        """Whether it is in the room still."""
        return self._room.participants.get(self.identity) is self._state

    @property
    def audio_level(self) -> float:
        """How loud it speaks, 0 for not at all, to 1."""
        return self._state.level

    @property
    def is_speaking(self) -> bool:
        """Whether it speaks."""
        return self._state.level > 0

    @property
    def tracks(self) -> tuple[Track, ...]:
        """What it publishes, oldest first."""
        return tuple(Track(self._host, self._room, track) for track in self._state.tracks.values())

    def why(self) -> Explanation:
        """Why it gets what it gets: its path, and each track that it is subscribed to; nothing once it has gone.

        It takes a snapshot of everything that the forwarder counts: ask once a second or less.
        """
        session = self._host.sessions.get(self._state.sid)
        return explain(self._state, None if session is None else session.peer, self._host.forwarder.snapshot())

    def update(
        self,
        *,
        name: str = "",
        metadata: str = "",
        attributes: Mapping[str, str] | None = None,
        permission: Permission | None = None,
    ) -> None:
        """Change what is not empty, and tell everybody.

        Args:
            name: What others call it.
            metadata: The application's.
            attributes: Beside those it has; one set to nothing is removed.
            permission: All of it. Tracks that it may not publish or receive any more end at once.

        Raises:
            ClosedError: It has gone.
            ParametersError: Something is longer than it may be.
        """
        self._check_here()
        _check_size(self._room.rules.why_too_long(metadata, dict(attributes or {}), name))
        message = None if permission is None else permission.over(self._state.permission)
        effects = self._room.update_participant(
            self._state, name=name, metadata=metadata, attributes=attributes, permission=message
        )
        self._host.perform(self._room, effects)

    def send(self, data: bytes | str, *, topic: str = "", is_reliable: bool = True) -> None:
        """Say something to it in the server's name, as :meth:`Room.send`. Raises ClosedError, LimitError."""
        self._check_here()
        packet = packet_of(data, topic, is_reliable=is_reliable)
        self._host.exchange.send(self._room, packet, [self._state])

    async def perform_rpc(self, method: str, payload: str = "", *, timeout_s: float = 10.0) -> str:
        """Call a method that its client has registered, and give its answer.

        Args:
            method: Its name.
            payload: At most 15 KiB of UTF-8.
            timeout_s: How long the answer may take.

        Raises:
            ClosedError: It has gone.
            RpcFailure: It did not answer in time, has no such method, or its method failed.
        """
        self._check_here()
        return await self._host.exchange.perform_rpc(self._room, self._state, method, payload, timeout_s=timeout_s)

    def remove(self) -> None:
        """Send it away for good. Idempotent; with a token that is still good it can join again."""
        if self.is_here:
            effects = self._room.remove(self._state, DisconnectReason.PARTICIPANT_REMOVED, now_ms())
            self._host.perform(self._room, effects)

    def _check_here(self) -> None:
        if not self.is_here:
            raise ClosedError("participant")


@dataclass(frozen=True, slots=True, repr=False)
class Track:
    """A track that a participant publishes."""

    _host: Host
    _room: state.Room
    _state: state.Track

    def __repr__(self) -> str:
        """The sid."""
        return f"<Track {self.sid}>"

    @property
    def publisher(self) -> Participant:
        """Whose."""
        return Participant(self._host, self._room, self._state.publisher)

    @property
    def sid(self) -> str:
        """Unique for ever."""
        return self._state.sid

    @property
    def name(self) -> str:
        """What its client calls it."""
        return self._state.info.name

    @property
    def kind(self) -> str:
        """``audio`` or ``video``."""
        return kind_name(self._state.info.type)

    @property
    def source(self) -> str:
        """``camera``, ``microphone``, ``screen_share``, ``screen_share_audio`` or ``unknown``."""
        return source_name(self._state.info.source)

    @property
    def mime_type(self) -> str:
        """Its codec, such as ``video/VP8``."""
        return self._state.info.mime_type

    @property
    def width(self) -> int:
        """Pixels, as its client announced; 0 for audio."""
        return self._state.info.width

    @property
    def height(self) -> int:
        """Likewise."""
        return self._state.info.height

    @property
    def is_muted(self) -> bool:
        """Whether its client, or the server, has muted it."""
        return self._state.info.muted

    @property
    def is_published(self) -> bool:
        """Whether it is there still."""
        return self._state.is_published

    def mute(self) -> None:
        """Mute it for everybody; its client is told. Raises ClosedError."""
        self._check_published()
        if not self.is_muted:
            self._host.perform(self._room, self._room.mute(self._state, is_muted=True, by_server=True))

    def unmute(self) -> None:
        """Ask its client to unmute it; its user need not agree.

        Raises:
            ClosedError: It has ended.
            ConfigError: Servers unmute nobody unless ``room.enable_remote_unmute`` is set.
        """
        self._check_published()
        if not self._room.rules.allows_remote_unmute:
            raise ConfigError("room.enable_remote_unmute", "is not set, so participants alone unmute themselves")
        if self.is_muted:
            self._host.perform(self._room, self._room.mute(self._state, is_muted=False, by_server=True))

    def _check_published(self) -> None:
        if not self.is_published:
            raise ClosedError("track")


def _check_size(problem: str) -> None:
    if problem:
        raise ParametersError(problem, "make it shorter, or raise the limit in the settings")


def packet_of(data: bytes | str, topic: str, *, is_reliable: bool) -> DataPacket:
    """What clients know as a data message."""
    packet = DataPacket(kind=DataPacket.Kind.RELIABLE if is_reliable else DataPacket.Kind.LOSSY)
    packet.user.payload = data.encode() if isinstance(data, str) else data
    if topic:
        packet.user.topic = topic
    return packet
