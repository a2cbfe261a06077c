"""Makes a failing run smaller, with fewer orders and kinds of faults, while the same is wrong; tells its story."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from apps.orders.models import Attempt, OrderEvent
from apps.proof.run import Plan, Played, play
from apps.proof.virtual import START

WITHIN_S = 120.0


def shrink(failed: Played) -> list[str]:
    """The story of the smallest run found within two minutes that is wrong in the same way."""
    kinds = {kind for kind, texts in failed.verdict.wrong.items() if texts}
    ends_at = time.monotonic() + WITHIN_S
    best = failed
    for plan in _smaller(failed.plan):
        if time.monotonic() > ends_at:
            break
        merged = _merge(best.plan, plan)
        if merged == best.plan:
            continue
        tried = play(merged)
        if kinds & {kind for kind, texts in tried.verdict.wrong.items() if texts}:
            best = tried
    return _story(play(best.plan))


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Half the orders and a quarter of them, then without each kind of fault in turn; `_merge` adds these up."""
    for orders in (plan.orders // 2, plan.orders // 4, plan.orders // 8):
        yield replace(plan, orders=max(orders, 1), swarm=None)
    swarm = plan.drawn()
    for fault in sorted(swarm.enabled):
        yield replace(plan, swarm=swarm.without(fault))


def _merge(best: Plan, tried: Plan) -> Plan:
    """The best plan so far with what is tried now taken away as well."""
    if tried.swarm is None:
        return replace(best, orders=min(best.orders, tried.orders))
    gone = tried.drawn().enabled ^ best.drawn().enabled
    swarm = best.drawn()
    for fault in gone & swarm.enabled:
        swarm = swarm.without(fault)
    return replace(best, swarm=swarm)


def _story(played: Played) -> list[str]:
    """The faults that are left, and all that happened to the orders concerned."""
    faults = ", ".join(sorted(played.plan.drawn().enabled)) or "none"
    lines = [f"smallest: {played.plan.orders} orders, faults {faults}"]
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
