"""livekit-client in Chromium, a page for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.client import Refused, Remote

from rtpcore.wire.messages import DisconnectReason

if TYPE_CHECKING:
    from playwright.async_api import Page

__all__ = ["PACKAGES", "JavaScript"]

HARNESS = Path(__file__).with_name("livekit_client.js").read_text(encoding="utf-8")

PACKAGES = Path(__file__).parents[1] / "clients" / "node_modules"
"""Where `make` installed the clients of npm."""

RELEASES = {"newest": "livekit-client", "oldest": "livekit-client-oldest"}
"""Which are tried of livekit-client, by their names in tests/clients/package.json."""


class JavaScript(Remote):
    """A page."""

    def __init__(self, page: Page, pages: str, release: str, **options: Any) -> None:
        self._page = page
        self._pages = pages
        self._package = RELEASES[release]
        self._options = options

    async def do(self, what: str, **arguments: Any) -> Any:
        outcome = await self._page.evaluate(f"argument => client.do({what!r}, argument)", arguments)
        if "error" in outcome:
            raise Refused(outcome["error"])
        return outcome.get("result")

    async def join(self, url: str, token: str) -> None:
        await self._page.goto(f"{self._pages}/empty")
        await self._page.add_script_tag(url=f"/clients/{self._package}/livekit-client.umd.js")
        await self._page.evaluate(HARNESS)
        await self.do("join", url=url, token=token, release=self._package, **self._options)

    async def state(self) -> dict[str, Any]:
        state = await super().state()
        if state["reason"] is not None:
            state["reason"] = DisconnectReason.Name(state["reason"])
        return state

    async def sent(self, source: str) -> dict[str, dict[str, Any]]:
        sent: dict[str, dict[str, Any]] = await self.do("sent", source=source)
        return sent

    async def leave(self) -> None:
        if not self._page.is_closed():
            await self._page.evaluate("globalThis.client?.leave()")
            await self._page.close()
