"""Figures as a table for a terminal, a column for each step."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtpcore.bench_load.running import Figures, Percentiles

__all__ = ["table"]


def table(steps: Sequence[Figures]) -> str:
    """Lines of text."""
    columns = [_column(step) for step in steps]
    names = list(columns[0]) if columns else []
    rows = [[name, *(column[name] for column in columns)] for name in names]
    # A figure that no step has is not worth a line.
    rows = [row for row in rows if any(row[1:])]
    widths = [max(len(row[index]) for row in rows) for index in range(len(columns) + 1)]
    cells = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    return "\n".join("  ".join(row) for row in cells)


def _column(step: Figures) -> dict[str, str]:
    return {
        "rooms": f"{step.rooms:,}",
        "subscribers": f"{step.subscribers:,}",
        "clients that took part": f"{step.ready:,} of {step.clients:,}",
        "packets in (1/s)": f"{step.sent_per_s:,.0f}",
        "packets out (1/s)": f"{step.received_per_s:,.0f}",
        "lost": f"{step.lost:,}",
        "reordered": f"{step.reordered:,}",
        "retransmissions, padding": f"{step.repaired:,}",
        "delay p50 (ms)": _ms(step.delay_ms, "p50"),
        "delay p99 (ms)": _ms(step.delay_ms, "p99"),
        "delay p99.9 (ms)": _ms(step.delay_ms, "p999"),
        "delay max (ms)": _ms(step.delay_ms, "max"),
        "join p50 (ms)": _ms(step.join_ms, "p50"),
        "join p99 (ms)": _ms(step.join_ms, "p99"),
        "to ICE p50 (ms)": _ms(step.ice_ms, "p50"),
        "to ICE p99 (ms)": _ms(step.ice_ms, "p99"),
        "to media p50 (ms)": _ms(step.media_ms, "p50"),
        "to media p99 (ms)": _ms(step.media_ms, "p99"),
        "server CPU (cores)": _figure(step.server_cores),
        "server CPU per packet out (us)": _figure(step.cpu_us_per_packet),
        "server memory per subscriber (kB)": _figure(step.memory_kb_per_subscriber),
        "load CPU (cores, of 1)": _figure(step.load_cores),
        "load sent late p99 (ms)": _ms(step.late_ms, "p99"),
    }


def _ms(times: Percentiles | None, which: str) -> str:
    return "" if times is None else _figure(getattr(times, which))


def _figure(value: float | None) -> str:
    """Three digits.

    >>> _figure(0.01234), _figure(12.34), _figure(1234.5), _figure(None)
    ('0.0123', '12.3', '1,234', '')
    """
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
