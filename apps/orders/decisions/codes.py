"""The codes of an order in clear, for one look that the story remembers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from apps.orders import machine, outcomes
from apps.orders.models import Evidence, Order, OrderCode, OrderEvent


@dataclass(frozen=True, slots=True)
class ShownCode:
    """A code in clear, for one look."""

    code_id: int
    value: str
    serial: str
    pin: str
    url: str
    expires: str


def reveal_codes(order: Order, actor: str, cause: str, now: datetime, why: str = "") -> list[ShownCode]:
    """The order's codes in clear, oldest first, without those in quarantine. The story says who looked and why."""
    codes = _codes_of(order)
    if codes:
        told = {"codes": len(codes), **({"why": why} if why else {})}
        machine.record_story(order, "codes_revealed", cause, now, actor=actor, data=told)
    return _shown(codes)


def reveal_codes_once(order: Order, actor: str, cause: str, now: datetime) -> list[ShownCode]:
    """The same for answers that are repeated: the story says it once of each reader, and again when there are more."""
    codes = _codes_of(order)
    seen = OrderEvent.objects.filter(order=order, kind="codes_revealed", cause=cause, actor=actor)
    told = seen.filter(data__codes=len(codes))
    if codes and not told.exists():
        with transaction.atomic():
            locked = outcomes.lock_orders({order.pk})[order.pk]
            if not told.exists():
                machine.record_story(locked, "codes_revealed", cause, now, actor=actor, data={"codes": len(codes)})
    return _shown(codes)


def record_reply_seen(order: Order, evidence: Evidence, actor: str, why: str, now: datetime) -> None:
    """The story says who read a provider's raw reply, and why."""
    machine.record_story(
        order, "reply_seen", "panel", now, attempt=evidence.attempt, evidence=evidence, actor=actor, data={"why": why}
    )


def _codes_of(order: Order) -> list[OrderCode]:
    return list(OrderCode.objects.filter(order=order, is_quarantined=False).order_by("id"))


def _shown(codes: list[OrderCode]) -> list[ShownCode]:
    return [ShownCode(code.pk, **code.reveal()) for code in codes]
