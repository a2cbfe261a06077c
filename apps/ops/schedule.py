"""What beat runs, as one table, and its installation in django-celery-beat's tables; a person's changes there stay."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django_celery_beat.models import IntervalSchedule, PeriodicTask

QUEUE = "poll"


@dataclass(frozen=True, slots=True)
class Periodic:
    """One task that beat sends every `every_s` seconds; a message not taken within `expires_s` is thrown away."""

    name: str
    task: str
    every_s: int
    expires_s: int
    queue: str
    says: str


SWEEP = Periodic(
    name="check-pending-orders-batch",
    task="apps.orders.tasks.check_pending_orders_batch",
    every_s=5,
    expires_s=5,
    queue=QUEUE,
    says="Sends and asks about every order that is due. Disabled, the state page turns red.",
)
HEARTBEAT = Periodic(
    name="heartbeat",
    task="apps.ops.tasks.heartbeat",
    every_s=15,
    expires_s=15,
    queue=QUEUE,
    says="Shows on the state page that beat, the broker and a worker are alive.",
)
BALANCES = Periodic(
    name="read-balances",
    task="apps.providers.tasks.read_balances",
    every_s=300,
    expires_s=300,
    queue="notify",
    says="Reads our money at every provider account; a balance of zero keeps new orders away from it.",
)
CATALOGUES = Periodic(
    name="plan-catalogue-syncs",
    task="apps.providers.tasks.plan_syncs",
    every_s=60,
    expires_s=60,
    queue="notify",
    says="Queues a fetch of every provider's list that is a day old. Nothing changes before a person approves it.",
)
HOOKS = Periodic(
    name="follow-provider-webhooks",
    task="apps.webhooks.tasks.follow_provider_webhooks",
    every_s=60,
    expires_s=60,
    queue="notify",
    says="Reads webhooks that a crash left unread, matches early ones, and asks more often where they fell silent.",
)
EVENTS = Periodic(
    name="deliver-events",
    task="apps.webhooks.tasks.deliver_events",
    every_s=5,
    expires_s=5,
    queue="notify",
    says="Sends events to the webhooks of customers, and tries again what was not taken.",
)
KEEPING = Periodic(
    name="forget-delivered-events",
    task="apps.webhooks.tasks.forget_delivered_events",
    every_s=3600,
    expires_s=3600,
    queue="notify",
    says="Removes events that were delivered to customers' webhooks a month ago. What was not delivered stays.",
)
SANDBOXES = Periodic(
    name="refresh-sandboxes",
    task="apps.orders.tasks.refresh_sandboxes",
    every_s=3600,
    expires_s=3600,
    queue="notify",
    says="Copies goods and prices into the sandboxes of test keys, and fills up their play money.",
)
BULK = Periodic(
    name="run-bulk-actions",
    task="apps.orders.tasks.run_bulk_actions",
    every_s=30,
    expires_s=30,
    queue="notify",
    says="Goes on with decisions about many orders whose worker died or whose message was lost.",
)
SCHEDULE: tuple[Periodic, ...] = (SWEEP, HEARTBEAT, BALANCES, CATALOGUES, HOOKS, EVENTS, KEEPING, SANDBOXES, BULK)
"""Everything that beat runs."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What was done about one entry: `created`, `kept` as a person left it, or `reset`."""

    name: str
    what: str


def install_schedule(reset: bool = False) -> list[Installed]:
    """Create the entries that are missing; with `reset` also put those that are there back to the table.

    Without `reset` nothing that exists is written: not the interval, not the switch. Safe to call from several
    processes at once.
    """
    return [_install(periodic, reset=reset) for periodic in SCHEDULE]


def _install(periodic: Periodic, *, reset: bool) -> Installed:
    with transaction.atomic():
        row, is_new = PeriodicTask.objects.get_or_create(
            name=periodic.name, defaults={"task": periodic.task, **_settings_of(periodic)}
        )
        if reset and not is_new:
            for field, value in {"task": periodic.task, **_settings_of(periodic), **UNUSED}.items():
                setattr(row, field, value)
            row.save()
    if is_new:
        return Installed(periodic.name, "created")
    return Installed(periodic.name, "reset" if reset else "kept")


UNUSED: dict[str, Any] = {
    "args": "[]",
    "kwargs": "{}",
    "headers": "{}",
    "crontab": None,
    "solar": None,
    "clocked": None,
    "exchange": None,
    "routing_key": None,
    "priority": None,
    "expires": None,
    "start_time": None,
    "one_off": False,
}
"""Fields of an entry that ours leave alone; `--reset` clears what a person put there."""


def _settings_of(periodic: Periodic) -> dict[str, Any]:
    return {
        "interval": _interval(periodic.every_s),
        "expire_seconds": periodic.expires_s,
        "queue": periodic.queue,
        "enabled": True,
        "description": periodic.says,
    }


def _interval(every_s: int) -> IntervalSchedule:
    """An interval row; the table has no unique rule, so an existing one is taken whoever made it."""
    wanted = {"every": every_s, "period": IntervalSchedule.SECONDS}
    return IntervalSchedule.objects.filter(**wanted).order_by("pk").first() or IntervalSchedule.objects.create(**wanted)


# --- what stands there now


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of beat's table as it is. `is_ours` is false for the same task under another name: it runs twice."""

    name: str
    task: str
    when: str
    queue: str
    is_enabled: bool
    last_run_at: datetime | None
    is_ours: bool


def load_entries() -> list[Entry]:
    """Every row that runs one of our tasks, and every row under one of our names."""
    names = {periodic.name for periodic in SCHEDULE}
    tasks = {periodic.task for periodic in SCHEDULE}
    rows = PeriodicTask.objects.select_related("interval", "crontab", "solar", "clocked").order_by("name")
    return [_entry(row, names) for row in rows if row.task in tasks or row.name in names]


def _entry(row: PeriodicTask, names: Iterable[str]) -> Entry:
    return Entry(
        name=row.name,
        task=row.task,
        when=str(row.scheduler),
        queue=row.queue or "",
        is_enabled=row.enabled,
        last_run_at=row.last_run_at,
        is_ours=row.name in names,
    )


def duplicates(entries: Iterable[Entry]) -> list[Entry]:
    """Rows that run one of our tasks under another name. They are reported, never deleted: a person made them."""
    return [entry for entry in entries if not entry.is_ours]


def is_sweep_enabled(entries: Iterable[Entry]) -> bool:
    """Whether beat sends the sweep at all, under whatever name."""
    return any(entry.task == SWEEP.task and entry.is_enabled for entry in entries)


def last_sent_at(entries: Iterable[Entry]) -> datetime | None:
    """When beat last sent one of our tasks, as far as its table says: beat writes it at most every three minutes."""
    return max((entry.last_run_at for entry in entries if entry.last_run_at), default=None)
