"""Every checkpoint with every fault, everyone who may resume, and every ability of a provider: one order for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.core.cache import cache

from apps.common.checkpoints import CHECKPOINTS
from apps.orders.models import DueCheck, Order
from apps.proof import verdict
from apps.proof.empty import empty_database
from apps.proof.faults import Swarm
from apps.proof.run import Plan, Run
from apps.proof.shop import WARES, Wish
from apps.simulator.fates import Fate

PROVIDERS = {"dedupes": "client-card", "queries": "znet-only", "neither": "smm", "asking buys": "digiflazz"}
"""What a provider can, and the package that is bought at one that can no more."""

RESUMERS = ("sweep", "duplicate task", "operator")
FAULTS = ("crash", "commit_unknown", "commit_failed", "pause")
POINTS = (*sorted(CHECKPOINTS), "line.written", "line.answered")
"""The checkpoints, and the two moments at which the process has a request on the wire."""

ALONE_FOR_S = 1800.0
"""Only the one who resumes is awake this long; then the sweeps come back."""


@dataclass(frozen=True, slots=True)
class Case:
    """One fault at one point."""

    point: str
    fault: str
    resumer: str
    provider: str

    def __str__(self) -> str:
        return f"{self.fault} at {self.point}, resumed by {self.resumer}, provider {self.provider}"


@dataclass(slots=True)
class Found:
    """What came of the cases: how many, how many of them reached their point, how each ended, what was wrong."""

    cases: int = 0
    reached: int = 0
    points: set[str] = field(default_factory=set)
    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def as_line(self, provider: str, resumer: str) -> dict[str, Any]:
        """The group as JSON-ready values."""
        return {
            "provider": provider,
            "resumer": resumer,
            "cases": self.cases,
            "reached": self.reached,
            "points": sorted(self.points),
            "ends": dict(self.ends),
            "wrong": self.wrong,
        }


def cases_of(provider: str, resumer: str) -> Iterator[Case]:
    """Every fault at every point that both can happen at."""
    for point in POINTS:
        for fault in FAULTS:
            if fault.startswith("commit") and not point.endswith("before_commit"):
                continue
            if fault == "pause" and (point.endswith("before_commit") or point == "line.written"):
                continue  # nobody stops for minutes with locks in hand, and nobody is stopped between check and write
            yield Case(point, fault, resumer, provider)


def play_group(provider: str, resumer: str) -> Found:
    """All cases of one provider and one who resumes."""
    return play_cases(list(cases_of(provider, resumer)))


def play_cases(cases: list[Case]) -> Found:
    """These cases, one after the other, on a database that is emptied first."""
    empty_database()
    cache.clear()
    run = PointRun(cases)
    with run.in_place():
        return run.play_cases()


class PointRun(Run):
    """A run whose only fault is the one of its present case."""

    def __init__(self, cases: list[Case]) -> None:
        super().__init__(Plan(0, orders=0, swarm=Swarm(frozenset())))
        self._cases = cases
        self._case = cases[0]
        self._is_over = False
        self._begin_s = 0.0
        self.is_calm = True
        for fates in self.line.fates.values():
            fates.always = Fate(complete_after_s=90)

    def play_cases(self) -> Found:
        """Each case until nothing is left to happen; then a judgement of all."""
        found = Found()
        for number, case in enumerate(self._cases, 1):
            self._play(number, case)
            found.cases += 1
            if self._is_over:
                found.reached += 1
                found.points.add(case.point)
            found.ends[self._end_of(number)] += 1
            for text in verdict.forgotten(self.facts()):
                found.wrong.append(f"{case}: {text}")
            DueCheck.objects.all().delete()  # a person has what is left of it
        judged = verdict.judge(self.facts(), is_open_looked_at=False)
        for kind, texts in judged.wrong.items():
            found.wrong += [f"{kind}: {text} ({self._cases[0].resumer}, {self._cases[0].provider})" for text in texts]
        return found

    def _play(self, number: int, case: Case) -> None:
        self._case, self._is_over, self._begin_s = case, False, self.clock.elapsed_s
        ware = next(ware for ware in WARES if ware.name == PROVIDERS[case.provider])
        wish = Wish(number, ware, self.shop.customers[0], 1)
        self.wishes.append(wish)
        self._send(wish)
        if case.resumer == "operator":
            for after_s in (30.0, 150.0, 700.0, 1500.0):
                self._later(after_s, lambda: self._click(number, "ask"))
        while self._turn():
            pass

    def _end_of(self, number: int) -> str:
        order = Order.objects.get(idempotency_key=self.wishes[number - 1].key)
        sold = sum(
            1 for entry in self.line.truth.all if entry["event"] == "bought" and entry["recipient"] == f"P{number:06}"
        )
        return f"{order.status}, {sold} bought"

    def _rest_at(self) -> float:
        return max(self._begin_s + ALONE_FOR_S, super()._rest_at() if self.line.truth.all else 0.0)

    def _next_sweep(self) -> float | None:
        at_s = super()._next_sweep()
        if at_s is not None and self._case.resumer != "sweep" and at_s < self._begin_s + ALONE_FOR_S:
            at_s = self._sweep_at = self._begin_s + ALONE_FOR_S
        return at_s

    def publish(self, task: str, args: list[Any], *, countdown: float = 0, expires: float | None = None) -> bool:
        """Messages arrive where tasks resume: twice, and again after each lease; else all of them are lost."""
        if self._case.resumer == "duplicate task":
            for again_s in (0.0, 1.0, 130.0, 800.0):
                self._message(task, args, countdown + again_s)
        return True

    def _draw(self, name: str, *, is_inside: bool) -> str:
        if self._is_over or name != self._case.point:
            return ""
        self._is_over = True
        return self._case.fault
