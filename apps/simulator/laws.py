"""Completion laws: how long providers take, as the seven laws that the polling policy was measured on."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

HOUR_S = 3600.0

Law = Callable[[random.Random], float]
"""Seconds from purchase to end, drawn from a seeded source."""


def instant(rng: random.Random) -> float:
    return rng.lognormvariate(math.log(8), 0.5)


def quick_or_lost(rng: random.Random) -> float:
    """5 to 30 s, and one in a hundred between 1 and 24 hours."""
    return rng.uniform(HOUR_S, 24 * HOUR_S) if rng.random() < 0.01 else rng.uniform(5, 30)


def memoryless(rng: random.Random) -> float:
    return rng.expovariate(1 / 300)


def machine_or_human(rng: random.Random) -> float:
    """About 15 s by machine for seven in ten, about 25 minutes by hand for the rest."""
    median_s = 15 if rng.random() < 0.7 else 25 * 60
    return rng.lognormvariate(math.log(median_s), 0.4)


def heavy_tail(rng: random.Random) -> float:
    return 20 * rng.paretovariate(0.8)


def dead_zone(rng: random.Random) -> float:
    """Nothing before ten minutes, all by twenty."""
    return rng.uniform(600, 1200)


def quick_or_queued(rng: random.Random) -> float:
    """About 45 s, and two in a hundred between 12 and 24 hours."""
    return rng.uniform(12 * HOUR_S, 24 * HOUR_S) if rng.random() < 0.02 else rng.lognormvariate(math.log(45), 0.5)


LAWS: dict[str, Law] = {
    "A": instant,
    "B": quick_or_lost,
    "C": memoryless,
    "D": machine_or_human,
    "E": heavy_tail,
    "F": dead_zone,
    "G": quick_or_queued,
}
