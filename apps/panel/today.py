"""What the first page of a day shows: what needs a person now, and how today goes; always by the same few queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from django.db.models import Avg, Count, DurationField, ExpressionWrapper, F, Max, Min, Q, Sum
from django.db.models.functions import TruncHour

from apps.common.money import Money
from apps.orders.models import Approval, Attempt, Case, DueCheck, Order
from apps.orders.states import AttemptState, OrderStatus
from apps.panel import words
from apps.panel.listing import OPEN_STATUSES
from apps.panel.review import Group, in_review, load_groups
from apps.providers.catalogue_models import BalanceReading
from apps.providers.models import Integration

A = AttemptState

DAY = timedelta(hours=24)
HOURS = 24
ENDED = (A.DELIVERED, A.PARTIAL, A.FAILED, A.REFUSED, A.ABSENT, A.ABANDONED, A.REVERSED)
"""Attempts that say something about a provider; those that were not sent say nothing."""

SPARK_WIDTH, SPARK_HEIGHT = 120, 28


@dataclass(frozen=True, slots=True)
class Needs:
    """What waits for people: orders in review by reason, requests, cases, work by hand, and what is late.

    `late_by` is how long the oldest due check has waited beyond its time; None when nothing is late.
    """

    groups: list[Group]
    requests: int
    cases: int
    tasks: int
    in_doubt: int
    late: int
    oldest_due: datetime | None


@dataclass(frozen=True, slots=True)
class Paused:
    """One account to which no new orders go, why, and until when."""

    account: Integration
    why: str


@dataclass(frozen=True, slots=True)
class LowBalance:
    """An account whose balance is below its alert; `hours_left` at the last day's pace (None: nothing was spent)."""

    account: Integration
    balance: Money
    as_of: datetime
    hours_left: int | None


@dataclass(frozen=True, slots=True)
class ProviderDay:
    """One provider in the last 24 hours: attempts that ended, how many of them delivered, and how long that took."""

    name: str
    ended: int
    delivered: int
    seconds: int | None
    spark: str

    @property
    def percent(self) -> int:
        """The share of attempts that delivered, rounded down: 100 means all."""
        return 100 * self.delivered // self.ended


@dataclass(frozen=True, slots=True)
class Day:
    """Today's orders: how many by status, and per currency what settled orders brought and left."""

    orders: int
    by_status: list[tuple[str, str, int]]
    margins: list[tuple[Money, Money, int]]
    spark: str


# --- what needs a person


def load_needs(tenant_ids: list[int], now: datetime) -> Needs:
    """Everything that waits for people in these shops."""
    open_orders = Order.objects.filter(tenant_id__in=tenant_ids, status__in=OPEN_STATUSES)
    attempts = Attempt.objects.filter(order__in=open_orders).aggregate(
        in_doubt=Count("pk", filter=Q(state=A.IN_DOUBT)), tasks=Count("pk", filter=Q(kind="manual", state=A.ACCEPTED))
    )
    late = DueCheck.objects.filter(order__tenant_id__in=tenant_ids, next_at__lt=now - timedelta(minutes=1))
    lateness = late.aggregate(late=Count("pk"), oldest=Min("next_at"))
    return Needs(
        groups=load_groups(in_review(tenant_ids, now, is_resting=False)),
        requests=Approval.objects.filter(order__tenant_id__in=tenant_ids, status=Approval.Status.PENDING).count(),
        cases=Case.objects.filter(order__tenant_id__in=tenant_ids, closed_at=None).count(),
        tasks=attempts["tasks"],
        in_doubt=attempts["in_doubt"],
        late=lateness["late"],
        oldest_due=lateness["oldest"],
    )


def load_paused(tenant_ids: list[int], now: datetime) -> list[Paused]:
    """The accounts that are paused at this moment."""
    accounts = Integration.objects.filter(tenant_id__in=tenant_ids, is_enabled=True, paused_until__gt=now)
    return [
        Paused(account, words.say(words.PAUSES, account.pause_reason)) for account in accounts.order_by("name", "id")
    ]


def load_low_balances(tenant_ids: list[int], now: datetime) -> list[LowBalance]:
    """The accounts whose last balance is below their alert, the emptiest first; three queries."""
    accounts = Integration.objects.filter(tenant_id__in=tenant_ids, is_enabled=True).select_related("watch")
    watched = [account for account in accounts if alert_of(account) is not None]
    read = BalanceReading.objects.filter(integration__in=watched, amount_micros__isnull=False)
    newest = list(read.values("integration_id").annotate(last=Max("pk")).values_list("last", flat=True))
    readings = {reading.integration_id: reading for reading in BalanceReading.objects.filter(pk__in=newest)}
    pace = _spent(watched, now)
    low = [
        _low(one, readings[one.pk], pace[one.pk])
        for one in watched
        if one.pk in readings and (readings[one.pk].amount_micros or 0) < (alert_of(one) or 0)
    ]
    return sorted(low, key=lambda one: (one.hours_left is None, one.hours_left or 0, one.account.name))


def _low(account: Integration, reading: BalanceReading, spent: int) -> LowBalance:
    micros = reading.amount_micros or 0
    return LowBalance(account, Money(micros, account.currency), reading.as_of, _at_pace(micros, spent))


def hours_left(account: Integration, micros: int, now: datetime) -> int | None:
    """How long so much money lasts at the account at the last day's pace; None where nothing was spent."""
    return _at_pace(micros, _spent([account], now)[account.pk])


def _at_pace(micros: int, spent: int) -> int | None:
    return max(micros, 0) * HOURS // spent if spent else None


def alert_of(account: Integration) -> int | None:
    """The micro-units below which the account's balance is called low."""
    watch = getattr(account, "watch", None)
    return watch.alert_below_micros if watch else None


def _spent(accounts: Sequence[Integration], now: datetime) -> Counter[int]:
    """What each account was charged in the last day, in its currency."""
    recent = Attempt.objects.filter(integration__in=accounts, order__created_at__gte=now - DAY, cost_micros__gt=0)
    sums = recent.order_by().values("integration_id").annotate(spent=Sum("cost_micros"))
    return Counter({row["integration_id"]: row["spent"] for row in sums})


# --- how today goes


def load_day(tenant_ids: list[int], now: datetime, zone: tzinfo) -> Day:
    """Today's orders in the shop's time zone."""
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    own = Order.objects.filter(tenant_id__in=tenant_ids)
    counts = dict(own.filter(created_at__gte=midnight).order_by().values_list("status").annotate(Count("pk")))
    settled = own.filter(settled_at__gte=midnight, cost_micros__isnull=False).order_by().values("currency")
    sums = settled.annotate(
        brought=Sum("captured_micros"), paid=Sum("cost_micros"), sold=Count("pk", filter=Q(captured_micros__gt=0))
    )
    margins = [
        (Money(row["brought"], row["currency"]), Money(row["brought"] - row["paid"], row["currency"]), row["sold"])
        for row in sums.order_by("currency")
    ]
    hours = own.filter(created_at__gt=now - DAY).order_by()
    return Day(
        orders=sum(counts.values()),
        by_status=[(status.value, str(status.label), counts[status]) for status in OrderStatus if status in counts],
        margins=margins,
        spark=spark_of(_by_hour(hours.annotate(hour=TruncHour("created_at")).values("hour"), now)),
    )


def _by_hour(rows: Any, now: datetime) -> list[int]:
    """How many in each of the last 24 hours, oldest first."""
    counted = {row["hour"]: row["found"] for row in rows.annotate(found=Count("pk")).order_by("hour")}
    last = now.replace(minute=0, second=0, microsecond=0)
    return [counted.get(last - timedelta(hours=back), 0) for back in reversed(range(HOURS))]


def load_providers(tenant_ids: list[int], now: datetime) -> list[ProviderDay]:
    """Every provider that had an attempt in the last 24 hours, by name; one query for the sums, one for the lines."""
    recent = Attempt.objects.filter(
        order__tenant_id__in=tenant_ids, order__created_at__gt=now - DAY, state__in=ENDED
    ).order_by()
    took = ExpressionWrapper(F("delivered_at") - F("created_at"), output_field=DurationField())
    good = Q(state=A.DELIVERED)
    sums = recent.values("integration_name").annotate(
        ended=Count("pk"), delivered=Count("pk", filter=good), took=Avg(took, filter=good)
    )
    hourly = recent.filter(good).annotate(hour=TruncHour("created_at")).values("integration_name", "hour")
    counted = {(row["integration_name"], row["hour"]): row["found"] for row in hourly.annotate(found=Count("pk"))}
    last = now.replace(minute=0, second=0, microsecond=0)
    hours = [last - timedelta(hours=back) for back in reversed(range(HOURS))]
    return [
        ProviderDay(
            name=row["integration_name"],
            ended=row["ended"],
            delivered=row["delivered"],
            seconds=None if row["took"] is None else int(row["took"].total_seconds()),
            spark=spark_of([counted.get((row["integration_name"], hour), 0) for hour in hours]),
        )
        for row in sums.order_by("integration_name")
    ]


def spark_of(values: Sequence[int]) -> str:
    """The points of an SVG line through these values, the highest at the top; empty when all are zero."""
    top = max(values, default=0)
    if not top:
        return ""
    step = SPARK_WIDTH / (len(values) - 1)
    low = SPARK_HEIGHT - 2
    return " ".join(f"{n * step:.1f},{low - value * (low - 2) / top:.1f}" for n, value in enumerate(values))
