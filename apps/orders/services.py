"""What others call: create an order, try to dispatch it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction

from apps.common import clock
from apps.common.budget import Use
from apps.common.checkpoints import checkpoint
from apps.common.logs import get_logger
from apps.orders import hints, machine, outcomes
from apps.orders.creation import (
    Created,
    IdempotencyMismatch,
    NewOrder,
    OrderRefused,
    create_order,
)
from apps.orders.dispatch import resend, steps
from apps.orders.dispatch.trace import Trace
from apps.orders.due import Claim
from apps.orders.models import Attempt
from apps.orders.news import News
from apps.orders.states import AttemptState
from apps.providers import traffic
from apps.providers.traffic import Heard

__all__ = [
    "Created",
    "Dispatched",
    "IdempotencyMismatch",
    "NewOrder",
    "OrderRefused",
    "create_order",
    "send_again",
    "try_auto_dispatch",
]

log = get_logger(__name__)

LOST_TO_ANOTHER = frozenset({"DeadlockDetected", "SerializationFailure"})
"""Errors of PostgreSQL by which one of two transactions gives way: nothing was written, its due row stays due."""


SETTLE_AGAIN_AFTER_S = (0.0, 1.0, 4.0)
"""Pauses before an answer that could not be written is written again: a cut line, a restart of the database."""


class SettledAlready(Exception):
    """Somebody has applied news of this attempt meanwhile, or the commit was done and its answer lost."""


@dataclass(frozen=True, slots=True)
class Dispatched:
    """What one call of `try_auto_dispatch` did: an attempt was sent (and what was said), or why not."""

    order_id: int
    attempt_id: int | None
    said: str
    is_sent: bool


def try_auto_dispatch(order_id: int, tenant_id: int | None = None) -> Dispatched:
    """Make one purchase attempt for the order, if it waits for one: fifteen steps, at most one request.

    Safe to call from anywhere, any number of times, at the same time: one caller wins, the others find nothing to do.
    A refusal is recorded on the order with the next time to try; nothing is raised for it.
    """
    now = clock.now()
    trace = Trace(order_id)
    try:
        with transaction.atomic():
            order = steps.lock_order(trace, order_id)
            now = clock.now()  # it may have waited for the lock
            steps.check_tenant(trace, order, tenant_id)
            turn = steps.check_not_dispatched(trace, order, now)
            routes = steps.load_routes(trace, order)
            route = steps.pick_route(trace, order, routes, now)
            mapping = steps.load_mapping(trace, order, route)
            integration = steps.load_integration(trace, order, route)
            bound = steps.bind_adapter(trace, integration)
            request = steps.build_request(trace, bound, order, mapping, turn, now)
            attempt = steps.record_attempt(trace, order, route, bound, request, turn, now)
            steps.take_turn(bound, now)
            checkpoint("dispatch.before_commit")
    except steps.NothingToDo as nothing:
        return Dispatched(order_id, None, nothing.reason, is_sent=False)
    except (machine.Overtaken, IntegrityError, OperationalError) as lost:
        if isinstance(lost, OperationalError) and type(lost.__cause__).__name__ not in LOST_TO_ANOTHER:
            return _failed(trace, order_id, lost, now)
        log.info("dispatch_overtaken", order=order_id, by=type(lost).__name__)
        return Dispatched(order_id, None, "claimed_by_another", is_sent=False)
    except steps.DispatchRefused as refusal:
        return _refused(trace, order_id, refusal, now)
    except Exception as error:
        return _failed(trace, order_id, error, now)
    checkpoint("dispatch.after_commit")
    sent = steps.send_request(trace, attempt, bound, request)
    change = _settle(trace, attempt, sent, turn)
    traffic.note(bound.integration, [Heard(sent.exchange, sent.calls, (sent.result,))], Use.PLACE, sent.at)
    return Dispatched(order_id, attempt.pk, change.verdict.said if change else "set_aside", is_sent=True)


def send_again(claim: Claim) -> News | None:
    """Send a purchase in doubt again under its own reference, where its provider is proven not to buy it twice.

    The caller has claimed the attempt's due row. None: it was not sent, for the row or the rules say otherwise now.
    """
    now = clock.now()
    trace = Trace(claim.order_id)
    try:
        with transaction.atomic():
            again = resend.prepare(trace, claim, now)
            checkpoint("resend.before_commit")
    except (steps.DispatchRefused, machine.Overtaken) as nothing:
        log.info("resend_refused", order=claim.order_id, attempt=claim.attempt_id, why=str(nothing))
        return None
    checkpoint("resend.after_commit")
    sent = steps.send_request(trace, again.attempt, again.bound, again.request)
    _settle(trace, again.attempt, sent, again.turn)
    # The claim was granted one request of the account's budget, and this was it.
    traffic.note(again.bound.integration, [Heard(sent.exchange, sent.calls, (sent.result,))], Use.ASK, sent.at)
    return steps.as_news(again.attempt, sent, again.turn)


def _settle(trace: Trace, attempt: Attempt, sent: steps.Sent, turn: steps.Turn) -> outcomes.Change | None:
    """Steps 12 to 15. What cannot be applied is kept as evidence; the attempt's due row finds out later."""
    try:
        change = _settle_persistently(trace, attempt, sent, turn)
    except Exception as error:
        log.exception("settle_failed", order=attempt.order_id, attempt=attempt.pk, error=type(error).__name__)
        outcomes.keep_answer(steps.as_news(attempt, sent, turn))
        return None
    hints.match_early(attempt, clock.now())
    return change


def _settle_persistently(trace: Trace, attempt: Attempt, sent: steps.Sent, turn: steps.Turn) -> outcomes.Change:
    """Settle, and once more on a fresh connection for each pause if the database was lost: the answer is only here."""
    for pause_s in SETTLE_AGAIN_AFTER_S:
        told = len(trace.steps)
        try:
            return _settle_once(trace, attempt, sent, turn)
        except (InterfaceError, OperationalError) as error:
            if not _has_given_way(error):
                raise
            log.warning("settle_again", order=attempt.order_id, attempt=attempt.pk, error=type(error).__name__)
        time.sleep(pause_s)
        if not _is_unsettled(attempt):
            raise SettledAlready(f"attempt {attempt.pk}")
        del trace.steps[told:]
    return _settle_once(trace, attempt, sent, turn)


def _settle_once(trace: Trace, attempt: Attempt, sent: steps.Sent, turn: steps.Turn) -> outcomes.Change:
    with transaction.atomic():
        news = steps.read_answer(trace, attempt, sent, turn)
        change = steps.apply_outcome(trace, attempt, news)
        steps.write_story(trace, change)
        steps.schedule_check(trace, change)
    return change


def _has_given_way(error: Exception) -> bool:
    """Whether nothing is known against trying again: the connection is gone, or another transaction went first."""
    connection.close_if_unusable_or_obsolete()
    return connection.connection is None or type(error.__cause__).__name__ in LOST_TO_ANOTHER


def _is_unsettled(attempt: Attempt) -> bool:
    """Whether the attempt is as it was sent; a commit whose answer was lost may have been done. True: nobody says."""
    try:
        return Attempt.objects.filter(pk=attempt.pk, state=AttemptState.SENDING, send_no=attempt.send_no).exists()
    except (InterfaceError, OperationalError):
        connection.close_if_unusable_or_obsolete()
        return True


def _failed(trace: Trace, order_id: int, error: Exception, now: datetime) -> Dispatched:
    log.exception("dispatch_failed", order=order_id, error=type(error).__name__)
    return _refused(trace, order_id, steps.DispatchRefused("internal_error", type(error).__name__), now)


def _refused(trace: Trace, order_id: int, refusal: steps.DispatchRefused, now: datetime) -> Dispatched:
    with transaction.atomic():
        steps.record_refusal(trace, order_id, refusal, now)
    log.info("dispatch_refused", order=order_id, reason=refusal.reason)
    return Dispatched(order_id, None, refusal.reason, is_sent=False)
