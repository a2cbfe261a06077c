"""`/metrics` for Prometheus: all is read from the database, so each process tells the same. No names, no secrets.

Labels are words of fixed tables and numbers of provider accounts; what is in no table is counted as `other`.
"""

from __future__ import annotations

import hmac
import platform
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from apps.common.kept import Kept
from apps.common.money import MICRO
from apps.journal import alerts
from apps.journal.alerts import KINDS
from apps.ops.answers import BOUNDS_MS, Totals
from apps.ops.facts import Facts, last_sweep_late_s, load_facts
from apps.orders.polling import learning
from apps.panel.build import running_build
from apps.panel.words import REASONS
from apps.providers.breaker import State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
KEPT_FOR = timedelta(seconds=5)
"""Scrapes within five seconds get the same text from a process."""

MOST_ACCOUNTS = 200
"""Provider accounts with series of their own, at most; the others are in the sums alone."""

OTHER = "other"

BREAKER_VALUES = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}

# --- who may read it

LOOPBACK = frozenset({"127.0.0.1", "::1"})
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_FORWARDED")
"""Set by a proxy on this machine, behind which everybody looks like a neighbour."""


def may_read(request: HttpRequest) -> bool:
    """Whoever has the token; where none is set, only who asks from this machine, and not through a proxy."""
    if settings.METRICS_TOKEN:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        return hmac.compare_digest(given.encode(), settings.METRICS_TOKEN.encode())
    is_forwarded = any(name in request.META for name in FORWARDED)
    return request.META.get("REMOTE_ADDR") in LOOPBACK and not is_forwarded


# --- the text


def exposition(now: datetime) -> bytes:
    """All metrics as text, at most five seconds old."""
    return _text.get(now)


def _render(now: datetime) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(HubCollector(now))
    return generate_latest(registry)


_text = Kept(_render, KEPT_FOR)


class HubCollector(Collector):
    """Reads the facts when it is asked."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def describe(self) -> Iterable[Metric]:
        """Nothing is read to register it."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric. A database that does not answer is told by `hub_database_up`, and by what is missing."""
        yield _gauge("hub_build_info", "What is running.", {build_labels(): 1}, ("version", "python", "database"))
        try:
            metrics = list(of_facts(load_facts(self._now)))
        except Error:
            yield _gauge("hub_database_up", "1 while the database can be read.", {(): 0})
            return
        yield _gauge("hub_database_up", "1 while the database can be read.", {(): 1})
        yield from metrics


def build_labels() -> tuple[str, ...]:
    """Version of the hub and of Python, and the kind of database."""
    return running_build(), platform.python_version(), connection.vendor


Labels = TypeVar("Labels", bound=tuple[str, ...])


def _gauge(name: str, says: str, series: Mapping[Labels, float | None], labels: tuple[str, ...] = ()) -> Metric:
    """A gauge; what is not known has no value."""
    family = GaugeMetricFamily(name, says, labels=labels)
    for values, value in series.items():
        if value is not None:
            family.add_metric(list(values), value)
    return family


def of_facts(facts: Facts) -> Iterator[Metric]:
    """Everything that the facts tell."""
    yield from _of_loops(facts)
    yield from _of_orders(facts)
    yield from _of_accounts(facts)
    yield from _of_events(facts)
    yield from _of_answers(facts.totals)
    yield from _of_asking()
    yield from _of_alerts()


def _of_loops(facts: Facts) -> Iterator[Metric]:
    ages = {(name,): age for name, age in facts.loops.items()}
    yield _gauge("hub_loop_silent_seconds", "Seconds since each loop was last heard of.", ages, ("loop",))
    disabled = {(): float(len(facts.disabled))}
    yield _gauge("hub_schedule_disabled", "Entries of the schedule that are missing or switched off.", disabled)
    oldest = {(): facts.transaction_s}
    yield _gauge("hub_oldest_transaction_seconds", "Age of the oldest open transaction (PostgreSQL).", oldest)
    if facts.money is not None:
        wrong, age = {(): float(facts.money.problems)}, {(): facts.money.age_s}
        yield _gauge("hub_money_problems", "Disagreements that the last recount of all money found.", wrong)
        yield _gauge("hub_money_checked_seconds", "Seconds since all money was last recounted.", age)


def _of_orders(facts: Facts) -> Iterator[Metric]:
    due = facts.due.items()
    counts = {(kind,): float(waiting.count) for kind, waiting in due}
    oldest = {(kind,): waiting.oldest_s or 0.0 for kind, waiting in due}
    yield _gauge("hub_due_rows", "What is due now, by what it wants.", counts, ("kind",))
    yield _gauge("hub_due_oldest_seconds", "For how long the first of them has been due.", oldest, ("kind",))
    statuses = {(status,): float(count) for status, count in facts.open_orders.items()}
    yield _gauge("hub_open_orders", "Open orders by status.", statuses, ("status",))
    yield _gauge("hub_in_doubt", "Purchases in doubt.", {(): float(facts.in_doubt.count)})
    yield _gauge("hub_in_doubt_oldest_seconds", "Age of the oldest doubt.", {(): facts.in_doubt.oldest_s or 0.0})
    money = {(currency,): micros / MICRO for currency, micros in facts.at_risk.items()}
    yield _gauge("hub_in_doubt_money", "Money held for purchases in doubt, in units.", money, ("currency",))
    yield from _of_reviews(facts)


def _of_reviews(facts: Facts) -> Iterator[Metric]:
    counts: dict[tuple[str, ...], float] = {}
    oldest: dict[tuple[str, ...], float] = {}
    for reason, waiting in facts.reviews.items():
        key = (reason if reason in REASONS else OTHER,)
        counts[key] = counts.get(key, 0) + waiting.count
        oldest[key] = max(oldest.get(key, 0), waiting.oldest_s or 0.0)
    yield _gauge("hub_review_orders", "Orders that a person must look at, by reason.", counts, ("reason",))
    yield _gauge("hub_review_oldest_seconds", "Since the first of them last changed.", oldest, ("reason",))


def _of_accounts(facts: Facts) -> Iterator[Metric]:
    shown = facts.accounts[:MOST_ACCOUNTS]
    labels = ("account", "kind")
    states = {(str(one.pk), one.kind): float(BREAKER_VALUES[one.breaker]) for one in shown}
    yield _gauge("hub_breaker_state", "0 closed, 1 half open, 2 open.", states, labels)
    paused = {(str(one.pk), one.kind): float(one.is_paused) for one in shown}
    yield _gauge("hub_account_paused", "1 while our balance or login there must be mended.", paused, labels)
    low = {(str(one.pk), one.kind): float(one.is_low) for one in shown}
    yield _gauge("hub_balance_low", "1 while our balance there is below the shop's limit.", low, labels)
    yield _gauge("hub_shelves_low", "Shelves of own stock that are low.", {(): float(len(facts.low_shelves))})


def _of_events(facts: Facts) -> Iterator[Metric]:
    waiting, oldest = {(): float(facts.events.count)}, {(): facts.events.oldest_s or 0.0}
    yield _gauge("hub_events_waiting", "Events that should have gone out to customers.", waiting)
    yield _gauge("hub_events_oldest_seconds", "For how long the first of them has waited.", oldest)
    paused = {(): float(len(facts.paused_endpoints))}
    yield _gauge("hub_endpoints_paused", "Webhook endpoints of customers that the hub has paused.", paused)


def _of_answers(totals: Totals) -> Iterator[Metric]:
    answers = CounterMetricFamily(
        "hub_provider_answers", "Answers of providers that told something new.", labels=("kind", "verb", "outcome")
    )
    for key, count in sorted(totals.answers.items()):
        answers.add_metric(list(key), count)
    yield answers
    latency = HistogramMetricFamily(
        "hub_provider_latency_seconds", "How long these answers took.", labels=("kind", "verb")
    )
    for key, row in sorted(totals.latency.items()):
        latency.add_metric(list(key), cumulative(row[:-1]), row[-1] / 1000)
    yield latency


def cumulative(counts: list[int]) -> list[tuple[str, float]]:
    """Counts of separate buckets as Prometheus wants them: each with all below it, the last without an end."""
    ends = [str(bound / 1000) for bound in BOUNDS_MS] + ["+Inf"]
    total, buckets = 0, []
    for end, count in zip(ends, counts, strict=True):
        total += count
        buckets.append((end, float(total)))
    return buckets


def _of_asking() -> Iterator[Metric]:
    """What asking costs and how late an end is seen, as it was learned of the last 200 or so orders of each account."""
    known = list(learning.balances())[:MOST_ACCOUNTS]
    labels = ("account", "kind")
    asked = {(str(one.integration.pk), one.integration.kind): one.asked for one in known}
    yield _gauge("hub_questions_per_order", "Questions for each order that ended, lately.", asked, labels)
    late = {(str(one.integration.pk), one.integration.kind): one.lag_s for one in known}
    yield _gauge("hub_end_seen_late_seconds", "How long after its end an order is seen to end, lately.", late, labels)
    queued = {(): last_sweep_late_s()}
    yield _gauge("hub_asked_late_seconds", "Longest wait of a due order for its question, in the last sweep.", queued)


def _of_alerts() -> Iterator[Metric]:
    counts: dict[tuple[str, ...], float] = {(rule, str(kind.severity)): 0.0 for rule, kind in KINDS.items()}
    for episode in alerts.open_episodes():
        key = (episode.rule if episode.rule in KINDS else OTHER, str(alerts.severity_of(episode.rule)))
        counts[key] = counts.get(key, 0.0) + 1
    yield _gauge("hub_alerts_open", "Open alerts.", counts, ("rule", "severity"))
