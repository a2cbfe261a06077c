"""Contradictory news, which freezes an order's money: a person says what is true."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from django.db.models import F
from django.utils.translation import gettext as _

from apps.accounts.models import User
from apps.common.money import Money
from apps.orders import due, machine
from apps.orders.decisions.by_hand import check_entry, check_open, tell_delivered
from apps.orders.decisions.deciding import (
    Act,
    Action,
    Alone,
    Decided,
    Entry,
    Signed,
    Wish,
    decide,
    load_attempt,
    testify,
)
from apps.orders.decisions.folding import fold, is_conflict, release_units, sum_of
from apps.orders.decisions.refused import BadInput, NotPossible
from apps.orders.models import Attempt, AttemptUnit, DueCheck, Evidence, Order, OrderCode, OrderEvent
from apps.orders.states import AttemptState, DueKind, ExternalStatus, OrderStatus
from apps.orders.verdicts import Plan
from apps.wallet import ledger

A = AttemptState


class Truth(StrEnum):
    """What a person says of an attempt about which the news contradicts itself."""

    DELIVERED = "delivered"  # the customer has it, and pays
    NOT_DELIVERED = "not_delivered"  # nothing came of it, the money goes back
    OPEN = "open"  # it is not known yet: ask on


def resolve(
    order_id: int,
    actor: User,
    reason: str,
    now: datetime,
    *,
    attempt_id: int,
    truth: str,
    entry: Entry | None = None,
    alone: Alone | None = None,
) -> Decided:
    """Settle a contradiction. `entry` has the codes where they have not come. Raises a child of `DecisionRefused`."""
    if truth not in Truth.__members__.values():
        raise BadInput(_("Choose what is true: delivered, not delivered, or not known yet."), "truth")
    wish = Wish(attempt_id=attempt_id, choice=truth, entry=entry)
    return decide(RESOLVE, order_id, actor, reason, now, wish, alone)


def _stake(order: Order, wish: Wish, now: datetime) -> Money:
    if not is_conflict(order):
        raise NotPossible(_("The news about this order does not contradict itself any more. Load its page again."))
    attempt = load_attempt(order, wish.attempt_id)
    units = check_open(attempt, now)
    match wish.choice:
        case Truth.OPEN:
            return Money(0, order.currency)
        case Truth.NOT_DELIVERED:
            _check_codes_unseen(attempt)
        case _:
            _check_codes(order, attempt, wish.entry)
    return sum_of(units, order)


def _codes_of(attempt: Attempt) -> int:
    return OrderCode.objects.filter(attempt=attempt, is_quarantined=False).count()


def _check_codes(order: Order, attempt: Attempt, entry: Entry | None) -> None:
    """Every unit has its code, from the provider or from this person."""
    units = AttemptUnit.objects.filter(attempt=attempt).count()
    has_all = not order.needs_code or _codes_of(attempt) >= units
    if entry is not None or not has_all:
        check_entry(order, attempt, units, entry or Entry())


def _check_codes_unseen(attempt: Attempt) -> None:
    """Who has seen a code may use it: the money does not go back as if nothing had come."""
    seen = OrderEvent.objects.filter(order_id=attempt.order_id, kind="codes_revealed")
    if _codes_of(attempt) and seen.exists():
        raise NotPossible(_("Its code was shown already. Say that it was delivered; the money can be given back then."))


def _carry_out(order: Order, wish: Wish, signed: Signed, now: datetime) -> None:
    attempt = load_attempt(order, wish.attempt_id)
    evidence = testify(attempt, wish.choice, signed, now)
    word = ExternalStatus(order.external_status)
    machine.change_order(order, OrderStatus.PROCESSING, word, "", now)
    facts = signed.facts(truth=wish.choice)
    machine.record_story(
        order, "conflict_resolved", "person", now, attempt=attempt, evidence=evidence, actor=signed.name, data=facts
    )
    match wish.choice:
        case Truth.DELIVERED:
            tell_delivered(attempt, wish.entry or Entry(), signed, now)
        case Truth.NOT_DELIVERED:
            _let_go(order, attempt, evidence, signed, now)
        case _:
            _ask_on(order, attempt, now)
    order.refresh_from_db()
    if order.status == OrderStatus.PROCESSING:  # nothing above told that it is no longer in review
        machine.announce(order, now)


def _let_go(order: Order, attempt: Attempt, evidence: Evidence, signed: Signed, now: datetime) -> None:
    """The attempt failed, or was taken back after its delivery; its codes are hidden, its units' money goes back."""
    units = check_open(attempt, now)
    OrderCode.objects.filter(attempt=attempt, is_quarantined=False).update(is_quarantined=True)
    release_units(order, units, signed, f"attempt {attempt.pk} not delivered, evidence {evidence.pk}", now)
    if attempt.state == A.DELIVERED:
        machine.change_attempt(attempt, A.REVERSED, closed_at=now)
        ids = (attempt.integration_id, order.pk, attempt.pk)
        ledger.post(order.tenant_id, ledger.cost_reversals(*ids, evidence.pk), now)
    else:
        machine.change_attempt(attempt, A.FAILED, failed_seen_at=attempt.failed_seen_at or now, closed_at=now)
    due.plan_attempt(attempt, _watch(attempt, now), fence=None, seen="", now=now, is_asked=False)
    fold(order, now, ExternalStatus.FAILED)
    facts = signed.facts(units=len(units))
    machine.record_story(
        order, "released", "person", now, attempt=attempt, evidence=evidence, actor=signed.name, data=facts
    )


def _watch(attempt: Attempt, now: datetime) -> Plan | None:
    """Where failures were seen to turn into deliveries, this one is looked at on as every other."""
    caps = attempt.integration.caps()
    is_watched = attempt.state in caps.flipping
    return Plan(DueKind.WATCH, now + timedelta(seconds=caps.poll.cap_s), 0, 0) if is_watched else None


def _ask_on(order: Order, attempt: Attempt, now: datetime) -> None:
    """Back to processing; the attempt is asked about now."""
    kind = {A.IN_DOUBT: DueKind.RESOLVE, A.DELIVERED: DueKind.CODE}.get(AttemptState(attempt.state), DueKind.CHECK)
    due.plan_attempt(attempt, Plan(kind, now, 0, 0), fence=None, seen="", now=now, is_asked=False)
    DueCheck.objects.filter(attempt=attempt).update(fence=F("fence") + 1)
    fold(order, now)
    machine.record_story(order, "asked_again", "person", now, attempt=attempt)


RESOLVE = Act(Action.RESOLVE, _stake, _carry_out)
