"""LiveKit's clients, unmodified, do what they do with LiveKit's server; each test runs with each client."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from livekit import api
from tests.e2e.client import Client, Refused
from tests.e2e.clients import GO, NODE, RUST, token
from tests.e2e.peers import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.e2e.servers import Served

    from rtpcore.connection import Connection
    from rtpcore.session import Session

    Join = Callable[..., Awaitable[Client]]

pytestmark = pytest.mark.asyncio(loop_scope="session")

##### Coming and going


async def test_join_and_see_each_other(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    for one, other in ((ada, bob), (bob, ada)):
        mine = (await one.state())["me"]
        seen = await other.sees(f"{one.identity}", lambda s, name=one.identity: s["others"][name])
        assert seen["sid"] == mine["sid"]
        assert seen["sid"].startswith("PA_")


async def test_a_late_joiner_gets_what_is_published(join: Join) -> None:
    ada = await join("ada")
    for source in ("microphone", "camera"):
        await ada.publish(source)
    bob = await join("bob")
    await bob.sees_track("ada", "microphone", kind="audio")
    await bob.sees_track("ada", "camera", kind="video")
    await bob.watches("ada")
    await bob.hears("ada")


async def test_who_leaves_is_gone_with_all_tracks(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await ada.publish("microphone")
    await bob.sees_track("ada", "microphone")
    await ada.leave()
    await bob.sees("that ada is gone", lambda s: "ada" not in s["others"])


async def test_the_same_identity_again_replaces_the_first(join: Join) -> None:
    first, bob = await asyncio.gather(join("ada"), join("bob"))
    await bob.sees("ada", lambda s: s["others"]["ada"])
    second = await join("ada")
    await first.is_disconnected("DUPLICATE_IDENTITY")
    sid = (await second.state())["me"]["sid"]
    await bob.sees("the new ada", lambda s: s["others"]["ada"]["sid"] == sid)


async def test_removed_by_the_server(join: Join, server: api.LiveKitAPI, room: str) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await bob.sees("ada", lambda s: s["others"]["ada"])
    await server.room.remove_participant(api.RoomParticipantIdentity(room=room, identity="ada"))
    await ada.is_disconnected("PARTICIPANT_REMOVED")
    await bob.sees("that ada is gone", lambda s: "ada" not in s["others"])


async def test_the_room_is_deleted(join: Join, server: api.LiveKitAPI, room: str) -> None:
    clients = await asyncio.gather(join("ada"), join("bob"))
    await server.room.delete_room(api.DeleteRoomRequest(room=room))
    for client in clients:
        await client.is_disconnected("ROOM_DELETED")


async def test_a_wrong_token_is_refused_in_words(join: Join, room: str) -> None:
    for access in (
        token(room, "ada", secret="another secret, which is as long as it"),
        token(room, "ada", ttl=timedelta(hours=-1)),
    ):
        with pytest.raises(Refused, match=r"401|unauthorized"):
            await join("ada", access=access)


##### Media


async def test_sound_is_heard(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await ada.publish("microphone")
    await bob.sees_track("ada", "microphone", kind="audio", muted=False)
    await bob.hears("ada")


@pytest.mark.without(*NODE, because="The SDK cannot choose layers.")
async def test_layers_of_a_simulcast_picture_are_chosen(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await ada.publish("camera")
    full = (await bob.sees_track("ada", "camera", kind="video"))["width"]
    for quality, width in (("HIGH", full), ("LOW", 320), ("HIGH", full)):
        await bob.choose("ada", "camera", quality)
        await bob.watches("ada", width=width)


async def test_both_ways_at_once(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    for one in (ada, bob):
        for source in ("camera", "microphone"):
            await one.publish(source)
    for one, other in ((ada, "bob"), (bob, "ada")):
        await one.sees_track(other, "camera")
        await one.watches(other)
        await one.hears(other)


async def test_a_screen_beside_the_camera(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    for source in ("camera", "screen_share"):
        await ada.publish(source)
    for source in ("camera", "screen_share"):
        await bob.sees_track("ada", source, kind="video")
        await bob.watches("ada", source)


@pytest.mark.without(*NODE, because="The SDK cannot mute a track, nor allow subscribers by name.")
async def test_muted_and_unmuted(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    for source in ("microphone", "camera"):
        await ada.publish(source)
        await bob.sees_track("ada", source, muted=False)
        await ada.mute(source, muted=True)
        await bob.sees_track("ada", source, muted=True)
        await ada.mute(source, muted=False)
        await bob.sees_track("ada", source, muted=False)
    await bob.watches("ada")
    await bob.hears("ada")


@pytest.mark.without(*NODE, because="The SDK cannot mute a track, nor allow subscribers by name.")
async def test_muted_by_the_server(join: Join, server: api.LiveKitAPI, room: str) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await ada.publish("microphone")
    track = await bob.sees_track("ada", "microphone", muted=False)
    request = api.MuteRoomTrackRequest(room=room, identity="ada", track_sid=track["sid"], muted=True)
    await server.room.mute_published_track(request)
    await bob.sees_track("ada", "microphone", muted=True)
    await ada.sees("its microphone muted", lambda s: s["me"]["tracks"]["microphone"]["muted"])
    await ada.mute("microphone", muted=False)
    await bob.sees_track("ada", "microphone", muted=False)


async def test_unpublished_and_published_again(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await ada.publish("camera")
    before = await bob.sees_track("ada", "camera")
    await bob.watches("ada")
    await ada.unpublish("camera")
    await bob.lacks_track("ada", "camera")
    await ada.publish("camera")
    after = await bob.sees_track("ada", "camera")
    assert after["sid"] != before["sid"]
    await bob.watches("ada")


@pytest.mark.without(
    *RUST, *NODE, because="The SDK can miss a track that comes back in the section where it was before."
)
@pytest.mark.without(*GO, because="The SDK does not say that a subscription has ended.")
async def test_unsubscribed_and_subscribed_again(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await ada.publish("camera")
    await bob.sees_track("ada", "camera")
    await bob.watches("ada")
    await bob.want("ada", "camera", wanted=False)
    await bob.sees_track("ada", "camera", subscribed=False)
    await bob.want("ada", "camera", wanted=True)
    await bob.sees_track("ada", "camera")
    await bob.watches("ada")


##### Who may what


@pytest.mark.without(*NODE, because="The SDK cannot mute a track, nor allow subscribers by name.")
async def test_a_publisher_chooses_its_subscribers(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await ada.permit(["carol"])
    await ada.publish("microphone")
    carol = await join("carol")
    await carol.sees_track("ada", "microphone")
    await carol.hears("ada")
    await bob.sees_track("ada", "microphone", subscribed=False)
    await ada.permit(None)
    await bob.sees_track("ada", "microphone")
    await bob.hears("ada")


@pytest.mark.without(*RUST, *NODE, because="The SDK does not read the server's message.")
@pytest.mark.without(*GO, because="The SDK does not say that a subscription has ended.")
async def test_a_subscriber_is_told_that_it_may_no_longer(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await ada.publish("microphone")
    await bob.sees_track("ada", "microphone")
    await ada.permit(["carol"])
    await bob.sees_track("ada", "microphone", subscribed=False)
    await ada.permit(["bob"])
    await bob.sees_track("ada", "microphone")
    await bob.hears("ada")


async def test_the_right_to_publish_is_taken_in_mid_call(join: Join, server: api.LiveKitAPI, room: str) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await ada.publish("microphone")
    await bob.sees_track("ada", "microphone")
    await server.room.update_participant(may_publish(room, "ada", may=False))
    await bob.lacks_track("ada", "microphone")
    await server.room.update_participant(may_publish(room, "ada", may=True))
    await ada.publish("camera")
    await bob.sees_track("ada", "camera")
    await bob.watches("ada")


@pytest.mark.without(*RUST, *NODE, because="The SDK does not read the server's message.")
async def test_a_publisher_is_told_that_it_may_no_longer(join: Join, server: api.LiveKitAPI, room: str) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await ada.publish("microphone")
    await bob.sees_track("ada", "microphone")
    await server.room.update_participant(may_publish(room, "ada", may=False))
    await ada.sees("that its microphone is unpublished", lambda s: "microphone" not in s["me"]["tracks"])
    await server.room.update_participant(may_publish(room, "ada", may=True))
    await ada.publish("microphone")
    await bob.sees_track("ada", "microphone")
    await bob.hears("ada")


def may_publish(room: str, identity: str, *, may: bool) -> api.UpdateParticipantRequest:
    permission = api.ParticipantPermission(can_subscribe=True, can_publish=may, can_publish_data=may)
    return api.UpdateParticipantRequest(room=room, identity=identity, permission=permission)


async def test_who_may_not_publish_only_listens(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada", can_publish=False), join("bob"))
    await bob.publish("microphone")
    await ada.sees_track("bob", "microphone")
    await ada.hears("bob")


async def test_who_may_not_subscribe_only_publishes(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada", can_subscribe=False), join("bob"))
    await ada.publish("microphone")
    await bob.publish("microphone")
    await bob.sees_track("ada", "microphone")
    await bob.hears("ada")
    await ada.sees_track("bob", "microphone", subscribed=False)


##### What is told of rooms and participants


async def test_metadata_name_and_attributes(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await ada.describe(metadata="of ada", name="Ada", attributes={"mood": "glad", "hat": "none"})
    facts = ("of ada", "Ada", {"mood": "glad", "hat": "none"})

    def told(state: dict[str, Any]) -> bool:
        seen = state["others"]["ada"]
        return (seen["metadata"], seen["name"], seen["attributes"]) == facts

    await bob.sees("what ada says of itself", told)
    await ada.describe(attributes={"hat": ""})
    await bob.sees("an attribute less", lambda s: s["others"]["ada"]["attributes"] == {"mood": "glad"})


async def test_metadata_from_the_server(join: Join, server: api.LiveKitAPI, room: str) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await server.room.update_room_metadata(api.UpdateRoomMetadataRequest(room=room, metadata="of the room"))
    await server.room.update_participant(api.UpdateParticipantRequest(room=room, identity="ada", metadata="of ada"))
    for one in (ada, bob):
        await one.sees("metadata of the room", lambda s: s["metadata"] == "of the room")
    await ada.sees("its own metadata", lambda s: s["me"]["metadata"] == "of ada")
    await bob.sees("metadata of ada", lambda s: s["others"]["ada"]["metadata"] == "of ada")


##### Broken connections


async def in_a_call(join: Join) -> tuple[Client, Client]:
    """Ada, who publishes, and Bob, who sees and hears her."""
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    for source in ("camera", "microphone"):
        await ada.publish(source)
    await bob.sees_track("ada", "camera")
    await bob.watches("ada")
    return ada, bob


async def goes_on(bob: Client) -> None:
    await bob.sees_track("ada", "camera")
    await bob.watches("ada")
    await bob.sees_track("ada", "microphone")
    await bob.hears("ada")


async def test_a_publisher_that_lost_its_socket_goes_on_with_fresh_ice(join: Join, served: Served) -> None:
    ada, bob = await in_a_call(join)
    session = session_of(served, (await ada.state())["me"]["sid"])
    await resume(ada, session, None if session is None else session.peer.publisher)
    await goes_on(bob)


async def test_a_subscriber_that_lost_its_socket_goes_on_with_fresh_ice(join: Join, served: Served) -> None:
    _, bob = await in_a_call(join)
    session = session_of(served, (await bob.state())["me"]["sid"])
    await resume(bob, session, None if session is None else session.peer.subscriber)
    await goes_on(bob)


def session_of(served: Served, sid: str) -> Session | None:
    """A participant's session, where the server is ours."""
    return None if served.host is None else served.host.sessions[sid]


async def resume(client: Client, session: Session | None, connection: Connection | None) -> None:
    before = None if connection is None else connection.transport.local.ice
    await client.reconnect(fully=False)
    await client.is_back()
    if session is None or connection is None:
        return

    async def is_fresh() -> bool:
        return connection.transport.local.ice != before

    await until("ICE is restarted", is_fresh)
    assert not session.is_over


@pytest.mark.without(*NODE, because="The SDK can stand still for good while it publishes again.")
@pytest.mark.without(*GO, because="pion takes no track in a section that was idle over two descriptions.")
async def test_a_publisher_that_connects_anew_is_seen_again(join: Join) -> None:
    ada, bob = await in_a_call(join)
    before = (await bob.state())["others"]["ada"]["sid"]
    await ada.reconnect(fully=True)
    await ada.is_back()
    await bob.sees("another ada", lambda s: s["others"]["ada"]["sid"] != before)
    await goes_on(bob)


async def test_a_subscriber_that_connects_anew_sees_everything_again(join: Join) -> None:
    ada, bob = await in_a_call(join)
    before = (await ada.state())["others"]["bob"]["sid"]
    await bob.reconnect(fully=True)
    await bob.is_back()
    await ada.sees("another bob", lambda s: s["others"]["bob"]["sid"] != before)
    await goes_on(bob)
