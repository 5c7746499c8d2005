"""Hooks: an application's own say in who joins, publishes and subscribes, and its notice of rooms that come and go.

A hook is a function, ``async`` or not. It runs beside everything else: an ``async`` one as a task, another on a thread
of its own, so that one that takes its time holds up nobody but who waits for its answer. It gets values, not live
objects, and has a deadline. One that fails, is late, or answers what is no answer refuses: the client is told so, and
the log has a line. ::

    client ──▶ may it by its token? ──▶ hook ──▶ room, as if nothing had been asked
                                         └── False, an exception, too late: refused
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from rtpcore.errors import ConfigError, JoinError
from rtpcore.room import Subscribe, subscribing
from rtpcore.wire.messages import ParticipantPermission, TrackSource, TrackType

if TYPE_CHECKING:
    from rtpcore.room import Effect, Participant, Room, Subscription
    from rtpcore.wire.join import JoinParameters
    from rtpcore.wire.messages import AddTrackRequest
    from rtpcore.wire.token import Claims

__all__ = [
    "Admission",
    "Gate",
    "Hooks",
    "JoinRequest",
    "Permission",
    "Policy",
    "PublishRequest",
    "RoomNotice",
    "SubscribeRequest",
    "kind_name",
    "source_name",
]

logger = logging.getLogger("rtpcore.policy")

_THREADS = 8
"""Hooks that are not ``async`` and run at the same time; one more waits, and the time counts."""


@dataclass(frozen=True, slots=True)
class Permission:
    """What a participant may do.

    Attributes:
        can_publish: Publish tracks.
        can_subscribe: Receive tracks.
        can_publish_data: Send data.
        can_publish_sources: Sources that may be published, such as ``camera``; empty is every one.
        can_update_metadata: Change its own name, metadata and attributes.
        hidden: Invisible to the others.
    """

    can_publish: bool = True
    can_subscribe: bool = True
    can_publish_data: bool = True
    can_publish_sources: tuple[str, ...] = ()
    can_update_metadata: bool = False
    hidden: bool = False

    def __post_init__(self) -> None:
        """Refuse sources that there are none of."""
        for name in self.can_publish_sources:
            if name.upper() not in TrackSource.keys():  # noqa: SIM118 - protobuf's enumeration is no mapping
                known = ", ".join(one.lower() for one in TrackSource.keys())  # noqa: SIM118
                raise ConfigError("can_publish_sources", f"{name!r} is none of {known}")

    @classmethod
    def of(cls, message: ParticipantPermission) -> Permission:
        """Read LiveKit's."""
        return cls(
            can_publish=message.can_publish,
            can_subscribe=message.can_subscribe,
            can_publish_data=message.can_publish_data,
            can_publish_sources=tuple(map(source_name, message.can_publish_sources)),
            can_update_metadata=message.can_update_metadata,
            hidden=message.hidden,
        )

    def over(self, message: ParticipantPermission) -> ParticipantPermission:
        """LiveKit's, with what is not here taken from ``message``."""
        changed = ParticipantPermission()
        changed.CopyFrom(message)
        changed.can_publish, changed.can_subscribe = self.can_publish, self.can_subscribe
        changed.can_publish_data, changed.can_update_metadata = self.can_publish_data, self.can_update_metadata
        changed.hidden = self.hidden
        del changed.can_publish_sources[:]
        sources = [name.upper() for name in self.can_publish_sources]
        changed.MergeFrom(ParticipantPermission(can_publish_sources=sources))
        return changed


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """Somebody with a good token is about to join.

    Attributes:
        room: The room's name. It may not be there yet.
        identity: Unique in the room; with ``#suffix`` for a second connection of the same user.
        kind: ``standard``, ``ingress``, ``egress``, ``sip``, ``agent``, ``connector`` or ``bridge``.
        name: What the others will call it; may be changed, as may what follows.
        metadata: The application's.
        attributes: The application's, by name.
        permission: What it may do.
    """

    room: str
    identity: str
    kind: str
    name: str
    metadata: str
    attributes: Mapping[str, str]
    permission: Permission


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """A participant, or somebody about to join, wants to publish a track.

    Attributes:
        room: The room's name.
        identity: Whose track.
        kind: ``audio`` or ``video``.
        source: ``camera``, ``microphone``, ``screen_share``, ``screen_share_audio`` or ``unknown``.
        name: What its client calls it.
    """

    room: str
    identity: str
    kind: str
    source: str
    name: str


@dataclass(frozen=True, slots=True)
class SubscribeRequest:
    """A participant is about to get a track.

    Attributes:
        room: The room's name.
        identity: Who gets it.
        publisher: The identity of who publishes it.
        track_sid: Which.
        kind: ``audio`` or ``video``.
        source: As :attr:`PublishRequest.source`.
        name: What its publisher's client calls it.
    """

    room: str
    identity: str
    publisher: str
    track_sid: str
    kind: str
    source: str
    name: str


@dataclass(frozen=True, slots=True)
class RoomNotice:
    """A room was made, or has lost its last participant.

    Attributes:
        room: Its name.
        sid: Unique for ever, other than the name.
        metadata: The application's.
    """

    room: str
    sid: str
    metadata: str


MayJoin: TypeAlias = Callable[[JoinRequest], Awaitable[bool | JoinRequest] | bool | JoinRequest]
MayPublish: TypeAlias = Callable[[PublishRequest], Awaitable[bool] | bool]
MaySubscribe: TypeAlias = Callable[[SubscribeRequest], Awaitable[bool] | bool]
Noticed: TypeAlias = Callable[[RoomNotice], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class Hooks:
    """What an application wants to be asked and told; each may be left out.

    Attributes:
        may_join: True lets in, False refuses with 403. A `JoinRequest` made of the one asked about
            (``dataclasses.replace``) lets in with another name, metadata, attributes or permission. To refuse in words
            of its own it raises ``JoinError(status, reason)``, which is what the client gets. Not asked of who resumes,
            nor of participants in the process. Asked again by ``/rtc/validate``, so it should only decide.
        may_publish: True lets the track be published. The client's next messages wait for the answer.
        may_subscribe: True lets the track be sent. Asked each time that it would begin to be; until then nothing is.
        room_created: A room is there; nobody is in it yet.
        room_emptied: Its last participant that counts has gone. It may be used again, or is closed in a while. What is
            told of one room comes one after the other.
        deadline_s: Seconds that an answer may take. What is late is not stopped if it runs on a thread: give calls to
            databases and such a timeout of their own.
    """

    may_join: MayJoin | None = None
    may_publish: MayPublish | None = None
    may_subscribe: MaySubscribe | None = None
    room_created: Noticed | None = None
    room_emptied: Noticed | None = None
    deadline_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse a deadline that nothing can meet, or that outlasts what clients wait for."""
        if not 0 < self.deadline_s <= 60:
            raise ConfigError("hooks.deadline_s", f"{self.deadline_s} is not above 0 and at most 60")


@dataclass(frozen=True, slots=True)
class Admission:
    """How somebody may join.

    Attributes:
        claims: What its token says, as a hook has changed it.
        parameters: What it asks for, without what it may not have.
        refused: Tracks that it wanted to publish from the start and may not.
    """

    claims: Claims
    parameters: JoinParameters
    refused: tuple[AddTrackRequest, ...] = ()


class Policy:
    """Asks hooks and takes their answers; without hooks everything is allowed."""

    def __init__(self, hooks: Hooks | None = None) -> None:
        """Ask these, and only these."""
        self.hooks = hooks or Hooks()
        self._threads: ThreadPoolExecutor | None = None
        self._tasks: set[asyncio.Future[Any]] = set()
        self._notices: dict[str, asyncio.Task[None]] = {}

    def close(self) -> None:
        """Wait for no answer any more. Idempotent."""
        for task in (*self._tasks, *self._notices.values()):
            task.cancel()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    async def join(self, claims: Claims, parameters: JoinParameters) -> Admission:
        """Whether somebody may join whose token lets it, and as what. Raises JoinError."""
        grant = claims.video
        if self.hooks.may_join is not None and grant is not None:
            suffix = f"#{parameters.publish_suffix}" if parameters.publish_suffix else ""
            request = JoinRequest(
                room=grant.room,
                identity=claims.identity + suffix,
                kind=claims.kind,
                name=claims.name,
                metadata=parameters.metadata or claims.metadata,
                attributes={**claims.attributes, **parameters.attributes},
                permission=Permission.of(grant.permission),
            )
            answer = await self._ask("may_join", self.hooks.may_join, request)
            if answer is False:
                raise JoinError(403, "the server does not let this participant join")
            changed = answer if isinstance(answer, JoinRequest) else request
            if answer is not True and changed is request and answer is not request:
                raise _failed("may_join", f"answered {type(answer).__name__}, not a bool or a JoinRequest")
            if (changed.room, changed.identity, changed.kind) != (request.room, request.identity, request.kind):
                raise _failed("may_join", "changed room, identity or kind, which only tokens say")
            claims = replace(
                claims,
                name=changed.name,
                metadata=changed.metadata,
                attributes=dict(changed.attributes),
                video=grant.with_permission(changed.permission.over(grant.permission)),
            )
            parameters = replace(parameters, metadata=None, attributes={})
        if self.hooks.may_publish is None or grant is None:
            return Admission(claims, parameters)
        tracks = parameters.add_tracks
        allowed = [track for track in tracks if await self.publish(grant.room, claims.identity, track)]
        refused = tuple(track for track in tracks if track not in allowed)
        return Admission(claims, replace(parameters, add_tracks=tuple(allowed)), refused)

    async def publish(self, room: str, identity: str, track: AddTrackRequest) -> bool:
        """Whether a participant may publish a track. Another codec of one that it has is not asked about."""
        hook = self.hooks.may_publish
        if hook is None or track.sid:
            return True
        request = PublishRequest(room, identity, kind_name(track.type), source_name(track.source), track.name)
        return await self._decide("may_publish", hook, request)

    async def subscribe(self, room: Room, subscription: Subscription) -> bool:
        """Whether a participant may get a track."""
        hook, track = self.hooks.may_subscribe, subscription.track
        if hook is None:
            return True
        request = SubscribeRequest(
            room=room.name,
            identity=subscription.subscriber.identity,
            publisher=track.publisher.identity,
            track_sid=track.sid,
            kind=kind_name(track.info.type),
            source=source_name(track.info.source),
            name=track.info.name,
        )
        return await self._decide("may_subscribe", hook, request)

    def created(self, room: Room) -> None:
        """A room is there; returns at once."""
        self._notice("room_created", self.hooks.room_created, room)

    def emptied(self, room: Room) -> None:
        """A room has nobody in it that counts; returns at once."""
        self._notice("room_emptied", self.hooks.room_emptied, room)

    def _notice(self, name: str, hook: Noticed | None, room: Room) -> None:
        if hook is None:
            return
        before = self._notices.get(room.sid)

        async def tell(notice: RoomNotice) -> None:
            if before is not None:
                await asyncio.wait([before])
            try:
                await self._ask(name, hook, notice)
            except JoinError:
                logger.debug("%s of room %s failed", name, notice.sid)  # has its line in the log already
            finally:
                if self._notices.get(notice.sid) is asyncio.current_task():
                    del self._notices[notice.sid]

        self._notices[room.sid] = asyncio.create_task(tell(RoomNotice(room.name, room.sid, room.metadata)))

    async def _decide(self, name: str, hook: Callable[[Any], Any], request: object) -> bool:
        try:
            answer = await self._ask(name, hook, request)
            if not isinstance(answer, bool):
                raise _failed(name, f"answered {type(answer).__name__}, not a bool")
        except JoinError:
            return False
        return answer

    async def _ask(self, name: str, hook: Callable[[Any], Any], request: object) -> object:
        """The hook's answer. Raises JoinError: its own from ``may_join``, else with 500 where there is none."""
        task = asyncio.ensure_future(self._call(hook, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Not wait_for: that waits for a hook that does not let itself be cancelled.
        try:
            done, _ = await asyncio.wait([task], timeout=self.hooks.deadline_s)
        finally:
            if not task.done():
                task.add_done_callback(_let_go)
                task.cancel()
        if not done:
            raise _failed(name, f"has not answered within {self.hooks.deadline_s} s")
        if task.cancelled():
            raise _failed(name, "was cancelled")
        error = task.exception()
        if error is None:
            return task.result()
        if name == "may_join" and isinstance(error, JoinError):
            raise error
        raise _failed(name, f"raised {type(error).__name__}", error)

    async def _call(self, hook: Callable[[Any], Any], request: object) -> object:
        if inspect.iscoroutinefunction(hook):
            answer = hook(request)
        else:
            self._threads = self._threads or ThreadPoolExecutor(_THREADS, "rtpcore-hook")
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, hook, request)
        return await answer if inspect.isawaitable(answer) else answer


class Gate:
    """Holds copies of tracks back until a hook lets them through; a subscription is asked about once at a time."""

    def __init__(self, policy: Policy, perform: Callable[[Room, list[Effect]], None]) -> None:
        """Ask ``policy``, and let ``perform`` carry out what comes of it."""
        self._policy = policy
        self._perform = perform
        self._asked: dict[Subscription, asyncio.Task[None]] = {}
        self._admitted: Subscription | None = None

    def lets(self, room: Room, subscription: Subscription) -> bool:
        """Whether a copy may begin now. Where a hook has to be asked first, the effect comes again with its yes."""
        if self._policy.hooks.may_subscribe is None or subscription is self._admitted:
            return True
        if subscription not in self._asked:
            self._asked[subscription] = asyncio.create_task(self._ask(room, subscription))
        return False

    def close(self) -> None:
        """Wait for no answer any more."""
        for task in self._asked.values():
            task.cancel()

    async def settled(self, subscriber: Participant) -> None:
        """Wait until nothing is being asked about a participant any more."""
        asked = [task for subscription, task in self._asked.items() if subscription.subscriber is subscriber]
        if asked:
            await asyncio.wait(asked)

    async def _ask(self, room: Room, subscription: Subscription) -> None:
        try:
            is_allowed = await self._policy.subscribe(room, subscription)
        finally:
            del self._asked[subscription]
        # Who wanted it, or what was wanted, may be gone by now.
        if not subscription.is_active:
            return
        if not is_allowed:
            self._perform(room, subscribing.refuse(room, subscription))
            return
        self._admitted = subscription
        self._perform(room, [Subscribe(subscription)])
        self._admitted = None


def kind_name(kind: int) -> str:
    """A `TrackType` in lower case.

    >>> kind_name(TrackType.VIDEO)
    'video'
    """
    return TrackType.Name(kind).lower() if kind in TrackType.values() else "unknown"


def source_name(source: int) -> str:
    """A `TrackSource` in lower case.

    >>> source_name(TrackSource.SCREEN_SHARE)
    'screen_share'
    """
    return TrackSource.Name(source).lower() if source in TrackSource.values() else "unknown"


def _failed(name: str, what: str, error: BaseException | None = None) -> JoinError:
    logger.error("the hook %s %s: refused", name, what, exc_info=error)
    return JoinError(500, "the server cannot decide whether this participant may join")


def _let_go(task: asyncio.Future[Any]) -> None:
    """Nobody waits for this answer any more, nor for what went wrong with it."""
    if not task.cancelled():
        task.exception()
