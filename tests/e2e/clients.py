"""Every one of LiveKit's clients that is tried, unmodified."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from livekit import api
from tests.e2e.browser_client import JavaScript
from tests.e2e.process_client import Process
from tests.e2e.rust_client import Rust

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext
    from tests.e2e.client import Client

__all__ = ["CLIENTS", "GO", "JS", "KEY", "NODE", "OLDEST", "RUST", "SECRET", "open_client", "token"]

KEY, SECRET = "devkey", "a secret that is long enough to be one"

CLIENTS = {
    "js-newest-single": "livekit-client, newest; one peer connection",
    "js-newest-dual": "the same with two",
    "js-oldest-single": "livekit-client, oldest of the last year; one",
    "js-oldest-dual": "the same with two",
    "rust-single": "livekit from PyPI (Rust, libwebrtc); one",
    "rust-dual": "the same with two",
    "node": "@livekit/rtc-node (Rust behind Node); one",
    "go-single": "server-sdk-go (pion); one",
    "go-dual": "the same with two",
}
"""Every client that is tried: its name in tests, and in the table."""

JS, OLDEST, RUST, GO = (
    tuple(name for name in CLIENTS if name.startswith(sdk)) for sdk in ("js", "js-oldest", "rust", "go")
)
NODE = ("node",)


def token(
    room: str,
    identity: str,
    *,
    ttl: timedelta = timedelta(hours=1),
    secret: str = SECRET,
    kind: str = "standard",
    **grants: Any,
) -> str:
    """An access token as an application makes it."""
    granted = api.VideoGrants(room_join=True, room=room, can_update_own_metadata=True, **grants)
    access = api.AccessToken(KEY, secret).with_identity(identity).with_ttl(ttl).with_grants(granted)
    return access.with_kind(cast("Any", kind)).to_jwt()


async def open_client(name: str, pages: str, context: BrowserContext, **options: Any) -> Client:
    """A client that has not joined yet.

    Args:
        name: One of `CLIENTS`.
        pages: The URL from which pages take their client.
        context: For those that are pages.
        options: What the client shall be besides, in the terms of its class.
    """
    sdk, *release, connections = name.split("-") if "-" in name else (name, "single")
    is_single = connections == "single"
    if sdk == "rust":
        return Rust(is_single=is_single, **options)
    if sdk == "js":
        room = {"singlePeerConnection": is_single, **options.pop("room", {})}
        return JavaScript(await context.new_page(), pages, *release, room=room, **options)
    return Process(sdk, single=is_single, **options)
