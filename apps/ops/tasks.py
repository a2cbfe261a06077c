"""The Celery task that proves the way from beat over the broker to a worker."""

from __future__ import annotations

from celery import shared_task

from apps.common import clock
from apps.journal import heartbeats, loops

WORKER = loops.BY_NAME[loops.WORKER].heartbeat


@shared_task(name="apps.ops.tasks.heartbeat")
def heartbeat() -> None:
    """Record that beat published, the broker carried, and a worker ran this."""
    heartbeats.beat(WORKER, clock.now())
