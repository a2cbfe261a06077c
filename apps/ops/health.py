"""Whether this process can take orders, and whether the loops are alive: numbers, judged by pure functions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Min, QuerySet
from django.db.models.functions import Coalesce

from apps.accounts.models import sandboxes
from apps.common.crypto import CannotOpen, open_text, seal_text
from apps.common.kept import Kept
from apps.journal import loops as journal_loops
from apps.journal.loops import DISPATCH
from apps.ops import schedule
from apps.orders.models import Attempt, DueCheck, Order
from apps.orders.states import OPEN_ORDERS, AttemptState, DueKind, OrderStatus
from apps.providers.models import Integration

READY_FOR = timedelta(seconds=10)
"""So long a good answer about migrations and secrets is kept; a bad one is never kept."""

# --- can this process take orders?


def unapplied_migrations() -> list[str]:
    """Migrations of the code that the database lacks, as `app.name`."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def is_read_only() -> bool:
    """Whether the database refuses writes: a standby server, or a file without the right to write."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SHOW transaction_read_only")
            return bool(cursor.fetchone()[0] == "on")
    file = str(settings.DATABASES["default"]["NAME"])
    return os.path.exists(file) and not os.access(file, os.W_OK)


def unreadable_secrets() -> list[str]:
    """Ids of the provider accounts whose stored secrets no key of FIELD_KEYS opens."""
    open_text(seal_text("ready"))
    sealed = Integration.objects.exclude(sealed_secrets="").order_by("pk").values_list("pk", "sealed_secrets")
    return [str(pk) for pk, secrets in sealed if not _opens(secrets)]


def _opens(sealed: str) -> bool:
    try:
        open_text(sealed)
    except CannotOpen:
        return False
    return True


def not_ready(now: datetime) -> list[str]:
    """Why this process cannot take orders, in words for a person; empty when it can.

    The database is asked each time; a good answer about what changes seldom, and costs much to know, is kept for 10 s.
    """
    try:
        connection.ensure_connection()
        return _writable() or _prepared.get(now)
    except Error as error:
        return [f"the database does not answer ({type(error).__name__}): look at DATABASE_URL and the server"]


def _writable() -> list[str]:
    return ["the database is read-only: point DATABASE_URL at the primary server"] if is_read_only() else []


def not_prepared(now: datetime) -> list[str]:
    """What is missing of the tables and the keys, in words for a person."""
    missing = unapplied_migrations()
    if missing:
        return [f"{len(missing)} migrations are not applied, the first is {missing[0]}: run `manage.py migrate`"]
    try:
        closed = unreadable_secrets()
    except ImproperlyConfigured as error:
        return [f"FIELD_KEYS cannot be used: {error}"]
    if not closed:
        return []
    return [f"FIELD_KEYS does not open the secrets of {len(closed)} provider accounts: put the old key back"]


_prepared = Kept(not_prepared, READY_FOR, is_worth_keeping=lambda problems: not problems)

# --- are the loops alive?


@dataclass(frozen=True, slots=True)
class Loops:
    """Seconds since each loop was last heard of (None: never), and whether beat's table has the sweep switched on.

    `dispatch`: for how long the first order that should have been sent has been waiting; None when none does.
    """

    ages: Mapping[str, float | None]
    dispatch: float | None
    is_sweep_enabled: bool


@dataclass(frozen=True, slots=True)
class Work:
    """What lies in front of the loops. Ages in seconds; None when there is nothing to be old."""

    due_rows: int
    due_now: int
    oldest_due_s: float | None
    oldest_unchecked_s: float | None
    open_orders: int
    in_review: int
    in_doubt: int


def judge(loops: Loops) -> list[str]:
    """What is wrong with the loops, in words for a person; empty when all is well."""
    disabled = [] if loops.is_sweep_enabled else [f"{schedule.SWEEP.name} is missing or disabled in the schedule"]
    return [*disabled, *silences(loops)]


def silences(loops: Loops) -> list[str]:
    """The loops that have not been heard of for more than a minute, or as long as the setting says, in words."""
    silent = [_silence(name, age) for name, age in loops.ages.items() if journal_loops.is_down(name, age)]
    if loops.dispatch is None or loops.dispatch <= settings.LOOP_SILENT_AFTER_S:
        return silent
    return [*silent, f"an order has been waiting {loops.dispatch:.0f} s to be sent"]


def _silence(name: str, age: float | None) -> str:
    return f"{name} has never run" if age is None else f"{name} has been silent for {age:.0f} s"


def measure_loops(now: datetime) -> Loops:
    """Read the heartbeats, the orders that wait to be sent, and beat's table."""
    beats = journal_loops.last_beats()
    waiting = DueCheck.objects.filter(lane=0, kind=DueKind.DISPATCH, next_at__lte=now)
    return Loops(
        ages={name: _age(at, now) for name, at in beats.items()},
        dispatch=_age(waiting.order_by("next_at").values_list("next_at", flat=True).first(), now),
        is_sweep_enabled=schedule.is_sweep_enabled(schedule.load_entries()),
    )


def measure_work(now: datetime) -> Work:
    """Count the queue of record, and the open orders of all shops together without those of their sandboxes."""
    due_now = DueCheck.objects.filter(next_at__lte=now)
    asked = DueCheck.objects.filter(attempt__isnull=False, order__status__in=OPEN_ORDERS)
    open_orders = Order.objects.filter(status__in=OPEN_ORDERS).exclude(tenant__in=sandboxes())
    in_doubt = Attempt.objects.filter(state=AttemptState.IN_DOUBT).exclude(integration__tenant__in=sandboxes())
    return Work(
        due_rows=DueCheck.objects.count(),
        due_now=due_now.count(),
        oldest_due_s=_age(due_now.order_by("next_at").values_list("next_at", flat=True).first(), now),
        oldest_unchecked_s=_age(_oldest_look(asked), now),
        open_orders=open_orders.count(),
        in_review=open_orders.filter(status=OrderStatus.REVIEW).count(),
        in_doubt=in_doubt.count(),
    )


def _oldest_look(rows: QuerySet[DueCheck]) -> datetime | None:
    """The earliest of the times at which each attempt was last asked about, or made if it never was."""
    first: datetime | None = rows.aggregate(at=Min(Coalesce("asked_at", "attempt__created_at")))["at"]
    return first


def _age(at: datetime | None, now: datetime) -> float | None:
    """Whole-tenth seconds since `at`; a clock that is a little ahead counts as now."""
    return None if at is None else round(max((now - at).total_seconds(), 0.0), 1)


def status(now: datetime) -> dict[str, Any]:
    """The loops and the work as /statusz tells them: numbers of the whole installation, no shop's data."""
    try:
        loops, work = measure_loops(now), measure_work(now)
    except Error as error:
        return {"ok": False, "problems": [f"the database cannot be read ({type(error).__name__})"]}
    problems = judge(loops)
    seconds = {**loops.ages, DISPATCH: loops.dispatch or 0.0}
    return {"ok": not problems, "problems": problems, "seconds_since": seconds, "work": asdict(work)}
