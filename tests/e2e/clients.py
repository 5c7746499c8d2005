"""LiveKit's clients, unmodified, behind one face, so that a test is written once and runs with each.

A client tells its state in one form (see :meth:`Client.state`), tracks are named by their source.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from abc import ABC, abstractmethod
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from livekit import api, rtc
from livekit.rtc.participant import PublishTrackError
from tests.e2e.peers import until

from rtpcore.wire.messages import DisconnectReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.async_api import BrowserContext, Page

__all__ = ["CLIENTS", "KEY", "PACKAGES", "SECRET", "Client", "Refused", "open_client", "token"]

KEY, SECRET = "devkey", "a secret that is long enough to be one"

HARNESS = Path(__file__).with_name("livekit_client.js").read_text(encoding="utf-8")

PACKAGES = Path(__file__).parents[1] / "clients" / "node_modules"
"""Where `make` installed the clients of npm."""

GO_CLIENT = Path(__file__).parents[1] / "clients" / "go" / "client"
"""Likewise."""

RELEASES = {"newest": "livekit-client", "oldest": "livekit-client-oldest"}
"""Which are tried of livekit-client, by their names in tests/clients/package.json."""


def token(room: str, identity: str, *, ttl: timedelta = timedelta(hours=1), secret: str = SECRET, **grants: Any) -> str:
    """An access token as an application makes it."""
    granted = api.VideoGrants(room_join=True, room=room, can_update_own_metadata=True, **grants)
    return api.AccessToken(KEY, secret).with_identity(identity).with_ttl(ttl).with_grants(granted).to_jwt()


class Refused(Exception):
    """The server did not let a client in, in the client's words."""


class Client(ABC):
    """One client of one participant."""

    identity = ""

    @abstractmethod
    async def join(self, url: str, token: str) -> None:
        """Join a room. Raises Refused."""

    @abstractmethod
    async def state(self) -> dict[str, Any]:
        """How the client sees the room.

        ``state`` (``connected``…), ``reason`` of the disconnection, room ``metadata``, names of ``events``, itself as
        ``me`` and ``others`` by identity: each with ``sid``, ``name``, ``metadata``, ``attributes`` and ``tracks`` by
        source, which have ``sid``, ``kind``, ``muted``, ``subscribed``, ``width``.
        """

    @abstractmethod
    async def media(self, identity: str, source: str) -> dict[str, float]:
        """What has come of somebody's track: ``frames`` with their ``width``, or ``energy`` of its sound."""

    @abstractmethod
    async def publish(self, source: str) -> None: ...
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
    async def reconnect(self, *, fully: bool) -> None:
        """Lose the connection to the server, and come back with the session or with a new one."""

    @abstractmethod
    async def leave(self) -> None: ...

    def relay_only(self) -> None:
        """Join by nothing but a TURN server, as from a network that lets nothing else out."""
        raise NotImplementedError(f"{type(self).__name__} cannot be told so")

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

    async def watches(self, identity: str, source: str = "camera", *, width: int | None = None, more: int = 5) -> None:
        """Wait until pictures have this width, and from then on for so many more."""

        async def has_width() -> bool:
            return width is None or (await self.media(identity, source))["width"] == width

        await until(f"{self.identity} sees pictures {width} wide", has_width, self.state)
        start = (await self.media(identity, source))["frames"]

        async def has_more() -> bool:
            return (await self.media(identity, source))["frames"] >= start + more

        await until(f"{self.identity} sees {more} more pictures of {identity}", has_more, self.state)

    async def hears(self, identity: str) -> None:
        """Wait until there is more sound than there was."""
        start = (await self.media(identity, "microphone"))["energy"]

        async def has_more() -> bool:
            return (await self.media(identity, "microphone"))["energy"] > start

        await until(f"{self.identity} hears {identity}", has_more, self.state)

    async def is_disconnected(self, reason: str) -> None:
        state = await self.sees("its end", lambda s: s if s["state"] == "disconnected" and s["reason"] else None)
        assert state["reason"] == reason


class JavaScript(Client):
    """livekit-client in Chromium, a page for each."""

    def __init__(self, page: Page, base: str, release: str, *, is_single: bool) -> None:
        self._page = page
        self._base = base
        self._release = release
        self._options = {"singlePeerConnection": is_single}
        self._rtc: dict[str, str] = {}

    async def join(self, url: str, token: str) -> None:
        await self._page.goto(f"{self._base}/livez")
        await self._page.add_script_tag(url=f"/clients/{RELEASES[self._release]}.js")
        await self._page.evaluate(HARNESS)
        options = {"url": url, "token": token, "options": self._options, "rtcConfig": self._rtc}
        outcome = await self._page.evaluate("options => client.join(options)", options)
        if "error" in outcome:
            raise Refused(str(outcome["error"]))

    def relay_only(self) -> None:
        self._rtc = {"iceTransportPolicy": "relay"}

    async def state(self) -> dict[str, Any]:
        state: dict[str, Any] = await self._page.evaluate("client.state()")
        if state["reason"] is not None:
            state["reason"] = DisconnectReason.Name(state["reason"])
        return state

    async def _do(self, what: str, argument: Any = None) -> Any:
        return await self._page.evaluate(f"argument => client.{what}(argument)", argument)

    async def media(self, identity: str, source: str) -> dict[str, float]:
        media: dict[str, float] = await self._do("media", {"identity": identity, "source": source})
        return media

    async def publish(self, source: str) -> None:
        await self._do("publish", source)

    async def unpublish(self, source: str) -> None:
        await self._do("unpublish", source)

    async def mute(self, source: str, *, muted: bool) -> None:
        await self._do("mute", {"source": source, "muted": muted})

    async def describe(self, **what: Any) -> None:
        await self._do("describe", what)

    async def choose(self, identity: str, source: str, quality: str) -> None:
        await self._do("choose", {"identity": identity, "source": source, "quality": quality})

    async def want(self, identity: str, source: str, *, wanted: bool) -> None:
        await self._do("want", {"identity": identity, "source": source, "wanted": wanted})

    async def permit(self, identities: list[str] | None) -> None:
        await (self._do("permitAll") if identities is None else self._do("permit", identities))

    async def reconnect(self, *, fully: bool) -> None:
        await self._do("simulate", "full-reconnect" if fully else "signal-reconnect")

    async def leave(self) -> None:
        if not self._page.is_closed():
            await self._page.evaluate("globalThis.client?.leave()")
            await self._page.close()


class Rust(Client):
    """The PyPI package `livekit`: LiveKit's Rust SDK on libwebrtc, in this process."""

    WIDTH, HEIGHT = 960, 540

    def __init__(self, *, is_single: bool) -> None:
        self._options = rtc.RoomOptions(single_peer_connection=is_single, dynacast=True)
        self._room = rtc.Room()
        self._events: list[str] = []
        self._reason: str | None = None
        self._media: dict[str, dict[str, float]] = {}
        self._streams: list[tuple[rtc.VideoStream | rtc.AudioStream, asyncio.Task[None]]] = []
        self._sources: dict[str, asyncio.Task[None]] = {}
        self._room.on("track_subscribed", self._subscribed)
        self._room.on("disconnected", self._disconnected)
        for name in ("reconnecting", "reconnected"):
            self._room.on(name, lambda name=name: self._events.append(name))

    def relay_only(self) -> None:
        policy = rtc.IceTransportType.TRANSPORT_RELAY
        self._options.rtc_config = rtc.RtcConfiguration(ice_transport_type=policy)

    async def join(self, url: str, token: str) -> None:
        try:
            await self._room.connect(url, token, self._options)
        except rtc.ConnectError as error:
            raise Refused(error.message) from error

    def _disconnected(self, reason: int) -> None:
        self._reason = rtc.DisconnectReason.Name(reason)

    def _subscribed(self, track: rtc.RemoteTrack, _: rtc.RemoteTrackPublication, __: rtc.RemoteParticipant) -> None:
        video = track.kind == rtc.TrackKind.KIND_VIDEO
        stream = rtc.VideoStream(track) if video else rtc.AudioStream(track)
        self._streams.append((stream, asyncio.create_task(self._count(track.sid, stream))))

    async def _count(self, sid: str, stream: rtc.VideoStream | rtc.AudioStream) -> None:
        media = self._media.setdefault(sid, {"frames": 0, "width": 0, "energy": 0})
        async for event in stream:
            if isinstance(event, rtc.VideoFrameEvent):
                media["frames"] += 1
                media["width"] = event.frame.width
            else:
                # Louder than what a decoder makes up for missing packets.
                media["energy"] += bool(numpy.abs(numpy.frombuffer(event.frame.data, numpy.int16)).max() > 1000)

    async def state(self) -> dict[str, Any]:
        names = {
            rtc.ConnectionState.CONN_CONNECTED: "connected",
            rtc.ConnectionState.CONN_RECONNECTING: "reconnecting",
            rtc.ConnectionState.CONN_DISCONNECTED: "disconnected",
        }
        room = self._room
        return {
            "state": names[room.connection_state],
            "reason": self._reason,
            "metadata": room.metadata,
            "events": self._events,
            "me": self._participant(room.local_participant),
            "others": {one.identity: self._participant(one) for one in room.remote_participants.values()},
        }

    def _participant(self, one: rtc.Participant) -> dict[str, Any]:
        return {
            "sid": one.sid,
            "identity": one.identity,
            "name": one.name,
            "metadata": one.metadata,
            "attributes": dict(one.attributes),
            "tracks": {
                _source(track): {
                    "sid": track.sid,
                    "kind": "video" if track.kind == rtc.TrackKind.KIND_VIDEO else "audio",
                    "muted": track.muted,
                    "subscribed": isinstance(track, rtc.RemoteTrackPublication) and track.subscribed,
                    "width": track.width,
                }
                for track in one.track_publications.values()
            },
        }

    def _mine(self, source: str) -> rtc.LocalTrackPublication:
        return next(p for p in self._room.local_participant.track_publications.values() if _source(p) == source)

    def _theirs(self, identity: str, source: str) -> rtc.RemoteTrackPublication:
        publications = self._room.remote_participants[identity].track_publications.values()
        return next(one for one in publications if _source(one) == source)

    async def media(self, identity: str, source: str) -> dict[str, float]:
        try:
            sid = self._theirs(identity, source).sid
        except (KeyError, StopIteration):
            sid = ""
        return dict(self._media.get(sid, {"frames": 0, "width": 0, "energy": 0}))

    async def publish(self, source: str) -> None:
        options = rtc.TrackPublishOptions(
            source=rtc.TrackSource.Value(f"SOURCE_{_LONG.get(source, source).upper()}"), simulcast=source == "camera"
        )
        if source == "microphone":
            sound = rtc.AudioSource(48_000, 1)
            track: Any = rtc.LocalAudioTrack.create_audio_track(source, sound)
            task = asyncio.create_task(_hum(sound))
        else:
            picture = rtc.VideoSource(self.WIDTH, self.HEIGHT)
            track = rtc.LocalVideoTrack.create_video_track(source, picture)
            task = asyncio.create_task(_draw(picture, self.WIDTH, self.HEIGHT))
        try:
            await self._room.local_participant.publish_track(track, options)
        except PublishTrackError as error:
            task.cancel()
            raise Refused(error.message) from error
        self._sources[source] = task

    async def unpublish(self, source: str) -> None:
        await self._room.local_participant.unpublish_track(self._mine(source).sid)
        self._sources.pop(source).cancel()

    async def mute(self, source: str, *, muted: bool) -> None:
        track = self._mine(source).track
        assert isinstance(track, (rtc.LocalAudioTrack, rtc.LocalVideoTrack))
        if muted:
            track.mute()
        else:
            track.unmute()

    async def describe(self, **what: Any) -> None:
        me = self._room.local_participant
        for name, value in what.items():
            await {"metadata": me.set_metadata, "name": me.set_name, "attributes": me.set_attributes}[name](value)

    async def choose(self, identity: str, source: str, quality: str) -> None:
        self._theirs(identity, source).set_video_quality(rtc.VideoQuality.Value(f"VIDEO_QUALITY_{quality}"))

    async def want(self, identity: str, source: str, *, wanted: bool) -> None:
        self._theirs(identity, source).set_subscribed(wanted)

    async def permit(self, identities: list[str] | None) -> None:
        permissions = [
            rtc.ParticipantTrackPermission(participant_identity=one, allow_all=True) for one in identities or ()
        ]
        self._room.local_participant.set_track_subscription_permissions(
            allow_all_participants=identities is None, participant_permissions=permissions
        )

    async def reconnect(self, *, fully: bool) -> None:
        kinds = rtc.SimulateScenarioKind
        await self._room.simulate_scenario(kinds.SIMULATE_FULL_RECONNECT if fully else kinds.SIMULATE_SIGNAL_RECONNECT)

    async def leave(self) -> None:
        for task in self._sources.values():
            task.cancel()
        for stream, task in self._streams:
            task.cancel()
            await stream.aclose()
        await self._room.disconnect()


class Go(Client):
    """LiveKit's Go SDK on pion, in a process for each (see tests/clients/go)."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def _do(self, what: str, **arguments: Any) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
        answer = json.loads(await self._process.stdout.readline())
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]

    async def join(self, url: str, token: str) -> None:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(GO_CLIENT, stdin=pipe, stdout=pipe)
        await self._do("join", url=url, token=token)

    async def state(self) -> dict[str, Any]:
        state: dict[str, Any] = await self._do("state")
        return state

    async def media(self, identity: str, source: str) -> dict[str, float]:
        media: dict[str, float] = await self._do("media", identity=identity, source=source)
        return media

    async def publish(self, source: str) -> None:
        await self._do("publish", source=source)

    async def unpublish(self, source: str) -> None:
        await self._do("unpublish", source=source)

    async def mute(self, source: str, *, muted: bool) -> None:
        await self._do("mute", source=source, flag=muted)

    async def describe(self, **what: Any) -> None:
        await self._do("describe", **what)

    async def choose(self, identity: str, source: str, quality: str) -> None:
        await self._do("choose", identity=identity, source=source, quality=quality)

    async def want(self, identity: str, source: str, *, wanted: bool) -> None:
        await self._do("want", identity=identity, source=source, flag=wanted)

    async def permit(self, identities: list[str] | None) -> None:
        await self._do("permit", identities=identities)

    async def reconnect(self, *, fully: bool) -> None:
        await self._do("reconnect", flag=fully)

    async def leave(self) -> None:
        if self._process is not None and self._process.returncode is None:
            await self._do("leave")
            assert self._process.stdin is not None
            # At the end of its input it ends.
            self._process.stdin.close()
            await self._process.wait()


_LONG = {"screen_share": "screenshare"}
"""What the Rust SDK calls a source otherwise."""


def _source(publication: rtc.TrackPublication) -> str:
    name = rtc.TrackSource.Name(publication.source).removeprefix("SOURCE_").lower()
    return {long: source for source, long in _LONG.items()}.get(name, name)


async def _hum(sound: rtc.AudioSource) -> None:
    """A tone, until it is cancelled; the source sets the pace."""
    frame = rtc.AudioFrame.create(48_000, 1, 480)
    wave = 10_000 * numpy.sin(2 * numpy.pi * 400 * numpy.arange(480) / 48_000)
    numpy.frombuffer(frame.data, numpy.int16)[:] = wave.astype(numpy.int16)
    while True:
        await sound.capture_frame(frame)


async def _draw(picture: rtc.VideoSource, width: int, height: int) -> None:
    """A bar that moves, until it is cancelled."""
    count = 0
    while True:
        pixels = numpy.full((height, width, 4), 64, numpy.uint8)
        pixels[:, count * 8 % width :][:, :32] = 255
        picture.capture_frame(rtc.VideoFrame(width, height, rtc.VideoBufferType.RGBA, pixels.tobytes()))
        count += 1
        await asyncio.sleep(1 / 15)


CLIENTS = {
    "js-newest-single": "livekit-client, newest; one peer connection",
    "js-newest-dual": "the same with two",
    "js-oldest-single": "livekit-client, oldest of the last year; one",
    "js-oldest-dual": "the same with two",
    "rust-single": "livekit from PyPI (Rust, libwebrtc); one",
    "rust-dual": "the same with two",
    "go-dual": "server-sdk-go (pion); two",
}
"""Every client that is tried: its name in tests, and in the table.

The Go SDK (2.18) with one connection is not among them: it fails now and then where the answer to its offer is there
before it has set the offer itself, which takes no more than a server nearby.
"""


async def open_client(name: str, base: str, context: BrowserContext) -> Client:
    """A client that has not joined yet; `base` is the URL of the server, `context` for those that are pages."""
    sdk, *release, connections = name.split("-")
    is_single = connections == "single"
    if sdk == "rust":
        return Rust(is_single=is_single)
    if sdk == "go":
        return Go()
    return JavaScript(await context.new_page(), base, *release, is_single=is_single)
