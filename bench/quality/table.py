"""The figures as a table: ours, theirs, and what is to be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.rows import readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.rows import Row

__all__ = ["markdown", "text"]


def _cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """The head, and a line for each figure."""
    by_column: dict[str, dict[str, Row]] = {}
    for row in rows:
        *who, trace, figure = row.name.split("/")
        by_column.setdefault("/".join(who), {})[f"{trace}/{figure}"] = row
    names = dict.fromkeys(name for column in by_column.values() for name in column)
    lines = []
    for name in names:
        cells = [readable(column[name].value) if name in column else "" for column in by_column.values()]
        own = by_column.get("", {}).get(name)
        unit = next(column[name].unit for column in by_column.values() if name in column)
        verdict = {None: "", True: "yes", False: "NO"}[own.holds if own else None]
        lines.append([*name.split("/", 1), unit, *cells, str(own.bound or "") if own else "", verdict])
    columns = [who or "rtpcore" for who in by_column]
    return ["trace", "figure", "unit", *columns, "bound", "holds"], lines


def text(rows: Sequence[Row]) -> str:
    """For a terminal."""
    head, lines = _cells(rows)
    widths = [max(len(line[number]) for line in [head, *lines]) for number in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [head, *lines]
    )


def markdown(rows: Sequence[Row], machine: dict[str, Any]) -> str:
    """For those who read."""
    head, lines = _cells(rows)
    facts = ", ".join(f"{name} {fact}" for name, fact in machine.items())
    body = [f"| {' | '.join(line)} |" for line in lines]
    rule = "|".join(["---", "---", "---", *["---:"] * (len(head) - 5), "---:", "---"])
    return "\n".join(
        [
            "# What clients see on bad networks",
            "",
            f"Written by `make quality`. {facts}.",
            "",
            f"| {' | '.join(head)} |",
            f"|{rule}|",
            *body,
            "",
        ]
    )
