"""Whether this process can take orders, and whether the loops are alive: numbers, judged by pure functions."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Min, QuerySet
from django.db.models.functions import Coalesce

from apps.common.crypto import CannotOpen, open_text, seal_text
from apps.journal.models import Heartbeat
from apps.ops import schedule
from apps.ops.tasks import WORKER
from apps.orders import monitoring
from apps.orders.models import DueCheck, Order
from apps.orders.states import SETTLED, AttemptState, OrderStatus
from apps.providers.models import Integration

SILENT_AFTER_S = 60
"""A loop that did not beat for longer than this is down."""

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


def not_ready() -> list[str]:
    """Why this process cannot take orders, in words for a person; empty when it can."""
    try:
        connection.ensure_connection()
        missing = unapplied_migrations()
        if missing:
            return [f"{len(missing)} migrations are not applied, the first is {missing[0]}: run `manage.py migrate`"]
        return [problem for ask in READINESS if (problem := ask())]
    except Error as error:
        return [f"the database does not answer ({type(error).__name__}): look at DATABASE_URL and the server"]


def _writable() -> str:
    return "the database is read-only: point DATABASE_URL at the primary server" if is_read_only() else ""


def _secrets_open() -> str:
    try:
        closed = unreadable_secrets()
    except ImproperlyConfigured as error:
        return f"FIELD_KEYS cannot be used: {error}"
    if not closed:
        return ""
    return f"FIELD_KEYS does not open the secrets of {len(closed)} provider accounts: put the old key back"


READINESS: tuple[Callable[[], str], ...] = (_writable, _secrets_open)
"""What must hold, each `() -> problem or empty`."""

# --- are the loops alive?


@dataclass(frozen=True, slots=True)
class Loops:
    """Seconds since each loop was last heard of (None: never), and whether beat's table has the sweep switched on."""

    sweep: float | None
    worker: float | None
    beat: float | None
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
    """The loops that have not been heard of for more than 60 s, in words for a person."""
    ages = {"sweep": loops.sweep, "worker": loops.worker, "beat": loops.beat}
    return [_silence(name, age) for name, age in ages.items() if age is None or age > SILENT_AFTER_S]


def _silence(name: str, age: float | None) -> str:
    return f"{name} has never run" if age is None else f"{name} has been silent for {age:.0f} s"


def measure_loops(now: datetime) -> Loops:
    """Read the heartbeats and beat's table."""
    beats = dict(Heartbeat.objects.values_list("name", "beat_at"))
    entries = schedule.load_entries()
    worker_at = beats.get(WORKER)
    # The worker's heartbeat was sent by beat; beat's own table lags up to three minutes behind.
    beat_at = max(filter(None, (worker_at, schedule.last_sent_at(entries))), default=None)
    return Loops(
        sweep=_age(beats.get(monitoring.SWEEP), now),
        worker=_age(worker_at, now),
        beat=_age(beat_at, now),
        is_sweep_enabled=schedule.is_sweep_enabled(entries),
    )


def measure_work(now: datetime) -> Work:
    """Count the queue of record and the open orders, of all shops together."""
    due_now = DueCheck.objects.filter(next_at__lte=now)
    asked = DueCheck.objects.filter(attempt__isnull=False).exclude(order__status__in=SETTLED)
    open_orders = Order.objects.exclude(status__in=SETTLED)
    return Work(
        due_rows=DueCheck.objects.count(),
        due_now=due_now.count(),
        oldest_due_s=_age(due_now.order_by("next_at").values_list("next_at", flat=True).first(), now),
        oldest_unchecked_s=_age(_oldest_look(asked), now),
        open_orders=open_orders.count(),
        in_review=open_orders.filter(status=OrderStatus.REVIEW).count(),
        in_doubt=DueCheck.objects.filter(attempt__state=AttemptState.IN_DOUBT).count(),
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
    seconds = {"sweep": loops.sweep, "worker": loops.worker, "beat": loops.beat}
    return {"ok": not problems, "problems": problems, "seconds_since": seconds, "work": asdict(work)}
