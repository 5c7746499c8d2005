"""WHIP and WHEP over HTTP, in process: what is answered to whom, and why not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from rtpcore import sdp
from rtpcore.errors import ConfigError
from rtpcore.serve import NODE, application, configure, parse_arguments, url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp import ClientResponse

    from rtpcore import Config, Forwarder
    from rtpcore.node import Node

SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}


@pytest.fixture
async def client(config: Config) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(application(config))) as running:
        yield running


@pytest.fixture
def node(client: TestClient[Any, Any]) -> Node:
    found: Node = client.app[NODE]
    return found


@pytest.fixture
def forwarder(node: Node) -> Forwarder:
    return node.forwarder


class Joined:
    """A client's view of one session."""

    def __init__(self, peer: Any, response: ClientResponse, answer: str) -> None:
        self.peer = peer
        self.location = response.headers["Location"]
        self.etag = response.headers["ETag"]
        self.answer = answer


@pytest.fixture
def join(client: TestClient[Any, Any], peer: Callable[[], Any]) -> Callable[..., Any]:
    """Publish or play with an aiortc peer."""

    async def post(path: str, *kinds: str) -> Joined:
        joining = peer()
        (joining.send if path.startswith("/whip") else joining.receive)(*kinds)
        async with client.post(path, data=await joining.offer(), headers=SDP) as response:
            answer = await response.text()
            assert response.status == 201, answer
            assert response.content_type == "application/sdp"
            await joining.accept(answer)
            return Joined(joining, response, answer)

    return post


class TestMedia:
    async def test_two_players_decode_what_one_publishes(self, join: Any, node: Node, until: Any) -> None:
        publisher = await join("/whip/stage", "audio", "video")
        players = [await join("/whep/stage", "audio", "video") for _ in range(2)]
        for player in players:
            audio, video = await player.peer.frames("audio"), await player.peer.frames("video", 5)
            assert {(frame.width, frame.height) for frame in video} == {(640, 480)}
            assert any(any(bytes(frame.planes[0])) for frame in audio), "the tone is heard"
        room = node.rooms["stage"]
        assert (len(room.publishers), len(room.players)) == (1, 2)
        stats = [receiver.stats() for each in room.publishers.values() for receiver in each.receivers]
        assert [found.followers for found in stats] == [2, 2]
        assert publisher.etag == next(iter(room.publishers.values())).etag

    async def test_a_player_who_comes_late_gets_a_keyframe(self, join: Any) -> None:
        await join("/whip/stage", "video")
        first = await join("/whep/stage", "video")
        await first.peer.frames("video", 10)
        second = await join("/whep/stage", "video")
        await second.peer.frames("video")

    async def test_a_player_may_choose_a_publisher(self, join: Any, node: Node, client: Any, peer: Any) -> None:
        await join("/whip/stage", "audio")
        await join("/whip/stage", "audio")
        names = [publisher.name for publisher in node.rooms["stage"].publishers.values()]
        player = await join(f"/whep/stage/{names[1]}", "audio")
        assert names[1] in player.answer
        assert names[0] not in player.answer
        await player.peer.frames("audio")
        nobody = peer()
        nobody.receive("audio")
        async with client.post("/whep/stage/nobody", data=await nobody.offer(), headers=SDP) as response:
            assert response.status == 404

    async def test_one_player_takes_two_publishers(self, join: Any) -> None:
        await join("/whip/stage", "audio")
        await join("/whip/stage", "video")
        player = await join("/whep/stage", "video", "audio")
        await player.peer.frames("audio")
        await player.peer.frames("video")

    async def test_media_stops_and_goes_on(self, join: Any, client: Any, node: Node, until: Any) -> None:
        await join("/whip/stage", "video")
        player = await join("/whep/stage", "video")
        await player.peer.frames("video")
        (sender,) = next(iter(node.rooms["stage"].players.values())).senders
        mid = sender.track.mid
        async with client.post(player.location + "/layer", json={"mid": mid, "paused": True}) as response:
            assert response.status == 204
        await until(lambda: sender.layer is None)
        async with client.post(player.location + "/layer", json={"mid": mid, "paused": False}) as response:
            assert response.status == 204
        await until(lambda: sender.layer is not None)
        await player.peer.frames("video")

    async def test_messages_cross_between_publisher_and_player(
        self, client: Any, node: Node, peer: Callable[[], Any], until: Any
    ) -> None:
        publisher, player = peer(), peer()
        publisher.send("audio")
        player.receive("audio")
        for way, joining in (("whip", publisher), ("whep", player)):
            joining.channel("chat")
            async with client.post(f"/{way}/stage", data=await joining.offer(), headers=SDP) as response:
                assert response.status == 201
                await joining.accept(await response.text())
        await until(lambda: {p.channels["chat"].readyState for p in (publisher, player)} == {"open"})
        publisher.channels["chat"].send("hello")
        await until(lambda: player.messages == [("chat", "hello")])
        player.channels["chat"].send("hello yourself")
        await until(lambda: publisher.messages == [("chat", "hello yourself")])


class TestSessions:
    async def test_delete_ends_the_session_and_the_room(self, join: Any, client: Any, node: Node, until: Any) -> None:
        publisher = await join("/whip/stage", "audio")
        await until(lambda: publisher.peer.pc.connectionState == "connected")
        async with client.delete(publisher.location) as response:
            assert response.status == 200
        for method in (client.delete, client.patch):
            async with method(publisher.location) as response:
                assert response.status == 404
        assert not node.rooms
        await until(lambda: node.forwarder.stats().transports == 0)
        await until(lambda: publisher.peer.pc.getSenders()[0].transport.state == "closed", "the publisher is told")

    async def test_a_session_ends_with_its_peer(self, join: Any, node: Node, until: Any) -> None:
        publisher, player = await join("/whip/stage", "audio"), await join("/whep/stage", "audio")
        await player.peer.frames("audio")
        await publisher.peer.pc.close()
        await until(lambda: not node.rooms, "its players end with it, and the room with them")
        await until(lambda: player.peer.pc.getReceivers()[0].transport.state == "closed", "the player is told")

    async def test_a_player_that_leaves_leaves_the_room_to_others(self, join: Any, node: Node, until: Any) -> None:
        _publisher, player = await join("/whip/stage", "audio"), await join("/whep/stage", "audio")
        await player.peer.frames("audio")
        await player.peer.pc.close()
        await until(lambda: not node.rooms["stage"].players)
        assert len(node.rooms["stage"].publishers) == 1

    async def test_candidates_trickle(self, join: Any, client: Any) -> None:
        publisher = await join("/whip/stage", "audio")
        fragment = fragment_of(publisher.peer, candidates="a=candidate:9 1 udp 1 127.0.0.1 9 typ host\r\n")
        headers = {**FRAGMENT, "If-Match": publisher.etag}
        async with client.patch(publisher.location, data=fragment, headers=headers) as response:
            assert response.status == 204, await response.text()

    async def test_ice_restarts(self, join: Any, client: Any, node: Node, until: Any) -> None:
        publisher = await join("/whip/stage", "audio")
        (session,) = node.rooms["stage"].publishers.values()
        await session.transport.connected()
        fragment = fragment_of(publisher.peer, ufrag="fresh", pwd="w" * 24)
        async with client.patch(publisher.location, data=fragment, headers={**FRAGMENT, "If-Match": "*"}) as response:
            assert response.status == 200, await response.text()
            assert response.content_type == "application/trickle-ice-sdpfrag"
            answer = sdp.Fragment.parse(await response.text())
            etag = response.headers["ETag"]
        assert answer.ice == session.transport.local.ice
        assert answer.ice is not None
        assert answer.ice.ufrag not in publisher.answer
        assert answer.candidates == node.forwarder.candidates
        assert answer.end_of_candidates
        assert etag == session.etag != publisher.etag
        async with client.patch(
            publisher.location, data=fragment, headers={**FRAGMENT, "If-Match": publisher.etag}
        ) as response:
            assert response.status == 412, "the old session is gone"


class TestRefusals:
    async def test_patch_says_what_is_missing(self, join: Any, client: Any) -> None:
        publisher = await join("/whip/stage", "audio")
        fragment = fragment_of(publisher.peer)
        for headers, status in [
            ({**FRAGMENT}, 428),
            ({**FRAGMENT, "If-Match": '"other"'}, 412),
            ({**SDP, "If-Match": publisher.etag}, 415),
        ]:
            async with client.patch(publisher.location, data=fragment, headers=headers) as response:
                assert response.status == status
        bad = "hello"
        headers = {**FRAGMENT, "If-Match": publisher.etag}
        async with client.patch(publisher.location, data=bad, headers=headers) as response:
            assert response.status == 400

    @pytest.mark.parametrize("way", ["whip", "whep"])
    async def test_an_offer_of_another_type_or_of_none(self, join: Any, client: Any, way: str) -> None:
        await join("/whip/stage", "audio")
        for body, headers, status in [
            ("v=0", {"Content-Type": "text/plain"}, 415),
            ("", SDP, 400),
            ("hello", SDP, 400),
            ("v=0\r\nm=audio\r\n", SDP, 400),
        ]:
            async with client.post(f"/{way}/stage", data=body, headers=headers) as response:
                assert response.status == status, body
                assert await response.text()

    @pytest.mark.parametrize(
        ("pattern", "replacement"),
        [
            (r"a=group:BUNDLE.*\r\n", ""),
            (r"a=fingerprint:.*\r\n", ""),
            (r"a=fingerprint:sha-\d+ .*\r\n", "a=fingerprint:md5 " + ":".join(["AB"] * 16) + "\r\n"),
            (r"a=ice-pwd:.*\r\n", ""),
        ],
        ids=["no bundle", "no fingerprint", "weak fingerprint", "no password"],
    )
    async def test_an_offer_that_cannot_be_served(
        self, client: Any, peer: Callable[[], Any], node: Node, pattern: str, replacement: str, until: Any
    ) -> None:
        offering = peer()
        offering.send("audio", "video")
        offer = re.sub(pattern, replacement, await offering.offer())
        async with client.post("/whip/stage", data=offer, headers=SDP) as response:
            assert response.status == 422, await response.text()
            assert len(await response.text()) > 10, "it says why"
        assert not node.rooms
        await until(lambda: node.forwarder.stats().transports == 0)

    async def test_there_is_nothing_to_play(self, client: Any, peer: Callable[[], Any], node: Node) -> None:
        early = peer()
        early.receive("audio")
        async with client.post("/whep/stage", data=await early.offer(), headers=SDP) as response:
            assert response.status == 404
            assert response.headers["Retry-After"] == "1"
        assert not node.rooms

    @pytest.mark.parametrize(
        ("wish", "status"),
        [
            ({"mid": "0", "spatial": 0, "temporal": 0}, 204),
            ({"mid": "nope"}, 404),
            ({"spatial": 1}, 400),
            ({"mid": "0", "spatial": "high"}, 400),
            ({"mid": "0", "spatial": -1}, 422),
            ({"mid": "0", "temporal": 1000}, 422),
            ([], 400),
            ("text", 400),
        ],
    )
    async def test_a_wish_for_a_layer(self, join: Any, client: Any, wish: Any, status: int) -> None:
        await join("/whip/stage", "video")
        player = await join("/whep/stage", "video")
        async with client.post(player.location + "/layer", json=wish) as response:
            assert response.status == status, await response.text()

    async def test_a_publisher_has_no_layers_to_choose(self, join: Any, client: Any) -> None:
        publisher = await join("/whip/stage", "video")
        async with client.post(publisher.location + "/layer", json={"mid": "0", "spatial": 0}) as response:
            assert response.status == 404

    async def test_an_offer_that_never_ends(self, client: Any) -> None:
        async with client.post("/whip/stage", data=b"v=0\r\n" * 200_000, headers=SDP) as response:
            assert response.status == 413


class TestOther:
    async def test_what_is_asked_about(self, join: Any, client: Any) -> None:
        await join("/whip/stage", "audio", "video")
        async with client.get("/livez") as response:
            assert (response.status, await response.text()) == (200, "OK")
        async with client.get("/api/rooms/stage") as response:
            room = await response.json()
        assert [[track["kind"] for track in publisher["tracks"]] for publisher in room["publishers"]] == [
            ["audio", "video"]
        ]
        async with client.get("/api/rooms/nowhere") as response:
            assert (await response.json())["publishers"] == []
        async with client.get("/api/stats") as response:
            assert (await response.json())["transports"] >= 0

    async def test_options_say_what_to_post(self, client: Any) -> None:
        for way in ("whip", "whep"):
            async with client.options(f"/{way}/stage") as response:
                assert response.status == 204
                assert response.headers["Accept-Post"] == "application/sdp"

    def test_the_command_line(self) -> None:
        _, found = configure(parse_arguments(["--dev", "--udp-port", "0", "--tcp-port", "-1", "--workers", "2"]))
        assert (found.listen.udp_port, found.listen.tcp_port, found.workers) == (0, None, 2)
        assert url("0.0.0.0", 80) == "http://localhost:80/"
        with pytest.raises(SystemExit):
            parse_arguments(["--port", "none"])

    def test_without_keys_it_says_how_to_get_some(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("LIVEKIT_KEYS", raising=False)
        with pytest.raises(ConfigError, match="--dev"):
            configure(parse_arguments([]))

    def test_the_command_line_stands_over_the_file(self) -> None:
        body = "port: 1000\nkeys: {key: 0123456789abcdef0123456789abcdef}\nregion: here"
        settings, _ = configure(parse_arguments(["--config-body", body, "--port", "2000"]))
        assert (settings.port, settings.region, list(settings.keys)) == (2000, "here", ["key"])


def fragment_of(peer: Any, *, ufrag: str = "", pwd: str = "", candidates: str = "") -> str:
    """What a client sends later, under the credentials of its offer unless there are new ones."""
    offer = sdp.parse(peer.pc.localDescription.sdp)
    ice = offer.transport.ice
    head = f"a=ice-ufrag:{ufrag or ice.ufrag}\r\na=ice-pwd:{pwd or ice.pwd}\r\n"
    return f"{head}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{offer.media[0].mid}\r\n{candidates}"
