"""Putting a word on an order and taking it off: nothing else of the order changes, and the story tells both."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from apps.accounts.models import User
from apps.orders import machine
from apps.orders.decisions.deciding import load_own, name_of
from apps.orders.decisions.refused import BadInput, NotPossible
from apps.orders.models import Order
from apps.orders.tag_models import OrderTag

MOST = 10
"""Tags of one order."""
LONGEST = 40


def add_tag(order_id: int, actor: User, name: str, now: datetime, reason: str = "") -> None:
    """Put a tag of 1 to 40 characters on; one that is there stays as it is. Raises a child of `DecisionRefused`."""
    tag = read_tag(name)
    with transaction.atomic():
        order = load_own(order_id, actor)
        if tag in names_on(order):
            return
        check_room(order)
        OrderTag.objects.create(order=order, name=tag, actor=name_of(actor), created_at=now)
        _tell(order, "tagged", actor, tag, reason, now)


def remove_tag(order_id: int, actor: User, name: str, now: datetime, reason: str = "") -> None:
    """Take a tag off; one that is not there is none. Raises a child of `DecisionRefused`."""
    with transaction.atomic():
        order = load_own(order_id, actor)
        if OrderTag.objects.filter(order=order, name=name).delete()[0]:
            _tell(order, "untagged", actor, name, reason, now)


def _tell(order: Order, kind: str, actor: User, tag: str, reason: str, now: datetime) -> None:
    data = {"why": f"{tag}: {reason}" if reason else tag}
    machine.record_story(order, kind, "person", now, actor=name_of(actor), data=data)


def names_on(order: Order) -> set[str]:
    """The tags that the order has."""
    return set(OrderTag.objects.filter(order=order).values_list("name", flat=True))


def check_room(order: Order) -> None:
    """Raise `NotPossible` where the order takes no further tag."""
    if len(names_on(order)) >= MOST:
        raise NotPossible(_("An order takes at most %(most)d tags. Take one off first.") % {"most": MOST})


def read_tag(name: str) -> str:
    """The tag with single spaces, as it is stored and searched. Raises `BadInput`."""
    tag = " ".join(name.split())
    if not tag or len(tag) > LONGEST or not tag.isprintable():
        raise BadInput(_("Give a tag of at most %(most)d characters.") % {"most": LONGEST}, "tag")
    return tag


def tags_of(orders: Iterable[Order]) -> dict[int, list[OrderTag]]:
    """The tags of each of these orders, the oldest first; one query."""
    found: dict[int, list[OrderTag]] = {}
    for tag in OrderTag.objects.filter(order__in=list(orders)).order_by("pk"):
        found.setdefault(tag.order_id, []).append(tag)
    return found


def known_tags(tenant_ids: list[int], most: int = 100) -> list[str]:
    """The tags that orders of these shops have, in alphabetical order."""
    named = OrderTag.objects.filter(order__tenant_id__in=tenant_ids).order_by("name")
    return list(named.values_list("name", flat=True).distinct()[:most])
