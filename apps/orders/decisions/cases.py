"""Who works on a case, when it is looked at again, and how it ends without money."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.utils.translation import gettext as _

from apps.accounts.models import User
from apps.orders import machine
from apps.orders.decisions.deciding import load_case, load_own, name_of, read_reason
from apps.orders.decisions.refused import AlreadyDecided, BadInput
from apps.orders.models import Case, Order

LONGEST_SNOOZE = timedelta(days=90)

Resolution = Case.Resolution


def claim_case(order_id: int, actor: User, reason: str, now: datetime, *, case_id: int) -> None:
    """Work on a case that nobody works on yet. Raises a child of `DecisionRefused`."""
    text = read_reason(reason)
    with transaction.atomic():
        order, case = load_open(order_id, actor, case_id)
        if case.owner_id == actor.pk:
            return
        if case.owner is not None:
            told = _("%(name)s works on this case. Assign it to yourself if you have agreed on that.")
            raise AlreadyDecided(told % {"name": case.owner.get_username()})
        Case.objects.filter(pk=case.pk).update(owner=actor)
        _tell(order, case, "case_claimed", actor, now, why=text)


def assign_case(order_id: int, actor: User, reason: str, now: datetime, *, case_id: int, to: User) -> None:
    """Give a case to somebody who may act in the shop. Raises a child of `DecisionRefused`."""
    text = read_reason(reason)
    with transaction.atomic():
        order, case = load_open(order_id, actor, case_id)
        check_may_work(to, order)
        Case.objects.filter(pk=case.pk).update(owner=to)
        _tell(order, case, "case_assigned", actor, now, why=text, to=name_of(to))


def snooze_case(order_id: int, actor: User, reason: str, now: datetime, *, case_id: int, until: datetime) -> None:
    """Leave a case alone until then, at most 90 days. Raises a child of `DecisionRefused`."""
    text = read_reason(reason)
    with transaction.atomic():
        order, case = load_open(order_id, actor, case_id)
        check_soon(until, now)
        Case.objects.filter(pk=case.pk).update(snoozed_until=until)
        _tell(order, case, "case_snoozed", actor, now, why=text, until=until.isoformat())


def close_case(order_id: int, actor: User, reason: str, now: datetime, *, case_id: int) -> None:
    """Leave it as it is: a late delivery is written off, its code stays hidden; a reversal stays the shop's matter.

    Raises a child of `DecisionRefused`.
    """
    text = read_reason(reason)
    with transaction.atomic():
        order, case = load_open(order_id, actor, case_id)
        end_case(order, case, actor_id=actor.pk, resolution=Resolution.LEFT, reason=text, now=now)
        _tell(order, case, "case_closed", actor, now, why=text)


# --- what they share


def load_open(order_id: int, actor: User, case_id: int | None) -> tuple[Order, Case]:
    """The locked order with one of its cases that is open. Raises `NotFound`, `NotAllowed` or `AlreadyDecided`."""
    order = load_own(order_id, actor)
    case = load_case(order, case_id)
    check_open(case)
    return order, case


def check_open(case: Case) -> None:
    """Raise `AlreadyDecided` for a case that is closed."""
    if case.closed_at is not None:
        raise AlreadyDecided(_("This case is closed already: nothing is left to decide."))


def check_may_work(person: User, order: Order) -> None:
    """Raise `BadInput` for somebody who may not act in the order's shop."""
    if not person.may_operate(order.tenant_id):
        raise BadInput(_("Choose an owner or an operator of this shop."), "to")


def check_soon(until: datetime, now: datetime) -> None:
    """Raise `BadInput` for a time that is over or more than 90 days away."""
    if not now < until <= now + LONGEST_SNOOZE:
        raise BadInput(_("Choose a time in the next 90 days."), "until")


def end_case(order: Order, case: Case, *, actor_id: int, resolution: str, reason: str, now: datetime) -> None:
    """Close it, once. Raises `AlreadyDecided`."""
    rows = Case.objects.filter(pk=case.pk, closed_at=None)
    ended = {"closed_at": now, "closed_by_id": actor_id, "resolution": resolution, "close_reason": reason}
    if rows.update(**ended) != 1:
        check_open(Case.objects.get(pk=case.pk))


def _tell(order: Order, case: Case, kind: str, actor: User, now: datetime, **facts: str) -> None:
    data = {"case": case.reason, **facts}
    machine.record_story(order, kind, "person", now, attempt=case.attempt, actor=name_of(actor), data=data)
