"""Sending a purchase in doubt once more: the same reference, the next send, while the same money and units are held."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F

from apps.orders import machine
from apps.orders.dispatch import steps
from apps.orders.dispatch.steps import Bound, NothingToDo, Request, Turn
from apps.orders.dispatch.trace import Trace
from apps.orders.due import Claim
from apps.orders.models import Attempt, AttemptUnit, DueCheck, OrderUnit
from apps.orders.questions import facts_of, holding, is_sent_again
from apps.orders.states import AttemptState, DueKind, ExternalStatus, OrderStatus
from apps.providers.actions import Action, allowed


@dataclass(frozen=True, slots=True)
class Again:
    """An attempt that is `sending` once more, and what is needed to send it."""

    attempt: Attempt
    bound: Bound
    request: Request
    turn: Turn


def prepare(trace: Trace, claim: Claim, now: datetime) -> Again:
    """Inside the caller's transaction: the rules asked again under the order's lock, the attempt armed, its row moved.

    Raises `NothingToDo` or `DispatchRefused` when it must not be sent; then nothing is written.
    """
    order = steps.lock_order(trace, claim.order_id)
    attempt = Attempt.objects.select_related("integration").get(pk=claim.attempt_id)
    attempt.order = order
    bound = steps.bind_adapter(trace, attempt.integration)
    units = tuple(OrderUnit.objects.filter(attempt_units__attempt=attempt).order_by("n"))
    check_may_send_again(attempt, bound, claim, now)
    request = Request(order, units, attempt.product, attempt.expected_cost_micros)
    turn = _take_turn(attempt, bound, claim, units, now)
    deadline = now + timedelta(seconds=bound.caps.send_window_s)
    machine.change_attempt(
        attempt,
        AttemptState.SENDING,
        send_no=attempt.send_no + 1,
        send_deadline_at=deadline,
        answered_at=None,
        resent_at=now,
        not_found=0,
        not_found_since=None,
    )
    machine.change_order(order, OrderStatus(order.status), ExternalStatus.SENDING, order.reason, now)
    story = {"send_no": attempt.send_no, "reference": attempt.reference}
    machine.record_story(order, "sent_again", "find", now, attempt=attempt, data=story)
    trace.add(10, attempt=attempt.pk, reference=attempt.reference, send_no=attempt.send_no)
    return Again(attempt, bound, request, turn)


def check_may_send_again(attempt: Attempt, bound: Bound, claim: Claim, now: datetime) -> None:
    """Raise `NothingToDo` unless it is in doubt, was not found, and the rules of actions allow to send it again."""
    asked_at = DueCheck.objects.filter(pk=claim.row_id).values_list("asked_at", flat=True).first()
    units = list(AttemptUnit.objects.filter(attempt=attempt).values_list("holds", "unit__status"))
    facts = facts_of(attempt, bound.caps, *holding(units), asked_at, now)
    why_not = allowed(bound.caps, facts)[Action.RESEND]
    if why_not is not None or not is_sent_again(attempt, bound.caps, now):
        raise NothingToDo(f"not_sent_again: {why_not or 'not_waited_for'}")


def _take_turn(attempt: Attempt, bound: Bound, claim: Claim, units: tuple[OrderUnit, ...], now: datetime) -> Turn:
    """The attempt's due row, moved to when this send is surely over; whoever held an older fence is too late."""
    quiet_s = bound.caps.send_window_s + bound.caps.place_timeout_s + bound.caps.resolve_margin_s
    row = DueCheck.objects.filter(pk=claim.row_id, fence=claim.fence)
    moved = row.update(
        fence=F("fence") + 1, kind=DueKind.RESOLVE, next_at=now + timedelta(seconds=quiet_s), asked_at=now
    )
    if moved != 1:
        raise NothingToDo("claimed_by_another")
    return Turn(claim.row_id, claim.fence + 1, units)
