"""What runs have found, as one line for each and one for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.proof.run import Played
from apps.proof.verdict import FINDINGS

STORY_LINES = 60


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
        "statuses": verdict.by_status,
        "wrong": {kind: texts for kind, texts in verdict.wrong.items() if texts},
        "faults": sorted(played.plan.drawn().enabled),
        "errors": len(played.errors),
        "seconds": round(seconds, 2),
    }


@dataclass(slots=True)
class Tally:
    """All runs together."""

    seeds: int = 0
    failed: list[int] = field(default_factory=list)
    sums: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    in_doubt: Counter[str] = field(default_factory=Counter)
    resolved: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, line: Mapping[str, Any]) -> None:
        """One run more."""
        self.seeds += 1
        for name in ("orders", "purchases", "crashes", "commits", "pauses", "messages", "clicks", "line_faults"):
            self.sums[name] += line[name]
        self.wrong.update({kind: len(texts) for kind, texts in line["wrong"].items()})
        self.in_doubt.update(line["in_doubt"])
        self.resolved.update(line["resolved"])
        if line["wrong"]:
            self.failed.append(line["seed"])

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

    def as_dict(self) -> dict[str, Any]:
        """The counts, for one line of JSON."""
        return {
            "seeds": self.seeds,
            "orders": self.sums["orders"],
            "crashes": self.sums["crashes"],
            "in_doubt": self.in_doubt.total(),
            **{kind: self.wrong[kind] for kind in FINDINGS},
            "seconds": round(self.seconds, 1),
            "seeds_per_s": round(self.seeds / self.seconds, 3) if self.seconds else 0,
            "purchases": self.sums["purchases"],
            "lost_commits": self.sums["commits"],
            "pauses": self.sums["pauses"],
            "message_faults": self.sums["messages"],
            "line_faults": self.sums["line_faults"],
            "clicks": self.sums["clicks"],
            "in_doubt_by_kind": dict(sorted(self.in_doubt.items())),
            "resolved_without_person": dict(sorted(self.resolved.items())),
            "failed_seeds": self.failed,
        }


def story_lines(line: Mapping[str, Any]) -> Iterator[str]:
    """What is said of a run that found something."""
    if not line["wrong"]:
        return
    yield f"seed {line['seed']}: faults {', '.join(line['faults'])}"
    for kind, texts in line["wrong"].items():
        for text in texts[:STORY_LINES]:
            yield f"  {kind}: {text}"
