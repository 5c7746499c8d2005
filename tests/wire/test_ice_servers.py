"""What clients are told of STUN and TURN."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rtpcore.livekit_config import LiveKitConfig, load
from rtpcore.wire.ice_servers import ice_servers, links, turn_password, turn_username
from rtpcore.wire.messages import ICEServer

HOSTS = ["198.51.100.1", "2001:db8::1"]
KEYS = "keys: {devkey: a secret of more than thirty-two bytes}\n"
TURN = "turn: {enabled: true, domain: turn.example.org, udp_port: 3478, tls_port: 5349, cert_file: a, key_file: b}\n"


def settings(text: str = "") -> LiveKitConfig:
    return load(KEYS + text, environ={})


def told(text: str = "", **arguments: Any) -> list[ICEServer]:
    return ice_servers(settings(text), **{"hosts": HOSTS, "sid": "PA_x", "now": 1000.5, **arguments})


def test_nobody_is_named_unless_asked() -> None:
    assert told() == []
    assert told("rtc: {use_external_ip: true}") == []


def test_this_servers_turn_over_udp_and_tls() -> None:
    (server,) = told(TURN)
    assert list(server.urls) == [
        "turn:198.51.100.1:3478?transport=udp",
        "turn:[2001:db8::1]:3478?transport=udp",
        "turns:turn.example.org:5349?transport=tcp",
    ]
    assert server.username == turn_username("devkey", "PA_x", 1300)
    assert server.credential == turn_password("a secret of more than thirty-two bytes", "PA_x", 1300)


def test_a_load_balancer_takes_tls_at_its_usual_port() -> None:
    (server,) = told("turn: {enabled: true, domain: turn.example.org, tls_port: 5349, external_tls: true}")
    assert list(server.urls) == ["turns:turn.example.org:443?transport=tcp"]


def test_passwords_are_good_for_as_long_as_is_configured() -> None:
    (server,) = told("turn: {enabled: true, udp_port: 3478, ttl_seconds: 60}")
    assert server.username == turn_username("devkey", "PA_x", 1060)


def test_other_servers_come_after() -> None:
    servers = told(
        TURN + "rtc:\n"
        "  turn_servers:\n"
        "  - {host: turn.example.net, port: 443, protocol: tls, username: ada, credential: love}\n"
        "  - {host: '2001:db8::2', port: 3478, protocol: udp, secret: shared}\n"
        "  - {host: 192.0.2.1, port: 80, protocol: tcp, secret: shared, ttl: 60}\n"
        "  stun_servers: ['stun.example.org:3478', 'stun:192.0.2.1']\n"
    )
    assert [list(server.urls) for server in servers[1:]] == [
        ["turns:turn.example.net:443?transport=tcp"],
        ["turn:[2001:db8::2]:3478?transport=udp"],
        ["turn:192.0.2.1:80?transport=tcp"],
        ["stun:stun.example.org:3478", "stun:192.0.2.1"],
    ]
    fixed, shared, short, stun = servers[1:]
    assert (fixed.username, fixed.credential) == ("ada", "love")
    assert shared.username == f"{1000 + 14_400}:PA_x"
    digest = hmac.new(b"shared", shared.username.encode(), hashlib.sha1).digest()
    assert shared.credential == base64.b64encode(digest).decode()
    assert short.username == "1060:PA_x"
    assert (stun.username, stun.credential) == ("", "")


def test_links_quote_what_would_end_them() -> None:
    server = ICEServer(urls=["turn:a", "turn:b"], username='a "b"', credential="c\\d")
    attributes = 'username="a \\"b\\""; credential="c\\\\d"; credential-type="password"'
    assert links([server, ICEServer(urls=["stun:c"])]) == [
        f'<turn:a>; rel="ice-server"; {attributes}',
        f'<turn:b>; rel="ice-server"; {attributes}',
        '<stun:c>; rel="ice-server"',
    ]


@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 1 << 40))
def test_names_and_passwords_are_digits_and_letters(key: str, sid: str, expires_at: int) -> None:
    assert (turn_username(key, sid, expires_at) + turn_password(key, sid, expires_at)).isalnum()
