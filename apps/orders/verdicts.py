"""What news means for one attempt: a pure decision over (standing, news), without clock, dice or database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from apps.common.backoff import error_gap_s, spec_gap_s, with_jitter
from apps.orders.news import NO_INFORMATION, News
from apps.orders.polling.policy import Wait
from apps.orders.states import FREEING, AttemptState, DueKind
from apps.providers.actions import (
    SECOND_LOOK_S,
    UNASKABLE,
    Action,
    Facts,
    allowed,
    is_absence_proven,
    is_failure_final,
)
from apps.providers.contract import Capabilities, Code, Outcome, Result

A = AttemptState

PIN_ALARM = timedelta(minutes=15)
"""A delivery whose PIN is missing this long is told as overdue."""

REMINDER = timedelta(days=1)
"""An order that nobody may be asked about any more is looked at again this often, until a person has decided."""

AFTER_BALANCES = timedelta(minutes=10)
"""Where nobody may be asked, the first look comes when the account's balance was read once more."""

GIVEN_UP_FOR = timedelta(days=30)
"""How long a provider that never forgets is asked about a purchase that a person gave up."""

REFUSALS = frozenset(
    {
        Outcome.REJECTED,
        Outcome.OUT_OF_STOCK,
        Outcome.INSUFFICIENT_BALANCE,
        Outcome.AUTH_ERROR,
        Outcome.RATE_LIMITED,
    }
)
"""Answers to a purchase that say for certain that nothing was bought."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One attempt and its order as they are before the news. `tries` and `errors` are the due row's.

    `codes` counts the different codes that are stored, of which a product with codes needs one per unit. `facts` are
    those at the time of the news, without it. `is_resend`: an earlier send of the same reference may have arrived.
    """

    state: AttemptState
    send_no: int
    needs_code: bool
    codes: int
    units: int
    order_in_review: bool
    order_deadline_at: datetime
    created_at: datetime
    doubt_since: datetime | None
    failed_seen_at: datetime | None
    delivered_at: datetime | None
    closed_at: datetime | None
    tries: int
    errors: int
    caps: Capabilities
    facts: Facts
    send_deadline_at: datetime
    is_resend: bool = False
    not_found: int = 0
    not_found_since: datetime | None = None
    delivered_units: int | None = None
    wait: Wait | None = None  # until the next check, should the news say "in progress"; None is by the schedule

    @property
    def quiet_at(self) -> datetime:
        """From when on no request of the latest send can still arrive, if its sender did not come back before."""
        return self.send_deadline_at + timedelta(seconds=self.caps.place_timeout_s)

    @property
    def absence_from(self) -> datetime | None:
        """From when on not finding it may prove that it is not there."""
        wait = self.caps.absent_after_s
        return None if wait is None else self.quiet_at + timedelta(seconds=wait)

    @property
    def has_code(self) -> bool:
        """Whether every unit has its code."""
        return self.codes >= self.units

    @property
    def owes_code(self) -> bool:
        """Whether a code is still missing."""
        return self.needs_code and not self.has_code

    def still_owes(self, codes: tuple[Code, ...]) -> bool:
        """Whether one is missing even with these; providers repeat what they told, so they are not added up."""
        return self.owes_code and len({(code.value, code.pin) for code in codes}) < self.units


@dataclass(frozen=True, slots=True)
class Plan:
    """The next due time of an attempt's row."""

    kind: DueKind
    at: datetime
    tries: int
    errors: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole change that follows from one piece of news, as a value."""

    state: AttemptState
    said: str
    plan: Plan | None
    codes: tuple[Code, ...] = ()
    is_late: bool = False
    is_reversed: bool = False
    review: str = ""
    failed_seen_at: datetime | None = None
    informs: bool = True
    pin_overdue: bool = False
    not_found: int = 0
    not_found_since: datetime | None = None
    delivered_units: int | None = None


def decide(standing: Standing, news: News, draw: float) -> Verdict:
    """What `news` changes. `draw` in [0, 1) is the jitter. Facts already known are never taken back."""
    if news.barred is not None:
        return _not_asked(standing, news)
    decider = _by_place if news.verb == "place" else _by_question
    return _with_deadline(standing, _with_looks(standing, decider(standing, news, draw)), news.at)


def _with_looks(standing: Standing, verdict: Verdict) -> Verdict:
    """While an attempt is in doubt, the looks that did not find it are remembered."""
    if verdict.state is not A.IN_DOUBT or verdict.not_found:
        return verdict
    return replace(verdict, not_found=standing.not_found, not_found_since=standing.not_found_since)


def _by_place(standing: Standing, news: News, draw: float) -> Verdict:
    """The answer to the purchase itself."""
    outcome = news.result.outcome
    if standing.state not in (A.SENDING, A.IN_DOUBT) or news.send_no != standing.send_no:
        return (
            _by_question(standing, news, draw) if outcome in _NEWS_OF_EXISTENCE else _nothing_new(standing, news, draw)
        )
    if standing.is_resend and outcome in REFUSALS | {Outcome.NOT_SENT}:
        # It says nothing of the send before this one, which may have bought.
        return Verdict(A.IN_DOUBT, "in_doubt", _resolve_soon(standing, news))
    if outcome in REFUSALS | {Outcome.NOT_SENT} and _may_have_been_bought_by_asking(standing, news.at):
        return Verdict(A.IN_DOUBT, "in_doubt", _next(standing, DueKind.RESOLVE, news.at, draw))
    if outcome in REFUSALS and not news.result.codes:
        return Verdict(A.REFUSED, "refused", None)
    if outcome is Outcome.NOT_SENT:
        # The resolver may have put it in doubt meanwhile; our own proof that nothing left is an absence then.
        return Verdict(A.NOT_SENT if standing.state is A.SENDING else A.ABSENT, "not_sent", None)
    if outcome is Outcome.ACCEPTED:
        return Verdict(A.ACCEPTED, "accepted", _first_check(standing, news.at, draw), news.result.codes)
    if outcome is Outcome.COMPLETED:
        return _delivered(standing, news, draw)
    if outcome is Outcome.PARTIAL:
        return _partial_reading(standing, news, draw)
    if outcome in _CONFLICTS or news.result.codes:
        return _conflict(standing, news, draw)
    return Verdict(A.IN_DOUBT, "in_doubt", _resolve_soon(standing, news))


def _may_have_been_bought_by_asking(standing: Standing, now: datetime) -> bool:
    """Where asking may buy, a sender that comes back after others may ask knows nothing of what they did."""
    caps = standing.caps
    askable_at = standing.created_at + timedelta(seconds=caps.send_window_s + caps.place_timeout_s)
    return caps.ask_may_create and (standing.state is A.IN_DOUBT or now >= askable_at)


def _by_question(standing: Standing, news: News, draw: float) -> Verdict:
    """The answer to a look-up or a status question."""
    outcome = news.result.outcome
    if outcome in NO_INFORMATION:
        return _question_failed(standing, news, draw)
    return _DECIDERS[standing.state](standing, news, draw)


def _in_doubt(standing: Standing, news: News, draw: float) -> Verdict:
    if news.result.outcome is Outcome.NOT_FOUND:
        return _not_found(standing, news, draw)
    return _accepted(standing, news, draw)


def _not_found(standing: Standing, news: News, draw: float) -> Verdict:
    """Nobody there knows it. Proof only where and when the provider's word is one; else it is looked for again."""
    looks, since = _looks(standing, news)
    from_at = standing.absence_from
    counts = since is not None and (from_at is None or since >= from_at)
    seen = replace(
        standing.facts,
        not_found=looks if counts else 0,
        not_found_span_s=(news.at - since).total_seconds() if since else 0,
        has_good_call_between=news.is_account_good,
    )
    if is_absence_proven(standing.caps, seen):
        return Verdict(A.ABSENT, "absent", _watch(standing, A.ABSENT, news.at), not_found=looks, not_found_since=since)
    doubt_since = standing.doubt_since or standing.created_at
    is_old = news.at - doubt_since >= timedelta(seconds=standing.caps.review_after_s)
    return Verdict(
        A.IN_DOUBT,
        "not_found",
        _next_look(standing, seen, news.at, draw),
        review="waiting:in_doubt" if is_old else "",
        not_found=looks,
        not_found_since=since,
    )


def _looks(standing: Standing, news: News) -> tuple[int, datetime | None]:
    """How many not-found answers count, and since when; none before the provider must know what it got.

    A question that was put before the latest send says nothing of that send.
    """
    if standing.facts.quiet_s < 0 or news.send_no != standing.send_no:
        return standing.not_found, standing.not_found_since
    since, proves_at = standing.not_found_since, standing.absence_from
    if since is None or (proves_at is not None and since < proves_at <= news.at):  # those before were too early
        return 1, news.at
    return standing.not_found + 1, since


def _next_look(standing: Standing, seen: Facts, now: datetime, draw: float) -> Plan:
    """When it may be sent again; else the schedule's next time, or sooner: when not finding it begins to prove."""
    plan = _next(standing, DueKind.RESOLVE, now, draw)
    caps = standing.caps
    floor_at = now + timedelta(seconds=caps.poll.floor_s)
    may_resend = allowed(caps, replace(seen, idle_s=caps.resend_min_gap_s))[Action.RESEND] is None
    if may_resend and not caps.ask_may_create:
        return replace(plan, at=max(now + timedelta(seconds=caps.resend_min_gap_s), floor_at))
    if standing.absence_from is None:
        return plan
    proves_at = max(standing.absence_from, now + timedelta(seconds=SECOND_LOOK_S), floor_at)
    return replace(plan, at=min(plan.at, proves_at))


def _accepted(standing: Standing, news: News, draw: float) -> Verdict:
    outcome = news.result.outcome
    if outcome is Outcome.COMPLETED:
        return _delivered(standing, news, draw)
    if outcome is Outcome.ACCEPTED:
        return Verdict(A.ACCEPTED, "in_progress", _next(standing, DueKind.CHECK, news.at, draw), news.result.codes)
    if outcome in _FAILURES and not (news.result.codes or standing.codes):
        return _failed_reading(standing, news, draw)
    if outcome is Outcome.PARTIAL:
        return _partial_reading(standing, news, draw)
    if outcome is Outcome.NOT_FOUND:
        return _question_failed(standing, news, draw)
    return _conflict(standing, news, draw)


def _failed_reading(standing: Standing, news: News, draw: float) -> Verdict:
    """A failure counts from the second reading that agrees, `failed_final_after_s` after the first."""
    first_at = standing.failed_seen_at if standing.delivered_units is None else None
    since = first_at or news.at
    if is_failure_final(standing.caps, 2 if first_at else 1, (news.at - since).total_seconds()):
        return Verdict(A.FAILED, "failed", _watch(standing, A.FAILED, news.at), failed_seen_at=since)
    return Verdict(A.ACCEPTED, "failed_once", _second_reading(standing, since, news.at), failed_seen_at=since)


def _partial_reading(standing: Standing, news: News, draw: float) -> Verdict:
    """Less was delivered than ordered: final like a failure, since what is missing is given back."""
    done = units_done(standing, news.result)
    if done is None:
        return _conflict(standing, news, draw)
    if done == standing.units:
        return _delivered(standing, news, draw)
    if done == 0:
        return _failed_reading(standing, news, draw)
    first_at = standing.failed_seen_at if standing.delivered_units == done else None
    since = first_at or news.at
    if is_failure_final(standing.caps, 2 if first_at else 1, (news.at - since).total_seconds()):
        plan = _watch(standing, A.PARTIAL, news.at)
        return Verdict(A.PARTIAL, "partial", plan, news.result.codes, failed_seen_at=since, delivered_units=done)
    plan = _second_reading(standing, since, news.at)
    return Verdict(A.ACCEPTED, "partial_once", plan, news.result.codes, failed_seen_at=since, delivered_units=done)


def units_done(standing: Standing, result: Result) -> int | None:
    """How many whole units of the attempt are delivered by the provider's numbers; None when these do not fit."""
    codes = max(standing.codes, len({(code.value, code.pin) for code in result.codes}))
    if result.delivered is None or result.remains is None:
        return codes if standing.needs_code and 0 < codes <= standing.units else None
    ordered = result.delivered + result.remains
    done = result.delivered * standing.units / ordered if ordered else None
    if done is None or done != int(done) or (standing.needs_code and codes != done):
        return None
    return None if codes and not done else int(done)


def _second_reading(standing: Standing, since: datetime, now: datetime) -> Plan:
    """When a reading that may still change is read again."""
    caps = standing.caps
    wait, floor = timedelta(seconds=caps.failed_final_after_s), timedelta(seconds=caps.poll.floor_s)
    return Plan(DueKind.CHECK, max(since + wait, now + floor), standing.tries, 0)


def _delivered(standing: Standing, news: News, draw: float) -> Verdict:
    if standing.still_owes(news.result.codes):
        plan = _next(replace(standing, tries=0), DueKind.CODE, news.at, draw)
        return Verdict(A.DELIVERED, "delivered_without_code", plan, news.result.codes)
    return Verdict(A.DELIVERED, "delivered", _watch(standing, A.DELIVERED, news.at), news.result.codes)


def _after_delivery(standing: Standing, news: News, draw: float) -> Verdict:
    """Delivered already: a missing or second code is kept, a reversal is told, a regression is absorbed."""
    outcome = news.result.outcome
    owes_code = standing.owes_code
    if news.result.codes and not standing.still_owes(news.result.codes):
        return Verdict(A.DELIVERED, "code_arrived", _watch(standing, A.DELIVERED, news.at), news.result.codes)
    if outcome is Outcome.REVERSED or (owes_code and outcome in _FAILURES):
        plan = _next(standing, DueKind.CODE, news.at, draw) if owes_code else _watch(standing, A.DELIVERED, news.at)
        review = "conflict:failed_after_delivery" if owes_code else ""
        return Verdict(A.DELIVERED, "reversed", plan, is_reversed=not owes_code, review=review)
    if not owes_code:
        return Verdict(A.DELIVERED, "unchanged", _watch(standing, A.DELIVERED, news.at))
    overdue = standing.delivered_at is not None and news.at - standing.delivered_at >= PIN_ALARM
    plan = _next(standing, DueKind.CODE, news.at, draw)
    return Verdict(A.DELIVERED, "code_missing", plan, news.result.codes, pin_overdue=overdue)


def _after_freeing(standing: Standing, news: News, draw: float) -> Verdict:
    """The unit was let go: a delivery now is surplus, anything else changes nothing."""
    if news.result.outcome in (Outcome.COMPLETED, Outcome.PARTIAL) or news.result.codes:
        return Verdict(A.DELIVERED, "late_delivery", None, news.result.codes, is_late=True)
    return Verdict(standing.state, "unchanged", _watch(standing, standing.state, news.at))


def _ended(standing: Standing, news: News, draw: float) -> Verdict:
    plan = _watch(standing, standing.state, news.at)
    return Verdict(standing.state, "unchanged", plan, news.result.codes, delivered_units=standing.delivered_units)


def _conflict(standing: Standing, news: News, draw: float) -> Verdict:
    """Words that contradict each other or need a person: the money stays where it is, nothing is bought again."""
    state = A.IN_DOUBT if standing.state is A.SENDING else standing.state
    plan = _next(standing, DueKind.RESOLVE if state is A.IN_DOUBT else DueKind.CHECK, news.at, draw)
    return Verdict(state, "conflict", plan, news.result.codes, review=f"conflict:{news.result.outcome}")


def _question_failed(standing: Standing, news: News, draw: float) -> Verdict:
    """No information: its own back-off; the schedule is not advanced. An attempt nobody answers for is in doubt."""
    state = A.IN_DOUBT if standing.state is A.SENDING else standing.state
    poll, hint = standing.caps.poll, news.result.retry_after_s
    gap = min(max(hint, poll.floor_s), poll.cap_s) if hint else error_gap_s(standing.errors, draw, floor_s=poll.floor_s)
    kind = _plan_kind(standing, state)
    if kind is DueKind.WATCH and _watch(standing, state, news.at) is None:
        kind = None  # its window is over
    review = ""
    if state is A.IN_DOUBT:
        since = standing.doubt_since or standing.created_at
        review = "waiting:in_doubt" if news.at - since >= timedelta(seconds=standing.caps.review_after_s) else ""
    due = Plan(kind, news.at + timedelta(seconds=gap), standing.tries, standing.errors + 1) if kind else None
    return _uninformed(standing, state, "no_information", due, review)


def _not_asked(standing: Standing, news: News) -> Verdict:
    """The question must not be put: too soon waits, what is over is closed, all else is a person's, told once a day."""
    state = A.IN_DOUBT if standing.state is A.SENDING else standing.state
    kind, caps = _plan_kind(standing, state), standing.caps
    if kind in (None, DueKind.WATCH):
        return _uninformed(standing, state, "unchanged", None, "")
    review = f"waiting:{news.barred}" if news.barred in UNASKABLE else ""
    is_new = state is A.IN_DOUBT and news.at < standing.quiet_at + AFTER_BALANCES
    reminder = AFTER_BALANCES if is_new else REMINDER
    gap = reminder if review else timedelta(seconds=max(caps.resend_min_gap_s, caps.poll.floor_s))
    plan = Plan(kind, news.at + gap, standing.tries, standing.errors)
    return _uninformed(standing, state, "not_asked", plan, review)


def _uninformed(standing: Standing, state: AttemptState, said: str, plan: Plan | None, review: str) -> Verdict:
    """Nothing was learnt: what was read before still stands."""
    return Verdict(
        state,
        said,
        plan,
        review=review,
        informs=False,
        failed_seen_at=standing.failed_seen_at,
        delivered_units=standing.delivered_units,
    )


def _nothing_new(standing: Standing, news: News, draw: float) -> Verdict:
    kind = _plan_kind(standing, standing.state)
    plan = _next(standing, kind, news.at, draw) if kind else None
    return _uninformed(standing, standing.state, "unchanged", plan, "")


def _plan_kind(standing: Standing, state: AttemptState) -> DueKind | None:
    if state is A.DELIVERED and standing.owes_code:
        return DueKind.CODE
    kinds = {A.IN_DOUBT: DueKind.RESOLVE, A.SENDING: DueKind.RESOLVE, A.ACCEPTED: DueKind.CHECK}
    return kinds.get(state, DueKind.WATCH if _is_watched(standing, state) else None)


def _first_check(standing: Standing, now: datetime, draw: float) -> Plan:
    if standing.wait is not None:
        return _sooner(standing.wait, now, draw)
    return Plan(DueKind.CHECK, now + timedelta(seconds=standing.caps.poll.first_s), 0, 0)


def _resolve_soon(standing: Standing, news: News) -> Plan:
    """The first look-up after a placing answer: the sender is back, so it waits the margin, not the whole window."""
    caps = standing.caps
    quiet_at = standing.quiet_at + timedelta(seconds=caps.resolve_margin_s)
    soon = news.at + timedelta(seconds=caps.poll.floor_s)
    if news.exchange is not None and news.result.duplicate:
        return Plan(DueKind.RESOLVE, soon, 0, 0)
    later = min(quiet_at, news.at + timedelta(seconds=caps.resolve_margin_s))
    return Plan(DueKind.RESOLVE, max(later, soon), 0, 0)


def _next(standing: Standing, kind: DueKind, now: datetime, draw: float) -> Plan:
    if standing.wait is not None and kind is DueKind.CHECK and not standing.order_in_review:
        return _sooner(standing.wait, now, draw)
    poll = standing.caps.poll
    gap = poll.cap_s if standing.order_in_review else spec_gap_s(standing.tries, base_s=poll.base_s, cap_s=poll.cap_s)
    return Plan(kind, now + timedelta(seconds=with_jitter(gap, draw, floor_s=poll.floor_s)), standing.tries + 1, 0)


def _sooner(wait: Wait, now: datetime, draw: float) -> Plan:
    """By what was learned; `tries` is the schedule's own count, so that it can go on from here."""
    return Plan(DueKind.CHECK, now + timedelta(seconds=wait.seconds(draw)), wait.passed, 0)


def _watch(standing: Standing, state: AttemptState, now: datetime) -> Plan | None:
    """A final state that was seen to flip, or that a person gave up, is watched at the cap until its window is over."""
    at = now + timedelta(seconds=standing.caps.poll.cap_s)
    is_open = _is_watched(standing, state) and at <= _watch_ends_at(standing, state, now)
    return Plan(DueKind.WATCH, at, standing.tries + 1, 0) if is_open else None


def _is_watched(standing: Standing, state: AttemptState) -> bool:
    return state is A.ABANDONED or str(state) in standing.caps.flipping


def _watch_ends_at(standing: Standing, state: AttemptState, now: datetime) -> datetime:
    """What was given up is asked about while the provider remembers it; one that never forgets, for thirty days."""
    caps, closed_at = standing.caps, standing.closed_at or now
    if state is not A.ABANDONED:
        return closed_at + timedelta(seconds=caps.final_after_s)
    if caps.query_window_s is None:
        return closed_at + GIVEN_UP_FOR
    return standing.created_at + timedelta(seconds=caps.query_window_s)


def _with_deadline(standing: Standing, verdict: Verdict, now: datetime) -> Verdict:
    """After the order's deadline what is still open is a person's question; asking goes on at the cap."""
    is_open = verdict.state in (A.IN_DOUBT, A.ACCEPTED) or (
        verdict.state is A.DELIVERED and standing.still_owes(verdict.codes) and not verdict.is_late
    )
    if not is_open or verdict.review or now < standing.order_deadline_at:
        return verdict
    return replace(verdict, review="waiting:pin" if verdict.state is A.DELIVERED else "waiting:deadline")


_FAILURES = frozenset({Outcome.REJECTED, Outcome.OUT_OF_STOCK, Outcome.INSUFFICIENT_BALANCE})
_CONFLICTS = frozenset({Outcome.REVERSED})
_NEWS_OF_EXISTENCE = frozenset({Outcome.ACCEPTED, Outcome.COMPLETED})

Decider = Callable[[Standing, News, float], Verdict]
_DECIDERS: dict[AttemptState, Decider] = {
    A.PREPARED: _ended,
    A.SENDING: _in_doubt,
    A.IN_DOUBT: _in_doubt,
    A.ACCEPTED: _accepted,
    A.DELIVERED: _after_delivery,
    A.PARTIAL: _ended,
    A.REVERSED: _ended,
    **dict.fromkeys(FREEING, _after_freeing),
}
