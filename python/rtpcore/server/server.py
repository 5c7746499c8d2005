"""The server itself: a forwarder, the rooms on it, their webhooks, and what clients ask over HTTP."""

from __future__ import annotations

import contextlib
import time
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from rtpcore.agents import Counts, Dispatcher
from rtpcore.config import Limits
from rtpcore.errors import ClosedError
from rtpcore.forwarder import Forwarder
from rtpcore.host import Host
from rtpcore.http import agents, aiohttp, calls, dispatches, ingest, metrics, rooms, rtc, status, webhooks, why
from rtpcore.joining import check_length
from rtpcore.listener import Listener
from rtpcore.livekit_config import LiveKitConfig, load
from rtpcore.metrics import Metrics
from rtpcore.policy import Hooks, Permission, Policy
from rtpcore.server import events
from rtpcore.server.agents import Agents
from rtpcore.server.local import LocalParticipant
from rtpcore.server.networks import reachable
from rtpcore.server.views import Participant, Room, Rooms, Track
from rtpcore.wire.join import JoinParameters
from rtpcore.wire.messages import DisconnectReason, RoomConfiguration
from rtpcore.wire.token import Claims, Keyring, VideoGrant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    from aiohttp import web
    from typing_extensions import Self

    from rtpcore import room as state
    from rtpcore.config import Config
    from rtpcore.http.request import Route
    from rtpcore.server.events import Event
    from rtpcore.turn import TurnServer

__all__ = ["Server"]

_MAX_TRANSPORTS = 20_000
"""Peer connections of a server, two for each of ten thousand clients; memory is used by those that there are."""
_MAX_STREAM = 1 << 20
"""Bytes of a text or byte stream that a participant in the process takes, unless it says otherwise."""
_TOKEN_LIFETIME_S = 6 * 3600.0
"""A server renews the tokens of those who are in a room, so this is for how long joining takes at the most."""


class Server:
    """A server for LiveKit's clients, which runs while it is entered.

    It listens for media itself. Its HTTP goes where you mount it: `rtpcore.http.asgi.app` makes an ASGI application of
    it, :meth:`aiohttp_app` and :meth:`add_routes` are for aiohttp.

    Attributes:
        settings: What it was configured with.
        rooms: The rooms that there are, by name.
        agents: Agents in this process, and what is asked of all.
        metrics: What is counted, for a registry of ``prometheus_client``: ``REGISTRY.register(server.metrics)``.
        turn: Its TURN server, while it runs, if it has one.
    """

    def __init__(
        self, settings: LiveKitConfig | None = None, *, config: Config | None = None, hooks: Hooks | None = None
    ) -> None:
        """Check everything; bind nothing yet.

        Args:
            settings: LiveKit's (`rtpcore.livekit_config.load`); None for those of the environment, which must have
                keys: ``LIVEKIT_KEYS="key: secret"``. Port and addresses of HTTP mean nothing here.
            config: Of the forwarder, instead of what ``settings`` say of it.
            hooks: What the application wants to be asked and told.

        Raises:
            ConfigError: A setting is wrong, or there are no keys.
        """
        self.settings = load() if settings is None else settings
        self._keyring = Keyring(self.settings.keys, allow_short=self.settings.development)
        if config is None:
            config = replace(self.settings.forwarder, limits=Limits(transports=_MAX_TRANSPORTS))
        self._policy = Policy(hooks)
        self.forwarder = Forwarder(config)
        self.turn: TurnServer | None = None
        self._listen = config.listen
        self.host = Host(self.forwarder, self._keyring, self.settings, self._policy)
        self.dispatcher = Dispatcher(self.host)
        self.agents = Agents(self.dispatcher, self._enter, self._check_running)
        self.rooms = Rooms(self.host)
        self.metrics = Metrics(self.host)
        self.metrics.others.append(Counts(self.dispatcher).collect)
        self._stack: contextlib.AsyncExitStack | None = None
        # An iterator that nobody holds any more takes its queue with it.
        self._listeners: weakref.WeakSet[Listener[Event]] = weakref.WeakSet()
        self.host.on_created += [self._created, self._policy.created]
        self.host.on_emptied += [self._emptied, self._policy.emptied]
        self.host.on_changed.append(self._changed)
        self.host.on_event.append(self._happened)

    async def __aenter__(self) -> Self:
        """Bind sockets, start the workers. A server that was left may be entered again.

        Raises:
            BindError: An address or port cannot be had.
            ConfigError: No STUN server says the address from outside, where it is to be asked, or the certificate of
                TURN cannot be shown.
        """
        async with contextlib.AsyncExitStack() as stack:
            self.turn = await stack.enter_async_context(reachable(self.forwarder, self.settings, self._listen))
            stack.callback(self._policy.close)
            hook = self.settings.webhook
            if hook.urls:
                hooks = webhooks.Webhooks(
                    self._keyring,
                    key=hook.api_key,
                    urls=hook.urls,
                    wants=hook.filter_params.lets,
                    has_full_room=self.settings.room.enable_full_room_in_webhooks,
                )
                await stack.enter_async_context(hooks)
                self.metrics.webhooks = hooks
                self.host.on_event.append(hooks.notify)
                stack.callback(self.host.on_event.remove, hooks.notify)
                self.dispatcher.on_moved.append(hooks.notify_of_job)
                stack.callback(self.dispatcher.on_moved.remove, hooks.notify_of_job)
            stack.callback(self.dispatcher.close)
            await stack.enter_async_context(self.host)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send everybody away, stop the workers, end :meth:`events`."""
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()
            self.turn = None
        for listener in self._listeners:
            listener.close()

    @property
    def is_running(self) -> bool:
        """Whether it is entered."""
        return self._stack is not None

    def close(self) -> None:
        """Send everybody away, with a goodbye that says that the server stops. Idempotent; leaving it does the same.

        For servers that close websockets before they leave what they serve: call it first.
        """
        self.host.close()
        self.dispatcher.close()

    ##### HTTP

    @property
    def routes(self) -> list[Route]:
        """What is asked over HTTP: signalling, WHIP, WHEP, the server API, and whether it lives."""
        host = self.host
        services = {rooms.NAME: rooms.methods(host), dispatches.NAME: dispatches.methods(self.dispatcher)}
        asked = [*status.health_routes(host), *rtc.routes(host), *calls.routes(host, services), *ingest.routes(host)]
        return metrics.counted(self.metrics, [*asked, *agents.routes(self.dispatcher), *why.routes(host)])

    @property
    def max_body(self) -> int:
        """Bytes of a request's body."""
        return self.settings.limit.max_api_request_body_size

    def aiohttp_app(self) -> web.Application:
        """An aiohttp application that runs this server while it runs, to be served or mounted by ``add_subapp``."""
        app = aiohttp.application()
        self.add_routes(app)
        return app

    def add_routes(self, app: web.Application) -> None:
        """Add all routes to an aiohttp application, at its root, and run this server while that runs.

        One that is running already when the application starts is left running when it ends.
        """
        app.add_routes(aiohttp.routes(self.routes, max_body=self.max_body))
        aiohttp.run_with(app, self)

    ##### What there is, and what happens

    def events(self, *, capacity: int = 4096) -> AsyncIterator[Event]:
        """What happens in rooms from this call on, in order; ends with the server.

        Args:
            capacity: Events that may wait.

        Raises:
            LimitError: While iterating: more wait, the reader has fallen behind for good.
        """
        listener = Listener[events.Event](capacity)
        self._listeners.add(listener)
        return _iterate(listener)

    def create_room(
        self,
        name: str,
        *,
        metadata: str = "",
        max_participants: int = 0,
        empty_timeout_s: int = 0,
        departure_timeout_s: int = 0,
    ) -> Room:
        """The room with this name, made if there is none. One that is there already stays as it is.

        Args:
            name: 1 to 256 bytes, unless the settings say otherwise.
            metadata: The application's.
            max_participants: Agents and recorders not counted; 0 for what the settings say.
            empty_timeout_s: How long it waits for its first participant; 0 for what the settings say.
            departure_timeout_s: How long it outlives its last one; likewise.

        Raises:
            JoinError: There are too many rooms, or the name is none.
            ClosedError: The server is not running.
        """
        self._check_running()
        check_length("a room name", name, self.settings.limit.max_room_name_length)
        wish = RoomConfiguration(
            metadata=metadata,
            max_participants=max_participants,
            empty_timeout=empty_timeout_s,
            departure_timeout=departure_timeout_s,
        )
        return Room(self.host, self.host.ensure_room(name, wish))

    def token(
        self,
        identity: str,
        room: str,
        *,
        name: str = "",
        metadata: str = "",
        attributes: Mapping[str, str] | None = None,
        permission: Permission | None = None,
        ttl_s: float = _TOKEN_LIFETIME_S,
    ) -> str:
        """An access token for a client, signed with the first key.

        Args:
            identity: Who; unique in the room.
            room: Where.
            name: What others call it.
            metadata: The application's.
            attributes: The application's, by name.
            permission: What it may do; None for everything but changing its own metadata.
            ttl_s: Seconds for which it is good to join.
        """
        claims = _claims(identity, room, name, metadata, attributes, permission)
        return self._keyring.issue(claims, now=time.time(), ttl=ttl_s)

    async def join(
        self,
        room: str,
        identity: str,
        *,
        name: str = "",
        metadata: str = "",
        attributes: Mapping[str, str] | None = None,
        permission: Permission | None = None,
        kind: Literal["standard", "agent"] = "agent",
        max_stream: int = _MAX_STREAM,
    ) -> LocalParticipant:
        """Let a participant in that lives in this process: data, no media. No hook is asked.

        Args:
            room: Made if there is none.
            identity: Who; another with the same is sent away.
            name: What others call it.
            metadata: The application's.
            attributes: The application's, by name.
            permission: What it may do; None for everything but changing its own metadata.
            kind: ``agent`` is not counted and keeps no room open; ``standard`` is like any user.
            max_stream: Bytes of a text or byte stream that it takes.

        Raises:
            JoinError: The room is full, or there are too many rooms.
            ClosedError: The server is not running.
        """
        self._check_running()
        claims = replace(_claims(identity, room, name, metadata, attributes, permission), kind=kind)
        return self._enter(claims, max_stream)

    def _enter(self, claims: Claims, max_stream: int = _MAX_STREAM) -> LocalParticipant:
        # It gets no media: nobody is there to take them.
        session = self.host.join(claims, JoinParameters(is_single=True, auto_subscribe=False), is_attached=False)
        member = self.host.exchange.member(session.participant)
        assert member is not None
        made = LocalParticipant(self.host, session, member, max_stream)
        self.host.activate(session)
        return made

    def _check_running(self) -> None:
        if not self.is_running:
            raise ClosedError("server")

    ##### From the host

    def _tell(self, event: Event) -> None:
        for listener in tuple(self._listeners):
            listener.push(event)

    def _created(self, room: state.Room) -> None:
        self._tell(events.RoomCreated(Room(self.host, room)))

    def _emptied(self, room: state.Room) -> None:
        self._tell(events.RoomEmptied(Room(self.host, room)))

    def _changed(self, room: state.Room, participant: state.Participant) -> None:
        who = Participant(self.host, room, participant)
        if who.is_active:
            self._tell(events.ParticipantChanged(who.room, who))

    def _happened(self, room: state.Room, happened: state.Happened) -> None:
        where = Room(self.host, room)
        if happened.participant is None:
            if happened.name == "room_finished":
                self._tell(events.RoomClosed(where))
            return
        who = Participant(self.host, room, happened.participant)
        track = None if happened.track is None else Track(self.host, room, happened.track)
        match happened.name:
            case "participant_joined":
                self._tell(events.ParticipantJoined(where, who))
            case "participant_left":
                reason = DisconnectReason.Name(happened.participant.disconnect_reason)
                self._tell(events.ParticipantLeft(where, who, reason.lower()))
            case "track_published" if track is not None:
                self._tell(events.TrackPublished(where, who, track))
            case "track_unpublished" if track is not None:
                self._tell(events.TrackUnpublished(where, who, track))


async def _iterate(listener: Listener[Event]) -> AsyncIterator[Event]:
    while (event := await listener.next()) is not None:
        yield event


def _claims(
    identity: str,
    room: str,
    name: str,
    metadata: str,
    attributes: Mapping[str, str] | None,
    permission: Permission | None,
) -> Claims:
    grant = VideoGrant(room_join=True, room=room)
    may = permission or Permission()
    return Claims(
        identity=identity,
        name=name,
        metadata=metadata,
        attributes=dict(attributes or {}),
        video=grant.with_permission(may.over(grant.permission)),
    )
