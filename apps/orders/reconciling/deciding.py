"""What a person may do with a difference: each decision is one row of a table, and closes it once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.accounts.models import User
from apps.common.money import Money
from apps.orders import machine
from apps.orders.decisions.deciding import Signed, name_of, read_reason, testify
from apps.orders.decisions.refused import (
    AlreadyDecided,
    BadInput,
    NotAllowed,
    NotFound,
    NotPossible,
)
from apps.orders.models import Attempt
from apps.orders.reconciling import aligning, importing, mending
from apps.orders.reconciling.aligning import By, Finding, Match
from apps.orders.reconciling.dialects import Meaning
from apps.orders.reconciling.lines import Line
from apps.orders.reconciling.mending import StaysOpen
from apps.orders.statement_models import Break, BreakEnd, BreakEvent, BreakKind, StatementLine
from apps.orders.states import FREEING, AttemptState
from apps.providers.contract import Outcome
from apps.wallet import ledger, people

A, E, K = AttemptState, BreakEnd, BreakKind


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that may be decided. `check` raises `NotPossible`; `carry_out` does it, under the locks.

    `effect` says what will happen.
    """

    end: BreakEnd
    kinds: frozenset[BreakKind]
    effect: str | Promise
    check: Callable[[Break, datetime], None]
    carry_out: Callable[[Break, Signed, str, datetime], None]


@dataclass(frozen=True, slots=True)
class Offer:
    """A choice as one difference has it: what it would do, or why not."""

    end: BreakEnd
    effect: str
    why_not: str


def offers(row: Break, now: datetime) -> list[Offer]:
    """Everything that may be decided about a difference of this kind."""
    return [_offer(choice, row, now) for choice in CHOICES.values() if row.kind in choice.kinds]


def _offer(choice: Choice, row: Break, now: datetime) -> Offer:
    try:
        choice.check(row, now)
    except NotPossible as error:
        return Offer(choice.end, str(choice.effect), str(error))
    return Offer(choice.end, str(choice.effect), "")


def take_break(break_id: int, actor: User, now: datetime) -> None:
    """Work on a difference from now on; taking one over from somebody is told. Raises a child of `DecisionRefused`."""
    with transaction.atomic():
        row = _load_open(break_id, actor)
        if row.owner_id == actor.pk:
            return
        before = row.owner.get_username() if row.owner else ""
        Break.objects.filter(pk=row.pk).update(owner=actor)
        BreakEvent.objects.create(difference=row, kind="taken", actor=name_of(actor), text=before[:80], at=now)


def decide_break(break_id: int, actor: User, end: str, reason: str, now: datetime, *, reference: str = "") -> None:
    """Close a difference in one of the ways of `CHOICES`. `reference` names the purchase to link a line to.

    Raises a child of `DecisionRefused`; nothing was written then.
    """
    try:
        with transaction.atomic():
            row = _load_open(break_id, actor)
            text = read_reason(reason)
            choice = CHOICES.get(end)
            if choice is None or row.kind not in choice.kinds:
                raise BadInput(_("Choose one of the decisions for this difference."), "decision")
            choice.check(row, now)
            signed = Signed(name_of(actor), text, actor.pk)
            choice.carry_out(row, signed, reference.strip(), now)
            mending.close(row, choice.end, now, actor_id=actor.pk, actor=signed.name, why=text)
            _tell_order(row, choice.end, signed, now)
    except StaysOpen as error:
        raise NotPossible(_("The hub did not take this: the order stands otherwise by now. Load the page.")) from error


def _load_open(break_id: int, actor: User) -> Break:
    """The difference of a shop in which this person may act, locked and open."""
    tenant_id = Break.objects.filter(pk=break_id).values_list("integration__tenant_id", flat=True).first()
    if tenant_id is None or tenant_id not in actor.tenant_ids():
        raise NotFound(_("There is no such difference. Look it up again."))
    if not actor.may_operate(tenant_id):
        raise NotAllowed(_("You may look at this shop's statements, but not decide about them. Ask an operator."))
    row = mending.load_locked(break_id)
    if row.closed_at is not None:
        raise AlreadyDecided(_("This difference is closed already: nothing is left to decide."))
    return row


def _tell_order(row: Break, end: BreakEnd, signed: Signed, now: datetime) -> None:
    if row.attempt is None:
        return
    order = row.attempt.order
    order.refresh_from_db()
    facts = signed.facts(difference=row.kind, decision=str(end))
    machine.record_story(order, "difference_decided", "person", now, attempt=row.attempt, actor=signed.name, data=facts)


# --- what each does


def _always(row: Break, now: datetime) -> None:
    """Nothing stands against it."""


def _nothing(row: Break, signed: Signed, reference: str, now: datetime) -> None:
    """The decision is the whole of it."""


def _check_price(row: Break, now: datetime) -> None:
    if not row.stated_micros:
        raise NotPossible(_("They state no price that could be booked."))


def _accept_price(row: Break, signed: Signed, reference: str, now: datetime) -> None:
    attempt, line = _both(row)
    mending.take_price(attempt, line, testify(attempt, "price_accepted", signed, now), now)


def _check_loss(row: Break, now: datetime) -> None:
    if not row.stated_micros:
        raise NotPossible(_("They state no amount that could be lost."))
    if row.stated_currency != row.integration.currency:
        raise NotPossible(_("It is in another currency than our money there."))


def _write_off(row: Break, signed: Signed, reference: str, now: datetime) -> None:
    lost = Money(row.stated_micros or 0, row.stated_currency)
    account = row.integration
    key = f"write_off:break:{row.pk}"
    ledger.write_off(account.tenant_id, account.pk, lost, key=key, reason=signed.reason, actor=signed.name, now=now)


def _check_belief(row: Break, now: datetime) -> None:
    attempt, _line = _both(row)
    if _believed(row, attempt) is None:
        raise NotPossible(_("What they say cannot be taken over for a purchase that stands as ours does."))
    if _believed(row, attempt) is not Outcome.REJECTED:
        return
    if people.is_above_limit(attempt.order.tenant_id, mending.stake_of(attempt)):
        raise NotPossible(_("So much money goes back by two people only: decide it on the order's page."))
    if not mending.is_refusal_sure(row, attempt, now):
        raise NotPossible(_("The purchase may have been sent again, or arrive yet: ask the provider about it."))


def _believed(row: Break, attempt: Attempt) -> Outcome | None:
    """Their word as news of the attempt, where there is such news."""
    state = A(attempt.state)
    if row.note == "bought_there":
        return Outcome.COMPLETED if state in FREEING else Outcome.ACCEPTED if state == A.IN_DOUBT else None
    if row.note == "pending_there":
        return Outcome.ACCEPTED if state == A.IN_DOUBT else None
    returned = {A.DELIVERED: Outcome.REVERSED, A.ACCEPTED: Outcome.REJECTED, A.IN_DOUBT: Outcome.REJECTED}
    return returned.get(state)


def _believe(row: Break, signed: Signed, reference: str, now: datetime) -> None:
    attempt, line = _both(row)
    outcome = _believed(row, attempt)
    if outcome is not None:
        mending.apply_news(attempt, line, outcome, now, signed.name)
        mending.ask_about_price(row, attempt, line, now)


def _both(row: Break) -> tuple[Attempt, StatementLine]:
    if row.attempt is None or row.line is None:
        raise NotPossible(_("It is not known which purchase of ours this is."))
    return row.attempt, row.line


# --- linking


def _link(row: Break, signed: Signed, reference: str, now: datetime) -> None:
    """From now on the line is about that purchase; what differs then is asked anew."""
    line = row.line
    attempt = _load_purchase(row, reference)
    if line is None:
        raise NotPossible(_("There is no line to link."))
    known = importing.as_purchase(attempt, importing.told_before([attempt.pk]).get(attempt.pk, ()))
    StatementLine.objects.filter(pk=line.pk, attempt=None).update(attempt=attempt, matched_by=By.PERSON)
    told = Line(
        line.number, line.own_ref, line.provider_id, line.target, line.amount_micros, line.fee_micros,
        line.currency, line.at, line.word, Meaning(line.meaning),
    )  # fmt: skip
    for finding in aligning.compare([told], [Match(known, By.PERSON)]):
        _ask(row, finding, line, now)


def _load_purchase(row: Break, reference: str) -> Attempt:
    """The one attempt of the account that has this reference, or this id there."""
    own = Attempt.objects.filter(integration_id=row.integration_id).annotate(target=F("order__user_identifier"))
    found = [*own.filter(reference=reference)[:2]] or [*own.filter(provider_order_id=reference)[:2]]
    if not reference or len(found) != 1:
        raise BadInput(_("Enter the reference of one purchase at this account."), "reference")
    if abs(found[0].created_at - row.opened_at) > LINK_WITHIN:
        raise BadInput(_("This purchase is more than a year away from the statement."), "reference")
    return found[0]


LINK_WITHIN = timedelta(days=366)


def _ask(row: Break, finding: Finding, line: StatementLine, now: datetime) -> None:
    asked = importing.as_break(row.statement, finding, line, now)
    asked.is_certain = False
    asked.save()
    BreakEvent.objects.create(difference=asked, kind="opened", at=now)


# --- the table


CHOICES: Mapping[str, Choice] = {
    choice.end: choice
    for choice in (
        Choice(
            E.ACCEPTED,
            frozenset({K.PRICE}),
            gettext_lazy("Their price becomes the cost of the purchase, and the difference is booked."),
            _check_price,
            _accept_price,
        ),
        Choice(
            E.LINKED,
            frozenset({K.MISSING_HERE}),
            gettext_lazy("The line belongs to a purchase of ours from now on; what differs then is asked anew."),
            _always,
            _link,
        ),
        Choice(
            E.BELIEVED,
            frozenset({K.STATE}),
            gettext_lazy(
                "The hub takes their word as news of the purchase: a late delivery becomes a loss with a case, a"
                " reversal brings our cost back and asks about the customer, a failure is read as a failure."
            ),
            _check_belief,
            _believe,
        ),
        Choice(
            E.LOST,
            frozenset({K.MISSING_HERE, K.DOUBLED, K.FEE}),
            gettext_lazy("The stated amount leaves our money at the provider and is a loss."),
            _check_loss,
            _write_off,
        ),
        Choice(
            E.CLAIMED,
            frozenset(set(K) - {K.MISSING_THERE, K.TIME}),
            gettext_lazy(
                "Somebody asks the provider for the money. Nothing is booked; it stays in the list of claims."
            ),
            _always,
            _nothing,
        ),
        Choice(E.LEFT, frozenset(K), gettext_lazy("Nothing is booked, and nobody asks any more."), _always, _nothing),
    )
}
"""Every decision by how it ends a difference."""
