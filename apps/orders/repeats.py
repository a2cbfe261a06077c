"""The same buyer, product and recipient twice within a short time: refused, unless the buyer says that it is meant."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db.models import Max
from django.utils.translation import gettext as _

from apps.accounts.models import Customer
from apps.catalog.models import Package
from apps.orders.models import Order
from apps.orders.refusals import BadField, RepeatSuspected
from apps.orders.states import OrderStatus

MOST = 9999
"""The highest counter that is taken for one."""

UNDELIVERED = (OrderStatus.REJECTED, OrderStatus.CANCELLED)
"""Ends without delivery: whoever orders again after them wants the first one."""

Targets = Mapping[str, str | dict[str, str]]


def check_counter(repeat: object) -> None:
    """Raise `BadField` for what is no counter of repeats."""
    if type(repeat) is not int or not 0 <= repeat <= MOST:
        raise BadField(_("repeat must be a whole number from 0 to %(most)d") % {"most": MOST}, "/repeat")


def fingerprint(package: Package, quantity: int, targets: Targets) -> str:
    """32 hex digits for what is bought for whom; empty where nobody is named, as with a gift card.

    Whoever sells gift cards buys the same one all day, each for another person: that is no repeat.
    """
    named = sorted(_named(targets))
    content = json.dumps([package.pk, quantity, named], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()[:32] if named else ""


def _named(targets: Targets) -> list[tuple[str, str]]:
    """Every target with a value, in one writing: letter case, width and white space tell no two recipients apart."""
    params = targets["params"]
    flat = {**targets, "params": "", **(params if isinstance(params, dict) else {})}
    said = ((name, unicodedata.normalize("NFKC", str(value)).casefold()) for name, value in flat.items())
    return [(name, "".join(value.split())) for name, value in said if value]


def check_no_repeat(customer: Customer, intent: str, repeat: int, key: str, now: datetime) -> None:
    """Raise `RepeatSuspected` when the customer has placed this order already, under another key.

    Called in the transaction that places the order: two at once queue at the customer's row. A counter above 0 is
    its own order, once; without one any of the same is too many.
    """
    window = timedelta(minutes=customer.tenant.repeat_minutes)
    if not intent or not window:
        return
    Customer.objects.select_for_update(no_key=True).get(pk=customer.pk)
    recent = Order.objects.filter(customer=customer, intent=intent, created_at__gt=now - window)
    same = recent.exclude(status__in=UNDELIVERED).exclude(idempotency_key=key)
    first = (same.filter(repeat=repeat) if repeat else same).order_by("pk").first()
    if first is not None:
        raise RepeatSuspected(first.pk, 1 + same.aggregate(most=Max("repeat"))["most"])
