"""The second person: confirms what another asked for, and it is done at once; or declines it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from apps.accounts.models import User
from apps.orders import machine
from apps.orders.decisions.by_hand import DELIVER
from apps.orders.decisions.conflicts import RESOLVE
from apps.orders.decisions.deciding import Act, Signed, Status, load_own, name_of, wish_of
from apps.orders.decisions.late import ACCEPT_LATE, REVERSE
from apps.orders.decisions.letting_go import RELEASE, STOP_WAITING
from apps.orders.decisions.refunds import GIVE_BACK
from apps.orders.decisions.refused import AlreadyDecided, NotFound, NotPossible, SecondPersonNeeded
from apps.orders.models import Approval, Order

ACTS: Mapping[str, Act] = {
    act.action: act for act in (RELEASE, STOP_WAITING, DELIVER, RESOLVE, ACCEPT_LATE, REVERSE, GIVE_BACK)
}
"""Everything that may wait for a second person."""


def confirm(approval_id: int, actor: User, now: datetime) -> Approval:
    """Carry out what somebody else asked for, if it can still be done as it was asked. Once, however often it is said.

    Raises a child of `DecisionRefused`; the request waits on then.
    """
    with transaction.atomic():
        order, approval = _load(approval_id, actor)
        open_to_actor = Approval.objects.filter(pk=approval_id, status=Status.PENDING).exclude(asked_by=actor)
        if open_to_actor.update(status=Status.DONE, decided_by=actor, decided_at=now) != 1:
            _check_repeated(approval, actor, Status.DONE)
            return approval
        _check_as_asked(order, approval, now)
        names = f"{approval.asked_by.get_username()[:38]} + {name_of(actor)[:38]}"
        signed = Signed(names, approval.reason, actor.pk, "two")
        ACTS[approval.action].carry_out(order, wish_of(approval), signed, now)
        approval.refresh_from_db()
    return approval


def decline(approval_id: int, actor: User, now: datetime) -> Approval:
    """Do not do it; who asked may take it back. What was held meanwhile stays in the list of orders by hand.

    Raises a child of `DecisionRefused`.
    """
    with transaction.atomic():
        order, approval = _load(approval_id, actor)
        pending = Approval.objects.filter(pk=approval_id, status=Status.PENDING)
        if pending.update(status=Status.DECLINED, decided_by=actor, decided_at=now) != 1:
            _check_repeated(approval, actor, Status.DECLINED)
            return approval
        facts = {"action": approval.action, "why": approval.reason}
        machine.record_story(
            order, "approval_declined", "person", now, attempt=approval.attempt, actor=name_of(actor), data=facts
        )
        approval.refresh_from_db()
    return approval


def _load(approval_id: int, actor: User) -> tuple[Order, Approval]:
    """The request, read under the lock of its order."""
    order_id = Approval.objects.filter(pk=approval_id).values_list("order_id", flat=True).first()
    if order_id is None:
        raise NotFound(_("There is no such request."))
    order = load_own(order_id, actor)
    return order, Approval.objects.select_related("asked_by", "attempt").get(pk=approval_id)


def _check_as_asked(order: Order, approval: Approval, now: datetime) -> None:
    """Who asked may still do so, it is still possible, and as much money hangs on it as was asked for."""
    if not approval.asked_by.may_operate(order.tenant_id):
        raise NotPossible(_("Who asked for this has no right to it any more. Decline it."))
    stake = ACTS[approval.action].stake(order, wish_of(approval), now)
    if (stake.micros, stake.currency) != (approval.amount_micros, approval.currency):
        raise NotPossible(_("Another amount hangs on it now than was asked for. Decline it, and ask again."))


def _check_repeated(approval: Approval, actor: User, status: str) -> None:
    """Nothing to refuse when this person decided the same before."""
    if approval.status == Status.PENDING:
        raise SecondPersonNeeded(_("Somebody else must confirm what you asked for."))
    if (approval.decided_by_id, approval.status) != (actor.pk, status):
        raise AlreadyDecided(_("This request was decided already."))
