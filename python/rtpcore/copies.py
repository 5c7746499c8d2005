"""A subscriber's copy of a track: what is offered of it, what the peer takes, and which of its codecs is sent."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rtpcore import sdp
from rtpcore.parameters import Codec, Kind, SenderParameters

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rtpcore.events import Layer
    from rtpcore.forwarder import Receiver, Sender, Transport

__all__ = ["Copy", "Sources"]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a track can be had from.

    A track comes in one codec, or in two: then each has a receiver of its own, and the second is there only once its
    publisher was asked for it (backup codec).

    Attributes:
        kind: ``audio`` or ``video``.
        codecs: All formats that a subscriber may be offered.
        receivers: By the MIME type in lower case; under ``""`` one whose codec nobody has announced.
        order: The MIME types of a track that is announced in several codecs, most wanted first; else nothing.
    """

    kind: Kind
    codecs: tuple[Codec, ...]
    receivers: Mapping[str, Receiver]
    order: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        receivers: Mapping[str, Receiver],
        announced: Iterable[str],
        *,
        is_regressed: bool = False,
        has_red: bool = False,
    ) -> Sources:
        """Those of a track.

        Args:
            receivers: By MIME type; one at least.
            announced: The MIME types in which its publisher can send it, the first before its backup.
            is_regressed: The backup is preferred: it takes the first one's place.
            has_red: Opus may be repeated (RFC 2198) for subscribers that lose it, though its publisher does not.
        """
        first = next(iter(receivers.values()))
        order = tuple(announced)
        if len(order) < 2:
            codecs = first.track.codecs
            if has_red and {"audio/opus"} <= _names(codecs) and "audio/red" not in _names(codecs):
                codecs += tuple(codec for codec in sdp.Capabilities().codecs if codec.mime_type == "audio/red")
            return cls(first.track.kind, codecs, {"": first})
        known = [codec for one in receivers.values() for codec in one.track.codecs]
        # A backup that was never sent has no payload type yet: any will do, for each peer has its own.
        known += [codec for codec in sdp.Capabilities().codecs if codec.mime_type.lower() not in _names(known)]
        codecs = tuple(dict.fromkeys(codec for codec in known if codec.mime_type.lower() in order))
        return cls(first.track.kind, codecs, dict(receivers), order[::-1] if is_regressed else order)


@dataclass(eq=False, slots=True)
class Copy:
    """A track that a connection's peer is to get.

    Attributes:
        sid: The track's name, which is also its name in SDP.
        sources: Where it comes from.
        stream_id: Its media stream in SDP.
        own_stream_id: The same where its section had another track before, whose name browsers go on using: then the
            stream has to say which track it is. Empty for one that always does.
        layer: The most that is wanted.
        playout_delay_ms: The least and the most that the peer shall hold video back; None leaves it alone.
        priority: Among the copies of the connection where bandwidth is short; the highest is served first.
        is_paused: Nothing is wanted now.
        mid: Its media section, once it has one.
        parameters: What was negotiated for it, once the peer agreed.
        sender: Its way out, once there is something to send.
    """

    sid: str
    sources: Sources
    stream_id: str
    layer: Layer
    is_paused: bool = False
    priority: int = 0
    own_stream_id: str = ""
    playout_delay_ms: tuple[int, int] | None = None
    mid: str | None = None
    ssrc: int = field(default_factory=lambda: secrets.randbelow(2**32 - 1) + 1)
    rtx_ssrc: int = field(default_factory=lambda: secrets.randbelow(2**32 - 1) + 1)
    fec_ssrc: int = field(default_factory=lambda: secrets.randbelow(2**32 - 1) + 1)
    parameters: SenderParameters | None = None
    sender: Sender | None = None
    _source: Receiver | None = None

    @property
    def kind(self) -> Kind:
        """``audio`` or ``video``."""
        return self.sources.kind

    @property
    def mime_type(self) -> str:
        """The codec in which the peer is to get it, of those it takes; empty before that is known."""
        if self.parameters is None:
            return ""
        taken = _names(self.parameters.codecs)
        return next((name for name in self.sources.order if name in taken), "")

    def propose(self, codecs: tuple[Codec, ...]) -> SenderParameters:
        """What to negotiate, in its section."""
        has_rtx = any(codec.rtx is not None for codec in codecs)
        return SenderParameters(
            mid=self.mid,
            kind=self.kind,
            codecs=codecs,
            ssrc=self.ssrc,
            rtx_ssrc=self.rtx_ssrc if has_rtx else None,
            fec_ssrc=self.fec_ssrc if self.kind == "video" else None,
            stream_id=self.stream_id,
            track_id=self.sid,
            cname=self.stream_id,
            playout_delay_ms=self.playout_delay_ms if self.kind == "video" else None,
        )

    def common(self, codecs: Iterable[Codec]) -> tuple[Codec, ...]:
        """Those of a section's codecs that the track may come in."""
        ours = self.sources.codecs
        return tuple(codec for codec in codecs if any(sdp.is_same_format(codec, other) for other in ours))

    def connect(self, transport: Transport) -> None:
        """Send it, or go on with another source, as negotiation and publisher now allow."""
        source = self.sources.receivers.get(self.mime_type)
        if self.parameters is None or source is None:
            return
        if self.sender is None:
            self.sender = transport.add_sender(source, self.parameters)
            self.steer()
        elif source is not self._source:
            self.sender.follow(source)
        self._source = source

    def disconnect(self) -> None:
        """Send it no longer; its section is gone."""
        self.mid = self.parameters = self._source = None
        if self.sender is not None:
            self.sender.close()
            self.sender = None

    def steer(self) -> None:
        """Pass layer and pause on to the sender, if there is one."""
        if self.sender is None:
            return
        self.sender.prefer(self.layer, priority=self.priority)
        if self.is_paused:
            self.sender.pause()
        else:
            self.sender.resume()


def _names(codecs: Iterable[Codec]) -> set[str]:
    return {codec.mime_type.lower() for codec in codecs}
