"""What LiveKit's clients, unmodified, do with codecs, layers, keys and faults; each test runs with those who can."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from tests.e2e.browser_client import JavaScript
from tests.e2e.clients import GO, NODE, OLDEST, RUST
from tests.e2e.peers import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.e2e.client import Client

    Join = Callable[..., Awaitable[Client]]

pytestmark = pytest.mark.asyncio(loop_scope="session")

SIMULCAST, REGRESSION = 1, 2
"""Policies for backup codecs, as livekit-client numbers them."""

BACKUP = {"codec": "vp8", "encoding": {"maxBitrate": 300_000, "maxFramerate": 15}}

NO_BACKUP = "Not tried: the SDK publishes no backup codec, or only when the application asks for one."
NO_LAYERS = "The SDK cannot ask for several layers in one stream."
NO_VIEW = "Not tried: what the SDK sends is seen by its statistics only."
NO_KEYS = "The SDK leaves it to the application to encrypt frames."


async def sends(client: Client, what: str, condition: Callable[[dict[str, Any]], Any]) -> None:
    """Wait until a client sends its camera like that."""

    async def seen() -> Any:
        # Of a codec whose encoder has not begun there is nothing to see.
        with contextlib.suppress(KeyError):
            return condition(await client.sent("camera"))

    await until(f"{client.identity} sends {what}", seen, lambda: client.sent("camera"))


##### Codecs


@pytest.mark.without(*RUST, *NODE, *GO, because=NO_BACKUP)
async def test_a_backup_codec_for_those_who_need_it(join: Join) -> None:
    ada, bob, old = await asyncio.gather(join("ada"), join("bob"), join("old", options={"codecs": ["video/VP8"]}))
    await ada.publish("camera", videoCodec="vp9", backupCodec=BACKUP, backupCodecPolicy=SIMULCAST)
    await bob.watches("ada", codec="video/VP9")
    await old.watches("ada", codec="video/VP8")
    await bob.watches("ada", codec="video/VP9")


@pytest.mark.without(*RUST, *NODE, *GO, because=NO_BACKUP)
async def test_a_backup_codec_for_all_once_one_needs_it(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await ada.publish("camera", videoCodec="vp9", backupCodec=BACKUP, backupCodecPolicy=REGRESSION)
    await bob.watches("ada", codec="video/VP9")
    old = await join("old", options={"codecs": ["video/VP8"]})
    await old.watches("ada", codec="video/VP8")
    await bob.watches("ada", codec="video/VP8")


@pytest.mark.without(*RUST, *NODE, *GO, because=NO_LAYERS)
async def test_layers_of_a_scalable_picture_in_vp9_are_chosen(join: Join) -> None:
    await choose_layers(join, "VP9")


@pytest.mark.without(*RUST, *NODE, *GO, because=NO_LAYERS)
@pytest.mark.without("js-oldest-single", because="The SDK does not ask for what a decoder needs of AV1 in layers.")
async def test_layers_of_a_scalable_picture_in_av1_are_chosen(join: Join) -> None:
    await choose_layers(join, "AV1")


async def choose_layers(join: Join, codec: str) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await ada.publish("camera", videoCodec=codec.lower(), scalabilityMode="L3T3_KEY", backupCodec=False)
    await bob.sees_track("ada", "camera")
    # Chromium makes no layer that is smaller than 240 by 135.
    for quality, width in (("HIGH", 640), ("LOW", 320), ("HIGH", 640)):
        await bob.choose("ada", "camera", quality)
        await bob.watches("ada", width=width, codec=f"video/{codec}")


@pytest.mark.without(*RUST, *NODE, *GO, because=NO_VIEW)
async def test_stereo_without_silence_suppression_but_with_redundancy(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await ada.publish("microphone", forceStereo=True, dtx=False, red=True)
    await bob.hears("ada")
    assert isinstance(ada, JavaScript)
    sent = await ada.sent("microphone")
    (first,) = sent
    asked = sent[first]["fmtp"]
    assert first == "audio/red"
    assert {"stereo=1", "maxaveragebitrate=510000"} <= set(asked["audio/opus"].split(";"))
    assert "usedtx" not in asked["audio/opus"]
    await bob.publish("microphone", red=False)
    await ada.hears("bob")
    assert isinstance(bob, JavaScript)
    sent = await bob.sent("microphone")
    (first,) = sent
    assert first == "audio/opus"
    assert "usedtx=1" in sent[first]["fmtp"]["audio/opus"].split(";")


##### What nobody wants is not sent


@pytest.mark.without(*NODE, because="The SDK cannot choose layers.")
@pytest.mark.without(*GO, because=NO_VIEW)
async def test_layers_that_nobody_wants_are_turned_off_and_on_again(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await ada.publish("camera")
    full = (await bob.sees_track("ada", "camera"))["width"]
    await bob.watches("ada", width=full)
    await bob.choose("ada", "camera", "LOW")
    await sends(ada, "one layer", lambda sent: sent["video/VP8"]["active"] == 1)
    await bob.watches("ada", width=320)
    await bob.choose("ada", "camera", "HIGH")
    await sends(ada, "several layers", lambda sent: sent["video/VP8"]["active"] > 1)
    await bob.watches("ada", width=full)


##### Encryption


@pytest.mark.without(*GO, because=NO_KEYS)
async def test_who_has_the_key_sees_and_hears(join: Join) -> None:
    ada, bob, eve = await asyncio.gather(
        *(join(name, options={"key": "a shared key"}) for name in ("ada", "bob")), join("eve")
    )
    for source in ("camera", "microphone"):
        await ada.publish(source)
    await eve.sees_track("ada", "camera")
    await bob.watches("ada", more=20)
    await bob.hears("ada")
    # A decoder may take the clear beginning of a frame and noise behind it for a picture, once in a while.
    decoded = {one.identity: (await one.media("ada", "camera"))["frames"] for one in (bob, eve)}
    assert decoded["eve"] < decoded["bob"] / 4, decoded
    await ada.say("a secret")
    await bob.is_told("data", "a secret", **{"from": "ada"})


##### Faults that clients play


async def test_a_server_that_leaves(join: Join) -> None:
    ada = await join("ada")
    await ada.simulate("server-leave")
    await ada.is_disconnected("SERVER_SHUTDOWN")


@pytest.mark.parametrize("scenario", ["node-failure", "migration"])
@pytest.mark.without(*OLDEST, because="The SDK gives up where the server does not know its session any more.")
async def test_a_server_that_is_gone(join: Join, scenario: str) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await ada.publish("microphone")
    await bob.hears("ada")
    await ada.simulate(scenario)
    await ada.is_back()
    await bob.sees_track("ada", "microphone")
    await bob.hears("ada")


@pytest.mark.without(*GO, because="The SDK cannot ask for it.")
async def test_a_socket_that_breaks_while_a_session_resumes(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await ada.publish("microphone")
    await bob.hears("ada")
    await ada.simulate("disconnect-signal-on-resume")
    await ada.is_back()
    await bob.hears("ada")


@pytest.mark.without(*GO, because="The SDK cannot ask for it.")
async def test_another_way_through_the_network(join: Join) -> None:
    ada, bob = await asyncio.gather(join("ada"), join("bob"))
    await ada.publish("microphone")
    await bob.hears("ada")
    await ada.simulate("force-tcp")
    await ada.is_back()
    await bob.sees_track("ada", "microphone")
    await bob.hears("ada")
