"""Celery Beat's scheduler with a heartbeat of its own: a beat that still ticks can be told from one that is gone."""

from __future__ import annotations

from typing import Any

from django.db import Error, connection
from django_celery_beat.schedulers import DatabaseScheduler

from apps.common import clock
from apps.common.logs import get_logger
from apps.journal import heartbeats
from apps.journal.loops import BEAT, BY_NAME

log = get_logger(__name__)

LOOP = BY_NAME[BEAT]
LEAST_GAP_S = LOOP.every_s - 1
"""Ticks may come faster; the heartbeat is written at most this often."""


class BeatingScheduler(DatabaseScheduler):  # type: ignore[misc] # the library has no types
    """django-celery-beat's scheduler; it ticks at least every 5 s, and each tick shows that it is alive."""

    max_interval = LOOP.every_s
    _beat_at = 0.0

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        """Send what is due, then beat: a beat that hangs in sending does not beat."""
        wait_s = super().tick(*args, **kwargs)
        now = clock.now()
        if now.timestamp() - self._beat_at >= LEAST_GAP_S:
            self._beat_at = now.timestamp()
            record_tick()
        return min(wait_s, LOOP.every_s) if wait_s is not None else LOOP.every_s


def record_tick() -> None:
    """Write the heartbeat; beat goes on without it when the database does not answer."""
    try:
        heartbeats.beat(LOOP.heartbeat, clock.now())
    except Error as error:
        log.warning("beat_not_recorded", error=type(error).__name__)
        connection.close_if_unusable_or_obsolete()
