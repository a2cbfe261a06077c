"""An order that its customer takes back before it was ever sent."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.orders import machine, outcomes
from apps.orders.decisions.deciding import Signed
from apps.orders.decisions.folding import fold, load_free, release_units
from apps.orders.decisions.refused import NotPossible
from apps.orders.models import Attempt, Order, OrderUnit
from apps.orders.states import AttemptState, OrderStatus
from apps.providers.actions import Action


class AlreadySent(Exception):
    """The order was sent, or may have been, or is over: nothing was changed."""


def cancel_unsent(order_id: int, actor: str, now: datetime) -> Order:
    """Give the whole price back and cancel the order; one that is cancelled already stays as it is.

    Raises `AlreadySent` unless it waits to be sent and every attempt, if there is one, is proven not to have left.
    """
    with transaction.atomic():
        order = outcomes.lock_orders({order_id})[order_id]
        if order.status == OrderStatus.CANCELLED:
            return order
        units = _load_unsent(order, now)
        release_units(order, units, Signed(actor, "", 0), "the customer, before it was sent", now)
        fold(order, now)
        machine.record_story(order, "cancelled_by_customer", "api", now, actor=actor, data={"units": len(units)})
    return order


def _load_unsent(order: Order, now: datetime) -> list[OrderUnit]:
    sent = Attempt.objects.filter(order=order).exclude(state=AttemptState.NOT_SENT)
    if order.status != OrderStatus.PENDING or sent.exists():
        raise AlreadySent(f"order {order.pk} is {order.status}")
    try:
        return load_free(order, Action.RELEASE, now)
    except NotPossible as error:
        raise AlreadySent(f"order {order.pk}: {error}") from error
