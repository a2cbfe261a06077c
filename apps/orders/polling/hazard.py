"""How long orders take, learned from answers: completions and time at risk in bins of age. No clock, no database."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

BINS = 48
FIRST_S, LAST_S = 2.0, 86_400.0
EDGES_S: tuple[float, ...] = (0.0, *(FIRST_S * (LAST_S / FIRST_S) ** (n / BINS) for n in range(1, BINS)), LAST_S)
"""Edges of the bins of age: each a quarter wider than the one before, from 2 s to 24 h; the first begins at 0."""

FORGETTING = 0.995
"""What one completion leaves of the weight of those before it: about the last 200 count.

A longer memory costs as much on a steady provider, and takes thousands of orders to believe that a slow one is quick
again."""

PRIOR_ORDERS = 2
"""Orders that the fixed schedule's own hazard counts for in a bin, against those that were seen there."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One completion: it came after the age at which it was last seen pending, by the age at which it was seen done.

    Equal ages are an exact point. `asked` is how many questions that took.
    """

    after_s: float
    by_s: float
    asked: int = 1


@dataclass(frozen=True, slots=True)
class Statistics:
    """What was learned about one kind of order; but for `completions`, weights that fade by `FORGETTING`.

    `events` and `exposure_s` have one value for each bin; `asked` and `lag_s` are sums over the completions.
    """

    events: tuple[float, ...] = (0.0,) * BINS
    exposure_s: tuple[float, ...] = (0.0,) * BINS
    completions: int = 0
    asked: float = 0.0
    lag_s: float = 0.0

    def with_one(self, seen: Observation) -> Statistics:
        """These, a little faded, and one completion more; between two answers it may have come at any time."""
        by_s = min(seen.by_s, LAST_S)
        after_s = min(max(seen.after_s, 0.0), by_s)
        middle_s = (after_s + by_s) / 2
        return Statistics(
            _faded(self.events, _spread(after_s, by_s)),
            _faded(self.exposure_s, [_overlap(n, 0.0, middle_s) for n in range(bin_of(middle_s) + 1)]),
            self.completions + 1,
            self.asked * FORGETTING + seen.asked,
            self.lag_s * FORGETTING + seen.by_s - middle_s,
        )

    @property
    def weight(self) -> float:
        """Completions as they count now."""
        return sum(self.events)


def bin_of(age_s: float) -> int:
    """The bin that holds the age; the last one has no end."""
    return min(bisect_right(EDGES_S, age_s) - 1, BINS - 1)


def _overlap(n: int, start_s: float, end_s: float) -> float:
    return max(min(end_s, EDGES_S[n + 1]) - max(start_s, EDGES_S[n]), 0.0)


def _spread(after_s: float, by_s: float) -> list[float]:
    """One event over the bins between two ages, evenly over time."""
    first, last = bin_of(after_s), bin_of(by_s)
    if first == last:
        return [0.0] * first + [1.0]
    length_s = by_s - after_s
    return [_overlap(n, after_s, by_s) / length_s for n in range(last + 1)]


def _faded(old: Sequence[float], more: Sequence[float]) -> tuple[float, ...]:
    """The old values faded, with `more` added to the first of them."""
    faded = [value * FORGETTING for value in old]
    for n, value in enumerate(more):
        faded[n] += value
    return tuple(faded)


class Hazard:
    """The chance of completion per second at every age, from statistics and a prior hazard (age -> per second)."""

    def __init__(self, seen: Statistics, prior: Callable[[float], float]) -> None:
        edges = [prior(edge_s) for edge_s in EDGES_S]
        self._rates = [_rate(seen, n, min(edges[n], edges[n + 1])) for n in range(BINS)]
        widths = (EDGES_S[n + 1] - EDGES_S[n] for n in range(BINS))
        steps = (rate * width for rate, width in zip(self._rates, widths, strict=True))
        self._sums: list[float] = list(accumulate(steps, initial=0.0))

    def until(self, age_s: float) -> float:
        """The hazard summed up to an age."""
        n = bin_of(age_s)
        return self._sums[n] + self._rates[n] * (age_s - EDGES_S[n])

    def share_pending(self, age_s: float, since_s: float = 0.0) -> float:
        """Of the orders pending at `since_s`, those that still are at `age_s`."""
        return math.exp(self.until(since_s) - self.until(age_s))

    def mean(self, start_s: float, end_s: float) -> float:
        """The hazard per second between two ages."""
        return (self.until(end_s) - self.until(start_s)) / (end_s - start_s)


def _rate(seen: Statistics, n: int, prior: float) -> float:
    """Events per second at risk; the prior counts for the events that `PRIOR_ORDERS` would have had in the bin."""
    expected = PRIOR_ORDERS * (1 - math.exp(-prior * (EDGES_S[n + 1] - EDGES_S[n])))
    return (seen.events[n] + expected) / (seen.exposure_s[n] + expected / prior)
