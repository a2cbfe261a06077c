"""The Celery tasks of the webhooks: what providers' calls need later, and the delivery of customers' events."""

from __future__ import annotations

from celery import shared_task

from apps.common import clock
from apps.journal import heartbeats
from apps.journal.loops import BY_NAME, EVENTS, HOOKS
from apps.orders import hints, silence
from apps.orders.silence import Habit
from apps.providers.models import Integration
from apps.webhooks import delivering, keeping, reading
from apps.webhooks.addresses import takes_webhooks


@shared_task(name="apps.webhooks.tasks.follow_provider_webhooks")
def follow_provider_webhooks() -> None:
    """Read, match again, and ask more often about the orders of accounts whose webhooks fell silent."""
    now = clock.now()
    reading.read_left(now)
    hints.match_waiting(now)
    silent = [
        integration
        for integration in Integration.objects.order_by("pk")
        if takes_webhooks(integration) and silence.habit_of(integration) is Habit.SILENT
    ]
    for integration in silent:
        silence.ask_more_often(integration, now)
    heartbeats.beat(BY_NAME[HOOKS].heartbeat, now, silent=[integration.pk for integration in silent])


@shared_task(name="apps.webhooks.tasks.deliver_events")
def deliver_events() -> dict[str, int]:
    """Hand on and send every event that is due; how many events and tries that were."""
    heartbeats.beat(BY_NAME[EVENTS].heartbeat, clock.now())
    ran = delivering.run(clock.now)
    told = {"published": ran.published, "tries": ran.tries}
    heartbeats.beat(BY_NAME[EVENTS].heartbeat, clock.now(), **told)
    return told


@shared_task(name="apps.webhooks.tasks.forget_delivered_events")
def forget_delivered_events() -> None:
    """Remove what was delivered to customers' endpoints a month ago."""
    keeping.forget_old(clock.now())
