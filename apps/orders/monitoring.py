"""Asking providers about open attempts: claim what is due, ask many at once, apply the answers through the one door."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from apps.common import clock
from apps.common.checkpoints import checkpoint
from apps.common.guards import check_no_transaction
from apps.common.logs import get_logger
from apps.common.multiplex import Job, JobResult, Lane, ask_many
from apps.common.wire import Answer, HttpCall
from apps.journal import heartbeats
from apps.orders import due, outcomes
from apps.orders.due import Claim
from apps.orders.models import Attempt
from apps.orders.news import News, Verb
from apps.orders.services import try_auto_dispatch
from apps.orders.states import AttemptState
from apps.providers.contract import Adapter, OrderRef, Outcome, Result
from apps.providers.models import Integration
from apps.providers.registry import load_adapter

log = get_logger(__name__)

SWEEP = "check_pending_orders_batch"
RUN_FOR = timedelta(seconds=50)
TOKEN_FOR = timedelta(seconds=60)
"""A copy that died keeps the others away no longer than this; one that is only slow is overtaken, which is harmless."""

LANE_CONCURRENCY = 16
DISPATCH_THREADS = 8
LEASE_MARGIN = timedelta(seconds=20)


@dataclass(slots=True)
class Report:
    """What one sweep did."""

    asked: int = 0
    dispatched: int = 0
    ran: bool = True


# --- one order


def check_order(order_id: int, tenant_id: int | None = None, *, is_forced: bool = False) -> list[News]:
    """Ask once about every attempt of the order that is due within 2 s (or all, when forced), and apply the answers.

    Safe to run twice, at the same time, in any order: a row is claimed by one caller, the others find nothing due.
    """
    now = clock.now()
    attempts = Attempt.objects.filter(order_id=order_id).select_related("integration")
    if tenant_id is not None:
        attempts = attempts.filter(order__tenant_id=tenant_id)
    leases = [lease_of(attempt.integration) for attempt in attempts]
    if not leases:
        return []
    return ask_and_apply(due.claim_order(order_id, now, max(leases), is_forced=is_forced))


def lease_of(integration: Integration) -> timedelta:
    """How long a claim of this lane lasts: two questions and a margin."""
    return timedelta(seconds=2 * integration.caps().ask_timeout_s) + LEASE_MARGIN


# --- the sweep


def sweep(run_for: timedelta = RUN_FOR) -> Report:
    """Dispatch and ask whatever is due until nothing is or the time is up. One copy runs, others return at once."""
    started = clock.now()
    token = heartbeats.take_token(SWEEP, started, TOKEN_FOR)
    report = Report(ran=bool(token))
    if not token:
        return report
    try:
        while clock.now() - started < run_for and _round(report):
            if not heartbeats.keep_token(SWEEP, token, clock.now(), TOKEN_FOR):
                break
    finally:
        heartbeats.give_back_token(SWEEP, token, clock.now(), asked=report.asked, dispatched=report.dispatched)
    if report.asked or report.dispatched:
        log.info("sweep_done", asked=report.asked, dispatched=report.dispatched)
    return report


def _round(report: Report) -> bool:
    """One round over all lanes; False when there was nothing to do."""
    waiting = due.due_dispatches(clock.now(), DISPATCH_THREADS * 4)
    dispatch_many([row.order_id for row in waiting])
    due.put_off_untouched(waiting, clock.now())
    claims = claim_due(clock.now())
    ask_and_apply(claims)
    report.dispatched += len(waiting)
    report.asked += len(claims)
    return bool(waiting or claims)


def claim_due(now: datetime) -> list[Claim]:
    """Due rows of every lane, oldest first, no more of a lane than it can ask within half a lease."""
    lanes = due.due_lanes(now)
    integrations = Integration.objects.in_bulk(lanes)
    claims: list[Claim] = []
    for lane in lanes:
        integration = integrations[lane]
        lease = lease_of(integration)
        rounds = max(int(lease.total_seconds() / 2 // integration.caps().ask_timeout_s), 1)
        claims += due.claim_lane(lane, now, lease, LANE_CONCURRENCY * rounds)
    return claims


def dispatch_many(order_ids: Sequence[int]) -> None:
    """Dispatch orders side by side, so that one slow provider does not hold up the rest."""
    if len(order_ids) == 1:
        try_auto_dispatch(order_ids[0])
        return
    with ThreadPoolExecutor(DISPATCH_THREADS, thread_name_prefix="dispatch") as pool:
        list(pool.map(_dispatch_in_thread, order_ids))


def _dispatch_in_thread(order_id: int) -> None:
    try:
        try_auto_dispatch(order_id)
    finally:
        connection.close()


# --- asking


@dataclass(frozen=True, slots=True)
class Question:
    """A claimed attempt with the verb to ask by."""

    claim: Claim
    attempt: Attempt
    verb: Verb


def ask_and_apply(claims: Sequence[Claim]) -> list[News]:
    """Ask about every claimed attempt, once, many at a time, and apply what came back."""
    check_no_transaction()
    if not claims:
        return []
    checkpoint("ask.after_claim")
    questions = load_questions(claims)
    longest = max((question.attempt.integration.caps().ask_timeout_s for question in questions), default=0)
    jobs = [as_job(index, question) for index, question in enumerate(questions)]
    results = ask_many(jobs, concurrency=4 * LANE_CONCURRENCY, total_timeout_s=2 * longest)
    checkpoint("ask.after_answers")
    now = clock.now()
    news = [as_news(question, result, now) for question, result in zip(questions, results, strict=True)]
    outcomes.apply(news)
    return news


def load_questions(claims: Sequence[Claim]) -> list[Question]:
    """The claimed attempts, and whether to look each up or to ask its state."""
    attempts = Attempt.objects.select_related("integration").in_bulk([claim.attempt_id for claim in claims])
    return [Question(claim, attempts[claim.attempt_id], _verb(attempts[claim.attempt_id])) for claim in claims]


def _verb(attempt: Attempt) -> Verb:
    return "find" if attempt.state in (AttemptState.SENDING, AttemptState.IN_DOUBT) else "status"


def as_job(index: int, question: Question) -> Job[Result | None]:
    """The question as a conversation for the multiplexer, in its integration's lane."""
    integration = question.attempt.integration
    return Job(
        key=index,
        talk=_talk(load_adapter(integration.kind), question),
        policy=integration.egress_policy(),
        lane=Lane(integration.pk, LANE_CONCURRENCY),
    )


def _talk(adapter: Adapter, question: Question) -> Generator[HttpCall, Answer, Result | None]:
    attempt = question.attempt
    account = attempt.integration.account()
    ref = OrderRef(attempt.reference, attempt.provider_order_id, attempt.created_at)
    if question.verb == "find":
        return (yield from adapter.find(account, ref))
    found = yield from adapter.status(account, [ref])
    return found.get(attempt.reference)


def as_news(question: Question, answered: JobResult[Result | None], now: datetime) -> News:
    """What came back as news; a missing or foreign answer is no information."""
    reference = question.attempt.reference
    result = answered.value if answered.error is None else None
    if not isinstance(result, Result) or result.own_ref != reference:
        result = Result(Outcome.UNKNOWN, reference, reason_code="no_answer_for_this_reference")
    return News(
        attempt_id=question.attempt.pk,
        order_id=question.attempt.order_id,
        verb=question.verb,
        result=result,
        exchange=answered.exchanges[-1] if answered.exchanges else None,
        at=now,
        fence=question.claim.fence,
        send_no=question.attempt.send_no,
    )


def poll_forever(stop_after_s: float | None, pause_s: float) -> None:
    """Sweep again and again in this process, without broker or beat, until `stop_after_s` seconds are over."""
    ends_at = None if stop_after_s is None else time.monotonic() + stop_after_s
    while ends_at is None or time.monotonic() < ends_at:
        report = sweep()
        if not (report.asked or report.dispatched):
            time.sleep(pause_s)
