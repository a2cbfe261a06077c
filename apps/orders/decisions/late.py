"""Cases that money hangs on: a delivery after the money had gone back, a purchase taken back, a second code."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from apps.accounts.models import User
from apps.common.money import Money
from apps.orders import machine
from apps.orders.decisions.cases import check_open, end_case, load_open
from apps.orders.decisions.deciding import (
    Act,
    Action,
    Alone,
    Decided,
    Signed,
    Wish,
    decide,
    load_case,
    name_of,
    read_reason,
    testify,
)
from apps.orders.decisions.folding import sum_of
from apps.orders.decisions.refunds import left_of, return_sales
from apps.orders.decisions.refused import NotCovered, NotPossible
from apps.orders.models import AttemptUnit, Case, Order, OrderCode, OrderEvent, OrderUnit
from apps.orders.snapshot import record_snapshot
from apps.orders.states import AttemptState, OrderStatus, UnitStatus
from apps.wallet import ledger

Reason, Resolution = Case.Reason, Case.Resolution


# --- a late delivery


def accept_late(
    order_id: int, actor: User, reason: str, now: datetime, *, case_id: int, alone: Alone | None = None
) -> Decided:
    """Charge the customer, who has agreed, for a delivery that came after the money had gone back; give the codes free.

    The order's status stays. Raises a child of `DecisionRefused`; `NotCovered` where the balance does not cover it.
    """
    return decide(ACCEPT_LATE, order_id, actor, reason, now, Wish(case_id=case_id), alone)


def _stake_late(order: Order, wish: Wish, now: datetime) -> Money:
    case = _load(order, wish, Reason.LATE_DELIVERY)
    units = _units_of(case)
    if case.attempt.state != AttemptState.DELIVERED or not all(unit.status == UnitStatus.RELEASED for unit in units):
        raise NotPossible(_("The customer has it from elsewhere, or it was taken back: close the case."))
    has_codes = OrderCode.objects.filter(attempt=case.attempt).count() >= len(units)
    if order.needs_code and not has_codes:
        raise NotPossible(_("Not every code has come: there is nothing to charge for. Close the case, or wait."))
    return sum_of(units, order)


def _charge(order: Order, wish: Wish, signed: Signed, now: datetime) -> None:
    case = _load(order, wish, Reason.LATE_DELIVERY)
    units = _units_of(case)
    told = OrderEvent.objects.filter(attempt=case.attempt, kind="late_delivery", evidence__isnull=False)
    came_by = told.order_by("id").values_list("evidence_id", flat=True)[0]
    evidence = testify(case.attempt, "late_accepted", signed, now)
    postings = [
        ledger.late_sale(
            order.customer_id, order.pk, unit.pk, came_by, Money(unit.amount_micros, order.currency), actor=signed.name
        )
        for unit in units
    ]
    try:
        ledger.post(order.tenant_id, postings, now)
    except ledger.NotEnoughMoney as error:
        raise NotCovered(
            _("The customer's balance does not cover it: wait for a deposit, or close the case.")
        ) from error
    record_snapshot(order, sum_of(units, order).micros)
    OrderCode.objects.filter(attempt=case.attempt, is_quarantined=True).update(is_quarantined=False)
    end_case(order, case, actor_id=signed.actor_id, resolution=Resolution.CHARGED, reason=signed.reason, now=now)
    machine.record_story(
        order,
        "late_accepted",
        "person",
        now,
        attempt=case.attempt,
        evidence=evidence,
        actor=signed.name,
        data=signed.facts(units=len(units)),
    )


ACCEPT_LATE = Act(Action.ACCEPT_LATE, _stake_late, _charge)


# --- a purchase that the provider took back


def reverse(
    order_id: int, actor: User, reason: str, now: datetime, *, case_id: int, alone: Alone | None = None
) -> Decided:
    """Give the customer back what was paid for the units that the provider took back, each once.

    The order is `refunded` when nothing of it is left. Raises a child of `DecisionRefused`.
    """
    return decide(REVERSE, order_id, actor, reason, now, Wish(case_id=case_id), alone)


def _stake_reverse(order: Order, wish: Wish, now: datetime) -> Money:
    sold = _sold(order, _load(order, wish, Reason.REVERSAL))
    if not sold:
        raise NotPossible(_("The customer has the money of these units already: close the case."))
    return Money(sum(money.micros for money in sold.values()), order.currency)


def _sold(order: Order, case: Case) -> dict[int, Money]:
    ids = {unit.pk for unit in _units_of(case)}
    is_open = order.status in (OrderStatus.COMPLETED, OrderStatus.PARTIAL)
    return {unit_id: money for unit_id, money in left_of(order).items() if is_open and unit_id in ids}


def _reverse(order: Order, wish: Wish, signed: Signed, now: datetime) -> None:
    case = _load(order, wish, Reason.REVERSAL)
    sold = _sold(order, case)
    evidence = testify(case.attempt, "reversed", signed, now)
    return_sales(order, sold, signed.name, signed.reason, now)
    end_case(order, case, actor_id=signed.actor_id, resolution=Resolution.GIVEN_BACK, reason=signed.reason, now=now)
    machine.record_story(
        order,
        "reversal_given_back",
        "person",
        now,
        attempt=case.attempt,
        evidence=evidence,
        actor=signed.name,
        data=signed.facts(units=len(sold)),
    )


REVERSE = Act(Action.REVERSE, _stake_reverse, _reverse)


# --- a second code


def release_codes(order_id: int, actor: User, reason: str, now: datetime, *, case_id: int) -> None:
    """Let further codes of a delivery that the customer has paid out of quarantine. Raises a `DecisionRefused`."""
    text = read_reason(reason)
    with transaction.atomic():
        order, case = load_open(order_id, actor, case_id)
        check_hidden(case)
        count = _hidden(case).update(is_quarantined=False)
        end_case(order, case, actor_id=actor.pk, resolution=Resolution.CODES_RELEASED, reason=text, now=now)
        facts = {"why": text, "case": case.reason, "codes": count}
        machine.record_story(
            order, "codes_released", "person", now, attempt=case.attempt, actor=name_of(actor), data=facts
        )


def check_hidden(case: Case) -> None:
    """Raise `NotPossible` unless a code of a paid delivery is in quarantine."""
    if case.reason == Reason.LATE_DELIVERY or not (_hidden(case).exists() and _is_paid(case)):
        raise NotPossible(_("No code of a paid delivery is hidden: settle the late delivery, or close the case."))


def _hidden(case: Case) -> QuerySet[OrderCode]:
    return OrderCode.objects.filter(attempt=case.attempt, is_quarantined=True)


def _is_paid(case: Case) -> bool:
    """The customer paid for what this attempt delivered: in time, or afterwards."""
    charged = Case.objects.filter(attempt=case.attempt, resolution=Resolution.CHARGED).exists()
    captured = AttemptUnit.objects.filter(attempt=case.attempt, holds=True, unit__status=UnitStatus.CAPTURED).exists()
    return charged or captured


# --- what they share


def _load(order: Order, wish: Wish, reason: str) -> Case:
    case = load_case(order, wish.case_id)
    check_open(case)
    if case.reason != reason:
        raise NotPossible(_("This case asks something else. Load the order's page again."))
    return case


def _units_of(case: Case) -> list[OrderUnit]:
    return list(OrderUnit.objects.filter(attempt_units__attempt=case.attempt).order_by("n"))
