"""Which decisions an order has open at this moment, and why the others are not; asked of the decisions themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from apps.common.money import Money
from apps.orders.decisions.by_hand import DELIVER
from apps.orders.decisions.conflicts import RESOLVE, Truth
from apps.orders.decisions.deciding import Act, Wish
from apps.orders.decisions.folding import is_conflict, load_free
from apps.orders.decisions.late import ACCEPT_LATE, REVERSE, check_hidden
from apps.orders.decisions.letting_go import RELEASE, STOP_WAITING, Then
from apps.orders.decisions.refunds import GIVE_BACK, REFUNDABLE
from apps.orders.decisions.refused import BadInput, DecisionRefused
from apps.orders.models import Attempt, Case, Order
from apps.orders.states import SETTLED, AttemptState, OrderStatus
from apps.providers.actions import Action

A = AttemptState


@dataclass(frozen=True, slots=True)
class Possible:
    """One decision about an order, an attempt or a case of it, with the money that hangs on it (None: not known yet).

    `why_not` says why it cannot be made now; empty where it can.
    """

    name: str
    choice: str = ""
    attempt: Attempt | None = None
    case: Case | None = None
    stake: Money | None = None
    why_not: str = ""


def possible(order: Order, now: datetime) -> list[Possible]:
    """Every decision that fits the order, its open attempts and its open cases. Reads only."""
    attempts = list(Attempt.objects.filter(order=order).select_related("integration").order_by("id"))
    cases = Case.objects.filter(order=order, closed_at=None).select_related("attempt", "attempt__integration", "owner")
    return [
        *_about_order(order, now),
        *(found for attempt in attempts for found in _about_attempt(order, attempt, now)),
        *(found for case in cases.order_by("id") for found in _about_case(order, case, now)),
    ]


def _about_order(order: Order, now: datetime) -> Iterator[Possible]:
    yield Possible("add_note")
    if order.status == OrderStatus.REVIEW:
        for name in ("claim_review", "assign_review", "snooze_review"):
            yield Possible(name)
    if order.status in REFUNDABLE:
        yield _asked(GIVE_BACK, "give_back", order, Wish(), now)
    if order.status not in SETTLED and not is_conflict(order):
        yield _asked(RELEASE, "release", order, Wish(), now)
        yield _asked(DELIVER, "deliver_by_hand", order, Wish(), now)
        yield _tried("send_elsewhere", lambda: load_free(order, Action.FAIL_OVER, now))


def _about_attempt(order: Order, attempt: Attempt, now: datetime) -> Iterator[Possible]:
    if is_conflict(order):
        if attempt.state in (A.SENDING, A.ACCEPTED, A.IN_DOUBT, A.DELIVERED):
            for truth in Truth:
                yield _asked(RESOLVE, "resolve", order, Wish(attempt.pk, choice=truth), now, attempt)
        return
    if attempt.state in (A.ACCEPTED, A.IN_DOUBT):
        for then in Then:
            yield _asked(STOP_WAITING, "stop_waiting", order, Wish(attempt.pk, choice=then), now, attempt)
    owes_code = attempt.state == A.DELIVERED and order.status not in SETTLED
    if attempt.state in (A.ACCEPTED, A.IN_DOUBT) or owes_code:
        yield _asked(DELIVER, "deliver_by_hand", order, Wish(attempt.pk), now, attempt)


def _about_case(order: Order, case: Case, now: datetime) -> Iterator[Possible]:
    wish = Wish(case_id=case.pk)
    if case.reason == Case.Reason.LATE_DELIVERY:
        yield _asked(ACCEPT_LATE, "accept_late", order, wish, now, case=case)
    elif case.reason == Case.Reason.REVERSAL:
        yield _asked(REVERSE, "reverse", order, wish, now, case=case)
    else:
        yield _tried("release_codes", lambda: check_hidden(case), case=case)
    if case.owner is None:
        yield Possible("claim_case", case=case)
    for name in ("assign_case", "snooze_case", "close_case"):
        yield Possible(name, case=case)


def _asked(
    act: Act,
    name: str,
    order: Order,
    wish: Wish,
    now: datetime,
    attempt: Attempt | None = None,
    case: Case | None = None,
) -> Possible:
    """What the decision itself says; one that only lacks an entry can be made."""
    try:
        return Possible(name, wish.choice, attempt, case, act.stake(order, wish, now))
    except BadInput:
        return Possible(name, wish.choice, attempt, case)
    except DecisionRefused as refused:
        return Possible(name, wish.choice, attempt, case, why_not=str(refused))


def _tried(name: str, check: Callable[[], object], case: Case | None = None) -> Possible:
    try:
        check()
    except DecisionRefused as refused:
        return Possible(name, case=case, why_not=str(refused))
    return Possible(name, case=case)
