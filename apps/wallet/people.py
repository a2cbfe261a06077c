"""What people do to wallets: money in and out, corrections, credit limits; above the shop's limit only two together.

Every wish is a row: done at once, or waiting until another person of the shop confirms or declines it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import Max, QuerySet
from django.utils.translation import gettext as _

from apps.accounts.models import Customer, Membership, User
from apps.common.currencies import DECIMALS, UnknownCurrency, check_currency
from apps.common.money import BadAmount, Money, read_amount, read_payment, to_micros
from apps.wallet import ledger
from apps.wallet.models import ConfirmLimit, WalletRequest
from apps.wallet.statement import standing_of

OPEN_FOR = timedelta(hours=24)
"""How long a request waits for its second person."""

Kind, Status = WalletRequest.Kind, WalletRequest.Status


class WalletRefused(Exception):
    """A wish that was not carried out: nothing was written, no money moved. `field` names what to mend."""

    def __init__(self, detail: str, field: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class NotAllowed(WalletRefused):
    """The person has no right to do this in this shop."""


class BadWish(WalletRefused):
    """The wish cannot be read, or does not fit the wallet."""


class OwnRequest(WalletRefused):
    """Nobody confirms or declines what they asked for themselves."""


class Expired(WalletRefused):
    """The request waited too long for a second person."""


class AlreadyDecided(WalletRefused):
    """Somebody else has decided this request."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants done. The key belongs to the intent: the same one again is the same wish."""

    kind: str
    amount: Decimal | str
    reason: str
    key: str


# --- asking


def ask(person: User, customer: Customer, wish: Wish, now: datetime) -> WalletRequest:
    """Do it, or leave it pending when the amount needs a second person. A repeated key returns the first request."""
    _check_may_operate(person, customer.tenant_id)
    money = _read_wish(wish, customer)
    needs_two = _needs_two(customer, wish.kind, money)
    with transaction.atomic():
        request, is_new = WalletRequest.objects.get_or_create(
            key=wish.key,
            defaults={
                "tenant_id": customer.tenant_id,
                "customer": customer,
                "kind": wish.kind,
                "amount_micros": money.micros,
                "currency": money.currency,
                "reason": wish.reason.strip(),
                "status": Status.PENDING if needs_two else Status.DONE,
                "asked_by": person,
                "asked_at": now,
                "expires_at": now + OPEN_FOR,
            },
        )
        _check_same(request, person, customer, wish, money)
        if is_new and not needs_two:
            _carry_out(request, person.get_username()[:80], now)
    return request


def _check_may_operate(person: User, tenant_id: int) -> None:
    if not person.may_operate(tenant_id):
        raise NotAllowed(_("You may look at this shop's wallets, but not change them."))


def _read_wish(wish: Wish, customer: Customer) -> Money:
    if wish.kind not in Kind:
        raise BadWish(_("Choose what to do."), "kind")
    if not wish.reason.strip() or len(wish.reason.strip()) > 200 or not wish.reason.isprintable():
        raise BadWish(_("Give a reason of at most 200 characters, in one line."), "reason")
    if not 8 <= len(wish.key) <= 64 or not wish.key.isascii() or not wish.key.isprintable():
        raise BadWish(_("The form is damaged. Load the page again."), "key")
    try:
        return _read_amount(wish, customer.currency)
    except (BadAmount, UnknownCurrency) as error:
        allowed = {"currency": customer.currency, "decimals": _decimals(wish.kind, customer.currency)}
        text = _("Write an amount above zero like 12.50; in %(currency)s it has at most %(decimals)d decimals.")
        raise BadWish(text % allowed, "amount") from error


def _decimals(kind: str, currency: str) -> int:
    """Cash has the decimals of its currency; a correction may be as fine as a price."""
    return 6 if kind in (Kind.CORRECTION_UP, Kind.CORRECTION_DOWN) else DECIMALS.get(currency, 0)


def _read_amount(wish: Wish, currency: str) -> Money:
    """Above zero, but for a credit limit, which may be none at all."""
    if wish.kind == Kind.CREDIT and to_micros(wish.amount) == 0:
        return Money(0, check_currency(currency))
    is_fine = wish.kind in (Kind.CORRECTION_UP, Kind.CORRECTION_DOWN)
    return read_amount(wish.amount, currency) if is_fine else read_payment(wish.amount, currency)


def _check_same(request: WalletRequest, person: User, customer: Customer, wish: Wish, money: Money) -> None:
    first = (request.asked_by_id, request.customer_id, request.kind, request.amount_micros, request.currency)
    if first != (person.pk, customer.pk, wish.kind, money.micros, money.currency):
        raise BadWish(_("This form was used for something else. Load the page again."), "key")


ACTS: dict[str, Callable[..., int]] = {
    Kind.DEPOSIT: ledger.deposit,
    Kind.WITHDRAWAL: ledger.withdrawal,
    Kind.CORRECTION_UP: ledger.correction,
    Kind.CORRECTION_DOWN: lambda tenant_id, customer_id, money, **said: ledger.correction(
        tenant_id, customer_id, Money(-money.micros, money.currency), **said
    ),
    Kind.CREDIT: ledger.set_credit_limit,
}


def _carry_out(request: WalletRequest, actor: str, now: datetime) -> None:
    money = Money(request.amount_micros, request.currency)
    said = {"key": f"request:{request.key}", "reason": request.reason, "actor": actor, "now": now}
    try:
        ACTS[request.kind](request.tenant_id, request.customer_id, money, **said)
    except ledger.NotEnoughMoney as error:
        raise BadWish(_("The balance and the credit of this wallet do not cover this amount."), "amount") from error
    except ledger.LedgerError as error:
        raise BadWish(str(error), "amount") from error


# --- the second person


def decide(person: User, request_id: int, *, is_confirmed: bool, now: datetime) -> WalletRequest:
    """Carry the pending request out, or decline it. Once: the same click again by the same person changes nothing."""
    status = Status.DONE if is_confirmed else Status.DECLINED
    with transaction.atomic():
        request = WalletRequest.objects.select_related("asked_by").get(pk=request_id)
        _check_may_operate(person, request.tenant_id)
        open_to_person = WalletRequest.objects.filter(pk=request_id, status=Status.PENDING, expires_at__gt=now)
        won = open_to_person.exclude(asked_by=person).update(status=status, decided_by=person, decided_at=now)
        request.refresh_from_db()
        if won != 1:
            _check_repeated(request, person, status)
        elif is_confirmed:
            if not request.asked_by.may_operate(request.tenant_id):
                raise NotAllowed(_("Who asked for this has no right to it any more. Decline it."))
            _carry_out(request, f"{request.asked_by.get_username()[:38]} + {person.get_username()[:38]}", now)
    return request


def _check_repeated(request: WalletRequest, person: User, status: str) -> None:
    """Nothing to refuse when this person decided the same before."""
    if request.asked_by_id == person.pk:
        raise OwnRequest(_("Somebody else must decide what you asked for."))
    if request.status == Status.PENDING:
        raise Expired(_("This request waited too long. Ask for it again."))
    if (request.decided_by_id, request.status) != (person.pk, status):
        raise AlreadyDecided(_("This request was decided already."))


def open_requests(tenant_ids: list[int], now: datetime) -> QuerySet[WalletRequest]:
    """What waits for a second person, oldest first."""
    waiting = WalletRequest.objects.filter(tenant_id__in=tenant_ids, status=Status.PENDING, expires_at__gt=now)
    return waiting.select_related("customer", "asked_by", "tenant").order_by("id")


# --- from which amount on


def _needs_two(customer: Customer, kind: str, money: Money) -> bool:
    """Whether the amount is above the shop's limit; in a currency that the shop's limits leave out, every amount is."""
    limits = confirm_limits(customer.tenant_id)
    if all(above is None for above in limits.values()):
        return False
    added = money.micros
    if kind == Kind.CREDIT:
        added -= standing_of(customer).credit.micros
    above = limits.get(money.currency, 0)
    return above is not None and added > above


def confirm_limits(tenant_id: int) -> dict[str, int | None]:
    """By currency the micro-units above which this shop asks for a second person; None: never."""
    newest = ConfirmLimit.objects.filter(tenant_id=tenant_id).values("currency").annotate(last=Max("id"))
    rows = ConfirmLimit.objects.filter(pk__in=[row["last"] for row in newest]).order_by("currency")
    return {row.currency: row.above_micros for row in rows}


def set_confirm_limit(
    person: User, tenant_id: int, currency: str, above: Decimal | str | None, now: datetime
) -> ConfirmLimit:
    """From now on amounts in `currency` above `above` need a second person (None: never). Owners only."""
    if not may_own(person, tenant_id):
        raise NotAllowed(_("Only an owner of the shop sets this limit."))
    try:
        check_currency(currency)
        micros = None if above is None else to_micros(above)
    except UnknownCurrency as error:
        raise BadWish(str(error), "currency") from error
    except BadAmount as error:
        raise BadWish(f"above: {error}", "above") from error
    if micros is not None and micros < 0:
        raise BadWish(_("The limit must not be negative."), "above")
    actor = person.get_username()[:80]
    return ConfirmLimit.objects.create(tenant_id=tenant_id, currency=currency, above_micros=micros, actor=actor, at=now)


def may_own(person: User, tenant_id: int) -> bool:
    """Whether this person is an owner of the shop, or a superuser."""
    own = person.memberships.filter(tenant_id=tenant_id, tenant__is_active=True, role=Membership.Role.OWNER)
    return person.is_active and (person.is_superuser or own.exists())
