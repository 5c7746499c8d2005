"""One face for every client of LiveKit's, so that a test is written once and runs with each.

A client tells its state in one form (see :meth:`Client.state`), tracks are named by their source.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.e2e.peers import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Client", "Refused", "Remote", "RpcFailed", "Trio"]


class Refused(Exception):
    """The server did not let a client do what it wanted, in the client's words."""


class RpcFailed(Exception):
    """A call to another participant came to nothing."""

    def __init__(self, code: int, message: str, data: str | None) -> None:
        super().__init__(code, message, data)
        self.code, self.message, self.data = code, message, data


class Client(ABC):
    """One client of one participant.

    Each answers the methods ``echo`` (with who calls and what was said), ``refuse`` (with error 101) and ``sleep`` (too
    late), and takes streams of the topics ``words`` (text) and ``file`` (bytes).
    """

    identity = ""

    @abstractmethod
    async def join(self, url: str, token: str) -> None:
        """Join a room. Raises Refused."""

    @abstractmethod
    async def state(self) -> dict[str, Any]:
        """How the client sees the room.

        ``state`` (``connected``…), ``reason`` of the disconnection, room ``metadata``, names of ``events``, itself as
        ``me`` and ``others`` by identity: each with ``sid``, ``name``, ``metadata``, ``attributes``, ``quality`` of its
        connection and ``tracks`` by source, which have ``sid``, ``kind``, ``muted``, ``subscribed``, ``width``; and
        what it ``heard``, in order: ``kind`` (``data``, ``text``, ``bytes``, ``chat``, ``transcription``, ``dtmf``,
        ``track``), ``from`` whom, ``topic`` and ``text``.
        """

    @abstractmethod
    async def media(self, identity: str, source: str) -> dict[str, Any]:
        """What has come of somebody's track: ``frames`` with their ``width``, or ``energy`` of its sound."""

    async def sent(self, source: str) -> dict[str, dict[str, Any]]:
        """What is sent of a track of its own: by codec, at least how many encodings are ``active``."""
        raise NotImplementedError("this SDK shows it by statistics only; see NO_VIEW")

    @abstractmethod
    async def publish(self, source: str, **options: Any) -> None: ...
    @abstractmethod
    async def unpublish(self, source: str) -> None: ...
    @abstractmethod
    async def mute(self, source: str, *, muted: bool) -> None: ...
    @abstractmethod
    async def describe(self, **what: Any) -> None: ...
    @abstractmethod
    async def choose(self, identity: str, source: str, quality: str) -> None: ...
    @abstractmethod
    async def want(self, identity: str, source: str, *, wanted: bool) -> None: ...
    @abstractmethod
    async def permit(self, identities: list[str] | None) -> None:
        """Let only these subscribe, or everybody."""

    @abstractmethod
    async def simulate(self, scenario: str) -> None:
        """Play a fault, by its name in livekit-client."""

    @abstractmethod
    async def leave(self) -> None: ...

    ##### Data

    @abstractmethod
    async def say(self, text: str, *, topic: str = "", to: Sequence[str] = (), reliable: bool = True) -> None: ...
    @abstractmethod
    async def stream(self, text: str, *, to: Sequence[str] = ()) -> None: ...
    @abstractmethod
    async def send(self, text: str, *, to: Sequence[str] = ()) -> None:
        """Send a file of this content."""

    @abstractmethod
    async def call(self, identity: str, method: str, payload: str = "", *, timeout_ms: int = 10_000) -> str:
        """Call a method of another participant. Raises RpcFailed."""

    @abstractmethod
    async def chat(self, text: str) -> None: ...
    @abstractmethod
    async def transcribe(self, identity: str, track: str, text: str) -> None: ...
    @abstractmethod
    async def dial(self, digit: str) -> None: ...
    @abstractmethod
    async def publish_data(self, name: str) -> None: ...
    @abstractmethod
    async def push(self, name: str, text: str) -> None:
        """Send a frame on a data track of its own."""

    ##### Waiting for what it sees

    async def sees(self, what: str, condition: Callable[[dict[str, Any]], Any]) -> Any:
        """Wait until something is so in its state."""

        async def seen() -> Any:
            # What a condition looks into may not be there yet.
            with contextlib.suppress(KeyError):
                return condition(await self.state())

        return await until(f"{self.identity} sees {what}", seen, self.state)

    async def sees_track(self, identity: str, source: str, **facts: Any) -> dict[str, Any]:
        """Wait until somebody's track is there and subscribed, unless the facts say otherwise."""
        facts = {"subscribed": True, **facts}

        def fits(state: dict[str, Any]) -> Any:
            track = state["others"][identity]["tracks"][source]
            return track if all(track[key] == value for key, value in facts.items()) else None

        track: dict[str, Any] = await self.sees(f"{source} of {identity} with {facts}", fits)
        return track

    async def lacks_track(self, identity: str, source: str) -> None:
        """Wait until somebody, who is still there, has no such track."""
        await self.sees(f"no {source} of {identity}", lambda s: source not in s["others"][identity]["tracks"])

    async def watches(
        self,
        identity: str,
        source: str = "camera",
        *,
        width: int | None = None,
        codec: str | None = None,
        more: int = 5,
    ) -> None:
        """Wait until pictures have this width and come in this codec, and from then on for so many more."""

        async def fits() -> bool:
            media = await self.media(identity, source)
            return width in (None, media["width"]) and codec in (None, media.get("codec"))

        what = f"{self.identity} sees pictures of {identity}, {width or 'any'} wide, in {codec or 'any codec'}"
        await until(what, fits, lambda: self.media(identity, source))
        start = (await self.media(identity, source))["frames"]

        async def has_more() -> bool:
            return bool((await self.media(identity, source))["frames"] >= start + more)

        await until(f"{self.identity} sees {more} more pictures of {identity}", has_more, self.state)

    async def hears(self, identity: str) -> None:
        """Wait until there is more sound than there was."""
        start = (await self.media(identity, "microphone"))["energy"]

        async def has_more() -> bool:
            return bool((await self.media(identity, "microphone"))["energy"] > start)

        await until(f"{self.identity} hears {identity}", has_more, self.state)

    async def is_told(self, kind: str, text: str, **facts: Any) -> dict[str, Any]:
        """Wait until it has heard something."""
        facts = {"kind": kind, "text": text, **facts}

        def find(state: dict[str, Any]) -> Any:
            return next((one for one in state["heard"] if facts.items() <= one.items()), None)

        heard: dict[str, Any] = await self.sees(f"{kind}: {text[:40]}", find)
        return heard

    async def is_disconnected(self, reason: str) -> None:
        state = await self.sees("its end", lambda s: s if s["state"] == "disconnected" and s["reason"] else None)
        assert state["reason"] == reason

    async def is_back(self) -> None:
        await self.sees("that it is back", lambda s: "reconnected" in s["events"] and s["state"] == "connected")

    async def reconnect(self, *, fully: bool) -> None:
        """Lose the connection to the server, and come back with the session or with a new one."""
        await self.simulate("full-reconnect" if fully else "signal-reconnect")


@dataclass(frozen=True)
class Trio:
    """Three clients in a room, who know of each other.

    Attributes:
        asleep: A call of Ada to a fourth that will take too long.
    """

    ada: Client
    bob: Client
    carol: Client
    room: str
    asleep: asyncio.Task[str]


class Remote(Client):
    """A client that is told what to do by name, with arguments that JSON can hold."""

    @abstractmethod
    async def do(self, what: str, **arguments: Any) -> Any:
        """Let it do something. Raises Refused."""

    async def state(self) -> dict[str, Any]:
        state: dict[str, Any] = await self.do("state")
        return state

    async def media(self, identity: str, source: str) -> dict[str, Any]:
        media: dict[str, Any] = await self.do("media", identity=identity, source=source)
        return media

    async def publish(self, source: str, **options: Any) -> None:
        await self.do("publish", source=source, options=options)

    async def unpublish(self, source: str) -> None:
        await self.do("unpublish", source=source)

    async def mute(self, source: str, *, muted: bool) -> None:
        await self.do("mute", source=source, flag=muted)

    async def describe(self, **what: Any) -> None:
        await self.do("describe", **what)

    async def choose(self, identity: str, source: str, quality: str) -> None:
        await self.do("choose", identity=identity, source=source, quality=quality)

    async def want(self, identity: str, source: str, *, wanted: bool) -> None:
        await self.do("want", identity=identity, source=source, flag=wanted)

    async def permit(self, identities: list[str] | None) -> None:
        await self.do("permit", identities=identities)

    async def simulate(self, scenario: str) -> None:
        await self.do("simulate", scenario=scenario)

    async def say(self, text: str, *, topic: str = "", to: Sequence[str] = (), reliable: bool = True) -> None:
        await self.do("say", text=text, topic=topic, identities=list(to), flag=reliable)

    async def stream(self, text: str, *, to: Sequence[str] = ()) -> None:
        await self.do("stream", text=text, identities=list(to))

    async def send(self, text: str, *, to: Sequence[str] = ()) -> None:
        await self.do("send", text=text, identities=list(to))

    async def call(self, identity: str, method: str, payload: str = "", *, timeout_ms: int = 10_000) -> str:
        outcome = await self.do("call", identity=identity, method=method, text=payload, timeout=timeout_ms)
        if "code" in outcome:
            raise RpcFailed(outcome["code"], outcome["message"], outcome.get("data"))
        return str(outcome["answer"])

    async def chat(self, text: str) -> None:
        await self.do("chat", text=text)

    async def transcribe(self, identity: str, track: str, text: str) -> None:
        await self.do("transcribe", identity=identity, track=track, text=text)

    async def dial(self, digit: str) -> None:
        await self.do("dial", text=digit)

    async def publish_data(self, name: str) -> None:
        await self.do("publishData", name=name)

    async def push(self, name: str, text: str) -> None:
        await self.do("push", name=name, text=text)
