"""``python -m rtpcore.serve``: a server for LiveKit's clients, and in ``--dev`` for WHIP and WHEP with a page.

>>> parse_arguments(["--port", "9000"]).port
9000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import ipaddress
import logging
import resource
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from rtpcore import journal, log
from rtpcore.config import Config, Limits
from rtpcore.errors import ConfigError, RtpcoreError
from rtpcore.http import aiohttp, metrics, page, status, whip
from rtpcore.http.request import MAX_REQUEST_LINE
from rtpcore.livekit_config import LiveKitConfig, load
from rtpcore.node import Node
from rtpcore.server import Server
from rtpcore.stopping import DRAIN_TIMEOUT_S, Stop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

__all__ = ["NODE", "SERVER", "add_options", "application", "configure", "main", "parse_arguments", "serve", "url"]

logger = logging.getLogger("rtpcore.serve")

_KEEPALIVE_S = 75.0
"""How long a connection may take to ask for something, the first time and between requests; proxies use as much."""

_PATIENCE_S = 10.0
"""How long clients may take to read the last message when the server stops."""

SERVER: web.AppKey[Server] = web.AppKey("rtpcore.server")
"""Where :func:`application` keeps its server."""

NODE: web.AppKey[Node] = web.AppKey("rtpcore.node")
"""Where it keeps the rooms of WHIP and WHEP without tokens, in development."""


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse exits with 2 and the reason where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m rtpcore.serve",
        description="A server for LiveKit's clients. The command line stands over the environment, that over a file.",
    )
    add_options(parser)
    return parser.parse_args(arguments)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what says how a server is configured; other commands mean the same server by the same words."""
    parser.add_argument(
        "--dev",
        action="store_true",
        help="try it: key 'devkey', secret 'secret', this machine only, and a page",
    )
    parser.add_argument("--config", metavar="FILE", help="LiveKit's configuration in YAML")
    parser.add_argument("--config-body", metavar="YAML", help="the same as text")
    parser.add_argument("--disable-strict-config", action="store_true", help="pass over settings that are not known")
    parser.add_argument("--keys", metavar="'KEY: SECRET'", help="API keys with their secrets, as YAML")
    parser.add_argument("--host", help="address of HTTP (default: every one; with --dev this machine only)")
    parser.add_argument("--port", type=int, help="port of HTTP (default: 7880; 0: any)")
    parser.add_argument(
        "--rtc-host",
        action="append",
        metavar="ADDRESS",
        help="address of media, may be repeated; 0.0.0.0 is every address of the machine (default: as --host)",
    )
    parser.add_argument("--udp-port", type=int, help="port of media for all peers (default: 7882; 0: any)")
    parser.add_argument(
        "--tcp-port", type=int, help="port of media for networks without UDP (default: 7881; 0: any; -1: none)"
    )
    parser.add_argument(
        "--advertise",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="address that peers are told instead, such as that of a NAT; one per IP family",
    )
    parser.add_argument("--workers", type=int, default=None, help="threads that forward (default: one per core)")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], help="(default: info)")
    parser.add_argument(
        "--drain-timeout",
        type=float,
        default=DRAIN_TIMEOUT_S,
        metavar="SECONDS",
        help="how long participants may stay after SIGTERM (default: %(default)g; 0: not at all)",
    )


def configure(arguments: argparse.Namespace) -> tuple[LiveKitConfig, Config]:
    """What the command line, the environment and a file mean together, for rooms and for the forwarder.

    Raises:
        ConfigError: A setting is wrong or unknown, the file cannot be read, or there are no keys.
    """
    overrides: dict[str, Any] = {}
    for name, value in (
        ("keys", arguments.keys),
        ("port", arguments.port),
        ("bind_addresses", [arguments.host] if arguments.host else None),
        ("logging.level", arguments.log_level or ("info" if arguments.dev else None)),
    ):
        if value is not None:
            overrides[name] = value
    settings = load(
        _text_of(arguments),
        overrides={name: value if isinstance(value, list) else str(value) for name, value in overrides.items()},
        is_dev=arguments.dev,
        is_strict=not arguments.disable_strict_config,
    )
    config = settings.forwarder
    listen = config.listen
    # Here 0 is any free port, and an address of HTTP is one of media too unless another is named.
    hosts = arguments.rtc_host or ([arguments.host] if arguments.host else None)
    if hosts:
        listen = replace(listen, addresses=tuple(hosts))
    if arguments.udp_port is not None:
        listen = replace(listen, udp_port=arguments.udp_port)
    if arguments.tcp_port is not None:
        listen = replace(listen, tcp_port=None if arguments.tcp_port < 0 else arguments.tcp_port)
    if arguments.advertise:
        listen = replace(listen, advertise=tuple(arguments.advertise))
    # A client has two peer connections at the most.
    return settings, replace(config, listen=listen, workers=arguments.workers, limits=Limits(transports=20_000))


def _text_of(arguments: argparse.Namespace) -> str:
    if arguments.config_body:
        return str(arguments.config_body)
    if not arguments.config:
        return ""
    try:
        return Path(arguments.config).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("--config", f"{arguments.config} cannot be read: {error}") from error


def application(config: Config, settings: LiveKitConfig | None = None) -> web.Application:
    """An aiohttp application that runs a server while it runs itself.

    Args:
        config: For the forwarder.
        settings: For everything else; those of ``--dev`` by default.
    """
    server = Server(load(environ={}, is_dev=True) if settings is None else settings, config=config)
    app = web.Application()
    app[SERVER] = server
    server.host.on_event.append(journal.note)
    if server.settings.development:
        # The page, and what asks for no token, so that a camera is a click away.
        app[NODE] = node = Node(server.forwarder)
        app.add_routes(page.routes(server.host, server.dispatcher))
        these = [*status.routes(node), *whip.routes(node), *metrics.routes(server.metrics)]
        app.add_routes(aiohttp.routes(these, max_body=server.max_body))
    server.add_routes(app)
    app.cleanup_ctx.append(_run_node)
    return app


async def _run_node(app: web.Application) -> AsyncIterator[None]:
    # After the server, on whose forwarder it is.
    async with app[NODE] if NODE in app else contextlib.nullcontext():
        yield


async def serve(settings: LiveKitConfig, config: Config, *, drain_timeout_s: float = DRAIN_TIMEOUT_S) -> None:
    """Serve until SIGINT, or until everybody has left after SIGTERM.

    Args:
        settings: Of everything but the forwarder.
        config: Of the forwarder.
        drain_timeout_s: How long participants may take to leave.

    Raises:
        RtpcoreError, OSError: It cannot start.
    """
    app = application(config, settings)
    # A client that joins by one request puts its first description into the query.
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=_PATIENCE_S,
        keepalive_timeout=_KEEPALIVE_S,
        max_line_size=MAX_REQUEST_LINE,
        max_field_size=MAX_REQUEST_LINE,
    )
    await runner.setup()
    try:
        addresses = settings.bind_addresses or ("0.0.0.0", "::")
        port = settings.port
        for address in addresses:
            try:
                await web.TCPSite(runner, address, port).start()
            except OSError:
                # A machine without IPv6 serves what it has.
                if address == addresses[0]:
                    raise
                continue
            port = runner.addresses[0][1]  # of --port 0, the one that the kernel chose
        stop = Stop(app[SERVER].host, drain_timeout_s)
        async with metrics.serving(app[SERVER].metrics, settings.prometheus, addresses):
            with stop.signals():
                print(f"rtpcore is ready: open {url(addresses[0], port)}", flush=True)
                if settings.development:
                    address = url(addresses[0], port).replace("http", "ws", 1)
                    print(f"LiveKit clients: {address} key devkey, secret secret", flush=True)
                await stop.wait()
    finally:
        await runner.cleanup()


def url(host: str, port: int) -> str:
    """Where to point a browser.

    >>> url("::", 80), url("192.0.2.1", 7880)
    ('http://localhost:80/', 'http://192.0.2.1:7880/')
    """
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified or address.is_loopback:
            # Browsers hand out camera and microphone to localhost and to https only.
            host = "localhost"
        elif address.version == 6:
            host = f"[{host}]"
    return f"http://{host}:{port}/"


def _calm_collector() -> None:
    """Let Python look for cycles seldom, and never among what is loaded by now.

    With a thousand clients one look through everything takes a tenth of a second, in which nobody joins: as Python has
    it by itself, that was the 99th percentile of joining (`make bench`, 92 ms; 20 ms with this).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _raise_file_limit() -> None:
    """Let the process open as many files as it may: each client is one or more, and systems begin with 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; the exit status is 1 where it could not start."""
    parsed = parse_arguments(arguments)
    try:
        settings, config = configure(parsed)
        told = settings.logging
        log.configure(level=told.level, as_json=told.json, shows_pii=told.pii)
        for name in settings.unsupported:
            logger.warning("the setting %s has no effect here", name)
        _raise_file_limit()
        _calm_collector()
        asyncio.run(serve(settings, config, drain_timeout_s=parsed.drain_timeout))
    except (RtpcoreError, OSError) as error:
        print(f"rtpcore cannot start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
