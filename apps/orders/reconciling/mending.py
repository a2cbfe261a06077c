"""What the hub mends by itself, each through the door that such news always takes; a file alone never gives money back
that one person might not.

An attempt in doubt that the statement names exists there; one that it calls refused is a failure, read once. A price
that the provider never told before is its price. Everything else is a person's.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from django.db import transaction

from apps.common.logs import get_logger
from apps.common.money import Money, to_decimal
from apps.orders import machine, outcomes
from apps.orders.evidence import record_evidence
from apps.orders.models import Attempt, AttemptUnit, DueCheck, Evidence, Order
from apps.orders.news import News
from apps.orders.questions import load_facts
from apps.orders.reconciling.aligning import is_believable
from apps.orders.reconciling.dialects import Meaning
from apps.orders.snapshot import paid_micros, record_snapshot
from apps.orders.statement_models import Break, BreakEnd, BreakEvent, BreakKind, Statement, StatementLine
from apps.orders.states import AttemptState, UnitStatus
from apps.providers.contract import Outcome, Result
from apps.wallet import ledger, people

log = get_logger(__name__)

A = AttemptState


class StaysOpen(Exception):
    """It is not certain any more, or the door did not take it: a person decides."""


def mend_all(statement: Statement, now: datetime) -> int:
    """Mend every certain difference of the statement that is still open; returns how many were."""
    rows = Break.objects.filter(statement=statement, is_certain=True, closed_at=None).order_by("id")
    return sum(_mend(pk, now) for pk in rows.values_list("id", flat=True))


def _mend(break_id: int, now: datetime) -> bool:
    """Mend one, or leave it to a person for good."""
    try:
        with transaction.atomic():
            _mend_locked(break_id, now)
            return True
    except StaysOpen as error:
        log.info("difference_left_to_a_person", difference=break_id, why=str(error))
    except Exception as error:  # one difference that cannot be mended keeps no other from it
        log.error("difference_not_mended", difference=break_id, error=type(error).__name__, exc_info=error)
    Break.objects.filter(pk=break_id, closed_at=None).update(is_certain=False)
    return False


def _mend_locked(break_id: int, now: datetime) -> None:
    row = load_locked(break_id)
    if row.closed_at is not None or row.attempt is None or row.line is None:
        raise StaysOpen("it is over")
    {BreakKind.STATE: _mend_state, BreakKind.PRICE: _mend_price}[BreakKind(row.kind)](row, row.attempt, row.line, now)
    close(row, BreakEnd.REPAIRED, now)
    order = row.attempt.order
    order.refresh_from_db()
    facts = {"difference": row.kind, "line": row.line.number, "statement": row.statement_id}
    machine.record_story(order, "difference_mended", "statement", now, attempt=row.attempt, data=facts)


def load_locked(break_id: int) -> Break:
    """The difference with its order locked first, as everybody does, and then itself."""
    order_id = Break.objects.filter(pk=break_id).values_list("attempt__order_id", flat=True).get()
    if order_id is not None:
        outcomes.lock_orders({order_id})
    Break.objects.select_for_update().filter(pk=break_id).values_list("pk").get()
    related = ("statement", "line", "attempt", "attempt__order", "attempt__integration", "integration", "owner")
    return Break.objects.select_related(*related).get(pk=break_id)


def close(
    row: Break, end: BreakEnd, now: datetime, *, actor_id: int | None = None, actor: str = "", why: str = ""
) -> None:
    """End it, once, and tell its story."""
    ended = {"closed_at": now, "decision": end, "closed_by_id": actor_id, "close_reason": why}
    if Break.objects.filter(pk=row.pk, closed_at=None).update(**ended) != 1:
        raise StaysOpen("it was closed meanwhile")
    BreakEvent.objects.create(difference=row, kind=end, actor=actor, text=why, at=now)


# --- states


def _mend_state(row: Break, attempt: Attempt, line: StatementLine, now: datetime) -> None:
    if attempt.state != A.IN_DOUBT:
        raise StaysOpen("it is not in doubt any more")
    if line.meaning == Meaning.RETURNED:
        check_refusal_counts(row, attempt, now)
        apply_news(attempt, line, Outcome.REJECTED, now)
    else:
        apply_news(attempt, line, Outcome.ACCEPTED, now)
        ask_about_price(row, attempt, line, now)


def check_refusal_counts(row: Break, attempt: Attempt, now: datetime) -> None:
    """Raise `StaysOpen` unless the refusal is about the last that was sent, and one person might give so much back."""
    if not is_refusal_sure(row, attempt, now):
        raise StaysOpen("it may have been sent again, or arrive yet")
    if people.is_above_limit(attempt.order.tenant_id, stake_of(attempt)):
        raise StaysOpen("so much money goes back by two people only")


def is_refusal_sure(row: Break, attempt: Attempt, now: datetime) -> bool:
    """Whether the statement reaches past the last moment at which the purchase, sent once, could have arrived."""
    caps = attempt.integration.caps()
    last_arrival = attempt.send_deadline_at + timedelta(seconds=caps.place_timeout_s)
    was_sent_once = attempt.send_no == 1 and attempt.resent_at is None and not caps.ask_may_create
    return was_sent_once and row.statement.ends_at >= last_arrival and load_facts(attempt, caps, now).quiet_s >= 0


def stake_of(attempt: Attempt) -> Money:
    """What the customer's money of its units is that is still held."""
    units = AttemptUnit.objects.filter(attempt=attempt, holds=True, unit__status=UnitStatus.HELD)
    return Money(sum(units.values_list("unit__amount_micros", flat=True)), attempt.order.currency)


def apply_news(
    attempt: Attempt, line: StatementLine, outcome: Outcome, now: datetime, actor: str = ""
) -> outcomes.Change:
    """Tell the hub's door what the line says. Raises `StaysOpen` where it was not taken, or changed nothing."""
    news = news_of(attempt, line, outcome, now, actor)
    changes = outcomes.apply([news])
    if not changes or changes[0].verdict.said in ("unchanged", "no_information"):
        raise StaysOpen("the news changed nothing")
    attempt.refresh_from_db()
    return changes[0]


def news_of(attempt: Attempt, line: StatementLine, outcome: Outcome, now: datetime, actor: str) -> News:
    """The line as news of the attempt. Its price counts where it is believable and none was told before."""
    fence = DueCheck.objects.filter(attempt=attempt).values_list("fence", flat=True).first()
    is_price = line.meaning == Meaning.BOUGHT and line.currency == attempt.cost_currency
    counts = is_price and is_believable(line.amount_micros, paid_micros(attempt))
    result = Result(
        outcome,
        attempt.reference,
        provider_id=line.provider_id,
        cost=to_decimal(line.amount_micros) if counts else None,
        currency=line.currency if counts else "",
        reason=f"statement {line.statement_id}, line {line.number}",
        raw=as_raw(line),
    )
    return News(attempt.pk, attempt.order_id, "statement", result, None, now, fence or 0, attempt.send_no, actor=actor)


def as_raw(line: StatementLine) -> bytes:
    """What was stated, as it is kept for evidence."""
    told = {
        "statement": line.statement_id,
        "line": line.number,
        "own_ref": line.own_ref,
        "provider_id": line.provider_id,
        "amount_micros": line.amount_micros,
        "currency": line.currency,
        "word": line.word,
        "meaning": line.meaning,
    }
    return json.dumps(told, sort_keys=True).encode()


def ask_about_price(row: Break, attempt: Attempt, line: StatementLine, now: datetime) -> None:
    """Where the price did not come along with the news, it is a question of its own."""
    paid = paid_micros(attempt)
    if line.meaning != Meaning.BOUGHT or (paid, attempt.cost_currency) == (line.amount_micros, line.currency):
        return
    kind = BreakKind.PRICE if line.currency == attempt.cost_currency else BreakKind.CURRENCY
    asked, is_new = Break.objects.get_or_create(
        line=line,
        kind=kind,
        defaults={
            "integration_id": row.integration_id,
            "statement_id": line.statement_id,
            "attempt": attempt,
            "expected_micros": paid,
            "expected_currency": attempt.cost_currency,
            "stated_micros": line.amount_micros,
            "stated_currency": line.currency,
            "opened_at": now,
        },
    )
    if is_new:
        BreakEvent.objects.create(difference=asked, kind="opened", at=now)


# --- prices


def _mend_price(row: Break, attempt: Attempt, line: StatementLine, now: datetime) -> None:
    if attempt.cost_micros is not None or attempt.is_surplus:
        raise StaysOpen("the provider has told a price meanwhile")
    says = Outcome.ACCEPTED if attempt.state == A.ACCEPTED else Outcome.COMPLETED
    evidence = record_evidence(attempt, news_of(attempt, line, says, now, ""))
    take_price(attempt, line, evidence, now)


def take_price(attempt: Attempt, line: StatementLine, evidence: Evidence, now: datetime) -> None:
    """The attempt cost what the line states: on its row, in the ledger, in what the order cost. The order is locked.

    Raises `StaysOpen` for another currency, and for zero, which says nothing.
    """
    if line.currency != attempt.cost_currency or line.amount_micros <= 0:
        raise StaysOpen("no price that could be booked")
    order = Order.objects.get(pk=attempt.order_id)
    machine.change_attempt(attempt, A(attempt.state), cost_micros=line.amount_micros)
    if postings := outcomes.unbooked_cost(order, attempt, evidence):
        ledger.post(order.tenant_id, postings, now)
        record_snapshot(order, 0)
