"""The money and the standing of an order after a person has changed something about it, under the order's lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from django.utils.translation import gettext as _

from apps.common.money import Money
from apps.orders import due, machine, outcomes, routing, wake
from apps.orders.creation import OPEN_FOR
from apps.orders.decisions.deciding import Signed
from apps.orders.decisions.refused import NotPossible
from apps.orders.models import Attempt, AttemptUnit, Order, OrderUnit
from apps.orders.questions import load_facts
from apps.orders.snapshot import record_snapshot
from apps.orders.states import AttemptState, ExternalStatus, OrderStatus, UnitStatus
from apps.orders.tally import Tally, tally
from apps.providers.actions import Action, allowed
from apps.wallet import ledger

A, S = AttemptState, OrderStatus

STILL_OPEN = (A.SENDING, A.IN_DOUBT, A.ACCEPTED)


# --- what may be done


def load_free(order: Order, action: Action, now: datetime) -> list[OrderUnit]:
    """The free units of the order, if all that is known of every attempt allows this action. Raises `NotPossible`."""
    check_no_conflict(order)
    units = list(order.free_units())
    if not units:
        held = AttemptUnit.objects.filter(unit__order=order, holds=True, unit__status=UnitStatus.HELD)
        raise NotPossible(
            _("The provider may have bought it. Deliver it by hand, or stop waiting for the provider first.")
            if held.exists()
            else _("No money of this order is held any more: there is nothing to decide.")
        )
    for attempt in _attempts_of(units):
        check_may_let_go(attempt, action, now)
    return units


def _attempts_of(units: Sequence[OrderUnit]) -> list[Attempt]:
    found = Attempt.objects.filter(attempt_units__unit__in=units).select_related("integration")
    return list(found.distinct().order_by("id"))


def check_may_let_go(attempt: Attempt, action: Action, now: datetime) -> None:
    """Raise `NotPossible` unless the attempt, which holds none of the units, lets them be released or bought again."""
    caps = attempt.integration.caps()
    # The money of a free unit is held by the order; and only agreeing readings have made the attempt failed.
    facts = replace(load_facts(attempt, caps, now), is_money_held=True)
    if attempt.state == A.FAILED:
        facts = replace(facts, failed_readings=2)
    if allowed(caps, facts)[action] is not None:
        text = _("Attempt %(reference)s may still be delivered: wait for the provider's last word.")
        raise NotPossible(text % {"reference": attempt.reference})


def check_no_conflict(order: Order) -> None:
    """Raise `NotPossible` while contradictory news has frozen the order."""
    if is_conflict(order):
        raise NotPossible(_("The news about this order contradicts itself: settle the contradiction first."))


def is_conflict(order: Order) -> bool:
    """Whether contradictory news has frozen the order's money."""
    return order.status == S.REVIEW and order.reason.startswith("conflict:")


# --- money


def sum_of(units: Sequence[OrderUnit], order: Order) -> Money:
    """What the customer pays for these units."""
    return Money(sum(unit.amount_micros for unit in units), order.currency)


def release_units(order: Order, units: Sequence[OrderUnit], signed: Signed, rests_on: str, now: datetime) -> None:
    """Give the held money of these units back, each at most once. `rests_on` names the evidence."""
    postings = []
    for unit in units:
        machine.change_unit(unit, UnitStatus.RELEASED)
        money = Money(unit.amount_micros, order.currency)
        posting = ledger.release_unit(order.customer_id, order.pk, unit.pk, money, rests_on)
        postings.append(replace(posting, actor=signed.name))
    ledger.post(order.tenant_id, postings, now)


# --- standing


def fold(order: Order, now: datetime, external: ExternalStatus | None = None) -> Tally:
    """Write where the order stands now: units that may be captured, status, next dispatch; tell its new status.

    The caller writes the story. A pending order that nobody will send any more is cancelled.
    """
    before = order.status
    result = _tally(order, now)
    status = S.CANCELLED if order.status == S.PENDING and result.status is S.REJECTED else result.status
    _capture(order, result, now)
    word = external or ExternalStatus(order.external_status)
    if order.status == S.REVIEW and status is S.PENDING:
        machine.change_order(order, S.PROCESSING, word, "", now)
    machine.change_order(order, status, word, result.reason, now)
    if order.status != before:
        machine.announce(order, now)
    _plan(order, result, now)
    return result


def _tally(order: Order, now: datetime) -> Tally:
    units = outcomes.unit_facts(order)
    has_free = any(unit.holder is None and unit.status is UnitStatus.HELD for unit in units)
    return tally(
        units,
        needs_code=order.needs_code,
        now_status=S(order.status),
        now_reason=order.reason,
        review=_review_of_the_rest(order),
        outlook=routing.survey(order, routing.load_routes(order), now).outlook() if has_free else None,
        is_restored=order.is_restored,
    )


def _review_of_the_rest(order: Order) -> str:
    """An order stays in review while an attempt, other than those that a person has answered, is open for long."""
    if order.status != S.REVIEW:
        return ""
    states = (A.IN_DOUBT,) if order.reason in outcomes.DOUBTFUL else STILL_OPEN
    others = Attempt.objects.filter(order=order, state__in=states, attempt_units__holds=True)
    return order.reason if others.exists() else ""


def _capture(order: Order, result: Tally, now: datetime) -> None:
    """What the fold captures, and what it releases because no route is left for it."""
    postings, captured = [], 0
    for unit in OrderUnit.objects.filter(order=order, pk__in=result.capture + result.release).order_by("n"):
        money = Money(unit.amount_micros, order.currency)
        if unit.pk in result.capture:
            machine.change_unit(unit, UnitStatus.CAPTURED)
            postings.append(ledger.capture_unit(order.pk, unit.pk, money))
            captured += money.micros
        else:
            machine.change_unit(unit, UnitStatus.RELEASED)
            postings.append(ledger.release_unit(order.customer_id, order.pk, unit.pk, money, "no route is left"))
    if postings:
        ledger.post(order.tenant_id, postings, now)
    record_snapshot(order, captured)


def _plan(order: Order, result: Tally, now: datetime) -> None:
    if result.dispatch_at is None:
        due.drop_dispatch(order)
        return
    give_time(order, now)
    due.plan_dispatch(order, result.dispatch_at)
    if result.dispatch_at <= now:
        wake.dispatch_on_commit(order.pk, order.tenant_id)


def give_time(order: Order, now: datetime) -> None:
    """An order past its deadline, about which a person has decided that it goes on, gets another day."""
    if order.deadline_at <= now:
        word = ExternalStatus(order.external_status)
        machine.change_order(order, S(order.status), word, order.reason, now, deadline_at=now + OPEN_FOR)
