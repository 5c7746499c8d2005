"""Rooms for LiveKit clients on one forwarder: the place where a room's effects happen.

::

    request ──▶ Session ──▶ Room ──▶ effects ──▶ Host.perform ──▶ other sessions, transports, senders
                                                     ▲
                  forwarder's events ────────────────┘
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from rtpcore.errors import ClosedError, JoinError, LimitError, ParametersError, ProtocolError
from rtpcore.events import AudioLevelChanged, BandwidthChanged, EncodingStarted, StreamPaused, TransportChanged
from rtpcore.exchange import Exchange
from rtpcore.joining import new_room, participant_of, rules_of
from rtpcore.judging import Judge
from rtpcore.livekit_config import LiveKitConfig
from rtpcore.load import Load
from rtpcore.policy import Gate, Policy
from rtpcore.room import (
    Adjust,
    Changed,
    Emptied,
    Happened,
    OpenData,
    Participant,
    Removed,
    Room,
    RouteData,
    ShutData,
    Subscribe,
    Tell,
    Unsubscribe,
)
from rtpcore.room.quality import INTERVAL_MS
from rtpcore.session import Session, begin_anew
from rtpcore.welcome import Welcome, renewed
from rtpcore.wire import ids
from rtpcore.wire.ice_servers import ice_servers
from rtpcore.wire.messages import (
    DisconnectReason,
    ICEServer,
    ParticipantInfo,
    RoomConfiguration,
    SignalRequest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from typing_extensions import Self

    from rtpcore.copies import Sources
    from rtpcore.forwarder import Forwarder, Transport
    from rtpcore.policy import Admission
    from rtpcore.room import Effect, Track
    from rtpcore.wire.join import JoinParameters
    from rtpcore.wire.messages import AddTrackRequest
    from rtpcore.wire.token import Claims, Keyring

__all__ = ["Host", "now_ms"]

logger = logging.getLogger("rtpcore.host")

_JOIN_PATIENCE_MS = 60_000
_TOKEN_INTERVAL_MS = 300_000
_GRACE_MS = 5000
"""How long a client whose peer connection is gone may take to say goodbye."""
_MAX_ROOMS = 10_000


class Host:
    """Every room of this server, every client in them."""

    def __init__(
        self,
        forwarder: Forwarder,
        keyring: Keyring,
        settings: LiveKitConfig | None = None,
        policy: Policy | None = None,
    ) -> None:
        """Keep rooms on ``forwarder``, which the caller opens and closes; ``keyring`` signs refreshed tokens."""
        self.policy = policy or Policy()
        self.settings = settings or LiveKitConfig()
        self.rules = rules_of(self.settings)
        self.forwarder = forwarder
        self.keyring = keyring
        self.rooms: dict[str, Room] = {}
        self.sessions: dict[str, Session] = {}
        self.on_event: list[Callable[[Room, Happened], None]] = []
        self.on_created: list[Callable[[Room], None]] = []
        self.on_emptied: list[Callable[[Room], None]] = []
        self.on_changed: list[Callable[[Room, Participant], None]] = []
        self.on_joined: list[Callable[[Room, Participant, Claims], None]] = []
        # Each may raise JoinError; asked of everybody who is about to join.
        self.guards: list[Callable[[Claims], None]] = []
        self.welcome = Welcome(self.settings.region, self.ice_servers)
        # Nobody comes in any more; who is there stays.
        self.is_draining = False
        self.exchange = Exchange(forwarder)
        self.load = Load(forwarder, self.settings.limit)
        self.streams_paused = 0
        self._flushes: dict[str, asyncio.TimerHandle] = {}
        self._judge = Judge()
        self._judged_at_ms = now_ms()
        self._by_transport: dict[str, Session] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.gate = Gate(self.policy, self.perform)

    async def __aenter__(self) -> Self:
        """Follow the forwarder's events from now on."""
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._tick())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send everybody away."""
        self.close()
        self.gate.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    def close(self) -> None:
        """Send everybody away, since the server stops. Idempotent."""
        for room in list(self.rooms.values()):
            self.close_room(room, DisconnectReason.SERVER_SHUTDOWN)

    ##### Clients

    async def admit(self, claims: Claims, parameters: JoinParameters) -> Admission:
        """How a client may join, by its token and by the application's hooks. Raises JoinError."""
        self.check_join(claims, parameters)
        return await self.policy.join(claims, parameters)

    def join(
        self,
        claims: Claims,
        parameters: JoinParameters,
        *,
        refused: Iterable[AddTrackRequest] = (),
        is_attached: bool = True,
    ) -> Session:
        """Take a client in. Its first messages wait in the session's outbox.

        Args:
            claims: What its token says.
            parameters: How it wants to be served.
            refused: Tracks that it asked for and may not publish.
            is_attached: It has a socket; clients that speak HTTP alone have none.

        Raises:
            JoinError: With the HTTP status that says why not.
        """
        at_ms = now_ms()
        participant = self.check_join(claims, parameters)
        room = self.ensure_room(_room_of(claims), claims.room_config)
        before = room.participants.get(participant.identity)
        if before is not None:
            self.perform(room, room.remove(before, DisconnectReason.DUPLICATE_IDENTITY, at_ms))
        session = Session(
            participant,
            room,
            parameters,
            claims,
            expect=lambda: self._expect(session),
            letters=ids.secret,
            is_attached=is_attached,
        )
        self.sessions[participant.sid] = session
        self.exchange.join(room, participant)
        effects = room.join(participant)
        session.send(self.welcome.joined(session))
        self._renew(session, at_ms)
        session.peer.begin()
        self.perform(room, effects)
        for track in refused:
            session.refuse_track(track)
        for request in session.early():
            self.handle(session, request)
        session.negotiate()
        self._connect(session)
        for joined in self.on_joined:
            joined(room, participant, claims)
        return session

    def check_join(self, claims: Claims, parameters: JoinParameters) -> Participant:
        """Who would join, if it may. Raises JoinError with the HTTP status that says why not."""
        room = self.rooms.get(_room_of(claims))
        # Those who are there still get the agents that were sent for.
        if self.is_draining and not (room is not None and claims.job):
            raise JoinError(503, "the server is shutting down")
        participant = participant_of(claims, parameters, now_ms(), self.settings.limit, self.rules)
        for check in self.guards:
            check(claims)
        is_new = room is not None and participant.identity not in room.participants
        if room is not None and room.is_full and is_new and not participant.is_dependent:
            raise JoinError(503, "the room is full")
        if room is None and not self.settings.room.auto_create:
            raise JoinError(404, "requested room does not exist")
        if room is None:
            self._check_rooms()
        self.load.check()
        return participant

    def resume(self, claims: Claims, parameters: JoinParameters) -> Session | None:
        """Give a client that lost its socket its session back; None where it has none any more."""
        room = self.rooms.get(claims.video.room) if claims.video is not None else None
        participant = room.participants.get(claims.identity) if room is not None else None
        session = self.sessions.get(participant.sid) if participant is not None else None
        if room is None or participant is None or session is None or session.is_over:
            return None
        if session.lost_at_ms is not None or parameters.participant_sid not in ("", participant.sid):
            return None
        try:
            for check in self.guards:
                check(claims)
        except JoinError:
            # It is to begin anew, and learns then why it may not.
            return None
        first, *others = self.welcome.reconnected(session, self.exchange.last_sequence(participant))
        session.resume(first)
        for message in others:
            session.send(message)
        self._renew(session, now_ms())
        session.negotiate()
        return session

    def handle(self, session: Session, request: SignalRequest) -> None:
        """Do what a client asks. What cannot be done costs that client its session, which it may begin anew."""
        if session.is_over:
            return
        with self._lost(session):
            try:
                effects = session.handle(request, now_ms())
            except (ProtocolError, ParametersError, LimitError) as error:
                logger.warning("a client of room %s is asked to reconnect: %s", session.room.sid, error)
                self._restart(session, DisconnectReason.STATE_MISMATCH)
                return
            self.perform(session.room, effects)
            session.negotiate()
            self._connect(session)

    def activate(self, session: Session) -> None:
        """A client is reached: it hears from now on, and others are told."""
        self.perform(session.room, session.room.activate(session.participant))
        self.exchange.activate(session.participant)

    def leave(self, session: Session, reason: DisconnectReason = DisconnectReason.CLIENT_INITIATED) -> None:
        """A client goes."""
        self.perform(session.room, session.room.leave(session.participant, reason, now_ms()))

    def detach(self, session: Session) -> None:
        """A client's socket is gone. Whoever was connected may come back; others have left."""
        session.detach()
        participant = session.participant
        if session.is_over or session.lost_at_ms is not None or participant.state != ParticipantInfo.State.ACTIVE:
            self.leave(session, DisconnectReason.SIGNAL_CLOSE)

    ##### Rooms

    def ensure_room(self, name: str, configuration: RoomConfiguration | None = None) -> Room:
        """The room with this name, made where there is none.

        Args:
            name: Unique on this server.
            configuration: What a new room is to be like, where it differs from the server's settings.

        Raises:
            JoinError: There are too many.
        """
        room = self.rooms.get(name)
        if room is None:
            self._check_rooms()
            room = new_room(name, configuration or RoomConfiguration(), self.settings, self.rules, now_ms())
            self.rooms[name] = room
            for listener in self.on_created:
                listener(room)
        return room

    def _check_rooms(self) -> None:
        if len(self.rooms) >= _MAX_ROOMS:
            raise JoinError(503, "the server has no room for another room")

    def close_room(self, room: Room, reason: DisconnectReason) -> None:
        """Send everybody away and forget the room."""
        self.perform(room, room.close(reason, now_ms()))
        self.rooms.pop(room.name, None)
        if (flush := self._flushes.pop(room.sid, None)) is not None:
            flush.cancel()
        self.exchange.close(room)

    def perform(self, room: Room, effects: Iterable[Effect]) -> None:
        """Carry out what a room asks for, in order, then negotiate where something has changed."""
        touched: dict[str, Session] = {}
        changed: dict[str, Track] = {}
        for effect in effects:
            match effect:
                case Tell():
                    self._tell(effect)
                case Subscribe(subscription):
                    session = self.sessions.get(subscription.subscriber.sid)
                    sources = self._sources_of(subscription.track)
                    if session is not None and sources is not None and self.gate.lets(room, subscription):
                        with self._lost(session):
                            session.subscribe(subscription, sources)
                        changed[subscription.track.sid] = subscription.track
                        touched[session.participant.sid] = session
                case Unsubscribe(subscription):
                    session = self.sessions.get(subscription.subscriber.sid)
                    if session is not None:
                        session.unsubscribe(subscription)
                        touched[session.participant.sid] = session
                case Adjust(subscription):
                    session = self.sessions.get(subscription.subscriber.sid)
                    sources = self._sources_of(subscription.track)
                    if session is not None and sources is not None:
                        with self._lost(session):
                            self.perform(room, session.adjust(subscription, sources, now_ms()))
                    changed[subscription.track.sid] = subscription.track
                case OpenData(data_track):
                    self.exchange.open_track(data_track)
                case ShutData(data_track):
                    self.exchange.shut_track(data_track)
                case RouteData(data_track, subscriber, handle):
                    self.exchange.route_track(data_track, subscriber, handle)
                case Changed(participant):
                    self.exchange.update(participant)
                    session = self.sessions.get(participant.sid)
                    if session is not None:
                        self._renew(session, now_ms())
                    for told in self.on_changed:
                        told(room, participant)
                case Removed(participant, reason):
                    self._forget(participant, reason)
                case Happened():
                    for listener in self.on_event:
                        listener(room, effect)
                case Emptied():
                    for noticed in self.on_emptied:
                        noticed(room)
        for session in touched.values():
            with self._lost(session):
                session.negotiate()
        if room.sid not in self._flushes and (waits_ms := room.waits_ms) is not None:
            self._flushes[room.sid] = asyncio.get_running_loop().call_later(waits_ms / 1000, self._flush, room)
        for track in changed.values():
            self.perform(room, room.ask_for(track, now_ms()))

    def _flush(self, room: Room) -> None:
        self._flushes.pop(room.sid, None)
        self.perform(room, room.flush())

    def _sources_of(self, track: Track) -> Sources | None:
        session = self.sessions.get(track.publisher.sid)
        return None if session is None else session.sources_of(track)

    def _tell(self, effect: Tell) -> None:
        session = self.sessions.get(effect.to.sid)
        if session is not None:
            session.send(effect.message)

    def _forget(self, participant: Participant, reason: int) -> None:
        self.exchange.leave(participant)
        session = self.sessions.pop(participant.sid, None)
        if session is None:
            return
        logger.info("participant %s left room %s (%s)", participant.sid, session.room.sid, _reason(reason))
        self._judge.forget(session)
        session.is_over = True
        session.wake()
        for transport in session.peer.transports:
            self._by_transport.pop(transport.id, None)
        session.peer.close()

    ##### The forwarder

    def _expect(self, session: Session) -> Transport:
        transport = self.exchange.expect(session.participant)
        wish = session.parameters.subscriber_allow_pause
        transport.allow_pause(self.settings.rtc.congestion_control.allow_pause if wish is None else wish)
        self._by_transport[transport.id] = session
        return transport

    def _connect(self, session: Session) -> None:
        """Let data flow by the connections that are there by now."""
        publisher, primary = session.peer.publisher, session.peer.primary
        if not session.is_over:
            self.exchange.connect(
                session.participant,
                input=publisher.transport if publisher.is_begun else None,
                output=primary.transport if primary.is_begun else None,
            )

    async def _follow(self) -> None:
        by_transport = self._by_transport
        async for event in self.forwarder.events(capacity=65_536):
            match event:
                case TransportChanged(transport, state, reason):
                    if session := by_transport.get(transport.id):
                        self._changed(session, transport, state, reason)
                case EncodingStarted(receiver, _):
                    if session := by_transport.get(receiver.transport.id):
                        self.perform(session.room, session.started(receiver, now_ms()))
                case AudioLevelChanged(receiver, level):
                    if session := by_transport.get(receiver.transport.id):
                        self.perform(session.room, session.hear(receiver, level))
                case StreamPaused(sender, is_paused):
                    self.streams_paused += is_paused
                    if session := by_transport.get(sender.transport.id):
                        self.perform(session.room, session.starve(sender, is_paused=is_paused))
                case BandwidthChanged(transport, bitrate_bps):
                    if session := by_transport.get(transport.id):
                        self.perform(session.room, session.measure(transport, bitrate_bps))

    def _changed(self, session: Session, transport: Transport, state: str, reason: str) -> None:
        logger.info("transport %s of participant %s is %s (%s)", transport.id, session.participant.sid, state, reason)
        if state == "connected" and session.peer.primary.is_carried_by(transport):
            self.activate(session)
        elif state in ("failed", "closed") and reason != "closed_by_owner":
            self._by_transport.pop(transport.id, None)
            # A client that leaves closes its connections too, and its goodbye may come after.
            if session.lost_at_ms is None:
                session.lost_at_ms = now_ms()
            if not session.is_attached:
                self.leave(session, DisconnectReason.SIGNAL_CLOSE)

    @contextlib.contextmanager
    def _lost(self, session: Session) -> Iterator[None]:
        """What comes too late for a session's connections concerns that session alone."""
        try:
            yield
        except ClosedError:
            if session.lost_at_ms is None:
                session.lost_at_ms = now_ms()

    def _restart(self, session: Session, reason: DisconnectReason) -> None:
        """Let a client begin anew: what its session was is lost."""
        session.send(begin_anew(reason))
        self.leave(session, reason)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.load.measure(now_ms())
            self.check(now_ms())

    def check(self, at_ms: int) -> None:
        """Do what time alone brings: rooms end, clients that never connected go, tokens are renewed."""
        for session in list(self.sessions.values()):
            participant = session.participant
            is_late = at_ms - participant.joined_at_ms > _JOIN_PATIENCE_MS
            if is_late and participant.state == ParticipantInfo.State.JOINED:
                self.perform(session.room, session.room.remove(participant, DisconnectReason.JOIN_FAILURE, at_ms))
            elif session.lost_at_ms is not None and at_ms - session.lost_at_ms >= _GRACE_MS:
                self._restart(session, DisconnectReason.CONNECTION_TIMEOUT)
            elif session.is_attached and session.peer.is_overdue(at_ms):
                logger.warning("participant %s leaves an offer without an answer", participant.sid)
                self._restart(session, DisconnectReason.STATE_MISMATCH)
            elif at_ms - session.token_at_ms >= _TOKEN_INTERVAL_MS:
                self._renew(session, at_ms)
        for room in self.rooms.values():
            self.perform(room, room.check(at_ms))
        if at_ms - self._judged_at_ms >= INTERVAL_MS:
            self._judged_at_ms = at_ms
            snapshot = self.forwarder.snapshot()
            for room in self.rooms.values():
                self.perform(room, self._judge.judge(room, self.sessions, snapshot, at_ms))
        for room in [room for room in self.rooms.values() if room.is_over(at_ms)]:
            self.close_room(room, DisconnectReason.ROOM_CLOSED)

    def ice_servers(self, sid: str) -> list[ICEServer]:
        """The STUN and TURN servers that a participant's client may use from now on."""
        return ice_servers(self.settings, self.forwarder.advertised_hosts, sid, now_ms() / 1000)

    def _renew(self, session: Session, at_ms: int) -> None:
        session.token_at_ms = at_ms
        session.send(renewed(session, session.claims, self.keyring, at_ms))


def _room_of(claims: Claims) -> str:
    return "" if claims.video is None else claims.video.room


def _reason(number: int) -> str:
    return DisconnectReason.Name(number)


def now_ms() -> int:
    """Unix time."""
    return int(time.time() * 1000)
