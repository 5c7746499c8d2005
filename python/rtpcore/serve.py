"""``python -m rtpcore.serve``: a forwarder with WHIP, WHEP and a page.

>>> parse_arguments(["--port", "9000"]).port
9000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import signal
import sys
from typing import TYPE_CHECKING

from aiohttp import web

from rtpcore.config import Config, Listen
from rtpcore.errors import RtpcoreError
from rtpcore.forwarder import Forwarder
from rtpcore.host import Host
from rtpcore.http import page, rooms, rtc, status, whip
from rtpcore.node import Node
from rtpcore.wire.token import Keyring

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

__all__ = ["application", "main", "parse_arguments"]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; argparse exits with 2 and the reason where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m rtpcore.serve", description="A selective forwarding unit: WHIP in, WHEP out."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address of HTTP (default: %(default)s, this machine only)")
    parser.add_argument("--port", type=int, default=7880, help="port of HTTP (default: %(default)s; 0: any)")
    parser.add_argument(
        "--rtc-host",
        action="append",
        metavar="ADDRESS",
        help="address of media, may be repeated; 0.0.0.0 is every address of the machine (default: as --host)",
    )
    parser.add_argument(
        "--udp-port", type=int, default=7882, help="port of media for all peers (default: %(default)s; 0: any)"
    )
    parser.add_argument(
        "--tcp-port",
        type=int,
        default=7881,
        help="port of media for networks without UDP (default: %(default)s; -1: none)",
    )
    parser.add_argument(
        "--advertise",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="address that peers are told instead, such as that of a NAT; one per IP family",
    )
    parser.add_argument(
        "--dev", action="store_true", help="let LiveKit clients in by the key 'devkey' with the secret 'secret'"
    )
    parser.add_argument("--workers", type=int, default=None, help="threads that forward (default: one per core)")
    parser.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"], help="(default: %(default)s)"
    )
    return parser.parse_args(arguments)


def configure(arguments: argparse.Namespace) -> Config:
    """The configuration meant by the command line. Raises ConfigError."""
    hosts = arguments.rtc_host or [arguments.host]
    return Config(
        listen=Listen(
            addresses=tuple(hosts),
            udp_port=arguments.udp_port,
            tcp_port=None if arguments.tcp_port < 0 else arguments.tcp_port,
            advertise=tuple(arguments.advertise),
        ),
        workers=arguments.workers,
    )


def application(config: Config, keyring: Keyring | None = None) -> web.Application:
    """An aiohttp application that runs a forwarder while it runs itself; with keys, LiveKit's clients may join."""

    async def run(app: web.Application) -> AsyncIterator[None]:
        async with Forwarder(config) as forwarder:
            app[whip.NODE] = Node(forwarder)
            task = asyncio.create_task(app[whip.NODE].run())
            if keyring is None:
                yield
            else:
                async with Host(forwarder, keyring) as app[rtc.HOST]:
                    yield
        # The forwarder's events end when it closes, and the task with them.
        await task

    app = web.Application(client_max_size=512 * 1024)
    app.cleanup_ctx.append(run)
    app.add_routes(
        [
            *page.routes(),
            *status.routes(),
            *whip.routes(),
            *(() if keyring is None else (*rtc.routes(), *rooms.routes())),
        ]
    )
    return app


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM. Raises RtpcoreError or OSError where it cannot start."""
    keyring = Keyring({"devkey": "secret"}, allow_short=True) if arguments.dev else None
    runner = web.AppRunner(application(configure(arguments), keyring), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, arguments.host, arguments.port).start()
        port = runner.addresses[0][1]  # of --port 0, the one that the kernel chose
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        print(f"rtpcore is ready: open {url(arguments.host, port)}", flush=True)
        await stopped.wait()
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; the exit status is 1 where it could not start."""
    parsed = parse_arguments(arguments)
    logging.basicConfig(level=parsed.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(serve(parsed))
    except (RtpcoreError, OSError) as error:
        print(f"rtpcore cannot start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
