"""The endpoints of orders: translate in, call once, translate out."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from ninja import Query, Router, Status

from apps.accounts.keys import Caller
from apps.accounts.models import Scope
from apps.api import cursors
from apps.api.auth import KeyedRequest, needs
from apps.api.problems import ORDERS, CodesNotReady, OrderNotCancellable, OrderNotFound
from apps.api.schemas import CodeOut, CodesOut, NewOrderIn, OrderFilter, OrderOut, OrderPage, ProblemOut
from apps.api.telling import tell_order, tell_orders
from apps.common import clock
from apps.orders import decisions
from apps.orders.creation import KEY
from apps.orders.models import Order
from apps.orders.services import create_order
from apps.orders.states import OrderStatus
from apps.orders.telling import TOLD_STATUS, WITH_CODES
from apps.orders.withdrawal import AlreadySent, cancel_unsent

router = Router(tags=["orders"])

IDEMPOTENCY_KEY: dict[str, Any] = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": True,
    "schema": {"type": "string", "pattern": f"^{KEY.pattern}$"},
    "description": "one per order you mean to place; repeat it to learn what became of the first request",
}


@router.post(
    "/orders",
    auth=needs(Scope.ORDERS),
    response={201: OrderOut, (400, 401, 403, 402, 409, 413, 415, 422, 429, 500): ProblemOut},
    url_name=ORDERS,
    openapi_extra={"parameters": [IDEMPOTENCY_KEY]},
)
def place_order(request: KeyedRequest, new: NewOrderIn, response: HttpResponse) -> Status[OrderOut]:
    """Place an order. A repeated Idempotency-Key gets the first order again, marked `Idempotent-Replayed: true`."""
    key = request.headers.get("Idempotency-Key", "")
    created = create_order(request.auth.customer, new.as_new_order(), key, clock.now())
    response["Location"] = reverse("api:order", args=[created.order.pk])
    if created.is_replay:
        response["Idempotent-Replayed"] = "true"
    return Status(201, tell_order(created.order))


@router.get(
    "/orders", auth=needs(Scope.READ), response={200: OrderPage, (401, 403, 422, 429, 500): ProblemOut}, url_name=ORDERS
)
def list_orders(request: KeyedRequest, wanted: Query[OrderFilter]) -> OrderPage:
    """Your orders, newest first."""
    orders = orders_of(request.auth).filter(**wanted.columns())
    if wanted.status:
        orders = orders.filter(status__in=[status for status, told in TOLD_STATUS.items() if told == wanted.status])
    if wanted.cursor is not None:
        orders = orders.filter(pk__lt=cursors.decode(wanted.cursor))
    found = list(orders.order_by("-pk")[: wanted.limit + 1])
    page = found[: wanted.limit]
    next_cursor = cursors.encode(page[-1].pk) if len(found) > len(page) else None
    return OrderPage(orders=tell_orders(page), next_cursor=next_cursor)


@router.get(
    "/orders/{int:order_id}",
    auth=needs(Scope.READ),
    response={200: OrderOut, (401, 403, 404, 429, 500): ProblemOut},
    url_name="order",
)
def show_order(request: KeyedRequest, order_id: int) -> OrderOut:
    """One order, without its codes."""
    return tell_order(load_order(orders_of(request.auth), order_id))


@router.post(
    "/orders/{int:order_id}/codes/reveal",
    auth=needs(Scope.ORDERS),
    response={200: CodesOut, (401, 403, 404, 409, 429, 500): ProblemOut},
    url_name="reveal",
)
def reveal_codes(request: KeyedRequest, order_id: int) -> CodesOut:
    """The codes of a completed or partly completed order, in clear. Who asked is written into the order's story."""
    with transaction.atomic():
        order = load_order(orders_of(request.auth).select_for_update(of=("self",)), order_id)
        if order.status not in WITH_CODES:
            told = TOLD_STATUS[OrderStatus(order.status)]
            text = _("order %(order)d is %(status)s; ask again when it is completed or partial")
            raise CodesNotReady(text % {"order": order.pk, "status": told})
        shown = decisions.reveal_codes(order, request.auth.key_id, "api", clock.now())
        codes = [CodeOut(**{name: getattr(code, name) for name in CodeOut.model_fields}) for code in shown]
    return CodesOut(codes=codes)


@router.post(
    "/orders/{int:order_id}/cancel",
    auth=needs(Scope.ORDERS),
    response={200: OrderOut, (401, 403, 404, 409, 429, 500): ProblemOut},
    url_name="cancel",
)
def cancel_order(request: KeyedRequest, order_id: int) -> OrderOut:
    """Take an order back that was never sent: the whole price returns to your wallet. Safe to repeat."""
    order = load_order(orders_of(request.auth), order_id)
    try:
        cancel_unsent(order.pk, request.auth.key_id, clock.now())
    except AlreadySent as error:
        raise OrderNotCancellable(_("this order was sent, or is over: it can no longer be cancelled")) from error
    return tell_order(load_order(orders_of(request.auth), order_id))


def orders_of(caller: Caller) -> QuerySet[Order]:
    """All that this caller may see."""
    return Order.objects.select_related("package", "quote").filter(customer=caller.customer)


def load_order(orders: QuerySet[Order], order_id: int) -> Order:
    """One of `orders`. Raises `OrderNotFound`, with the same words for a foreign order and for none."""
    order = orders.filter(pk=order_id).first()
    if order is None:
        raise OrderNotFound(_("none of your orders has this id; list them with GET /api/v1/orders"))
    return order
