"""What was learned, in the database: one small row for each kind of order; read when a time is set, written in bulk.

Writing is apart from the outcomes, after their commit: no order waits for a statistic. A row that another process is
just writing is passed over, because a sample that lacks one of a thousand is still a sample, and a crash in between
loses one round's completions and nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Q, QuerySet

from apps.orders.models import Attempt, DueCheck, PollStatistic
from apps.orders.news import News
from apps.orders.polling.hazard import BINS, Observation, Statistics
from apps.orders.polling.policy import LEAST_COMPLETIONS, Learned, Wait, leash_at, pressure_after, price_of
from apps.orders.states import AttemptState, DueKind
from apps.orders.verdicts import Verdict
from apps.providers.contract import Outcome
from apps.providers.models import Integration

ALL = 0
"""In a key: every product, or every integration."""

PLACING_SHARE = 0.2
"""What of an account's rate is kept for purchases."""

AHEAD = timedelta(seconds=10)
"""What is due this soon is the demand, measured anew after as long."""

SWEEP_S = 5.0
"""The sweep's period: what is due within it can be asked together."""


# --- reading


@dataclass(frozen=True, slots=True)
class Key:
    """A kind of order: one product at one integration; 0 stands for all of them."""

    integration_id: int
    product_id: int


def keys_of(integration_id: int, product_id: int) -> tuple[Key, Key, Key]:
    """From the narrowest to the widest; the first that knows enough speaks."""
    return Key(integration_id, product_id), Key(integration_id, ALL), Key(ALL, ALL)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is known for one kind of order. `key`: whose statistics; `completions`: how many the widest has."""

    key: Key | None
    policy: Learned | None
    completions: int


def load_lesson(integration: Integration, product_id: int) -> Lesson:
    """The policy for an order of this product there; none while fewer than 20 orders of any kind have ended."""
    keys = keys_of(integration.pk, product_id)
    rows = {Key(row.integration_id, row.product_id): row for row in _rows(keys)}
    own = rows.get(keys[1])
    price_s = price_of(integration.asking().price_s, own.pressure if own else 1.0, own.together if own else 1.0)
    for key in keys:
        if key in rows and rows[key].completions >= LEAST_COMPLETIONS:
            policy = Learned(statistics_of(rows[key]), integration.caps().poll, price_s)
            return Lesson(key, policy, rows[key].completions)
    return Lesson(None, None, max((row.completions for row in rows.values()), default=0))


def load_wait(
    attempt: Attempt, product_id: int, news: News, load: Callable[[Integration, int], Lesson] = load_lesson
) -> Wait | None:
    """How long to wait after news that the attempt is in progress; None where the fixed schedule decides."""
    is_pending = news.result.outcome is Outcome.ACCEPTED and attempt.doubt_since is None
    if not is_pending or attempt.integration.asking().policy != "learned":
        return None
    policy = load(attempt.integration, product_id).policy
    return policy.wait(0.0 if news.verb == "place" else age_s(attempt, news.at)) if policy else None


def age_s(attempt: Attempt, at: datetime) -> float:
    """Seconds since the provider answered the purchase, or since it was written down where it did not."""
    return max((at - (attempt.answered_at or attempt.created_at)).total_seconds(), 0.0)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an order is asked about when it is; times in seconds, `done` and `hazard` (per second) as shares of 1.

    `lesson` has no policy where too little is known. `done`: of such orders, those that have ended by the age `by_s`,
    at which it is asked next, `gap_s` after the last answer; the schedule alone would have waited `schedule_s`.
    """

    lesson: Lesson
    gap_s: float = 0.0
    by_s: float = 0.0
    done: float = 0.0
    hazard: float = 0.0
    price_s: float = 0.0
    schedule_s: float = 0.0


def explain(row: DueCheck, attempt: Attempt, product_id: int) -> Explanation | None:
    """Why the row is due when it is; None where the fixed schedule decides, or a question failed."""
    is_learned = attempt.integration.asking().policy == "learned" and row.kind == DueKind.CHECK
    if not is_learned or attempt.doubt_since is not None or row.errors or row.asked_at is None:
        return None
    lesson = load_lesson(attempt.integration, product_id)
    asked_s, by_s = age_s(attempt, row.asked_at), age_s(attempt, row.next_at)
    policy = lesson.policy
    if policy is None:
        return Explanation(lesson)
    if by_s <= asked_s:
        return None
    return Explanation(
        lesson,
        gap_s=by_s - asked_s,
        by_s=by_s,
        done=1 - policy.hazard.share_pending(by_s),
        hazard=policy.hazard.mean(asked_s, by_s),
        price_s=policy.price_s,
        schedule_s=leash_at(policy.plan, asked_s).end_s - asked_s,
    )


# --- writing


@dataclass(frozen=True, slots=True)
class Completion:
    """One observation of a kind of order."""

    integration_id: int
    product_id: int
    seen: Observation


ENDINGS = frozenset({"delivered", "delivered_without_code", "failed", "failed_once"})


def observed(
    attempt: Attempt, product_id: int, row: DueCheck | None, news: News, verdict: Verdict
) -> Completion | None:
    """What an answer teaches; `attempt` and `row` are as they were before it.

    Taught by nothing: orders that were in doubt, answers that a person gave, what was fulfilled here, what had
    already been told, and answers that came after questions that failed, for nobody knows since when they were true.
    """
    was_told = attempt.failed_seen_at is not None or row is None or row.errors > 0 or row.kind != DueKind.CHECK
    is_plain = attempt.state == AttemptState.ACCEPTED and attempt.doubt_since is None and news.verb == "status"
    if was_told or not is_plain or verdict.said not in ENDINGS or row is None:
        return None
    after_s = age_s(attempt, row.asked_at) if row.asked_at else 0.0
    placed = 1 if attempt.answered_at is not None else 0
    seen = Observation(after_s, age_s(attempt, news.at), max(row.asked - placed, 0) + 1)
    return Completion(attempt.integration_id, product_id, seen)


def record(completions: Sequence[Completion]) -> None:
    """Add a round's completions to the rows of their kinds, in one short transaction."""
    taught = by_key(completions)
    if not taught:
        return
    with transaction.atomic():
        rows = _locked(taught)
        missing = [
            PollStatistic(integration_id=key.integration_id, product_id=key.product_id)
            for key in taught
            if key not in rows
        ]
        if missing:
            PollStatistic.objects.bulk_create(missing, ignore_conflicts=True)
            rows = _locked(taught)
        for key, row in rows.items():
            _learn(row, taught[key])
        PollStatistic.objects.bulk_update(rows.values(), ["bins", "completions", "asked", "lag_s"])


def by_key(completions: Iterable[Completion]) -> Mapping[Key, list[Observation]]:
    """Each completion for its product, its integration, and all."""
    taught: defaultdict[Key, list[Observation]] = defaultdict(list)
    for completion in completions:
        for key in keys_of(completion.integration_id, completion.product_id):
            taught[key].append(completion.seen)
    return taught


def _locked(keys: Iterable[Key]) -> dict[Key, PollStatistic]:
    """The rows of these kinds, locked in one order, but for those that somebody else is writing."""
    rows = _rows(keys).order_by("integration_id", "product_id")
    can_skip = connection.features.has_select_for_update_skip_locked
    rows = rows.select_for_update(skip_locked=True) if can_skip else rows.select_for_update()
    return {Key(row.integration_id, row.product_id): row for row in rows}


def _rows(keys: Iterable[Key]) -> QuerySet[PollStatistic]:
    wanted = Q(pk__in=[])
    for key in keys:
        wanted |= Q(integration_id=key.integration_id, product_id=key.product_id)
    return PollStatistic.objects.filter(wanted)


def _learn(row: PollStatistic, observations: Iterable[Observation]) -> None:
    seen = statistics_of(row)
    for observation in observations:
        seen = seen.with_one(observation)
    row.bins = [[round(n, 6), round(s, 3)] for n, s in zip(seen.events, seen.exposure_s, strict=True)]
    row.completions, row.asked, row.lag_s = seen.completions, seen.asked, seen.lag_s


def statistics_of(row: PollStatistic) -> Statistics:
    """The row as the policy wants it."""
    events, exposure_s = zip(*row.bins, strict=True) if row.bins else ((0.0,) * BINS, (0.0,) * BINS)
    return Statistics(events, exposure_s, row.completions, row.asked, row.lag_s)


# --- the price


def reprice(integration: Integration, now: datetime) -> None:
    """Make questions dearer where more are due than the account's rate allows, and cheaper again afterwards."""
    if integration.options.get("polling") != "learned":
        return
    rows = PollStatistic.objects.filter(integration_id=integration.pk, product_id=ALL)
    row = rows.first()
    if row is None or (row.priced_at is not None and now - row.priced_at < AHEAD):
        return
    caps = integration.caps()
    planned = DueCheck.objects.filter(lane=integration.pk, next_at__lte=now + AHEAD).count()
    per_s = planned / AHEAD.total_seconds()
    together = min(max(per_s * SWEEP_S, 1.0), float(caps.status_batch_max))
    pressure = pressure_after(row.pressure, per_s / together, caps.rate_per_s * (1 - PLACING_SHARE))
    rows.update(pressure=pressure, together=together, priced_at=now)


# --- the account of it


@dataclass(frozen=True, slots=True)
class Balance:
    """What asking cost lately at one integration, for each completion: questions x price and seconds of lag.

    At the best price for the law the two are about equal; far apart, the price is not what people pay.
    """

    integration: Integration
    policy: str
    completions: int
    price_s: float
    asked: float
    lag_s: float

    @property
    def paid_s(self) -> float:
        """Price of the questions, in seconds."""
        return self.asked * self.price_s

    @property
    def is_balanced(self) -> bool:
        """Whether neither side is more than twice the other."""
        return self.paid_s <= 2 * self.lag_s and self.lag_s <= 2 * self.paid_s


def balances() -> Iterator[Balance]:
    """One line for each integration of which something was learned."""
    rows = PollStatistic.objects.exclude(integration_id=ALL).filter(product_id=ALL, completions__gt=0)
    integrations = Integration.objects.in_bulk([row.integration_id for row in rows])
    for row in rows.order_by("integration_id"):
        integration = integrations.get(row.integration_id)
        if integration is not None:
            yield _balance(
                integration, statistics_of(row), price_of(integration.asking().price_s, row.pressure, row.together)
            )


def _balance(integration: Integration, seen: Statistics, price_s: float) -> Balance:
    asked, lag_s = seen.asked / seen.weight, seen.lag_s / seen.weight
    return Balance(integration, integration.asking().policy, seen.completions, price_s, asked, lag_s)
