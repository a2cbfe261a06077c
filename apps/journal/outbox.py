"""Events for the outside, written beside the change they tell."""

from __future__ import annotations

from datetime import datetime

from apps.journal.models import OutboxEvent


def record_event(
    *, tenant_id: int, kind: str, subject_kind: str, subject_id: int, body: dict[str, object], now: datetime
) -> None:
    """Add one event to the outbox, in the caller's transaction. `body` holds no code and no secret."""
    OutboxEvent.objects.create(
        tenant_id=tenant_id, kind=kind, subject_kind=subject_kind, subject_id=subject_id, body=body, created_at=now
    )
