"""Asking providers about open attempts: claim what is due, ask many at once, apply the answers through the one door."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from threading import Event

from django.db import InterfaceError, OperationalError, close_old_connections, connection, connections

from apps.common import clock
from apps.common.budget import Use
from apps.common.checkpoints import checkpoint
from apps.common.guards import check_no_transaction
from apps.common.logs import get_logger
from apps.common.multiplex import Job, JobResult, Lane, ask_many
from apps.common.talk import Exchange, TalkFailed, drive
from apps.common.transport import send_once
from apps.common.wire import Answer, HttpCall, NotSentReason
from apps.journal import heartbeats
from apps.orders import due, local, outcomes
from apps.orders.due import Claim, lease_of
from apps.orders.models import Attempt, AttemptUnit, DueCheck
from apps.orders.news import News
from apps.orders.polling import learning
from apps.orders.questions import Question, load_questions, not_asked
from apps.orders.services import send_again, try_auto_dispatch
from apps.orders.states import UnitStatus
from apps.orders.turns import LANE_CONCURRENCY, claim_turn, has_turn
from apps.providers import traffic
from apps.providers.contract import Account, Outcome, Result
from apps.providers.models import Integration
from apps.providers.registry import has_wire, load_wired
from apps.providers.traffic import Heard

log = get_logger(__name__)

SWEEP = "check_pending_orders_batch"
RUN_FOR = timedelta(seconds=50)
TOKEN_FOR = timedelta(seconds=15)
"""A copy that died keeps the others away no longer than this; one that is only slow is overtaken, which is harmless.

A running copy holds on to it every second."""

DISPATCH_THREADS = 8
DISPATCH_LANE = 0
LANES_AT_ONCE = 16
LOOK_EVERY = timedelta(seconds=1)
"""How often a sweep looks for lanes that have come due meanwhile."""
WAIT_AT_MOST = timedelta(seconds=5)
"""A budget that is spent for longer than this is waited for by the next sweep."""
DATABASE_AWAY_S = 2.0
"""How long a database that does not answer is left alone."""
NEVER = Event()
"""Set by nobody."""


@dataclass(slots=True)
class Report:
    """What one sweep did. `late_s`: how long the row that had waited longest was due when its turn came."""

    asked: int = 0
    dispatched: int = 0
    late_s: float = 0.0
    ran: bool = True

    def told(self) -> dict[str, float]:
        """The numbers, as the sweep's heartbeat keeps them."""
        return {"asked": self.asked, "dispatched": self.dispatched, "late_s": round(self.late_s, 1)}


# --- one order


def check_order(order_id: int, tenant_id: int | None = None, *, is_forced: bool = False) -> list[News]:
    """Ask once about every attempt of the order that is due within 2 s (or all, when forced), and apply the answers.

    Safe to run twice, at the same time, in any order: a row is claimed by one caller, the others find nothing due.
    What may not be asked at this moment stays due: the sweep asks it in its turn.
    """
    now = clock.now()
    attempts = Attempt.objects.filter(order_id=order_id).select_related("integration")
    if tenant_id is not None:
        attempts = attempts.filter(order__tenant_id=tenant_id)
    accounts = {attempt.integration_id: attempt.integration for attempt in attempts}
    due_lanes = due.lanes_of_order(order_id, now, is_forced=is_forced)
    lanes = [
        lane
        for lane, account in accounts.items()
        if due_lanes[lane] and has_turn(account, due_lanes[lane], now, is_forced=is_forced)
    ]
    if not lanes:
        return []
    lease = max(lease_of(accounts[lane]) for lane in lanes)
    return ask_and_apply(due.claim_order(order_id, now, lease, lanes=lanes, is_forced=is_forced))


# --- the sweep


def sweep(run_for: timedelta = RUN_FOR, *, stop: Event = NEVER, own: str = "") -> Report:
    """Dispatch and ask whatever is due until nothing is or the time is up. One copy runs, others return at once.

    `stop` ends it after the turns of this moment; `own` is the token by which the caller is known, if it has one.
    """
    started = clock.now()
    token = heartbeats.take_token(SWEEP, started, TOKEN_FOR, own)
    if not token:
        return Report(ran=False)
    lanes = _Lanes(started + run_for, lambda now: heartbeats.keep_token(SWEEP, token, now, TOKEN_FOR), stop)
    report = lanes.report
    try:
        lanes.run()
    finally:
        heartbeats.give_back_token(SWEEP, token, clock.now(), **report.told())
    if report.asked or report.dispatched:
        log.info("sweep_done", asked=report.asked, dispatched=report.dispatched)
    return report


@dataclass(frozen=True, slots=True)
class Drained:
    """What was done in one lane; `retry_at`: there is more, but not before then."""

    asked: int = 0
    dispatched: int = 0
    retry_at: datetime | None = None
    late_s: float = 0.0


class _Lanes:
    """Every lane with something due, each in a thread of its own: an account that hangs holds up only itself.

    Orders that have no account yet are one lane more.
    """

    def __init__(self, until: datetime, may_go_on: Callable[[datetime], bool], stop: Event) -> None:
        self.report = Report()
        self._until, self._may_go_on, self._stop = until, may_go_on, stop
        self._running: dict[int, Future[Drained]] = {}
        self._not_before: dict[int, datetime] = {}
        self._more_at: dict[int, datetime] = {}

    def run(self) -> None:
        """Go on until nothing is due, the time is up, or somebody else has taken over."""
        with ThreadPoolExecutor(LANES_AT_ONCE, thread_name_prefix="lane") as pool:
            try:
                while not self._stop.is_set() and (now := clock.now()) < self._until and self._may_go_on(now):
                    self._start(pool, now)
                    if not self._running and not self._wait_for_budget(now):
                        break
                    wait(self._running.values(), LOOK_EVERY.total_seconds(), FIRST_COMPLETED)
                    self._collect()
            finally:
                wait(self._running.values())
        self._collect()

    def _start(self, pool: ThreadPoolExecutor, now: datetime) -> None:
        for lane in due.due_lanes(now):
            if self._is_free(lane, now):
                self._running[lane] = pool.submit(_in_thread, partial(drain, lane, self._until, self._stop))
        if self._is_free(DISPATCH_LANE, now) and due.due_dispatches(now, 1):
            self._running[DISPATCH_LANE] = pool.submit(_in_thread, dispatch_waiting)

    def _is_free(self, lane: int, now: datetime) -> bool:
        return lane not in self._running and self._not_before.get(lane, now) <= now

    def _wait_for_budget(self, now: datetime) -> bool:
        """Sleep until a lane that has more may go on, if that is soon; False when nothing is to come of it."""
        at = min((at for at in self._more_at.values() if at > now), default=self._until)
        if at >= self._until or at - now > WAIT_AT_MOST:
            return False
        time.sleep(min((at - now).total_seconds(), LOOK_EVERY.total_seconds()))
        return clock.now() > now

    def _collect(self) -> None:
        """Take the results of the lanes that have ended; raises what went wrong in one."""
        for lane, future in list(self._running.items()):
            if not future.done():
                continue
            del self._running[lane]
            done, now = future.result(), clock.now()
            self.report.asked += done.asked
            self.report.dispatched += done.dispatched
            self.report.late_s = max(self.report.late_s, done.late_s)
            self._more_at[lane] = done.retry_at or now
            # Whoever found nothing to do, although something was due, met another process at work.
            is_idle = not (done.asked or done.dispatched or done.retry_at)
            self._not_before[lane] = now + LOOK_EVERY if is_idle else self._more_at[lane]


def _in_thread(work: Callable[[], Drained]) -> Drained:
    try:
        return work()
    finally:
        connection.close()


def drain(lane: int, until: datetime, stop: Event) -> Drained:
    """Ask about what is due of one account, turn by turn, until nothing is, it must wait, or time or `stop` end it."""
    integration = Integration.objects.get(pk=lane)
    asked, late_s = 0, 0.0
    while not stop.is_set() and (now := clock.now()) < until:
        turn = claim_turn(integration, now)
        if not turn.claims:
            return Drained(asked, retry_at=turn.retry_at, late_s=late_s)
        late_s = max(late_s, longest_wait(turn.claims, now))
        ask_and_apply(turn.claims)
        learning.reprice(integration, clock.now())
        asked += len(turn.claims)
    return Drained(asked, late_s=late_s)


def longest_wait(claims: Sequence[Claim], now: datetime) -> float:
    """Seconds that the first of them to be due has waited for its turn."""
    return max(((now - claim.due_at).total_seconds() for claim in claims if claim.due_at is not None), default=0.0)


def dispatch_waiting() -> Drained:
    """Send the orders that have waited longest."""
    waiting = due.due_dispatches(clock.now(), DISPATCH_THREADS * 4)
    dispatch_many([row.order_id for row in waiting])
    due.put_off_untouched(waiting, clock.now())
    return Drained(dispatched=len(waiting))


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


def ask_and_apply(claims: Sequence[Claim]) -> list[News]:
    """Ask about every claimed attempt, once, many at a time, and apply what came back.

    What was not found and may safely be sent again is sent again instead.
    """
    check_no_transaction()
    if not claims:
        return []
    checkpoint("ask.after_claim")
    questions = load_questions(claims, clock.now())
    news = ask_all([question for question in questions if not question.is_resend])
    changes = outcomes.apply(news)
    learning.record([change.taught for change in changes if change.taught is not None])
    return [*news, *send_again_many([question.claim for question in questions if question.is_resend])]


def send_again_many(claims: Sequence[Claim]) -> list[News]:
    """Send purchases in doubt again, side by side; what came back for those that went out."""
    if not claims:
        return []
    with ThreadPoolExecutor(DISPATCH_THREADS, thread_name_prefix="resend") as pool:
        return [news for news in pool.map(_send_again_in_thread, claims) if news is not None]


def _send_again_in_thread(claim: Claim) -> News | None:
    try:
        return send_again(claim)
    finally:
        connection.close()


def ask_all(questions: Sequence[Question]) -> list[News]:
    """Put every question that may be put: those that may buy one by one, the rest in batches, side by side.

    What is fulfilled here is answered from here.
    """
    here: list[Question] = []
    barred: list[Question] = []
    careful: list[Question] = []
    plain: list[Question] = []
    for question in questions:
        if not has_wire(question.attempt.kind):
            here.append(question)
        elif question.why_not is not None:
            barred.append(question)
        elif question.attempt.integration.caps().ask_may_create:
            careful.append(question)
        else:
            plain.append(question)
    answers = [*ask_carefully(careful), *ask_in_batches(batched(plain))]
    checkpoint("ask.after_answers")
    now = clock.now()
    told = [news for answer in answers for news in answer.news(now)]
    known = [local.answer(question, now) for question in here]
    return [*known, *(not_asked(question, now) for question in barred), *told]


@dataclass(frozen=True, slots=True)
class Batch:
    """Questions that one conversation answers."""

    questions: tuple[Question, ...]

    @property
    def first(self) -> Question:
        """The one whose account speaks for all of them."""
        return self.questions[0]


@dataclass(frozen=True, slots=True)
class Told:
    """What one conversation ended with. `is_account_good`: before, the account answered as one that knows us does."""

    results: Mapping[str, Result]
    is_account_good: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """A batch with what came back for it."""

    batch: Batch
    told: Told
    exchange: Exchange | None

    def news(self, now: datetime) -> list[News]:
        """The answer to each question; a missing or foreign one is no information."""
        return [self._news(question, now) for question in self.batch.questions]

    def _news(self, question: Question, now: datetime) -> News:
        reference = question.attempt.reference
        result = self.told.results.get(reference)
        if not isinstance(result, Result) or result.own_ref != reference:
            result = Result(Outcome.UNKNOWN, reference, reason_code="no_answer_for_this_reference")
        return question.news(result, self.exchange, now, is_account_good=self.told.is_account_good)


def batched(questions: Sequence[Question]) -> list[Batch]:
    """Questions of one account together, as many as its provider answers at once; look-ups each alone."""
    batches = [Batch((question,)) for question in questions if question.verb == "find"]
    by_lane: dict[int, list[Question]] = {}
    for question in questions:
        if question.verb == "status":
            by_lane.setdefault(question.attempt.integration_id, []).append(question)
    for together in by_lane.values():
        most = together[0].attempt.integration.caps().status_batch_max
        batches += [Batch(tuple(together[start : start + most])) for start in range(0, len(together), most)]
    return batches


def ask_in_batches(batches: Sequence[Batch]) -> list[Answered]:
    """Every batch as one conversation, multiplexed; breaker and budget of each account hear how it went."""
    longest = max((batch.first.attempt.integration.caps().ask_timeout_s for batch in batches), default=0)
    lanes = {batch.first.attempt.integration_id: batch.first.attempt.integration for batch in batches}
    accounts = {lane: integration.account() for lane, integration in lanes.items()}
    jobs = [as_job(index, batch, accounts[batch.first.attempt.integration_id]) for index, batch in enumerate(batches)]
    results = ask_many(jobs, concurrency=LANE_CONCURRENCY, total_timeout_s=2 * longest)
    answers = [_answered(batch, result) for batch, result in zip(batches, results, strict=True)]
    _tell_accounts([(answer, len(result.exchanges)) for answer, result in zip(answers, results, strict=True)])
    return answers


def _tell_accounts(answers: Sequence[tuple[Answered, int]]) -> None:
    """Tell each account's breaker and budget what its conversations met, and how many requests they took."""
    accounts = {
        answer.batch.first.attempt.integration_id: answer.batch.first.attempt.integration for answer, _ in answers
    }
    for lane, account in accounts.items():
        heard = [
            Heard(answer.exchange, calls, tuple(answer.told.results.values()))
            for answer, calls in answers
            if answer.batch.first.attempt.integration_id == lane
        ]
        traffic.note(account, heard, Use.ASK, clock.now())


def as_job(index: int, batch: Batch, account: Account) -> Job[Told]:
    """The batch as a conversation for the multiplexer, in its integration's lane."""
    integration = batch.first.attempt.integration
    return Job(key=index, talk=_talk(batch, account), policy=integration.egress_policy(), lane=lane_of(integration))


def lane_of(integration: Integration) -> Lane:
    """How many requests the account may have open; each of them was granted by its budget before it was claimed."""
    return Lane(integration.pk, min(integration.caps().burst, LANE_CONCURRENCY))


def _answered(batch: Batch, result: JobResult[Told]) -> Answered:
    told = result.value if result.error is None else None
    exchange = result.exchanges[-1] if result.exchanges else None
    return Answered(batch, told if told and isinstance(told.results, Mapping) else Told({}), exchange)


def _talk(batch: Batch, account: Account) -> Generator[HttpCall, Answer, Told]:
    """The conversation; before a look that may prove an absence, a question that only a good login gets answered."""
    first = batch.first
    adapter = load_wired(first.attempt.integration.kind)
    refs = [question.ref() for question in batch.questions]
    if first.verb != "find":
        return Told((yield from adapter.status(account, refs)))
    is_good = first.wants_proof and not (yield from adapter.balance(account)).error
    return Told({refs[0].own_ref: (yield from adapter.find(account, refs[0]))}, is_good)


def ask_carefully(questions: Sequence[Question]) -> list[Answered]:
    """Questions that would buy if the provider had forgotten the first purchase: each over the one careful send."""
    with ThreadPoolExecutor(DISPATCH_THREADS, thread_name_prefix="ask") as pool:
        answers = list(pool.map(_ask_one_carefully, questions))
    _tell_accounts(answers)
    return [answer for answer, _ in answers]


def _ask_one_carefully(question: Question) -> tuple[Answered, int]:
    batch, integration = Batch((question,)), question.attempt.integration
    guard, policy = AskGuard(question.claim), integration.egress_policy()
    try:
        told, exchanges = drive(
            _talk(batch, integration.account()), lambda call: send_once(call, policy=policy, before_first_byte=guard)
        )
    except TalkFailed as failure:
        told, exchanges = Told({}), failure.exchanges
    finally:
        connection.close()
    return Answered(batch, told, exchanges[-1] if exchanges else None), len(exchanges)


@dataclass(frozen=True, slots=True)
class AskGuard:
    """Asked just before the first byte of a question that may buy: the claim and the units are still ours."""

    claim: Claim

    def __call__(self) -> NotSentReason | None:
        """None when the byte may be written, else why not."""
        checkpoint("ask.before_first_byte")
        is_mine = DueCheck.objects.filter(pk=self.claim.row_id, fence=self.claim.fence, next_at__gt=clock.now())
        holds = AttemptUnit.objects.filter(attempt_id=self.claim.attempt_id, holds=True, unit__status=UnitStatus.HELD)
        return None if is_mine.exists() and holds.exists() else NotSentReason.SUPERSEDED


def poll_forever(stop_after_s: float | None, pause_s: float, stop: Event) -> None:
    """Sweep again and again in this process, without broker or beat, until `stop` or `stop_after_s` seconds are over.

    A database that is away is waited for: nothing is lost, because what is due stands there.
    """
    ends_at = None if stop_after_s is None else time.monotonic() + stop_after_s
    own, is_lost = secrets.token_hex(8), False
    while not stop.is_set() and (ends_at is None or time.monotonic() < ends_at):
        close_old_connections()
        try:
            report = sweep(stop=stop, own=own)
        except (OperationalError, InterfaceError) as error:
            connections.close_all()
            if not is_lost:
                log.warning("poll_database_lost", error=type(error).__name__)
            is_lost = True
            stop.wait(DATABASE_AWAY_S)
            continue
        except Exception as error:
            log.exception("sweep_failed", error=type(error).__name__)  # and the process goes on: the rows stay due
            stop.wait(DATABASE_AWAY_S)
            continue
        if is_lost:
            log.warning("poll_database_back")
        is_lost = False
        if not (report.asked or report.dispatched):
            stop.wait(pause_s)
