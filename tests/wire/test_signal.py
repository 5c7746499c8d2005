"""Frames to requests, responses to frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.strategies import messages

from rtpcore.errors import ProtocolError
from rtpcore.wire import signal
from rtpcore.wire.messages import (
    JoinResponse,
    MuteTrackRequest,
    ParticipantInfo,
    SignalRequest,
    SignalResponse,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from([f.name for f in SignalRequest.DESCRIPTOR.fields] + ["sdp", "sid", "midToTrackId", "nonsense"])


@given(messages(SignalRequest))
def test_a_binary_frame_is_protobuf(request: SignalRequest) -> None:
    frame = request.SerializeToString()
    if frame:
        assert signal.decode(frame) == request


@given(messages(SignalRequest), st.booleans())
def test_a_text_frame_is_protobufs_json_in_either_case(request: SignalRequest, keeps_names: bool) -> None:
    frame = json_format.MessageToJson(request, preserving_proto_field_name=keeps_names)
    if request.WhichOneof("message"):
        assert signal.decode(frame) == request


@given(messages(SignalResponse))
def test_responses_survive_both_encodings(response: SignalResponse) -> None:
    assert SignalResponse.FromString(signal.encode(response)) == response
    text = signal.encode(response, as_text=True)
    assert isinstance(text, str)
    assert json_format.Parse(text, SignalResponse()) == response
    assert json.loads(text) == json_format.MessageToDict(response)


def test_text_is_written_as_gos_protojson_writes_it() -> None:
    join = JoinResponse(participant=ParticipantInfo(sid="PA_x", name="Zoë", joined_at=7), ping_interval=5)
    assert (
        signal.encode(SignalResponse(join=join), as_text=True)
        == '{"join":{"participant":{"sid":"PA_x","joinedAt":"7","name":"Zoë"},"pingInterval":5}}'
    )


def test_whole_surrogate_pairs_are_letters_like_any_other() -> None:
    assert signal.decode('{"mute":{"sid":"\\ud83d\\ude00 \\\\ud800"}}').mute.sid == "\U0001f600 \\ud800"


def test_a_message_without_fields_is_a_message() -> None:
    assert signal.decode(b"\x2a\x00").WhichOneof("message") == "mute"
    assert signal.decode('{"mute":{}}') == SignalRequest(mute=MuteTrackRequest())


def test_a_request_from_the_future_is_no_error() -> None:
    """Field 99, length 1."""
    assert signal.decode(b"\x9a\x06\x01x").WhichOneof("message") is None
    assert signal.decode('{"teleport":{"to":"Mars"}}').WhichOneof("message") is None
    assert signal.decode('{"mute":{"sid":"TR_x","why":1}}').mute.sid == "TR_x"


@pytest.mark.parametrize(
    "frame",
    [
        *(b"", b"\xff", b"\x0a\x05abc", b"\x0a\x02\x0a\xff"),
        *("", " ", "{}", "[]", "null", "7", '"ping"', "{", '{"a":' * 100_000),
        *('{"ping":"x"}', '{"ping":1e999}', '{"ping":' + "9" * 5000 + "}", '{"ping":1,"mute":{}}'),
        *('{"mute":[1]}', '{"offer":{"midToTrackId":[1]}}', '{"mute":{"sid":"\\ud800"}}', '{"mute":{"sid":"\ud800"}}'),
        # Over such names protobuf 7.36 fails with SystemError.
        *('{"offer":"\\uD800"}', '{"\\ud800":1}', '{"addTrack":{"type":"\\uDfff"}}'),
    ],
)
def test_what_is_no_request_is_refused(frame: bytes | str) -> None:
    with pytest.raises(ProtocolError, match="SignalRequest"):
        signal.decode(frame)


@given(st.binary() | st.text() | st.dictionaries(NAMES, VALUES | st.dictionaries(NAMES, VALUES)).map(json.dumps))
def test_whatever_comes_is_a_request_or_a_protocol_error(frame: bytes | str) -> None:
    try:
        request = signal.decode(frame)
    except ProtocolError:
        return
    request.SerializeToString()


@given(messages(SignalRequest), st.data())
def test_a_request_with_anything_in_one_place_is_a_request_or_a_protocol_error(
    request: SignalRequest, data: st.DataObject
) -> None:
    tree = json_format.MessageToDict(request)
    places = list(every_place(tree))
    if places:
        container, key = data.draw(st.sampled_from(places))
        container[key] = data.draw(VALUES)
    try:
        got = signal.decode(json.dumps(tree))
    except ProtocolError:
        return
    got.SerializeToString()


def every_place(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in decoded JSON with each of its keys or indices."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from every_place(tree[key])
