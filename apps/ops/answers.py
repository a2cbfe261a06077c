"""What the providers answered, added up from the stored evidence: counted once, in order, by whoever watches.

The totals are one row of the database, so every process tells the same, and they only grow. A question whose answer is
the same as before leaves no evidence and is not counted here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from apps.journal.models import Heartbeat
from apps.orders.models import Evidence
from apps.providers.contract import Outcome

NAME = "answers_counted"
"""The heartbeat whose detail holds the totals."""

SETTLES_AFTER = timedelta(seconds=10)
"""Younger evidence waits: an id that was drawn earlier may be committed later."""

AT_ONCE = 5000
BOUNDS_MS = (50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000)
"""Upper ends of the latency's buckets; one more holds what took longer."""

FIELDS = (
    *("verb", "knowledge", "http_status", "outcome", "latency_ms", "at"),
    *("attempt__kind", "attempt__integration"),
)
"""What is read of a piece of evidence: never the sealed answer."""

VERBS = frozenset({"place", "find", "status"})


@dataclass(slots=True)
class Totals:
    """Answers by (kind, verb, outcome); by (kind, verb) the latency's buckets with the sum of milliseconds last.

    `odd` says for each account when it last gave an answer that was complete and meant nothing to us.
    """

    last_id: int = 0
    answers: dict[tuple[str, ...], int] = field(default_factory=lambda: defaultdict(int))
    latency: dict[tuple[str, ...], list[int]] = field(default_factory=dict)
    odd: dict[int, float] = field(default_factory=dict)

    @classmethod
    def read(cls, detail: dict[str, Any]) -> Totals:
        """From what is stored."""
        totals = cls(int(detail.get("last_id", 0)))
        totals.answers.update({tuple(key.split("|")): n for key, n in detail.get("answers", {}).items()})
        totals.latency.update({tuple(key.split("|")): row for key, row in detail.get("latency", {}).items()})
        totals.odd.update({int(key): at for key, at in detail.get("odd", {}).items()})
        return totals

    def stored(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "last_id": self.last_id,
            "answers": {"|".join(key): n for key, n in self.answers.items()},
            "latency": {"|".join(key): row for key, row in self.latency.items()},
            "odd": self.odd,
        }

    def add(self, rows: Iterable[Evidence]) -> None:
        """Count these, in the order of their ids."""
        for row in rows:
            self.last_id = row.pk
            if row.verb not in VERBS or row.knowledge in ("none", "local"):
                continue
            kind = row.attempt.kind
            self.answers[kind, row.verb, row.outcome] += 1
            buckets = self.latency.setdefault((kind, row.verb), [0] * (len(BOUNDS_MS) + 2))
            buckets[bisect_left(BOUNDS_MS, row.latency_ms)] += 1
            buckets[-1] += row.latency_ms
            if is_odd(row):
                self.odd[row.attempt.integration_id] = row.at.timestamp()


def is_odd(row: Evidence) -> bool:
    """Whether a question got a whole answer without an error's status that we have no meaning for."""
    is_whole = row.knowledge == "answered" and row.http_status is not None and row.http_status < 300
    return row.verb != "place" and is_whole and row.outcome == Outcome.UNKNOWN


def load_totals() -> Totals:
    """What was counted so far."""
    row = Heartbeat.objects.filter(name=NAME).first()
    return Totals.read(row.detail if row else {})


def count_new(now: datetime) -> None:
    """Add what came since. Two that count at once add it once: the slower one's sum is thrown away."""
    row, _ = Heartbeat.objects.get_or_create(name=NAME, defaults={"detail": Totals(last_id=_newest()).stored()})
    totals = Totals.read(row.detail)
    settled = _settled(totals.last_id, now)
    if not settled:
        return
    totals.add(settled)
    same = Q(beat_at=row.beat_at) if row.beat_at else Q(beat_at__isnull=True)
    Heartbeat.objects.filter(same, name=NAME).update(detail=totals.stored(), beat_at=now)


def _newest() -> int:
    """Counting begins here, not with what was bought in all the years before."""
    return Evidence.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def _settled(after_id: int, now: datetime) -> list[Evidence]:
    """The next evidence, as far as nothing older can still appear between."""
    rows = Evidence.objects.filter(pk__gt=after_id).select_related("attempt").only(*FIELDS).order_by("pk")[:AT_ONCE]
    found = []
    for row in rows:
        if row.at > now - SETTLES_AFTER:
            break
        found.append(row)
    return found
