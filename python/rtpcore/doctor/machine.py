"""What can be told without a call: ports, the addresses that clients will be told, the clock, TURN's certificate."""

from __future__ import annotations

import ipaddress
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import aiohttp

from rtpcore import ports
from rtpcore.doctor.report import Finding
from rtpcore.wire.token import LEEWAY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rtpcore.config import Config
    from rtpcore.livekit_config import LiveKitConfig, Turn
    from rtpcore.parameters import Candidate

__all__ = ["addresses", "bound", "certificate", "clock"]

_SLOW_S = 5.0
"""Seconds by which a clock may be wrong before it is worth a word: HTTP tells whole seconds, and answers take time."""
_EXPIRES_SOON_S = 14 * 86400


def bound(settings: LiveKitConfig, config: Config) -> list[Finding]:
    """Whether every port can be had; to be asked before the server is there."""
    wanted = ports.needed(settings, config)
    troubles = [(port, trouble) for port in wanted if (trouble := port.trouble())]
    # A machine without IPv6 serves what it has.
    first = {(port.purpose, port.protocol): port for port in reversed(wanted)}
    serious = [(port, trouble) for port, trouble in troubles if port == first[port.purpose, port.protocol]]
    if not serious:
        names = ", ".join(dict.fromkeys(f"{port.numbers}/{port.protocol}" for port in wanted))
        words = f"{names} can be bound; whether a firewall lets clients through cannot be seen from here"
        return [Finding("ports", "ok", words)]
    return [
        Finding(
            "ports",
            "failed",
            f"{port.numbers}/{port.protocol} on {port.address} ({port.purpose}): {trouble}",
            "stop what has it, or choose another; a server that runs already is examined with --url",
        )
        for port, trouble in serious
    ]


def addresses(candidates: Sequence[Candidate]) -> Finding:
    """Whether clients elsewhere can use the addresses that they will be told."""
    told = list(dict.fromkeys(candidate.address for candidate in candidates))
    if not told:
        return Finding("addresses", "failed", "clients are told no address", "let media listen on one: --rtc-host")
    words = f"clients are told {', '.join(told)}"
    known = [ipaddress.ip_address(address) for address in told if not _is_name(address)]
    if known and all(address.is_loopback for address in known):
        return Finding("addresses", "warning", f"{words}: this machine only", "for others: --rtc-host 0.0.0.0")
    if known and not any(address.is_global for address in known):
        advice = "behind a NAT name the address that it is seen under: rtc.node_ip or --advertise"
        return Finding("addresses", "warning", f"{words}: this network only", advice)
    return Finding("addresses", "ok", f"{words}; whether they lead here from outside cannot be seen from here")


def _is_name(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return True
    return False


async def clock(session: aiohttp.ClientSession, urls: Iterable[str]) -> Finding:
    """How this machine's clock stands to those of others, by the Date of their answers (RFC 9110 §6.6.1).

    Args:
        session: Asks.
        urls: Whom, the first that answers.
    """
    asked = list(urls)
    for url in asked:
        began = time.time()
        try:
            async with session.head(url, allow_redirects=False) as answer:
                date = answer.headers.get("Date", "")
        except (aiohttp.ClientError, TimeoutError, OSError):
            continue
        try:
            theirs = parsedate_to_datetime(date).timestamp()
        except ValueError:
            continue
        # Their clock was read somewhere between question and answer, and tells whole seconds.
        ours = (began + time.time()) / 2
        off = ours - theirs - 0.5
        words = f"{abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} an HTTP server's"
        if abs(off) > LEEWAY:
            return Finding("clock", "failed", words, "tokens are refused past a minute: let NTP set both clocks")
        if abs(off) > _SLOW_S:
            return Finding("clock", "warning", words, "let NTP set both clocks")
        return Finding("clock", "ok", "within seconds of an HTTP server's")
    if asked:
        return Finding("clock", "unknown", "no HTTP server with a clock answered", "name another: --clock-url")
    words = "nothing to compare it with; tokens from elsewhere are refused where clocks differ by a minute"
    return Finding("clock", "unknown", words, "name an HTTP server whose clock is right: --clock-url")


def certificate(turn: Turn, now: float) -> Finding:
    """Whether clients will trust TURN over TLS: files, key, name, dates.

    Args:
        turn: Its settings.
        now: Unix seconds.
    """
    leg = "certificate"
    if not turn.enabled or not turn.tls_port:
        return Finding(leg, "unknown", "TURN over TLS is not enabled")
    if turn.external_tls:
        return Finding(leg, "unknown", "TLS ends in front of this server (turn.external_tls); look there")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Trusted for what it is: who has signed it, clients judge by their own lists.
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        server.load_cert_chain(turn.cert_file, turn.key_file)
        client.load_verify_locations(turn.cert_file)
    except OSError as error:
        words = f"turn.cert_file and turn.key_file do not serve: {error.strerror or error}"
        return Finding(leg, "failed", words, "name a PEM chain and the key that belongs to it, readable for the server")
    try:
        shown = _handshake(server, client, turn.domain)
    except ssl.SSLCertVerificationError as error:
        return Finding(leg, "failed", f"clients refuse it for {turn.domain}: {error.verify_message}", "renew it")
    except ssl.SSLError as error:
        return Finding(leg, "failed", f"it cannot be used: {error.reason}", "make another")
    left_s = ssl.cert_time_to_seconds(str(shown["notAfter"])) - now
    words = f"for {turn.domain}, {left_s / 86400:.0f} days left; whether its issuer is trusted is up to clients"
    if left_s < _EXPIRES_SOON_S:
        return Finding(leg, "warning", words, "renew it soon")
    return Finding(leg, "ok", words)


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> dict[str, object]:
    """Let the two meet in memory; what the client learned of the server. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = client.wrap_bio(to_client, to_server, server_hostname=name)
    answers = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):
        done = 0
        for end in (asks, answers):
            try:
                end.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                continue
        if done == 2:
            break
    return dict(asks.getpeercert() or {})
