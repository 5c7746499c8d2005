"""Write the traces of mobile and Wi-Fi links, from published models and fixed seeds: `python bench/traces/generate.py`.

- Cellular rates: Winstein, Sivaraman and Balakrishnan, "Stochastic Forecasts Achieve High Throughput and Low Delay over
  Cellular Networks" (Sprout, NSDI 2013), section 3.1. Deliveries of 1500 bytes are a Poisson process whose rate is a
  Brownian motion, of 200 packets/s per square root of a second where one moves, and which holds on to zero: out of an
  outage it finds once a second on the average. Where one walks the motion is less.
- Handovers: the link stops for some hundred milliseconds and resumes at another rate, after 5G's in Narayanan et al.,
  "A First Look at Commercial 5G Performance on Smartphones" (WWW 2020).
- Losses on Wi-Fi: Gilbert's chain (1960), after Konrad et al., "A Markov-Based Channel Model Algorithm for Wireless
  Networks" (Wireless Networks 9, 2003): long good times, short ones in which most is lost.

Numbers that the papers leave open (means, bounds, dwell times) are this file's; each trace says in its first line what
it is.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

HERE = Path(__file__).parent
SECONDS = 60
STEP_S = 0.2
"""Between changes of a rate: a picture feels every one of them, and a file stays small enough to read."""

PACKET_BITS = 1500 * 8


def cellular(seed: int, mean: float, sigma: float, bounds: tuple[float, float], step_s: float) -> list[float]:
    """Rates in packets/s, a step each: Brownian motion between bounds that is drawn to its mean by a tenth a second."""
    chance = random.Random(seed)
    rate, rates = mean, []
    for _ in range(round(SECONDS / step_s)):
        if rate > 0 or chance.random() < step_s:
            rate += chance.gauss(0, sigma) * math.sqrt(step_s) + 0.1 * (mean - rate) * step_s
        rate = min(max(rate, bounds[0]), bounds[1])
        rates.append(rate)
    return rates


def steps(way: str, rates: list[float], step_s: float, words: str) -> list[str]:
    """Lines of a trace, one for each change that is worth one."""
    lines, last = [], -1.0
    for number, rate in enumerate(rates):
        kbps = round(rate * PACKET_BITS / 1000, -1)
        if number == 0 or abs(kbps - last) > 0.05 * last:
            lines.append(f"{way} {number * step_s:g} rate={kbps:g}{f' {words}' if number == 0 else ''}")
            last = kbps
    return [*lines, f"{way} {SECONDS} again"]


def recording(name: str, seed: int, rates: list[float], step_s: float) -> None:
    """Deliveries as mahimahi records them."""
    chance = random.Random(seed)
    now, times = 0.0, []
    while now < SECONDS:
        rate = max(rates[min(int(now / step_s), len(rates) - 1)], 0.5)
        # No further than a step, for then the rate is another.
        wait = chance.expovariate(rate)
        if now % step_s + wait > step_s:
            now += step_s - now % step_s + 1e-9
        else:
            now += wait
            times.append(math.ceil(now * 1000))
    (HERE / name).write_text("".join(f"{time}\n" for time in times if time <= SECONDS * 1000))


def trace(name: str, about: str, seed: int, lines: list[str]) -> None:
    (HERE / f"{name}.trace").write_text("\n".join([f"# {about}", "# By generate.py.", f"seed {seed}", *lines]) + "\n")


def lte_walking() -> None:
    words = "delay=30 jitter=8 queue=500"
    down = steps("down", cellular(1, 260, 60, (15, 800), STEP_S), STEP_S, words)
    up = steps("up", cellular(2, 120, 30, (10, 300), STEP_S), STEP_S, words)
    trace("lte-walking", "LTE on foot: some Mbit/s that come and go, a modem's deep queue.", 1, down + up)


def lte_driving() -> None:
    recording("lte-driving.down", 3, cellular(4, 220, 200, (0, 700), 0.02), 0.02)
    recording("lte-driving.up", 5, cellular(6, 110, 100, (0, 300), 0.02), 0.02)
    lines = [f"{way} 0 delay=30 mahimahi=lte-driving.{way} queue=500" for way in ("down", "up")]
    trace("lte-driving", "LTE in a car: Sprout's model of a link, with its outages.", 3, lines)


def nr_driving() -> None:
    chance = random.Random(7)
    lines, now = ["both 0 delay=12 jitter=4 queue=300", "down 0 rate=40000", "up 0 rate=8000"], 0.0
    # Kbit/s in sight of a mast, beside one, and on LTE between.
    states = {"near": (60_000, 8000), "edge": (6000, 1500), "lte": (1200, 600)}
    turns = {"near": ("edge", "edge", "lte"), "edge": ("near", "near", "lte"), "lte": ("edge", "near")}
    state = "near"
    while (now := now + max(2.0, chance.expovariate(1 / 6))) < SECONDS - 1:
        state = chance.choice(turns[state])
        lasts = chance.uniform(0.1, 0.4)
        lines += [f"{way} {now:.2f} rate=0" for way in ("down", "up")]
        rates = (round(rate * chance.uniform(0.6, 1.4), -2) for rate in states[state])
        lines += [f"{way} {now + lasts:.2f} rate={rate:g}" for way, rate in zip(("down", "up"), rates, strict=True)]
    lines += [f"{way} {SECONDS} again" for way in ("down", "up")]
    trace("5g-driving", "5G in a car: plenty, then little, and a gap at every handover.", 7, lines)


def wifi_busy() -> None:
    chance = random.Random(8)
    words = "delay=8 jitter=15 loss=1 burst=4 reorder=0.5 hold=20 queue=200"
    lines, now = [f"both 0 {words} rate=20000"], 0.0
    while (now := now + chance.expovariate(1 / 7)) < SECONDS - 2:
        # Somebody downloads: the air is theirs most of the time.
        lasts = chance.uniform(0.5, 2)
        lines += [f"both {now:.2f} rate={chance.randrange(12, 40) * 100} loss=4 burst=6"]
        now += lasts
        lines += [f"both {now:.2f} rate=20000 loss=1 burst=4"]
    trace("wifi-busy", "A crowded access point: jitter, bursts, and times when others have the air.", 8, lines)


def wifi_walking() -> None:
    lines = ["both 0 delay=6 jitter=5 loss=0 burst=5 rate=30000 queue=250"]
    for second in range(5, SECONDS, 5):
        # To the end of the garden and back.
        far = math.sin(math.pi * second / SECONDS) ** 2
        rate, loss, jitter = 30_000 * (1 - far) + 900 * far, 12 * far, 5 + 20 * far
        lines.append(f"both {second} rate={rate:.0f} loss={loss:.1f} jitter={jitter:.0f}")
    lines.append(f"both {SECONDS} again")
    trace("wifi-walking", "Away from an access point and back: the rate falls, losses come in bursts.", 9, lines)


if __name__ == "__main__":
    for write in (lte_walking, lte_driving, nr_driving, wifi_busy, wifi_walking):
        write()
