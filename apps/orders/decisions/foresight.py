"""What a decision would do, before it is made: it is carried out under the order's lock, looked at, and taken back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog
from django.db import transaction

from apps.accounts.models import User
from apps.common.money import Money
from apps.orders.decisions.deciding import Act, Control, Signed, Wish, control_of, load_own, name_of
from apps.orders.models import Attempt, Case, DueCheck, Order, OrderCode
from apps.wallet import ledger


@dataclass(frozen=True, slots=True)
class Change:
    """One word that becomes another; `name` is the reference of an attempt, else empty."""

    before: str
    after: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a decision would change. `stake` and `control` are those of a decision that may need two people.

    `codes_shown` is negative where codes are hidden; `waits` are the kinds of what is due afterwards.
    """

    control: Control
    stake: Money | None
    status: Change
    external: Change
    attempts: tuple[Change, ...]
    postings: tuple[ledger.Line, ...]
    codes_shown: int
    cases_closed: int
    waits: tuple[str, ...]
    alone_from: datetime | None = None

    @property
    def fingerprint(self) -> str:
        """The same for the same effect: what a person agreed to is what is done."""
        moved = [(line.kind, str(line.money), line.source, line.target) for line in self.postings]
        told = (self.control, str(self.stake), self.status, self.external, self.attempts, sorted(moved))
        return hashlib.sha256(repr((*told, self.codes_shown, self.cases_closed)).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class _Look:
    order: Order
    states: dict[str, str]
    postings: list[ledger.Line]
    codes: int
    open_cases: int
    waits: tuple[str, ...]


def foresee(act: Act, order_id: int, actor: User, now: datetime, wish: Wish) -> Foreseen:
    """What `act` would do once everybody whom it needs has agreed; nothing is kept. Raises a `DecisionRefused`."""
    with transaction.atomic(), structlog.contextvars.bound_contextvars(rehearsal=True):
        order = load_own(order_id, actor)
        stake = act.stake(order, wish, now)
        control = control_of(act, order, actor, stake)
        alone_from = act.alone_from(order, wish) if act.alone_from and control is Control.SINGLE else None
        before = _look(order_id)
        act.carry_out(order, wish, Signed(name_of(actor), "-", actor.pk), now)
        after = _look(order_id)
        transaction.set_rollback(True)
        return _compare(before, after, control, stake, alone_from)


def rehearse(order_id: int, actor: User, do: Callable[[], object]) -> Foreseen:
    """The same for a decision that one person takes. Raises a child of `DecisionRefused`."""
    with transaction.atomic(), structlog.contextvars.bound_contextvars(rehearsal=True):
        load_own(order_id, actor)
        before = _look(order_id)
        do()
        after = _look(order_id)
        transaction.set_rollback(True)
        return _compare(before, after, Control.ONE, None, None)


def _look(order_id: int) -> _Look:
    return _Look(
        order=Order.objects.get(pk=order_id),
        states=dict(Attempt.objects.filter(order_id=order_id).order_by("id").values_list("reference", "state")),
        postings=ledger.lines_of("order", order_id),
        codes=OrderCode.objects.filter(order_id=order_id, is_quarantined=False).count(),
        open_cases=Case.objects.filter(order_id=order_id, closed_at=None).count(),
        waits=tuple(DueCheck.objects.filter(order_id=order_id).order_by("next_at").values_list("kind", flat=True)),
    )


def _compare(
    before: _Look, after: _Look, control: Control, stake: Money | None, alone_from: datetime | None
) -> Foreseen:
    return Foreseen(
        control=control,
        stake=stake,
        status=Change(before.order.status, after.order.status),
        external=Change(before.order.external_status, after.order.external_status),
        attempts=tuple(
            Change(before.states.get(reference, ""), state, _name(reference, before))
            for reference, state in after.states.items()
            if before.states.get(reference) != state
        ),
        postings=tuple(after.postings[len(before.postings) :]),
        codes_shown=after.codes - before.codes,
        cases_closed=before.open_cases - after.open_cases,
        waits=after.waits,
        alone_from=alone_from,
    )


def _name(reference: str, before: _Look) -> str:
    """An attempt that the decision itself makes has no reference yet: it is drawn anew when it is made."""
    return reference if reference in before.states else ""
