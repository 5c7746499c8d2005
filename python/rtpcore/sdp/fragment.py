"""Candidates that come later, as `application/trickle-ice-sdpfrag` (RFC 8840 §9; in WHIP: RFC 9725 §4.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rtpcore.parameters import Candidate, IceParameters
from rtpcore.sdp.attributes import AnyAttribute, Attribute
from rtpcore.sdp.description import Attributes, MediaSection
from rtpcore.sdp.parse import read_blocks, split
from rtpcore.sdp.write import finish, section_lines


@dataclass(frozen=True, slots=True)
class Fragment(Attributes):
    """ICE credentials and candidates, perhaps per section. `str` writes it.

    Attributes:
        attributes: Those before the first section.
        media: Sections that hold little but mid and candidates.

    >>> fragment = Fragment.parse('''a=ice-ufrag:EsAw
    ... a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
    ... m=audio 9 UDP/TLS/RTP/SAVPF 0
    ... a=mid:0
    ... a=candidate:1 1 udp 2130706431 198.51.100.1 39132 typ host
    ... a=end-of-candidates
    ... ''')
    >>> fragment.ice.ufrag, fragment.candidates[0].address, fragment.end_of_candidates
    ('EsAw', '198.51.100.1', True)
    """

    attributes: tuple[AnyAttribute, ...] = ()
    media: tuple[MediaSection, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Fragment:
        """Read the body of a PATCH. Raises ProtocolError with the number of the line."""
        session, media = read_blocks(split(text), first=1)
        return cls(tuple(session.attributes), media)

    @classmethod
    def of(
        cls,
        ice: IceParameters,
        candidates: Iterable[Candidate] = (),
        *,
        mid: str = "0",
        kind: str = "audio",
        is_last: bool = False,
    ) -> Fragment:
        """A fragment for the one section that carries the transport, as in the reply to an ICE restart.

        Args:
            ice: Our credentials: they say which generation of ICE is meant.
            candidates: New ones.
            mid: The tagged section's.
            kind: The tagged section's.
            is_last: No more will come.
        """
        end = (Attribute("end-of-candidates"),) if is_last else ()
        format_, protocol = ("webrtc-datachannel", "UDP/DTLS/SCTP") if kind == "application" else ("0", _RTP)
        section = MediaSection(kind, 9, protocol, (format_,), (Attribute("mid", mid), *candidates, *end), ())
        lite = (Attribute("ice-lite"),) if ice.lite else ()
        return cls((*lite, Attribute("ice-ufrag", ice.ufrag), Attribute("ice-pwd", ice.pwd)), (section,))

    @property
    def ice(self) -> IceParameters | None:
        """The credentials that the candidates belong to; None if none are given, which means the current ones."""
        levels = (self, *self.media)
        ufrag = next((value for level in levels if (value := level.value("ice-ufrag"))), None)
        pwd = next((value for level in levels if (value := level.value("ice-pwd"))), None)
        return None if ufrag is None or pwd is None else IceParameters(ufrag, pwd, self.has("ice-lite"))

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every candidate, each once: all of them belong to the one bundled transport."""
        return tuple(dict.fromkeys(c for level in (self, *self.media) for c in level.all(Candidate)))

    @property
    def end_of_candidates(self) -> bool:
        """Whether no more will come."""
        return any(level.has("end-of-candidates") for level in (self, *self.media))

    def __str__(self) -> str:
        """The fragment as text, with CRLF line ends. Raises ParametersError if a field holds a line end."""
        return finish(self._lines())

    def _lines(self) -> Iterator[str]:
        yield from (f"a={attribute}" for attribute in self.attributes)
        for section in self.media:
            yield from section_lines(section)


_RTP = "UDP/TLS/RTP/SAVPF"
