"""The guards of the real code, switched off one after the other from outside: each must be missed by a seeded run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from django.db import connection, transaction

from apps.common.checkpoints import checkpoint
from apps.common.money import Money
from apps.common.wire import MaybeSent, NotSent, NotSentReason
from apps.orders import creation, due, evidence, monitoring, outcomes, tally, verdicts
from apps.orders.dispatch import steps
from apps.orders.models import AttemptUnit, Order, OrderUnit
from apps.orders.references import draw_reference
from apps.orders.states import AttemptState, UnitStatus
from apps.proof.faults import FAULTS, Swarm
from apps.proof.line import Line
from apps.proof.run import Plan, play
from apps.providers.contract import Outcome
from apps.wallet import ledger

Patch = Callable[[], AbstractContextManager[Any]]

MOST_SEEDS = 10
HARMLESS_SEEDS = 3
ORDERS = 20


@dataclass(frozen=True, slots=True)
class Mutant:
    """One guard that is off. With a `twin` that does the same it is harmless alone; both off is a fault."""

    name: str
    what: str
    off: Patch
    twin: str = ""
    twin_off: Patch | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """In how many seeds it was caught (None: never), by which findings, and how many seeds it was harmless alone."""

    mutant: Mutant
    seeds_to_kill: int | None
    findings: tuple[str, ...]
    is_harmless_alone: bool | None = None

    @property
    def is_killed(self) -> bool:
        """Caught, and harmless alone where it has a twin."""
        return self.seeds_to_kill is not None and self.is_harmless_alone is not False

    def as_line(self) -> dict[str, Any]:
        """The result as JSON-ready values."""
        return {
            "name": self.mutant.name,
            "what": self.mutant.what,
            "twin": self.mutant.twin,
            "seeds_to_kill": self.seeds_to_kill,
            "findings": list(self.findings),
            "is_harmless_alone": self.is_harmless_alone,
            "is_killed": self.is_killed,
        }


# --- the guards


@contextmanager
def _reference_at_send() -> Iterator[None]:
    real = steps.send_request

    def send(trace: Any, attempt: Any, bound: Any, request: Any) -> Any:
        kept, attempt.reference = attempt.reference, draw_reference(bound.caps.ref_format)
        try:
            return real(trace, attempt, bound, request)
        finally:
            attempt.reference = kept

    with patch.object(steps, "send_request", send):
        yield


@contextmanager
def _attempt_after_send() -> Iterator[None]:
    real_record, real_send = steps.record_attempt, steps.send_request
    sent: dict[int, Any] = {}

    def record(trace: Any, order: Any, route: Any, bound: Any, request: Any, turn: Any, now: Any) -> Any:
        attempt = real_record(trace, order, route, bound, request, turn, now)
        sent[attempt.pk] = real_send(trace, attempt, bound, request)
        return attempt

    def send(trace: Any, attempt: Any, bound: Any, request: Any) -> Any:
        return sent.pop(attempt.pk)

    with ExitStack() as stack:
        stack.enter_context(patch.object(steps, "record_attempt", record))
        stack.enter_context(patch.object(steps, "send_request", send))
        stack.enter_context(patch.object(steps, "check_no_transaction", lambda: None))
        yield


def _doubt_becomes(outcome: Outcome) -> Patch:
    """An answer to a purchase that says nothing is taken for this one."""

    def off() -> AbstractContextManager[Any]:
        real = verdicts._by_place

        def by_place(standing: Any, news: Any, draw: float) -> Any:
            if news.result.outcome is Outcome.UNKNOWN:
                news = replace(news, result=replace(news.result, outcome=outcome))
            return real(standing, news, draw)

        return patch.object(verdicts, "_by_place", by_place)

    return off


@contextmanager
def _retry_with_new_reference() -> Iterator[None]:
    """Doubt is a refusal that may be tried again on the same route: the next attempt has a reference of its own."""
    real = verdicts._by_place

    def by_place(standing: Any, news: Any, draw: float) -> Any:
        verdict = real(standing, news, draw)
        is_doubt = verdict.state is AttemptState.IN_DOUBT and verdict.said == "in_doubt"
        return replace(verdict, state=AttemptState.REFUSED, plan=None, said="refused") if is_doubt else verdict

    with patch.object(verdicts, "_by_place", by_place), _every_route_is_open():
        yield


def _every_route_is_open() -> AbstractContextManager[Any]:
    from apps.orders import routing  # noqa: PLC0415 - beside its one use

    kept = tuple(check for check in routing.FILTERS if check.__name__ != "_was_not_refused")
    return patch.object(routing, "FILTERS", kept)


@contextmanager
def _refund_at_deadline() -> Iterator[None]:
    def give_up(standing: Any, verdict: Any, now: Any) -> Any:
        is_open = verdict.state in (AttemptState.IN_DOUBT, AttemptState.ACCEPTED)
        if is_open and now >= standing.order_deadline_at:
            return replace(verdict, state=AttemptState.FAILED, said="failed", plan=None, review="")
        return verdict

    with patch.object(verdicts, "_with_deadline", give_up), patch.object(creation, "OPEN_FOR", timedelta(minutes=8)):
        yield


@contextmanager
def _absent_at_once() -> Iterator[None]:
    """One not-found is an absence, however young it is."""
    real = verdicts._by_question

    def by_question(standing: Any, news: Any, draw: float) -> Any:
        is_open = standing.state in (AttemptState.IN_DOUBT, AttemptState.SENDING)
        if news.result.outcome is Outcome.NOT_FOUND and is_open:
            return verdicts.Verdict(AttemptState.FAILED, "failed", None)
        return real(standing, news, draw)

    with patch.object(verdicts, "_by_question", by_question):
        yield


def _blank_pin_completes() -> AbstractContextManager[Any]:
    return patch.object(verdicts.Standing, "still_owes", lambda standing, codes: False)


def _broker_alone() -> AbstractContextManager[Any]:
    return patch.object(monitoring, "sweep", lambda *args, **kwargs: monitoring.Report())


@contextmanager
def _send_again() -> Iterator[None]:
    """The transport repeats a request that got no answer, by itself: it asks nobody again."""
    real = Line.send_once

    def send_once(line: Line, call: Any, **kwargs: Any) -> Any:
        answer = real(line, call, **kwargs)
        return real(line, call) if isinstance(answer, MaybeSent) else answer

    with patch.object(Line, "send_once", send_once):
        yield


@contextmanager
def _silence_is_not_sent() -> Iterator[None]:
    """No answer counts as proof that nothing left."""
    real = Line.send_once

    def send_once(line: Line, call: Any, **kwargs: Any) -> Any:
        answer = real(line, call, **kwargs)
        return NotSent(NotSentReason.UNREACHABLE) if isinstance(answer, MaybeSent) else answer

    with patch.object(Line, "send_once", send_once):
        yield


@contextmanager
def _money_in_a_second_transaction() -> Iterator[None]:
    real = outcomes._move_money

    def later(*args: Any) -> None:
        def move() -> None:
            checkpoint("apply.after_commit")
            with transaction.atomic():
                real(*args)

        transaction.on_commit(move)

    with patch.object(outcomes, "_move_money", later):
        yield


@contextmanager
def _money_as_float() -> Iterator[None]:
    real = ledger.capture_unit

    def capture(order_id: int, unit_id: int, money: Money) -> Any:
        rounded = int(round(money.micros / 1_000_000, 2) * 1_000_000)
        return real(order_id, unit_id, Money(rounded, money.currency))

    with patch.object(ledger, "capture_unit", capture):
        yield


@contextmanager
def _no_send_guard() -> Iterator[None]:
    def check(guard: Any) -> None:
        checkpoint("dispatch.before_first_byte")

    with patch.object(steps.SendGuard, "__call__", check):
        yield


@contextmanager
def _keys_are_forgotten() -> Iterator[None]:
    """A repeated request is not recognised, and nothing in the database refuses it."""
    real: Any = creation._write
    numbers = iter(range(1_000_000))

    def write(*args: Any) -> Any:
        key = f"{args[-2]}-{next(numbers)}"
        return real(*args[:-2], key, args[-1])

    with patch.object(creation, "_write", write), patch.object(creation, "_find_first", lambda *args: None):
        yield


def _no_dispatch_row() -> AbstractContextManager[Any]:
    return patch.multiple(due, begin_dispatch=lambda order, at: None, plan_dispatch=lambda order, at: None)


def _no_check_row() -> AbstractContextManager[Any]:
    """Step 15 leaves no row: only the message knows that there is something to ask."""
    real = outcomes.schedule

    def schedule(change: Any) -> Any:
        plan = real(change)
        due.plan_attempt(change.attempt, None, fence=None, seen="", now=change.news.at)
        return plan

    return patch.object(outcomes, "schedule", schedule)


@contextmanager
def _codes_are_cut() -> Iterator[None]:
    real = evidence.store_codes

    def store(attempt: Any, codes: Any, **kwargs: Any) -> Any:
        return real(attempt, tuple(replace(code, value=code.value[:12]) for code in codes), **kwargs)

    with patch.object(outcomes, "store_codes", store):
        yield


def _codes_are_dropped() -> AbstractContextManager[Any]:
    """A delivery is booked, and its codes are written later, by nobody."""
    return patch.object(outcomes, "store_codes", lambda *args, **kwargs: [])


@contextmanager
def _no_unit_index() -> Iterator[None]:
    """The unique index on held units is away."""
    constraint = next(one for one in AttemptUnit._meta.constraints if one.name == "unit_held_by_one_attempt")
    with connection.schema_editor() as editor:
        editor.remove_constraint(AttemptUnit, constraint)
    try:
        yield
    finally:
        AttemptUnit.objects.all().update(holds=False)
        with connection.schema_editor() as editor:
            editor.add_constraint(AttemptUnit, constraint)


def _held_units_are_free() -> AbstractContextManager[Any]:
    """Step 3 does not look at who holds a unit."""

    def free_units(order: Order) -> Any:
        return OrderUnit.objects.filter(order=order, status=UnitStatus.HELD).order_by("n")

    return patch.object(Order, "free_units", free_units)


def _delivered_units_are_released() -> AbstractContextManager[Any]:
    """A late failure after delivery gives the money back as well."""
    real = tally.tally

    def folded(units: Any, **kwargs: Any) -> Any:
        result = real(units, **kwargs)
        held = tuple(
            unit.id for unit in units if unit.status is UnitStatus.HELD and unit.holder is AttemptState.IN_DOUBT
        )
        return replace(result, release=result.release + held) if held and not result.capture else result

    return patch.object(outcomes, "tally", folded)


MUTANTS: tuple[Mutant, ...] = (
    Mutant("reference_at_send", "the reference is made when it is sent, and not written before", _reference_at_send),
    Mutant("attempt_after_send", "the attempt is committed after the request, not before", _attempt_after_send),
    Mutant("new_reference", "what got no answer is bought again under a new reference", _retry_with_new_reference),
    Mutant(
        "failover_on_doubt", "no answer is a refusal: the next route buys it, too", _doubt_becomes(Outcome.REJECTED)
    ),
    Mutant("refund_at_deadline", "the clock gives the money back", _refund_at_deadline),
    Mutant("absent_at_once", "one young not-found is proof of absence", _absent_at_once),
    Mutant("blank_pin", "a delivery without its PIN closes the attempt", _blank_pin_completes),
    Mutant("broker_alone", "only messages wake orders up; there is no sweep", _broker_alone),
    Mutant("send_again", "the transport repeats a request without an answer", _send_again),
    Mutant("silence_is_not_sent", "no answer counts as proof that nothing left", _silence_is_not_sent),
    Mutant("money_later", "state and money are two transactions", _money_in_a_second_transaction),
    Mutant("float_money", "money goes through a float with two decimals", _money_as_float),
    Mutant("no_send_guard", "a sender that slept may still write", _no_send_guard),
    Mutant("keys_forgotten", "a repeated request is another order", _keys_are_forgotten),
    Mutant("no_dispatch_row", "an order is born without a due row", _no_dispatch_row),
    Mutant("no_check_row", "an attempt is settled without a due row", _no_check_row),
    Mutant("codes_cut", "a PIN is cut to the column's length", _codes_are_cut),
    Mutant("codes_dropped", "the PIN is not in the transaction of the delivery", _codes_are_dropped),
    Mutant("release_in_doubt", "money goes back while an attempt is in doubt", _delivered_units_are_released),
    Mutant(
        "held_units_free",
        "step 3 does not look at who holds a unit",
        _held_units_are_free,
        twin="the unique index on held units",
        twin_off=_no_unit_index,
    ),
)
"""Every guard that is tried."""

ROUGH = Swarm(frozenset(FAULTS), weight=1.5)
"""All faults at once: what a missing guard lets through comes up soon."""


def try_mutant(mutant: Mutant, most_seeds: int = MOST_SEEDS) -> Result:
    """Play seeds until it is caught."""
    harmless = None
    if mutant.twin_off is not None:
        with mutant.off():
            harmless = all(play(_plan(seed)).verdict.is_good for seed in range(1, HARMLESS_SEEDS + 1))
    for seed in range(1, most_seeds + 1):
        with ExitStack() as stack:
            stack.enter_context(mutant.off())
            if mutant.twin_off is not None:
                stack.enter_context(mutant.twin_off())
            wrong = play(_plan(seed)).verdict.wrong
        if any(wrong.values()):
            return Result(mutant, seed, tuple(kind for kind, texts in wrong.items() if texts), harmless)
    return Result(mutant, None, (), harmless)


def _plan(seed: int) -> Plan:
    return Plan(seed, ORDERS, ROUGH)
