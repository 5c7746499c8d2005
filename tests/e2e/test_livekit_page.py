"""The page at ``/``, which speaks LiveKit's protocol, as people use it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from tests.e2e.peers import DEADLINE, until

from rtpcore.wire.messages import RegisterWorkerRequest, WorkerMessage
from rtpcore.wire.token import Claims, Keyring, VideoGrant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Browser, BrowserContext, Page, WebSocketRoute

    Visit = Callable[..., Awaitable[Page]]

pytestmark = pytest.mark.asyncio(loop_scope="session")

OWN = ".tile.own[data-source=camera]"
REMOTE = ".tile:not(.own)[data-source=camera]"
WAIT: Any = {"timeout": DEADLINE * 1000}


@pytest.fixture
def visit(browse: Callable[..., Awaitable[Page]], room: str) -> Visit:
    """Opens the page with the test's room in its address."""

    async def open_page(name: str, **options: Any) -> Page:
        page = await browse(f"/?room={room}", **options)
        await page.fill("#name", name)
        return page

    return open_page


@pytest.fixture
def join(visit: Visit) -> Visit:
    """Opens the page and joins."""

    async def enter(name: str, **options: Any) -> Page:
        page = await visit(name, **options)
        await page.click("#enter")
        await page.locator(f"{OWN}[data-video]").wait_for(**WAIT)
        return page

    return enter


async def plays(page: Page, tile: str) -> None:
    """Wait until the picture of a tile has a size and moves."""
    video = page.locator(f"{tile} video")
    moves = "video => video.videoWidth > 0 && video.getVideoPlaybackQuality().totalVideoFrames > 10"
    await page.locator(f"{tile}[data-video]").wait_for(**WAIT)
    await until(f"{tile} plays", lambda: video.evaluate(moves), lambda: page.inner_text("body"))


async def width(page: Page, tile: str) -> int:
    pixels: int = await page.locator(f"{tile} video").evaluate("video => video.videoWidth")
    return pixels


async def figure(page: Page, tile: str, track: str, name: str) -> str:
    """A number of a tile's statistics."""
    line = page.locator(f"{tile} .figures tbody tr").filter(has_text=track).first
    return await line.locator(f"[data-figure={name}]").inner_text() if await line.count() else ""


async def test_one_click_and_two_see_each_other(visit: Visit, complaints: list[str]) -> None:
    first, second = await visit("Ada Lovelace"), await visit("Grace Hopper")
    await first.click("#enter")
    await plays(first, OWN)
    await first.wait_for_selector("#alone", **WAIT)
    await second.click("#enter")
    for page, other in ((first, "Grace Hopper"), (second, "Ada Lovelace")):
        await plays(page, REMOTE)
        assert await page.locator(f"{REMOTE} .name").inner_text() == other
        assert await page.inner_text("#people") == "2 people"
        await page.wait_for_selector("#state[data-state=good]", **WAIT)
        assert await page.is_hidden("#alone")
    assert complaints == []


async def test_who_speaks_is_marked(browser: Browser, join: Visit, complaints: list[str]) -> None:
    # Chromium's own beep is too short for a speaker.
    window = await browser.new_context()
    await window.add_init_script("""
        const { mediaDevices } = navigator;
        const open = mediaDevices.getUserMedia.bind(mediaDevices);
        mediaDevices.getUserMedia = async (wish) => {
          const stream = await open(wish);
          if (!wish.audio) return stream;
          const context = new AudioContext();
          const [tone, heard] = [context.createOscillator(), context.createMediaStreamDestination()];
          tone.connect(heard);
          tone.start();
          return new MediaStream([...heard.stream.getAudioTracks(), ...stream.getVideoTracks()]);
        };
    """)
    try:
        listener, speaker = await join("Grace"), await join("Ada", window=window)
        await listener.locator(f"{REMOTE}[data-speaking]").wait_for(**WAIT)
        await speaker.click("#microphone[data-state=on]")
        await listener.locator(f"{REMOTE}[data-muted]:not([data-speaking])").wait_for(**WAIT)
    finally:
        await window.close()
    assert complaints == []


async def test_statistics_are_shown_on_demand(join: Visit, complaints: list[str]) -> None:
    first, second = await join("Ada"), await join("Grace")
    await plays(first, REMOTE)
    await plays(second, REMOTE)
    for tile in (OWN, REMOTE):
        assert await first.is_hidden(f"{tile} .figures")
        await first.click(f"{tile} .toggle-figures")

        async def are_told(tile: str = tile) -> bool:
            told = [await figure(first, tile, "video", name) for name in ("size", "fps", "rate", "loss", "jitter")]
            codecs = [await figure(first, tile, track, "codec") for track in ("video", "audio")]
            return codecs == ["VP8", "opus"] and all(any(map(str.isdigit, text)) for text in told)

        await until(f"the figures of {tile} are told", are_told, lambda: first.inner_text("#tiles"))
    await first.click(f"{REMOTE} .toggle-figures")
    assert await first.is_hidden(f"{REMOTE} .figures")
    assert complaints == []


async def test_the_lobby_shows_agent_workers_where_there_are_any(
    visit: Visit, base: str, complaints: list[str]
) -> None:
    page = await visit("Ada")
    agents = page.locator("#agents")
    assert await agents.is_hidden()
    keyring = Keyring({"devkey": "secret"}, allow_short=True)
    token = keyring.issue(Claims(video=VideoGrant(agent=True)), now=time.time(), ttl=60)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as client, client.ws_connect(f"{base}/agent", headers=headers) as socket:
        hello = WorkerMessage(register=RegisterWorkerRequest(agent_name="helper"))
        await socket.send_bytes(hello.SerializeToString())
        await agents.wait_for(**WAIT)
        row = agents.locator("tbody tr")
        await row.get_by_text("helper").wait_for(**WAIT)
        assert (await row.inner_text()).split("\t") == ["helper", "available", "0 %", "0", "0"]
    await agents.wait_for(state="hidden", **WAIT)
    assert complaints == []


async def test_details_say_why_a_picture_is_as_it_is(join: Visit, complaints: list[str]) -> None:
    first, second = await join("Ada"), await join("Grace")
    await plays(first, REMOTE)
    await plays(second, REMOTE)
    assert await first.is_hidden(f"{OWN} .toggle-details"), "the server knows what we get, not what others get of us"
    await first.click(f"{REMOTE} .toggle-details")
    picture, sound = (f"{REMOTE} .details tr:has(td:text-is('{kind}'))" for kind in ("video", "audio"))

    async def told() -> bool:
        path = await first.inner_text(f"{REMOTE} .path")
        repairs = await first.locator(f"{sound} [data-detail=repairs]").count()
        return bool(re.search(r"[0-9.]+ [kM]bit/s", path)) and repairs == 1

    await until("the server says what it thinks of the path", told, lambda: first.inner_text(REMOTE))
    await first.select_option(f"{REMOTE} .layer", "low")
    limited = first.locator(f"{picture} + tr [data-limit=wish]")
    small = first.locator(f"{picture} [data-detail=layer]").get_by_text("180p")
    await limited.get_by_text("asks for no larger picture").wait_for(**WAIT)
    await small.wait_for(**WAIT)
    await first.click(f"{REMOTE} .toggle-figures")
    assert await first.is_visible(f"{REMOTE} .figures")
    assert await first.is_hidden(f"{REMOTE} .details"), "one at a time"
    await first.click(f"{REMOTE} .toggle-figures")
    assert await first.is_hidden(f"{REMOTE} .panel")
    assert complaints == []


async def test_mute_shows(join: Visit, complaints: list[str]) -> None:
    first, second = await join("Ada"), await join("Grace")
    await plays(second, REMOTE)
    await first.click("#microphone[data-state=on]")
    await first.wait_for_selector("#microphone[data-state=off][aria-pressed=false]", **WAIT)
    await second.locator(f"{REMOTE}[data-muted]").wait_for(**WAIT)
    assert await second.is_visible(f"{REMOTE} .muted")
    await first.click("#camera[data-state=on]")
    await second.locator(f"{REMOTE}:not([data-video])").wait_for(**WAIT)
    assert await second.inner_text(f"{REMOTE} .face") == "A"
    await first.click("#microphone[data-state=off]")
    await first.click("#camera[data-state=off]")
    await second.locator(f"{REMOTE}[data-video]:not([data-muted])").wait_for(**WAIT)
    await plays(second, REMOTE)
    assert complaints == []


async def test_who_leaves_is_gone_and_may_come_back(join: Visit, complaints: list[str]) -> None:
    first, second = await join("Ada"), await join("Grace")
    await plays(first, REMOTE)
    await second.click("#leave")
    await second.wait_for_selector("#lobby", **WAIT)
    await first.wait_for_selector(REMOTE, state="detached", **WAIT)
    await second.click("#enter")
    await plays(first, REMOTE)
    await plays(second, REMOTE)
    # A closed tab says goodbye as well.
    await second.close(run_before_unload=True)
    await first.wait_for_selector(REMOTE, state="detached", **WAIT)
    assert complaints == []


async def test_a_layer_is_chosen(join: Visit, complaints: list[str]) -> None:
    first, second = await join("Ada"), await join("Grace")
    await plays(first, REMOTE)
    await plays(second, REMOTE)
    for quality, is_right in (("low", lambda w: w == 320), ("high", lambda w: w > 640), ("medium", lambda w: w == 640)):
        await second.select_option(f"{REMOTE} .layer", quality)

        async def is_it(is_right: Callable[[int], bool] = is_right) -> bool:
            return is_right(await width(second, REMOTE))

        await until(f"the picture is {quality}", is_it, lambda: width(second, REMOTE))
    # Left to the page, a small window gets a small picture.
    await second.select_option(f"{REMOTE} .layer", "auto")
    await second.set_viewport_size({"width": 330, "height": 420})

    async def is_small() -> bool:
        return await width(second, REMOTE) == 320

    await until("the picture is as small as its window", is_small, lambda: width(second, REMOTE))
    assert complaints == []


async def test_people_write_to_each_other(join: Visit, complaints: list[str]) -> None:
    first, second = await join("Ada"), await join("Grace")
    await plays(first, REMOTE)
    await plays(second, REMOTE)
    assert await second.is_visible("#chat")
    await second.press("#text", "Escape")
    assert await second.is_hidden("#chat")
    await first.fill("#text", "hello, <b>Grace</b>")
    await first.press("#text", "Enter")
    await second.locator("#unread").get_by_text("1").wait_for(**WAIT)
    await second.click("#chat-open")
    message = second.locator("#messages li")
    assert await message.locator("b").inner_text() == "Ada"
    assert await message.locator("span").inner_text() == "hello, <b>Grace</b>"
    await first.wait_for_selector("#messages li.own:not([data-state])", **WAIT)
    await second.fill("#text", "hello yourself")
    await second.click("#say button")
    await first.locator("#messages").get_by_text("hello yourself").wait_for(**WAIT)
    assert complaints == []


async def test_a_screen_is_shared(join: Visit, complaints: list[str]) -> None:
    first, second = await join("Ada"), await join("Grace")
    await plays(first, REMOTE)
    await first.click("#screen")
    screen = ".tile[data-source=screen_share]"
    await plays(second, screen)
    assert await second.inner_text(f"{screen} .name") == "Ada · screen"
    await first.click("#screen[data-state=on]")
    await second.wait_for_selector(screen, state="detached", **WAIT)
    assert complaints == []


async def test_everything_fits_a_phone(browser: Browser, visit: Visit, join: Visit, complaints: list[str]) -> None:
    other = await join("Ada Lovelace with a name that is longer than a phone is wide")
    phone = await browser.new_context(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    try:
        page = await visit("Grace", window=phone)

        async def fits() -> None:
            assert await page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), (
                "nothing scrolls sideways"
            )

        await fits()
        await page.tap("#enter")
        await plays(page, REMOTE)
        await plays(other, REMOTE)
        await fits()
        await page.tap(f"{REMOTE} .toggle-figures")
        await page.locator(f"{REMOTE} .figures td").first.wait_for(**WAIT)
        await page.tap(f"{REMOTE} .toggle-details")
        await page.locator(f"{REMOTE} .details td").first.wait_for(**WAIT)
        await fits()
        for control in await page.locator(".controls button").all():
            box = await control.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 360
            assert box["y"] + box["height"] <= 640
            assert min(box["width"], box["height"]) >= 40, "a finger hits it"
        await page.tap("#chat-open")
        await page.wait_for_selector("#text:focus", **WAIT)
        await fits()
        await page.tap("#chat-close")
        assert await page.is_visible(REMOTE)
    finally:
        await phone.close()
    assert complaints == []


async def test_a_keyboard_is_enough(visit: Visit, complaints: list[str]) -> None:
    page = await visit("Ada")
    await page.press("#name", "Enter")
    await page.locator(f"{OWN}[data-video]").wait_for(**WAIT)
    for stop in ("microphone", "camera", "leave"):
        for _ in range(20):
            if await page.evaluate("document.activeElement.id") == stop:
                break
            await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.id") == stop
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#enter:focus", **WAIT)
    assert complaints == []


async def test_who_only_watches_is_asked_for_nothing(context: BrowserContext, visit: Visit, join: Visit) -> None:
    await join("Ada")
    await context.add_init_script("navigator.mediaDevices.getUserMedia = () => { throw new Error('asked'); };")
    page = await visit("Grace")
    await page.click("#watch")
    await plays(page, REMOTE)
    assert await page.is_hidden("#notice")
    assert await page.get_attribute("#camera", "data-state") == "off"


async def test_a_refused_camera_is_said_in_words(context: BrowserContext, visit: Visit) -> None:
    await context.add_init_script(
        "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError'); };"
    )
    page = await visit("Ada")
    await page.click("#enter")
    await page.get_by_role("alert").get_by_text("refused the camera").wait_for(**WAIT)
    # Who cannot be seen may still watch.
    await page.wait_for_selector("#camera[data-state=blocked]", **WAIT)
    assert await page.is_visible("#call")


async def test_a_server_that_is_gone_is_said_in_words(visit: Visit) -> None:
    page = await visit("Ada")
    await page.route("**/dev/token*", lambda route: route.abort())
    await page.click("#enter")
    await page.get_by_role("alert").get_by_text("does not answer").wait_for(**WAIT)
    await page.unroute_all()
    await page.click("#enter")
    await page.locator(f"{OWN}[data-video]").wait_for(**WAIT)
    assert await page.is_hidden("#notice")


async def test_a_lost_connection_is_told_and_comes_back(join: Visit, visit: Visit) -> None:
    other = await join("Grace")
    page = await visit("Ada")
    sockets: list[WebSocketRoute] = []

    def connect(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    await page.route_web_socket(re.compile("/rtc"), connect)
    await page.reload()
    await page.click("#enter")
    await plays(page, REMOTE)
    await sockets[-1].close(code=1011)
    await page.get_by_role("alert").get_by_text("Trying to get it back").wait_for(**WAIT)
    await page.wait_for_selector("#state[data-state=good]", **WAIT)
    await page.wait_for_selector("#notice", state="hidden", **WAIT)
    await plays(page, REMOTE)
    await plays(other, REMOTE)


async def test_who_is_removed_is_told_and_may_join_again(join: Visit, base: str, room: str) -> None:
    page = await join("Ada")
    identity = await page.get_attribute(OWN, "data-identity")
    claims = Claims(video=VideoGrant(room_admin=True, room=room))
    token = Keyring({"devkey": "secret"}, allow_short=True).issue(claims, now=time.time(), ttl=60)
    answer = await page.request.post(
        f"{base}/twirp/livekit.RoomService/RemoveParticipant",
        headers={"Authorization": f"Bearer {token}"},
        data={"room": room, "identity": identity},
    )
    assert answer.ok, await answer.text()
    await page.get_by_role("alert").get_by_text("You were removed").wait_for(**WAIT)
    await page.click("#enter")
    await page.locator(f"{OWN}[data-video]").wait_for(**WAIT)


async def test_the_policy_holds(visit: Visit) -> None:
    page = await visit("Ada")
    await page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'hit = 1' }))"
    )
    assert await page.evaluate("typeof hit") == "undefined"
