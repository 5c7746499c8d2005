"""Delay over load as a small SVG: two lines need no drawing library."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtpcore.bench_load.running import Figures

__all__ = ["delay_over_load"]

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 28, 48
# Apart for those, too, who do not tell red from green.
COLOURS = {"p50": "#0072b2", "p99": "#d55e00"}


def delay_over_load(steps: Sequence[Figures]) -> str:
    """Draw the median and the 99th percentile over packets out per second; steps without delays are left out."""
    points = sorted((one.received_per_s, one.delay_ms) for one in steps if one.delay_ms is not None)
    widest = ceiling(max((load for load, _ in points), default=1.0))
    highest = ceiling(max((delay.p99 for _, delay in points), default=1.0))

    def x(load: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * load / widest

    def y(delay: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * delay / highest

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for tick in range(6):
        load, delay = widest * tick / 5, highest * tick / 5
        parts.append(
            f'<path d="M{LEFT} {y(delay):.1f}H{WIDTH - RIGHT}M{x(load):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>'
            f'<text x="{LEFT - 8}" y="{y(delay) + 4:.1f}" text-anchor="end">{delay:g}</text>'
            f'<text x="{x(load):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{load:,.0f}</text>'
        )
    for number, (name, colour) in enumerate(COLOURS.items()):
        at = [(x(load), y(getattr(delay, name))) for load, delay in points]
        line = " ".join(f"{left:.1f},{top:.1f}" for left, top in at)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{left:.1f}" cy="{top:.1f}" r="3" fill="{colour}"/>' for left, top in at]
        parts.append(f'<text x="{LEFT + 8 + 48 * number}" y="{TOP - 10}" fill="{colour}">{name}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    labels = {"packets out per second": (middle, HEIGHT - 10, ""), "delay (ms)": (14, HEIGHT / 2, "rotate(-90 14 180)")}
    for label, (left, top, turn) in labels.items():
        parts.append(f'<text x="{left:g}" y="{top:g}" text-anchor="middle" transform="{turn}">{escape(label)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def ceiling(value: float) -> float:
    """The next of 1, 2, 5, 10 and so on.

    >>> [ceiling(value) for value in (0.3, 1.0, 3.2, 48016.0)]
    [0.5, 1.0, 5.0, 50000.0]
    """
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(unit * factor for factor in (1, 2, 5, 10) if value <= unit * factor * (1 + 1e-9))
