"""Asking again about one order now, or sending what waits of it, instead of at its time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import transaction
from django.db.models import F

from apps.accounts.models import User
from apps.orders import due, hints, machine, outcomes
from apps.orders.creation import OPEN_FOR
from apps.orders.decisions.deciding import load_own, name_of, read_reason
from apps.orders.models import Attempt, AttemptUnit, DueCheck, Order, OrderEvent
from apps.orders.monitoring import check_order
from apps.orders.services import try_auto_dispatch
from apps.orders.states import AttemptState, DueKind, ExternalStatus, OrderStatus

LEAST_GAP = timedelta(seconds=2)
"""Two clicks closer together than this, or than the provider's own minimum gap, are one."""


class Said(StrEnum):
    """What came of asking again."""

    SENT = "sent"  # an attempt was made; `word` is what its answer said
    NOT_SENT = "not_sent"  # it still waits; `word` is the reason
    ASKED = "asked"  # the provider answered; `word` is the outcome
    PLANNED = "planned"  # it is due now: the loops send or ask within the account's budget
    TOO_SOON = "too_soon"  # somebody asked a moment ago; nothing was done
    BEING_SENT = "being_sent"  # a request is on its way; nothing was done
    BUSY = "busy"  # another process is asking; nothing was done
    NOTHING_OPEN = "nothing_open"  # nothing to send and nothing to ask


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking again, with one word of detail."""

    said: Said
    word: str = ""


@dataclass(frozen=True, slots=True)
class _Work:
    """What there is to do for an order: units to send, attempts to ask about."""

    is_waiting: bool
    open_attempts: int


def ask_again(order_id: int, actor: str, now: datetime) -> Answer:
    """Send what waits, or ask about what is open, now instead of at its time; through the same doors as the loops.

    Recorded as `asked_again` before anything is done. Any number of clicks at once make one request at most.
    """
    with transaction.atomic():
        order = outcomes.lock_orders({order_id})[order_id]
        attempts = _open_attempts(order)
        found = _look(order, attempts, now)
        if isinstance(found, Said):
            return Answer(found)
        _prepare(order, found, actor, now)
    return _act(order, found)


def ask_soon(order_id: int, actor: User, reason: str, now: datetime) -> Said:
    """The same for one order of many: it is due now, and the loops do it, many in one request and within the budgets.

    Raises a child of `DecisionRefused`.
    """
    text = read_reason(reason)
    with transaction.atomic():
        order = load_own(order_id, actor)
        attempts = _open_attempts(order)
        found = _look(order, attempts, now)
        if isinstance(found, Said):
            return found
        _prepare(order, found, name_of(actor), now, why=text)
        for attempt in attempts:
            _bring_forward(attempt, now)
    return Said.PLANNED


def _open_attempts(order: Order) -> list[Attempt]:
    return list(Attempt.objects.filter(order=order, due_row__isnull=False).select_related("integration"))


def _look(order: Order, attempts: list[Attempt], now: datetime) -> _Work | Said:
    """What there is to do, or why nothing is done."""
    if _was_asked_just_now(order, attempts, now):
        return Said.TOO_SOON
    if Attempt.objects.filter(order=order, state=AttemptState.SENDING, due_row__next_at__gt=now).exists():
        return Said.BEING_SENT
    work = _Work(is_waiting=is_waiting(order), open_attempts=len(attempts))
    return work if work.is_waiting or work.open_attempts else Said.NOTHING_OPEN


def _prepare(order: Order, work: _Work, actor: str, now: datetime, **more: str) -> None:
    if work.is_waiting:
        make_due(order, now)
    found = {"waiting": work.is_waiting, "open_attempts": work.open_attempts, **more}
    machine.record_story(order, "asked_again", "panel", now, actor=actor, data=found)


def _bring_forward(attempt: Attempt, now: datetime) -> None:
    """Due now, but not below the provider's least gap; who may be asking this moment is left alone."""
    if attempt.state == AttemptState.SENDING or hints.may_be_asking(attempt, now):
        return
    asked_at = DueCheck.objects.filter(attempt=attempt).values_list("asked_at", flat=True).first()
    floor = timedelta(seconds=attempt.integration.caps().poll.floor_s)
    hints.pull_forward(attempt, max(now, (asked_at or attempt.created_at) + floor))


def has_open_attempts(order: Order) -> bool:
    """Whether there is something to ask about."""
    return Attempt.objects.filter(order=order, due_row__isnull=False).exists()


def _was_asked_just_now(order: Order, attempts: list[Attempt], now: datetime) -> bool:
    gaps = [timedelta(seconds=attempt.integration.caps().poll.floor_s) for attempt in attempts]
    asked = OrderEvent.objects.filter(order=order, kind="asked_again", at__gt=now - max([LEAST_GAP, *gaps]))
    return asked.exists()


def is_waiting(order: Order) -> bool:
    """Whether there are units to send. After its deadline nothing sends an order by itself any more; a person may."""
    if order.status == OrderStatus.REVIEW:
        return order.reason == "waiting:deadline" and order.free_units().exists()
    is_sendable = order.status in (OrderStatus.PENDING, OrderStatus.PROCESSING)
    return is_sendable and DueCheck.objects.filter(order=order, kind=DueKind.DISPATCH).exists()


def make_due(order: Order, now: datetime) -> None:
    """The dispatch row, due now under a new fence; an order past its deadline leaves the review for another day."""
    if order.status == OrderStatus.REVIEW:
        external = ExternalStatus(order.external_status)
        machine.change_order(order, OrderStatus.PROCESSING, external, "", now, deadline_at=now + OPEN_FOR)
        if not AttemptUnit.objects.filter(unit__order=order, holds=True).exists():
            machine.change_order(order, OrderStatus.PENDING, external, "", now)
        machine.announce(order, now)
    due.plan_dispatch(order, now)
    DueCheck.objects.filter(order=order, kind=DueKind.DISPATCH).update(fence=F("fence") + 1)


def _act(order: Order, work: _Work) -> Answer:
    """Outside the transaction: send first, else ask."""
    if work.is_waiting:
        dispatched = try_auto_dispatch(order.pk, order.tenant_id)
        if dispatched.is_sent or not work.open_attempts:
            return Answer(Said.SENT if dispatched.is_sent else Said.NOT_SENT, dispatched.said)
    news = check_order(order.pk, order.tenant_id, is_forced=True)
    return Answer(Said.ASKED, str(news[-1].result.outcome)) if news else Answer(Said.BUSY)
