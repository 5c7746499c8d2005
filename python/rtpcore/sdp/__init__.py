"""SDP for a forwarder: text to parameters and back (RFC 8866, RFC 9429). No I/O, no clock, no randomness.

::

    text ──parse──▶ SessionDescription ──▶ .transport .tracks .wanted ──▶ core
                            │
                            ▼
               answer / Negotiation.answer ──▶ SessionDescription ──str──▶ text

One exchange needs `parse` and `answer`. A session that negotiates again and again, from either side, keeps a
`Negotiation`. WHIP and WHEP send candidates as a `Fragment`.
"""

from rtpcore.sdp.attributes import (
    Attribute,
    Extmap,
    Fmtp,
    Group,
    Msid,
    Rid,
    RtcpFb,
    Rtpmap,
    Simulcast,
    Ssrc,
    SsrcGroup,
)
from rtpcore.sdp.codecs import Capabilities, is_same_format, match, read_codecs
from rtpcore.sdp.description import Line, MediaSection, Origin, SessionDescription
from rtpcore.sdp.fragment import Fragment
from rtpcore.sdp.negotiate import Agreement, Negotiation, answer, offer
from rtpcore.sdp.parse import parse
from rtpcore.sdp.tuning import prefer, tune
from rtpcore.sdp.write import write

__all__ = [
    "Agreement",
    "Attribute",
    "Capabilities",
    "Extmap",
    "Fmtp",
    "Fragment",
    "Group",
    "Line",
    "MediaSection",
    "Msid",
    "Negotiation",
    "Origin",
    "Rid",
    "RtcpFb",
    "Rtpmap",
    "SessionDescription",
    "Simulcast",
    "Ssrc",
    "SsrcGroup",
    "answer",
    "is_same_format",
    "match",
    "offer",
    "parse",
    "prefer",
    "read_codecs",
    "tune",
    "write",
]
