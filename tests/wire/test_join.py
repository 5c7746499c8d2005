"""The query of /rtc and /rtc/v1."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import zlib
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.wire.strategies import messages

from rtpcore.errors import ProtocolError
from rtpcore.wire import join
from rtpcore.wire.messages import (
    AddTrackRequest,
    ClientInfo,
    ConnectionSettings,
    JoinRequest,
    ReconnectReason,
    SessionDescription,
    TrackType,
    WrappedJoinRequest,
)

GZIP, NONE = WrappedJoinRequest.GZIP, WrappedJoinRequest.NONE


def wrap(data: bytes, compression: Any = NONE) -> str:
    wrapped = WrappedJoinRequest(compression=compression, join_request=data)
    return base64.urlsafe_b64encode(wrapped.SerializeToString()).decode()


def read(encoded: str, *, is_v1: bool = True) -> join.JoinParameters:
    return join.parse({"join_request": encoded}, is_v1=is_v1)


def base64url(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@given(messages(JoinRequest), st.sampled_from([NONE, GZIP]), st.booleans())
def test_a_join_request_says_everything(request: JoinRequest, compression: Any, is_v1: bool) -> None:
    data = request.SerializeToString()
    # Nothing wrapped in nothing is an empty string, which is as if it were absent.
    assume(data or compression == GZIP)
    got = read(wrap(gzip.compress(data) if compression == GZIP else data, compression), is_v1=is_v1)
    settings = request.connection_settings
    assert got.is_single
    assert got.client == request.client_info
    assert (got.auto_subscribe, got.adaptive_stream) == (settings.auto_subscribe, settings.adaptive_stream)
    assert got.disable_ice_lite == settings.disable_ice_lite
    assert (got.subscriber_allow_pause is not None) == settings.HasField("subscriber_allow_pause")
    assert got.subscriber_allow_pause in (None, settings.subscriber_allow_pause)
    assert (got.reconnect, got.reconnect_reason) == (request.reconnect, request.reconnect_reason)
    assert got.participant_sid == (request.participant_sid if request.reconnect else "")
    assert (got.metadata or "") == request.metadata
    assert got.attributes == {k: v for k, v in request.participant_attributes.items() if v}
    assert list(got.add_tracks) == list(request.add_track_requests)
    assert (got.publisher_offer is not None) == request.HasField("publisher_offer")
    assert got.publisher_offer in (None, request.publisher_offer)
    assert got.publish_suffix == ""


def test_a_current_javascript_client_joins() -> None:
    request = JoinRequest(
        client_info=ClientInfo(sdk=ClientInfo.JS, protocol=17, capabilities=[ClientInfo.CAP_PACKET_TRAILER]),
        connection_settings=ConnectionSettings(auto_subscribe=True, adaptive_stream=True),
        add_track_requests=[AddTrackRequest(cid="x", type=TrackType.AUDIO)],
        publisher_offer=SessionDescription(type="offer", sdp="v=0\r\n" * 2000, id=1),
    )
    got = read(wrap(gzip.compress(request.SerializeToString()), GZIP))
    assert got.client == request.client_info
    assert got.publisher_offer == request.publisher_offer
    assert got.auto_subscribe
    assert not got.auto_subscribe_data_track, "clients ask for data tracks"
    assert [track.cid for track in got.add_tracks] == ["x"]


def test_absent_settings_subscribe_to_nothing_in_a_join_request_but_to_all_in_a_query() -> None:
    assert not read(wrap(JoinRequest(reconnect=True).SerializeToString())).auto_subscribe
    assert join.parse({}, is_v1=False).auto_subscribe


def test_data_tracks_can_be_asked_for() -> None:
    settings = ConnectionSettings(auto_subscribe=True, auto_subscribe_data_track=True)
    got = read(wrap(JoinRequest(connection_settings=settings).SerializeToString()))
    assert (got.auto_subscribe, got.auto_subscribe_data_track) == (True, True)


def test_every_spelling_of_base64_is_read() -> None:
    """Of these bytes base64 has both letters in which the alphabets differ, and padding."""
    request = JoinRequest(metadata="?~?~>>>>ÿÿ", participant_sid="PA_1")
    encoded = wrap(request.SerializeToString())
    assert encoded.endswith("=")
    assert set("-_") <= set(encoded)
    standard = encoded.translate(str.maketrans("-_", "+/"))
    for spelling in (encoded, standard, encoded.rstrip("="), standard.rstrip("="), standard.replace("+", " ")):
        assert read(spelling).metadata == request.metadata


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        ("!!!!", "base64url"),
        ("é", "base64url"),
        ("abcde", "base64url"),
        (wrap(b"\xff"), "protobuf"),
        (base64.urlsafe_b64encode(b"\xff\xff").decode(), "protobuf"),
        (wrap(b"\x0a\x02\x0a\xff"), "protobuf"),
        (wrap(b"", 7), "plain or compressed"),
        (wrap(b"no gzip", GZIP), "gzip"),
        (wrap(b"", GZIP), "gzip"),
        (wrap(zlib.compress(b""), GZIP), "gzip"),
        (wrap(gzip.compress(b"")[:-1], GZIP), "gzip as a whole"),
        (wrap(gzip.compress(b"") + b"more", GZIP), "gzip as a whole"),
    ],
)
def test_what_is_no_join_request_is_refused(encoded: str, expected: str) -> None:
    with pytest.raises(ProtocolError, match=expected):
        read(encoded)


def test_v1_needs_a_join_request() -> None:
    for query in ({}, {"join_request": ""}, {"protocol": "16"}):
        with pytest.raises(ProtocolError, match="join_request"):
            join.parse(query, is_v1=True)


def test_a_join_request_may_have_a_mebibyte_and_no_more() -> None:
    def sized(size: int) -> bytes:
        return JoinRequest(metadata="x" * (size - 4)).SerializeToString()

    full, more = sized(join.LONGEST_JOIN_REQUEST), sized(join.LONGEST_JOIN_REQUEST + 1)
    assert (len(full), len(more)) == (1 << 20, (1 << 20) + 1)
    for encoded in (wrap(full), wrap(gzip.compress(full), GZIP)):
        assert len(read(encoded).metadata or "") == (1 << 20) - 4
    for encoded in (wrap(more), wrap(gzip.compress(more), GZIP)):
        with pytest.raises(ProtocolError, match="at most 1048576 bytes"):
            read(encoded)


def test_a_bomb_is_not_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 MiB of zeros are 64 KiB of gzip; what is made of them is bounded by the limit."""
    sizes: list[int] = []
    inflater = zlib.decompressobj

    class Counting:
        def __init__(self, wbits: int) -> None:
            self.inner = inflater(wbits)

        def decompress(self, data: bytes, limit: int) -> bytes:
            plain = self.inner.decompress(data, limit)
            sizes.append(len(plain))
            return plain

    monkeypatch.setattr(join.zlib, "decompressobj", Counting)
    with pytest.raises(ProtocolError, match="at most 1048576 bytes"):
        read(wrap(gzip.compress(bytes(64 << 20)), GZIP))
    assert sizes == [(1 << 20) + 1]


def test_a_query_says_everything() -> None:
    got = join.parse(
        {
            "access_token": "x",
            "protocol": "16",
            "sdk": "reactnative",
            "version": "2.0.1",
            "os": "iOS",
            "os_version": "17",
            "device_model": "iPhone",
            "browser": "Safari",
            "browser_version": "17.1",
            "network": "wifi",
            "client_protocol": "1",
            "capabilities": "CAP_PACKET_TRAILER,CAP_TELEPATHY,cap_compression_deflate_raw,CAP_PACKET_TRAILER,",
            "auto_subscribe": "0",
            "adaptive_stream": "1",
            "subscriber_allow_pause": "false",
            "disable_ice_lite": "true",
            "publish": "screen",
            "attributes": base64url({"a": "b", "gone": ""}),
            "reconnect": "1",
            "reconnect_reason": "2",
            "sid": "PA_1",
        },
        is_v1=False,
    )
    assert got == join.JoinParameters(
        client=ClientInfo(
            sdk=ClientInfo.REACT_NATIVE,
            version="2.0.1",
            protocol=16,
            os="iOS",
            os_version="17",
            device_model="iPhone",
            browser="Safari",
            browser_version="17.1",
            network="wifi",
            client_protocol=1,
            capabilities=[ClientInfo.CAP_PACKET_TRAILER, ClientInfo.CAP_COMPRESSION_DEFLATE_RAW],
        ),
        is_single=False,
        auto_subscribe=False,
        adaptive_stream=True,
        subscriber_allow_pause=False,
        disable_ice_lite=True,
        auto_subscribe_data_track=False,
        reconnect=True,
        reconnect_reason=ReconnectReason.RR_PUBLISHER_FAILED,
        participant_sid="PA_1",
        attributes={"a": "b"},
        publish_suffix="screen",
    )


def test_an_empty_query_is_a_plain_join() -> None:
    assert join.parse({}, is_v1=False) == join.JoinParameters()
    assert join.parse({name: "" for name in ("auto_subscribe", "subscriber_allow_pause")}, is_v1=False) == (
        join.JoinParameters()
    )


@pytest.mark.parametrize(
    ("sdk", "expected"),
    [
        ("js", "JS"),
        ("ios", "SWIFT"),
        ("swift", "SWIFT"),
        ("unityweb", "UNITY_WEB"),
        ("python", "PYTHON"),
        ("?", "UNKNOWN"),
    ],
)
def test_sdks_have_names(sdk: str, expected: str) -> None:
    assert join.parse({"sdk": sdk}, is_v1=False).client.sdk == ClientInfo.SDK.Value(expected)


def test_the_session_to_resume_counts_only_when_resuming() -> None:
    assert join.parse({"sid": "PA_1"}, is_v1=False).participant_sid == ""
    assert join.parse({"sid": "PA_1", "reconnect": "true"}, is_v1=False).participant_sid == "PA_1"


@pytest.mark.parametrize("number", ["", "x", "-1", "1.5", "٣", "99999999999", "4294967296", "9" * 5000])
def test_numbers_that_are_none_are_zero(number: str) -> None:
    assert join.parse({"protocol": number, "reconnect_reason": number}, is_v1=False) == join.JoinParameters()


@pytest.mark.parametrize(
    "encoded",
    [
        "!",
        "e30x!",
        "eyJ7",
        base64url([]),
        base64url({"a": 1}),
        base64url({"a": None}),
        base64url({"a": "\ud800"}),
        base64.urlsafe_b64encode(b"\xff").decode(),
        base64.urlsafe_b64encode(b'{"a":' * 100_000).decode(),
    ],
)
def test_attributes_that_are_none_are_refused(encoded: str) -> None:
    with pytest.raises(ProtocolError, match="attributes"):
        join.parse({"attributes": encoded}, is_v1=False)


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ProtocolError, match="UTF-8"):
        join.parse({"os": "\udcff"}, is_v1=False)


@given(st.dictionaries(st.sampled_from(["join_request", "attributes", "sdk", "protocol", "capabilities"]), st.text()))
def test_whatever_comes_is_parameters_or_a_protocol_error(query: dict[str, str]) -> None:
    with contextlib.suppress(ProtocolError):
        join.parse(query, is_v1=False)


@given(st.binary(max_size=200), st.sampled_from([NONE, GZIP]))
def test_whatever_is_wrapped_is_parameters_or_a_protocol_error(data: bytes, compression: Any) -> None:
    for inner in (data, gzip.compress(data)):
        with contextlib.suppress(ProtocolError):
            read(wrap(inner, compression))
