"""Events for the outside, written beside the change they tell."""

from __future__ import annotations

from datetime import datetime

from django.dispatch import Signal

from apps.journal.models import OutboxEvent

recorded = Signal()
"""Sent with `event` in the transaction that writes it: whoever delivers events may wake up after the commit."""


def record_event(
    *,
    tenant_id: int,
    customer_id: int,
    kind: str,
    subject_kind: str,
    subject_id: int,
    body: dict[str, object],
    now: datetime,
) -> OutboxEvent:
    """Add one event to the outbox, in the caller's transaction. `body` holds no code and no secret."""
    event = OutboxEvent.objects.create(
        tenant_id=tenant_id,
        customer_id=customer_id,
        kind=kind,
        subject_kind=subject_kind,
        subject_id=subject_id,
        body=body,
        created_at=now,
    )
    recorded.send(OutboxEvent, event=event)
    return event
