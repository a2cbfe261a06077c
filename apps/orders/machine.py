"""The one writer of state: every change is checked against the table of edges and won by counting rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from apps.journal.outbox import record_event
from apps.orders.models import Attempt, AttemptUnit, Evidence, Order, OrderEvent, OrderUnit
from apps.orders.states import (
    FREEING,
    SETTLED,
    AttemptState,
    ExternalStatus,
    OrderStatus,
    check_attempt_edge,
    check_order_edge,
)
from apps.orders.telling import EVENT_KINDS, tell_standing


class Overtaken(Exception):
    """Somebody else changed this row first; nothing was written, and that is fine."""


def change_attempt(attempt: Attempt, state: AttemptState, **fields: Any) -> None:
    """Move `attempt` to `state` with `fields`, if it still is where it was read. Units are let go, never taken."""
    check_attempt_edge(attempt.state, state)
    changed = Attempt.objects.filter(pk=attempt.pk, state=attempt.state, send_no=attempt.send_no).update(
        state=state, **fields
    )
    if changed != 1:
        raise Overtaken(f"attempt {attempt.pk} is no longer {attempt.state}")
    if state in FREEING and attempt.state not in FREEING:
        AttemptUnit.objects.filter(attempt=attempt, holds=True).update(holds=False)
    attempt.state = state
    for name, value in fields.items():
        setattr(attempt, name, value)


def change_order(
    order: Order, status: OrderStatus, external: ExternalStatus, reason: str, now: datetime, **fields: Any
) -> bool:
    """Move `order` to `status` if it still is where it was read; True if anything changed. Settling takes its time.

    Whoever moves it to another status calls `announce` before the transaction ends.
    """
    check_order_edge(order.status, status)
    fields.update(external_status=external, reason=reason)
    if status in SETTLED and order.settled_at is None:
        fields["settled_at"] = now
    if status == order.status and all(getattr(order, name) == value for name, value in fields.items()):
        return False
    if status != order.status:
        fields["version"] = order.version + 1
    unchanged = Order.objects.filter(pk=order.pk, status=order.status, version=order.version)
    changed = unchanged.update(status=status, updated_at=now, **fields)
    if changed != 1:
        raise Overtaken(f"order {order.pk} is no longer {order.status}")
    order.status, order.updated_at = status, now
    for name, value in fields.items():
        setattr(order, name, value)
    return True


def change_unit(unit: OrderUnit, status: str) -> None:
    """Settle the money of one held unit, once."""
    if OrderUnit.objects.filter(pk=unit.pk, status="held").update(status=status) != 1:
        raise Overtaken(f"unit {unit.pk} is settled already")
    unit.status = status


def record_story(
    order: Order,
    kind: str,
    cause: str,
    now: datetime,
    *,
    attempt: Attempt | None = None,
    evidence: Evidence | None = None,
    actor: str = "",
    data: dict[str, Any] | None = None,
) -> OrderEvent:
    """Append one line to the story of `order`, with where it stands now. `data` holds no code and no secret."""
    return OrderEvent.objects.create(
        order=order,
        attempt=attempt,
        evidence=evidence,
        kind=kind,
        cause=cause,
        actor=actor,
        status=order.status,
        external_status=order.external_status,
        reason=order.reason,
        data=data or {},
        at=now,
    )


def announce(order: Order, now: datetime) -> None:
    """Put where the order stands now into the outbox, in the same transaction; the only place that does."""
    record_event(
        tenant_id=order.tenant_id,
        customer_id=order.customer_id,
        kind=EVENT_KINDS[OrderStatus(order.status)],
        subject_kind="order",
        subject_id=order.pk,
        body=tell_standing(order),
        now=now,
    )
