"""News that changes nothing but the time of the next question, written for many orders with a handful of statements.

Most answers are of this kind: "still being worked on", as before. Whether an answer is, is found out by the very
functions by which the door decides; whatever would write a row more, or another row, is left to the door.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from apps.common.logs import get_logger
from apps.orders import due
from apps.orders.due import Reschedule
from apps.orders.models import Attempt, DueCheck, Order, OrderCode, OrderUnit
from apps.orders.news import News
from apps.orders.polling import learning
from apps.orders.polling.policy import Wait
from apps.orders.questions import share_accounts
from apps.orders.standings import QUIET, Link, Unit, attempt_fields, external_of, fold_units, is_first, standing_of
from apps.orders.states import AttemptState, DueKind, OrderStatus, UnitStatus
from apps.orders.tally import tally
from apps.orders.verdicts import Plan, Verdict, decide
from apps.providers.contract import Outcome
from apps.providers.models import Integration

log = get_logger(__name__)

STILL = frozenset({Outcome.ACCEPTED, Outcome.UNKNOWN})
"""Outcomes of a question that may change nothing: it is being worked on, or nobody said anything."""


ORDER_FIELDS = (
    "needs_code", "status", "external_status", "reason", "provider_referans", "deadline_at", "is_restored",
)  # fmt: skip
"""What is read of an order here. Few fields for many orders: reading them is half the cost of a quiet answer."""

ATTEMPT_FIELDS = (
    "order", "integration", "state", "outcome", "reason_code", "reason", "send_no", "send_deadline_at",
    "provider_order_id", "created_at", "answered_at", "doubt_since", "failed_seen_at", "not_found", "not_found_since",
    "resent_at", "delivered_units", "delivered_at", "is_surplus", "closed_at",
)  # fmt: skip

ROW_FIELDS = ("attempt", "tries", "errors", "fence", "asked_at", "digest", "same_since")


def put_off(news: Sequence[News], orders: Mapping[int, Order], draw: Callable[[], float]) -> list[News]:
    """Set the next time of all that changes nothing else; returns the rest, in its order, for the door.

    `orders` are locked by the caller's transaction. What is read here is read under these locks.
    """
    alone = Counter(item.order_id for item in news)
    maybe = [item for item in news if alone[item.order_id] == 1 and _may_be_unchanged(item, orders.get(item.order_id))]
    if not maybe:
        return list(news)
    crowd = _load(maybe, orders)
    plans = {item.attempt_id: plan for item in maybe if (plan := _plan(item, crowd, draw)) is not None}
    still = [item for item in maybe if item.attempt_id in plans]
    _write(still, plans, crowd)
    return [item for item in news if item.attempt_id not in plans]


def _may_be_unchanged(news: News, order: Order | None) -> bool:
    result = news.result
    is_question = news.verb == "status" and news.barred is None and not news.actor
    is_plain = result.outcome in STILL and not result.codes and result.cost is None
    is_waiting = order is not None and order.status == OrderStatus.PROCESSING and bool(order.provider_referans)
    return is_question and is_plain and is_waiting


# --- reading: what the door reads of one order, of many


@dataclass(frozen=True, slots=True)
class _Crowd:
    """Everything that decides about these orders, by their ids or their attempts'."""

    orders: Mapping[int, Order]
    attempts: Mapping[int, Attempt]
    rows: Mapping[int, DueCheck]
    units: Mapping[int, Sequence[Unit]]
    links: Mapping[int, Sequence[Link]]
    codes: Mapping[int, int]
    products: Mapping[int, int]
    lessons: dict[tuple[int, int], learning.Lesson]


def _load(news: Sequence[News], orders: Mapping[int, Order]) -> _Crowd:
    order_ids = [item.order_id for item in news]
    attempts = {one.pk: one for one in Attempt.objects.filter(order__in=order_ids).only(*ATTEMPT_FIELDS)}
    share_accounts(attempts.values())
    rows = DueCheck.objects.filter(attempt__in=[item.attempt_id for item in news]).only(*ROW_FIELDS)
    units, links = _load_units(order_ids)
    codes = OrderCode.objects.filter(order__in=order_ids, is_quarantined=False)
    is_learned = any(one.integration.asking().policy == "learned" for one in attempts.values())
    products = Order.objects.filter(pk__in=order_ids).values_list("pk", "package__product_id") if is_learned else ()
    return _Crowd(
        orders,
        attempts,
        {row.attempt_id: row for row in rows if row.attempt_id is not None},
        units,
        links,
        Counter(codes.values_list("attempt_id", flat=True)),
        dict(products),
        {},
    )


def _load_units(order_ids: Sequence[int]) -> tuple[Mapping[int, Sequence[Unit]], Mapping[int, Sequence[Link]]]:
    """The units of the orders by their numbers, and which attempts were to buy them."""
    units: defaultdict[int, dict[int, Unit]] = defaultdict(dict)
    links: defaultdict[int, list[Link]] = defaultdict(list)
    names = ("order_id", "pk", "status", "attempt_units__attempt_id", "attempt_units__holds")
    for order_id, pk, status, attempt_id, holds in (
        OrderUnit.objects.filter(order__in=order_ids).order_by("n").values_list(*names)
    ):
        units[order_id][pk] = Unit(pk, status)
        if attempt_id is not None:
            links[order_id].append(Link(attempt_id, pk, holds))
    return defaultdict(tuple, {order_id: tuple(own.values()) for order_id, own in units.items()}), links


# --- deciding


def _plan(news: News, crowd: _Crowd, draw: Callable[[], float]) -> Plan | None:
    """When to ask next; None where the news does more than that."""
    order, attempt, row = crowd.orders[news.order_id], crowd.attempts[news.attempt_id], crowd.rows.get(news.attempt_id)
    told = news.result.provider_id[:120]
    is_known = attempt.state == AttemptState.ACCEPTED and told in ("", attempt.provider_order_id)
    if row is None or row.fence != news.fence or not is_known or is_first(row, news):
        return None
    counts = _counts([link for link in crowd.links[order.pk] if link.attempt_id == attempt.pk], crowd.units[order.pk])
    wait = _wait(attempt, news, crowd)
    standing = standing_of(order, attempt, row, counts, crowd.codes.get(attempt.pk, 0), wait, news)
    verdict = decide(standing, news, draw())
    if not counts["held"] or not _is_silent(attempt, verdict, news) or not _stands(order, verdict, crowd):
        return None
    return verdict.plan


def _counts(links: Sequence[Link], units: Iterable[Unit]) -> dict[str, int]:
    status = {unit.pk: unit.status for unit in units}
    held = [status[link.unit_id] for link in links if link.holds]
    return {"all": len(links), "held": len(held), "paid": held.count(UnitStatus.HELD)}


def _wait(attempt: Attempt, news: News, crowd: _Crowd) -> Wait | None:
    product_id = crowd.products.get(attempt.order_id, 0)

    def load(integration: Integration, product: int) -> learning.Lesson:
        key = (integration.pk, product)
        if key not in crowd.lessons:
            crowd.lessons[key] = learning.load_lesson(integration, product)
        return crowd.lessons[key]

    return learning.load_wait(attempt, product_id, news, load)


def _is_silent(attempt: Attempt, verdict: Verdict, news: News) -> bool:
    """Whether the verdict leaves the attempt as it is and nothing to tell."""
    is_same = verdict.state is AttemptState.ACCEPTED and verdict.said in QUIET
    is_more = bool(verdict.codes or verdict.review or verdict.is_late or verdict.is_reversed or verdict.pin_overdue)
    if not is_same or is_more or verdict.plan is None or verdict.plan.kind is not DueKind.CHECK:
        return False
    return all(getattr(attempt, name) == value for name, value in attempt_fields(attempt, verdict, news, {}).items())


def _stands(order: Order, verdict: Verdict, crowd: _Crowd) -> bool:
    """Whether the order, folded anew, stands where it stood, with no money to move and nothing to send."""
    units = fold_units(crowd.units[order.pk], crowd.links[order.pk], crowd.attempts, crowd.codes)
    if any(unit.holder is None and unit.status is UnitStatus.HELD for unit in units):
        return False
    result = tally(
        units,
        needs_code=order.needs_code,
        now_status=OrderStatus(order.status),
        now_reason=order.reason,
        review="",
        outlook=None,
        is_restored=order.is_restored,
    )
    is_still = not (result.capture or result.release) and result.dispatch_at is None
    after = (result.status, external_of(order, verdict, result), result.reason)
    return is_still and after == (order.status, order.external_status, order.reason)


# --- writing


def _write(news: Sequence[News], plans: Mapping[int, Plan], crowd: _Crowd) -> None:
    if not news:
        return
    times = [Reschedule(crowd.rows[item.attempt_id], plans[item.attempt_id], item.at) for item in news]
    missed = due.reschedule(times)
    for item in news:
        if crowd.rows[item.attempt_id].pk in missed:  # claimed anew this moment: only that it was asked is a fact
            plan = plans[item.attempt_id]
            attempt = crowd.attempts[item.attempt_id]
            due.plan_attempt(attempt, plan, fence=item.fence, seen=item.class_digest(), now=item.at)
    due.drop_dispatches([item.order_id for item in news])
    log.info("news_unchanged", orders=len(news))
