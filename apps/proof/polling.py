"""What asking costs: the learned policy replayed over seven completion laws, beside the fixed schedule, the best
schedule for a known law, and a clairvoyant. Plain arithmetic, without database and clock."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from statistics import median

from apps.common.backoff import spec_gap_s, with_jitter
from apps.orders.polling.hazard import LAST_S, Observation, Statistics
from apps.orders.polling.policy import LEAST_COMPLETIONS, Learned, schedule_ages
from apps.providers.contract import PollPlan
from apps.simulator.laws import LAWS, Law

PRICES_S = (5.0, 15.0, 30.0, 60.0)
JUDGED_S = (5.0, 30.0)
"""The prices that the last line is about."""

DEAD_ZONE_LAWS = frozenset({"F", "G"})
"""Laws under which nothing ends for longer than the leash allows to sleep; judged apart."""

PLAN = PollPlan()
KNOWN_BY = 40_000
"""Orders from which the best schedule knows its law."""

GRID_RATIO = 1.01
FRESH = 1.01
"""The replayed policy is made anew when its completions have grown by one in a hundred."""


@dataclass(frozen=True, slots=True)
class Path:
    """What one order took: questions, seconds from its end to the answer that told it."""

    asked: int
    lag_s: float


Replay = Callable[[Sequence[float]], list[Path]]


def cost_of(paths: Sequence[Path], price_s: float) -> float:
    """Mean price of questions plus lag, in seconds for one order."""
    return sum(path.asked * price_s + path.lag_s for path in paths) / len(paths)


# --- policies


def by_schedule(ends_s: Sequence[float]) -> list[Path]:
    """The fixed schedule without its jitter, which is what the leash is held to."""
    return by_ages(ends_s, schedule_ages(PLAN))


def _schedule(rng: random.Random) -> Callable[[float], float]:
    tries = iter(range(10**9))

    def wait(age_s: float) -> float:
        if age_s == 0:
            return PLAN.first_s
        gap_s = spec_gap_s(next(tries), base_s=PLAN.base_s, cap_s=PLAN.cap_s)
        return with_jitter(gap_s, rng.random(), floor_s=PLAN.floor_s)

    return wait


def by_learning(ends_s: Sequence[float], price_s: float, rng: random.Random) -> list[Path]:
    """The learned policy, which knows nothing before the first order and learns from each that ends within a day."""
    seen, policy, made_at = Statistics(), None, 0
    paths = []
    for end_s in ends_s:
        if seen.completions >= max(LEAST_COMPLETIONS, made_at * FRESH) and seen.completions > made_at:
            policy, made_at = Learned(seen, PLAN, price_s), seen.completions
        path, after_s, by_s = _walk(end_s, _learned(policy, rng) if policy else _schedule(rng))
        paths.append(path)
        if end_s <= LAST_S:
            seen = seen.with_one(Observation(after_s, by_s, path.asked))
    return paths


def _learned(policy: Learned, rng: random.Random) -> Callable[[float], float]:
    return lambda age_s: policy.wait(age_s).seconds(rng.random())


def _walk(end_s: float, wait: Callable[[float], float]) -> tuple[Path, float, float]:
    """One order, asked about until it has ended or is a day old; with the last two ages at which it was asked."""
    asked, before_s, age_s = 0, 0.0, 0.0
    while age_s < min(end_s, LAST_S):
        before_s = age_s
        age_s += wait(age_s)
        asked += 1
    return Path(asked, age_s - end_s if end_s <= LAST_S else 0.0), before_s, age_s


def by_ages(ends_s: Sequence[float], ages_s: Sequence[float]) -> list[Path]:
    """Fixed ages; after the last of them nobody asks."""
    found = ((end_s, bisect_left(ages_s, end_s)) for end_s in ends_s)
    return [
        Path(n + 1, ages_s[n] - end_s) if n < len(ages_s) and end_s <= LAST_S else Path(len(ages_s), 0.0)
        for end_s, n in found
    ]


def best_ages(known_s: Sequence[float], price_s: float) -> list[float]:
    """The cheapest ages to ask at where the law is known, without any leash: dynamic programming over a grid of ages
    that grow by one in a hundred."""
    grid = list(_grid())
    ends = sorted(known_s)
    sums = list(accumulate(ends, initial=0.0))
    counts = [bisect_right(ends, age_s) for age_s in grid]
    ended = [count / len(ends) for count in counts]
    time = [sums[count] / len(ends) for count in counts]
    cost, chosen = [0.0] * len(grid), [len(grid) - 1] * len(grid)
    for here in reversed(range(len(grid) - 1)):
        asking = price_s * (1 - ended[here])
        best = float("inf")
        for there in range(here + 1, len(grid)):
            lag = asking + grid[there] * (ended[there] - ended[here]) - (time[there] - time[here])
            if lag >= best:
                break  # what is asked later still costs more lag
            if lag + cost[there] < best:
                best, chosen[here] = lag + cost[there], there
        cost[here] = best
    return [grid[n] for n in _followed(chosen, ended)]


def _grid() -> Iterator[float]:
    yield 0.0
    age_s = 1.0
    while age_s < LAST_S:
        yield age_s
        age_s *= GRID_RATIO
    yield LAST_S


def _followed(chosen: Sequence[int], ended: Sequence[float]) -> Iterator[int]:
    here = 0
    while here < len(chosen) - 1 and ended[here] < 1:
        here = chosen[here]
        yield here


# --- the table


@dataclass(frozen=True, slots=True)
class Line:
    """One law at one price: cost, questions and lag of each policy; ratios of the learned one's cost."""

    law: str
    price_s: float
    schedule: str
    best: str
    learned: str
    to_spec: float
    to_optimum: float
    to_clairvoyant: float
    p99_s: float
    p99_spec_s: float


def table(orders: int) -> Iterator[Line]:
    """Every law at every price, with the same orders for every policy."""
    for name, law in LAWS.items():
        ends_s, known_s = draws(law, orders, 1), draws(law, KNOWN_BY, 2)
        schedule = by_schedule(ends_s)
        for price_s in PRICES_S:
            best = by_ages(ends_s, best_ages(known_s, price_s))
            yield _line(name, price_s, schedule, best, by_learning(ends_s, price_s, random.Random(4)))


def draws(law: Law, count: int, seed: int) -> list[float]:
    """`count` completion times in seconds."""
    rng = random.Random(seed)
    return [law(rng) for _ in range(count)]


def _line(law: str, price_s: float, schedule: list[Path], best: list[Path], learned: list[Path]) -> Line:
    cost = cost_of(learned, price_s)
    return Line(
        law=law,
        price_s=price_s,
        schedule=told(schedule),
        best=told(best),
        learned=told(learned),
        to_spec=cost / cost_of(schedule, price_s),
        to_optimum=cost / cost_of(best, price_s),
        to_clairvoyant=cost / price_s,
        p99_s=_p99(learned),
        p99_spec_s=_p99(schedule),
    )


def told(paths: Sequence[Path]) -> str:
    """Mean questions and mean lag: `1.5 x 4.3 s`."""
    return f"{sum(path.asked for path in paths) / len(paths):.1f} x {sum(p.lag_s for p in paths) / len(paths):.1f} s"


def _p99(paths: Sequence[Path]) -> float:
    return sorted(path.lag_s for path in paths)[int(0.99 * (len(paths) - 1))]


def verdict(lines: Sequence[Line]) -> dict[str, float]:
    """The worst and median ratios at the judged prices; laws with a dead zone count in the last alone."""
    judged = [line for line in lines if line.price_s in JUDGED_S]
    plain = [line for line in judged if line.law not in DEAD_ZONE_LAWS]
    dead = [line for line in judged if line.law in DEAD_ZONE_LAWS]
    return {
        "worst_to_spec": round(max(line.to_spec for line in plain), 3),
        "median_to_spec": round(median(line.to_spec for line in plain), 3),
        "worst_to_optimum": round(max(line.to_optimum for line in plain), 3),
        "worst_to_optimum_dead_zone": round(max(line.to_optimum for line in dead), 3),
    }


# --- learning from nothing, and again


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some orders in a row: what each cost under the learned policy and under the fixed schedule, in seconds."""

    name: str
    learned_s: float
    schedule_s: float


COLD = ((0, 20), (20, 60), (60, 200), (200, 1000), (1000, None))
SHIFT_ORDERS, SHIFT_SHOWN, SHIFT_PRICE_S = 2000, 200, 15.0


def stretches(orders: int) -> Iterator[Stretch]:
    """The first orders of laws A and D, and a provider whose 20 s become half an hour and 20 s again."""
    for name in ("A", "D"):
        ends_s = draws(LAWS[name], orders, 5)
        learned, schedule = _both(ends_s)
        for start, end in COLD:
            if start < orders:
                yield _stretch(f"{name}, orders {start} to {end or orders}", learned[start:end], schedule[start:end])
    quick, slow = (lambda rng: rng.lognormvariate(3.0, 0.4)), (lambda rng: rng.lognormvariate(7.5, 0.4))
    ends_s = [*draws(quick, SHIFT_ORDERS, 6), *draws(slow, SHIFT_ORDERS, 7), *draws(quick, SHIFT_ORDERS, 8)]
    learned, schedule = _both(ends_s)
    for turn, what in ((1, "20 s become 30 min"), (2, "30 min become 20 s")):
        for which, start in (("first", turn * SHIFT_ORDERS), ("next", turn * SHIFT_ORDERS + SHIFT_SHOWN)):
            part = slice(start, start + SHIFT_SHOWN)
            yield _stretch(f"{what}, {which} {SHIFT_SHOWN} orders", learned[part], schedule[part])


def _both(ends_s: Sequence[float]) -> tuple[list[Path], list[Path]]:
    return by_learning(ends_s, SHIFT_PRICE_S, random.Random(9)), by_schedule(ends_s)


def _stretch(name: str, learned: Sequence[Path], schedule: Sequence[Path]) -> Stretch:
    return Stretch(name, round(cost_of(learned, SHIFT_PRICE_S), 1), round(cost_of(schedule, SHIFT_PRICE_S), 1))


def in_words(line: Line | Stretch) -> str:
    """The line for people."""
    if isinstance(line, Stretch):
        return f"{line.name}: {line.learned_s:g} s an order, by the schedule {line.schedule_s:g} s"
    return (
        f"law {line.law}, price {line.price_s:g} s: schedule {line.schedule}; known law {line.best}; learned "
        f"{line.learned} = {line.to_spec:.2f} x schedule, {line.to_optimum:.2f} x known law, "
        f"{line.to_clairvoyant:.2f} x clairvoyant; p99 {line.p99_s:.0f} s, by the schedule {line.p99_spec_s:.0f} s"
    )


def as_json(line: Line | Stretch) -> dict[str, object]:
    """The line as plain values, rounded for people."""
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(line).items()}
