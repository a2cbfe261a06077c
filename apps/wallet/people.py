"""What people do to wallets: money in and out, corrections, credit limits; above the shop's limit only two together.

Every wish is a row: done at once, or waiting until another person of the shop confirms or declines it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Max
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


class AskerGone(WalletRefused):
    """Who asked has lost the right to it."""


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
    _check_words(wish.reason, wish.key)
    try:
        return _read_amount(wish, customer.currency)
    except (BadAmount, UnknownCurrency) as error:
        sentence = _amount_sentence(customer.currency, _decimals(wish.kind, customer.currency))
        raise BadWish(sentence, "amount") from error


def _check_words(reason: str, key: str) -> None:
    if not reason.strip() or len(reason.strip()) > 200 or not reason.isprintable():
        raise BadWish(_("Give a reason of at most 200 characters, in one line."), "reason")
    if not 8 <= len(key) <= 64 or not key.isascii() or not key.isprintable():
        raise BadWish(_("The form is damaged. Load the page again."), "key")


def _amount_sentence(currency: str, decimals: int) -> str:
    text = _("Write an amount above zero like 12.50; in %(currency)s it has at most %(decimals)d decimals.")
    return text % {"currency": currency, "decimals": decimals}


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
                raise AskerGone(_("Who asked for this has no right to it any more. Decline it."))
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


@dataclass(frozen=True, slots=True)
class Waiting:
    """One request that waits for a second person, and whether this one may be it."""

    request: WalletRequest
    money: Money
    may_decide: bool


def waiting(person: User, tenant_ids: list[int], now: datetime, customer: Customer | None = None) -> list[Waiting]:
    """What waits for a second person in these shops, or for one customer of theirs; oldest first."""
    found = WalletRequest.objects.filter(tenant_id__in=tenant_ids, status=Status.PENDING, expires_at__gt=now)
    if customer is not None:
        found = found.filter(customer=customer)
    may_act = set(person.operated_ids())
    return [
        Waiting(
            request,
            Money(request.amount_micros, request.currency),
            request.tenant_id in may_act and request.asked_by_id != person.pk,
        )
        for request in found.select_related("customer", "asked_by", "tenant").order_by("id")
    ]


def customer_of_request(request_id: int, tenant_ids: list[int]) -> int | None:
    """The customer of a request in one of these shops, else None."""
    found = WalletRequest.objects.filter(pk=request_id, tenant_id__in=tenant_ids)
    return found.values_list("customer_id", flat=True).first()


# --- from which amount on


def _needs_two(customer: Customer, kind: str, money: Money) -> bool:
    """Whether the amount, or what a credit limit adds, is above the shop's limit."""
    before = standing_of(customer).credit.micros if kind == Kind.CREDIT else 0
    return is_above_limit(customer.tenant_id, Money(money.micros - before, money.currency))


def is_above_limit(tenant_id: int, money: Money) -> bool:
    """Whether moving so much needs two people; in a currency that the shop's limits leave out, every amount does."""
    limits = confirm_limits(tenant_id)
    if all(above is None for above in limits.values()):
        return False
    above = limits.get(money.currency, 0)
    return above is not None and money.micros > above


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


# --- our money at providers


@dataclass(frozen=True, slots=True)
class FloatWish:
    """What a person says of our money at a provider: sent there (`paid`, maybe in another currency), or lost there."""

    integration_id: int
    amount: str
    currency: str
    reason: str
    key: str
    paid: str = ""
    paid_currency: str = ""


def top_up(person: User, tenant_id: int, wish: FloatWish, now: datetime) -> int:
    """Money was sent to the provider, which credited `amount`. Returns the transfer; a repeated key moves nothing."""
    _check_may_operate(person, tenant_id)
    received = _read_float(wish, wish.amount, wish.currency, "amount")
    paid = received
    if wish.paid:
        paid = _read_float(wish, wish.paid, wish.paid_currency or wish.currency, "paid")
    return _post_float(
        lambda: ledger.top_up_float(tenant_id, wish.integration_id, received, paid, **_signed(person, wish, now))
    )


def write_off(person: User, tenant_id: int, wish: FloatWish, now: datetime) -> int:
    """Money at the provider is lost. Returns the transfer; a repeated key moves nothing."""
    _check_may_operate(person, tenant_id)
    lost = _read_float(wish, wish.amount, wish.currency, "amount", read_amount)
    return _post_float(lambda: ledger.write_off(tenant_id, wish.integration_id, lost, **_signed(person, wish, now)))


def _read_float(
    wish: FloatWish, amount: str, currency: str, field: str, read: Callable[..., Money] = read_payment
) -> Money:
    _check_words(wish.reason, wish.key)
    try:
        return read(amount, currency, field)
    except UnknownCurrency as error:
        raise BadWish(_("Write the currency as its ISO 4217 code, such as TRY."), "currency") from error
    except BadAmount as error:
        decimals = DECIMALS[currency] if read is read_payment else 6
        raise BadWish(_amount_sentence(currency, decimals), field) from error


def _signed(person: User, wish: FloatWish, now: datetime) -> dict[str, Any]:
    key, reason = f"request:{wish.key}", wish.reason.strip()
    return {"key": key, "reason": reason, "actor": person.get_username()[:80], "now": now}


def _post_float(make: Callable[[], int]) -> int:
    try:
        return make()
    except ledger.KeyReused as error:
        raise BadWish(_("This form was used for something else. Load the page again."), "key") from error
    except ledger.BadPosting as error:
        raise BadWish(_("In one currency as much is paid as is received. Write a fee off."), "paid") from error
