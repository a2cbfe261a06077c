"""What runs have found, as one line for each and one for all."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from apps.proof.baseline import FINDINGS as OLD_FINDINGS
from apps.proof.points import POINTS
from apps.proof.run import Played
from apps.proof.verdict import FINDINGS

STORY_LINES = 60
SUMMED = ("orders", "purchases", "crashes", "commits", "pauses", "messages", "clicks", "line_faults")


def as_line(played: Played, seconds: float) -> dict[str, Any]:
    """One run as JSON-ready values; the story only where something was wrong."""
    verdict, counts = played.verdict, played.counts
    return {
        "seed": played.plan.seed,
        "orders": verdict.orders,
        "purchases": verdict.purchases,
        "crashes": counts.crashes,
        "commits": counts.commits,
        "pauses": counts.pauses,
        "messages": counts.messages,
        "clicks": counts.operators,
        "line_faults": played.line_faults,
        "in_doubt": verdict.in_doubt,
        "resolved": verdict.resolved,
        "answerable": verdict.answerable,
        "answered": verdict.answered,
        "statuses": verdict.by_status,
        "wrong": {kind: texts for kind, texts in verdict.wrong.items() if texts},
        "faults": sorted(played.plan.drawn().enabled),
        "errors": len(played.errors),
        "seconds": round(seconds, 2),
    }


class Tally:
    """The results of one mode, added up."""

    def add(self, line: Mapping[str, Any]) -> None:
        """One result more."""
        raise NotImplementedError

    def lines(self, line: Mapping[str, Any]) -> Iterator[str]:
        """What is said of one result."""
        return iter(())

    @property
    def is_wrong(self) -> bool:
        """Whether anything was found."""
        return False

    def why_invalid(self) -> str:
        """Why a clean result says nothing; empty when it does say something."""
        return ""

    def as_dict(self, seconds: float) -> dict[str, Any]:
        """The counts, for one line of JSON."""
        raise NotImplementedError


class Seeds(Tally):
    """Seeded runs together."""

    def __init__(self) -> None:
        self.seeds = 0
        self.failed: list[int] = []
        self.sums: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.in_doubt: Counter[str] = Counter()
        self.resolved: Counter[str] = Counter()
        self.answerable: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()

    def add(self, line: Mapping[str, Any]) -> None:
        """One run more."""
        self.seeds += 1
        self.sums.update({name: line[name] for name in SUMMED})
        self.wrong.update({kind: len(texts) for kind, texts in line["wrong"].items()})
        self.in_doubt.update(line["in_doubt"])
        self.resolved.update(line["resolved"])
        self.answerable.update(line["answerable"])
        self.answered.update(line["answered"])
        if line["wrong"]:
            self.failed.append(line["seed"])

    def lines(self, line: Mapping[str, Any]) -> Iterator[str]:
        """The story of a run that found something."""
        if line["wrong"]:
            yield f"seed {line['seed']}: faults {', '.join(line['faults'])}"
            yield from (f"  {kind}: {text}" for kind, texts in line["wrong"].items() for text in texts[:STORY_LINES])
            yield from (f"  {text}" for text in line.get("story", ())[:STORY_LINES])

    @property
    def is_wrong(self) -> bool:
        """Whether any run found anything."""
        return bool(self.failed)

    def why_invalid(self) -> str:
        """Why so little went wrong that a clean result says nothing; empty when enough did."""
        needed = max(1, self.sums["orders"] // 50)
        found = {"crashes": self.sums["crashes"] + self.sums["commits"], "attempts in doubt": self.in_doubt.total()}
        few = [f"{count} {name} (at least {needed} are needed)" for name, count in found.items() if count < needed]
        return f"too little went wrong: {', '.join(few)}" if few else ""

    def as_dict(self, seconds: float) -> dict[str, Any]:
        """The counts, for one line of JSON."""
        return {
            "seeds": self.seeds,
            "orders": self.sums["orders"],
            "crashes": self.sums["crashes"],
            "in_doubt": self.in_doubt.total(),
            **{kind: self.wrong[kind] for kind in FINDINGS},
            "seconds": round(seconds, 1),
            "seeds_per_s": round(self.seeds / seconds, 3) if seconds else 0,
            "purchases": self.sums["purchases"],
            "lost_commits": self.sums["commits"],
            "pauses": self.sums["pauses"],
            "message_faults": self.sums["messages"],
            "line_faults": self.sums["line_faults"],
            "clicks": self.sums["clicks"],
            "in_doubt_by_kind": dict(sorted(self.in_doubt.items())),
            "resolved_without_person": dict(sorted(self.resolved.items())),
            "answerable": dict(sorted(self.answerable.items())),
            "answered_without_person": dict(sorted(self.answered.items())),
            "failed_seeds": self.failed,
        }


class CrashPoints(Tally):
    """Groups of cases together."""

    def __init__(self) -> None:
        self.sums: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.points: set[str] = set()

    def add(self, line: Mapping[str, Any]) -> None:
        """One group more."""
        self.sums.update(cases=line["cases"], reached=line["reached"], wrong=len(line["wrong"]))
        self.ends.update(line["ends"])
        self.points.update(line["points"])

    def lines(self, line: Mapping[str, Any]) -> Iterator[str]:
        """How each group ended, and every case that was wrong."""
        ends = ", ".join(f"{count} {end}" for end, count in sorted(line["ends"].items()))
        yield f"provider {line['provider']}, resumed by {line['resumer']}: {line['cases']} cases: {ends}"
        yield from (f"  WRONG: {text}" for text in line["wrong"])

    @property
    def is_wrong(self) -> bool:
        """Whether any case was wrong."""
        return bool(self.sums["wrong"])

    def why_invalid(self) -> str:
        """Every point must have been reached by some case."""
        missed = sorted(set(POINTS) - self.points)
        return f"no case reached {', '.join(missed)}" if missed else ""

    def as_dict(self, seconds: float) -> dict[str, Any]:
        """The counts, for one line of JSON."""
        ends = dict(sorted(self.ends.items()))
        return {**self.sums, "points": len(self.points), "ends": ends, "seconds": round(seconds, 1)}


class Mutants(Tally):
    """All guards together."""

    def __init__(self) -> None:
        self.results: list[Mapping[str, Any]] = []

    def add(self, line: Mapping[str, Any]) -> None:
        """One guard more."""
        self.results.append(line)

    def lines(self, line: Mapping[str, Any]) -> Iterator[str]:
        """One row of the table."""
        killed = f"killed in seed {line['seeds_to_kill']}" if line["seeds_to_kill"] else "SURVIVED"
        alone = {None: "", True: f"; alone: harmless, covered by {line['twin']}", False: "; alone: NOT harmless"}
        told = f"{line['name']:<20} {killed:<18} {', '.join(line['findings'])}{alone[line['is_harmless_alone']]}"
        yield f"{told}  ({line['what']})"

    @property
    def is_wrong(self) -> bool:
        """Whether a guard could be off without anybody noticing."""
        return not all(line["is_killed"] for line in self.results)

    def as_dict(self, seconds: float) -> dict[str, Any]:
        """The counts, for one line of JSON."""
        tries = [line["seeds_to_kill"] for line in self.results if line["is_killed"]]
        middle = statistics.median(tries) if tries else None
        counts = {"mutants": len(self.results), "killed": len(tries), "median_seeds_to_kill": middle}
        return {**counts, "seconds": round(seconds, 1)}


class Baseline(Tally):
    """The old algorithm's seeds together."""

    def __init__(self) -> None:
        self.sums: Counter[str] = Counter()

    def add(self, line: Mapping[str, Any]) -> None:
        """One seed more."""
        self.sums.update({name: line[name] for name in ("orders", *OLD_FINDINGS)}, seeds=1)

    def as_dict(self, seconds: float) -> dict[str, Any]:
        """The counts, and what they are for 10,000 orders."""
        per = {name: round(10_000 * self.sums[name] / max(self.sums["orders"], 1)) for name in OLD_FINDINGS}
        return {**self.sums, "per_10000_orders": per, "seconds": round(seconds, 1)}
