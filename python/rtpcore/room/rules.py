"""What a room lets its participants do, by the server's configuration and by whoever made the room."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["MAX_PLAYOUT_DELAY_MS", "Rules"]

MAX_PLAYOUT_DELAY_MS = 40_950
"""The longest that the header extension can tell."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Bounds and choices of one room; the defaults are those of LiveKit's server.

    Attributes:
        enabled_codecs: MIME types that may be published, in lower case; empty for all that can be forwarded.
        allows_remote_unmute: The server API may unmute tracks.
        sync_streams: All that a participant publishes is one media stream, which browsers play in step.
        playout_delay_ms: The least and the most that subscribers shall hold video back; None leaves it to them.
        has_red: Opus is repeated (RFC 2198) for subscribers that take it and lose some of it, though its publisher does
            not.
        has_data_tracks: Data tracks may be published.
        dynacast_pause_ms: How long a quality that nobody wants is still sent.
        regression_threshold: Participants from which a backup codec is sent beside the first, not instead of it.
        max_metadata: Bytes, of the room's and of each participant's.
        max_attributes: Bytes of a participant's attributes, names included.
        max_name: Bytes of a participant's name.
        max_update: Bytes of one message about participants; 0 for any number.
        max_video_subscriptions: Video tracks that a participant gets at once; 0 for any number.
        max_audio_subscriptions: Likewise of audio.
    """

    enabled_codecs: frozenset[str] = frozenset()
    allows_remote_unmute: bool = False
    sync_streams: bool = False
    playout_delay_ms: tuple[int, int] | None = None
    has_red: bool = True
    has_data_tracks: bool = True
    dynacast_pause_ms: int = 5000
    regression_threshold: int = 5
    max_metadata: int = 512 * 1024
    max_attributes: int = 64 * 1024
    max_name: int = 256
    max_update: int = 128 * 1024
    max_video_subscriptions: int = 0
    max_audio_subscriptions: int = 0

    def delayed(self, least_ms: int, most_ms: int) -> Rules:
        """The same where subscribers hold video back; as before where neither is said. No most is any.

        >>> Rules().delayed(200, 0).playout_delay_ms
        (200, 40950)
        """
        if not (least_ms or most_ms):
            return self
        least, most = (max(0, min(ms, MAX_PLAYOUT_DELAY_MS)) for ms in (least_ms, most_ms or MAX_PLAYOUT_DELAY_MS))
        return replace(self, playout_delay_ms=(least, max(least, most)))

    def allows(self, mime_type: str) -> bool:
        """Whether a codec may be published.

        >>> Rules(enabled_codecs=frozenset({"video/vp8"})).allows("video/AV1")
        False
        """
        return not self.enabled_codecs or mime_type.lower() in self.enabled_codecs

    def why_too_long(self, metadata: str = "", attributes: dict[str, str] | None = None, name: str = "") -> str:
        """What of a participant's description is longer than it may be; nothing where all of it fits.

        >>> Rules(max_name=3).why_too_long(name="long")
        'a name has at most 3 bytes'
        """
        size = sum(len(key.encode()) + len(value.encode()) for key, value in (attributes or {}).items())
        if len(metadata.encode()) > self.max_metadata:
            return f"metadata has at most {self.max_metadata} bytes"
        if size > self.max_attributes:
            return f"attributes have at most {self.max_attributes} bytes"
        if len(name.encode()) > self.max_name:
            return f"a name has at most {self.max_name} bytes"
        return ""
