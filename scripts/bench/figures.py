"""The arithmetic of a benchmark: rates out of counts, ratios per repetition, and what makes a run worth nothing."""

from __future__ import annotations

import math
import os
import platform
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

BUSY = 0.9
"""Share of a core from which the simulator may have been what was measured."""
LEAST_CHECKS = 100
"""Fewer checks than this say nothing."""


@dataclass(frozen=True, slots=True)
class Run:
    """One contestant's turn: checks done in so many seconds, its CPU seconds, and the simulator's share of a core."""

    checks: int
    seconds: float
    cpu_s: float | None = None
    simulator: float = 0.0
    trouble: str = ""

    @property
    def per_s(self) -> float:
        """Checks a second."""
        return self.checks / self.seconds if self.seconds > 0 else 0.0

    def why_invalid(self) -> str:
        """What is wrong with it; empty when the work was done and the simulator was not what limited it."""
        if self.trouble:
            return self.trouble
        if self.checks < LEAST_CHECKS or self.seconds <= 0:
            return f"only {self.checks} checks were made"
        return f"the simulator used {self.simulator:.0%} of a core" if self.simulator > BUSY else ""


def spread(values: Sequence[float], digits: int) -> dict[str, float]:
    """Median, least and most."""
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in found.items()}


def ratios(ours: Sequence[Run], theirs: Sequence[Run]) -> list[float]:
    """Our rate over theirs, within each repetition."""
    return [one.per_s / other.per_s if other.per_s else 0.0 for one, other in zip(ours, theirs, strict=True)]


def in_turn(names: Sequence[str], repetition: int) -> list[str]:
    """The contestants' order in this repetition: there and back again, so that none always comes first."""
    return list(names) if repetition % 2 == 0 else list(reversed(names))


def compare(runs: Mapping[str, Sequence[Run]], ours: str = "ours") -> dict[str, object]:
    """`valid`, and `trouble` where it is not; rates of all, ratios of ours to each, and CPU where it is known."""
    troubles = [f"{name}: {why}" for name, found in runs.items() for run in found if (why := run.why_invalid())]
    others = [name for name in runs if name != ours]
    found = {name: spread(ratios(runs[ours], runs[name]), 3) for name in others}
    return {
        "valid": not troubles,
        **({"trouble": troubles} if troubles else {}),
        **{f"ratio_to_{name}": found[name]["median"] for name in others},
        "ratios": found,
        "checks_per_s": {name: spread([run.per_s for run in own], 1) for name, own in runs.items()},
        "cpu_us_per_check": {name: used for name, own in runs.items() if (used := _cpu_us(own)) is not None},
        "simulator_cpu": round(max(run.simulator for own in runs.values() for run in own), 2),
        "repetitions": len(runs[ours]),
    }


def _cpu_us(runs: Sequence[Run]) -> int | None:
    known = [run.cpu_s / run.checks * 1e6 for run in runs if run.cpu_s is not None and run.checks]
    return round(statistics.median(known)) if known else None


# --- under a load


@dataclass(frozen=True, slots=True)
class Loaded:
    """Orders that came due one by one at `offered` a second, and how long each waited for us; None: it was not asked.

    `capacity` is the run that says how many a second there could have been.
    """

    capacity: Run
    offered: float
    waits_s: Sequence[float | None]
    simulator: float = 0.0

    def known(self) -> list[float]:
        """The waits of those that were asked about."""
        return [wait for wait in self.waits_s if wait is not None]

    def why_invalid(self) -> str:
        """What is wrong with it; empty when the capacity is known and every order was asked about."""
        missing = len(self.waits_s) - len(self.known())
        if (why := self.capacity.why_invalid()) or not missing:
            return why or Run(len(self.waits_s), 1.0, simulator=self.simulator).why_invalid()
        return f"{missing} of {len(self.waits_s)} orders were not asked about"


def arrivals(rate: float, count: int, seed: int) -> list[float]:
    """Seconds from the begin at which so many come, at random and independent of each other, `rate` a second."""
    chance = random.Random(seed)
    return list(accumulate(chance.expovariate(rate) for _ in range(count)))


def below(values: Sequence[float], share: float) -> float:
    """The least of the values that `share` of them do not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


def queueing(runs: Sequence[Loaded], load: float) -> dict[str, object]:
    """`valid`, and `trouble` where it is not; the waits under this share of the capacity, over the repetitions."""
    troubles = [why for run in runs if (why := run.why_invalid())]
    waits = [known for run in runs if (known := run.known())]
    parts = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    found = {name: spread([below(one, share) for one in waits], 3) for name, share in parts.items()} if waits else {}
    return {
        "valid": not troubles,
        **({"trouble": troubles} if troubles else {}),
        "offered_load": load,
        **({"p99_s": found["p99"]["median"]} if found else {}),
        "queueing_s": found,
        "offered_per_s": spread([run.offered for run in runs], 1),
        "capacity_per_s": spread([run.capacity.per_s for run in runs], 1),
        "orders": sum(len(run.waits_s) for run in runs),
        "simulator_cpu": round(max(max(run.simulator, run.capacity.simulator) for run in runs), 2),
        "repetitions": len(runs),
    }


def machine() -> dict[str, object]:
    """What it ran on."""
    system, python = f"{platform.system()} {platform.machine()}", platform.python_version()
    return {
        "machine": f"{system}, {os.cpu_count()} cores, Python {python}",
        "load": round(os.getloadavg()[0], 1),
    }
