"""Orders that pass from shop to shop: which way they came, which attempt buys them, and loops, refused unpaid."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.accounts.models import Customer
from apps.common.crypto import hash_hop
from apps.orders.models import Attempt, Order
from apps.orders.refusals import LoopRefused
from apps.orders.states import OPEN_ATTEMPTS, AttemptState
from apps.providers.registry import ADAPTERS, has_wire

MOST_HOPS = 8
"""Shops that an order may have passed before it comes here."""

LOOKS_BACK = timedelta(hours=24)
"""An attempt that is still open after this long is a person's question, and no sign of a loop."""

_PATH = re.compile(r"[0-9a-f]{16}(?:,[0-9a-f]{16})*")


@dataclass(frozen=True, slots=True)
class Origin:
    """How an order came from a buyer that may be a shop itself.

    `reference` is the buyer's own name for the purchase, `key_id` the public id of the key it used, `path` the shops
    before this one, each as a hash; empty where the buyer's software carries none.
    """

    reference: str
    key_id: str
    path: tuple[str, ...] = ()


def read_path(text: str) -> tuple[str, ...]:
    """The hops in a header's text, `a,b`. Raises `LoopRefused` for what cannot be read: it may hide our own."""
    told = text.replace(" ", "")
    if told and not _PATH.fullmatch(told):
        raise LoopRefused("the path of the order cannot be read")
    return tuple(told.split(",")) if told else ()


def path_beyond(order: Order) -> tuple[str, ...]:
    """The path that an order has when it leaves this shop: where it came by, and this shop."""
    return (*read_path(order.chain_path), hash_hop(order.tenant_id))


def check_no_loop(customer: Customer, origin: Origin, intent: str, repeat: int, now: datetime) -> None:
    """Raise `LoopRefused` for an order that this shop itself has sent out, or that has come too far."""
    if hash_hop(customer.tenant_id) in origin.path:
        raise LoopRefused("this order was in this shop before")
    if len(origin.path) >= MOST_HOPS:
        raise LoopRefused(f"this order has passed {MOST_HOPS} shops already")
    if intent and not repeat and _is_being_bought(customer, origin, intent, now):
        raise LoopRefused("this shop is buying the same for the same recipient at this moment")


def _is_being_bought(customer: Customer, origin: Origin, intent: str, now: datetime) -> bool:
    """Whether an open purchase of this shop would look just like this order if it came back without its path.

    Another order of the same shop by the same way is none: that shop tells its path, and looks for its own loops.
    """
    wired = [kind for kind in ADAPTERS if has_wire(kind)]
    own = Attempt.objects.filter(order__tenant_id=customer.tenant_id, order__intent=intent, kind__in=wired)
    if origin.path:
        own = own.exclude(order__customer=customer, order__chain_path=",".join(origin.path))
    return own.filter(state__in=OPEN_ATTEMPTS, created_at__gt=now - LOOKS_BACK).exists()


def find_parent(origin: Origin) -> Attempt | None:
    """The attempt of this installation that is buying this order: it has the reference, and its account the key."""
    waiting = Attempt.objects.filter(state__in=(AttemptState.SENDING, AttemptState.IN_DOUBT))
    attempt = waiting.select_related("integration").filter(reference=origin.reference).first()
    if attempt is None:
        return None
    secrets = attempt.integration.account().secrets.values()
    return attempt if any(secret.startswith(f"{origin.key_id}.") for secret in secrets) else None


def columns_of(origin: Origin | None) -> dict[str, object]:
    """What the order keeps of its origin."""
    if origin is None:
        return {}
    return {
        "chain_path": ",".join(origin.path),
        "parent_reference": origin.reference,
        "parent_attempt": find_parent(origin),
    }


@dataclass(frozen=True, slots=True)
class Links:
    """The orders next to one in its chain, as far as they are in this installation: its buyer's, and what it bought."""

    parent: Order | None
    children: tuple[Order, ...]


def links_of(order: Order) -> Links:
    """For superusers alone: the neighbours belong to other shops."""
    parent = order.parent_attempt.order if order.parent_attempt is not None else None
    children = Order.objects.filter(parent_attempt__in=Attempt.objects.filter(order=order)).order_by("pk")
    return Links(parent, tuple(children))
