"""How long delivered events are kept. What was not delivered stays until it is: a person may send it yet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import Exists, OuterRef

from apps.common.logs import get_logger
from apps.journal.models import OutboxEvent
from apps.webhooks.models import WebhookDelivery

log = get_logger(__name__)

KEPT_FOR = timedelta(days=30)
"""A delivered event can be looked at and sent again for so long."""

BATCH = 1000
MOST_BATCHES = 100
"""One run ends after so many; the next one goes on."""


def forget_old(now: datetime, batch: int = BATCH) -> tuple[int, int]:
    """Remove deliveries that were taken long ago with their tries, then events of which nothing is left.

    How many deliveries and events that were.
    """
    before = now - KEPT_FOR
    deliveries = _repeat(partial(_forget_deliveries, before, batch), batch)
    events = _repeat(partial(_forget_events, before, batch), batch)
    if deliveries or events:
        log.info("events_forgotten", deliveries=deliveries, events=events)
    return deliveries, events


def _repeat(forget: Callable[[], int], batch: int) -> int:
    """Batch by batch until there are no more."""
    gone = 0
    for _ in range(MOST_BATCHES):
        found = forget()
        gone += found
        if found < batch:
            break
    return gone


def _forget_deliveries(before: datetime, batch: int) -> int:
    """One batch, locked meanwhile: one that a person sends again at this moment is not among them."""
    with transaction.atomic():
        old = WebhookDelivery.objects.select_for_update(skip_locked=True).filter(
            state=WebhookDelivery.State.DELIVERED, ended_at__lt=before
        )
        ids = list(old.order_by("ended_at").values_list("pk", flat=True)[:batch])
        WebhookDelivery.objects.filter(pk__in=ids).delete()
    return len(ids)


def _forget_events(before: datetime, batch: int) -> int:
    """One batch of those that were handed on long ago, and have no delivery (any more)."""
    left = WebhookDelivery.objects.filter(event=OuterRef("pk"))
    old = OutboxEvent.objects.filter(~Exists(left), published_at__lt=before)
    ids = list(old.order_by("pk").values_list("pk", flat=True)[:batch])
    OutboxEvent.objects.filter(pk__in=ids).delete()
    return len(ids)
