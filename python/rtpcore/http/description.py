"""What WHIP (RFC 9725) and WHEP share, with tokens and without: descriptions in, fragments in, refusals out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtpcore.errors import ClosedError, JoinError, LimitError, ParametersError, ProtocolError
from rtpcore.http.request import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from typing import TypeAlias

    from rtpcore.http.request import Request
    from rtpcore.sdp import Fragment

    Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

__all__ = ["SDP", "answering", "created", "patched", "read_fragment", "read_offer"]

SDP = "application/sdp"
_FRAGMENT = "application/trickle-ice-sdpfrag"

_MAX_OFFER = 512 * 1024
"""Characters of an offer; those of browsers with many tracks have some ten thousand."""


async def read_offer(request: Request) -> str:
    """The offer in a POST. Raises JoinError where it is none, or too long."""
    if request.content_type != SDP:
        raise JoinError(415, f"send {SDP}")
    text = await request.text()
    if len(text) > _MAX_OFFER:
        raise JoinError(413, f"an offer has at most {_MAX_OFFER} characters")
    return text


async def read_fragment(request: Request, tag: str) -> str:
    """The fragment in a PATCH (RFC 9725 §4.3).

    Raises JoinError where it is none, or meant for another ICE session than `tag`.
    """
    if request.content_type != _FRAGMENT:
        raise JoinError(415, f"send {_FRAGMENT}")
    match = request.headers.get("if-match")
    if match is None:
        raise JoinError(428, "If-Match is needed: the ETag of this session, or * to restart ICE")
    if match not in ("*", tag):
        raise JoinError(412, "the ICE session has changed")
    return await request.text()


def created(answer: str, location: str, tag: str, links: Iterable[str] = ()) -> Response:
    """The response to an offer that was taken; `links` name servers of STUN and TURN."""
    headers = {"Location": location, "ETag": tag, "Access-Control-Expose-Headers": "Location, ETag, Link"}
    if link := ", ".join(links):
        headers["Link"] = link
    return Response(201, answer.encode(), SDP, headers)


def patched(fragment: Fragment | None, tag: str) -> Response:
    """The response to a fragment: ours after an ICE restart, else nothing."""
    if fragment is None:
        return Response(204)
    return Response(200, str(fragment).encode(), _FRAGMENT, {"ETag": tag})


def answering(handler: Handler, write: Callable[[str, int], Response]) -> Handler:
    """Turn what a client did wrong into the status that says so; `write` makes a response of reason and status."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except JoinError as error:
            response = write(error.reason, error.status)
        except ProtocolError as error:
            response = write(str(error), 400)
        except ParametersError as error:
            response = write(str(error), 422)
        except (LimitError, ClosedError) as error:
            response = write(str(error), 503)
        if response.status == 503:
            response.headers["Retry-After"] = "5"
        if response.status == 415 and request.method == "POST":
            response.headers["Accept-Post"] = SDP
        return response

    return answer
