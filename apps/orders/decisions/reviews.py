"""What people say about an order without changing it: a note; while it is in review who works on it, and from when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from apps.accounts.models import User
from apps.orders import machine
from apps.orders.decisions.cases import check_may_work, check_soon
from apps.orders.decisions.deciding import load_own, name_of, read_reason
from apps.orders.decisions.refused import NotPossible
from apps.orders.models import Order, OrderEvent
from apps.orders.review_models import ReviewSnooze
from apps.orders.states import OrderStatus

CLAIMED, ASSIGNED = "review_claimed", "review_assigned"


def claim_review(order_id: int, actor: User, reason: str, now: datetime) -> None:
    """Work on an order in review from now on, also in place of a colleague. Raises a child of `DecisionRefused`."""
    text = read_reason(reason)
    with transaction.atomic():
        order = load_in_review(order_id, actor)
        if reviewers([order.pk]).get(order.pk) != name_of(actor):
            machine.record_story(order, CLAIMED, "person", now, actor=name_of(actor), data={"why": text})


def assign_review(order_id: int, actor: User, reason: str, now: datetime, *, to: User) -> None:
    """Give an order in review to somebody who may act in the shop. Raises a child of `DecisionRefused`."""
    text = read_reason(reason)
    with transaction.atomic():
        order = load_in_review(order_id, actor)
        check_may_work(to, order)
        facts = {"why": text, "to": name_of(to)}
        machine.record_story(order, ASSIGNED, "person", now, actor=name_of(actor), data=facts)


def snooze_review(order_id: int, actor: User, reason: str, now: datetime, *, until: datetime) -> None:
    """Leave an order in review alone until then, at most 90 days, or until there is other news of it.

    Raises a child of `DecisionRefused`.
    """
    text = read_reason(reason)
    with transaction.atomic():
        order = load_in_review(order_id, actor)
        check_soon(until, now)
        rest = {"until": until, "version": order.version, "reason": order.reason}
        ReviewSnooze.objects.update_or_create(order=order, defaults=rest)
        facts = {"why": text, "until": until.isoformat()}
        machine.record_story(order, "review_snoozed", "person", now, actor=name_of(actor), data=facts)


def load_in_review(order_id: int, actor: User) -> Order:
    """The locked order. Raises `NotFound`, `NotAllowed`, or `NotPossible` where it is not in review."""
    order = load_own(order_id, actor)
    if order.status != OrderStatus.REVIEW:
        raise NotPossible(_("This order is not in review any more: there is nothing to work on."))
    return order


def resting(orders: QuerySet[Order], now: datetime) -> QuerySet[Order]:
    """Those of the orders in review that rest; of each `rests_until`."""
    return orders.filter(_is_resting(now)).annotate(rests_until=F("review_snooze__until"))


def awake(orders: QuerySet[Order], now: datetime) -> QuerySet[Order]:
    """Those of the orders in review that rest no longer, or never did."""
    return orders.filter(~_is_resting(now))


def _is_resting(now: datetime) -> Exists:
    same = {"order": OuterRef("pk"), "version": OuterRef("version"), "reason": OuterRef("reason")}
    return Exists(ReviewSnooze.objects.filter(until__gt=now, **same))


def add_note(order_id: int, actor: User, text: str, now: datetime) -> None:
    """Write one line of at most 200 characters into the story. Raises a child of `DecisionRefused`."""
    note = read_reason(text)
    with transaction.atomic():
        order = load_own(order_id, actor)
        machine.record_story(order, "noted", "person", now, actor=name_of(actor), data={"why": note})


def reviewers(order_ids: Iterable[int]) -> dict[int, str]:
    """Who works on each of these orders since it is in review: who said so, or was given it, last."""
    events = OrderEvent.objects.filter(order_id__in=list(order_ids)).values("order_id")
    last = events.annotate(
        claim=Max("id", filter=Q(kind__in=(CLAIMED, ASSIGNED))), left=Max("id", filter=~Q(status=OrderStatus.REVIEW))
    )
    claims = [row["claim"] for row in last if row["claim"] and row["claim"] > (row["left"] or 0)]
    told = OrderEvent.objects.filter(pk__in=claims).values_list("order_id", "actor", "data")
    return {order_id: data.get("to", actor) for order_id, actor, data in told}
