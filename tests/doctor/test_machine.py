"""What can be told of a machine without a call."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from email.utils import format_datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rtpcore.doctor import machine
from rtpcore.livekit_config import Turn
from rtpcore.parameters import Candidate


@pytest.fixture
def issue(tmp_path: Path) -> Callable[..., Turn]:
    """Makes a certificate, and TURN's settings with it."""

    def make(name: str = "turn.example.org", days: float = 90, **settings: object) -> Turn:
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(now - datetime.timedelta(days=100))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        (tmp_path / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        (tmp_path / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        given = {"cert_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem"), **settings}
        return Turn(enabled=True, domain="turn.example.org", tls_port=5349, **given)  # type: ignore[arg-type]

    return make


class TestCertificate:
    def test_one_that_is_good(self, issue: Callable[..., Turn]) -> None:
        found = machine.certificate(issue(), time.time())
        assert found.verdict == "ok", found
        assert "90 days" in found.words

    @pytest.mark.parametrize(
        ("wish", "verdict", "words"),
        [
            ({"days": 3}, "warning", "3 days"),
            ({"days": -1}, "failed", "expired"),
            ({"name": "other.example.org"}, "failed", "mismatch"),
            ({"cert_file": "/nowhere"}, "failed", "No such file"),
            ({"external_tls": True}, "unknown", "in front"),
        ],
    )
    def test_one_that_is_not(
        self, issue: Callable[..., Turn], wish: dict[str, object], verdict: str, words: str
    ) -> None:
        found = machine.certificate(issue(**wish), time.time())
        assert found.verdict == verdict, found
        assert words in found.words

    def test_the_key_of_another(self, issue: Callable[..., Turn], tmp_path: Path) -> None:
        issue()
        (tmp_path / "key.pem").rename(tmp_path / "other.pem")
        found = machine.certificate(issue(key_file=str(tmp_path / "other.pem")), time.time())
        assert found.verdict == "failed"

    def test_none_is_needed(self) -> None:
        assert machine.certificate(Turn(), 0).verdict == "unknown"


class TestClock:
    @pytest.mark.parametrize(("off_s", "verdict"), [(0, "ok"), (20, "warning"), (-300, "failed"), (300, "failed")])
    async def test_it_is_compared(self, off_s: int, verdict: str) -> None:
        async def tell(_request: web.Request) -> web.Response:
            then = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=off_s)
            return web.Response(status=405, headers={"Date": format_datetime(then, usegmt=True)})

        app = web.Application()
        app.router.add_route("*", "/", tell)
        async with TestServer(app) as server, aiohttp.ClientSession() as session:
            found = await machine.clock(session, ["http://127.0.0.1:1/", str(server.make_url("/"))])
        assert found.verdict == verdict, found

    async def test_nobody_to_ask(self) -> None:
        async with aiohttp.ClientSession() as session:
            assert (await machine.clock(session, [])).verdict == "unknown"
            found = await machine.clock(session, ["http://127.0.0.1:1/"])
        assert (found.verdict, "--clock-url" in found.advice) == ("unknown", True)


@pytest.mark.parametrize(
    ("addresses", "verdict"),
    [([], "failed"), (["127.0.0.1"], "warning"), (["192.168.1.2", "127.0.0.1"], "warning"), (["8.8.8.8"], "ok")],
)
def test_addresses_that_lead_nowhere_are_named(addresses: list[str], verdict: str) -> None:
    candidates = [Candidate("1", 1, "udp", 1, address, 7882) for address in addresses]
    assert machine.addresses(candidates).verdict == verdict
