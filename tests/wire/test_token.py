"""Tokens, ours against LiveKit's own library and back."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit import api
from tests.wire.strategies import messages

from rtpcore.errors import ConfigError, TokenError
from rtpcore.wire.messages import (
    ParticipantInfo,
    ParticipantPermission,
    RoomAgentDispatch,
    RoomConfiguration,
    TrackSource,
    WebhookEvent,
)
from rtpcore.wire.token import Claims, Keyring, SipGrant, VideoGrant

SECRET = "0123456789abcdef0123456789abcdef"
NOW = 1_700_000_000.0
KEYS = Keyring({"key": SECRET, "other": SECRET[::-1]})

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
PERHAPS = st.none() | st.booleans()
SOURCES = st.lists(st.sampled_from(["camera", "microphone", "screen_share", "screen_share_audio"]), unique=True)
GRANTS = st.builds(
    VideoGrant,
    **{
        member.name: (
            TEXT
            if member.default == ""
            else SOURCES.map(tuple)
            if member.default == ()
            else PERHAPS
            if member.default is None
            else st.booleans()
        )
        for member in dataclasses.fields(VideoGrant)
    },
)
CLAIMS = st.builds(
    Claims,
    identity=TEXT,
    name=TEXT,
    metadata=TEXT,
    attributes=st.dictionaries(TEXT, TEXT, max_size=3),
    kind=st.sampled_from(["standard", "ingress", "egress", "sip", "agent", "connector", "bridge"]),
    kind_details=st.lists(st.sampled_from(["cloud_agent", "forwarded"])).map(tuple),
    video=st.none() | GRANTS,
    sip=st.none() | st.builds(SipGrant, st.booleans(), st.booleans()),
    sha256=TEXT,
    room_config=st.none() | messages(RoomConfiguration),
    room_preset=TEXT,
    job=st.just("AJ_1"),
    fence=st.integers(0, 1 << 40),
    issuer=st.just("key"),
    expires_at=st.just(NOW + 600),
    not_before=st.just(NOW),
)


def part(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(payload: object, *, secret: str = SECRET, header: object = None, digest: Any = hashlib.sha256) -> str:
    """A token by hand, with nothing checked."""
    body = f"{part(header or {'alg': 'HS256', 'typ': 'JWT'})}.{part(payload)}"
    return f"{body}.{part(hmac.new(secret.encode(), body.encode(), digest).digest())}"


def read(now: float = NOW, **payload: Any) -> Claims:
    return KEYS.verify(sign({"iss": "key", "exp": NOW + 600, **payload}), now)


@given(CLAIMS)
def test_a_token_says_what_was_put_into_it(claims: Claims) -> None:
    assert KEYS.verify(KEYS.issue(claims, now=NOW, ttl=600), NOW) == claims


@given(GRANTS)
def test_livekits_library_reads_ours(grant: VideoGrant) -> None:
    config = RoomConfiguration(max_participants=3, agents=[RoomAgentDispatch(agent_name="a")])
    claims = Claims("ada", "Ada", "m", {"a": "b"}, "agent", (), grant, SipGrant(call=True), "h", config, "preset")
    got = api.TokenVerifier("key", SECRET).verify(KEYS.issue(claims, now=time.time(), ttl=600))
    assert got.identity == "ada"
    assert (got.name, got.metadata, got.attributes, got.kind) == ("Ada", "m", {"a": "b"}, "agent")
    assert (got.sha256, got.room_preset, got.room_config) == ("h", "preset", config)
    assert got.sip == api.SIPGrants(call=True)
    for member in dataclasses.fields(VideoGrant):
        ours, theirs = getattr(grant, member.name), getattr(got.video, member.name)
        if ours != member.default:
            assert theirs == (list(ours) if isinstance(ours, tuple) else ours)


@given(GRANTS)
def test_ours_reads_livekits_library(grant: VideoGrant) -> None:
    """It writes every `can_publish`, `can_subscribe` and `can_publish_data`, and leaves out None and empty text."""
    config = RoomConfiguration(name="r", empty_timeout=9, tags={"a": "b"})
    said = {
        member.name: list(value) if isinstance(value, tuple) else value
        for member in dataclasses.fields(grant)
        if (value := getattr(grant, member.name)) is not None
    }
    said["room_join"] = False  # with which it insists on a room
    token = (
        api.AccessToken("key", SECRET)
        .with_identity("ada")
        .with_name("Ada")
        .with_metadata("m")
        .with_attributes({"a": "b"})
        .with_kind("sip")
        .with_grants(api.VideoGrants(**said))
        .with_sip_grants(api.SIPGrants(admin=True))
        .with_inference_grants(api.access_token.InferenceGrants(perform=True))
        .with_room_config(config)
        .with_room_preset("preset")
        .with_ttl(datetime.timedelta(seconds=600))
        .to_jwt()
    )
    got = KEYS.verify(token, time.time())
    assert got.video == dataclasses.replace(
        grant,
        room_join=False,
        can_publish=said.get("can_publish", True),
        can_subscribe=said.get("can_subscribe", True),
        can_publish_data=said.get("can_publish_data", True),
    )
    assert (got.identity, got.name, got.metadata, got.attributes) == ("ada", "Ada", "m", {"a": "b"})
    assert (got.kind, got.sip, got.room_config, got.room_preset) == ("sip", SipGrant(admin=True), config, "preset")
    assert 595 < got.expires_at - time.time() < 605


def test_a_webhook_is_accepted_by_livekits_receiver() -> None:
    body = '{"event":"room_started","id":"EV_1"}'
    token = KEYS.sign_webhook(body.encode(), key="other", now=time.time())
    receiver = api.WebhookReceiver(api.TokenVerifier("other", SECRET[::-1]))
    assert receiver.receive(body, token) == WebhookEvent(event="room_started", id="EV_1")
    with pytest.raises(Exception, match="hash mismatch"):
        receiver.receive(body + " ", token)
    claims = KEYS.verify(KEYS.sign_webhook(b"x", key="key", now=NOW), NOW)
    assert (claims.expires_at, claims.identity, claims.video) == (NOW + 300, "", None)


def test_the_first_key_signs_unless_another_is_named() -> None:
    assert KEYS.names == ("key", "other")
    assert KEYS.verify(KEYS.issue(Claims(), now=NOW, ttl=1), NOW).issuer == "key"
    assert KEYS.verify(KEYS.issue(Claims(), now=NOW, ttl=1, key="other"), NOW).issuer == "other"
    with pytest.raises(ConfigError, match=r"^keys: 'third' is not one"):
        KEYS.issue(Claims(), now=NOW, ttl=1, key="third")
    with pytest.raises(ConfigError, match=r"^webhook.api_key: 'third' is not one"):
        KEYS.sign_webhook(b"", key="third", now=NOW)


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (NOW - 61, "not valid yet"),
        (NOW - 60, None),
        (NOW + 600, None),
        (NOW + 660, None),
        (NOW + 661, "has expired"),
    ],
)
def test_a_token_is_good_for_its_time_and_a_minute_on_either_side(now: float, reason: str | None) -> None:
    token = KEYS.issue(Claims(identity="ada"), now=NOW, ttl=600)
    if reason is None:
        assert KEYS.verify(token, now).identity == "ada"
    else:
        with pytest.raises(TokenError, match=reason):
            KEYS.verify(token, now)


def test_a_token_from_the_future_is_refused_by_its_time_of_issue_too() -> None:
    assert read(iat=NOW + 60).issuer == "key"
    with pytest.raises(TokenError, match="not valid yet"):
        read(iat=NOW + 61)


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["1700000000", True, [], {}, float("inf"), float("nan"), 10**400, -(10**400)])
def test_times_are_numbers(name: str, value: object) -> None:
    with pytest.raises(TokenError, match="is not a time"):
        read(**{name: value})


def test_a_token_that_never_expires_is_refused() -> None:
    for payload in ({"iss": "key"}, {"iss": "key", "exp": None}):
        with pytest.raises(TokenError, match="when it expires"):
            KEYS.verify(sign(payload), NOW)


def test_every_changed_letter_is_noticed() -> None:
    token = KEYS.issue(Claims(identity="ada", video=VideoGrant(room_join=True, room="lab")), now=NOW, ttl=600)
    for place, letter in enumerate(token):
        changed = token[:place] + ("A" if letter != "A" else "B") + token[place + 1 :]
        with pytest.raises(TokenError):
            KEYS.verify(changed, NOW)


PAYLOAD = {"iss": "key", "sub": "eve", "exp": NOW + 600}


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "cannot be decoded"),
        ("a.b", "cannot be decoded"),
        ("a.b.c", "cannot be decoded"),
        ("\ud800.\ud800.\ud800", "cannot be decoded"),
        ("é.é.é", "cannot be decoded"),
        ("x" * 2_000_000, "too long"),
        (sign([]), "cannot be decoded"),
        (sign(b"\xff"), "cannot be decoded"),
        (sign({**PAYLOAD, "name": "\ud800"}), "cannot be decoded"),
        (sign({**PAYLOAD, "attributes": {"\ud800": ""}}), "cannot be decoded"),
        (sign({**PAYLOAD, "roomConfig": {"\ud800": ""}}), "cannot be decoded"),
        (sign(b'{"a":' * 100_000), "cannot be decoded"),
        (sign(PAYLOAD, header=["HS256"]), "cannot be decoded"),
        (sign(PAYLOAD, header={"alg": "HS256", "crit": ["x"], "x": 1}), "cannot be decoded"),
        (sign(PAYLOAD, header={"alg": "HS256", "b64": False, "crit": ["b64"]}), "cannot be decoded"),
        (sign({**PAYLOAD, "iss": "nobody"}), "not known here"),
        (sign({**PAYLOAD, "iss": ["key"]}), "not known here"),
        (sign({"sub": "eve", "exp": NOW + 600}), "not known here"),
        (sign(PAYLOAD, secret=SECRET[::-1]), "signature is wrong"),
        (sign(PAYLOAD, secret="x"), "signature is wrong"),
        (sign(PAYLOAD, header={"alg": "HS512"}, digest=hashlib.sha512), "another algorithm"),
        (sign(PAYLOAD, header={"alg": "HS384"}, digest=hashlib.sha384), "another algorithm"),
        (sign(PAYLOAD, header={"alg": "RS256"}), "another algorithm"),
        (sign(PAYLOAD, header={"alg": "none"}), "another algorithm"),
        (sign(PAYLOAD, header={"typ": "JWT"}), "another algorithm"),
        (sign(PAYLOAD, header={"alg": None}), "another algorithm"),
        (f"{part({'alg': 'none'})}.{part(PAYLOAD)}.", "another algorithm"),
        (f"{part({'alg': 'HS256'})}.{part(PAYLOAD)}.", "signature is wrong"),
        (jwt.encode(PAYLOAD, SECRET * 2, algorithm="HS512"), "another algorithm"),
        (jwt.encode(PAYLOAD, None, algorithm="none"), "another algorithm"),
    ],
)
def test_a_forged_token_is_refused_with_a_reason_that_repeats_nothing_of_it(token: str, reason: str) -> None:
    with pytest.raises(TokenError, match=reason) as caught:
        KEYS.verify(token, NOW)
    assert "eve" not in str(caught.value)
    assert len(caught.value.reason) < 80
    assert not any(piece in str(caught.value) for piece in token.split(".") if len(piece) > 3)


def test_an_rsa_key_for_a_secret_confuses_nothing() -> None:
    """The classic: a verifier that takes a public key is given HS256 and that key. Here both are only text."""
    pem = "-----BEGIN PUBLIC KEY-----\n" + "A" * 64 + "\n-----END PUBLIC KEY-----\n"
    assert Keyring({"key": pem}).verify(sign(PAYLOAD, secret=pem), NOW).identity == "eve"


@pytest.mark.parametrize(
    "payload",
    [
        {"sub": 7},
        {"name": []},
        {"metadata": {"a": 1}},
        {"attributes": ["a"]},
        {"attributes": {"a": 1}},
        {"kind": 4},
        {"kindDetails": "cloud_agent"},
        {"kindDetails": [1]},
        {"video": []},
        {"video": {"roomJoin": "yes"}},
        {"video": {"roomJoin": 1}},
        {"video": {"room": 1}},
        {"video": {"canPublishSources": "camera"}},
        {"video": {"canPublishSources": [1]}},
        {"sip": {"admin": "x"}},
        {"roomConfig": []},
        {"roomConfig": {"maxParticipants": "many"}},
        {"roomConfig": {"maxParticipants": -1}},
        {"roomConfig": {"agents": 3}},
        {"sha256": 1},
        {"roomPreset": 1},
        {"rtpcoreJob": "AJ_1"},
        {"rtpcoreJob": {"id": "AJ_1"}},
        {"rtpcoreJob": {"id": "AJ_1", "fence": "1"}},
        {"rtpcoreJob": {"id": 1, "fence": 1}},
    ],
)
def test_claims_of_the_wrong_kind_are_refused(payload: dict[str, Any]) -> None:
    with pytest.raises(TokenError, match="the token's"):
        read(**payload)


def test_what_is_unknown_or_null_is_ignored() -> None:
    got = read(
        aud="x",
        agent={"admin": True},
        attributes=None,
        name=None,
        roomConfig=None,
        video={"roomJoin": None, "fly": 1},
    )
    assert got == Claims(issuer="key", expires_at=NOW + 600, video=VideoGrant())
    assert read(roomConfig={"maxParticipants": 3, "wings": 2}).room_config == RoomConfiguration(max_participants=3)
    assert read(roomConfig={"max_participants": 3}).room_config == RoomConfiguration(max_participants=3)


def test_the_identity_of_old_tokens_is_their_id() -> None:
    assert read(jti="ada").identity == "ada"
    assert read(jti="x", sub="ada").identity == "ada"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("", ParticipantInfo.STANDARD),
        ("pilot", ParticipantInfo.STANDARD),
        ("Agent", ParticipantInfo.AGENT),
        ("bridge", ParticipantInfo.BRIDGE),
    ],
)
def test_a_kind_that_is_unknown_is_standard(kind: str, expected: int) -> None:
    assert read(kind=kind).participant_kind == expected


def test_details_of_a_kind_that_nobody_knows_are_passed_over() -> None:
    details = read(kind="agent", kindDetails=["cloud_agent", "of another world", "forwarded"]).participant_kind_details
    assert details == (ParticipantInfo.CLOUD_AGENT, ParticipantInfo.FORWARDED)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        (Claims(), False),
        (Claims(kind="sip", video=VideoGrant(room_join=True)), False),
        (Claims(kind="agent"), True),
        (Claims(kind="egress"), True),
        (Claims(video=VideoGrant(agent=True)), True),
        (Claims(video=VideoGrant(recorder=True)), True),
    ],
)
def test_agents_and_recorders_depend_on_others(claims: Claims, expected: bool) -> None:
    assert claims.is_dependent is expected


CAMERA, MICROPHONE = TrackSource.CAMERA, TrackSource.MICROPHONE


@pytest.mark.parametrize(
    ("grant", "any_", "camera", "microphone", "data"),
    [
        (VideoGrant(), True, True, True, True),
        (VideoGrant(can_publish=True), True, True, True, True),
        (VideoGrant(can_publish=False), False, False, False, False),
        (VideoGrant(can_publish=False, can_publish_data=True), False, False, False, True),
        (VideoGrant(can_publish_data=False), True, True, True, False),
        (VideoGrant(can_publish_sources=("camera",)), True, True, False, True),
        (VideoGrant(can_publish=False, can_publish_sources=("camera",)), False, False, False, False),
    ],
)
def test_publishing(grant: VideoGrant, any_: bool, camera: bool, microphone: bool, data: bool) -> None:
    got = (grant.may_publish(), grant.may_publish(CAMERA), grant.may_publish(MICROPHONE), grant.may_publish_data)
    assert got == (any_, camera, microphone, data)


def test_a_source_that_is_unknown_is_none_of_those_listed() -> None:
    assert VideoGrant().may_publish(99)
    assert not VideoGrant(can_publish_sources=("camera",)).may_publish(99)
    assert not VideoGrant(can_publish_sources=("camera",)).may_publish(TrackSource.UNKNOWN)


def test_absence_is_yes_for_subscribing_and_no_for_ones_own_metadata() -> None:
    assert (VideoGrant().may_subscribe, VideoGrant(can_subscribe=False).may_subscribe) == (True, False)
    assert not VideoGrant().may_update_own_metadata
    assert VideoGrant(can_update_own_metadata=True).may_update_own_metadata


@given(GRANTS)
def test_a_grant_and_the_permission_made_of_it_say_the_same(grant: VideoGrant) -> None:
    permission = grant.permission
    again = grant.with_permission(permission)
    assert again.permission == permission
    for source in range(5):
        assert again.may_publish(source) == grant.may_publish(source)
    assert again.may_publish_data == grant.may_publish_data
    assert (again.room, again.room_join, again.room_admin) == (grant.room, grant.room_join, grant.room_admin)


def test_a_permission_takes_rights_away() -> None:
    grant = VideoGrant(can_publish_sources=("camera",), hidden=True, agent=True)
    assert grant.permission == ParticipantPermission(
        can_subscribe=True,
        can_publish=True,
        can_publish_data=True,
        can_publish_sources=[CAMERA],
        hidden=True,
        agent=True,
    )
    less = grant.with_permission(ParticipantPermission(can_subscribe=True))
    assert less == VideoGrant(
        can_publish=False,
        can_subscribe=True,
        can_publish_data=False,
        can_update_own_metadata=False,
        agent=True,
        can_subscribe_metrics=False,
        can_manage_agent_session=False,
    )


def test_short_secrets_are_refused_outside_dev_mode() -> None:
    with pytest.raises(ConfigError) as caught:
        Keyring({"good": SECRET, "devkey": "sesame"})
    text = str(caught.value)
    assert "'devkey' has 6 bytes" in text
    assert "32" in text
    assert "openssl rand" in text
    assert "sesame" not in text
    assert Keyring({"devkey": "secret"}, allow_short=True).names == ("devkey",)
    assert Keyring({"key": "é" * 16}).names == ("key",), "bytes are counted, not letters"


@pytest.mark.parametrize("keys", [{}, {"": SECRET}, {"key": ""}])
def test_keys_need_a_name_and_a_secret(keys: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"^keys: "):
        Keyring(keys, allow_short=True)


def test_a_keyring_shows_no_secret() -> None:
    assert repr(KEYS) == "Keyring(key, other)"
    assert SECRET not in f"{KEYS} {KEYS!r}"


@given(st.text() | st.binary().map(part))
def test_whatever_comes_is_claims_or_a_token_error(token: str) -> None:
    with pytest.raises(TokenError):
        KEYS.verify(token, NOW)


@given(st.dictionaries(st.sampled_from(["sub", "exp", "video", "attributes", "roomConfig"]), st.text() | st.floats()))
def test_whatever_is_signed_is_claims_or_a_token_error(payload: dict[str, Any]) -> None:
    try:
        claims = KEYS.verify(sign({"iss": "key", **payload}), NOW)
    except TokenError:
        return
    KEYS.issue(claims, now=NOW, ttl=1)
