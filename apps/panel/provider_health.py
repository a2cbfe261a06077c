"""How an account does: what came of its purchases by day, how fast it answers, its breaker, money and mappings."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

from django.db.models import Avg, Count, DurationField, ExpressionWrapper, F, Max
from django.db.models.functions import TruncDate

from apps.catalog.models import Package
from apps.orders.models import Attempt, Evidence
from apps.orders.sellable import Finding, look_at, missing_for_sale
from apps.orders.states import AttemptState
from apps.panel.providing import in_order
from apps.panel.today import hours_left
from apps.providers import breaker
from apps.providers.balances import last_value
from apps.providers.breaker import Standing
from apps.providers.catalogue_models import CatalogItem
from apps.providers.models import Integration, PackageMapping, Route

A = AttemptState

DAYS = 14
LISTED = 50
"""Packages that are named one by one."""

KINDS = {
    "delivered": (A.DELIVERED, A.PARTIAL),
    "refused": (A.REFUSED, A.FAILED, A.ABSENT),
    "given_up": (A.ABANDONED, A.REVERSED),
    "in_doubt": (A.IN_DOUBT,),
    "unsent": (A.NOT_SENT,),
    "open": (A.PREPARED, A.SENDING, A.ACCEPTED),
}
"""What a purchase counts as; every state is in one of them."""


@dataclass(frozen=True, slots=True)
class HealthDay:
    """One day's purchases by what came of them, and the mean times: of a purchase until delivered, and of an answer."""

    day: date
    counts: Counter[str]
    seconds: int | None
    answer_ms: int | None
    worst_ms: int | None

    @property
    def percent(self) -> int | None:
        """The share that delivered of those that ended, rounded down; None where none has."""
        ended = self.counts["delivered"] + self.counts["refused"] + self.counts["given_up"]
        return 100 * self.counts["delivered"] // ended if ended else None


@dataclass(frozen=True, slots=True)
class Unsold:
    """A package that comes from this account and cannot be sold, and why."""

    package: Package
    why: list[Finding]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the shop's packages the account has, and what of it cannot be sold."""

    packages: int
    mapped: int
    routed: int
    listed: int
    unsold: list[Unsold]
    unsold_count: int


@dataclass(frozen=True, slots=True)
class Health:
    """Everything about an account. `hours_left`: how long its money lasts at the last day's pace, where it is known."""

    days: list[HealthDay]
    standing: Standing
    hours_left: int | None
    coverage: Coverage


def load_health(account: Integration, now: datetime, zone: tzinfo) -> Health:
    """The last two weeks, the newest day first, days of the shop."""
    reading = last_value(account)
    micros = reading.amount_micros if reading is not None and reading.currency == account.currency else None
    return Health(
        days=load_days(account, now, zone),
        standing=breaker.standing_of(account.pk, now),
        hours_left=None if micros is None else hours_left(account, micros, now),
        coverage=load_coverage(account, now),
    )


def load_days(account: Integration, now: datetime, zone: tzinfo) -> list[HealthDay]:
    """The days on which something was bought there; three queries."""
    first = (now - timedelta(days=DAYS - 1)).astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    recent = Attempt.objects.filter(integration=account, created_at__gte=first).order_by()
    by_day = recent.annotate(day=TruncDate("created_at", tzinfo=zone)).values("day")
    counts: dict[date, Counter[str]] = defaultdict(Counter)
    for row in by_day.values("day", "state").annotate(found=Count("pk")):
        counts[row["day"]][kind_of(row["state"])] += row["found"]
    took = ExpressionWrapper(F("delivered_at") - F("created_at"), output_field=DurationField())
    delivered = by_day.filter(state=A.DELIVERED, delivered_at__isnull=False).annotate(took=Avg(took))
    seconds = {row["day"]: int(row["took"].total_seconds()) for row in delivered.values("day", "took")}
    answers = Evidence.objects.filter(attempt__in=recent, latency_ms__gt=0).order_by()
    told = answers.annotate(day=TruncDate("at", tzinfo=zone)).values("day")
    means = told.annotate(mean=Avg("latency_ms"), worst=Max("latency_ms"))
    latency = {row["day"]: (int(row["mean"]), int(row["worst"])) for row in means}
    return [_day(day, counts[day], seconds.get(day), latency.get(day)) for day in sorted(counts, reverse=True)]


def _day(day: date, counts: Counter[str], seconds: int | None, latency: tuple[int, int] | None) -> HealthDay:
    mean, worst = latency or (None, None)
    return HealthDay(day, counts, seconds, mean, worst)


def kind_of(state: str) -> str:
    """What a purchase in this state counts as."""
    return next(kind for kind, states in KINDS.items() if state in states)


def load_coverage(account: Integration, now: datetime) -> Coverage:
    """The shop's packages on sale, and how they come from here."""
    active = Package.objects.filter(tenant_id=account.tenant_id, is_active=True, product__is_active=True)
    routed = active.filter(pk__in=Route.objects.filter(integration=account, is_enabled=True).values("package_id"))
    mapped = PackageMapping.objects.filter(integration=account, package__in=active)
    found = in_order(routed.select_related("product", "tenant"))
    unsold = [
        Unsold(sale.package, blocking)
        for sale in look_at(found, now)
        if (blocking := [one for one in missing_for_sale(sale) if one.is_blocking])
    ]
    return Coverage(
        packages=active.count(),
        mapped=mapped.count(),
        routed=len(found),
        listed=CatalogItem.objects.filter(integration=account, is_listed=True).count(),
        unsold=unsold[:LISTED],
        unsold_count=len(unsold),
    )
