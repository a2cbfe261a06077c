"""The review queue: orders that a person must look at, by reason, with the money that is still held for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Q, QuerySet, Sum

from apps.common.money import Money
from apps.orders.decisions.reviews import awake, resting, reviewers
from apps.orders.models import Order
from apps.orders.states import OrderStatus, UnitStatus
from apps.panel import words

SHOWN = 200
"""Orders on the page, oldest first; the groups count all of them."""

HELD = Q(units__status=UnitStatus.HELD)


@dataclass(frozen=True, slots=True)
class Group:
    """One reason with its orders and the money at risk, one amount for each currency."""

    reason: str
    text: str
    orders: int
    risks: list[Money]


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """One order in review, the money at risk, who works on it, and until when it rests."""

    order: Order
    text: str
    risk: Money
    reviewer: str
    rests_until: datetime | None


def in_review(tenant_ids: list[int], now: datetime, *, is_resting: bool) -> QuerySet[Order]:
    """The orders of these shops that are in review: those that rest, or the others."""
    found = Order.objects.filter(tenant_id__in=tenant_ids, status=OrderStatus.REVIEW)
    return resting(found, now) if is_resting else awake(found, now)


def load_groups(orders: QuerySet[Order]) -> list[Group]:
    """Every reason that these orders are in review for, the one with most orders first."""
    found: dict[str, Group] = {}
    rows = orders.values("reason", "currency").order_by("reason", "currency")
    for row in rows.annotate(orders=Count("id", distinct=True), held=Sum("units__amount_micros", filter=HELD)):
        reason = row["reason"]
        before = found.get(reason, Group(reason, words.say(words.REASONS, reason), 0, []))
        risks = [*before.risks, Money(row["held"] or 0, row["currency"])]
        found[reason] = Group(reason, before.text, before.orders + row["orders"], risks)
    return sorted(found.values(), key=lambda group: (-group.orders, group.reason))


def load_rows(orders: QuerySet[Order], reason: str) -> list[ReviewRow]:
    """The oldest of these orders in review, of one reason or of all (empty)."""
    found = orders.filter(**({"reason": reason} if reason else {}))
    oldest = found.select_related("customer").annotate(held=Sum("units__amount_micros", filter=HELD)).order_by("id")
    shown = list(oldest[:SHOWN])
    working = reviewers([order.pk for order in shown])
    return [
        ReviewRow(
            order,
            words.say(words.REASONS, order.reason),
            Money(getattr(order, "held", None) or 0, order.currency),
            working.get(order.pk, ""),
            getattr(order, "rests_until", None),
        )
        for order in shown
    ]
