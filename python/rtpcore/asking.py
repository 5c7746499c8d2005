"""What a server that runs says over ``/rtpcore/why`` and ``/rtpcore/agents``, asked for and made into lines."""

from __future__ import annotations

import asyncio
import textwrap
import time
from typing import TYPE_CHECKING, Any

import aiohttp

from rtpcore.errors import JoinError
from rtpcore.wire.token import Claims, Keyring, VideoGrant

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["agents_as_table", "as_table", "ask", "ask_for_agents"]

_TOKEN_TTL_S = 60.0
_PATIENCE_S = 10.0
_WIDTH = 80


async def ask(url: str, keys: Mapping[str, str], room: str, identity: str = "") -> dict[str, Any]:
    """Why those in a room see what they see; see `rtpcore.http.why`.

    Args:
        url: Of the server, as clients or as browsers have it.
        keys: The server's own.
        room: Which room.
        identity: Of whom; empty for everybody.

    Raises:
        JoinError: The server refuses, with its status and words.
        aiohttp.ClientError, OSError: It does not answer, or something else does.
    """
    query = {"room": room, **({"identity": identity} if identity else {})}
    return await _get(url, "/rtpcore/why", keys, VideoGrant(room_admin=True, room=room), query)


async def ask_for_agents(url: str, keys: Mapping[str, str], room: str = "") -> dict[str, Any]:
    """Which workers there are, and what became of jobs; see `rtpcore.http.agents`.

    Args:
        url: As in :func:`ask`.
        keys: Likewise.
        room: Only its jobs; empty for all.

    Raises:
        JoinError, aiohttp.ClientError, OSError: As from :func:`ask`.
    """
    return await _get(url, "/rtpcore/agents", keys, VideoGrant(room_list=True), {"room": room} if room else {})


async def _get(
    url: str, path: str, keys: Mapping[str, str], grant: VideoGrant, query: Mapping[str, str]
) -> dict[str, Any]:
    url = url.rstrip("/")
    url = url.replace("ws", "http", 1) if url.startswith(("ws:", "wss:")) else url
    token = Keyring(keys, allow_short=True).issue(Claims(video=grant), now=time.time(), ttl=_TOKEN_TTL_S)
    headers = {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=_PATIENCE_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{url}{path}", params=query, headers=headers) as answer,
        ):
            if answer.status != 200:
                raise JoinError(answer.status, (await answer.text())[:200])
            told: dict[str, Any] = await answer.json()
            return told
    except asyncio.TimeoutError as error:
        # Before Python 3.11 another one than the builtin.
        raise TimeoutError(f"no answer within {_PATIENCE_S:g} seconds") from error


def as_table(told: Mapping[str, Any]) -> str:
    """Lines of 80 columns, where names let them: a head for each participant, two or more for each of its tracks."""
    lines = []
    for one in told["participants"]:
        lines += _wrapped(f"{one['identity']}: {_path(one['path'])}", 0)
        lines += [line for track in one["tracks"] for line in _track(track)]
    return "\n".join(lines) or "Nobody is there."


def _path(path: Mapping[str, Any] | None) -> str:
    if path is None:
        return "nothing is estimated of its path"
    budget = path["video_budget_bps"]
    rest = "" if budget is None else f", {_rate(budget)} for video"
    return f"{_rate(path['estimate_bps'])}{rest}; {path['cause']}: {path['reason']}"


def _track(track: Mapping[str, Any]) -> list[str]:
    repairs = "/".join(str(track["repairs"][name]) for name in ("nacks", "retransmitted", "fec_packets"))
    round_trip = "-" if track["round_trip_ms"] is None else f"{track['round_trip_ms']} ms"
    is_video = track["kind"] == "video"
    shown = f"{_size(track['layer'])} of {_size(track['wished'])}" if is_video else ""
    figures = f"loss {track['fraction_lost']:.0%}  RTT {round_trip}  repairs {repairs}"
    head = f"  {track['publisher']} {track['source']:<18} {shown:<22} {figures}"
    return [head.rstrip(), *_wrapped(f"{track['limit']}: {track['reason']}", 4)]


def _size(layer: Mapping[str, Any] | None) -> str:
    if layer is None:
        return "-"
    return f"{layer['width']}x{layer['height']}" if layer["width"] else f"layer {layer['spatial']}"


def _rate(bps: int) -> str:
    """As people say it.

    >>> _rate(1_250_000), _rate(80_000)
    ('1.2 Mbit/s', '80 kbit/s')
    """
    return f"{bps / 1e6:.1f} Mbit/s" if bps >= 1e6 else f"{bps / 1e3:.0f} kbit/s"


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + 4))


def agents_as_table(told: Mapping[str, Any]) -> str:
    """A line for each worker, then one for each job: those that wait first, those that ended last."""
    lines = [f"{'WORKER':<16} {'AGENT':<16} {'FOR EACH':<12} {'STATE':<10} LOAD  RUNNING  PENDING"]
    for one in told["workers"]:
        name = one["agent_name"] or "(any room)"
        figures = f"{one['load']:>4.0%}  {one['running']:>7}  {one['pending']:>7}"
        lines.append(f"{one['id']:<16} {name:<16} {one['type']:<12} {one['state']:<10} {figures}")
    if not told["workers"]:
        lines = ["No worker is there."]
    waiting = told["counts"]["queued"]
    lines += ["", f"{waiting} waiting, {told['counts']['running']} running"]
    for job in [*told["jobs"], *told["ended"]]:
        seconds = f"{job['in_state_ms'] / 1000:.0f} s"
        head = f"{job['id']:<16} {job['agent_name'] or '(any room)':<16} {job['room']:<16}"
        lines.append(f"{head} {job['state']:<10} {seconds:>7}  {job['reason']}, attempt {job['attempt']}")
    return "\n".join(lines)
