"""How far a load is: a bar where rich is installed and somebody looks, else lines."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rtpcore.bench_load.plan import Wish

__all__ = ["watcher"]


@contextlib.contextmanager
def watcher(title: str, wish: Wish) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Something that shows events while the context lasts, on standard error."""
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        yield lambda event: _line(title, wish, event)
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda event: _line(title, wish, event)
        return
    with Progress(console=console, transient=True) as progress:
        joining = progress.add_task(f"{title}: joining", total=wish.clients)
        measuring = progress.add_task(f"{title}: measuring", total=wish.seconds)
        begins_at: float | None = None

        def show(event: dict[str, Any]) -> None:
            nonlocal begins_at
            if event["event"] == "measuring":
                begins_at = -1.0
            elif event["event"] == "progress":
                progress.update(joining, completed=event["ready"])
                if begins_at is not None:
                    begins_at = event["seconds"] if begins_at < 0 else begins_at
                    progress.update(measuring, completed=event["seconds"] - begins_at)

        yield show


def _line(title: str, wish: Wish, event: dict[str, Any]) -> None:
    if event["event"] == "progress":
        rate = f"{event['received_per_s']:,.0f} packets/s"
        failed = f", {event['failed']} failed" if event["failed"] else ""
        print(f"{title}: {event['ready']} of {wish.clients} clients ready{failed}, {rate}", file=sys.stderr)
    elif event["event"] == "measuring":
        print(f"{title}: measuring for {wish.seconds:g} s", file=sys.stderr)
