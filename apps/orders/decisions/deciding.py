"""How a person decides: who may, whether a second person is needed, and one transaction under the order's lock."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from django.contrib.auth import authenticate
from django.db import transaction
from django.utils.translation import gettext as _

from apps.accounts.models import Membership, User
from apps.common.crypto import open_text, seal_text
from apps.common.logs import get_logger
from apps.common.money import BadAmount, Money, to_micros
from apps.orders import machine, outcomes
from apps.orders.decisions.refused import (
    AlreadyAsked,
    BadInput,
    NotAllowed,
    NotFound,
    SecondPersonNeeded,
    TooEarly,
)
from apps.orders.models import Approval, Attempt, Case, Evidence, Order
from apps.providers.contract import Code
from apps.wallet import people

log = get_logger(__name__)

Action, Status = Approval.Action, Approval.Status

LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Entry:
    """What a person says was delivered: a code for each unit, a proof, what all of it cost in the attempt's currency.

    `is_known_fine`: the person has confirmed that a code was delivered before.
    """

    codes: tuple[Code, ...] = field(default=(), repr=False)
    proof: str = ""
    cost_micros: int = 0
    is_known_fine: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants done about an order, as far as it must be remembered until a second person has seen it."""

    attempt_id: int | None = None
    case_id: int | None = None
    choice: str = ""
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class Alone:
    """How the only person of a shop decides what needs two: signs in again, and types the amount at stake."""

    password: str = field(repr=False)
    amount: str = ""


@dataclass(frozen=True, slots=True)
class Signed:
    """Who decided, why, and under which control: `one` person, `two`, or the `single` one of a shop.

    `actor_id` is who had the last word.
    """

    name: str
    reason: str
    actor_id: int
    control: str = "one"

    def facts(self, **more: Any) -> dict[str, Any]:
        """The same for the story."""
        return {"why": self.reason, "control": self.control, **more}


@dataclass(frozen=True, slots=True)
class Decided:
    """What came of a decision: done, or `approval` waits for the second person."""

    approval: Approval | None = None

    @property
    def is_done(self) -> bool:
        """Whether it was carried out."""
        return self.approval is None


def _as_it_is(order: Order, wish: Wish, signed: Signed, now: datetime) -> Wish:
    return wish


@dataclass(frozen=True, slots=True)
class Act:
    """One kind of decision. All of it runs under the order's lock and raises children of `DecisionRefused`.

    `stake` checks that it can be done and says what money hangs on it; `carry_out` does it; `hold` is done meanwhile
    when it must wait for a second person; `alone_from` is when the only person of a shop may do it (None: at once).
    """

    action: Approval.Action
    stake: Callable[[Order, Wish, datetime], Money]
    carry_out: Callable[[Order, Wish, Signed, datetime], None]
    is_always_two: bool = False
    hold: Callable[[Order, Wish, Signed, datetime], Wish] = _as_it_is
    alone_from: Callable[[Order, Wish], datetime] | None = None


def decide(
    act: Act, order_id: int, actor: User, reason: str, now: datetime, wish: Wish, alone: Alone | None = None
) -> Decided:
    """Do it, or leave it to a second person where its kind or its amount needs one."""
    text = read_reason(reason)
    is_proven = alone is not None and _is_password_right(actor, alone)  # slow on purpose: not under the lock
    with transaction.atomic():
        order = load_own(order_id, actor)
        stake = act.stake(order, wish, now)
        control = control_of(act, order, actor, stake)
        if control is Control.ONE:
            act.carry_out(order, wish, Signed(name_of(actor), text, actor.pk), now)
            return Decided()
        if control is Control.SINGLE:
            _check_alone(act, order, actor, wish, stake, alone, now, is_proven=is_proven)
            _decide_alone(act, order, actor, wish, stake, text, now)
            return Decided()
        if alone is not None:
            raise SecondPersonNeeded(_("You are not the only person of this shop: somebody else must confirm it."))
        return Decided(_ask(act, order, actor, wish, stake, text, now))


class Control(StrEnum):
    """Who carries a decision out: one person, two, or the only one of a shop in place of two."""

    ONE = "one"
    TWO = "two"
    SINGLE = "single"


def control_of(act: Act, order: Order, actor: User, stake: Money) -> Control:
    """Under which control this person decides it."""
    if not (act.is_always_two or people.is_above_limit(order.tenant_id, stake)):
        return Control.ONE
    return Control.SINGLE if is_alone(actor, order.tenant_id) else Control.TWO


# --- who


def load_own(order_id: int, actor: User) -> Order:
    """The order, locked, of a shop on whose orders this person may act. Raises `NotFound` or `NotAllowed`."""
    order = outcomes.lock_orders({order_id}).get(order_id)
    if order is None or order.tenant_id not in actor.tenant_ids():
        raise NotFound(_("There is no such order. Look it up again."))
    if not actor.may_operate(order.tenant_id):
        raise NotAllowed(_("You may look at this shop's orders, but not decide about them. Ask an operator."))
    return order


def load_attempt(order: Order, attempt_id: int | None) -> Attempt:
    """One attempt of the order. Raises `NotFound`."""
    found = Attempt.objects.select_related("integration").filter(pk=attempt_id or 0, order=order).first()
    if found is None:
        raise NotFound(_("This order has no such attempt. Load its page again."))
    return found


def load_case(order: Order, case_id: int | None) -> Case:
    """One case of the order. Raises `NotFound`."""
    found = Case.objects.select_related("attempt", "attempt__integration", "owner").filter(pk=case_id or 0, order=order)
    case = found.first()
    if case is None:
        raise NotFound(_("This order has no such case. Load its page again."))
    return case


def name_of(actor: User) -> str:
    """The person's name as the story and the ledger keep it."""
    return actor.get_username()[:LONGEST_NAME]


def read_reason(reason: str) -> str:
    """A reason of 1 to 200 characters in one line. Raises `BadInput`."""
    text = reason.strip()
    if not text or len(text) > 200 or not text.isprintable():
        raise BadInput(_("Give a reason of at most 200 characters, in one line."), "reason")
    return text


# --- the only person of a shop


def is_alone(actor: User, tenant_id: int) -> bool:
    """Whether nobody else could be the second person in this shop."""
    roles = (Membership.Role.OWNER, Membership.Role.OPERATOR)
    acting = Membership.objects.filter(tenant_id=tenant_id, role__in=roles, user__is_active=True)
    return set(acting.values_list("user_id", flat=True)) <= {actor.pk}


def _is_password_right(actor: User, alone: Alone) -> bool:
    found = authenticate(username=actor.get_username(), password=alone.password)
    return found is not None and found.pk == actor.pk


def _check_alone(
    act: Act,
    order: Order,
    actor: User,
    wish: Wish,
    stake: Money,
    alone: Alone | None,
    now: datetime,
    *,
    is_proven: bool,
) -> None:
    if not people.may_own(actor, order.tenant_id):
        raise NotAllowed(_("This needs two people, and you are the only one: ask an owner of the shop."))
    if act.alone_from is not None and now < act.alone_from(order, wish):
        raise TooEarly(_("This needs two people. Alone you may do it 24 hours after the attempt went into doubt."))
    if alone is None:
        text = _("This needs two people. As the only one, enter your password and type the amount: %(amount)s.")
        raise SecondPersonNeeded(text % {"amount": stake})
    if not is_proven:
        log.warning("single_control_refused", order=order.pk, person=actor.pk)
        raise BadInput(_("This is not your password."), "password")
    if not _is_exactly(alone.amount, stake):
        raise BadInput(_("Type the amount exactly: %(amount)s.") % {"amount": stake}, "amount")


def _is_exactly(typed: str, stake: Money) -> bool:
    try:
        return to_micros(typed.strip()) == stake.micros
    except BadAmount:
        return False


def _decide_alone(act: Act, order: Order, actor: User, wish: Wish, stake: Money, reason: str, now: datetime) -> None:
    decided = {"status": Status.DONE, "is_single": True, "decided_by": actor, "decided_at": now}
    approval = Approval.objects.create(**_row(act, order, actor, wish, stake, reason, now), **decided)
    log.warning("single_control", order=order.pk, action=act.action, approval=approval.pk, person=actor.pk)
    act.carry_out(order, wish, Signed(name_of(actor), reason, actor.pk, "single"), now)


# --- asking a second person


def _ask(act: Act, order: Order, actor: User, wish: Wish, stake: Money, reason: str, now: datetime) -> Approval:
    waiting = Approval.objects.filter(order=order, action=act.action, status=Status.PENDING).first()
    if waiting is not None:
        text = _("%(name)s has asked for this already: another person confirms or declines it.")
        raise AlreadyAsked(text % {"name": waiting.asked_by.get_username()}, waiting)
    wish = act.hold(order, wish, Signed(name_of(actor), reason, actor.pk), now)
    approval = Approval.objects.create(**_row(act, order, actor, wish, stake, reason, now), status=Status.PENDING)
    order.refresh_from_db()
    facts = {"why": reason, "action": act.action, "amount": str(stake)}
    machine.record_story(
        order, "approval_asked", "person", now, attempt=approval.attempt, actor=name_of(actor), data=facts
    )
    return approval


def _row(act: Act, order: Order, actor: User, wish: Wish, stake: Money, reason: str, now: datetime) -> dict[str, Any]:
    return {
        "order": order,
        "attempt_id": wish.attempt_id,
        "case_id": wish.case_id,
        "action": act.action,
        "choice": wish.choice,
        "sealed_entry": seal_entry(wish.entry) if wish.entry else "",
        "amount_micros": stake.micros,
        "currency": stake.currency,
        "reason": reason,
        "asked_by": actor,
        "asked_at": now,
    }


def wish_of(approval: Approval) -> Wish:
    """What the first person wanted, codes included. Keep it out of logs."""
    entry = open_entry(approval.sealed_entry) if approval.sealed_entry else None
    return Wish(approval.attempt_id, approval.case_id, approval.choice, entry)


def seal_entry(entry: Entry) -> str:
    """The entry as sealed text."""
    return seal_text(json.dumps(asdict(entry), default=date.isoformat))


def open_entry(sealed: str) -> Entry:
    """The entry again."""
    told: dict[str, Any] = json.loads(open_text(sealed))
    codes = tuple(_open_code(code) for code in told.pop("codes"))
    return Entry(codes=codes, **told)


def _open_code(told: dict[str, Any]) -> Code:
    code = Code(**told)
    return replace(code, expires=date.fromisoformat(told["expires"]) if told["expires"] else None)


# --- what a decision leaves


def testify(attempt: Attempt, said: str, signed: Signed, now: datetime) -> Evidence:
    """What a person says of an attempt, as evidence that money may rest on."""
    return Evidence.objects.create(
        order_id=attempt.order_id,
        attempt=attempt,
        verb="person",
        send_no=attempt.send_no,
        request="",
        knowledge="none",
        detail=signed.name,
        outcome=said,
        at=now,
    )
