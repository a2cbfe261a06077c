"""Our orders counted again, one by one, against a provider's own truth ledger."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from apps.common.money import to_micros
from apps.ops.money_check import check_money
from apps.orders.models import Attempt, Order
from apps.orders.states import SETTLED, OrderStatus
from apps.wallet import ledger


@dataclass(slots=True)
class Purchase:
    """One purchase as the provider recorded it."""

    reference: str
    recipient: str
    cost: Decimal
    state: str = "waiting"
    pins: list[str] = field(default_factory=list)


def read_purchases(truth: Path) -> list[Purchase]:
    """Every purchase of a truth ledger (JSON lines), folded with how it ended. A torn last line is left out."""
    purchases: dict[tuple[str, str], Purchase] = {}
    for line in truth.read_bytes().split(b"\n")[:-1]:
        entry: dict[str, Any] = json.loads(line)
        if entry["event"] == "bought":
            bought = Purchase(entry["reference"], entry["recipient"], Decimal(entry["cost"]))
            purchases[entry["dialect"], entry["order_id"]] = bought
        elif entry["event"] == "finished":
            purchase = purchases[entry["dialect"], entry["order_id"]]
            purchase.state = entry["state"]
            purchase.pins += [pin for pin in entry["pins"] if pin not in purchase.pins]
    return list(purchases.values())


@dataclass(slots=True)
class Recount:
    """The counts that are printed, and every disagreement in words."""

    orders: int = 0
    completed: int = 0
    rejected: int = 0
    review: int = 0
    pins: int = 0
    purchases_at_provider: int = 0
    double_purchases: int = 0
    money_unexplained: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The counts alone, for one line of JSON."""
        counts = asdict(self)
        counts.pop("problems")
        return counts


def recount(orders: Iterable[Order], truth: Path) -> Recount:
    """Compare `orders` with the provider's ledger: purchases, PINs byte for byte, all money to the micro-unit."""
    count = Recount()
    purchases: defaultdict[str, list[Purchase]] = defaultdict(list)
    for purchase in read_purchases(truth):
        purchases[purchase.reference].append(purchase)
    count.purchases_at_provider = sum(map(len, purchases.values()))
    known: set[str] = set()
    for order in orders:
        references = list(Attempt.objects.filter(order=order).values_list("reference", flat=True))
        known.update(references)
        _count_order(count, order, [purchase for reference in references for purchase in purchases.get(reference, [])])
    for reference in sorted(set(purchases) - known):
        count.problems.append(f"the provider has a purchase {reference} that we do not know")
    _count_money(count)
    return count


def _count_order(count: Recount, order: Order, bought: list[Purchase]) -> None:
    count.orders += 1
    count.completed += order.status == OrderStatus.COMPLETED
    count.rejected += order.status == OrderStatus.REJECTED
    count.review += order.status == OrderStatus.REVIEW
    kept = [purchase for purchase in bought if purchase.state != "cancelled"]
    surplus = max(len(kept) - order.quantity, 0) + len(bought) - len({purchase.reference for purchase in bought})
    count.double_purchases += surplus
    if surplus:
        count.problems.append(f"order {order.pk} was bought {len(kept)} times for {order.quantity}")
    ours = sorted(code.reveal()["value"] for code in order.codes.filter(is_quarantined=False))
    theirs = sorted(pin for purchase in kept if purchase.state == "delivered" for pin in purchase.pins)
    count.pins += len(ours)
    if order.status in SETTLED and ours != theirs:
        count.problems.append(f"order {order.pk} has {len(ours)} PINs, the provider gave {len(theirs)}, or they differ")
    delivered = sum(purchase.state == "delivered" for purchase in kept)
    if order.status == OrderStatus.COMPLETED and delivered != order.quantity:
        count.problems.append(f"order {order.pk} is completed with {delivered} of {order.quantity} deliveries")
    if order.status == OrderStatus.REJECTED and kept:
        count.problems.append(f"order {order.pk} is rejected, but the provider kept {len(kept)} purchases")
    problems = _cost_at_provider(order, kept)
    count.money_unexplained += len(problems)
    count.problems += problems


def _cost_at_provider(order: Order, kept: list[Purchase]) -> list[str]:
    """Whether the cost booked for a settled order is what the provider charged; the rest is the money check's."""
    cost = sum(to_micros(purchase.cost) for purchase in kept if purchase.state == "delivered")
    booked = ledger.cost_of_order(order.pk)
    if order.status not in SETTLED or booked == cost:
        return []
    return [f"order {order.pk}: the cost booked is {booked}, the provider charged {cost}"]


def _count_money(count: Recount) -> None:
    problems = check_money().problems
    count.money_unexplained += len(problems)
    count.problems += problems
