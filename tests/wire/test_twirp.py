"""Bodies of calls and their errors."""

from __future__ import annotations

import json
import pickle

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from livekit.api import twirp_client
from tests.wire.strategies import messages

from rtpcore.errors import RtpcoreError
from rtpcore.wire import twirp
from rtpcore.wire.messages import (
    CreateRoomRequest,
    ListRoomsResponse,
    Message,
    ParticipantInfo,
    Room,
    SendDataRequest,
    UpdateParticipantRequest,
)

KINDS = st.sampled_from([CreateRoomRequest, UpdateParticipantRequest, SendDataRequest, ListRoomsResponse])
MESSAGES = KINDS.flatmap(messages)
TYPES = st.sampled_from(
    ["application/json", "application/protobuf", "application/json; charset=utf-8", " Application/JSON ;x"]
)


@given(MESSAGES, TYPES)
def test_what_is_encoded_decodes_to_the_same(message: Message, content_type: str) -> None:
    body = twirp.encode(content_type, message)
    assert twirp.decode(content_type, body, type(message)()) == message


@given(MESSAGES, st.booleans())
def test_json_of_protobufs_own_is_read_in_either_case(message: Message, keeps_names: bool) -> None:
    body = json_format.MessageToJson(message, preserving_proto_field_name=keeps_names)
    assert twirp.decode("application/json", body.encode(), type(message)()) == message


def test_json_is_written_in_snake_case_with_what_says_nothing() -> None:
    body = twirp.encode("application/json", ListRoomsResponse(rooms=[Room(sid="RM_1", name="Zoë")]))
    assert "Zoë".encode() in body
    (room,) = json.loads(body)["rooms"]
    assert (room["sid"], room["max_participants"], room["creation_time"], room["active_recording"]) == (
        "RM_1",
        0,
        "0",
        False,
    )
    assert room["enabled_codecs"] == []
    assert json.loads(twirp.encode("application/json", ListRoomsResponse())) == {"rooms": []}
    state = json.loads(twirp.encode("application/json", ParticipantInfo(state=ParticipantInfo.ACTIVE)))["state"]
    assert state == "ACTIVE"


def test_unknown_members_are_ignored() -> None:
    body = b'{"name":"a","emptyTimeout":5,"max_participants":6,"wings":{"left":1}}'
    got = twirp.decode("application/json", body, CreateRoomRequest())
    assert got == CreateRoomRequest(name="a", empty_timeout=5, max_participants=6)


def test_an_empty_protobuf_is_a_message_and_empty_json_is_none() -> None:
    assert twirp.decode("application/protobuf", b"", CreateRoomRequest()) == CreateRoomRequest()
    assert twirp.decode("application/json", b"{}", CreateRoomRequest()) == CreateRoomRequest()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b""),
        ("application/json", b"[]"),
        ("application/json", b"\xff"),
        ("application/json", b'{"name":1}'),
        ("application/json", b'{"name":"\\ud800"}'),
        ("application/json", b'{"\\ud800":"name"}'),
        ("application/json", b'{"maxParticipants":1e999}'),
        ("application/json", b'{"agents":' * 100_000),
        ("application/protobuf", b"\xff"),
        ("application/protobuf", b"\x0a\x01\xff"),
        ("application/protobuf", b"\x0a\x09x"),
    ],
)
def test_what_cannot_be_decoded_is_malformed(content_type: str, body: bytes) -> None:
    with pytest.raises(twirp.TwirpError) as caught:
        twirp.decode(content_type, body, CreateRoomRequest())
    assert (caught.value.code, caught.value.status) == ("malformed", 400)
    assert caught.value.msg.endswith("request could not be decoded")


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
def test_another_content_type_leads_nowhere(content_type: str) -> None:
    with pytest.raises(twirp.TwirpError) as caught:
        twirp.decode(content_type, b"", CreateRoomRequest())
    assert (caught.value.code, caught.value.status) == ("bad_route", 404)
    with pytest.raises(twirp.TwirpError, match="bad_route"):
        twirp.encode(content_type, Room())


@given(TYPES, st.binary() | st.text().map(str.encode))
def test_whatever_comes_is_a_message_or_malformed(content_type: str, body: bytes) -> None:
    try:
        message = twirp.decode(content_type, body, UpdateParticipantRequest())
    except twirp.TwirpError as error:
        if error.code != "malformed":
            raise
    else:
        message.SerializeToString()


def test_every_code_that_livekits_client_knows_has_a_status() -> None:
    known = {value for name, value in vars(twirp_client.TwirpErrorCode).items() if not name.startswith("_")}
    # Twirp's specification says "dataloss"; its Go library, and with it LiveKit's server, "data_loss".
    assert known - {"dataloss"} == set(twirp.STATUSES) - {"data_loss"}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("unauthenticated", 401),
        ("permission_denied", 403),
        ("failed_precondition", 412),
        ("resource_exhausted", 429),
        ("already_exists", 409),
        ("unimplemented", 501),
        ("unavailable", 503),
        ("canceled", 408),
        ("internal", 500),
    ],
)
def test_codes_have_statuses(code: str, status: int) -> None:
    assert twirp.TwirpError(code, "").status == status


def test_an_error_is_written_as_clients_read_it() -> None:
    error = twirp.TwirpError("bad_route", 'no "handler"', {"twirp_invalid_route": "POST /x"})
    assert json.loads(error.to_json()) == {
        "code": "bad_route",
        "msg": 'no "handler"',
        "meta": {"twirp_invalid_route": "POST /x"},
    }
    assert json.loads(twirp.TwirpError("internal", "x").to_json()) == {"code": "internal", "msg": "x"}


def test_an_error_is_ours_and_survives_pickling() -> None:
    error = twirp.TwirpError("internal", "x", {"a": "b"})
    assert isinstance(error, RtpcoreError)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), vars(again)) == ("internal: x", vars(error))
    with pytest.raises(ValueError, match="error codes"):
        twirp.TwirpError("teapot", "x")
