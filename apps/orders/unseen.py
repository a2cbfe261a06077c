"""References that a buyer asks about before we have seen an order of theirs: on their way at first, then closed.

A purchase may still be on its way when its buyer asks for it. So a reference without an order is no news until its
purchase cannot be under way any more; only then is it told as absent, and from that moment no order can have it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from apps.accounts.models import Customer
from apps.orders.creation import Created, NewOrder, create_order
from apps.orders.models import Order, UnseenReference

IN_FLIGHT_FOR = timedelta(minutes=10)
"""How long after the first question a purchase may still arrive."""

KEPT_FOR = timedelta(days=90)
"""How long a reference stays closed after it was asked about first."""


class ReferenceClosed(Exception):
    """The buyer was told that there is no order under this reference: there will be none."""


def is_absent(customer: Customer, reference: str, now: datetime) -> bool:
    """Whether the buyer may be told that no order has the reference; if so, no order will ever have it.

    False while a purchase may be on its way, counted from the first question, and when one has arrived meanwhile.
    """
    seen, is_new = UnseenReference.objects.get_or_create(
        customer=customer, reference=reference, defaults={"asked_at": now}
    )
    if is_new:
        UnseenReference.objects.filter(customer=customer, asked_at__lt=now - KEPT_FOR).delete()
    if seen.closed_at is not None:
        return True
    return now - seen.asked_at > IN_FLIGHT_FOR and _close(seen, now)


def _close(seen: UnseenReference, now: datetime) -> bool:
    with transaction.atomic():
        _lock(seen.customer_id)
        if Order.objects.filter(customer=seen.customer_id, idempotency_key=seen.reference).exists():
            return False
        UnseenReference.objects.filter(pk=seen.pk, closed_at=None).update(closed_at=now)
    return True


def create_unless_closed(customer: Customer, new: NewOrder, reference: str, now: datetime) -> Created:
    """`create_order` under the buyer's reference, unless it was told as absent. Raises `ReferenceClosed` then.

    The customer's row is locked meanwhile, so that nobody tells it as absent while its order is being written.
    """
    with transaction.atomic():
        _lock(customer.pk)
        if UnseenReference.objects.filter(customer=customer, reference=reference, closed_at__isnull=False).exists():
            raise ReferenceClosed
        return create_order(customer, new, reference, now)


def _lock(customer_id: int) -> None:
    Customer.objects.select_for_update(no_key=True).get(pk=customer_id)
