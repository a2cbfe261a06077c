"""Where an order stands, folded from its units and attempts: what to capture, what to release, which status. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.orders.states import AttemptState, OrderStatus, UnitStatus

S = OrderStatus

RESTORED = "waiting:restored"
"""Why units that were free in a restored backup wait: nobody knows what was bought after it was taken."""


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """One unit: where its money is, and the attempt that holds it (None: it is free).

    `is_short`: its attempt delivered others of its units, but not this one.
    """

    id: int
    status: UnitStatus
    holder: AttemptState | None
    holder_has_code: bool
    is_short: bool = False


@dataclass(frozen=True, slots=True)
class Outlook:
    """What routing says of the free units: no route is left for ever, or when to try the next."""

    is_exhausted: bool
    retry_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Tally:
    """The order's new standing. `dispatch_at` is when free units are tried again, None when there is none to send."""

    capture: tuple[int, ...]
    release: tuple[int, ...]
    status: OrderStatus
    reason: str
    dispatch_at: datetime | None


def tally(
    units: Sequence[UnitFacts],
    *,
    needs_code: bool,
    now_status: OrderStatus,
    now_reason: str,
    review: str,
    outlook: Outlook | None,
    is_restored: bool,
) -> Tally:
    """Fold the units. A conflict freezes the money until a person decides; `review` is what the news asks for.

    Of an order that stood open in a restored backup, free units may have been bought already: they are a person's.
    """
    if now_status is S.REVIEW and now_reason.startswith("conflict:"):
        return Tally((), (), S.REVIEW, now_reason, None)
    if now_status is S.REFUNDED:  # by a person, who alone may do more about it
        return Tally((), (), S.REFUNDED, "", None)
    if review.startswith("conflict:"):
        return Tally((), (), S.REVIEW, review, None)
    capture = tuple(unit.id for unit in units if _is_delivered(unit, needs_code))
    free = [unit for unit in units if unit.status is UnitStatus.HELD and unit.holder is None]
    if is_restored and free:
        outlook, review = None, review or RESTORED
    short = tuple(unit.id for unit in units if unit.is_short and unit.status is UnitStatus.HELD)
    release = short + (tuple(unit.id for unit in free) if outlook and outlook.is_exhausted else ())
    after = {unit.id: unit.status for unit in units}
    after.update(dict.fromkeys(capture, UnitStatus.CAPTURED) | dict.fromkeys(release, UnitStatus.RELEASED))
    if UnitStatus.HELD not in after.values():
        return Tally(capture, release, _settled(set(after.values())), "", None)
    dispatch_at = outlook.retry_at if outlook and free and not outlook.is_exhausted else None
    open_units = [unit for unit in units if after[unit.id] is UnitStatus.HELD]
    is_untouched = all(unit.holder is None for unit in units)
    status, reason = _open(open_units, review, outlook if dispatch_at else None, is_untouched=is_untouched)
    return Tally(capture, release, status, reason, None if status is S.REVIEW else dispatch_at)


def _is_delivered(unit: UnitFacts, needs_code: bool) -> bool:
    is_there = unit.holder in (AttemptState.DELIVERED, AttemptState.PARTIAL) and not unit.is_short
    return unit.status is UnitStatus.HELD and is_there and (unit.holder_has_code or not needs_code)


def _settled(kinds: set[UnitStatus]) -> OrderStatus:
    if kinds == {UnitStatus.CAPTURED}:
        return S.COMPLETED
    return S.REJECTED if kinds == {UnitStatus.RELEASED} else S.PARTIAL


def _open(
    open_units: Sequence[UnitFacts], review: str, outlook: Outlook | None, *, is_untouched: bool
) -> tuple[OrderStatus, str]:
    if review:
        return S.REVIEW, review
    if outlook is not None:
        return (S.PENDING if is_untouched else S.PROCESSING), outlook.reason
    waits_for_pin = any(unit.holder is AttemptState.DELIVERED for unit in open_units)
    return S.PROCESSING, "waiting:pin" if waits_for_pin else ""
