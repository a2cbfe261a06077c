"""The review queue: orders that a person must look at, by reason, with the money that is still held for them."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Q, QuerySet, Sum

from apps.common.money import Money
from apps.orders.decisions.reviews import reviewers
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
    """One order in review, the money at risk, and who works on it."""

    order: Order
    text: str
    risk: Money
    reviewer: str


def in_review(tenant_ids: list[int]) -> QuerySet[Order]:
    """The orders of these shops that are in review."""
    return Order.objects.filter(tenant_id__in=tenant_ids, status=OrderStatus.REVIEW)


def load_groups(tenant_ids: list[int]) -> list[Group]:
    """Every reason that orders are in review for, the one with most orders first."""
    found: dict[str, Group] = {}
    rows = in_review(tenant_ids).values("reason", "currency").order_by("reason", "currency")
    for row in rows.annotate(orders=Count("id", distinct=True), held=Sum("units__amount_micros", filter=HELD)):
        reason = row["reason"]
        before = found.get(reason, Group(reason, words.say(words.REASONS, reason), 0, []))
        risks = [*before.risks, Money(row["held"] or 0, row["currency"])]
        found[reason] = Group(reason, before.text, before.orders + row["orders"], risks)
    return sorted(found.values(), key=lambda group: (-group.orders, group.reason))


def load_rows(tenant_ids: list[int], reason: str) -> list[ReviewRow]:
    """The oldest orders in review, of one reason or of all (empty)."""
    found = in_review(tenant_ids).filter(**({"reason": reason} if reason else {}))
    oldest = found.select_related("customer").annotate(held=Sum("units__amount_micros", filter=HELD)).order_by("id")
    orders = list(oldest[:SHOWN])
    working = reviewers([order.pk for order in orders])
    return [
        ReviewRow(
            order,
            words.say(words.REASONS, order.reason),
            Money(getattr(order, "held", None) or 0, order.currency),
            working.get(order.pk, ""),
        )
        for order in orders
    ]
