"""The one writer of money. Each posting has a unique key: a repeat returns the first transfer and moves nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import F, Sum

from apps.common.money import Money
from apps.wallet.models import Account, Entry, Transfer

Kind = Account.Kind


class LedgerError(Exception):
    """A posting that cannot be made."""


class NotEnoughMoney(LedgerError):
    """The customer's balance and credit do not cover this amount; nothing was posted."""


class KeyReused(LedgerError):
    """The transfer key was used before for another posting; nothing was posted."""


@dataclass(frozen=True, slots=True)
class Purse:
    """Which account is meant: its kind and, where it has one, its subject."""

    kind: str
    subject_kind: str = ""
    subject_id: int = 0


def customer_purse(customer_id: int) -> Purse:
    """The wallet of one customer."""
    return Purse(Kind.CUSTOMER, "customer", customer_id)


def float_purse(integration_id: int) -> Purse:
    """Our money at one provider account."""
    return Purse(Kind.FLOAT, "integration", integration_id)


HELD, REVENUE, CASH, COST, LOSS = (Purse(kind) for kind in (Kind.HELD, Kind.REVENUE, Kind.CASH, Kind.COST, Kind.LOSS))


@dataclass(frozen=True, slots=True)
class Posting:
    """`money` out of one purse and into another, under a key that exists once for ever."""

    key: str
    kind: str
    money: Money
    source: Purse
    target: Purse
    subject_kind: str
    subject_id: int
    reason: str = ""
    actor: str = ""


def post(tenant_id: int, postings: list[Posting], now: datetime) -> list[int]:
    """Make all `postings` or none; returns the transfer ids, in order.

    Locks the customer accounts in id order. Raises `NotEnoughMoney`, `KeyReused`, `LedgerError` (not above zero).
    """
    with transaction.atomic():
        purses = {(purse, posting.money.currency) for posting in postings for purse in (posting.source, posting.target)}
        accounts = _load_accounts(tenant_id, purses)
        return [_post_one(tenant_id, posting, accounts, now) for posting in postings]


def _load_accounts(tenant_id: int, purses: set[tuple[Purse, str]]) -> dict[tuple[Purse, str], Account]:
    found = {wanted: _get_or_make(tenant_id, *wanted) for wanted in purses}
    stored = [account.pk for account in found.values() if account.kind == Kind.CUSTOMER]
    list(Account.objects.select_for_update().filter(pk__in=stored).order_by("pk").values_list("pk"))
    return found


def _get_or_make(tenant_id: int, purse: Purse, currency: str) -> Account:
    account, _ = Account.objects.get_or_create(
        tenant_id=tenant_id,
        kind=purse.kind,
        currency=currency,
        subject_kind=purse.subject_kind,
        subject_id=purse.subject_id,
        defaults={"balance_micros": 0 if purse.kind == Kind.CUSTOMER else None},
    )
    return account


def _post_one(tenant_id: int, posting: Posting, accounts: dict[tuple[Purse, str], Account], now: datetime) -> int:
    if posting.money.micros <= 0:
        raise LedgerError(f"the amount of {posting.key} must be above zero")
    source = accounts[posting.source, posting.money.currency]
    target = accounts[posting.target, posting.money.currency]
    transfer, is_new = Transfer.objects.get_or_create(
        key=posting.key,
        defaults={
            "tenant_id": tenant_id,
            "kind": posting.kind,
            "subject_kind": posting.subject_kind,
            "subject_id": posting.subject_id,
            "reason": posting.reason[:200],
            "actor": posting.actor[:80],
            "at": now,
        },
    )
    if not is_new:
        _check_same(transfer, posting, source, target)
        return transfer.pk
    sides = ((source, -posting.money.micros), (target, posting.money.micros))
    Entry.objects.bulk_create(
        Entry(transfer=transfer, account=account, amount_micros=amount) for account, amount in sides
    )
    for account, amount in sides:
        _move_balance(account, amount)
    return transfer.pk


def _check_same(transfer: Transfer, posting: Posting, source: Account, target: Account) -> None:
    entries = dict(transfer.entries.values_list("account_id", "amount_micros"))
    if entries != {source.pk: -posting.money.micros, target.pk: posting.money.micros}:
        raise KeyReused(f"transfer {posting.key} exists with another amount or other accounts")


def _move_balance(account: Account, amount: int) -> None:
    if account.kind != Kind.CUSTOMER:
        return
    enough = Account.objects.filter(pk=account.pk)
    if amount < 0:
        enough = enough.filter(balance_micros__gte=-amount - F("limit_micros"))
    if enough.update(balance_micros=F("balance_micros") + amount) != 1:
        raise NotEnoughMoney("the balance does not cover this amount")


def deposit(tenant_id: int, customer_id: int, money: Money, *, key: str, reason: str, actor: str, now: datetime) -> int:
    """Money that a customer paid in. Returns the transfer's id."""
    purse = customer_purse(customer_id)
    posting = Posting(key, "deposit", money, CASH, purse, "customer", customer_id, reason, actor)
    return post(tenant_id, [posting], now)[0]


def hold_order(tenant_id: int, customer_id: int, order_id: int, money: Money, now: datetime) -> int:
    """Set the order's whole price aside. Raises `NotEnoughMoney`."""
    purse = customer_purse(customer_id)
    return post(tenant_id, [Posting(f"hold:order:{order_id}", "hold", money, purse, HELD, "order", order_id)], now)[0]


def capture_unit(order_id: int, unit_id: int, money: Money) -> Posting:
    """The held price of a delivered unit becomes a sale."""
    return Posting(f"capture:unit:{unit_id}", "capture", money, HELD, REVENUE, "order", order_id)


def release_unit(customer_id: int, order_id: int, unit_id: int, money: Money, reason: str) -> Posting:
    """The held price of a unit that will not be delivered goes back to the customer; `reason` names the evidence."""
    purse = customer_purse(customer_id)
    return Posting(f"release:unit:{unit_id}", "release", money, HELD, purse, "order", order_id, reason)


def provider_cost(integration_id: int, order_id: int, attempt_id: int, money: Money) -> Posting:
    """What a delivered attempt cost us, out of our money at the provider."""
    return Posting(f"cost:attempt:{attempt_id}", "cost", money, float_purse(integration_id), COST, "order", order_id)


def cost_correction(
    integration_id: int, order_id: int, attempt_id: int, evidence_id: int, *, booked: Money, actual: Money
) -> Posting:
    """The difference when the provider tells another cost than the one that is booked, either way."""
    source, target = float_purse(integration_id), COST
    if actual.micros < booked.micros:
        source, target = target, source
    difference = Money(abs(actual.micros - booked.micros), actual.currency)
    key = f"cost:attempt:{attempt_id}:evidence:{evidence_id}"
    return Posting(key, "cost_correction", difference, source, target, "order", order_id)


def booked_cost(attempt_id: int) -> int:
    """Micro-units booked so far as the cost of one attempt, corrections included."""
    entries = Entry.objects.filter(account__kind=Kind.COST, transfer__key__startswith=f"cost:attempt:{attempt_id}:")
    first = Entry.objects.filter(account__kind=Kind.COST, transfer__key=f"cost:attempt:{attempt_id}")
    return sum((entries | first).values_list("amount_micros", flat=True))


def cost_of_order(order_id: int) -> int:
    """Micro-units that all deliveries of one order cost us, the late ones included."""
    entries = Entry.objects.filter(transfer__subject_kind="order", transfer__subject_id=order_id)
    return sum(entries.filter(account__kind__in=(Kind.COST, Kind.LOSS)).values_list("amount_micros", flat=True))


def late_cost(integration_id: int, order_id: int, attempt_id: int, evidence_id: int, money: Money) -> Posting:
    """What a delivery cost us that came after the customer's money had gone back: a loss until a person decides."""
    return Posting(
        f"late:attempt:{attempt_id}:evidence:{evidence_id}",
        "late_cost",
        money,
        float_purse(integration_id),
        LOSS,
        "order",
        order_id,
    )


def balance_of(customer_id: int, currency: str) -> Money:
    """What the customer can spend without credit, zero when nothing was ever paid in."""
    account = Account.objects.filter(
        kind=Kind.CUSTOMER, subject_kind="customer", subject_id=customer_id, currency=currency
    ).first()
    return Money(account.balance_micros or 0 if account else 0, currency)


@dataclass(frozen=True, slots=True)
class Line:
    """One transfer of an order as a person reads it."""

    at: datetime
    kind: str
    money: Money
    source: str
    target: str
    reason: str


def lines_of(subject_kind: str, subject_id: int) -> list[Line]:
    """The transfers of one subject, oldest first."""
    entries = (
        Entry.objects.filter(transfer__subject_kind=subject_kind, transfer__subject_id=subject_id)
        .select_related("transfer", "account")
        .order_by("transfer_id", "amount_micros")
    )
    pairs: dict[int, list[Entry]] = {}
    for entry in entries:
        pairs.setdefault(entry.transfer_id, []).append(entry)
    return [_line(source, target) for source, target in pairs.values()]


def _line(source: Entry, target: Entry) -> Line:
    transfer = target.transfer
    money = Money(target.amount_micros, target.account.currency)
    return Line(transfer.at, transfer.kind, money, source.account.kind, target.account.kind, transfer.reason)


@dataclass(frozen=True, slots=True)
class Books:
    """What the recount of the whole ledger found; every list is empty when the money adds up."""

    transfers: int
    entries: int
    unbalanced: list[str]
    wrong_balances: list[str]


def recount() -> Books:
    """Recompute every transfer's sum per currency and every stored balance from the entries."""
    sums = Entry.objects.values("transfer__key", "account__currency").annotate(total=Sum("amount_micros"))
    unbalanced = [row["transfer__key"] for row in sums if row["total"] != 0]
    empty = Transfer.objects.filter(entries__isnull=True).values_list("key", flat=True)
    stored = Account.objects.filter(kind=Kind.CUSTOMER).annotate(total=Sum("entries__amount_micros"))
    wrong = [str(account) for account in stored if account.balance_micros != (account.total or 0)]
    return Books(Transfer.objects.count(), Entry.objects.count(), [*unbalanced, *empty], wrong)


def order_sums(order_ids: list[int]) -> dict[int, dict[str, int]]:
    """For each order the micro-units held, captured and released so far, by kind of transfer."""
    rows = (
        Entry.objects.filter(transfer__subject_kind="order", transfer__subject_id__in=order_ids, amount_micros__gt=0)
        .values("transfer__subject_id", "transfer__kind")
        .annotate(total=Sum("amount_micros"))
    )
    sums: dict[int, dict[str, int]] = {order_id: {} for order_id in order_ids}
    for row in rows:
        sums[row["transfer__subject_id"]][row["transfer__kind"]] = row["total"]
    return sums
