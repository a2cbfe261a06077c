"""Delivering by hand: a person has the codes or the proof, from the provider by telephone or bought somewhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.accounts.models import User
from apps.common.money import Money, to_decimal
from apps.orders import due, machine, manual, outcomes
from apps.orders.decisions.deciding import (
    Act,
    Action,
    Alone,
    Decided,
    Entry,
    Signed,
    Wish,
    decide,
    load_attempt,
)
from apps.orders.decisions.folding import check_no_conflict, load_free, sum_of
from apps.orders.decisions.refused import BadInput, CodeKnown, NotPossible
from apps.orders.models import Attempt, AttemptUnit, DueCheck, Order, OrderUnit
from apps.orders.news import News
from apps.orders.questions import load_facts
from apps.orders.references import draw_reference
from apps.orders.states import AttemptState, DueKind, ExternalStatus, OrderStatus, UnitStatus
from apps.orders.verdicts import Plan
from apps.providers import actions
from apps.providers.contract import Outcome, Result
from apps.providers.models import Integration

A = AttemptState

FAULTS: Mapping[str, str | Promise] = {
    "cost_negative": gettext_lazy("The cost must not be negative."),
    "text_too_long": gettext_lazy("The proof is too long: at most 300 characters."),
    "proof_missing": gettext_lazy("Write what shows that it was delivered."),
    "codes_missing": gettext_lazy("Enter a code for each unit, none of them blank."),
    "code_twice": gettext_lazy("The same code was entered twice."),
    "code_known": gettext_lazy("This code was delivered before, or lies on a shelf: confirm that it is meant."),
    "code_in_proof": gettext_lazy("Do not write a code into the proof: everybody can read that."),
}
"""What to mend in an entry, by the word for what is wrong with it."""


def deliver_by_hand(
    order_id: int,
    actor: User,
    reason: str,
    now: datetime,
    *,
    entry: Entry,
    attempt_id: int | None = None,
    alone: Alone | None = None,
) -> Decided:
    """Deliver what an attempt holds (the provider has told this person), or all free units (bought elsewhere).

    Free units are held by an attempt "By hand" first, so that nothing else buys them. Raises a child of
    `DecisionRefused`; `CodeKnown` when a code must be confirmed.
    """
    return decide(DELIVER, order_id, actor, reason, now, Wish(attempt_id=attempt_id, entry=entry), alone)


def _stake(order: Order, wish: Wish, now: datetime) -> Money:
    entry = wish.entry or Entry()
    if wish.attempt_id is None:
        units = load_free(order, actions.Action.FAIL_OVER, now)
        account = Integration(kind=manual.KIND, currency=order.currency)
        check_entry(order, Attempt(order=order, integration=account), len(units), entry)
        return sum_of(units, order)
    attempt = load_attempt(order, wish.attempt_id)
    check_no_conflict(order)
    units = check_open(attempt, now)
    check_entry(order, attempt, _units_of(attempt), entry)
    return sum_of(units, order)


def check_open(attempt: Attempt, now: datetime) -> list[OrderUnit]:
    """The units of an attempt about which a person may have news, their money still held. Raises `NotPossible`."""
    caps = attempt.integration.caps()
    held = OrderUnit.objects.filter(attempt_units__attempt=attempt, attempt_units__holds=True, status=UnitStatus.HELD)
    why = actions.allowed(caps, load_facts(attempt, caps, now))[actions.Action.PERSON]
    if why is not None or not held.exists():
        raise NotPossible(_("This attempt is being sent, or is over. Load the order's page again."))
    return list(held.order_by("n"))


def _units_of(attempt: Attempt) -> int:
    return AttemptUnit.objects.filter(attempt=attempt).count()


def check_entry(order: Order, attempt: Attempt, units: int, entry: Entry) -> None:
    """The rules of everything that is entered by hand. Raises `BadInput` or `CodeKnown`."""
    delivery = manual.Delivery(entry.codes, entry.proof.strip(), entry.cost_micros)
    attempt.order = order
    try:
        manual.check_delivery(manual.Task(attempt, units, ""), delivery, is_known_fine=entry.is_known_fine)
    except manual.BadEntry as error:
        kind = CodeKnown if error.reason == "code_known" else BadInput
        raise kind(str(FAULTS[error.reason]), error.reason, error.unit) from error


def _carry_out(order: Order, wish: Wish, signed: Signed, now: datetime) -> None:
    wish = _hold(order, wish, signed, now)
    tell_delivered(load_attempt(order, wish.attempt_id), wish.entry or Entry(), signed, now)


def tell_delivered(attempt: Attempt, entry: Entry, signed: Signed, now: datetime) -> None:
    """What the person says, as news through the one door: state, codes, money, story and schedule."""
    result = Result(
        Outcome.COMPLETED,
        attempt.reference,
        cost=to_decimal(entry.cost_micros) if entry.cost_micros or attempt.kind == manual.KIND else None,
        currency=attempt.cost_currency,
        codes=entry.codes,
        reason=entry.proof.strip(),
    )
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
        actor=signed.name,
    )
    change = outcomes.settle(news)
    outcomes.tell(change, dict(signed.facts()))
    outcomes.schedule(change)


# --- free units


def _hold(order: Order, wish: Wish, signed: Signed, now: datetime) -> Wish:
    """Free units are held by an accepted attempt at the account "By hand" before anything else happens to them."""
    if wish.attempt_id is not None:
        return wish
    units = load_free(order, actions.Action.FAIL_OVER, now)
    attempt = _make_attempt(order, units, _load_account(order, now), now)
    due.drop_dispatch(order)
    first = now + timedelta(seconds=attempt.integration.caps().poll.first_s)
    due.plan_attempt(attempt, Plan(DueKind.CHECK, first, 0, 0), fence=None, seen="", now=now)
    if order.status == OrderStatus.PENDING:
        machine.change_order(order, OrderStatus.PROCESSING, ExternalStatus.SENT, "", now, next_route=None)
        machine.announce(order, now)
    facts = signed.facts(units=len(units), account=attempt.integration_name)
    machine.record_story(order, "taken_by_hand", "person", now, attempt=attempt, actor=signed.name, data=facts)
    return replace(wish, attempt_id=attempt.pk)


def _make_attempt(order: Order, units: list[OrderUnit], account: Integration, now: datetime) -> Attempt:
    attempt = Attempt.objects.create(
        order=order,
        integration=account,
        integration_name=account.name,
        kind=account.kind,
        reference=draw_reference(account.caps().ref_format),
        product={"oyun": order.package_name},
        send_deadline_at=now,
        cost_currency=account.currency,
        created_at=now,
    )
    AttemptUnit.objects.bulk_create(AttemptUnit(attempt=attempt, unit=unit) for unit in units)
    machine.change_attempt(attempt, A.ACCEPTED, answered_at=now)
    return attempt


def _load_account(order: Order, now: datetime) -> Integration:
    """The shop's account for what its people deliver, in the order's currency; made when there is none."""
    own = Integration.objects.filter(tenant_id=order.tenant_id, kind=manual.KIND, currency=order.currency)
    account = own.order_by("-is_enabled", "id").first() or _make_account(order)
    Integration.objects.filter(pk=account.pk, in_use_since=None).update(in_use_since=now)
    return account


def _make_account(order: Order) -> Integration:
    taken = set(Integration.objects.filter(tenant_id=order.tenant_id).values_list("name", flat=True))
    names = ("By hand", f"By hand {order.currency}", f"By hand {order.currency} {order.pk}")
    name = next(name for name in names if name not in taken)
    return Integration.objects.create(tenant_id=order.tenant_id, name=name, kind=manual.KIND, currency=order.currency)


DELIVER = Act(Action.DELIVER, _stake, _carry_out, hold=_hold)
