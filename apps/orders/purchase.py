"""What an attempt buys, said in one place: a question that may buy must be the first purchase to the letter."""

from __future__ import annotations

from apps.orders.chains import path_beyond
from apps.orders.models import Attempt, Order
from apps.providers.contract import PlaceRequest


def purchase(attempt: Attempt, order: Order, units: int) -> PlaceRequest:
    """The request of the attempt for so many units of its order."""
    return PlaceRequest(
        reference=attempt.reference,
        product=attempt.product,
        recipient=order.user_identifier,
        extra_field=order.extra_field,
        params={name: str(value) for name, value in order.params.items()},
        quantity=units,
        path=path_beyond(order),
    )
