"""The hub as it is measured: tables on a server of their own, a queue of so many orders, and its resident poller."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import _bootstrap

ROOT = Path(__file__).resolve().parents[2]

OPTIONS: dict[str, Any] = {
    "rate_per_s": 100_000,
    "burst": 1000,
    "ask_timeout_s": 5,
    "poll_base_s": 86400,
    "poll_cap_s": 86400,
}
"""An account that takes whatever comes: the budget is not what is measured. Nothing is asked twice in a repetition."""


def prepare(database_url: str, redis_url: str) -> None:
    """Django on these servers, with the tables made; what is started from here has the same environment."""
    settings = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "LOG_LEVEL": "ERROR"}
    settings |= {"DEBUG": "false", "PRODUCTION": "false"}
    os.environ.update({**_bootstrap.random_secrets(), **settings, "DJANGO_SETTINGS_MODULE": "config.settings"})
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


@contextmanager
def simulator(delay_s: float) -> Iterator[str]:
    """The address of a simulator in bench mode, which says of every order that it is being worked on."""
    command = [sys.executable, "-m", "apps.simulator", "--bench", "waiting", "--delay", str(delay_s)]
    command.append("--stop-with-parent")
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            told = process.stdout.readline() if process.stdout else b""
            yield f"http://127.0.0.1:{json.loads(told)['port']}"
        finally:
            process.terminate()


def cpu_of(url: str) -> float:
    """CPU seconds that the simulator has used."""
    with urllib.request.urlopen(url + "/_control/cpu", timeout=10) as answer:  # noqa: S310 - our own simulator
        return float(answer.read())


# --- the queue


def fill(url: str, pending: int) -> None:
    """So many orders that were accepted at one account behind `url`, and asked about once."""
    from apps.orders.models import Attempt, AttemptUnit, DueCheck, Order, OrderUnit
    from tests.crowds import FIRST_COPY, copies, unchecked
    from tests.factories import fill_lane, make_shop, order_from

    emptied()
    shop = make_shop(url, **OPTIONS)
    pattern = order_from(shop)
    fill_lane(pattern, shop.integration, 1)
    attempt, unit = Attempt.objects.get(order=pattern), OrderUnit.objects.get(order=pattern)
    row = DueCheck.objects.get(attempt=attempt)
    link = AttemptUnit.objects.create(attempt=attempt, unit=unit)
    own = f"{FIRST_COPY} + g"
    standing = {"status": "'processing'", "external_status": "'sent'", "provider_referans": "'r' || g"}
    late = "now() + interval '30 days'"
    with unchecked():
        copies(Order, pattern.pk, pending, idempotency_key="'copy-' || g", intent="''", deadline_at=late, **standing)
        copies(OrderUnit, unit.pk, pending, order_id=own)
        copies(Attempt, attempt.pk, pending, order_id=own, reference="(100000000000000000 + g)::text")
        copies(AttemptUnit, link.pk, pending, attempt_id=own, unit_id=own)
        copies(DueCheck, row.pk, pending, order_id=own, attempt_id=own)
        for model, pk in ((DueCheck, row.pk), (AttemptUnit, link.pk)):
            model.objects.filter(pk=pk).delete()
    answer_once()


def answer_once() -> None:
    """Ask about one order, and give all others what its answer has left on its rows."""
    from apps.orders.models import Attempt, DueCheck, Order

    sweep(1)
    row = DueCheck.objects.exclude(digest="").select_related("attempt", "order").get()
    if row.attempt is None:
        raise SystemExit("the first answer was lost")
    for model, told in ((DueCheck, row), (Attempt, row.attempt), (Order, row.order)):
        names = {
            DueCheck: ("digest", "same_since", "asked_at", "tries"),
            Attempt: ("outcome", "reason_code", "reason"),
            Order: ("external_status",),
        }[model]
        model.objects.update(**{name: getattr(told, name) for name in names})
    run_sql("VACUUM FULL orders_due_check")
    run_sql("VACUUM ANALYZE")


def emptied() -> None:
    """Nothing of an earlier run is left."""
    from tests.functional.core_fixtures import empty_postgres

    empty_postgres()
    run_sql("SET session_replication_role = origin")


def make_due(count: int) -> None:
    """So many rows are due now, the rest in a while, in a tidy queue."""
    from django.utils import timezone

    from apps.orders.models import DueCheck

    now = timezone.now()
    DueCheck.objects.update(next_at=now + timedelta(days=10))
    chosen = DueCheck.objects.order_by("attempt__reference").values_list("pk", flat=True)[:count]
    DueCheck.objects.filter(pk__in=list(chosen)).update(next_at=now - timedelta(minutes=1))
    run_sql("VACUUM ANALYZE orders_due_check")


def make_due_one_by_one(offsets_s: Sequence[float], begins_at: datetime) -> list[int]:
    """Rows that come due at these times, none of the others soon; returns them in that order."""
    from django.db import connection

    from apps.orders.models import DueCheck

    DueCheck.objects.update(next_at=begins_at + timedelta(days=10))
    rows = list(DueCheck.objects.order_by("attempt__reference").values_list("pk", flat=True)[: len(offsets_s)])
    times = [begins_at + timedelta(seconds=offset) for offset in offsets_s]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE orders_due_check SET next_at = due.at "
            "FROM unnest(%s::bigint[], %s::timestamptz[]) AS due(id, at) WHERE orders_due_check.id = due.id",
            [rows, times],
        )
    run_sql("VACUUM ANALYZE orders_due_check")
    return rows


def waits_of(rows: Sequence[int], offsets_s: Sequence[float], begins_at: datetime) -> list[float | None]:
    """Seconds from when each of the rows was due until its answer was written; None where there was none."""
    from apps.orders.models import DueCheck

    found = DueCheck.objects.filter(pk__in=rows, asked_at__gte=begins_at).values_list("pk", "asked_at")
    asked = {row: at for row, at in found if at is not None}
    due = {row: begins_at + timedelta(seconds=offset) for row, offset in zip(rows, offsets_s, strict=True)}
    return [(asked[row] - due[row]).total_seconds() if row in asked else None for row in rows]


def run_sql(sql: str) -> Any:
    """Run it; its first value, where it has one."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


def queue_bytes() -> int:
    """What the queue takes on the disk, with its indexes."""
    return int(run_sql("SELECT pg_total_relation_size('orders_due_check')"))


# --- the work


@contextmanager
def poller() -> Iterator[int]:
    """The process id of `manage.py poll`, which ends as a service manager ends it."""
    command = [sys.executable, "manage.py", "poll"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for_beat()
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)


def wait_for_beat() -> None:
    """Until a sweep has begun since now, a minute at most."""
    from django.utils import timezone

    from apps.journal.models import Heartbeat
    from apps.orders.monitoring import SWEEP

    began = timezone.now()
    wait_until("the poller", lambda: Heartbeat.objects.filter(name=SWEEP, beat_at__gte=began).exists(), 60)


def asked_since(began: datetime) -> int:
    """How many orders of the queue were asked about since then."""
    from apps.orders.models import DueCheck

    return DueCheck.objects.filter(asked_at__gte=began).count()


def wait_for_all(began: datetime, count: int, seconds: float) -> None:
    """Until so many were asked about since then, or the time is up."""
    ends_at = time.monotonic() + seconds
    while asked_since(began) < count and time.monotonic() < ends_at:
        time.sleep(0.5)


def now() -> datetime:
    """The hub's clock."""
    from django.utils import timezone

    return timezone.now()


def sweep(count: int) -> float:
    """Seconds in which a sweep in this process asks about so many due orders."""
    from apps.orders import monitoring

    make_due(count)
    began = time.perf_counter()
    asked = monitoring.sweep().asked
    while asked < count and (more := monitoring.sweep().asked):
        asked += more
    took = time.perf_counter() - began
    if asked != count:
        raise SystemExit(f"the poller asked {asked} of {count}")
    return took


def wait_until(what: str, is_so: Callable[[], bool], seconds: float) -> None:
    """Look ten times a second; ends the run when it does not come true in time."""
    ends_at = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > ends_at:
            raise SystemExit(f"it did not begin within {seconds:.0f} s: {what}")
        time.sleep(0.1)
