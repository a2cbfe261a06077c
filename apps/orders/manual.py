"""The queue of orders that a person fulfils: who works on which, and what they enter, as news through the one door."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from apps.common.money import to_decimal
from apps.orders import machine, outcomes
from apps.orders.evidence import delivered_before, index_of
from apps.orders.models import Approval, Attempt, AttemptUnit, DueCheck, Order, OrderEvent
from apps.orders.news import News
from apps.orders.states import AttemptState
from apps.providers.contract import Code, Outcome, Result
from apps.providers.stock import known_in_stock

KIND = "manual"
CLAIMED = "task_claimed"
LONGEST_NAME = 80
LONGEST_TEXT = 300
"""Characters of a proof or a reason that the story keeps."""


class NotTaken(Exception):
    """The entry was not taken; nothing was written."""


class NotWaiting(NotTaken):
    """This order does not wait for a person any more."""


class HeldByAnother(NotTaken):
    """Somebody else is working on this order; `holder` is empty when nobody is."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


class BadEntry(NotTaken):
    """What was entered cannot be right; `reason` is one word for it, `unit` the unit it is about (0: none)."""

    def __init__(self, reason: str, unit: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.unit = unit


@dataclass(frozen=True, slots=True)
class Task:
    """One order that waits for a person, with the name of who works on it."""

    attempt: Attempt
    units: int
    holder: str

    @property
    def order(self) -> Order:
        """The order it is for."""
        return self.attempt.order


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a person says was delivered: a code for each unit, a proof, and what all of it cost."""

    codes: tuple[Code, ...] = field(repr=False)
    proof: str
    cost_micros: int


# --- the queue


def load_tasks(tenant_ids: Sequence[int]) -> list[Task]:
    """Everything that waits for a person in these shops, oldest first."""
    attempts = list(_waiting().filter(order__tenant_id__in=tenant_ids).order_by("created_at", "id"))
    return _tasks(attempts)


def get_task(attempt_id: int, tenant_ids: Sequence[int]) -> Task | None:
    """One of them; None when it waits no more, or not in these shops."""
    attempt = _waiting().filter(pk=attempt_id, order__tenant_id__in=tenant_ids).first()
    return None if attempt is None else _tasks([attempt])[0]


def _waiting() -> QuerySet[Attempt]:
    found = Attempt.objects.filter(kind=KIND, state=AttemptState.ACCEPTED)
    found = found.exclude(approvals__status=Approval.Status.PENDING)  # delivered, but for a second person's word
    return found.select_related("order", "order__customer", "integration")


def _tasks(attempts: Sequence[Attempt]) -> list[Task]:
    """The attempts with their units, and with who took each last, as the story tells."""
    units = Counter(AttemptUnit.objects.filter(attempt__in=attempts).values_list("attempt_id", flat=True))
    claims = OrderEvent.objects.filter(attempt__in=attempts, kind=CLAIMED).order_by("id")
    holders = dict(claims.values_list("attempt_id", "actor"))
    return [Task(attempt, units[attempt.pk], holders.get(attempt.pk, "")) for attempt in attempts]


# --- what a person does


def claim(attempt_id: int, actor: str, seen_holder: str, now: datetime) -> None:
    """Work on it from now on, if it still is with whom the person saw it (nobody, or a colleague who left it).

    Raises `NotWaiting`, or `HeldByAnother` when somebody was faster.
    """
    with transaction.atomic():
        task = _lock(attempt_id)
        if task.holder == actor[:LONGEST_NAME]:
            return
        if task.holder != seen_holder:
            raise HeldByAnother(task.holder)
        machine.record_story(task.order, CLAIMED, "person", now, attempt=task.attempt, actor=actor[:LONGEST_NAME])


def deliver(attempt_id: int, actor: str, delivery: Delivery, now: datetime) -> None:
    """Enter what was delivered, once. Raises `NotWaiting`, `HeldByAnother` or `BadEntry`."""
    with transaction.atomic():
        task = _lock_own(attempt_id, actor)
        check_delivery(task, delivery)
        result = Result(
            Outcome.COMPLETED,
            task.attempt.reference,
            cost=to_decimal(delivery.cost_micros),
            currency=task.attempt.cost_currency,
            codes=delivery.codes,
            reason=delivery.proof,
        )
        _tell(task, result, actor, now)


def refuse(attempt_id: int, actor: str, reason: str, now: datetime) -> None:
    """Say for certain that it cannot be delivered: final at once. Raises `NotWaiting`, `HeldByAnother`, `BadEntry`."""
    with transaction.atomic():
        task = _lock_own(attempt_id, actor)
        if not 0 < len(reason.strip()) <= LONGEST_TEXT:
            raise BadEntry("reason_missing" if not reason.strip() else "text_too_long")
        _tell(task, Result(Outcome.REJECTED, task.attempt.reference, reason=reason.strip()), actor, now)


def _lock(attempt_id: int) -> Task:
    """The task with its order locked. Raises `NotWaiting`."""
    order_id = Attempt.objects.filter(pk=attempt_id).values_list("order_id", flat=True).first()
    if order_id is None or not outcomes.lock_orders({order_id}):
        raise NotWaiting
    attempt = _waiting().filter(pk=attempt_id).first()
    if attempt is None:
        raise NotWaiting
    return _tasks([attempt])[0]


def _lock_own(attempt_id: int, actor: str) -> Task:
    task = _lock(attempt_id)
    if task.holder != actor[:LONGEST_NAME]:
        raise HeldByAnother(task.holder)
    return task


def check_delivery(task: Task, delivery: Delivery, *, is_known_fine: bool = False) -> None:
    """A code for every unit, each new to this shop; something that shows a delivery without one; a cost.

    Raises `BadEntry`. `is_known_fine`: a code that was delivered before is meant.
    """
    if delivery.cost_micros < 0:
        raise BadEntry("cost_negative")
    if len(delivery.proof) > LONGEST_TEXT:
        raise BadEntry("text_too_long")
    if not task.order.needs_code and not (delivery.proof or delivery.codes):
        raise BadEntry("proof_missing")
    if len(delivery.codes) > task.units or (task.order.needs_code and len(delivery.codes) < task.units):
        raise BadEntry("codes_missing")
    _check_codes(task, delivery, is_known_fine=is_known_fine)


def _check_codes(task: Task, delivery: Delivery, *, is_known_fine: bool) -> None:
    indexes = [index_of(code) for code in delivery.codes]
    known = delivered_before(task.order.tenant_id, indexes) | known_in_stock(task.order.tenant_id, indexes)
    for unit, (code, index) in enumerate(zip(delivery.codes, indexes, strict=True), 1):
        if not code.value.strip():
            raise BadEntry("codes_missing", unit)
        if index in indexes[: unit - 1]:
            raise BadEntry("code_twice", unit)
        if index in known and not is_known_fine:
            raise BadEntry("code_known", unit)
        if code.value in delivery.proof:
            raise BadEntry("code_in_proof", unit)


def _tell(task: Task, result: Result, actor: str, now: datetime) -> None:
    attempt = task.attempt
    fence = DueCheck.objects.filter(attempt=attempt).values_list("fence", flat=True).first() or 0
    news = News(
        attempt_id=attempt.pk,
        order_id=attempt.order_id,
        verb="person",
        result=result,
        exchange=None,
        at=now,
        fence=fence,
        send_no=attempt.send_no,
        actor=actor[:LONGEST_NAME],
    )
    if not outcomes.apply([news]):
        raise NotTaken
