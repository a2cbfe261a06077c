"""The queue of record: claim what is due, and write when it is due next. The lease is `next_at` itself."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Case, F, OuterRef, QuerySet, Subquery, Value, When

from apps.orders.models import Attempt, DueCheck, Order
from apps.orders.states import AttemptState, DueKind
from apps.orders.verdicts import Plan
from apps.providers.models import Integration

STUCK_FOR = timedelta(seconds=60)
LEASE_MARGIN = timedelta(seconds=20)
SOON = timedelta(seconds=2)
"""What is due this soon counts as due when the order is asked for by name."""
HEAD_START = timedelta(seconds=60)
"""A look-up counts as due this much earlier: it decides whether an order may be bought again."""
AT_ONCE = 200
"""Rows of one statement."""
MOVE = "UPDATE orders_due_check SET fence = fence + 1, next_at = %s WHERE (id, fence) IN (VALUES "
PUT_OFF_STEPS = 8
PUT_OFF_TOGETHER = 100
"""A queue up to this long is put off in one step."""

FAR = timedelta(hours=1)
"""No claim and no schedule is this far away: only a reminder for a person is."""


class DueRow(NamedTuple):
    """What a claim wants to know of a row."""

    pk: int
    order_id: int
    attempt_id: int | None
    fence: int
    kind: str
    next_at: datetime
    asked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A due row taken by this process: nobody else asks until the lease is over; only its fence may reschedule.

    `asked_at`: when it was last asked about. `due_at`: when it was due, which its lease has replaced in the row.
    """

    row_id: int
    order_id: int
    attempt_id: int
    fence: int
    asked_at: datetime | None
    due_at: datetime | None = field(default=None, compare=False)


def lease_of(integration: Integration) -> timedelta:
    """How long a claim of this lane lasts: two questions and a margin."""
    return timedelta(seconds=2 * integration.caps().ask_timeout_s) + LEASE_MARGIN


def _lock(rows: QuerySet[DueCheck]) -> QuerySet[DueCheck]:
    """Row locks that pass over rows somebody else is claiming; SQLite's one writer at a time needs none."""
    can_skip = connection.features.has_select_for_update_skip_locked
    return rows.select_for_update(skip_locked=True, of=("self",)) if can_skip else rows.select_for_update()


def claim_lane(lane: int, now: datetime, lease: timedelta, requests: int, batch: int = 1) -> list[Claim]:
    """Take the due rows of one lane that `requests` requests can ask about, until `now + lease`; the oldest first."""
    with transaction.atomic():
        return _take(_pick(_lock(_due_in(lane, now)), requests, batch), now, lease)


def requests_wanted(lane: int, now: datetime, most: int, batch: int) -> int:
    """How many requests the lane's due rows take, `most` at most: one for each look-up, one for `batch` others."""
    if batch == 1:  # one for each, whatever it is
        return len(_due_in(lane, now).values_list("pk", flat=True)[:most])
    rows = _pick(_due_in(lane, now), most, batch)
    lookups = sum(row.kind == DueKind.RESOLVE for row in rows)
    return lookups + math.ceil((len(rows) - lookups) / batch)


def _due_in(lane: int, now: datetime) -> QuerySet[DueCheck]:
    return DueCheck.objects.filter(lane=lane, next_at__lte=now, attempt__isnull=False).order_by("next_at")


def _read(rows: QuerySet[DueCheck]) -> list[DueRow]:
    return [DueRow(*row) for row in rows.values_list("pk", *DueRow._fields[1:])]


def _pick(rows: QuerySet[DueCheck], requests: int, batch: int) -> list[DueRow]:
    """The oldest rows that fit into so many requests; a look-up is asked alone and has a head start.

    Where look-ups alone would take all requests, only what comes before them is read: no queue is read to its end.
    """
    lookups = _read(rows.filter(kind=DueKind.RESOLVE)[:requests])
    rest = rows.exclude(kind=DueKind.RESOLVE)
    if len(lookups) == requests:
        rest = rest.filter(next_at__lte=_turn_of(lookups[-1]))
    others = _read(rest[: requests * batch])
    picked: list[DueRow] = []
    begun = room = 0
    for row in sorted([*lookups, *others], key=_turn_of):
        is_lookup = row.kind == DueKind.RESOLVE
        if (is_lookup or not room) and begun == requests:
            continue
        if is_lookup:
            begun += 1
        else:
            begun, room = (begun, room - 1) if room else (begun + 1, batch - 1)
        picked.append(row)
    return picked


def _turn_of(row: DueRow) -> datetime:
    return row.next_at - HEAD_START if row.kind == DueKind.RESOLVE else row.next_at


def put_off_lane(lane: int, now: datetime, at: datetime, every: timedelta) -> None:
    """Put off all that is due in the lane until `at`; a long queue is spread over eight times, `every` apart.

    Nobody was asked: schedule and errors stay as they are.
    """
    rows = _due_in(lane, now)
    steps = PUT_OFF_STEPS if rows[PUT_OFF_TOGETHER : PUT_OFF_TOGETHER + 1] else 1
    times = [When(step=step, then=Value(at + step * every)) for step in range(1, steps)]
    rows.order_by().annotate(step=F("pk") % steps).update(next_at=Case(*times, default=Value(at)))


def lanes_of_order(order_id: int, now: datetime, *, is_forced: bool = False) -> Counter[int]:
    """How many attempts of the order are due (all of them, when a person asks), by lane."""
    return Counter(_due_of(order_id, now, is_forced=is_forced).values_list("lane", flat=True))


def claim_order(
    order_id: int, now: datetime, lease: timedelta, *, lanes: Collection[int] | None = None, is_forced: bool = False
) -> list[Claim]:
    """Take the order's attempts that are due within 2 s (or all of them, when a person asks), in all or these lanes."""
    due = _due_of(order_id, now, is_forced=is_forced)
    if lanes is not None:
        due = due.filter(lane__in=lanes)
    with transaction.atomic():
        return _take(_read(_lock(due)), now, lease)


def _due_of(order_id: int, now: datetime, *, is_forced: bool) -> QuerySet[DueCheck]:
    """What is due of one order. What may be on the wire this very moment is left alone until its row is due."""
    due = DueCheck.objects.filter(attempt__order=order_id).order_by("next_at")
    due = due.exclude(attempt__state=AttemptState.SENDING, next_at__gt=now)
    return due if is_forced else due.filter(next_at__lte=now + SOON)


def _take(rows: list[DueRow], now: datetime, lease: timedelta) -> list[Claim]:
    """Move the rows out of everybody's reach, those that somebody else has moved since they were read excepted."""
    won: set[int] = set()
    for start in range(0, len(rows), AT_ONCE):
        won |= _moved(rows[start : start + AT_ONCE], now + lease)
    return [
        Claim(row.pk, row.order_id, row.attempt_id, row.fence + 1, row.asked_at, row.next_at)
        for row in rows
        if row.pk in won and row.attempt_id is not None
    ]


def _moved(rows: Sequence[DueRow], at: datetime) -> set[int]:
    pairs = ", ".join(["(%s, %s)"] * len(rows))
    told = [part for row in rows for part in (row.pk, row.fence)]
    with connection.cursor() as cursor:
        cursor.execute(MOVE + f"{pairs}) RETURNING id", [connection.ops.adapt_datetimefield_value(at), *told])
        return {pk for (pk,) in cursor.fetchall()}


def due_lanes(now: datetime) -> list[int]:
    """Lanes that have an attempt to ask about: of each account the first row is looked at, and no other."""
    first = DueCheck.objects.filter(lane=OuterRef("pk"), attempt__isnull=False).order_by("next_at").values("next_at")
    lanes = Integration.objects.alias(first_at=Subquery(first[:1])).filter(first_at__lte=now)
    return list(lanes.order_by("pk").values_list("pk", flat=True))


def is_asked_by(lane: int, at: datetime) -> bool:
    """Whether some attempt of the lane is asked about until then."""
    return bool(_due_in(lane, at)[:1])


def due_dispatches(now: datetime, limit: int) -> list[DueCheck]:
    """The rows of orders that wait to be sent, oldest first."""
    due = DueCheck.objects.filter(lane=0, kind=DueKind.DISPATCH, next_at__lte=now)
    return list(due.order_by("next_at")[:limit])


def put_off_untouched(seen: Sequence[DueCheck], now: datetime) -> None:
    """Rows that a dispatch neither took nor moved would be due for ever: look at them again in a minute."""
    for row in seen:
        rows = DueCheck.objects.filter(pk=row.pk, kind=DueKind.DISPATCH, fence=row.fence, next_at__lte=now)
        rows.update(next_at=now + STUCK_FOR)


def plan_dispatch(order: Order, at: datetime) -> None:
    """Make the order due for dispatch at `at`, whether or not it has a row."""
    DueCheck.objects.update_or_create(
        order=order, kind=DueKind.DISPATCH, defaults={"next_at": at, "lane": 0, "attempt": None}
    )


def begin_dispatch(order: Order, at: datetime) -> None:
    """The first due row of an order that was written in this transaction: due for dispatch at `at`."""
    DueCheck.objects.create(order=order, kind=DueKind.DISPATCH, next_at=at)


def drop_dispatch(order: Order) -> None:
    """Nothing of this order is left to send."""
    drop_dispatches([order.pk])


def drop_dispatches(order_ids: Collection[int]) -> None:
    """Nothing of these orders is left to send."""
    DueCheck.objects.filter(order__in=order_ids, kind=DueKind.DISPATCH).delete()


def plan_attempt(
    attempt: Attempt, plan: Plan | None, *, fence: int | None, seen: str, now: datetime, is_asked: bool = True
) -> bool:
    """Write the attempt's next due time, or delete its row when it is closed.

    Scheduling by an older fence is dropped: whoever claimed the row since will write its own. Returns whether it was.
    """
    rows = DueCheck.objects.filter(attempt=attempt)
    if plan is None:
        rows.delete()
        return True
    row = rows.first()
    if row is None:
        DueCheck.objects.create(
            order_id=attempt.order_id,
            attempt=attempt,
            lane=attempt.integration_id,
            kind=plan.kind,
            next_at=plan.at,
            tries=plan.tries,
            errors=plan.errors,
        )
        return True
    if fence is not None and row.fence != fence:
        if is_asked:  # that it was asked is a fact: the provider's least gap counts from it
            rows.update(asked_at=now)
        # What was put off for a person is asked about again when its sender comes back after all.
        late = rows.filter(fence=row.fence, next_at__gt=plan.at + FAR)
        return late.update(kind=plan.kind, next_at=plan.at, tries=plan.tries, errors=plan.errors) == 1
    news = {"digest": seen, "same_since": row.same_since if row.digest == seen and row.same_since else now}
    fields: dict[str, object] = {"kind": plan.kind, "next_at": plan.at, "tries": plan.tries, "errors": plan.errors}
    if is_asked:
        fields |= {"asked_at": now, "asked": F("asked") + 1}
    return rows.filter(fence=row.fence).update(**fields, **news) == 1


@dataclass(frozen=True, slots=True)
class Reschedule:
    """The next time of a row whose attempt was asked about at `at` and whose answer was the one before."""

    row: DueCheck
    plan: Plan
    at: datetime

    def values(self) -> tuple[Any, ...]:
        """What the statement wants: the row, its fence, and what becomes of it."""
        since = self.row.same_since or self.at
        adapt = connection.ops.adapt_datetimefield_value
        times = (adapt(self.plan.at), adapt(self.at), adapt(since))
        return (self.row.pk, self.row.fence, str(self.plan.kind), self.plan.tries, self.plan.errors, *times)


RESCHEDULE = (
    "UPDATE orders_due_check SET kind = column3, tries = column4, errors = column5, next_at = column6, "
    "asked_at = column7, asked = asked + 1, same_since = column8 FROM (VALUES "
)


def reschedule(times: Sequence[Reschedule]) -> set[int]:
    """What `plan_attempt` writes after an unchanged answer, for many rows; those whose fence is another are left.

    Returns the ids of these.
    """
    missed = {one.row.pk for one in times}
    for start in range(0, len(times), AT_ONCE):
        part = times[start : start + AT_ONCE]
        rows = ", ".join(["(%s, %s, %s, %s, %s, %s, %s, %s)"] * len(part))
        sql = RESCHEDULE + f"{rows}) AS told WHERE id = column1 AND fence = column2 RETURNING id"
        with connection.cursor() as cursor:
            cursor.execute(sql, [value for one in part for value in one.values()])
            missed -= {pk for (pk,) in cursor.fetchall()}
    return missed
