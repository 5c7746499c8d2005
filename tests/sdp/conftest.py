"""Offers as browsers and tools make them, and our end of a transport."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rtpcore import sdp
from rtpcore.parameters import Candidate, DtlsParameters, Fingerprint, IceParameters, TransportParameters

FOLDER = Path(__file__).parent


@pytest.fixture(scope="session")
def load() -> Callable[[str], sdp.SessionDescription]:
    """Parse one of offers/*.sdp by name."""
    return lambda name: sdp.parse((FOLDER / "offers" / f"{name}.sdp").read_text())


@pytest.fixture(scope="session")
def end() -> Callable[..., TransportParameters]:
    """An end of a transport; another `ufrag` is another generation of ICE."""

    def make(ufrag: str = "nodeA", *, lite: bool = True, sctp_port: int | None = 5000) -> TransportParameters:
        return TransportParameters(
            IceParameters(ufrag, "a-password-of-the-node-" + ufrag, lite),
            DtlsParameters((Fingerprint("sha-256", ":".join(["AB"] * 32)),)),
            sctp_port=sctp_port,
        )

    return make


@pytest.fixture(scope="session")
def candidates() -> tuple[Candidate, ...]:
    """Host candidates of our end."""
    return (
        Candidate("1", 1, "udp", 2130706431, "198.51.100.1", 7882),
        Candidate("2", 1, "tcp", 1671430143, "198.51.100.1", 7881, tcp_type="passive"),
    )
