"""The body of an event, made anew for every try: codes are in it only where they were asked for and are still due."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime

from django.db import transaction

from apps.orders import outcomes
from apps.orders.decisions import ShownCode, reveal_codes_once
from apps.orders.telling import WITH_CODES
from apps.webhooks.models import WebhookDelivery

CAUSE = "event"
"""How the story of an order names an event as the way on which its codes went out."""

CODE_KINDS = frozenset({"order.completed", "order.partial"})


def compose(delivery: WebhookDelivery, now: datetime) -> bytes:
    """The body as JSON. Where codes are in it, the order's story says so before they leave."""
    event = delivery.event
    codes = codes_for(delivery, now)
    data = {**event.body, "codes": [_told(code) for code in codes]} if codes else event.body
    document = {"type": event.kind, "timestamp": event.created_at.isoformat(), "data": data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def codes_for(delivery: WebhookDelivery, now: datetime) -> list[ShownCode]:
    """The codes that go out with this delivery: none without https, in quarantine, or of an order without any now."""
    endpoint, event = delivery.endpoint, delivery.event
    is_asked_for = endpoint.with_codes and endpoint.url.startswith("https://")
    if not is_asked_for or event.kind not in CODE_KINDS:
        return []
    with transaction.atomic():
        order = outcomes.lock_orders({event.subject_id})[event.subject_id]
        if order.status not in WITH_CODES:
            return []
        return reveal_codes_once(order, f"endpoint {endpoint.pk}", CAUSE, now)


def _told(code: ShownCode) -> dict[str, str]:
    return {name: value for name, value in asdict(code).items() if name != "code_id"}
