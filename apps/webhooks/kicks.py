"""Wake-ups after a commit that left something to send. They may get lost: the sweep finds what is due without them."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from apps.common.broker import publish
from apps.common.kept import Kept
from apps.journal.models import OutboxEvent
from apps.webhooks.models import WebhookEndpoint

TASK = "apps.webhooks.tasks.deliver_events"

TOGETHER_S = 0.5
"""What is committed within so long by one process is delivered by one message, which comes at the end of it."""

LATE_S = 30.0

_quiet_until = 0.0


def _load_listening(now: datetime) -> frozenset[int]:
    """The customers who have an endpoint."""
    return frozenset(WebhookEndpoint.objects.filter(deleted_at=None).values_list("customer", flat=True))


_listening = Kept(_load_listening, timedelta(seconds=10))
"""Whoever has just made the first endpoint is woken up for a few seconds later; until then the sweep is there."""


def follow_outbox(sender: type[OutboxEvent], event: OutboxEvent, **kwargs: Any) -> None:
    """Wake somebody up after the commit, if anybody wants this customer's events. Cannot harm the commit."""

    def kick_for_listeners() -> None:
        if event.customer_id in _listening.get(event.created_at):
            kick()

    transaction.on_commit(kick_for_listeners, robust=True)


def kick_on_commit() -> None:
    """Wake somebody up after the commit."""
    transaction.on_commit(kick, robust=True)


def kick() -> None:
    """One message, unless one is on its way that comes late enough."""
    global _quiet_until  # noqa: PLW0603 - one pace per process
    if time.monotonic() < _quiet_until:
        return
    _quiet_until = time.monotonic() + TOGETHER_S
    publish(TASK, [], countdown=TOGETHER_S, expires=TOGETHER_S + LATE_S)
