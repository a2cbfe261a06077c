"""An order and its attempt as decisions want them, and what a verdict writes: pure, for one order or for many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from apps.orders.models import Attempt, DueCheck, Order
from apps.orders.news import News
from apps.orders.polling.policy import Wait
from apps.orders.questions import facts_of
from apps.orders.states import SETTLED, AttemptState, DueKind, ExternalStatus, OrderStatus, UnitStatus
from apps.orders.tally import Tally, UnitFacts
from apps.orders.verdicts import Standing, Verdict

A, E = AttemptState, ExternalStatus

EXTERNAL: dict[str, ExternalStatus] = {
    "accepted": E.SENT,
    "in_progress": E.PROCESSING,
    "failed_once": E.PROCESSING,
    "delivered": E.COMPLETED,
    "delivered_without_code": E.COMPLETED,
    "code_arrived": E.COMPLETED,
    "partial_once": E.PROCESSING,
    "partial": E.PARTIAL,
    "refused": E.FAILED,
    "failed": E.FAILED,
    "absent": E.NOT_SENT,
    "not_sent": E.NOT_SENT,
    "in_doubt": E.UNKNOWN,
    "not_found": E.UNKNOWN,
    "reversed": E.REVERSED,
}
"""What people read of a piece of news; whatever is not here leaves the word as it was."""

QUIET = frozenset({"in_progress", "unchanged", "no_information", "code_missing", "not_found", "not_asked"})
"""News that, repeated, only counts on the due row."""


class Link(NamedTuple):
    """A unit and an attempt that was to buy it; `holds` while no other attempt may."""

    attempt_id: int
    unit_id: int
    holds: bool


class Unit(NamedTuple):
    """One unit of an order."""

    pk: int
    status: str


def standing_of(
    order: Order,
    attempt: Attempt,
    row: DueCheck | None,
    units: Mapping[str, int],
    codes: int,
    wait: Wait | None,
    news: News,
) -> Standing:
    """Order and attempt as the decision wants them. `units` counts the attempt's: `all`, `held`, and `paid` of these
    whose money is still held; `codes` counts its codes that are not in quarantine."""
    caps = attempt.integration.caps()
    asked_at = row.asked_at if row else None
    return Standing(
        state=AttemptState(attempt.state),
        send_no=attempt.send_no,
        needs_code=order.needs_code and not attempt.is_surplus,
        codes=codes,
        units=units["all"],
        order_in_review=order.status == OrderStatus.REVIEW,
        order_deadline_at=order.deadline_at,
        created_at=attempt.created_at,
        doubt_since=attempt.doubt_since,
        failed_seen_at=attempt.failed_seen_at,
        delivered_at=attempt.delivered_at,
        closed_at=attempt.closed_at,
        tries=row.tries if row else 0,
        errors=row.errors if row else 0,
        caps=caps,
        facts=facts_of(attempt, caps, units["held"] > 0, units["paid"] > 0, asked_at, news.at),
        send_deadline_at=attempt.send_deadline_at,
        is_resend=attempt.resent_at is not None,
        not_found=attempt.not_found,
        not_found_since=attempt.not_found_since,
        delivered_units=attempt.delivered_units,
        wait=wait,
    )


def is_first(row: DueCheck | None, news: News) -> bool:
    """Whether the class of this answer, or its bytes, differ from the latest one."""
    return row is None or row.digest != news.class_digest()


def attempt_fields(attempt: Attempt, verdict: Verdict, news: News, cost: dict[str, object]) -> dict[str, object]:
    """What the news writes on the attempt beside its state."""
    fields: dict[str, object] = {
        name: getattr(verdict, name) for name in ("failed_seen_at", "not_found", "not_found_since", "delivered_units")
    }
    if news.verb == "place":
        fields["answered_at"] = news.at
    if verdict.informs and (verdict.said not in QUIET or not attempt.outcome):
        fields.update(
            outcome=news.result.outcome, reason_code=news.result.reason_code[:60], reason=news.result.reason[:300]
        )
    if verdict.state is A.IN_DOUBT and attempt.doubt_since is None:
        fields["doubt_since"] = news.at
    if verdict.state in (A.DELIVERED, A.PARTIAL) and attempt.delivered_at is None:
        fields["delivered_at"] = news.at
    if verdict.plan is None or verdict.plan.kind is DueKind.WATCH:
        fields["closed_at"] = attempt.closed_at or news.at
    fields.update(cost, is_surplus=attempt.is_surplus or verdict.is_late)
    return fields


def fold_units(
    units: Iterable[Unit], links: Iterable[Link], attempts: Mapping[int, Attempt], codes: Mapping[int, int]
) -> list[UnitFacts]:
    """The units of one order with the attempts that hold them; of a part delivery the first units are delivered.

    `links` are all of the order's, `attempts` theirs; `codes` counts, by attempt, those that are not in quarantine.
    """
    holders = {link.unit_id: attempts[link.attempt_id] for link in links if link.holds}
    wanted = Counter(link.attempt_id for link in links)
    place: Counter[int] = Counter()
    facts = []
    for unit in units:
        holder = holders.get(unit.pk)
        status = UnitStatus(unit.status)
        if holder is None:
            facts.append(UnitFacts(unit.pk, status, None, holder_has_code=False))
            continue
        place[holder.pk] += 1
        delivered = (holder.delivered_units or 0) if holder.state == A.PARTIAL else wanted[holder.pk]
        has_code, is_short = codes.get(holder.pk, 0) >= delivered, place[holder.pk] > delivered
        facts.append(UnitFacts(unit.pk, status, AttemptState(holder.state), has_code, is_short))
    return facts


def external_of(order: Order, verdict: Verdict, result: Tally) -> ExternalStatus:
    """What people read of the order after the news."""
    if order.status in SETTLED and not verdict.is_reversed:
        return ExternalStatus(order.external_status)
    if result.status is OrderStatus.PARTIAL:
        return E.PARTIAL
    return EXTERNAL.get(verdict.said, ExternalStatus(order.external_status))
