"""Rooms on one forwarder: who publishes, who plays, and what follows from it. The one place where effects happen."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rtpcore import sdp
from rtpcore.connection import trickle
from rtpcore.errors import LimitError
from rtpcore.events import ChannelOpened, ReceiverEnded, TransportChanged
from rtpcore.parameters import SenderParameters, TrackParameters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

    from rtpcore.forwarder import Forwarder, Receiver, Sender, Transport

__all__ = ["Node", "Player", "Publisher", "Room", "Session"]

logger = logging.getLogger("rtpcore.node")

_MAX_ROOMS = 10_000
_MAX_SESSIONS = 1_000
"""Per room. A WHEP player is one transport; larger audiences belong on several servers."""


@dataclass(eq=False, slots=True)
class Session:
    """One WHIP or WHEP client: a transport and the negotiation behind it.

    Attributes:
        id: The resource's name in URLs; unguessable, because whoever knows it may end the session.
        room: The room's name.
        transport: The peer.
        negotiation: What was agreed so far.
        etag: Names the ICE session (RFC 9725 §4.3.1): our user name fragment.
    """

    id: str
    room: Room
    transport: Transport
    negotiation: sdp.Negotiation

    @property
    def etag(self) -> str:
        """The entity tag of the current ICE session."""
        return f'"{self.transport.local.ice.ufrag}"'


@dataclass(eq=False, slots=True)
class Publisher(Session):
    """A session that brings tracks; ``name`` is public, unlike ``id``."""

    name: str = ""
    receivers: list[Receiver] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Player(Session):
    """A session that takes tracks, of one publisher or of all that were there when it came."""

    senders: list[Sender] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class Room:
    """The sessions of one room, by id."""

    name: str
    publishers: dict[str, Publisher] = field(default_factory=dict)
    players: dict[str, Player] = field(default_factory=dict)

    def sessions(self) -> Iterator[Session]:
        """Publishers, then players."""
        yield from self.publishers.values()
        yield from self.players.values()


class Node:
    """Rooms, made when the first session comes and forgotten after the last has gone."""

    def __init__(self, forwarder: Forwarder) -> None:
        """Keep rooms on ``forwarder``, which the caller opens and closes."""
        self.forwarder = forwarder
        self.rooms: dict[str, Room] = {}
        self._by_transport: dict[str, Session] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Follow the forwarder's events from now on, as :meth:`run` does."""
        self._task = asyncio.create_task(self.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop following; rooms and sessions stay as they are, and end with the forwarder."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def run(self) -> None:
        """Follow the forwarder's events until it closes: sessions end with their transports."""
        async for event in self.forwarder.events(capacity=65_536):
            match event:
                case TransportChanged(transport, state, reason):
                    logger.info("transport %s is %s (%s)", transport.id, state, reason)
                    if state in ("failed", "closed"):
                        self._forget(transport)
                case ReceiverEnded(receiver):
                    logger.info("receiver %s has ended", receiver.id)
                case ChannelOpened(transport, label):
                    logger.debug("transport %s opened channel %s", transport.id, label)
                case _:
                    pass

    def publish(self, room_name: str, offer_text: str) -> tuple[Publisher, str]:
        """Take a publisher's offer (RFC 9725 §4.2); give the session and our answer.

        Raises:
            ProtocolError: The text is not SDP.
            ParametersError: The offer cannot be served.
            LimitError: The room, or the server, is full.
        """
        offer = sdp.parse(offer_text)
        room = self._room(room_name)
        transport = self.forwarder.add_transport(offer.transport)
        try:
            negotiation = sdp.Negotiation()
            answer = negotiation.answer(offer, transport.local)
            publisher = Publisher(_token(), room, transport, negotiation, name=secrets.token_hex(4))
            agreed = negotiation.agreement
            if agreed is not None:
                publisher.receivers = [transport.add_receiver(track) for track in agreed.tracks]
        except Exception:
            transport.close()
            raise
        self.rooms[room.name] = room
        room.publishers[publisher.id] = publisher
        self._by_transport[transport.id] = publisher
        return publisher, str(answer)

    def play(self, room_name: str, offer_text: str, publisher_name: str | None = None) -> tuple[Player, str] | None:
        """Take a player's offer (draft-ietf-wish-whep §4); give session and answer, None where nobody publishes.

        Args:
            room_name: Whom to play.
            offer_text: Its receiving sections are filled in the order of the publishers.
            publisher_name: One publisher only.

        Raises:
            ProtocolError: The text is not SDP.
            ParametersError: The offer cannot be served.
            LimitError: The room, or the server, is full.
        """
        offer = sdp.parse(offer_text)
        room = self._room(room_name)
        publishers = [p for p in room.publishers.values() if publisher_name in (None, p.name)]
        # Those whose path is lost come last: a section given to them may stay dark.
        publishers.sort(key=lambda publisher: publisher.transport.state == "disconnected")
        if not publishers:
            return None
        transport = self.forwarder.add_transport(offer.transport)
        try:
            negotiation = sdp.Negotiation()
            player = Player(_token(), room, transport, negotiation, sources={p.id for p in publishers})
            chosen = list(_assign(offer.wanted, publishers))
            answer = negotiation.answer(offer, transport.local, senders=[sender for sender, _ in chosen], receive=())
            sources = {sender.mid: receiver for sender, receiver in chosen}
            agreed = negotiation.agreement
            for track in agreed.senders if agreed is not None else ():
                player.senders.append(transport.add_sender(sources[track.mid], track))
            for publisher in publishers:
                transport.follow_data(publisher.transport)
                publisher.transport.follow_data(transport)
        except Exception:
            transport.close()
            raise
        room.players[player.id] = player
        self._by_transport[transport.id] = player
        return player, str(answer)

    def find(self, room_name: str, session_id: str) -> Session | None:
        """The session with this id."""
        room = self.rooms.get(room_name)
        if room is None:
            return None
        return room.publishers.get(session_id) or room.players.get(session_id)

    def trickle(self, session: Session, fragment_text: str) -> sdp.Fragment | None:
        """Take candidates, or new ICE credentials (RFC 9725 §4.3); after a restart our end's fragment is the answer.

        Raises:
            ProtocolError: The text is no fragment.
            ParametersError: The fragment has a user name fragment without a password.
        """
        return trickle(session.negotiation, session.transport, fragment_text)

    def end(self, session: Session) -> None:
        """End a session: its transport says goodbye, what it published ends for everybody."""
        self._forget(session.transport)
        session.transport.close()

    def _room(self, name: str) -> Room:
        room = self.rooms.get(name)
        if room is not None:
            if len(room.publishers) + len(room.players) >= _MAX_SESSIONS:
                raise LimitError("sessions in a room", _MAX_SESSIONS)
            return room
        if len(self.rooms) >= _MAX_ROOMS:
            raise LimitError("rooms", _MAX_ROOMS)
        return Room(name)

    def _forget(self, transport: Transport) -> None:
        session = self._by_transport.pop(transport.id, None)
        if session is None:
            return
        room = session.room
        room.publishers.pop(session.id, None)
        room.players.pop(session.id, None)
        for player in [player for player in room.players.values() if session.id in player.sources]:
            player.sources.discard(session.id)
            if not player.sources:
                # Players have no other sign that nothing more will come: RTCP BYE does not end a browser's track.
                self.end(player)
        if not room.publishers and not room.players:
            self.rooms.pop(room.name, None)


def _token() -> str:
    return secrets.token_urlsafe(16)


def _assign(
    wanted: tuple[TrackParameters, ...], publishers: list[Publisher]
) -> Iterator[tuple[SenderParameters, Receiver]]:
    """Deal the publishers' tracks out to the sections that can take them, kind by kind."""
    free = list(wanted)
    for publisher in publishers:
        for receiver in publisher.receivers:
            for section in free:
                codecs = tuple(
                    codec
                    for codec in section.codecs
                    if any(sdp.is_same_format(codec, other) for other in receiver.track.codecs)
                )
                if section.kind != receiver.track.kind or not codecs:
                    continue
                free.remove(section)
                has_rtx = any(codec.rtx is not None for codec in codecs)
                yield (
                    SenderParameters(
                        mid=section.mid,
                        kind=section.kind,
                        codecs=codecs,
                        ssrc=secrets.randbelow(2**32 - 1) + 1,
                        rtx_ssrc=secrets.randbelow(2**32 - 1) + 1 if has_rtx else None,
                        stream_id=publisher.name,
                        track_id=f"{publisher.name}-{receiver.track.mid}",
                        cname=publisher.name,
                    ),
                    receiver,
                )
                break
