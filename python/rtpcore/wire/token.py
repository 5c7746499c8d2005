"""Access tokens: JSON Web Tokens (RFC 7519) signed with HMAC-SHA-256, and what LiveKit writes into them.

::

    API key ──iss──▶ Keyring ──secret──▶ signature holds? ──▶ nbf ≤ now ≤ exp? ──▶ Claims

What the claims are, and how they are written, is in `rtpcore.wire.claims`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jwt
from jwt.algorithms import HMACAlgorithm

from rtpcore.errors import ConfigError, TokenError
from rtpcore.wire import text
from rtpcore.wire.claims import Claims, SipGrant, VideoGrant, read_claims, read_time, write_claims

__all__ = ["LEEWAY", "SHORTEST_SECRET", "Claims", "Keyring", "SipGrant", "VideoGrant"]

LEEWAY = 60.0
"""Seconds by which the clock of whoever made a token may differ from ours; LiveKit's value."""

SHORTEST_SECRET = 32
"""Bytes a secret must have: an HMAC key shorter than its hash can be guessed sooner (RFC 7518 §3.2)."""

LONGEST_TOKEN = 1 << 20
"""Letters a token may have: what Go's servers take as all headers together. A room's configuration fits."""

WEBHOOK_LIFETIME = 300
"""Seconds a signed webhook is good for; LiveKit's value."""


class Keyring:
    """API keys and their secrets: verifies tokens and makes them.

    >>> keys = Keyring({"devkey": "secret"}, allow_short=True)
    >>> token = keys.issue(Claims(identity="ada", video=VideoGrant(room_join=True, room="lab")), now=1000, ttl=600)
    >>> claims = keys.verify(token, now=1000)
    >>> claims.identity, claims.video.room, claims.issuer, claims.expires_at
    ('ada', 'lab', 'devkey', 1600.0)
    """

    def __init__(self, keys: Mapping[str, str], allow_short: bool = False) -> None:
        """Take keys in order of preference: the first signs what is not asked of another.

        Args:
            keys: Secret by API key.
            allow_short: Take secrets that can be guessed, as ``--dev`` has one.

        Raises:
            ConfigError: There is no key, or a secret is empty or too short.
        """
        if not keys:
            raise ConfigError("keys", "name at least one API key with its secret")
        for key, secret in keys.items():
            if not key or not secret:
                raise ConfigError("keys", f"neither an API key nor its secret can be empty; see {key!r}")
            if not allow_short and (size := len(secret.encode())) < SHORTEST_SECRET:
                raise ConfigError(
                    "keys",
                    f"the secret of {key!r} has {size} bytes, and fewer than {SHORTEST_SECRET} can be guessed; make one"
                    " with `openssl rand -base64 32` and give it to those who sign tokens, too",
                )
        self._secrets = {key: secret.encode() for key, secret in keys.items()}
        # Registering this one algorithm and no other leaves nothing to confuse it with.
        self._signatures = jwt.PyJWS(algorithms=[])
        self._signatures.register_algorithm("HS256", _Hmac(HMACAlgorithm.SHA256))

    @property
    def names(self) -> tuple[str, ...]:
        """The API keys, the one that signs first."""
        return tuple(self._secrets)

    def __repr__(self) -> str:
        """The API keys without their secrets."""
        return f"Keyring({', '.join(self._secrets)})"

    def verify(self, token: str, now: float) -> Claims:
        """Read a token that one of these keys signed.

        Args:
            token: As it came, without ``Bearer``.
            now: Unix seconds.

        Raises:
            TokenError: It is none, is not signed by one of the keys with HS256, does not expire, or not at this time.
        """
        if len(token) > LONGEST_TOKEN:
            raise TokenError("the token is too long")
        try:
            claimed = _read_payload(self._signatures.decode_complete(token, options={"verify_signature": False}))
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise TokenError("the token cannot be decoded") from None
        issuer = claimed.get("iss")
        secret = self._secrets.get(issuer) if isinstance(issuer, str) else None
        if secret is None:
            raise TokenError("the token names an API key that is not known here")
        try:
            proven = _read_payload(self._signatures.decode_complete(token, secret, algorithms=["HS256"]))
        except jwt.InvalidAlgorithmError:
            raise TokenError("the token is signed by another algorithm than HS256") from None
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise TokenError("the token's signature is wrong") from None
        _check_times(proven, now)
        return read_claims(proven)

    def issue(self, claims: Claims, *, now: float, ttl: float, key: str | None = None) -> str:
        """Make a token.

        Args:
            claims: What it says; their issuer and times are not used.
            now: Unix seconds.
            ttl: Seconds for which it is valid.
            key: The API key that signs; None for the first.

        Raises:
            ConfigError: There is no such key.
        """
        return self._sign({**write_claims(claims), "nbf": int(now), "exp": int(now + ttl)}, key, "keys")

    def sign_webhook(self, body: bytes, *, key: str, now: float) -> str:
        """Make the ``Authorization`` of a webhook, which goes without ``Bearer``.

        Args:
            body: Exactly what will be sent.
            key: The API key that signs, `webhook.api_key`.
            now: Unix seconds; the signature is good for five minutes.

        Raises:
            ConfigError: There is no such key.
        """
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        return self._sign(
            {"sha256": digest, "nbf": int(now), "exp": int(now) + WEBHOOK_LIFETIME}, key, "webhook.api_key"
        )

    def _sign(self, payload: dict[str, Any], key: str | None, setting: str) -> str:
        key = self.names[0] if key is None else key
        if key not in self._secrets:
            raise ConfigError(setting, f"{key!r} is not one of the API keys that have a secret")
        body = json.dumps({"iss": key, **payload}, separators=(",", ":")).encode()
        return self._signatures.encode(body, self._secrets[key], algorithm="HS256")


class _Hmac(HMACAlgorithm):
    """HMAC as PyJWT has it, without its opinions on secrets: `Keyring` has refused or allowed short ones."""

    def prepare_key(self, key: str | bytes) -> bytes:
        """Take the secret as it is; PyJWT refuses what looks like an RSA key, lest algorithms be confused."""
        return key.encode() if isinstance(key, str) else key

    def check_key_length(self, key: bytes) -> str | None:
        """Find any secret long enough; PyJWT would warn at every token."""
        return None


def _read_payload(token: Mapping[str, Any]) -> dict[str, Any]:
    """Read the JSON of a decoded token. Raises ValueError."""
    return text.read_object(token["payload"])


def _check_times(payload: Mapping[str, Any], now: float) -> None:
    """Refuse what is too late or too early; a signature without an end would be good for ever."""
    expires_at = read_time(payload, "exp")
    if expires_at is None:
        raise TokenError("the token does not say when it expires")
    if now - LEEWAY > expires_at:
        raise TokenError("the token has expired")
    for name in ("nbf", "iat"):
        begins_at = read_time(payload, name)
        if begins_at is not None and now + LEEWAY < begins_at:
            raise TokenError("the token is not valid yet; do the clocks agree?")
