"""What a customer is told of an order: never a cost, a supplier or a code; never `failed` while money is held."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db.models import Count

from apps.api.schemas import EventOut, EventWord, FieldsOut, OrderOut
from apps.common.money import format_amount
from apps.orders.models import Order, OrderCode, OrderEvent
from apps.orders.states import SETTLED, OrderStatus
from apps.orders.telling import TOLD_STATUS, WITH_CODES, tell_external, tell_reason


def tell_order(order: Order) -> OrderOut:
    """One order; loads its number of codes."""
    return tell_orders([order])[0]


def tell_orders(orders: Sequence[Order]) -> list[OrderOut]:
    """Many orders with one look at their codes."""
    codes = count_codes(orders)
    return [_tell(order, codes.get(order.pk, 0)) for order in orders]


def count_codes(orders: Sequence[Order]) -> dict[int, int]:
    """How many codes each order can reveal; orders without any are left out."""
    ready = [order.pk for order in orders if order.status in WITH_CODES]
    if not ready:
        return {}
    shown = OrderCode.objects.filter(order__in=ready, is_quarantined=False)
    return dict(shown.values_list("order_id").annotate(Count("id")).order_by())


def _tell(order: Order, codes_available: int) -> OrderOut:
    return OrderOut(
        id=order.pk,
        version=order.version,
        status=TOLD_STATUS[OrderStatus(order.status)],
        external_status=tell_external(order),
        reason=tell_reason(order),
        held=order.status not in SETTLED,
        package=order.package.code,
        product_name=order.product_name,
        quantity=order.quantity,
        unit_price=format_amount(order.unit_price_micros),
        price=format_amount(order.price_micros),
        currency=order.currency,
        quote_id=order.quote.public_id if order.quote is not None else None,
        fields=FieldsOut(
            user_identifier=order.user_identifier or None, extra_field=order.extra_field or None, params=order.params
        ),
        client_reference=order.client_reference,
        provider_referans=order.provider_referans or None,
        codes_available=codes_available,
        created_at=order.created_at,
        sent_at=order.sent_at,
        settled_at=order.settled_at,
    )


OWN_EVENTS: dict[str, EventWord] = {
    "created": "created",
    "codes_revealed": "codes_revealed",
    "note_written": "note_written",
}
"""Lines of the story that are told although they change nothing."""

OWN_DOORS = frozenset({"create", "api", "client_api", "event"})
"""Where a customer comes in, and the events that one asked for; what the shop's people do inside is not told."""


def tell_events(story: Iterable[OrderEvent]) -> list[EventOut]:
    """The story of one order for its customer: what they did themselves, and each change of the status they know."""
    told: list[EventOut] = []
    for event in story:
        status = TOLD_STATUS[OrderStatus(event.status)]
        own = OWN_EVENTS.get(event.kind) if event.cause in OWN_DOORS else None
        if own is None and told and told[-1].status != status:
            own = "status_changed"
        if own is not None:
            told.append(EventOut(event=own, status=status, at=event.at))
    return told
