"""What an order brought and cost, on its own row and in its own currency, so that reports read nothing else.

Written by the door for news in the transaction that moves the money; every amount is converted by the rates that its
attempt froze before it was sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from apps.catalog.rates import Conversion, NoRate, frozen
from apps.common.money import BadAmount
from apps.orders.models import Attempt, Order
from apps.orders.states import AttemptState
from apps.providers.registry import has_wire


@dataclass(frozen=True, slots=True)
class Cost:
    """What was expected and what was really paid, in micro-units of the order's currency; None where not known."""

    expected: int | None
    paid: int | None


def record_snapshot(order: Order, captured_micros: int) -> None:
    """Add what was captured just now (below zero: given back), and take over what all deliveries have cost so far.

    The order is locked by the caller.
    """
    bought = list(
        Attempt.objects.filter(order=order, delivered_at__isnull=False)
        .exclude(state=AttemptState.REVERSED)
        .select_related("cost_rate", "cost_rate_via")
        .order_by("id")
    )
    costs = [cost_of(attempt, order.currency) for attempt in bought]
    for attempt, cost in zip(bought, costs, strict=True):
        if attempt.sale_cost_micros != cost.paid:
            Attempt.objects.filter(pk=attempt.pk).update(sale_cost_micros=cost.paid)
    order.captured_micros += captured_micros
    order.expected_cost_micros = sum_known(cost.expected for cost in costs)
    order.cost_micros = sum_known(cost.paid for cost in costs)
    if bought:
        order.cost_rate, order.cost_rate_via = bought[-1].cost_rate, bought[-1].cost_rate_via
    Order.objects.filter(pk=order.pk).update(
        captured_micros=order.captured_micros,
        expected_cost_micros=order.expected_cost_micros,
        cost_micros=order.cost_micros,
        cost_rate=order.cost_rate,
        cost_rate_via=order.cost_rate_via,
    )


def cost_of(attempt: Attempt, currency: str) -> Cost:
    """The cost of one attempt in the order's currency: by the provider's word, else by the mapping, as booked."""
    conversion = frozen(attempt.cost_currency, currency, attempt.cost_rate, attempt.cost_rate_via)
    return Cost(_convert(conversion, expected_micros(attempt)), _convert(conversion, paid_micros(attempt)))


def expected_micros(attempt: Attempt) -> int | None:
    """What the mapping says that the attempt costs; of a part delivery the share of its delivered units."""
    expected = attempt.expected_cost_micros
    if expected is None or attempt.state != AttemptState.PARTIAL or attempt.delivered_units is None:
        return expected
    return expected * attempt.delivered_units // attempt.attempt_units.count()


def paid_micros(attempt: Attempt) -> int | None:
    """What the attempt cost: as told, else as expected. A provider's zero says nothing; a zero of our own is one."""
    told, expected = attempt.cost_micros, expected_micros(attempt)
    is_known = bool(told) or expected is None or (told is not None and not has_wire(attempt.kind))
    return told if is_known else expected


def _convert(conversion: Conversion, micros: int | None) -> int | None:
    """None where the amount is not known, or the attempt was made before rates were kept."""
    try:
        return None if micros is None else conversion.convert_up(micros)
    except (NoRate, BadAmount):
        return None


def sum_known(amounts: Iterable[int | None]) -> int | None:
    """The sum; None when one of them is not known."""
    found = list(amounts)
    known = [amount for amount in found if amount is not None]
    return sum(known) if len(known) == len(found) else None
