"""When to ask next: the cheapest moment by what was learned, on the leash of the fixed schedule. No clock, no dice."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, islice, pairwise

from apps.common.backoff import spec_gap_s, with_jitter
from apps.orders.polling.hazard import LAST_S, Hazard, Statistics
from apps.providers.contract import PollPlan

LEAST_COMPLETIONS = 20
"""Fewer teach nothing: the fixed schedule is followed exactly."""

STEPS = 24
"""Moments that are weighed between one check of the fixed schedule and the next."""

MOST_CHECKS = 5_000
NEAR_S = 0.001
"""A check this close has been made: ages are sums and differences of times."""

MOST_PRESSURE = 1_000_000.0
STEEPEST = 4.0


@lru_cache(maxsize=256)
def schedule_ages(plan: PollPlan) -> tuple[float, ...]:
    """Ages of the fixed schedule's checks, before its jitter, for a day at most."""
    return tuple(_until(LAST_S, islice(_ages(plan), MOST_CHECKS)))


def _ages(plan: PollPlan) -> Iterator[float]:
    def gaps() -> Iterator[float]:
        yield plan.first_s
        for tries in range(MOST_CHECKS):
            yield spec_gap_s(tries, base_s=plan.base_s, cap_s=plan.cap_s)

    return accumulate(gaps())


def _until(end_s: float, ages: Iterable[float]) -> Iterator[float]:
    for age_s in ages:
        yield age_s
        if age_s > end_s:
            return


@dataclass(frozen=True, slots=True)
class Leash:
    """Where an age lies in the fixed schedule: after `passed` of its checks, the next of which is at `end_s`."""

    passed: int
    start_s: float
    end_s: float


def leash_at(plan: PollPlan, age_s: float) -> Leash:
    """The two checks of the fixed schedule around an age; beyond its end, the cap."""
    ages = schedule_ages(plan)
    passed = bisect_right(ages, age_s + NEAR_S)
    start_s = ages[passed - 1] if passed else 0.0
    if passed == len(ages):
        start_s += plan.cap_s * ((age_s + NEAR_S - start_s) // plan.cap_s)
        return Leash(passed, start_s, start_s + plan.cap_s)
    return Leash(passed, start_s, ages[passed])


@dataclass(frozen=True, slots=True)
class Wait:
    """How long to wait for the next check, in seconds. `most_s`: the fixed schedule's next check, never to be passed.

    `passed` is the fixed schedule's own count of checks, so that it can go on from here.
    """

    gap_s: float
    most_s: float
    floor_s: float
    passed: int

    def seconds(self, draw: float) -> float:
        """The wait with its jitter by `draw` in [0, 1): on the leash, and no nearer to its end than two questions may
        be; an account's least gap is kept even where the order was asked too late for both."""
        if self.gap_s >= self.most_s:
            return max(self.most_s, self.floor_s)
        wait_s = with_jitter(self.gap_s, draw, floor_s=self.floor_s)
        return wait_s if wait_s <= self.most_s - self.floor_s else max(self.most_s, self.floor_s)


class Learned:
    """The policy by statistics at a price. The fixed schedule's checks are all kept; what is chosen is what to ask
    between two of them, by the least expected price of questions plus seconds that an end waits to be seen."""

    def __init__(self, seen: Statistics, plan: PollPlan, price_s: float) -> None:
        self.plan = plan
        self.price_s = price_s
        self.hazard = Hazard(seen, lambda age_s: prior_hazard(plan, age_s, price_s))
        self._tables: dict[Leash, list[int]] = {}

    def wait(self, age_s: float) -> Wait:
        """How long an order that is pending at this age waits for its next check."""
        leash = leash_at(self.plan, age_s)
        step_s = (leash.end_s - leash.start_s) / STEPS
        here = min(round((age_s - leash.start_s) / step_s), STEPS - 1)
        chosen = self._table(leash)[here]
        most_s = leash.end_s - age_s
        gap_s = most_s if chosen == STEPS else min(leash.start_s + chosen * step_s - age_s, most_s)
        return Wait(gap_s, most_s, self.plan.floor_s, leash.passed)

    def _table(self, leash: Leash) -> list[int]:
        if leash not in self._tables:
            self._tables[leash] = cheapest_steps(self.hazard, leash, self.price_s, self.plan.floor_s)
        return self._tables[leash]


def prior_hazard(plan: PollPlan, age_s: float, price_s: float) -> float:
    """The hazard for which the fixed schedule's gap is the best one, by Keller's gap = sqrt(2 x price / hazard).

    No more than one end in a gap: above that the formula, which is for small hazards, contradicts itself.
    """
    leash = leash_at(plan, age_s)
    gap_s = leash.end_s - leash.start_s
    return min(2 * price_s / gap_s**2, 1 / gap_s)


def cheapest_steps(hazard: Hazard, leash: Leash, price_s: float, floor_s: float) -> list[int]:
    """For an order pending at each of `STEPS` moments of the leash, the moment to ask at next; the last is its end.

    From the end backwards: a question costs its price, an end that is seen late costs the seconds.
    """
    step_s = (leash.end_s - leash.start_s) / STEPS
    pending = [hazard.share_pending(leash.start_s + n * step_s, leash.start_s) for n in range(STEPS + 1)]
    ended_s = list(accumulate((step_s * (1 - (a + b) / 2) for a, b in pairwise(pending)), initial=0))
    least = math.ceil(floor_s / step_s - 1e-9)
    cost = [0.0] * (STEPS + 1)
    chosen = [STEPS] * STEPS
    for here in reversed(range(STEPS)):
        options = [*range(here + max(least, 1), STEPS - max(least, 1) + 1), STEPS]
        costs = [cost[n] + ended_s[n] - ended_s[here] - (1 - pending[here]) * step_s * (n - here) for n in options]
        best = min(range(len(options)), key=costs.__getitem__)
        chosen[here] = options[best]
        cost[here] = price_s * pending[here] + costs[best]
    return chosen


# --- the price


def price_of(base_s: float, pressure: float, together: float) -> float:
    """The price of asking about one order: a request's, dearer under pressure, shared by those asked `together`."""
    return base_s * pressure / max(together, 1.0)


def pressure_after(pressure: float, demand: float, budget: float) -> float:
    """The pressure that brings the demand down to the budget, both in requests a second; 1 is none.

    The number of questions goes with 1 / sqrt(price), so the price goes with the square of their excess; at most
    `STEEPEST`-fold at a time, because demand is measured from what was planned at the old price.
    """
    change = (demand / budget) ** 2
    wanted = pressure * min(max(change, 1 / STEEPEST), STEEPEST)
    return min(max(wanted, 1.0), MOST_PRESSURE)
