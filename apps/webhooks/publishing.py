"""From the outbox to the endpoints: an event becomes one delivery for every endpoint of its customer that wants it."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from apps.journal.models import OutboxEvent
from apps.webhooks import kicks
from apps.webhooks.models import WebhookDelivery, WebhookEndpoint

BATCH = 500
TEST_KIND = "endpoint.test"


def publish(now: datetime, batch: int = BATCH) -> int:
    """Hand on the oldest events that nobody has handed on yet, in one transaction; how many there were."""
    with transaction.atomic():
        waiting = OutboxEvent.objects.select_for_update(skip_locked=True).filter(published_at=None)
        events = list(waiting.order_by("pk")[:batch])
        if not events:
            return 0
        wanted = [new_delivery(endpoint, event, now) for endpoint, event in pairs(events)]
        WebhookDelivery.objects.bulk_create(wanted, ignore_conflicts=True)
        OutboxEvent.objects.filter(pk__in=[event.pk for event in events]).update(published_at=now)
    return len(events)


def pairs(events: Sequence[OutboxEvent]) -> list[tuple[WebhookEndpoint, OutboxEvent]]:
    """Every event with every endpoint that wants it."""
    by_customer: defaultdict[int, list[WebhookEndpoint]] = defaultdict(list)
    customers = {event.customer_id for event in events if event.customer_id is not None}
    for endpoint in WebhookEndpoint.objects.filter(customer__in=customers, deleted_at=None).order_by("pk"):
        by_customer[endpoint.customer_id].append(endpoint)
    return [
        (endpoint, event)
        for event in events
        for endpoint in by_customer[event.customer_id or 0]
        if is_wanted(endpoint, event)
    ]


def is_wanted(endpoint: WebhookEndpoint, event: OutboxEvent) -> bool:
    """Whether the endpoint asked for this kind of event, and was there when it happened."""
    return event.created_at >= endpoint.created_at and (not endpoint.kinds or event.kind in endpoint.kinds)


def new_delivery(endpoint: WebhookEndpoint, event: OutboxEvent, now: datetime) -> WebhookDelivery:
    """A delivery that is due now, with a name that tells nothing of how many there are."""
    message_id = f"msg_{secrets.token_hex(12)}"
    return WebhookDelivery(endpoint=endpoint, event=event, message_id=message_id, next_at=now, created_at=now)


def send_test(endpoint: WebhookEndpoint, now: datetime) -> WebhookDelivery:
    """An event for this endpoint alone, which tells nothing but that it works."""
    with transaction.atomic():
        event = OutboxEvent.objects.create(
            tenant_id=endpoint.customer.tenant_id,
            customer_id=endpoint.customer_id,
            kind=TEST_KIND,
            subject_kind="endpoint",
            subject_id=endpoint.pk,
            body={"endpoint_id": endpoint.pk},
            created_at=now,
            published_at=now,
        )
        delivery = new_delivery(endpoint, event, now)
        delivery.save()
        kicks.kick_on_commit()
    return delivery
