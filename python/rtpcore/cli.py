"""``rtpcore``: a server, and what one needs around it.

::

    rtpcore serve            as python -m rtpcore.serve
    rtpcore token            a token to join a room; also create-join-token, as LiveKit calls it
    rtpcore generate-keys    an API key and its secret
    rtpcore ports            what must be open
    rtpcore doctor           what keeps a call from working
    rtpcore why              why those in a room see what they see
    rtpcore agents list      agent workers, what they do, who waits for one
    rtpcore bench load       clients for any LiveKit server, and what they get

All but ``generate-keys`` and ``bench`` take the server's own options, and so mean the same keys and ports.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import secrets
import string
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import aiohttp

from rtpcore import asking, doctor, log, ports, serve
from rtpcore.errors import ConfigError, RtpcoreError
from rtpcore.wire.token import Claims, Keyring, VideoGrant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]

_SOURCES = ("camera", "microphone", "screen_share", "screen_share_audio")
_LETTERS = string.ascii_letters + string.digits
_KEY_LETTERS, _SECRET_BYTES = 12, 32


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 is well, 1 is not, 2 is a wrong command line."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["serve"]:
        return serve.main(given[1:])
    parsed = None if given[:1] == ["bench"] else _parser().parse_args(given)
    try:
        if parsed is None:
            # Nothing that runs a server needs it.
            from rtpcore import bench_load

            return bench_load.main(given[1:])
        command: Callable[[argparse.Namespace], int] = parsed.command
        return command(parsed)
    except (RtpcoreError, OSError, aiohttp.ClientError) as error:
        print(f"rtpcore: {error}", file=sys.stderr)
        return 1


def duration(text: str) -> float:
    """Seconds of ``90``, ``15m``, ``6h`` or ``30d``. Raises ValueError.

    >>> duration("90"), duration("6h")
    (90.0, 21600.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if found is None:
        raise ValueError(f"{text!r} is not a time such as 90, 15m, 6h or 30d")
    seconds = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]
    if seconds <= 0:
        raise ValueError("a token has to be good for some time")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rtpcore", description="A server for LiveKit's clients, and tools around it.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    # Its options are its own affair: `main` hands them over.
    commands.add_parser("serve", help="run a server", add_help=False)
    commands.add_parser("bench", help="measure a server", add_help=False)
    token = commands.add_parser(
        "token",
        aliases=["create-join-token"],
        help="make a token to join a room",
        description="Print a token, signed by the first of the server's keys.",
    )
    _add_token_options(token)
    serve.add_options(token)
    token.set_defaults(command=_token)
    keys = commands.add_parser("generate-keys", help="make an API key and its secret")
    keys.set_defaults(command=_generate_keys)
    needed = commands.add_parser("ports", help="say which ports must be open")
    needed.add_argument("--json", action="store_true", help="for machines")
    serve.add_options(needed)
    needed.set_defaults(command=_ports)
    examined = commands.add_parser(
        "doctor",
        help="find what keeps a call from working",
        description="Examine a configuration, or a server that runs; the exit status is 1 where something has failed.",
    )
    examined.add_argument("--url", default="", help="a server that runs, with these keys (default: start one)")
    examined.add_argument("--clock-url", default="", metavar="URL", help="an HTTP server whose clock is right")
    examined.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="for each leg (default: 10)")
    examined.add_argument("--json", action="store_true", help="for machines")
    serve.add_options(examined)
    examined.set_defaults(command=_doctor)
    explained = commands.add_parser(
        "why",
        help="tell why those in a room see what they see",
        description="Ask a server that runs, with these keys: each one's path, and what limits each track.",
    )
    explained.add_argument("--url", required=True, help="where it runs")
    explained.add_argument("--room", required=True, help="which room")
    explained.add_argument("--identity", default="", help="only of this participant")
    explained.add_argument("--json", action="store_true", help="for machines")
    serve.add_options(explained)
    explained.set_defaults(command=_why)
    agents = commands.add_parser("agents", help="show agent workers and their jobs")
    listed = agents.add_subparsers(metavar="COMMAND", required=True).add_parser(
        "list",
        help="list workers, jobs, and how the last ones ended",
        description="Ask a server that runs, with these keys: its agent workers, and what became of jobs.",
    )
    listed.add_argument("--url", required=True, help="where it runs")
    listed.add_argument("--room", default="", help="only what is in this room")
    listed.add_argument("--json", action="store_true", help="for machines")
    serve.add_options(listed)
    listed.set_defaults(command=_list_agents)
    return parser


def _add_token_options(parser: argparse.ArgumentParser) -> None:
    who = parser.add_argument_group("who")
    who.add_argument("--identity", default="", help="unique in its room; needed to join")
    who.add_argument("--name", default="", help="what the others see")
    who.add_argument("--metadata", default="", help="the application's own")
    who.add_argument("--attribute", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    who.add_argument(
        "--ttl", "--valid-for", type=_seconds, default=21600.0, metavar="TIME", help="90, 15m, 6h (default), 30d"
    )
    may = parser.add_argument_group("what it may do (a token with a room joins it, publishes and subscribes)")
    may.add_argument("--room", default="", help="the room that it is about")
    may.add_argument("--join", action="store_true", help="join it; --room alone means that, too, but not with --admin")
    may.add_argument("--publish", action="append", choices=_SOURCES, help="only this source; may be repeated")
    may.add_argument("--no-publish", action="store_true", help="publish nothing")
    may.add_argument("--no-subscribe", action="store_true", help="receive nothing")
    may.add_argument("--no-data", action="store_true", help="send no data")
    may.add_argument("--update-metadata", action="store_true", help="change its own name, metadata and attributes")
    may.add_argument("--hidden", action="store_true", help="be seen by nobody")
    may.add_argument("--recorder", action="store_true", help="be a recorder, which keeps no room open")
    may.add_argument("--agent", action="store_true", help="be an agent, or register as one")
    may.add_argument("--admin", action="store_true", help="administer the room")
    may.add_argument("--create", action="store_true", help="create and delete rooms")
    may.add_argument("--list", action="store_true", help="list rooms")


def _seconds(text: str) -> float:
    try:
        return duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _token(arguments: argparse.Namespace) -> int:
    settings, _ = serve.configure(arguments)
    joins = arguments.join or (bool(arguments.room) and not arguments.admin)
    if (joins or arguments.admin) and not arguments.room:
        raise ConfigError("--room", "says which room the token is about")
    if joins and not arguments.identity:
        raise ConfigError("--identity", "says who joins")
    if not (joins or arguments.admin or arguments.create or arguments.list or arguments.agent):
        raise ConfigError("--room", "name one, or --create, --list or --agent: this token lets nobody do anything")
    attributes = dict(pair.partition("=")[::2] for pair in arguments.attribute)
    grant = VideoGrant(
        room_create=arguments.create,
        room_list=arguments.list,
        room_admin=arguments.admin,
        room_join=joins,
        room=arguments.room,
        can_publish=False if arguments.no_publish else None,
        can_subscribe=False if arguments.no_subscribe else None,
        can_publish_data=False if arguments.no_data else None,
        can_publish_sources=tuple(arguments.publish or ()),
        can_update_own_metadata=True if arguments.update_metadata else None,
        hidden=arguments.hidden,
        recorder=arguments.recorder,
        agent=arguments.agent,
    )
    claims = Claims(
        identity=arguments.identity,
        name=arguments.name,
        metadata=arguments.metadata,
        attributes=attributes,
        video=grant,
    )
    keyring = Keyring(settings.keys, allow_short=settings.development)
    print(keyring.issue(claims, now=time.time(), ttl=arguments.ttl))
    return 0


def _generate_keys(_arguments: argparse.Namespace) -> int:
    key = "API" + "".join(secrets.choice(_LETTERS) for _ in range(_KEY_LETTERS))
    print(f"API Key:  {key}")
    print(f"API Secret:  {secrets.token_urlsafe(_SECRET_BYTES)}")
    return 0


def _ports(arguments: argparse.Namespace) -> int:
    settings, config = serve.configure(arguments)
    found = [(port, port.trouble()) for port in ports.needed(settings, config)]
    if arguments.json:
        told = [{**asdict(port), "is_free": not trouble, "trouble": trouble} for port, trouble in found]
        print(json.dumps(told, indent=2))
        return 0
    print(f"{'PORT':<12} {'PROTOCOL':<8} {'ADDRESS':<16} {'FOR':<26} NOW")
    for port, trouble in found:
        purpose = port.purpose if port.is_public else f"{port.purpose} (not for clients)"
        print(f"{port.numbers:<12} {port.protocol:<8} {port.address:<16} {purpose:<26} {trouble or 'free'}")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    try:
        settings, config = serve.configure(arguments)
    except ConfigError as error:
        findings = [doctor.Finding("configuration", "failed", str(error))]
    else:
        log.configure(level="error", as_json=False, shows_pii=False)
        ignored = f"; without effect here: {', '.join(settings.unsupported)}" if settings.unsupported else ""
        wish = doctor.Examination(settings, config, arguments.url, arguments.clock_url, arguments.timeout)
        findings = [doctor.Finding("configuration", "ok", f"is understood{ignored}")]
        findings += asyncio.run(doctor.examine(wish))
    print(doctor.as_json(findings) if arguments.json else doctor.as_table(findings))
    return 0 if doctor.is_healthy(findings) else 1


def _why(arguments: argparse.Namespace) -> int:
    settings, _ = serve.configure(arguments)
    told = asyncio.run(asking.ask(arguments.url, settings.keys, arguments.room, arguments.identity))
    print(json.dumps(told, indent=2) if arguments.json else asking.as_table(told))
    return 0


def _list_agents(arguments: argparse.Namespace) -> int:
    settings, _ = serve.configure(arguments)
    told = asyncio.run(asking.ask_for_agents(arguments.url, settings.keys, arguments.room))
    print(json.dumps(told, indent=2) if arguments.json else asking.agents_as_table(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
