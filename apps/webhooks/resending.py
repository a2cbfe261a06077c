"""Telling a customer again that an order was delivered: the same event, to every endpoint that takes it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from apps.accounts.models import User
from apps.journal.models import OutboxEvent
from apps.orders import machine
from apps.orders.decisions import NotPossible
from apps.orders.decisions.deciding import load_own, name_of, read_reason
from apps.orders.models import Order
from apps.orders.telling import WITH_CODES
from apps.webhooks.delivering import redeliver
from apps.webhooks.models import WebhookDelivery, WebhookEndpoint
from apps.webhooks.payloads import CODE_KINDS
from apps.webhooks.publishing import new_delivery


def resend_delivery(order_id: int, actor: User, reason: str, now: datetime) -> None:
    """Send the event of an order's delivery again, also to endpoints that are younger than it; the story says who.

    Whoever had it gets it under the `webhook-id` that it had: nobody counts it twice. Raises a child of
    `DecisionRefused`.
    """
    text = read_reason(reason)
    with transaction.atomic():
        order = load_own(order_id, actor)
        event = load_event(order)
        endpoints = takers(order, {event.kind})
        if not endpoints:
            raise NotPossible(_("No webhook of this customer takes the event of a delivery."))
        for endpoint in endpoints:
            redeliver(_delivery_of(endpoint, event, now), now)
        facts = {"why": text, "endpoints": len(endpoints)}
        machine.record_story(order, "delivery_told_again", "person", now, actor=name_of(actor), data=facts)


def load_event(order: Order) -> OutboxEvent:
    """The event that told the delivery of the order last. Raises `NotPossible`."""
    if order.status not in WITH_CODES:
        raise NotPossible(_("Nothing of this order is delivered that could be told again."))
    told = OutboxEvent.objects.filter(subject_kind="order", subject_id=order.pk, kind__in=CODE_KINDS)
    event = told.order_by("-pk").first()
    if event is None:
        raise NotPossible(_("The event of this delivery is not kept any more: the customer asks for the order itself."))
    return event


def is_told_by_event(order: Order) -> bool:
    """Whether the delivery of this order may be told again, by the order and its customer's endpoints alone."""
    return order.status in WITH_CODES and bool(takers(order, CODE_KINDS))


def takers(order: Order, kinds: AbstractSet[str]) -> list[WebhookEndpoint]:
    """The endpoints of the order's customer that want one of these kinds of events, paused ones too."""
    own = WebhookEndpoint.objects.filter(customer_id=order.customer_id, deleted_at=None).order_by("pk")
    return [endpoint for endpoint in own if not endpoint.kinds or not kinds.isdisjoint(endpoint.kinds)]


def _delivery_of(endpoint: WebhookEndpoint, event: OutboxEvent, now: datetime) -> WebhookDelivery:
    """The one delivery of the event to the endpoint, made now where it had none."""
    made = new_delivery(endpoint, event, now)
    delivery, _is_new = WebhookDelivery.objects.get_or_create(
        endpoint=endpoint,
        event=event,
        defaults={"message_id": made.message_id, "next_at": made.next_at, "created_at": made.created_at},
    )
    return delivery
