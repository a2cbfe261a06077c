"""What a customer writes about an order: kept for ever, and told in the order's story, where operators read it."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.orders import machine, outcomes
from apps.orders.models import Order, OrderNote

MOST = 50
"""Notes that one order takes."""

LONGEST = 500
"""Characters of one note."""


class TooManyNotes(Exception):
    """The order has as many notes as it takes; nothing was written."""


def write_note(order_id: int, text: str, actor: str, now: datetime) -> OrderNote:
    """Add a note of 1 to 500 characters to the order. Raises `TooManyNotes`."""
    with transaction.atomic():
        order = outcomes.lock_orders({order_id})[order_id]
        if OrderNote.objects.filter(order=order).count() >= MOST:
            raise TooManyNotes(f"order {order.pk} has {MOST} notes")
        note = OrderNote.objects.create(order=order, text=text, actor=actor, created_at=now)
        machine.record_story(order, "note_written", "api", now, actor=actor, data={"why": text})
    return note


def notes_of(order: Order) -> list[OrderNote]:
    """The order's notes, oldest first."""
    return list(OrderNote.objects.filter(order=order).order_by("pk"))
