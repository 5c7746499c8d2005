"""A published track and what its subscribers want of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rtpcore.events import Layer
from rtpcore.room.quality import Scorer
from rtpcore.wire.messages import (
    AudioTrackFeature,
    SimulcastCodecInfo,
    TrackInfo,
    TrackSource,
    TrackType,
    VideoLayer,
    VideoQuality,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtpcore.room.participant import Participant
    from rtpcore.room.rules import Rules
    from rtpcore.wire.messages import AddTrackRequest

__all__ = ["Subscription", "Track", "TrackSettings"]

_SVC = ("video/vp9", "video/av1")
"""Codecs that clients send as one stream of several spatial layers, unless they say otherwise."""

_SCREEN = 255
_CAMERA = 1
"""Priorities that LiveKit's server gives where the subscriber names none."""

_SPEAKER = 128
"""The camera of somebody who speaks, where the subscriber's path is short (see `rtpcore.room.ranking`)."""

_USUAL_BPS = 1_500_000
"""What a picture is taken to cost of which no bitrate was announced: about 720 lines."""

_FALLBACKS = ("video/vp8", "video/h264", "video/vp9", "video/av1", "audio/opus")
"""What every client can send comes first."""


@dataclass(frozen=True, slots=True)
class TrackSettings:
    """What a subscriber shows of a track (UpdateTrackSettings).

    Attributes:
        is_disabled: Nothing, for now.
        quality: A `VideoQuality`; counts where width and height are 0.
        width: Pixels that are shown, 0 for unknown.
        height: Likewise.
        fps: Frames per second at most, 0 for all.
        priority: Where bandwidth is short, 1 to 255, the highest is served first; 0 leaves it to the server.
    """

    is_disabled: bool = False
    quality: int = VideoQuality.HIGH
    width: int = 0
    height: int = 0
    fps: int = 0
    priority: int = 0

    def layer(self, layers: Sequence[VideoLayer]) -> Layer:
        """The layer that serves this; `layers` as the publisher announced them, smallest first.

        >>> small, large = VideoLayer(width=320, height=180), VideoLayer(width=1280, height=720, quality=2)
        >>> TrackSettings(width=400, height=200).layer([small, large]).spatial
        1
        """
        if self.width and self.height and layers:
            fitting = (n for n, one in enumerate(layers) if one.width >= self.width and one.height >= self.height)
            spatial = next(fitting, len(layers) - 1)
        elif layers:
            # Fewer layers than qualities: the best that is not better than asked for, or the smallest.
            spatial = max((n for n, one in enumerate(layers) if one.quality <= self.quality), default=0)
        else:
            spatial = self.quality
        return Layer(spatial, self._temporal())

    def _temporal(self) -> int:
        # Clients send three temporal layers of 30 frames per second, each half of the next.
        if not self.fps or self.fps > 15:
            return Layer().temporal
        return 1 if self.fps > 7 else 0


@dataclass(eq=False, slots=True)
class Subscription:
    """One participant's wish for one track.

    Attributes:
        is_wanted: By the subscriber.
        is_allowed: By the publisher (subscription permission).
        settings: What is shown of it.
        is_active: A copy is being sent, or about to be.
        is_starved: It is paused since the subscriber's path is too narrow.
        shown_bps: What it may cost now, 0 while nothing is shown of it (see `rtpcore.room.ranking`).
        is_ahead: It shows somebody who speaks, and the subscriber's path is too narrow for all that is shown.
        mime_type: The codec in which its client takes the track, where that comes in several; else empty.
        scorer: How well it arrives.
    """

    subscriber: Participant
    track: Track
    is_wanted: bool = True
    is_allowed: bool = True
    settings: TrackSettings = field(default_factory=TrackSettings)
    is_active: bool = False
    is_starved: bool = False
    shown_bps: int = 0
    is_ahead: bool = False
    mime_type: str = ""
    scorer: Scorer = field(default_factory=Scorer)

    @property
    def layer(self) -> Layer:
        """The layer wanted now."""
        return self.settings.layer(self.track.info.layers)

    @property
    def priority(self) -> int:
        """How it ranks among the subscriber's tracks where bandwidth is short: screens, then who speaks, then others.

        What the subscriber says itself comes before all that.
        """
        if self.settings.priority:
            return self.settings.priority
        if self.track.info.source == TrackSource.SCREEN_SHARE:
            return _SCREEN
        return _SPEAKER if self.is_ahead else _CAMERA

    @property
    def bitrate_bps(self) -> int:
        """What the layer wanted may cost, as its publisher announced it."""
        layers = self.track.info.layers
        return (layers[min(self.layer.spatial, len(layers) - 1)].bitrate if layers else 0) or _USUAL_BPS

    @property
    def quality(self) -> int:
        """The `VideoQuality` of that layer, as the publisher numbers them."""
        layers = self.track.info.layers
        return layers[min(self.layer.spatial, len(layers) - 1)].quality if layers else VideoQuality.HIGH


@dataclass(eq=False, slots=True)
class Track:
    """A track from AddTrack on; others hear of it once its media come.

    Attributes:
        cid: The client's name for it.
        info: What others are told.
        is_published: Media came: others know it.
        subscriptions: By the subscriber's sid.
        was_subscribed: Its publisher was told that somebody listens.
        published_at_ms: Unix time.
        is_regressed: Everybody gets its backup codec, so that its publisher encodes it once only.
        live: The numbers of its codecs of which media came.
        asked: By codec, the best quality that its publisher was last asked for (see `rtpcore.room.dynacast`).
        lower_at_ms: When it will be asked for less, if nothing changes.
        scorer: How well it comes.
    """

    publisher: Participant
    cid: str
    info: TrackInfo
    is_published: bool = False
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    was_subscribed: bool = False
    published_at_ms: int = 0
    is_regressed: bool = False
    live: set[int] = field(default_factory=set)
    asked: dict[str, int] = field(default_factory=dict)
    lower_at_ms: int | None = None
    scorer: Scorer = field(default_factory=Scorer)

    @property
    def mime_types(self) -> list[str]:
        """The codecs it may come in, in lower case, such as ``video/vp8``: the first one, then its backup."""
        return [codec.mime_type.lower() for codec in self.info.codecs] or [self.info.mime_type.lower()]

    def mime_type(self, codec: int) -> str:
        """The codec with this number."""
        names = self.mime_types
        return names[min(codec, len(names) - 1)]

    @property
    def announced(self) -> list[int]:
        """The numbers of the codecs for which its publisher has a media section, or will make one."""
        return [number for number, codec in enumerate(self.info.codecs) if codec.cid or number == 0] or [0]

    @property
    def sid(self) -> str:
        """The track's name in the room."""
        return self.info.sid

    @property
    def kind(self) -> str:
        """``audio`` or ``video``."""
        return "audio" if self.info.type == TrackType.AUDIO else "video"

    @property
    def is_face(self) -> bool:
        """Whether it may show who speaks: any video but a screen."""
        return self.kind == "video" and self.info.source != TrackSource.SCREEN_SHARE

    def stream_id(self, *, in_sync: bool = False) -> str:
        """The media stream under which subscribers get it; the part before ``|`` is how clients find the publisher.

        Args:
            in_sync: Share it with what the publisher sends beside it: a camera with its microphone.
        """
        return f"{self.publisher.sid}|{self.info.stream if in_sync else self.sid}"

    def is_named(self, cid: str, codec: int | None = None) -> bool:
        """Whether a client means this track by `cid`, or one of its codecs by that one's name.

        The first codec may go by the track's own name.
        """
        if not cid:
            return False
        numbers = range(len(self.info.codecs)) if codec is None else [codec]
        named = [self.info.codecs[number] for number in numbers if number < len(self.info.codecs)]
        return (cid == self.cid and not codec) or any(cid in (one.cid, one.sdp_cid) for one in named)


def describe(request: AddTrackRequest, sid: str, rules: Rules) -> TrackInfo:
    """The public face of a track that was announced; a codec that may not be published is replaced by one that may."""
    info = TrackInfo(
        sid=sid,
        type=request.type,
        name=request.name,
        muted=request.muted,
        width=request.width,
        height=request.height,
        disable_dtx=request.disable_dtx,
        source=request.source,
        stereo=request.stereo,
        disable_red=request.disable_red,
        encryption=request.encryption,
        stream=request.stream or _stream_of(request.source),
        backup_codec_policy=request.backup_codec_policy,
        packet_trailer_features=request.packet_trailer_features,
    )
    features = list(request.audio_features)
    for is_set, feature in (
        (request.stereo, AudioTrackFeature.TF_STEREO),
        (request.disable_dtx, AudioTrackFeature.TF_NO_DTX),
    ):
        if is_set and feature not in features:
            features.append(feature)
    info.audio_features.extend(features)
    if request.type == TrackType.VIDEO:
        layers = sorted(request.layers, key=lambda layer: layer.quality)
        if not layers:
            layers = [VideoLayer(quality=VideoQuality.HIGH, width=request.width, height=request.height)]
        info.layers.extend(layers)
        info.simulcast = len(layers) > 1
    for codec in request.simulcast_codecs:
        mime_type = _allowed(codec.codec if "/" in codec.codec else f"{_kind_of(request.type)}/{codec.codec}", rules)
        if any(mime_type == other.mime_type for other in info.codecs):
            continue
        described = SimulcastCodecInfo(mime_type=mime_type, cid=codec.cid)
        described.layers.extend(codec.layers or info.layers)
        described.video_layer_mode = codec.video_layer_mode or _mode_of(mime_type)
        info.codecs.append(described)
    if info.codecs and info.codecs[0].mime_type in _SVC:
        info.simulcast = info.codecs[0].video_layer_mode == VideoLayer.Mode.ONE_SPATIAL_LAYER_PER_STREAM and (
            len(info.layers) > 1
        )
    return info


def _allowed(mime_type: str, rules: Rules) -> str:
    """The codec, in lower case, or in its place the first of its kind that may be published."""
    mime_type = mime_type.lower()
    if rules.allows(mime_type):
        return mime_type
    kind = mime_type.partition("/")[0]
    return next((one for one in _FALLBACKS if one.startswith(kind) and rules.allows(one)), mime_type)


def _mode_of(mime_type: str) -> VideoLayer.Mode:
    modes = VideoLayer.Mode
    return modes.MULTIPLE_SPATIAL_LAYERS_PER_STREAM if mime_type in _SVC else modes.ONE_SPATIAL_LAYER_PER_STREAM


def _kind_of(kind: TrackType) -> str:
    return "audio" if kind == TrackType.AUDIO else "video"


def _stream_of(source: TrackSource) -> str:
    if source in (TrackSource.CAMERA, TrackSource.MICROPHONE):
        return "camera"
    if source in (TrackSource.SCREEN_SHARE, TrackSource.SCREEN_SHARE_AUDIO):
        return "screen"
    return "unknown"
