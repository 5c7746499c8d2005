"""LiveKit over HTTP without a browser: who is let in, the server API through its own client, webhooks.

Under aiohttp and under an ASGI server, at the root and under a prefix.
"""

from __future__ import annotations

import asyncio
import io
import secrets
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer
from livekit import api
from livekit.api.twirp_client import TwirpError
from tests.serving import WAYS, mount

from rtpcore import Config, Forwarder, Listen, Media, Server
from rtpcore.host import now_ms
from rtpcore.livekit_config import LiveKitConfig, load
from rtpcore.wire.messages import (
    AddTrackRequest,
    DisconnectReason,
    LeaveRequest,
    ParticipantInfo,
    RequestResponse,
    SessionDescription,
    SignalRequest,
    SignalResponse,
    TrackSource,
    TrackType,
    UpdateParticipantMetadata,
)
from rtpcore.wire.token import Claims, Keyring, VideoGrant

KEY, SECRET = "key", "a secret of more than thirty-two bytes"
FORWARDER = Config(listen=Listen(addresses=("127.0.0.1",)), media=Media(stats_interval_ms=10), workers=1, seed=1)


NOWHERE = Claims(identity="alice", video=VideoGrant(room_join=True))


def token(identity: str = "alice", room: str = "stage", **grants: Any) -> str:
    wish = api.VideoGrants(room_join=True, room=room, **grants)
    made: str = api.AccessToken(KEY, SECRET).with_identity(identity).with_grants(wish).to_jwt()
    return made


def settings(extra: str = "") -> LiveKitConfig:
    return load(f"keys: {{{KEY}: {SECRET}}}\n{extra}", environ={})


@pytest.fixture
def server() -> Server:
    return Server(settings(), config=FORWARDER)


@pytest.fixture(params=WAYS)
async def client(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(mount(server, request.param)) as running:
        yield running


@pytest.fixture
async def server_api(client: TestClient[Any, Any]) -> AsyncIterator[api.LiveKitAPI]:
    async with api.LiveKitAPI(str(client.make_url("/")), KEY, SECRET) as running:
        yield running


class Socket:
    """A client that speaks the protocol and nothing else."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    @classmethod
    async def join(cls, client: TestClient[Any, Any], access: str, **query: str) -> Socket:
        query = {"access_token": access, "protocol": "16", "auto_subscribe": "1", **query}
        return cls(await client.ws_connect("/rtc", params=query))

    async def send(self, **message: Any) -> None:
        await self.socket.send_bytes(SignalRequest(**message).SerializeToString())

    async def next(self) -> SignalResponse | None:
        """The next message; None once the socket is closed."""
        message = await asyncio.wait_for(self.socket.receive(), 30)
        return SignalResponse.FromString(message.data) if message.type == WSMsgType.BINARY else None

    async def until(self, kind: str) -> Any:
        """The next message of a kind."""
        while (message := await self.next()) is not None:
            if message.WhichOneof("message") == kind:
                return getattr(message, kind)
        pytest.fail(f"the socket closed before {kind}")


class TestJoining:
    async def test_the_first_message_says_who_is_there(self, client: TestClient[Any, Any]) -> None:
        alice = await Socket.join(client, token("alice"))
        first = await alice.next()
        assert first is not None
        assert first.WhichOneof("message") == "join"
        assert first.join.participant.sid.startswith("PA_")
        assert first.join.room.sid.startswith("RM_")
        assert first.join.subscriber_primary
        assert first.join.ping_interval > 0
        assert (await alice.until("offer")).sdp.startswith("v=0")
        bob = await Socket.join(client, token("bob"))
        assert [one.identity for one in (await bob.until("join")).other_participants] == ["alice"]
        update = await alice.until("update")
        assert [one.identity for one in update.participants] == ["bob"]

    @pytest.mark.parametrize(
        ("access", "status", "words"),
        [
            ("", 401, "permissions denied"),
            ("nonsense", 401, ""),
            (Keyring({KEY: SECRET}).issue(NOWHERE, now=time.time(), ttl=60), 400, "room name"),
            (api.AccessToken(KEY, SECRET).with_identity("x").to_jwt(), 401, "permissions denied"),
            (api.AccessToken(KEY, "another secret that is long enough").with_identity("x").to_jwt(), 401, ""),
        ],
    )
    async def test_who_may_not_come_in_learns_a_status(
        self, client: TestClient[Any, Any], access: str, status: int, words: str
    ) -> None:
        for path in ("/rtc/validate", "/rtc/v1/validate"):
            query = {"access_token": access} | ({"join_request": ""} if "v1" in path else {})
            async with client.get(path, params=query) as answer:
                assert answer.status in ((status, 400) if "v1" in path else (status,))
        upgrade = {"Connection": "upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        upgrade["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
        async with client.get("/rtc", params={"access_token": access}, headers=upgrade) as answer:
            assert answer.status == status
            assert words in await answer.text()

    async def test_validation_makes_no_session(self, client: TestClient[Any, Any], server_api: api.LiveKitAPI) -> None:
        async with client.get("/rtc/validate", params={"access_token": token()}) as answer:
            assert (answer.status, await answer.text()) == (200, "success")
        assert not (await server_api.room.list_rooms(api.ListRoomsRequest())).rooms

    async def test_what_is_no_websocket_is_not_found(self, client: TestClient[Any, Any]) -> None:
        async with client.get("/rtc", params={"access_token": token()}) as answer:
            assert answer.status == 404

    async def test_a_slash_too_many_does_no_harm(self, client: TestClient[Any, Any]) -> None:
        url = f"{client.make_url('/')}/rtc/validate"
        assert "//rtc" in url
        async with client.session.get(url, params={"access_token": token()}) as answer:
            assert answer.status == 200

    async def test_the_same_identity_again_sends_the_first_away(self, client: TestClient[Any, Any]) -> None:
        first = await Socket.join(client, token())
        await first.until("join")
        second = await Socket.join(client, token())
        assert not (await second.until("join")).other_participants
        leave = await first.until("leave")
        assert leave.reason == DisconnectReason.DUPLICATE_IDENTITY
        assert leave.action == LeaveRequest.Action.DISCONNECT
        assert await first.next() is None

    async def test_a_session_that_is_gone_is_begun_anew(self, client: TestClient[Any, Any]) -> None:
        back = await Socket.join(client, token(), reconnect="1", sid="PA_gone")
        first = await back.next()
        assert first is not None
        assert first.leave.action == LeaveRequest.Action.RECONNECT
        assert await back.next() is None

    async def test_a_full_room_is_closed(self, client: TestClient[Any, Any], server_api: api.LiveKitAPI) -> None:
        await server_api.room.create_room(api.CreateRoomRequest(name="stage", max_participants=1))
        alice = await Socket.join(client, token("alice"))
        await alice.until("join")
        async with client.get("/rtc/validate", params={"access_token": token("bob")}) as answer:
            assert answer.status == 503


@pytest.mark.parametrize("way", WAYS)
async def test_limits_of_the_configuration_hold(way: str) -> None:
    text = (
        "limit: {max_room_name_length: 8, max_metadata_size: 4, signal_message_size_limit: 2000}\n"
        "room: {enable_remote_unmute: true, enabled_codecs: [{mime: video/VP8}, {mime: audio/opus}]}"
    )
    async with TestClient(mount(Server(settings(text), config=FORWARDER), way)) as client:
        async with client.get("/rtc/validate", params={"access_token": token(room="räumlich")}) as answer:
            assert (answer.status, await answer.text()) == (400, "a room name of 1 to 8 bytes is needed")
        alice = await Socket.join(client, token(can_update_own_metadata=True))
        joined = await alice.until("join")
        assert [one.mime for one in joined.enabled_publish_codecs] == ["video/VP8", "audio/opus"]
        await alice.send(update_metadata=UpdateParticipantMetadata(metadata="too long"))
        assert (await alice.until("request_response")).message == "metadata has at most 4 bytes"
        async with api.LiveKitAPI(str(client.make_url("/")), KEY, SECRET) as server_api:
            with pytest.raises(TwirpError, match="metadata has at most 4 bytes"):
                await server_api.room.update_room_metadata(
                    api.UpdateRoomMetadataRequest(room="stage", metadata="long!")
                )
        await alice.send(update_metadata=UpdateParticipantMetadata(name="x" * 3000))
        while await alice.next() is not None:
            pass
        assert alice.socket.close_code == 1009, "a message too big (RFC 6455 §7.4.1)"


async def test_a_full_server_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    async with TestClient(mount(Server(settings("limit: {num_tracks: 2}"), config=FORWARDER), "aiohttp")) as client:
        validate = {"access_token": token()}
        async with client.get("/rtc/validate", params=validate) as answer:
            assert answer.status == 200
        monkeypatch.setattr(Forwarder, "tracks", 2)
        async with client.get("/rtc/validate", params=validate) as answer:
            assert (answer.status, await answer.text()) == (503, "the server carries 2 tracks, as many as it may")


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_that_stops_says_so(way: str) -> None:
    server = Server(settings(), config=FORWARDER)
    async with TestClient(mount(server, way)) as client:
        alice = await Socket.join(client, token())
        await alice.until("join")
        if "aiohttp" not in way:
            # ASGI servers close websockets before they say that they stop.
            server.close()
        closing = asyncio.create_task(client.server.close())
        leave = await alice.until("leave")
        assert (leave.reason, leave.action) == (DisconnectReason.SERVER_SHUTDOWN, LeaveRequest.Action.DISCONNECT)
        assert await alice.next() is None
        await closing


class TestSignalling:
    async def test_pings_are_answered(self, client: TestClient[Any, Any]) -> None:
        alice = await Socket.join(client, token())
        await alice.send(ping=1)
        assert await alice.until("pong") > 0
        request = SignalRequest()
        request.ping_req.timestamp = 7
        await alice.socket.send_bytes(request.SerializeToString())
        assert (await alice.until("pong_resp")).last_ping_timestamp == 7

    async def test_json_is_answered_in_json(self, client: TestClient[Any, Any]) -> None:
        alice = await Socket.join(client, token())
        await alice.until("offer")
        await alice.socket.send_str('{"ping": "1"}')
        message = await asyncio.wait_for(alice.socket.receive(), 30)
        assert message.type == WSMsgType.TEXT
        assert "pong" in message.json()

    async def test_garbage_costs_nothing_but_a_line(self, client: TestClient[Any, Any]) -> None:
        alice = await Socket.join(client, token())
        await alice.socket.send_bytes(b"\xff\xff\xff")
        await alice.socket.send_str("{")
        await alice.send(ping=1)
        await alice.until("pong")

    async def test_a_description_that_makes_no_sense_begins_anew(self, client: TestClient[Any, Any]) -> None:
        alice = await Socket.join(client, token())
        request = SignalRequest()
        request.offer.type, request.offer.sdp = "offer", "nonsense"
        await alice.socket.send_bytes(request.SerializeToString())
        assert (await alice.until("leave")).action == LeaveRequest.Action.RECONNECT

    async def test_a_description_for_a_connection_that_has_ended_costs_no_socket(
        self, server: Server, client: TestClient[Any, Any]
    ) -> None:
        alice = await Socket.join(client, token())
        sid = (await alice.until("join")).participant.sid
        server.host.sessions[sid].peer.publisher.transport.close()
        text = next(Path(__file__).parent.glob("sdp/offers/*.sdp")).read_text()
        await alice.send(offer=SessionDescription(type="offer", sdp=text))
        await alice.send(ping=1)
        await alice.until("pong")

    async def test_tracks_are_announced_and_refused(self, client: TestClient[Any, Any]) -> None:
        alice = await Socket.join(client, token(can_publish_sources=["microphone"]))
        for source, kind in ((TrackSource.MICROPHONE, TrackType.AUDIO), (TrackSource.CAMERA, TrackType.VIDEO)):
            await alice.send(add_track=AddTrackRequest(cid=f"c{source}", type=kind, source=source))
        published = await alice.until("track_published")
        assert published.cid == f"c{TrackSource.MICROPHONE}"
        assert published.track.sid.startswith("TR_AM")
        refused = await alice.until("request_response")
        assert refused.reason == RequestResponse.Reason.NOT_ALLOWED

    async def test_metadata_is_changed_by_those_who_may(self, client: TestClient[Any, Any]) -> None:
        alice = await Socket.join(client, token("alice", can_update_own_metadata=True))
        bob = await Socket.join(client, token("bob"))
        await bob.until("join")
        for who, reason in ((alice, RequestResponse.Reason.OK), (bob, RequestResponse.Reason.NOT_ALLOWED)):
            request = SignalRequest()
            request.update_metadata.metadata, request.update_metadata.request_id = "m", 5
            await who.socket.send_bytes(request.SerializeToString())
            answer = await who.until("request_response")
            assert (answer.request_id, answer.reason) == (5, reason)

    async def test_a_session_goes_over_to_its_next_socket(self, client: TestClient[Any, Any]) -> None:
        first = await Socket.join(client, token())
        joined = await first.until("join")
        second = await Socket.join(client, token(), reconnect="1", sid=joined.participant.sid)
        message = await second.next()
        assert message is not None
        assert message.WhichOneof("message") == "reconnect", "before anything else"
        while await first.next() is not None:
            pass
        assert first.socket.closed
        await second.send(ping=1)
        await second.until("pong")

    async def test_who_never_answers_an_offer_begins_anew(self, server: Server, client: TestClient[Any, Any]) -> None:
        alice = await Socket.join(client, token())
        await alice.until("offer")
        host = server.host
        for seconds in (0, 14, 15):
            host.check(now_ms() + 1000 * seconds)
        leave = await alice.until("leave")
        assert (leave.action, leave.reason) == (LeaveRequest.Action.RECONNECT, DisconnectReason.STATE_MISMATCH)

    async def test_who_reads_nothing_does_not_stay(
        self, server: Server, client: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any]
    ) -> None:
        monkeypatch.setattr("rtpcore.http.rtc._END_PATIENCE", 0.1)
        monkeypatch.setattr("rtpcore.http.rtc._CLOSE_PATIENCE", 0.1)
        alice, bob = await Socket.join(client, token("alice")), await Socket.join(client, token("bob"))
        await bob.until("join")
        for _ in range(60):
            # More than the outbox takes and the system buffers between the two, and nothing to compress.
            server.rooms["stage"].set_metadata(secrets.token_hex(250_000))
            await bob.until("room_update")
        await until(lambda: list(server.rooms["stage"].participants) == ["bob"], "alice is let go of")
        assert not alice.socket.closed, "it knows nothing of it"
        await bob.send(ping=1)
        await bob.until("pong")

    async def test_a_change_of_oneself_is_in_the_next_token(self, client: TestClient[Any, Any]) -> None:
        alice = await Socket.join(client, token(can_update_own_metadata=True))
        await alice.until("refresh_token")
        await alice.send(update_metadata=UpdateParticipantMetadata(attributes={"mood": "fine"}))
        renewed = Keyring({KEY: SECRET}).verify(await alice.until("refresh_token"), time.time())
        assert renewed.attributes == {"mood": "fine"}

    async def test_who_has_left_does_not_resume(self, client: TestClient[Any, Any]) -> None:
        alice = await Socket.join(client, token())
        joined = await alice.until("join")
        await alice.send(leave=LeaveRequest(reason=DisconnectReason.CLIENT_INITIATED))
        assert await alice.next() is not None
        back = await Socket.join(client, token(), reconnect="1", sid=joined.participant.sid)
        assert (await back.until("leave")).action == LeaveRequest.Action.RECONNECT


class TestWithoutSignalling:
    """WHIP and WHEP with LiveKit's tokens, aiortc on both sides."""

    async def test_one_publishes_one_plays_and_a_livekit_client_sees_it(
        self, client: TestClient[Any, Any], peer: Callable[[], Any]
    ) -> None:
        watcher = await Socket.join(client, token("watcher"))
        await watcher.until("join")
        source, player = peer(), peer()
        source.send("audio", "video")
        headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {token('source')}"}
        async with client.post("/whip/v1", data=await source.offer(), headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            location, tag = answer.headers["Location"], answer.headers["ETag"]
            await source.accept(await answer.text())
        tracks: list[Any] = []
        while len(tracks) < 2:
            tracks = [track for one in (await watcher.until("update")).participants for track in one.tracks]
        assert {track.source for track in tracks} == {TrackSource.CAMERA, TrackSource.MICROPHONE}
        player.receive("audio", "video")
        headers["Authorization"] = f"Bearer {token('player')}"
        async with client.post("/whep/v1", data=await player.offer(), headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            await player.accept(await answer.text())
        assert len(await player.frames("video")) == 3
        assert len(await player.frames("audio")) == 3
        fragment = {"Content-Type": "application/trickle-ice-sdpfrag", "Authorization": f"Bearer {token('source')}"}
        async with client.patch(location, data="", headers=fragment) as answer:
            assert answer.status == 428
        async with client.patch(
            location, data="a=end-of-candidates\r\n", headers={**fragment, "If-Match": tag}
        ) as answer:
            assert answer.status == 204
        async with client.delete(location, headers=headers) as answer:
            assert answer.status == 401, "the player's token"
        async with client.delete(location, headers=fragment) as answer:
            assert answer.status == 200
        gone = await watcher.until("update")
        while gone.participants[0].identity != "source" or gone.participants[0].state != ParticipantInfo.DISCONNECTED:
            gone = await watcher.until("update")
        async with client.delete(location, headers=fragment) as answer:
            assert answer.status == 404

    async def test_nobody_publishes_without_a_token(self, client: TestClient[Any, Any]) -> None:
        headers = {"Content-Type": "application/sdp"}
        async with client.post("/whip/v1", data="v=0", headers=headers) as answer:
            assert (answer.status, await answer.json()) == (401, {"error": "permissions denied"})
        headers["Authorization"] = f"Bearer {token(can_publish=False)}"
        async with client.post("/whip/v1", data="v=0", headers=headers) as answer:
            assert answer.status == 401
        headers["Authorization"] = f"Bearer {token()}"
        async with client.post("/whip/v1", data="nonsense", headers=headers) as answer:
            assert answer.status == 400


class TestServerApi:
    async def test_rooms(self, server_api: api.LiveKitAPI) -> None:
        made = await server_api.room.create_room(api.CreateRoomRequest(name="x", empty_timeout=33, metadata="m"))
        assert (made.name, made.empty_timeout, made.metadata) == ("x", 33, "m")
        again = await server_api.room.create_room(api.CreateRoomRequest(name="x"))
        assert again.sid == made.sid
        changed = await server_api.room.update_room_metadata(api.UpdateRoomMetadataRequest(room="x", metadata="n"))
        assert changed.metadata == "n"
        await server_api.room.delete_room(api.DeleteRoomRequest(room="x"))
        with pytest.raises(TwirpError) as error:
            await server_api.room.delete_room(api.DeleteRoomRequest(room="x"))
        assert error.value.code == "not_found"

    async def test_participants(self, client: TestClient[Any, Any], server_api: api.LiveKitAPI) -> None:
        alice = await Socket.join(client, token("alice"))
        await alice.until("join")
        request = api.RoomParticipantIdentity(room="stage", identity="alice")
        assert (await server_api.room.get_participant(request)).identity == "alice"
        update = api.UpdateParticipantRequest(room="stage", identity="alice", attributes={"a": "1"}, name="Alice")
        assert (await server_api.room.update_participant(update)).attributes == {"a": "1"}
        # Twice: the announcement of itself, and a token that says the same.
        assert (await alice.until("update")).participants[0].name == "Alice"
        assert await alice.until("refresh_token")
        await server_api.room.remove_participant(request)
        assert (await alice.until("leave")).reason == DisconnectReason.PARTICIPANT_REMOVED
        with pytest.raises(TwirpError) as error:
            await server_api.room.get_participant(request)
        assert error.value.code == "not_found"

    async def test_a_deleted_room_sends_everybody_away(
        self, client: TestClient[Any, Any], server_api: api.LiveKitAPI
    ) -> None:
        alice = await Socket.join(client, token("alice"))
        await alice.until("join")
        await server_api.room.delete_room(api.DeleteRoomRequest(room="stage"))
        assert (await alice.until("leave")).reason == DisconnectReason.ROOM_DELETED

    async def test_errors_are_json_with_the_status_of_their_code(self, client: TestClient[Any, Any]) -> None:
        for path, access, method, status, code in (
            ("livekit.RoomService/ListRooms", token(), "POST", 401, "unauthenticated"),
            ("livekit.RoomService/ListRooms", token(), "GET", 404, "bad_route"),
            ("livekit.RoomService/Nothing", token(), "POST", 404, "bad_route"),
            ("livekit.Egress/ListEgress", token(), "POST", 500, "internal"),
        ):
            headers = {"Authorization": f"Bearer {access}", "Content-Type": "application/json"}
            async with client.request(method, f"/twirp/{path}", headers=headers, data=b"{}") as answer:
                assert (answer.status, answer.content_type) == (status, "application/json")
                assert (await answer.json())["code"] == code

    async def test_a_body_that_is_too_long_is_refused(self, client: TestClient[Any, Any]) -> None:
        headers = {"Authorization": f"Bearer {token()}", "Content-Type": "application/json"}
        url, body = (
            "/twirp/livekit.RoomService/ListRooms",
            io.BytesIO(bytes(settings().limit.max_api_request_body_size + 1)),
        )
        async with client.post(url, headers=headers, data=body) as answer:
            assert answer.status == 413

    async def test_what_there_is_not(self, client: TestClient[Any, Any]) -> None:
        for method, path, status in (
            ("GET", "/nothing", 404),
            ("POST", "/rtc", 405),
            ("HEAD", "/livez", 200),
            ("GET", "/", 200),
        ):
            async with client.request(method, path) as answer:
                assert answer.status == status, path

    async def test_pages_of_any_origin_may_call(self, client: TestClient[Any, Any]) -> None:
        headers = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
        async with client.options("/twirp/livekit.RoomService/ListRooms", headers=headers) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
            assert "POST" in answer.headers["Access-Control-Allow-Methods"]


async def test_webhooks_are_signed_in_order_and_tried_again(until: Callable[..., Any]) -> None:
    heard: list[Any] = []
    receiver = api.WebhookReceiver(api.TokenVerifier(KEY, SECRET))
    is_first = True

    async def hook(request: web.Request) -> web.Response:
        nonlocal is_first
        assert request.content_type == "application/webhook+json"
        if is_first:
            is_first = False
            return web.Response(status=503)
        heard.append(receiver.receive(await request.text(), request.headers["Authorization"]))
        return web.Response()

    hooks = web.Application()
    hooks.router.add_post("/hook", hook)
    async with TestServer(hooks) as server:
        extra = f"webhook: {{api_key: {KEY}, urls: ['{server.make_url('/hook')}']}}"
        async with TestClient(mount(Server(settings(extra), config=FORWARDER), "aiohttp")) as client:
            alice = await Socket.join(client, token("alice"))
            await alice.until("join")
            await alice.send(leave=LeaveRequest(reason=DisconnectReason.CLIENT_INITIATED))
            await until(lambda: len(heard) == 2, "two events are told")
        # What happens when the server stops is told as well.
    assert [event.event for event in heard] == ["room_started", "participant_connection_aborted", "room_finished"]
    assert heard[0].room.name == "stage"
    assert heard[1].participant.identity == "alice"
    assert len({event.id for event in heard}) == 3
