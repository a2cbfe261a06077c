"""The words in which a customer is told of an order, by every door: never `failed` while money is held, no supplier."""

from __future__ import annotations

from typing import Literal

from apps.orders.models import Order, OrderCode
from apps.orders.states import SETTLED, ExternalStatus, OrderStatus

ToldStatus = Literal["pending", "processing", "completed", "partial", "rejected", "cancelled", "refunded"]
ToldExternal = Literal["not_sent", "sending", "sent", "processing", "completed", "partial", "failed", "reversed"]
ToldReason = Literal["waiting", "waiting_pin", "in_review"]

TOLD_STATUS: dict[OrderStatus, ToldStatus] = {
    OrderStatus.PENDING: "pending",
    OrderStatus.PROCESSING: "processing",
    OrderStatus.REVIEW: "processing",
    OrderStatus.COMPLETED: "completed",
    OrderStatus.PARTIAL: "partial",
    OrderStatus.REJECTED: "rejected",
    OrderStatus.CANCELLED: "cancelled",
    OrderStatus.REFUNDED: "refunded",
}

TOLD_EXTERNAL: dict[ExternalStatus, ToldExternal] = {
    ExternalStatus.NOT_SENT: "not_sent",
    ExternalStatus.SENDING: "sending",
    ExternalStatus.SENT: "sent",
    ExternalStatus.PROCESSING: "processing",
    ExternalStatus.COMPLETED: "completed",
    ExternalStatus.PARTIAL: "partial",
    ExternalStatus.FAILED: "failed",
    ExternalStatus.UNKNOWN: "processing",
    ExternalStatus.REVERSED: "reversed",
}

EVENT_KINDS: dict[OrderStatus, str] = {
    OrderStatus.PENDING: "order.pending",
    OrderStatus.PROCESSING: "order.processing",
    OrderStatus.REVIEW: "order.held",
    OrderStatus.COMPLETED: "order.completed",
    OrderStatus.PARTIAL: "order.partial",
    OrderStatus.REJECTED: "order.rejected",
    OrderStatus.CANCELLED: "order.cancelled",
    OrderStatus.REFUNDED: "order.refunded",
}
"""The event that tells each status. `order.held`: nobody knows yet how it ended, the money is set aside."""

NOT_WHILE_HELD = frozenset({ExternalStatus.FAILED, ExternalStatus.REVERSED})
"""Words about one attempt that would read as the order's end, which it may still not be."""

WITH_CODES = frozenset({OrderStatus.COMPLETED, OrderStatus.PARTIAL})
"""Orders whose codes may be revealed."""


def tell_external(order: Order) -> ToldExternal:
    """The provider's state: an order that waits to be sent again is not sent, and doubt is work in progress."""
    external = ExternalStatus(order.external_status)
    if order.status == OrderStatus.PENDING:
        return "not_sent"
    if external in NOT_WHILE_HELD and order.status not in SETTLED:
        return "processing"
    return TOLD_EXTERNAL[external]


def tell_reason(order: Order) -> ToldReason | None:
    """Why an open order is not further, in one of three words; our own reasons name suppliers and stay inside."""
    if order.status in SETTLED or not (order.reason or order.status == OrderStatus.REVIEW):
        return None
    if order.status == OrderStatus.REVIEW:
        return "in_review"
    return "waiting_pin" if order.reason == "waiting:pin" else "waiting"


def tell_standing(order: Order) -> dict[str, object]:
    """Where the order stands, as its events say it: no code, no recipient, no cost. `version` only ever grows."""
    return {
        "order_id": order.pk,
        "version": order.version,
        "client_reference": order.client_reference,
        "status": TOLD_STATUS[OrderStatus(order.status)],
        "external_status": tell_external(order),
        "reason": tell_reason(order),
        "held": order.status not in SETTLED,
        "codes_available": _codes_available(order),
    }


def _codes_available(order: Order) -> int:
    if order.status not in WITH_CODES:
        return 0
    return OrderCode.objects.filter(order=order, is_quarantined=False).count()
