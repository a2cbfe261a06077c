"""Giving the customer the money of a delivered order back; the goods stay where they are."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from apps.accounts.models import User
from apps.common.money import Money
from apps.orders import machine, outcomes
from apps.orders.decisions.deciding import Act, Action, Alone, Decided, Signed, Wish, decide
from apps.orders.decisions.refused import NotPossible, SecondPersonNeeded
from apps.orders.models import Order
from apps.orders.snapshot import record_snapshot
from apps.orders.states import ExternalStatus, OrderStatus
from apps.wallet import ledger, people

REFUNDABLE = (OrderStatus.COMPLETED, OrderStatus.PARTIAL)


def refund(order_id: int, actor: str, reason: str, now: datetime) -> bool:
    """Give back what was captured of a delivered order, once. False: there is nothing to give back.

    Raises `SecondPersonNeeded` above the shop's limit: `give_back` asks one.
    """
    with transaction.atomic():
        order = outcomes.lock_orders({order_id})[order_id]
        sold = left_of(order) if order.status in REFUNDABLE else {}
        if not sold:
            return False
        if people.is_above_limit(order.tenant_id, _sum(order, sold)):
            raise SecondPersonNeeded(_("This amount needs two people: one asks for it, another one confirms it."))
        return_sales(order, sold, actor, reason, now)
        machine.record_story(order, "refunded", "panel", now, actor=actor, data={"why": reason[:200]})
    return True


def give_back(order_id: int, actor: User, reason: str, now: datetime, *, alone: Alone | None = None) -> Decided:
    """The same as a decision: above the shop's limit by two people. Raises a child of `DecisionRefused`."""
    return decide(GIVE_BACK, order_id, actor, reason, now, Wish(), alone)


def _stake(order: Order, wish: Wish, now: datetime) -> Money:
    sold = left_of(order) if order.status in REFUNDABLE else {}
    if not sold:
        raise NotPossible(_("There is nothing to give back."))
    return _sum(order, sold)


def _carry_out(order: Order, wish: Wish, signed: Signed, now: datetime) -> None:
    return_sales(order, left_of(order), signed.name, signed.reason, now)
    machine.record_story(order, "refunded", "person", now, actor=signed.name, data=signed.facts())


def left_of(order: Order) -> dict[int, Money]:
    """What was captured of each unit and not given back, by the unit's id."""
    back = ledger.given_back_units(order.pk)
    captured = ledger.captured_units(order.pk, order.currency)
    return {unit_id: money for unit_id, money in captured.items() if unit_id not in back}


def _sum(order: Order, sold: dict[int, Money]) -> Money:
    return Money(sum(money.micros for money in sold.values()), order.currency)


def return_sales(order: Order, sold: dict[int, Money], actor: str, reason: str, now: datetime) -> None:
    """Give these sales back, each once. The order is `refunded` when nothing of it is left; its status is announced."""
    postings = [
        ledger.sale_reversal(order.customer_id, order.pk, unit_id, money, reason=reason, actor=actor)
        for unit_id, money in sold.items()
    ]
    ledger.post(order.tenant_id, postings, now)
    record_snapshot(order, -_sum(order, sold).micros)
    if not left_of(order) and order.status in REFUNDABLE:
        machine.change_order(order, OrderStatus.REFUNDED, ExternalStatus(order.external_status), "", now)
        machine.announce(order, now)


GIVE_BACK = Act(Action.GIVE_BACK, _stake, _carry_out)
