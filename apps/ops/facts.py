"""What alerts and metrics are made of: one view of the whole installation, read cheaply. No names, no secrets.

Orders and accounts of sandboxes are left out: whatever test keys do there, nobody is called for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Count, Min, QuerySet, Sum

from apps.accounts.models import sandboxes
from apps.common.kept import Kept
from apps.journal.loops import BY_NAME, HOOKS, SWEEP, last_beats
from apps.journal.models import Heartbeat, OutboxEvent
from apps.ops import answers, schedule
from apps.ops.answers import Totals
from apps.orders import local
from apps.orders.models import Attempt, AttemptUnit, DueCheck, Order
from apps.orders.states import OPEN_ORDERS, AttemptState, DueKind, OrderStatus, UnitStatus
from apps.providers.breaker import State
from apps.providers.catalogue_models import AccountWatch
from apps.providers.contract import Outcome
from apps.providers.models import Integration
from apps.providers.traffic_models import Breaker
from apps.providers.troubles import TROUBLES
from apps.webhooks.models import WebhookEndpoint, due_deliveries

MONEY_CHECK = "money_check"
"""The heartbeat that says when all money was last recounted; its detail has the number of disagreements."""

ONE_ACCOUNT = 1000
"""Accounts that are watched one by one, at most."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """So many of something, the oldest waiting for so many seconds (None when there are none)."""

    count: int
    oldest_s: float | None


NOBODY = Waiting(0, None)


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """One enabled provider account. Durations in seconds, None where it is not so.

    `is_paused`: a trouble of ours that waiting does not mend. `odd_s`: since its last answer that meant nothing to us.
    """

    pk: int
    tenant_id: int
    kind: str
    breaker: State
    open_s: float | None
    is_paused: bool
    is_low: bool
    odd_s: float | None
    is_hook_silent: bool


@dataclass(frozen=True, slots=True)
class ShelfFacts:
    """A shelf that packages come from and that is low. `key` tells it from the others of its account."""

    account: int
    tenant_id: int
    key: str
    name: str
    left: int


@dataclass(frozen=True, slots=True)
class EndpointFacts:
    """A customer's webhook endpoint that the hub has paused, because it took nothing or said that it is gone."""

    pk: int
    tenant_id: int
    customer: int


@dataclass(frozen=True, slots=True)
class MoneyFacts:
    """What the last recount of all money found, and how long ago."""

    problems: int
    age_s: float


@dataclass(frozen=True, slots=True)
class Facts:
    """The whole installation at `now`.

    `loops`: seconds since each was heard of. `due`: what is due by kind of row. `at_risk`: micro-units of purchases in
    doubt by currency. `reviews` by reason. `transaction_s`: the oldest open one, None where the database does not
    tell. `disabled`: entries of the schedule that do not run. `events`: what should have gone out to customers whose
    endpoints take what they are sent.
    """

    now: datetime
    loops: Mapping[str, float | None]
    due: Mapping[str, Waiting]
    open_orders: Mapping[str, int]
    in_doubt: Waiting
    at_risk: Mapping[str, int]
    reviews: Mapping[str, Waiting]
    accounts: tuple[AccountFacts, ...]
    low_shelves: tuple[ShelfFacts, ...]
    transaction_s: float | None
    disabled: tuple[str, ...]
    money: MoneyFacts | None
    events: Waiting
    paused_endpoints: tuple[EndpointFacts, ...]
    totals: Totals


def load_facts(now: datetime) -> Facts:
    """Read everything at `now`; every query has an index or reads what is open alone."""
    totals = answers.load_totals()
    return Facts(
        now=now,
        loops={name: seconds_since(at, now) for name, at in last_beats().items()},
        due=due_rows(now),
        open_orders=open_orders(),
        in_doubt=in_doubt(now),
        at_risk=at_risk(),
        reviews=reviews(now),
        accounts=accounts(now, totals),
        low_shelves=_low_shelves.get(now),
        transaction_s=oldest_transaction_s(),
        disabled=disabled_entries(),
        money=last_money_check(now),
        events=late_events(now),
        paused_endpoints=paused_endpoints(),
        totals=totals,
    )


def seconds_since(at: datetime | None, now: datetime) -> float | None:
    """Whole-tenth seconds; a clock that is a little ahead counts as now."""
    return None if at is None else round(max((now - at).total_seconds(), 0.0), 1)


def _real_accounts() -> QuerySet[Integration]:
    return Integration.objects.exclude(tenant__in=sandboxes())


# --- orders


def due_rows(now: datetime) -> dict[str, Waiting]:
    """What is due by kind of row: the index by lane is asked lane by lane, so what is not due yet is not read."""
    lanes = [0, *_real_accounts().values_list("pk", flat=True)]
    due = DueCheck.objects.filter(lane__in=lanes, next_at__lte=now).order_by()
    found = {
        row["kind"]: Waiting(row["count"], seconds_since(row["first"], now))
        for row in due.values("kind").annotate(count=Count("pk"), first=Min("next_at"))
    }
    return {kind: found.get(kind, NOBODY) for kind in DueKind.values}


def open_orders() -> dict[str, int]:
    """Open orders by status."""
    real = Order.objects.filter(status__in=OPEN_ORDERS).exclude(tenant__in=sandboxes())
    counted = real.order_by().values_list("status").annotate(n=Count("pk"))
    found = dict(counted)
    return {str(status): found.get(status, 0) for status in OPEN_ORDERS}


def in_doubt(now: datetime) -> Waiting:
    """Purchases of which nobody knows whether they were made."""
    real = Attempt.objects.filter(state=AttemptState.IN_DOUBT, integration__in=_real_accounts())
    row = real.aggregate(count=Count("pk"), first=Min("doubt_since"))
    return Waiting(row["count"], seconds_since(row["first"], now))


def at_risk() -> dict[str, int]:
    """The customers' money that is held for purchases in doubt, by currency."""
    held = AttemptUnit.objects.filter(
        attempt__state=AttemptState.IN_DOUBT,
        attempt__integration__in=_real_accounts(),
        holds=True,
        unit__status=UnitStatus.HELD,
    ).order_by()
    return dict(held.values_list("unit__order__currency").annotate(sum=Sum("unit__amount_micros")))


def reviews(now: datetime) -> dict[str, Waiting]:
    """Orders that a person must look at, by reason; their age counts from their last change."""
    waiting = Order.objects.filter(status=OrderStatus.REVIEW).exclude(tenant__in=sandboxes()).order_by()
    return {
        row["reason"]: Waiting(row["count"], seconds_since(row["first"], now))
        for row in waiting.values("reason").annotate(count=Count("pk"), first=Min("updated_at"))
    }


# --- accounts


def accounts(now: datetime, totals: Totals) -> tuple[AccountFacts, ...]:
    """Every enabled account of an active shop."""
    used = _real_accounts().filter(is_enabled=True, tenant__is_active=True).order_by("pk")[:ONE_ACCOUNT]
    breakers = Breaker.objects.in_bulk()
    low = set(AccountWatch.objects.filter(low_since__isnull=False).values_list("pk", flat=True))
    hooks = Heartbeat.objects.filter(name=BY_NAME[HOOKS].heartbeat).first()
    silent = set(hooks.detail.get("silent", ())) if hooks else set()
    return tuple(
        AccountFacts(
            pk=one.pk,
            tenant_id=one.tenant_id,
            kind=one.kind,
            breaker=breaker_state(breakers.get(one.pk), now),
            open_s=seconds_since(breakers[one.pk].opened_at, now) if one.pk in breakers else None,
            is_paused=bool(one.troubles) and one.pause_reason not in ("", TROUBLES[Outcome.RATE_LIMITED]),
            is_low=one.pk in low,
            odd_s=now.timestamp() - totals.odd[one.pk] if one.pk in totals.odd else None,
            is_hook_silent=one.pk in silent,
        )
        for one in used
    )


def breaker_state(row: Breaker | None, now: datetime) -> State:
    """The state of a breaker's row; an account without one answers."""
    if row is None or row.opened_at is None or row.next_probe_at is None:
        return State.CLOSED
    return State.HALF_OPEN if row.next_probe_at <= now else State.OPEN


def low_shelves(now: datetime) -> tuple[ShelfFacts, ...]:
    """Shelves of our own stock that are low and that packages come from."""
    shelves = local.load_shelves(Integration.objects.filter(is_enabled=True, tenant__is_active=True), now)
    return tuple(
        ShelfFacts(
            account=shelf.integration.pk,
            tenant_id=shelf.integration.tenant_id,
            key=hashlib.sha256(shelf.name.encode()).hexdigest()[:12],
            name=shelf.name[:60],
            left=shelf.left,
        )
        for shelf in shelves
        if shelf.is_low
    )


_low_shelves = Kept(low_shelves, timedelta(minutes=1))
"""Counting a stock reads all of it: once a minute is enough."""

# --- events


def late_events(now: datetime) -> Waiting:
    """What lies in the outbox, and what is due for endpoints that are well; a failing one waits on purpose."""
    outbox = OutboxEvent.objects.filter(published_at=None).aggregate(count=Count("pk"), first=Min("created_at"))
    due = due_deliveries(now).filter(endpoint__failing_since=None)
    deliveries = due.aggregate(count=Count("pk"), first=Min("next_at"))
    ages = [seconds_since(found["first"], now) for found in (outbox, deliveries)]
    return Waiting(outbox["count"] + deliveries["count"], max((age for age in ages if age is not None), default=None))


def paused_endpoints() -> tuple[EndpointFacts, ...]:
    """Endpoints that the hub has paused by itself; what a customer has paused is nobody's trouble."""
    by_us = (WebhookEndpoint.Pause.GONE, WebhookEndpoint.Pause.FAILING)
    paused = WebhookEndpoint.objects.filter(pause__in=by_us, deleted_at=None).order_by("pk")
    rows = paused.values_list("pk", "customer__tenant_id", "customer_id")[:ONE_ACCOUNT]
    return tuple(EndpointFacts(*row) for row in rows)


# --- the machinery


def oldest_transaction_s() -> float | None:
    """How long the oldest transaction of this database has been open; None where the database does not tell."""
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM clock_timestamp() - min(xact_start)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        found = cursor.fetchone()[0]
    return 0.0 if found is None else round(max(float(found), 0.0), 1)


def disabled_entries() -> tuple[str, ...]:
    """Entries of the schedule that are missing or switched off; the sweep may have another name."""
    entries = schedule.load_entries()
    running = {entry.name for entry in entries if entry.is_enabled}
    running |= {schedule.SWEEP.name} if schedule.is_sweep_enabled(entries) else set()
    return tuple(periodic.name for periodic in schedule.SCHEDULE if periodic.name not in running)


def last_sweep_late_s() -> float | None:
    """How long the row that had waited longest was due when the last sweep came to it; None before the first sweep."""
    row = Heartbeat.objects.filter(name=BY_NAME[SWEEP].heartbeat).first()
    return None if row is None or "late_s" not in row.detail else float(row.detail["late_s"])


def last_money_check(now: datetime) -> MoneyFacts | None:
    """What the last recount found; None when there never was one."""
    row = Heartbeat.objects.filter(name=MONEY_CHECK).exclude(beat_at=None).first()
    if row is None:
        return None
    return MoneyFacts(int(row.detail.get("problems", 0)), seconds_since(row.beat_at, now) or 0.0)
