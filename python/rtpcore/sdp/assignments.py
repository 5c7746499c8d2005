"""Payload types and header extension ids that stay put over a session's life.

In a BUNDLE group a number means the same in every section (RFC 9143 §9), and keeps its meaning over renegotiations
(RFC 9429 §5.2.2). So numbers of the peer's offers are learned, and what we offer beyond them takes what is free.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from rtpcore.errors import ParametersError
from rtpcore.parameters import Codec, Extension, Kind
from rtpcore.sdp.attributes import Extmap
from rtpcore.sdp.codecs import Capabilities, is_same_format, read_codecs, supported_feedback
from rtpcore.sdp.tracks import is_rtp

if TYPE_CHECKING:
    from rtpcore.sdp.description import SessionDescription

# With rtcp-mux, 64 to 95 would be mistaken for RTCP (RFC 5761 §4).
_DYNAMIC: tuple[int, ...] = (*range(96, 128), *range(35, 64))


class Assignments:
    """What each number means in one session."""

    def __init__(self, capabilities: Capabilities) -> None:
        """Start with nothing assigned."""
        self._capabilities = capabilities
        self._codecs: list[Codec] = []
        self._payload_types: set[int] = set()
        self._ids: dict[str, int] = {}
        self._used_ids: set[int] = set()

    def learn(self, description: SessionDescription) -> None:
        """Keep to what a peer's description says; numbers for things we do not know are taken too."""
        capabilities = self._capabilities
        sections = [section for section in description.media if is_rtp(section) and not section.is_rejected]
        words = (text for section in sections for text in section.formats)
        numbers = {int(text) for text in words if text.isascii() and text.isdigit() and len(text) <= 3}
        codecs = [codec for section in sections for codec in capabilities.common(read_codecs(section))]
        offered = {codec.payload_type: codec for codec in codecs}
        # A number with a new meaning is the peer's right as offerer; what we meant by it gets another.
        self._codecs = [known for known in self._codecs if _survives(known, numbers, offered)]
        for codec in codecs:
            if self._find(codec) is None:
                self._codecs.append(replace(codec, feedback=supported_feedback(codec)))
        self._payload_types |= numbers
        uris = {item.id: item.uri for level in (*sections, description) for item in level.all(Extmap)}
        self._used_ids |= uris.keys()
        self._ids = {uri: number for uri, number in self._ids.items() if uris.get(number, uri) == uri}
        for number, uri in uris.items():
            if number <= 255 and uri in capabilities.extensions:
                self._ids.setdefault(uri, number)

    def codecs(self, kind: Kind) -> tuple[Codec, ...]:
        """Everything we can offer of a kind."""
        own = (codec for codec in self._capabilities.codecs if codec.mime_type.startswith(kind))
        return tuple(self.codec(codec) for codec in own)

    def codec(self, wanted: Codec) -> Codec:
        """This format under this session's payload types. Raises ParametersError once all 61 are taken."""
        known = self._find(wanted)
        if known is not None:
            return known
        payload_type = self._take(wanted.payload_type)
        rtx = None if wanted.rtx is None else self._take(wanted.rtx)
        fmtp = wanted.fmtp
        if wanted.mime_type.lower() == "audio/red":
            opus = self.codec(Codec("audio/opus", 111, 48000, 2, "minptime=10;useinbandfec=1"))
            fmtp = f"{opus.payload_type}/{opus.payload_type}"
        codec = replace(wanted, payload_type=payload_type, rtx=rtx, fmtp=fmtp, feedback=supported_feedback(wanted))
        self._codecs.append(codec)
        return codec

    def extensions(self, uris: Iterable[str]) -> tuple[Extension, ...]:
        """These extensions under this session's ids, as far as we know them."""
        known = set(self._capabilities.extensions)
        return tuple(Extension(uri, self._id(uri)) for uri in uris if uri in known)

    def _find(self, wanted: Codec) -> Codec | None:
        return next((codec for codec in self._codecs if is_same_format(codec, wanted)), None)

    def _take(self, wish: int) -> int:
        taken = self._payload_types
        choices: tuple[int, ...] = (wish, *_DYNAMIC) if wish < 64 or wish > 95 else _DYNAMIC
        number = next((choice for choice in choices if choice not in taken), None)
        if number is None:
            raise ParametersError("no payload type is left", "restrict the codecs of this session")
        taken.add(number)
        return number

    def _id(self, uri: str) -> int:
        if uri not in self._ids:
            # 15 is reserved in the one-byte form (RFC 8285 §4.2).
            free = (number for number in range(1, 256) if number != 15 and number not in self._used_ids)
            number = next(free, None)
            if number is None:
                raise ParametersError("no header extension id is left", "offer fewer extensions")
            self._ids[uri] = number
            self._used_ids.add(number)
        return self._ids[uri]


def _survives(known: Codec, numbers: set[int], offered: dict[int, Codec]) -> bool:
    """Whether what we meant by a codec's numbers is untouched by a peer's section, or meant by it too."""
    theirs = offered.get(known.payload_type)
    is_red = known.mime_type == "audio/red"
    if theirs is not None and is_same_format(known, theirs):
        return (known.rtx not in numbers or known.rtx == theirs.rtx) and not (is_red and known.fmtp != theirs.fmtp)
    # The parameters of red name the payload types of the opus in it.
    inner = {int(text) for text in known.fmtp.split("/")} if is_red else set()
    gone = {n for n in inner & numbers if n not in offered or offered[n].mime_type != "audio/opus"}
    return not gone and numbers.isdisjoint({known.payload_type, known.rtx})
