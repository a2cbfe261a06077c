"""The one door for news about orders: facts, story and schedule of each piece of news in one transaction.

`apply` takes a list; a single change is a list of one. Orders are locked in id order, then accounts in id order.
Facts are merged by state, from anyone and in any order; scheduling only by whoever holds the fence.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, Q

from apps.common.backoff import error_gap_s
from apps.common.checkpoints import checkpoint
from apps.common.logs import get_logger
from apps.common.money import BadAmount, Money, to_micros
from apps.orders import due, ladder, machine, routing, targets, unchanged, wake
from apps.orders.evidence import record_evidence, store_codes, was_sold_before
from apps.orders.models import Attempt, AttemptUnit, Case, DueCheck, Evidence, Order, OrderCode, OrderEvent, OrderUnit
from apps.orders.news import News
from apps.orders.polling import learning
from apps.orders.snapshot import paid_micros, record_snapshot
from apps.orders.standings import QUIET, Link, Unit, attempt_fields, external_of, fold_units, is_first, standing_of
from apps.orders.states import AttemptState, ExternalStatus, OrderStatus, UnitStatus
from apps.orders.tally import Outlook, Tally, UnitFacts, tally
from apps.orders.verdicts import Plan, Verdict, decide
from apps.providers import troubles
from apps.providers.actions import UNASKABLE
from apps.providers.contract import Outcome, Result
from apps.wallet import ledger

log = get_logger(__name__)

A, E = AttemptState, ExternalStatus

DOUBTFUL = frozenset({"waiting:in_doubt"} | {f"waiting:{why}" for why in UNASKABLE})
"""Reasons of a review that last as long as an attempt is in doubt: nobody answers, or nobody may be asked."""

LINK = ("unit_id", "holds", "attempt__state", "attempt__delivered_units")
"""What is read of who holds a unit."""


@dataclass(slots=True)
class Change:
    """What one piece of news changed, for the story and the schedule. No `tally`: the order was not moved."""

    order: Order
    attempt: Attempt
    news: News
    verdict: Verdict
    tally: Tally | None
    evidence: Evidence | None
    status_before: str
    is_told: bool
    taught: learning.Completion | None = None


def apply(news: Sequence[News]) -> list[Change]:
    """Apply every piece of news, all in one transaction. A poisonous one is bisected out and backs off alone.

    Returns what changed; news that only sets the next time is written for all its orders together, and is not in it.
    """
    if not news:
        return []
    try:
        with transaction.atomic():
            orders = lock_orders({item.order_id for item in news}, unchanged.ORDER_FIELDS)
            in_order = sorted(news, key=lambda item: (item.order_id, item.attempt_id))
            changes = [_apply_one(item) for item in unchanged.put_off(in_order, orders, random.random)]
            checkpoint("apply.before_commit")
    except Exception as error:
        if len(news) == 1:
            _set_aside(news[0], error)
            return []
        middle = len(news) // 2
        return apply(news[:middle]) + apply(news[middle:])
    checkpoint("apply.after_commit")
    return changes


def lock_orders(order_ids: set[int], fields: Sequence[str] = ()) -> dict[int, Order]:
    """The orders, locked in id order until the transaction ends; with these fields alone, where some are named."""
    orders = Order.objects.select_for_update().filter(pk__in=order_ids).order_by("pk")
    return {order.pk: order for order in (orders.only(*fields) if fields else orders)}


def _apply_one(news: News) -> Change:
    change = settle(news)
    tell(change)
    schedule(change)
    return change


def _set_aside(news: News, error: Exception) -> None:
    """The news could not be applied: keep its raw answer, ask again later, harm nobody else."""
    log.error(
        "news_set_aside", order=news.order_id, attempt=news.attempt_id, error=type(error).__name__, exc_info=error
    )
    with transaction.atomic():
        record_evidence(Attempt.objects.get(pk=news.attempt_id), news)
        row = DueCheck.objects.filter(attempt_id=news.attempt_id, fence=news.fence).first()
        if row is not None:
            gap_s = error_gap_s(row.errors, random.random())
            DueCheck.objects.filter(pk=row.pk, fence=news.fence).update(
                errors=row.errors + 1, next_at=news.at + timedelta(seconds=gap_s)
            )


def keep_answer(news: News) -> None:
    """Commit the raw answer alone; what it means is found out by asking when the attempt's row is due."""
    with transaction.atomic():
        record_evidence(Attempt.objects.get(pk=news.attempt_id), news)


# --- facts: state, PIN, money


def disown(attempt: Attempt, news: News) -> News:
    """The news, or no information where it is about an order that another attempt at the same account has."""
    told = news.result.provider_id[:120]
    if not told or told == attempt.provider_order_id:
        return news
    others = Attempt.objects.filter(integration=attempt.integration_id, provider_order_id=told).exclude(pk=attempt.pk)
    if not others.exists():
        return news
    log.warning("answer_about_another_order", order=attempt.order_id, attempt=attempt.pk)
    return replace(news, result=Result(Outcome.UNKNOWN, news.result.own_ref, reason_code="id_of_another_order"))


def settle(news: News) -> Change:
    """Decide what `news` means and write state, codes and money. The order is locked by the caller's transaction."""
    order = Order.objects.select_related("package").get(pk=news.order_id)
    attempt = Attempt.objects.select_related("integration").get(pk=news.attempt_id)
    news = disown(attempt, news)
    row = DueCheck.objects.filter(attempt=attempt).first()
    units = AttemptUnit.objects.filter(attempt=attempt).aggregate(
        all=Count("id"),
        held=Count("id", filter=Q(holds=True)),
        paid=Count("id", filter=Q(holds=True, unit__status=UnitStatus.HELD)),
    )
    codes = OrderCode.objects.filter(attempt=attempt, is_quarantined=False).count()
    wait = learning.load_wait(attempt, order.package.product_id, news)
    standing = standing_of(order, attempt, row, units, codes, wait, news)
    verdict = decide(standing, news, random.random())
    taught = learning.observed(attempt, order.package.product_id, row, news, verdict)
    cost = _cost_fields(attempt, news, is_final=verdict.state is A.PARTIAL)
    is_told = verdict.said not in QUIET or verdict.state != attempt.state or bool(cost) or is_first(row, news)
    is_told |= verdict.not_found_since not in (None, standing.not_found_since)  # the first look that counts
    evidence = record_evidence(attempt, news) if is_told else None
    status_before = order.status
    is_moving = verdict.state != attempt.state
    _change_attempt(attempt, verdict, news, cost)
    _note_trouble(attempt, news)
    if news.verb != "place" and (is_moving or not order.provider_referans):
        save_provider_referans(order, attempt, news)
    new = store_codes(attempt, verdict.codes, is_quarantined=attempt.is_surplus, now=news.at)
    if new:
        log.info("pin_stored", order=order.pk, attempt=attempt.pk, count=len(new), shown="••••")
    _open_cases(order, attempt, verdict, new, news.at)
    result = _fold(order, verdict, news.at) if units["held"] else None
    _move_money(order, attempt, verdict, result, evidence, news.at)
    is_told |= _change_order(order, verdict, result, news.at)
    if verdict.state is A.IN_DOUBT and verdict.review and attempt.integration.caps().balance_check:
        ladder.record_comparison(order, attempt, news.at)
    return Change(order, attempt, news, verdict, result, evidence, status_before, is_told or bool(new), taught)


def _change_order(order: Order, verdict: Verdict, result: Tally | None, now: datetime) -> bool:
    """Write the folded standing; an order that no attempt held before this news stays as it is."""
    if result is None:
        return False
    if order.status == OrderStatus.REVIEW and result.status is OrderStatus.PENDING:
        machine.change_order(order, OrderStatus.PROCESSING, ExternalStatus(order.external_status), "", now)
    return machine.change_order(order, result.status, external_of(order, verdict, result), result.reason, now)


def _change_attempt(attempt: Attempt, verdict: Verdict, news: News, cost: dict[str, object]) -> None:
    machine.change_attempt(attempt, verdict.state, **attempt_fields(attempt, verdict, news, cost))
    if verdict.is_reversed:
        machine.change_attempt(attempt, A.REVERSED)


def _cost_fields(attempt: Attempt, news: News, *, is_final: bool) -> dict[str, object]:
    """What the provider says it charged: the first word, and for a part delivery the last.

    What cannot be stored exactly, in the account's currency, stays evidence.
    """
    if news.result.cost is None or (attempt.cost_micros is not None and not is_final):
        return {}
    if news.result.currency not in ("", attempt.cost_currency):
        log.warning("cost_in_another_currency", order=attempt.order_id, attempt=attempt.pk)
        return {}
    try:
        return {"cost_micros": to_micros(news.result.cost)}
    except BadAmount:
        log.warning("cost_unreadable", order=attempt.order_id, attempt=attempt.pk)
        return {}


def _note_trouble(attempt: Attempt, news: News) -> None:
    outcome = news.result.outcome
    if outcome in troubles.TROUBLES:
        troubles.pause(attempt.integration, outcome, news.at, news.result.retry_after_s)
    elif news.verb == "place" and outcome in (Outcome.ACCEPTED, Outcome.COMPLETED):
        troubles.clear(attempt.integration)


def save_provider_referans(order: Order, attempt: Attempt, news: News) -> None:
    """The reference that the provider knows the order by: of the first attempt that holds a unit, else the latest."""
    holder = (
        Attempt.objects.select_related("integration")
        .filter(order=order, attempt_units__holds=True)
        .exclude(state=A.NOT_SENT)
        .order_by("id")
        .first()
    )
    fields = {"provider_referans": _known_as(holder or attempt, news)}
    if news.result.provider_id:
        fields["external_order_id"] = news.result.provider_id[:120]
        Attempt.objects.filter(pk=attempt.pk).update(provider_order_id=news.result.provider_id[:120])
    if order.sent_at is None:
        Order.objects.filter(pk=order.pk, sent_at=None).update(sent_at=news.at)
        order.sent_at = news.at
    Order.objects.filter(pk=order.pk).update(**fields)
    for name, value in fields.items():
        setattr(order, name, value)


def _known_as(attempt: Attempt, news: News) -> str:
    """Our reference, or the provider's own id where it takes none and has told it."""
    if attempt.integration.caps().ref_format != "none":
        return attempt.reference
    told = news.result.provider_id if news.attempt_id == attempt.pk else ""
    return (told or attempt.provider_order_id or attempt.reference)[:64]


def _open_cases(order: Order, attempt: Attempt, verdict: Verdict, new: list[OrderCode], now: datetime) -> None:
    questions = {
        Case.Reason.LATE_DELIVERY: verdict.is_late,
        Case.Reason.REVERSAL: verdict.is_reversed,
        Case.Reason.SECOND_CODE: bool(new) and OrderCode.objects.filter(attempt=attempt).count() > len(new),
        Case.Reason.CODE_SOLD_TWICE: was_sold_before(new),
    }
    if not any(questions.values()):
        return
    risk = sum(AttemptUnit.objects.filter(attempt=attempt).values_list("unit__amount_micros", flat=True))
    for reason, is_open in questions.items():
        if is_open:
            Case.objects.get_or_create(
                attempt=attempt,
                reason=reason,
                defaults={"order": order, "risk_micros": risk, "currency": order.currency, "opened_at": now},
            )
            log.warning("case_opened", order=order.pk, attempt=attempt.pk, reason=str(reason))


def _fold(order: Order, verdict: Verdict, now: datetime) -> Tally:
    units = unit_facts(order)
    has_free = any(unit.holder is None and unit.status is UnitStatus.HELD for unit in units)
    return tally(
        units,
        needs_code=order.needs_code,
        now_status=OrderStatus(order.status),
        now_reason=order.reason,
        review=verdict.review or _review_of_others(order),
        outlook=_outlook(order, now) if has_free else None,
        is_restored=order.is_restored,
    )


def _outlook(order: Order, now: datetime) -> Outlook:
    """What becomes of the free units: the route that a person has chosen, else what routing says."""
    if order.next_route_id is not None:
        return Outlook(is_exhausted=False, retry_at=now, reason="waiting:next_route")
    return routing.survey(order, routing.load_routes(order), now).outlook()


def _review_of_others(order: Order) -> str:
    """An order stays in review for doubt while any of its attempts is in doubt."""
    if order.status != OrderStatus.REVIEW or order.reason not in DOUBTFUL:
        return ""
    in_doubt = Attempt.objects.filter(order=order, state=A.IN_DOUBT, attempt_units__holds=True).exists()
    return order.reason if in_doubt else ""


def unit_facts(order: Order) -> list[UnitFacts]:
    """Every unit of the order with the attempt that holds it; of a part delivery its first units are delivered."""
    links = list(AttemptUnit.objects.filter(unit__order=order).select_related("attempt").only(*LINK))
    attempts = {link.attempt_id: link.attempt for link in links}
    codes = Counter(OrderCode.objects.filter(order=order, is_quarantined=False).values_list("attempt_id", flat=True))
    held = [Link(link.attempt_id, link.unit_id, link.holds) for link in links]
    units = [Unit(*told) for told in OrderUnit.objects.filter(order=order).order_by("n").values_list("pk", "status")]
    return fold_units(units, held, attempts, codes)


def _move_money(
    order: Order, attempt: Attempt, verdict: Verdict, result: Tally | None, evidence: Evidence | None, now: datetime
) -> None:
    capture, release = (result.capture, result.release) if result else ((), ())
    postings = []
    captured = 0
    for unit in OrderUnit.objects.filter(order=order, pk__in=capture + release).order_by("n"):
        money = Money(unit.amount_micros, order.currency)
        if unit.pk in capture:
            machine.change_unit(unit, UnitStatus.CAPTURED)
            captured += money.micros
            postings.append(ledger.capture_unit(order.pk, unit.pk, money))
        else:
            machine.change_unit(unit, UnitStatus.RELEASED)
            reason = f"attempt {attempt.pk} {attempt.state}, evidence {evidence.pk if evidence else 'none'}"
            postings.append(ledger.release_unit(order.customer_id, order.pk, unit.pk, money, reason))
    postings += _cost_postings(order, attempt, verdict, evidence)
    if postings:
        ledger.post(order.tenant_id, postings, now)
    if postings or verdict.is_late or verdict.is_reversed:
        record_snapshot(order, captured)


def _cost_postings(order: Order, attempt: Attempt, verdict: Verdict, evidence: Evidence | None) -> list[ledger.Posting]:
    """What the delivery cost us; back when it was reversed."""
    if verdict.is_reversed and evidence is not None:
        return ledger.cost_reversals(attempt.integration_id, order.pk, attempt.pk, evidence.pk)
    return unbooked_cost(order, attempt, evidence)


def unbooked_cost(order: Order, attempt: Attempt, evidence: Evidence | None) -> list[ledger.Posting]:
    """What the books lack of the cost of a delivery: all of it, a loss where it came late, or what was told otherwise.

    Nothing is booked before it is a delivery, and no correction without evidence.
    """
    actual = known_cost(attempt)
    if not actual.micros or attempt.state not in (A.DELIVERED, A.PARTIAL):
        return []
    booked = _booked_cost(order, attempt, actual.currency)
    ids = (attempt.integration_id, order.pk, attempt.pk)
    if booked.micros == actual.micros:
        return []
    if not booked.micros and not attempt.is_surplus:
        return [ledger.provider_cost(*ids, actual)]
    if evidence is None:
        return []
    if not booked.micros:
        return [ledger.late_cost(*ids, evidence.pk, actual)]
    return [ledger.cost_correction(*ids, evidence.pk, booked=booked, actual=actual, is_loss=attempt.is_surplus)]


def _booked_cost(order: Order, attempt: Attempt, currency: str) -> Money:
    """So far, as a cost or, of a delivery that came late, as a loss."""
    if not attempt.is_surplus:
        return Money(ledger.booked_cost(attempt.pk), currency)
    return Money(ledger.booked_for(order.pk, attempt.pk).get(("loss", currency), 0), currency)


def known_cost(attempt: Attempt) -> Money:
    """What the purchase costs by the provider's word, else by the mapping's; zero when nobody said."""
    return Money(paid_micros(attempt) or 0, attempt.cost_currency)


# --- story


def tell(change: Change, data: dict[str, object] | None = None) -> OrderEvent | None:
    """Append the change to the order's story, and to the outbox when its status moved. Silent news leaves no line."""
    order, verdict, news = change.order, change.verdict, change.news
    if change.status_before != order.status:
        machine.announce(order, news.at)
    log.info(
        "news_applied",
        order=order.pk,
        attempt=change.attempt.pk,
        verb=news.verb,
        said=verdict.said,
        state=change.attempt.state,
        status=order.status,
    )
    if verdict.pin_overdue and not OrderEvent.objects.filter(order=order, kind="pin_overdue").exists():
        machine.record_story(order, "pin_overdue", news.verb, news.at, attempt=change.attempt)
        log.warning("pin_overdue", order=order.pk, attempt=change.attempt.pk)
    if not change.is_told and data is None:
        return None
    facts = {"attempt_state": change.attempt.state, "outcome": news.result.outcome, **(data or {})}
    if news.result.reason:
        facts["provider_words"] = news.result.reason[:300]
    return machine.record_story(
        order,
        verdict.said,
        news.verb,
        news.at,
        attempt=change.attempt,
        evidence=change.evidence,
        actor=news.actor,
        data=facts,
    )


# --- schedule


def schedule(change: Change) -> Plan | None:
    """Write when to look next: the attempt's row, and the order's dispatch row while units are free."""
    verdict, news, order = change.verdict, change.news, change.order
    targets.let_next_go(change.attempt, news.at)
    is_asked = news.barred is None and news.verb != "statement"
    due.plan_attempt(
        change.attempt, verdict.plan, fence=news.fence, seen=news.class_digest(), now=news.at, is_asked=is_asked
    )
    if change.tally is None:
        return verdict.plan
    if change.tally.dispatch_at is None:
        due.drop_dispatch(order)
        return verdict.plan
    due.plan_dispatch(order, change.tally.dispatch_at)
    if change.tally.dispatch_at <= news.at:
        wake.dispatch_on_commit(order.pk, order.tenant_id)
    return verdict.plan
