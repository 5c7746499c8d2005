"""The PyPI package `livekit`: LiveKit's Rust SDK on libwebrtc, in this process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy
from livekit import rtc
from livekit.rtc.participant import PublishTrackError
from tests.e2e.client import Client, Refused, RpcFailed

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

__all__ = ["Rust"]


class Rust(Client):
    """The PyPI package `livekit`: LiveKit's Rust SDK on libwebrtc, in this process."""

    WIDTH, HEIGHT = 960, 540

    def __init__(self, *, is_single: bool, key: str = "", is_relayed: bool = False) -> None:
        provider = rtc.KeyProviderOptions(shared_key=key.encode())
        encryption = rtc.E2EEOptions(key_provider_options=provider) if key else None
        self._options = rtc.RoomOptions(single_peer_connection=is_single, dynacast=True, encryption=encryption)
        if is_relayed:
            policy = rtc.IceTransportType.TRANSPORT_RELAY
            self._options.rtc_config = rtc.RtcConfiguration(ice_transport_type=policy)
        self._room = rtc.Room()
        self._events: list[str] = []
        self._heard: list[dict[str, str]] = []
        self._qualities: dict[str, str] = {}
        self._data_tracks: dict[str, rtc.LocalDataTrack] = {}
        self._reading: set[asyncio.Task[None]] = set()
        self._reason: str | None = None
        self._media: dict[str, dict[str, float]] = {}
        self._streams: list[tuple[rtc.VideoStream | rtc.AudioStream, asyncio.Task[None]]] = []
        self._sources: dict[str, asyncio.Task[None]] = {}
        self._room.on("track_subscribed", self._subscribed)
        self._room.on("disconnected", self._disconnected)
        for name in ("reconnecting", "reconnected"):
            self._room.on(name, lambda name=name: self._events.append(name))
        self._listen()

    async def join(self, url: str, token: str) -> None:
        try:
            await self._room.connect(url, token, self._options)
        except rtc.ConnectError as error:
            raise Refused(error.message) from error
        me = self._room.local_participant
        me.register_rpc_method("echo", _echo)
        me.register_rpc_method("refuse", _refuse)
        me.register_rpc_method("sleep", _sleep)

    def _listen(self) -> None:
        room = self._room

        def hear(kind: str, one: str, text: str, topic: str = "") -> None:
            self._heard.append({"kind": kind, "from": one, "topic": topic, "text": text})

        def take(packet: rtc.DataPacket) -> None:
            one = packet.participant
            hear("data", one.identity if one is not None else "", packet.data.decode(), packet.topic or "")

        def transcribed(segments: list[rtc.TranscriptionSegment], one: rtc.Participant | None, _: Any) -> None:
            for segment in segments:
                hear("transcription", one.identity if one is not None else "", segment.text)

        async def read_text(reader: rtc.TextStreamReader, one: str) -> None:
            hear("text", one, await reader.read_all(), "words")

        async def read_bytes(reader: rtc.ByteStreamReader, one: str) -> None:
            hear("bytes", one, b"".join([chunk async for chunk in reader]).decode(), "file")

        async def read_track(track: rtc.RemoteDataTrack) -> None:
            async for frame in track.subscribe():
                hear("track", track.publisher_identity, frame.payload.decode(), track.info.name)

        def judged(one: rtc.Participant, _: int) -> None:
            self._qualities[one.identity] = one.connection_quality.name.removeprefix("QUALITY_").lower()

        room.on("data_received", take)
        room.on("sip_dtmf_received", lambda tone: hear("dtmf", tone.participant.identity, tone.digit))
        room.on("transcription_received", transcribed)
        room.on("connection_quality_changed", judged)
        room.on("data_track_published", lambda track: self._read(read_track(track)))
        room.register_text_stream_handler("words", lambda reader, one: self._read(read_text(reader, one)))
        room.register_byte_stream_handler("file", lambda reader, one: self._read(read_bytes(reader, one)))

    def _read(self, reading: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(reading)
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

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
            "heard": self._heard,
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
            "quality": self._qualities.get(one.identity, "unknown"),
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

    async def media(self, identity: str, source: str) -> dict[str, Any]:
        try:
            sid = self._theirs(identity, source).sid
        except (KeyError, StopIteration):
            sid = ""
        return dict(self._media.get(sid, {"frames": 0, "width": 0, "energy": 0}))

    async def sent(self, source: str) -> dict[str, dict[str, Any]]:
        stats = (await self._room.get_rtc_stats()).publisher_stats
        codecs = {one.codec.rtc.id: one.codec.codec.mime_type for one in stats if one.HasField("codec")}
        sent: dict[str, dict[str, Any]] = {}
        for one in stats:
            if one.HasField("outbound_rtp") and one.outbound_rtp.stream.kind == "video":
                codec = codecs.get(one.outbound_rtp.stream.codec_id, "")
                sent.setdefault(codec, {"active": 0})["active"] += one.outbound_rtp.outbound.active
        return sent

    async def publish(self, source: str, **wishes: Any) -> None:
        options = rtc.TrackPublishOptions(
            source=rtc.TrackSource.Value(f"SOURCE_{_LONG.get(source, source).upper()}"), simulcast=source == "camera"
        )
        for name, value in wishes.items():
            if name == "videoCodec":
                options.video_codec = rtc.VideoCodec.Value(value.upper())
            else:
                setattr(options, name, value)
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

    async def simulate(self, scenario: str) -> None:
        await self._room.simulate_scenario(_SCENARIOS[scenario])

    async def say(self, text: str, *, topic: str = "", to: Sequence[str] = (), reliable: bool = True) -> None:
        me = self._room.local_participant
        await me.publish_data(text, topic=topic, destination_identities=list(to), reliable=reliable)

    async def stream(self, text: str, *, to: Sequence[str] = ()) -> None:
        await self._room.local_participant.send_text(text, topic="words", destination_identities=list(to))

    async def send(self, text: str, *, to: Sequence[str] = ()) -> None:
        await self._room.local_participant.send_bytes(text.encode(), topic="file", destination_identities=list(to))

    async def call(self, identity: str, method: str, payload: str = "", *, timeout_ms: int = 10_000) -> str:
        try:
            return await self._room.local_participant.perform_rpc(
                destination_identity=identity, method=method, payload=payload, response_timeout=timeout_ms / 1000
            )
        except rtc.RpcError as error:
            raise RpcFailed(error.code, error.message, error.data) from error

    async def chat(self, text: str) -> None:
        raise NotImplementedError("the SDK has no chat but text streams")

    async def transcribe(self, identity: str, track: str, text: str) -> None:
        segment = rtc.TranscriptionSegment("segment", text, 0, 0, "en", True)
        await self._room.local_participant.publish_transcription(rtc.Transcription(identity, track, [segment]))

    async def dial(self, digit: str) -> None:
        await self._room.local_participant.publish_dtmf(code=int(digit), digit=digit)

    async def publish_data(self, name: str) -> None:
        self._data_tracks[name] = await self._room.local_participant.publish_data_track(name=name)

    async def push(self, name: str, text: str) -> None:
        self._data_tracks[name].try_push(rtc.DataTrackFrame(payload=text.encode()))

    async def leave(self) -> None:
        for task in (*self._sources.values(), *self._reading):
            task.cancel()
        for stream, task in self._streams:
            task.cancel()
            await stream.aclose()
        await self._room.disconnect()


_LONG = {"screen_share": "screenshare"}
"""What the Rust SDK calls a source otherwise."""


_SCENARIOS = {
    "signal-reconnect": rtc.SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT,
    "full-reconnect": rtc.SimulateScenarioKind.SIMULATE_FULL_RECONNECT,
    "speaker": rtc.SimulateScenarioKind.SIMULATE_SPEAKER,
    "node-failure": rtc.SimulateScenarioKind.SIMULATE_NODE_FAILURE,
    "server-leave": rtc.SimulateScenarioKind.SIMULATE_SERVER_LEAVE,
    "migration": rtc.SimulateScenarioKind.SIMULATE_MIGRATION,
    "force-tcp": rtc.SimulateScenarioKind.SIMULATE_FORCE_TCP,
    "disconnect-signal-on-resume": rtc.SimulateScenarioKind.SIMULATE_DISCONNECT_SIGNAL_ON_RESUME,
}


async def _echo(call: rtc.RpcInvocationData) -> str:
    return f"{call.caller_identity}: {call.payload}"


async def _refuse(_: rtc.RpcInvocationData) -> str:
    raise rtc.RpcError(101, "not today", "perhaps tomorrow")


async def _sleep(_: rtc.RpcInvocationData) -> str:
    await asyncio.sleep(20)
    return "too late"


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
