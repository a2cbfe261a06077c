"""The Celery task of the webhooks: what was left unread, what came early, and who fell silent."""

from __future__ import annotations

from celery import shared_task

from apps.common import clock
from apps.journal import heartbeats
from apps.journal.loops import BY_NAME, HOOKS
from apps.orders import hints, silence
from apps.orders.silence import Habit
from apps.providers.models import Integration
from apps.webhooks import reading
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
