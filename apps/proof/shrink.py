"""Makes a failing run smaller, with fewer orders and kinds of faults, while the same is wrong; tells its story."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from apps.orders.models import Attempt, OrderEvent
from apps.proof.run import Plan, Played, play
from apps.proof.virtual import START

WITHIN_S = 120.0


def shrink(failed: Played) -> list[str]:
    """The story of the smallest run found within two minutes that is wrong in the same way."""
    kinds = {kind for kind, texts in failed.verdict.wrong.items() if texts}
    ends_at = time.monotonic() + WITHIN_S
    best = failed.plan
    for smaller in (*_fewer_orders(failed.plan), *_fewer_faults(failed.plan)):
        plan = smaller(best)
        if plan == best or time.monotonic() > ends_at:
            continue
        tried = play(plan)
        if kinds & {kind for kind, texts in tried.verdict.wrong.items() if texts}:
            best = plan
    return _story(play(best))


Smaller = Callable[[Plan], Plan]


def _fewer_orders(plan: Plan) -> Iterator[Smaller]:
    """Without each half of the wishes, then each quarter, and so on; what is left out already stays out."""
    size = plan.orders
    while size > 1:
        size = (size + 1) // 2
        for start in range(1, plan.orders + 1, size):
            yield partial(_leave_out, frozenset(range(start, min(start + size, plan.orders + 1))))


def _leave_out(numbers: frozenset[int], plan: Plan) -> Plan:
    left_out = plan.left_out | numbers
    return replace(plan, left_out=left_out) if len(left_out) < plan.orders else plan


def _fewer_faults(plan: Plan) -> Iterator[Smaller]:
    """Without each kind of fault in turn."""
    for fault in sorted(plan.drawn().enabled):
        yield partial(_drop_fault, fault)


def _drop_fault(fault: str, plan: Plan) -> Plan:
    return replace(plan, swarm=plan.drawn().without(fault))


def _story(played: Played) -> list[str]:
    """The faults that are left, and all that happened to the orders concerned."""
    faults = ", ".join(sorted(played.plan.drawn().enabled)) or "none"
    orders = played.plan.orders - len(played.plan.left_out)
    lines = [f"smallest: {orders} of {played.plan.orders} orders, faults {faults}"]
    lines += [f"{kind}: {text}" for kind, texts in played.verdict.wrong.items() for text in texts[:3]]
    for order_id in sorted(played.verdict.orders_concerned)[:2]:
        lines += _order_story(order_id)
    return lines


def _order_story(order_id: int) -> Iterator[str]:
    for attempt in Attempt.objects.filter(order_id=order_id).order_by("id"):
        yield f"order {order_id}: attempt {attempt.pk} at {attempt.kind} is {attempt.state} ({attempt.reason_code})"
    for event in OrderEvent.objects.filter(order_id=order_id).order_by("id"):
        after_s = (event.at - START).total_seconds()
        told = f"{event.cause}: {event.kind} -> {event.status} {event.reason}"
        yield f"order {order_id}: {after_s:10.3f} s {told}".rstrip()
