"""The rung below a person: whether the balance at the provider moved as if an attempt in doubt had been bought.

It may make a purchase likely or unlikely. It proves neither, so it moves nothing; it is written down for the person.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from apps.orders import machine
from apps.orders.models import Attempt, Order, OrderEvent
from apps.orders.snapshot import paid_micros
from apps.orders.states import AttemptState
from apps.providers.catalogue_models import BalanceReading

A = AttemptState

CHARGED = frozenset({A.ACCEPTED, A.DELIVERED, A.PARTIAL})
"""Attempts of the same account that its balance has paid for."""

UNCHARGED = frozenset({A.PREPARED, A.REFUSED, A.NOT_SENT, A.ABSENT})
"""Attempts that never cost anything there."""


class Fits(StrEnum):
    """What the movement of the balance looks like."""

    PURCHASE = "balance_fits_purchase"
    NONE = "balance_fits_none"
    NOTHING_KNOWN = "balance_says_nothing"


@dataclass(frozen=True, slots=True)
class Movement:
    """The balance before and after an attempt, micro-units of the account's currency, and what it looks like.

    `others_micros` is what all other purchases between the two readings have cost.
    """

    fits: Fits
    before_micros: int
    after_micros: int
    others_micros: int
    expected_micros: int | None


def compare_balance(attempt: Attempt) -> Movement | None:
    """The movement of the account's balance around the latest send of `attempt`; None until it was read afterwards."""
    caps = attempt.integration.caps()
    quiet_at = attempt.send_deadline_at + timedelta(seconds=caps.place_timeout_s)
    readings = BalanceReading.objects.filter(integration=attempt.integration_id, amount_micros__isnull=False)
    before = readings.filter(since__lte=attempt.created_at).order_by("-since", "-pk").first()
    after = readings.filter(as_of__gte=quiet_at).order_by("as_of", "pk").first()
    if before is None or after is None or before.amount_micros is None or after.amount_micros is None:
        return None
    others = _cost_of_others(attempt, min(before.as_of, attempt.created_at), after.as_of)
    expected = paid_micros(attempt)
    rest = before.amount_micros - after.amount_micros - (others or 0)
    fits = Fits.NOTHING_KNOWN
    if others is not None and before.currency == after.currency == attempt.cost_currency and expected:
        fits = {expected: Fits.PURCHASE, 0: Fits.NONE}.get(rest, Fits.NOTHING_KNOWN)
    return Movement(fits, before.amount_micros, after.amount_micros, others or 0, expected)


def _cost_of_others(attempt: Attempt, since: datetime, until: datetime) -> int | None:
    """What the account's other purchases between two readings have cost; None where that is not known for certain."""
    others = Attempt.objects.filter(integration=attempt.integration_id, created_at__lte=until).exclude(pk=attempt.pk)
    touched = others.filter(created_at__gte=since) | others.filter(closed_at__gte=since) | others.filter(closed_at=None)
    total = 0
    for other in touched.distinct():
        cost = paid_micros(other)
        is_new = other.created_at >= since
        if other.state in UNCHARGED or (other.state in CHARGED and not is_new):
            continue  # an older purchase was paid before the first reading
        if other.state not in CHARGED or cost is None:
            return None
        total += cost
    return total


def record_comparison(order: Order, attempt: Attempt, now: datetime) -> None:
    """Write the comparison into the story, once for each send, as soon as there is one."""
    told = OrderEvent.objects.filter(attempt=attempt, kind__in=list(Fits), data__send_no=attempt.send_no)
    movement = None if told.exists() else compare_balance(attempt)
    if movement is None:
        return
    facts = {
        "send_no": attempt.send_no,
        "before_micros": movement.before_micros,
        "after_micros": movement.after_micros,
        "others_micros": movement.others_micros,
        "expected_micros": movement.expected_micros,
    }
    machine.record_story(order, movement.fits, "balance", now, attempt=attempt, data=facts)
