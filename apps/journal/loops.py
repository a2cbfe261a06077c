"""The loops that must run, as one table: which heartbeat shows each, and how long it may be silent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.journal.models import Heartbeat


@dataclass(frozen=True, slots=True)
class Loop:
    """One loop. Its heartbeat beats every `every_s` seconds while it is well.

    `is_process`: it beats whatever the work is, so a short silence means that the process is gone. `must_run`: without
    it the hub does not work, so never is as bad as no more.
    """

    name: str
    heartbeat: str
    every_s: int
    is_process: bool = False
    must_run: bool = True

    def silent_after_s(self) -> float:
        """From when on it counts as down."""
        return float(settings.LOOP_SILENT_AFTER_S + (self.every_s if self.every_s >= SLOW_S else 0))

    def alarm_after_s(self) -> float:
        """From when on people are told; a process that is gone is told sooner."""
        return float(settings.PROCESS_SILENT_AFTER_S) if self.is_process else self.silent_after_s()


SLOW_S = 60
"""A loop this slow is silent for its whole period as a matter of course."""

SWEEP, WORKER, BEAT, HOOKS, WORKER_PROCESS = "sweep", "worker", "beat", "webhooks", "worker_process"
EVENTS = "events"

LOOPS: tuple[Loop, ...] = (
    Loop(SWEEP, "check_pending_orders_batch", every_s=5),
    Loop(WORKER, "worker", every_s=15),
    Loop(BEAT, "beat", every_s=5, is_process=True),
    Loop(WORKER_PROCESS, "worker_process", every_s=5, is_process=True, must_run=False),
    Loop(HOOKS, "webhooks", every_s=60, must_run=False),
    Loop(EVENTS, "events", every_s=5, must_run=False),
)
"""Every loop, the most important first."""

BY_NAME = {loop.name: loop for loop in LOOPS}

DISPATCH = "dispatch"
"""No loop of its own: the sweep sends. It is silent while an order waits longer than it should to be sent."""

LABELS: Mapping[str, Promise] = {
    SWEEP: _("sending and asking"),
    WORKER: _("worker"),
    BEAT: _("schedule (Celery Beat)"),
    WORKER_PROCESS: _("worker process"),
    HOOKS: _("webhooks of providers"),
    EVENTS: _("events to customers"),
}
"""The loops as people read them."""


def last_beats() -> dict[str, datetime | None]:
    """When each loop was last heard of; None for never."""
    rows = Heartbeat.objects.filter(name__in=[loop.heartbeat for loop in LOOPS])
    beats = dict(rows.values_list("name", "beat_at"))
    return {loop.name: beats.get(loop.heartbeat) for loop in LOOPS}


@dataclass(frozen=True, slots=True)
class Silence:
    """A loop that is down, and when it was last heard of (None: never)."""

    name: str
    since: datetime | None


def silent_loops(now: datetime) -> list[Silence]:
    """Every loop that is down at `now`."""
    return [
        Silence(name, at)
        for name, at in last_beats().items()
        if is_down(name, None if at is None else (now - at).total_seconds())
    ]


def is_down(name: str, age_s: float | None) -> bool:
    """Whether a loop that was heard of so long ago is down."""
    loop = BY_NAME[name]
    return loop.must_run if age_s is None else age_s > loop.silent_after_s()
