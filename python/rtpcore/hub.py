"""A room's exchange of data: who speaks, who hears, and what the room's owner says and takes for itself.

Forwarding is done by the workers; a message reaches Python only by :meth:`Hub.tap`, :meth:`Hub.replies` and
:meth:`Member.messages`. ::

    hub = forwarder.add_hub()
    alice = hub.add_member(output=subscriber, sid="PA_1", identity="alice")  # joined: what it misses is kept
    alice.set_transports(input=forwarder.add_transport(beside=alice))        # speaks
    alice.activate()                                                         # hears, beginning with what it missed

Channels go by label. ``_reliable`` and ``_lossy`` carry LiveKit's data packets, whose sender's names are overwritten
with the member's; ``_data_track`` carries the packets of data tracks; any other label carries what its users like: it
goes to everybody else with a channel of that label, unchanged.
"""

from __future__ import annotations

import weakref
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from rtpcore.errors import ClosedError, LimitError, ParametersError
from rtpcore.events import MessageReceived
from rtpcore.listener import Listener
from rtpcore.stats import MemberStats

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from rtpcore import _core  # noqa: TID251 - a name in an annotation is no arrow
    from rtpcore.forwarder import Forwarder, Transport

__all__ = ["DataTrack", "Hub", "Member"]

_CAPACITY = 4096
"""Messages that may wait for a reader in Python: some seconds of a busy room."""


class Hub:
    """The members of a room and what they say to each other."""

    def __init__(self, forwarder: Forwarder, core: _core.Hub, *, max_members: int, max_message: int) -> None:
        """Not to be called: :meth:`rtpcore.Forwarder.add_hub` makes hubs."""
        self._forwarder = forwarder
        self._core = core
        self._max_members = max_members
        self._max_message = max_message
        self._members: dict[int, Member] = {}
        self._is_closed = False
        # An iterator that nobody holds any more takes its queue with it.
        self._taps: weakref.WeakSet[Listener[MessageReceived]] = weakref.WeakSet()
        self._replies: dict[str, weakref.WeakSet[Listener[MessageReceived]]] = {}

    @property
    def members(self) -> tuple[Member, ...]:
        """All of them, in the order they came."""
        return tuple(self._members.values())

    @property
    def last_sequences(self) -> dict[Member, int]:
        """The number of the last reliable message taken from each member; what ``reconnect.last_message_seq`` says.

        At most ``Media.stats_interval_ms`` old: who resumes sends some messages again, and they are dropped here.
        """
        return {member: member.last_sequence for member in self.members}

    def add_member(
        self,
        *,
        sid: str,
        identity: str,
        input: Transport | None = None,
        output: Transport | None = None,
        beside: Transport | None = None,
        may_publish: bool = True,
        is_hidden: bool = False,
        is_agent: bool = False,
    ) -> Member:
        """Add one who speaks by ``input`` and hears by ``output``, which may be the same transport.

        It speaks at once. It hears once it is active and its reliable channel is open; reliable messages of the time
        between (at most ten seconds and 100 kB) it is told then.

        Args:
            sid: Its participant sid, written into everything it says.
            identity: Its identity, likewise.
            input: Where its messages come in; None while it has no such transport.
            output: Where it gets messages; None while it has no such transport.
            beside: A transport on whose worker it is to live, where ``input`` and ``output`` are not known yet.
            may_publish: What it says goes on; else it is dropped and counted (``not_permitted``).
            is_hidden: Nobody is told who says it.
            is_agent: It may send transcriptions, and text in the name of others.

        Raises:
            LimitError: The hub has as many members as it may have.
            ParametersError: The transports live on different workers: add the second with ``beside=`` the first.
            ClosedError: The hub or a transport is closed.
        """
        self._check_open()
        if len(self._members) >= self._max_members:
            raise LimitError("members of a hub", self._max_members)
        near = next((transport for transport in (input, output, beside) if transport is not None), None)
        number = self._core.add_member(
            sid,
            identity,
            may_publish=may_publish,
            is_hidden=is_hidden,
            is_agent=is_agent,
            beside=None if near is None else near._number,
        )
        member = Member(self, number, sid, identity)
        member._rights = {"may_publish": may_publish, "is_hidden": is_hidden, "is_agent": is_agent}
        self._members[number] = member
        try:
            member.set_transports(input=input, output=output)
        except Exception:
            member.close()
            raise
        return member

    def send(self, payload: bytes, *, label: str = "_reliable", to: Iterable[Member] | None = None) -> None:
        """Say something in nobody's name: as it is, to all active members or to some.

        Args:
            payload: On ``_reliable`` and ``_lossy`` a whole ``livekit.DataPacket``.
            label: The channel.
            to: Who is to hear it, active or (if reliable) soon to be; None for all.

        Raises:
            LimitError: The message is larger than any peer takes, or too many commands wait.
            ParametersError: One of ``to`` is a member of another hub.
            ClosedError: The hub is closed.
        """
        self._check_open()
        self._check_size(payload)
        if to is not None:
            to = tuple(to)
            if any(member._hub is not self for member in to):
                raise ParametersError("one of the receivers is a member of another hub", "send to each hub its own")
        self._core.send(label, payload, None if to is None else [member._number for member in to])

    def tap(self) -> AsyncGenerator[MessageReceived, None]:
        """Also deliver to Python what members say, from this call on, until the generator is closed or dropped.

        Packets of data tracks and :meth:`replies` are left out.

        Raises:
            LimitError: While iterating: too many messages wait, the reader has fallen behind for good.
            ClosedError: The hub is closed.
        """
        self._check_open()
        listener = Listener[MessageReceived](_CAPACITY)
        if _is_empty(self._taps):
            self._core.tap(True)
        self._taps.add(listener)
        weakref.finalize(listener, self._untap).atexit = False
        return _iterate(listener)

    def replies(self, request_id: str) -> AsyncGenerator[MessageReceived, None]:
        """Take the answers to an RPC request (``rpc_ack``, ``rpc_response``) out of the exchange.

        From this call on, until the generator is closed or dropped.

        Call it before you :meth:`send` the request.

        Raises:
            LimitError: While iterating, as :meth:`tap`.
            ClosedError: The hub is closed.
        """
        self._check_open()
        listener = Listener[MessageReceived](_CAPACITY)
        waiting = self._replies.setdefault(request_id, weakref.WeakSet())
        if _is_empty(waiting):
            self._core.expect(request_id, True)
        waiting.add(listener)
        weakref.finalize(listener, self._forget, request_id).atexit = False
        return _iterate(listener)

    def close(self) -> None:
        """End it with all its members; transports stay. Idempotent."""
        if self._is_closed:
            return
        for member in self.members:
            member._end()
        self._members.clear()
        for listener in (*self._taps, *(listener for waiting in self._replies.values() for listener in waiting)):
            listener.close()
        self._is_closed = True
        if self._forwarder._hubs.pop(self._core.number, None) is not None and self._is_running:
            self._core.close()

    @property
    def _is_running(self) -> bool:
        return self._forwarder._loop is not None

    def _untap(self) -> None:
        if _is_empty(self._taps) and self._is_running and not self._is_closed:
            self._core.tap(False)

    def _forget(self, request_id: str) -> None:
        if _is_empty(self._replies.get(request_id, ())):
            self._replies.pop(request_id, None)
            if self._is_running and not self._is_closed:
                self._core.expect(request_id, False)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("hub")

    def _check_size(self, payload: bytes) -> None:
        if len(payload) > self._max_message:
            raise LimitError("bytes in a message", self._max_message)

    def _report(self, why: tuple[str, int | None, str | None], sender: int | None, *rest: Any) -> None:
        """Hand a worker's report to whom it is for."""
        kind, member, request = why
        # One who said something and has gone since is nobody any more, but what it said is said.
        message = MessageReceived(None if sender is None else self._members.get(sender), *rest)
        listeners: Iterable[Listener[MessageReceived]] = ()
        if kind == "tapped":
            listeners = self._taps
        elif kind == "reply" and request is not None:
            listeners = self._replies.get(request, ())
        elif member in self._members:
            listeners = self._members[member]._listeners
        for listener in tuple(listeners):
            listener.push(message)


class Member:
    """One who speaks and hears in a hub: a participant."""

    def __init__(self, hub: Hub, number: int, sid: str, identity: str) -> None:
        """Not to be called: :meth:`Hub.add_member` makes members."""
        self.sid = sid
        self.identity = identity
        self._hub = hub
        self._number = number
        self._rights: dict[str, bool] = {}
        self._tracks: dict[int, DataTrack] = {}
        self._listeners: weakref.WeakSet[Listener[MessageReceived]] = weakref.WeakSet()
        self._is_closed = False

    def __repr__(self) -> str:
        """Show the number and the sid."""
        return f"<Member {self.id} {self.sid}>"

    @property
    def id(self) -> str:
        """A name that no other member of a hub of this forwarder had or will have."""
        return f"{self._number:x}"

    @property
    def last_sequence(self) -> int:
        """The number of the last reliable message taken from it, 0 before the first; see :attr:`Hub.last_sequences`."""
        stats = self.stats()
        return 0 if stats is None else stats.last_sequence

    def set_transports(
        self, *, input: Transport | EllipsisType | None = ..., output: Transport | EllipsisType | None = ...
    ) -> None:
        """Speak or hear by other transports from now on; None for none, ``...`` for the one it has.

        With another ``output`` it hears again once its reliable channel is open there, beginning with what it missed.
        A transport serves one member: whoever spoke or heard by it before does so no more.

        Raises:
            ParametersError: The transport lives on another worker (add it with ``beside=`` this member), or belongs to
                another forwarder.
            ClosedError: The member or the transport is closed.
        """
        self._check_open()
        for transport in (input, output):
            if transport is not None and not isinstance(transport, EllipsisType):
                transport._check_open()
                if transport._forwarder is not self._hub._forwarder:
                    raise ParametersError("the transport belongs to another forwarder", "a hub lives in one")
        if not isinstance(input, EllipsisType):
            self._hub._core.set_input(self._number, None if input is None else input._number)
        if not isinstance(output, EllipsisType):
            self._hub._core.set_output(self._number, None if output is None else output._number)

    def update(
        self, *, may_publish: bool | None = None, is_hidden: bool | None = None, is_agent: bool | None = None
    ) -> None:
        """Change what it may do, as :meth:`Hub.add_member` has it; None leaves a right as it is.

        Raises:
            ClosedError: The member is closed.
        """
        self._check_open()
        changes = {"may_publish": may_publish, "is_hidden": is_hidden, "is_agent": is_agent}
        self._rights.update({name: value for name, value in changes.items() if value is not None})
        self._hub._core.set_rights(self._number, **self._rights)

    def activate(self) -> None:
        """Let it hear, beginning with the reliable messages that it missed since it was added. Idempotent.

        Raises:
            ClosedError: The member is closed.
        """
        self._check_open()
        self._hub._core.activate(self._number)

    def say(self, payload: bytes, *, label: str = "_reliable") -> None:
        """Say something as this member, as though it had come by its transport: for participants within the process.

        Args:
            payload: On ``_reliable`` and ``_lossy`` a ``livekit.DataPacket``; on ``_data_track`` a packet.
            label: The channel.

        Raises:
            LimitError: The message is larger than any peer takes, or too many commands wait.
            ClosedError: The member is closed.
        """
        self._check_open()
        self._hub._check_size(payload)
        self._hub._core.say(self._number, label, payload)

    def messages(self) -> AsyncGenerator[MessageReceived, None]:
        """Hear in Python what this member hears, once it is active, until the generator is closed or dropped.

        Raises:
            LimitError: While iterating, as :meth:`Hub.tap`.
            ClosedError: The member is closed.
        """
        self._check_open()
        listener = Listener[MessageReceived](_CAPACITY)
        if _is_empty(self._listeners):
            self._hub._core.listen(self._number, True)
        self._listeners.add(listener)
        weakref.finalize(listener, self._stop_listening).atexit = False
        return _iterate(listener)

    def add_track(self, handle: int) -> DataTrack:
        """Announce a data track of this member.

        Args:
            handle: The number its packets have, 1 to 65535.

        Raises:
            ParametersError: The number is out of range or taken.
            ClosedError: The member is closed.
        """
        self._check_open()
        _check_handle(handle)
        if handle in self._tracks:
            raise ParametersError(f"the member has a data track {handle} already", "close that, or take another number")
        track = DataTrack(self, self._hub._core.add_track(self._number, handle), handle)
        self._tracks[handle] = track
        return track

    def subscribe(self, track: DataTrack, handle: int) -> None:
        """Get a data track's packets, with ``handle`` (1 to 65535) instead of the publisher's; again to change it.

        Raises:
            ParametersError: The number is out of range, or the track belongs to another hub.
            ClosedError: The member or the track is closed.
        """
        self._check_open()
        _check_handle(handle)
        track._check_open()
        if track.publisher._hub is not self._hub:
            raise ParametersError("the data track belongs to another hub", "subscribe to one of this hub's members'")
        self._hub._core.subscribe(track._number, self._number, handle)

    def unsubscribe(self, track: DataTrack) -> None:
        """Get a data track's packets no longer. Idempotent."""
        if not self._is_closed and not track._is_closed:
            self._hub._core.subscribe(track._number, self._number, None)

    def stats(self) -> MemberStats | None:
        """Messages taken from it and handed to it; None before the first measurement and after the end."""
        if self._is_closed or not self._hub._is_running:
            return None
        stats = self._hub._core.stats(self._number)
        return None if stats is None else MemberStats(**stats)

    def close(self) -> None:
        """Leave the hub. Idempotent; its data tracks end with it, its transports stay."""
        if self._is_closed:
            return
        for track in tuple(self._tracks.values()):
            track.close()
        self._end()
        self._hub._members.pop(self._number, None)
        if self._hub._is_running:
            self._hub._core.remove_member(self._number)

    def _end(self) -> None:
        self._is_closed = True
        for track in self._tracks.values():
            track._is_closed = True
        self._tracks.clear()
        for listener in self._listeners:
            listener.close()

    def _stop_listening(self) -> None:
        if _is_empty(self._listeners) and self._hub._is_running and not self._is_closed:
            self._hub._core.listen(self._number, False)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("member")


class DataTrack:
    """A member's data track: packets with a small header, each subscriber's with a number of its own."""

    def __init__(self, publisher: Member, number: int, handle: int) -> None:
        """Not to be called: :meth:`Member.add_track` makes data tracks."""
        self.publisher = publisher
        self.handle = handle
        self._number = number
        self._is_closed = False

    def __repr__(self) -> str:
        """Show the number and whose it is."""
        return f"<DataTrack {self._number:x} {self.handle} of {self.publisher.sid}>"

    def close(self) -> None:
        """End it for all subscribers. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self.publisher._tracks.pop(self.handle, None)
        if self.publisher._hub._is_running:
            self.publisher._hub._core.remove_track(self._number)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("data track")


def _check_handle(handle: int) -> None:
    if not 1 <= handle <= 65535:
        raise ParametersError(f"{handle} cannot be the number of a data track", "1 to 65535")


def _is_empty(listeners: Iterable[Listener[MessageReceived]]) -> bool:
    # Not by its length: while one of them is being finalized, the set still counts it.
    return next(iter(listeners), None) is None


async def _iterate(listener: Listener[MessageReceived]) -> AsyncGenerator[MessageReceived, None]:
    while (message := await listener.next()) is not None:
        yield message
