"""The page at ``/whip``, as people use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.e2e.peers import DEADLINE, room_state, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import BrowserContext, Page

    Visit = Callable[[], Awaitable[Page]]

pytestmark = pytest.mark.asyncio(loop_scope="session")

REMOTE = ".tile:not(.own)"
WAIT: Any = {"timeout": DEADLINE * 1000}


@pytest.fixture
def visit(browse: Callable[..., Awaitable[Page]], room: str) -> Visit:
    """Opens the page with the test's room in its address."""
    return lambda: browse(f"/whip#{room}")


async def plays(page: Page, tile: str) -> None:
    """Wait until the picture of a tile has a size and moves."""
    video = page.locator(f"{tile} video")
    moves = "video => video.videoWidth > 0 && video.getVideoPlaybackQuality().totalVideoFrames > 10"
    await until(f"{tile} plays", lambda: video.evaluate(moves), lambda: page.inner_text("body"))


async def cell(page: Page, tile: str, track: str, column: int) -> str:
    """A number of the table under a picture."""
    line = page.locator(f"{tile} .tracks tbody tr").filter(has_text=track).first
    return await line.locator("td").nth(column).inner_text() if await line.count() else ""


async def test_one_click_and_everything_is_there(visit: Visit, complaints: list[str]) -> None:
    first, second = await visit(), await visit()
    await first.click("#publish")
    await plays(first, ".own")
    await first.wait_for_selector("#alone", **WAIT)
    await second.click("#publish")
    for page in (first, second):
        await plays(page, REMOTE)
        await page.wait_for_selector("#alone", state="hidden", **WAIT)

        async def has_numbers(page: Page = page) -> bool:
            rate, size, fps = [await cell(page, REMOTE, "video", column) for column in (1, 2, 3)]
            layer = await cell(page, REMOTE, "video", 6)
            is_told = all(any(map(str.isdigit, text)) for text in (rate, size, fps))
            return is_told and layer in ("low", "medium", "high")

        async def is_sealed(page: Page = page) -> bool:
            lines = await page.locator("#connections tbody tr").all_inner_texts()
            return len(lines) == 2 and all("connected" in line and "GCM" in line and "UDP" in line for line in lines)

        await until("the numbers are there", has_numbers, lambda: first.inner_text("body"))
        await until("the connections are told", is_sealed, lambda: first.inner_text("body"))
    await first.locator("#drops").get_by_text("no follower").wait_for(**WAIT)
    assert complaints == []


async def test_a_layer_is_chosen(visit: Visit, complaints: list[str]) -> None:
    publisher, player = await visit(), await visit()
    await publisher.click("#publish")
    await player.click("#watch")
    await plays(player, REMOTE)
    await player.locator(f"{REMOTE} .layers").get_by_text("Low").click()

    async def is_low() -> bool:
        return (await cell(player, REMOTE, "video", 6)) == "low" and (
            await cell(player, REMOTE, "video", 2)
        ).startswith("3")

    await until("the picture is small", is_low, lambda: player.inner_text("body"))
    assert await player.locator(f"{REMOTE} .layers [aria-pressed=true]").inner_text() == "Low"
    assert complaints == []


async def test_people_talk(visit: Visit, complaints: list[str]) -> None:
    first, second, viewer = await visit(), await visit(), await visit()
    await first.click("#publish")
    await second.click("#publish")
    await viewer.click("#watch")
    for page, others in ((first, 1), (second, 1), (viewer, 2)):
        for index in range(others):
            await page.locator(REMOTE).nth(index).locator(".dot[data-state=good]").wait_for(**WAIT)
        await page.wait_for_selector("#text:enabled", **WAIT)
    for page, text in ((first, "hello"), (second, "<b>who</b> is there?"), (viewer, "only me")):
        await page.fill("#text", text)
        await page.press("#text", "Enter")
        for other in {first, second, viewer} - {page}:
            await other.locator("#messages").get_by_text(text, exact=True).wait_for(**WAIT)
    assert complaints == []


async def test_who_leaves_is_gone_for_the_others(visit: Visit, room: str, complaints: list[str]) -> None:
    first, second = await visit(), await visit()
    for page in (first, second):
        await page.click("#publish")
    for page in (first, second):
        await plays(page, REMOTE)
    await second.click("#leave")
    await second.wait_for_selector("#lobby", **WAIT)
    await first.wait_for_selector(REMOTE, state="detached", **WAIT)
    assert complaints == []
    # A closed tab says goodbye as well.
    await first.goto("about:blank")

    async def is_empty() -> bool:
        state = await room_state(second, room)
        return not state["publishers"] and not state["players"]

    await until("the room is empty", is_empty)


@pytest.mark.parametrize("codec", ["h264", "vp9", "av1"])
async def test_other_codecs(visit: Visit, complaints: list[str], codec: str) -> None:
    publisher, player = await visit(), await visit()
    await publisher.select_option("#codec", codec)
    await publisher.click("#publish")
    await player.click("#watch")
    await plays(player, REMOTE)
    assert await player.locator(f"{REMOTE} .layers button:visible").count() == 4
    assert complaints == []


async def test_what_the_browser_cannot_is_not_offered(context: BrowserContext, visit: Visit) -> None:
    await context.add_init_script("""
        const { getCapabilities } = RTCRtpSender;
        RTCRtpSender.getCapabilities = (kind) => {
          const { codecs, ...rest } = getCapabilities.call(RTCRtpSender, kind);
          return { ...rest, codecs: codecs.filter(({ mimeType }) => !/VP8|AV1/.test(mimeType)) };
        };
        navigator.mediaCapabilities.encodingInfo = async () => ({ supported: false });
    """)
    page = await visit()
    usable = page.locator("#codec option:enabled")
    await until("options are disabled", lambda: usable.evaluate_all("options => options.length === 1"))
    assert await page.input_value("#codec") == "h264"


async def test_a_refused_camera_is_said_in_words(context: BrowserContext, visit: Visit, room: str) -> None:
    await context.add_init_script(
        "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError'); };"
    )
    page = await visit()
    await page.click("#publish")
    await page.get_by_role("alert").get_by_text("refused the camera").wait_for(**WAIT)
    assert await page.is_visible("#lobby")
    assert (await room_state(page, room))["publishers"] == []


async def test_a_server_that_is_gone_is_said_in_words(visit: Visit) -> None:
    page = await visit()
    await page.wait_for_selector("#server[data-state=good]", **WAIT)
    await page.route("**/*", lambda route: route.abort())
    await page.get_by_role("alert").get_by_text("does not answer").wait_for(**WAIT)
    await page.unroute_all()
    await page.get_by_role("alert").wait_for(state="hidden", **WAIT)


async def test_a_refusal_is_said_in_words(visit: Visit) -> None:
    page = await visit()
    await page.route("**/whip/**", lambda route: route.fulfill(status=503, body="more than 10 sessions in a room"))
    await page.click("#publish")
    await page.get_by_role("alert").get_by_text("(503): more than 10 sessions in a room").wait_for(**WAIT)
    assert await page.is_visible("#lobby")


async def test_a_goodbye_of_the_server_is_said_in_words(visit: Visit, base: str, complaints: list[str]) -> None:
    page = await visit()
    async with page.expect_response("**/whip/**") as answered:
        await page.click("#publish")
    resource = (await (await answered.value).all_headers())["location"]
    await page.wait_for_selector(".own .dot[data-state=good]", **WAIT)
    assert (await page.request.delete(f"{base}{resource}")).ok
    await page.get_by_role("alert").get_by_text("has ended the connection").wait_for(**WAIT)
    assert await page.is_visible("#lobby")
    assert complaints == []


async def test_a_room_may_have_any_name(context: BrowserContext, base: str, complaints: list[str]) -> None:
    page = await context.new_page()
    page.on("response", lambda response: complaints.append(response.url) if response.status >= 400 else None)
    await page.goto(f"{base}/whip")
    await page.fill("#room", "Café 2: «é» & 100 %")
    await page.click("#publish")
    await page.wait_for_selector(".own .dot[data-state=good]", **WAIT)
    async with page.expect_response(lambda response: response.request.method == "DELETE") as ended:
        await page.click("#leave")
    assert (await ended.value).ok
    # The address that is handed on leads to the same room.
    await page.goto("about:blank")
    await page.go_back()
    assert await page.input_value("#room") == "Café 2: «é» & 100 %"
    assert complaints == []


async def test_nothing_is_inline_and_nobody_else_is_asked(visit: Visit, base: str) -> None:
    page = await visit()
    response = await page.request.get(f"{base}/whip", headers={"Accept": "text/html"})
    policy = response.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    # The policy is not only sent but holds.
    await page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'hit = 1' }))"
    )
    assert await page.evaluate("typeof hit") == "undefined"
