"""What people say about an order without changing it: a note, and who works on it while it is in review."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import Max, Q
from django.utils.translation import gettext as _

from apps.accounts.models import User
from apps.orders import machine
from apps.orders.decisions.deciding import load_own, name_of, read_reason
from apps.orders.decisions.refused import NotPossible
from apps.orders.models import OrderEvent
from apps.orders.states import OrderStatus

CLAIMED = "review_claimed"


def claim_review(order_id: int, actor: User, reason: str, now: datetime) -> None:
    """Work on an order in review from now on, also in place of a colleague. Raises a child of `DecisionRefused`."""
    text = read_reason(reason)
    with transaction.atomic():
        order = load_own(order_id, actor)
        if order.status != OrderStatus.REVIEW:
            raise NotPossible(_("This order is not in review any more: there is nothing to work on."))
        if reviewers([order.pk]).get(order.pk) != name_of(actor):
            machine.record_story(order, CLAIMED, "person", now, actor=name_of(actor), data={"why": text})


def add_note(order_id: int, actor: User, text: str, now: datetime) -> None:
    """Write one line of at most 200 characters into the story. Raises a child of `DecisionRefused`."""
    note = read_reason(text)
    with transaction.atomic():
        order = load_own(order_id, actor)
        machine.record_story(order, "noted", "person", now, actor=name_of(actor), data={"why": note})


def reviewers(order_ids: Iterable[int]) -> dict[int, str]:
    """Who said last that they work on each of these orders, since it is in review."""
    events = OrderEvent.objects.filter(order_id__in=list(order_ids)).values("order_id")
    last = events.annotate(
        claim=Max("id", filter=Q(kind=CLAIMED)), left=Max("id", filter=~Q(status=OrderStatus.REVIEW))
    )
    claims = [row["claim"] for row in last if row["claim"] and row["claim"] > (row["left"] or 0)]
    return dict(OrderEvent.objects.filter(pk__in=claims).values_list("order_id", "actor"))
