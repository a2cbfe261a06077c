"""What counts as a trouble: the rules as one table of pure functions over the facts. Each bears its kind's name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.conf import settings

from apps.journal.alerts import Found
from apps.journal.loops import LOOPS
from apps.ops.facts import AccountFacts, Facts
from apps.orders.states import DueKind


@dataclass(frozen=True, slots=True)
class Limits:
    """From how many seconds on something is worth an alert."""

    overdue_s: float = 120
    in_doubt_s: float = 30 * 60
    review_s: float = 4 * 3600
    breaker_s: float = 120
    transaction_s: float = 60
    odd_s: float = 3600
    """An answer that nobody understood is a trouble this long."""
    events_s: float = 300

    @classmethod
    def load(cls) -> Limits:
        """From the settings."""
        return cls(
            overdue_s=settings.ALERT_OVERDUE_AFTER_S,
            in_doubt_s=settings.ALERT_IN_DOUBT_AFTER_S,
            review_s=settings.ALERT_REVIEW_AFTER_S,
            breaker_s=settings.ALERT_BREAKER_AFTER_S,
            transaction_s=settings.ALERT_TRANSACTION_AFTER_S,
        )


Rule = Callable[[Facts, Limits], Iterator[Found]]


def loop_silent(facts: Facts, limits: Limits) -> Iterator[Found]:
    """A loop that ran before runs no more; one that never ran yet is told by the pages alone."""
    for loop in LOOPS:
        age_s = facts.loops.get(loop.name)
        if age_s is not None and age_s > loop.alarm_after_s():
            yield Found("loop_silent", loop.name, {"loop": loop.name, "seconds": age_s})


def orders_overdue(facts: Facts, limits: Limits) -> Iterator[Found]:
    """Orders that should have been sent or asked about are not. Late news of closed orders may wait."""
    for kind, waiting in facts.due.items():
        if kind != DueKind.WATCH and waiting.oldest_s is not None and waiting.oldest_s > limits.overdue_s:
            yield Found("orders_overdue", kind, {"count": waiting.count, "seconds": waiting.oldest_s})


def in_doubt_old(facts: Facts, limits: Limits) -> Iterator[Found]:
    """A purchase has been in doubt for long: asking does not help, somebody must find out."""
    waiting = facts.in_doubt
    if waiting.oldest_s is not None and waiting.oldest_s > limits.in_doubt_s:
        yield Found("in_doubt_old", "", {"count": waiting.count, "seconds": waiting.oldest_s})


def review_waiting(facts: Facts, limits: Limits) -> Iterator[Found]:
    """Orders wait for a person who does not come."""
    for reason, waiting in facts.reviews.items():
        if waiting.oldest_s is not None and waiting.oldest_s > limits.review_s:
            values = {"count": waiting.count, "reason": reason, "seconds": waiting.oldest_s}
            yield Found("review_waiting", reason[:80], values)


def breaker_open(facts: Facts, limits: Limits) -> Iterator[Found]:
    """A provider has not answered for long."""
    for account in facts.accounts:
        if account.open_s is not None and account.open_s > limits.breaker_s:
            yield _about("breaker_open", account, seconds=account.open_s)


def account_paused(facts: Facts, limits: Limits) -> Iterator[Found]:
    """Our balance or our login at a provider must be mended; until a purchase goes through it counts as not mended."""
    for account in facts.accounts:
        if account.is_paused:
            yield _about("account_paused", account)


def balance_low(facts: Facts, limits: Limits) -> Iterator[Found]:
    """Our money at a provider is below what the shop wanted to be warned of."""
    for account in facts.accounts:
        if account.is_low:
            yield _about("balance_low", account)


def answers_not_understood(facts: Facts, limits: Limits) -> Iterator[Found]:
    """A status word without a meaning, or a page instead of an answer."""
    for account in facts.accounts:
        if account.odd_s is not None and account.odd_s < limits.odd_s:
            yield _about("answers_not_understood", account)


def webhooks_silent(facts: Facts, limits: Limits) -> Iterator[Found]:
    """Webhooks that came reliably have stopped."""
    for account in facts.accounts:
        if account.is_hook_silent:
            yield _about("webhooks_silent", account)


def books_wrong(facts: Facts, limits: Limits) -> Iterator[Found]:
    """The last recount of all money found disagreements."""
    if facts.money is not None and facts.money.problems:
        yield Found("books_wrong", "", {"count": facts.money.problems})


def transaction_long(facts: Facts, limits: Limits) -> Iterator[Found]:
    """A transaction holds locks, and keeps the database from cleaning up."""
    if facts.transaction_s is not None and facts.transaction_s > limits.transaction_s:
        yield Found("transaction_long", "", {"seconds": facts.transaction_s})


def schedule_disabled(facts: Facts, limits: Limits) -> Iterator[Found]:
    """Beat does not send what it should."""
    for name in facts.disabled:
        yield Found("schedule_disabled", name, {"task": name})


def stock_low(facts: Facts, limits: Limits) -> Iterator[Found]:
    """A shelf of our own stock needs codes."""
    for shelf in facts.low_shelves:
        values = {"shelf": shelf.name, "account": shelf.account, "count": shelf.left}
        yield Found("stock_low", f"{shelf.account}:{shelf.key}", values, shelf.tenant_id)


def events_late(facts: Facts, limits: Limits) -> Iterator[Found]:
    """Events for customers do not go out, although their endpoints would take them."""
    waiting = facts.events
    if waiting.oldest_s is not None and waiting.oldest_s > limits.events_s:
        yield Found("events_late", "", {"count": waiting.count, "seconds": waiting.oldest_s})


def endpoint_paused(facts: Facts, limits: Limits) -> Iterator[Found]:
    """A customer hears nothing any more, and may not know it."""
    for one in facts.paused_endpoints:
        yield Found("endpoint_paused", str(one.pk), {"endpoint": one.pk, "customer": one.customer}, one.tenant_id)


def _about(rule: str, account: AccountFacts, **values: float) -> Found:
    """An account by its number and kind: names and logins stay in the panel."""
    told = {"account": account.pk, "kind": account.kind, **values}
    return Found(rule, str(account.pk), told, account.tenant_id)


RULES: tuple[Rule, ...] = (
    loop_silent,
    orders_overdue,
    in_doubt_old,
    review_waiting,
    breaker_open,
    account_paused,
    balance_low,
    answers_not_understood,
    webhooks_silent,
    books_wrong,
    transaction_long,
    schedule_disabled,
    stock_low,
    events_late,
    endpoint_paused,
)
"""All rules, in the order of the runbook."""
