"""The one writer of money. Each posting has a unique key: a repeat returns the first transfer and moves nothing.

Money flows from purse to purse: plus is money into a purse, minus is money out of it. What customers pay in comes from
`CASH` (the outside), is held, and ends as `REVENUE`; what we send to a provider comes from `CASH` and ends as `COST`
or `LOSS`. A shop's result is revenue less cost less loss; `FX` holds what was given and got in a change of currency.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum

from apps.accounts.models import Customer
from apps.common.currencies import UnknownCurrency, check_currency
from apps.common.money import MAX_MICROS, Money
from apps.wallet.books import Books, recount
from apps.wallet.models import Account, CreditChange, Entry, Transfer

__all__ = ["Books", "recount"]

Kind = Account.Kind


class LedgerError(Exception):
    """A posting that cannot be made; nothing was posted."""


class BadPosting(LedgerError):
    """The posting itself is wrong: amount, currency, sum, key, or nobody's name on it. The text names the field."""


class WrongWallet(LedgerError):
    """The customer has no wallet in this shop and currency."""


class NotEnoughMoney(LedgerError):
    """The customer's balance and credit do not cover this amount; nothing was posted."""


class Overdrawn(LedgerError):
    """More would leave an order's held money, sales, cost or loss than was put there; nothing was posted."""


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


HELD, REVENUE, CASH, COST, FX, LOSS = (
    Purse(kind) for kind in (Kind.HELD, Kind.REVENUE, Kind.CASH, Kind.COST, Kind.FX, Kind.LOSS)
)

GUARDED = (Kind.HELD, Kind.REVENUE, Kind.COST, Kind.LOSS)
"""Purses out of which an order never gets more than it has put in."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One side of a posting: plus is money into the purse, minus is money out of it."""

    purse: Purse
    money: Money


Legs = tuple[Leg, ...]


def move(money: Money, source: Purse, target: Purse) -> Legs:
    """`money`, above zero, out of one purse and into another. Raises `BadPosting`."""
    _check_amount(money)
    if money.micros <= 0:
        raise BadPosting(f"amount: {money} is not above zero")
    return Leg(source, Money(-money.micros, money.currency)), Leg(target, money)


def together(*moves: Legs) -> Legs:
    """Several moves as one posting: the legs of each purse and currency added up, without those that come to zero."""
    sums: dict[tuple[Purse, str], int] = defaultdict(int)
    for leg in (leg for legs in moves for leg in legs):
        sums[leg.purse, leg.money.currency] += leg.money.micros
    return tuple(Leg(purse, Money(micros, currency)) for (purse, currency), micros in sums.items() if micros)


@dataclass(frozen=True, slots=True)
class Posting:
    """Legs that sum to zero in each currency, under a key that exists once for ever.

    The subject says what it is about. What is about no order needs an actor: the author of the change.
    """

    key: str
    kind: str
    legs: Legs
    subject_kind: str
    subject_id: int
    reason: str = ""
    actor: str = ""


# --- the writer


def post(tenant_id: int, postings: Sequence[Posting], now: datetime) -> list[int]:
    """Make all `postings` or none; returns the transfer ids, in order.

    Locks the customer accounts, then the holds of the orders that money leaves, each in id order.
    Raises a child of `LedgerError`.
    """
    for posting in postings:
        _check_posting(posting)
    with transaction.atomic():
        accounts = _load_accounts(tenant_id, {(leg.purse, leg.money.currency) for p in postings for leg in p.legs})
        drawn = _lock_holds(postings)
        transfers = [_post_one(tenant_id, posting, accounts, now) for posting in postings]
        _check_not_overdrawn(drawn)
        return transfers


def _check_posting(posting: Posting) -> None:
    sums: dict[str, int] = defaultdict(int)
    for leg in posting.legs:
        _check_amount(leg.money)
        sums[leg.money.currency] += leg.money.micros
    if not posting.legs or any(sums.values()) or not all(leg.money.micros for leg in posting.legs):
        raise BadPosting(f"legs: those of {posting.key} must not be zero, and sum to zero in each currency")
    if len({(leg.purse, leg.money.currency) for leg in posting.legs}) != len(posting.legs):
        raise BadPosting(f"legs: those of {posting.key} name a purse twice")
    if not 1 <= len(posting.key) <= 120:
        raise BadPosting("key: must have 1 to 120 characters")
    if posting.subject_kind != "order" and not posting.actor:
        raise BadPosting(f"actor: {posting.key} is about no order and needs its author's name")


def _check_amount(money: Money) -> None:
    if type(money.micros) is not int or abs(money.micros) > MAX_MICROS:
        raise BadPosting("amount: must be whole micro-units that fit into 64 bits, never a float")
    try:
        check_currency(money.currency)
    except UnknownCurrency as error:
        raise BadPosting(str(error)) from error


def _load_accounts(tenant_id: int, purses: set[tuple[Purse, str]]) -> dict[tuple[Purse, str], Account]:
    known = _find_accounts(tenant_id, purses)
    found = {wanted: known.get(wanted) or _get_or_make(tenant_id, *wanted) for wanted in purses}
    stored = [account.pk for account in found.values() if account.kind == Kind.CUSTOMER]
    list(Account.objects.select_for_update().filter(pk__in=stored).order_by("pk").values_list("pk"))
    return found


def _find_accounts(tenant_id: int, purses: set[tuple[Purse, str]]) -> dict[tuple[Purse, str], Account]:
    """Those of the accounts that are there already, by one statement."""
    wanted = Q(pk__in=[])
    for purse, currency in purses:
        wanted |= Q(kind=purse.kind, currency=currency, subject_kind=purse.subject_kind, subject_id=purse.subject_id)
    accounts = Account.objects.filter(wanted, tenant_id=tenant_id)
    return {(Purse(one.kind, one.subject_kind, one.subject_id), one.currency): one for one in accounts}


def _get_or_make(tenant_id: int, purse: Purse, currency: str) -> Account:
    wanted = {
        "tenant_id": tenant_id,
        "kind": purse.kind,
        "currency": currency,
        "subject_kind": purse.subject_kind,
        "subject_id": purse.subject_id,
    }
    known = Account.objects.filter(**wanted).first()
    if known is not None:
        return known
    is_customer = purse.kind == Kind.CUSTOMER
    if is_customer:
        _check_wallet(tenant_id, purse.subject_id, currency)
    return Account.objects.get_or_create(**wanted, defaults={"balance_micros": 0 if is_customer else None})[0]


def _check_wallet(tenant_id: int, customer_id: int, currency: str) -> None:
    if not Customer.objects.filter(pk=customer_id, tenant_id=tenant_id, currency=currency).exists():
        raise WrongWallet(f"currency: customer {customer_id} has no wallet in {currency} in this shop")


def _lock_holds(postings: Sequence[Posting]) -> set[int]:
    """The orders out of whose guarded purses money goes; two workers do not empty the same one at the same time."""
    drawn = {
        posting.subject_id
        for posting in postings
        for leg in posting.legs
        if posting.subject_kind == "order" and leg.money.micros < 0 and leg.purse.kind in GUARDED
    }
    holds = Transfer.objects.filter(key__in=[f"hold:order:{order_id}" for order_id in drawn]).order_by("pk")
    if drawn:
        list(holds.select_for_update(no_key=True).values_list("pk"))
    return drawn


def _post_one(tenant_id: int, posting: Posting, accounts: dict[tuple[Purse, str], Account], now: datetime) -> int:
    sides = [(accounts[leg.purse, leg.money.currency], leg.money.micros) for leg in posting.legs]
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
        _check_same(transfer, posting, sides)
        return transfer.pk
    Entry.objects.bulk_create(
        Entry(transfer=transfer, account=account, amount_micros=amount) for account, amount in sides
    )
    for account, amount in sides:
        _move_balance(account, amount)
    return transfer.pk


def _check_same(transfer: Transfer, posting: Posting, sides: list[tuple[Account, int]]) -> None:
    entries = dict(transfer.entries.values_list("account_id", "amount_micros"))
    about = (transfer.kind, transfer.subject_kind, transfer.subject_id)
    same_subject = about == (posting.kind, posting.subject_kind, posting.subject_id)
    if not same_subject or entries != {account.pk: amount for account, amount in sides}:
        raise KeyReused(f"key: transfer {posting.key} exists with another amount, other accounts or another subject")


def _move_balance(account: Account, amount: int) -> None:
    if account.kind != Kind.CUSTOMER:
        return
    enough = Account.objects.filter(pk=account.pk)
    if amount < 0:
        enough = enough.filter(balance_micros__gte=-amount - F("limit_micros"))
    if enough.update(balance_micros=F("balance_micros") + amount) != 1:
        raise NotEnoughMoney("the balance does not cover this amount")


def _check_not_overdrawn(order_ids: set[int]) -> None:
    if not order_ids:
        return
    sums = (
        entries_of_orders(order_ids)
        .filter(account__kind__in=GUARDED)
        .values("transfer__subject_id", "account__kind", "account__currency")
        .annotate(total=Sum("amount_micros"))
    )
    for row in sums:
        if row["total"] < 0:
            kind, order_id = row["account__kind"], row["transfer__subject_id"]
            raise Overdrawn(f"amount: order {order_id} does not have that much under {kind!r}")


# --- postings about a customer, each by a person with a reason


def deposit(tenant_id: int, customer_id: int, money: Money, *, key: str, reason: str, actor: str, now: datetime) -> int:
    """Money that a customer paid in. Returns the transfer's id."""
    legs = move(money, CASH, customer_purse(customer_id))
    return post(tenant_id, [Posting(key, "deposit", legs, "customer", customer_id, reason, actor)], now)[0]


def withdrawal(
    tenant_id: int, customer_id: int, money: Money, *, key: str, reason: str, actor: str, now: datetime
) -> int:
    """Money that a customer got back in hand. Raises `NotEnoughMoney`."""
    legs = move(money, customer_purse(customer_id), CASH)
    return post(tenant_id, [Posting(key, "withdrawal", legs, "customer", customer_id, reason, actor)], now)[0]


def correction(
    tenant_id: int, customer_id: int, change: Money, *, key: str, reason: str, actor: str, now: datetime
) -> int:
    """A change of a wallet, up or down (minus), that no money from outside stands behind: the shop's result bears it.

    Raises `NotEnoughMoney`.
    """
    purses = (REVENUE, customer_purse(customer_id))
    _check_amount(change)
    source, target = purses if change.micros > 0 else purses[::-1]
    legs = move(Money(abs(change.micros), change.currency), source, target)
    return post(tenant_id, [Posting(key, "correction", legs, "customer", customer_id, reason, actor)], now)[0]


def set_credit_limit(
    tenant_id: int, customer_id: int, limit: Money, *, key: str, reason: str, actor: str, now: datetime
) -> int:
    """How far below zero this wallet may go from now on. Returns the change's id; a repeated key returns the first.

    Raises `NotEnoughMoney` when the wallet is further below zero already.
    """
    _check_amount(limit)
    if limit.micros < 0 or not actor:
        raise BadPosting("amount: a credit limit is not negative" if actor else "actor: somebody must have decided it")
    with transaction.atomic():
        (account,) = _load_accounts(tenant_id, {(customer_purse(customer_id), limit.currency)}).values()
        account.refresh_from_db()
        change, is_new = CreditChange.objects.get_or_create(
            key=key,
            defaults={
                "account": account,
                "before_micros": account.limit_micros,
                "after_micros": limit.micros,
                "reason": reason[:200],
                "actor": actor[:80],
                "at": now,
            },
        )
        if (change.account_id, change.after_micros) != (account.pk, limit.micros):
            raise KeyReused(f"key: credit change {key} exists for another wallet or limit")
        if is_new:
            _write_limit(account, limit)
        return change.pk


def _write_limit(account: Account, limit: Money) -> None:
    enough = Account.objects.filter(pk=account.pk, balance_micros__gte=-limit.micros)
    if enough.update(limit_micros=limit.micros) != 1:
        raise NotEnoughMoney(f"the wallet is further below zero than {limit}")


# --- postings about an order


def hold_order(tenant_id: int, customer_id: int, order_id: int, money: Money, now: datetime) -> int:
    """Set the order's whole price aside. Raises `NotEnoughMoney`."""
    legs = move(money, customer_purse(customer_id), HELD)
    return post(tenant_id, [Posting(f"hold:order:{order_id}", "hold", legs, "order", order_id)], now)[0]


def capture_unit(order_id: int, unit_id: int, money: Money) -> Posting:
    """The held price of a delivered unit becomes a sale."""
    return Posting(f"capture:unit:{unit_id}", "capture", move(money, HELD, REVENUE), "order", order_id)


def release_unit(customer_id: int, order_id: int, unit_id: int, money: Money, reason: str) -> Posting:
    """The held price of a unit that will not be delivered goes back to the customer; `reason` names the evidence."""
    legs = move(money, HELD, customer_purse(customer_id))
    return Posting(f"release:unit:{unit_id}", "release", legs, "order", order_id, reason)


def capture_part(
    customer_id: int, order_id: int, unit_id: int, *, sold: Money, rest: Money, reason: str
) -> list[Posting]:
    """A unit that was delivered in part: `sold` becomes a sale, `rest` goes back. Post both in one call."""
    return [capture_unit(order_id, unit_id, sold), release_unit(customer_id, order_id, unit_id, rest, reason)]


def sale_reversal(customer_id: int, order_id: int, unit_id: int, money: Money, *, reason: str, actor: str) -> Posting:
    """A person gives the customer back what a captured unit cost; once per unit."""
    legs = move(money, REVENUE, customer_purse(customer_id))
    return Posting(f"reversal:unit:{unit_id}", "sale_reversal", legs, "order", order_id, reason, actor)


def late_sale(customer_id: int, order_id: int, unit_id: int, evidence_id: int, money: Money, *, actor: str) -> Posting:
    """The customer keeps what came after the money had gone back, and pays for it; once per unit and delivery."""
    legs = move(money, customer_purse(customer_id), REVENUE)
    return Posting(f"late:unit:{unit_id}:evidence:{evidence_id}", "late_sale", legs, "order", order_id, "", actor)


def provider_cost(integration_id: int, order_id: int, attempt_id: int, money: Money) -> Posting:
    """What a delivered attempt cost us, out of our money at the provider."""
    legs = move(money, float_purse(integration_id), COST)
    return Posting(f"cost:attempt:{attempt_id}", "cost", legs, "order", order_id)


def cost_correction(
    integration_id: int,
    order_id: int,
    attempt_id: int,
    evidence_id: int,
    *,
    booked: Money,
    actual: Money,
    is_loss: bool = False,
) -> Posting:
    """The difference when the provider tells another cost than the one that is booked, either way.

    `is_loss`: the delivery came too late, and its cost is booked as a loss.
    """
    source, target = float_purse(integration_id), LOSS if is_loss else COST
    if actual.micros < booked.micros:
        source, target = target, source
    legs = move(Money(abs(actual.micros - booked.micros), actual.currency), source, target)
    key = f"cost:attempt:{attempt_id}:evidence:{evidence_id}"
    return Posting(key, "cost_correction", legs, "order", order_id)


def late_cost(integration_id: int, order_id: int, attempt_id: int, evidence_id: int, money: Money) -> Posting:
    """What a delivery cost us that came after the customer's money had gone back: a loss until a person decides."""
    legs = move(money, float_purse(integration_id), LOSS)
    return Posting(f"late:attempt:{attempt_id}:evidence:{evidence_id}", "late_cost", legs, "order", order_id)


def cost_reversals(integration_id: int, order_id: int, attempt_id: int, evidence_id: int) -> list[Posting]:
    """The provider took a delivery back: all that is booked for the attempt returns to our money there, at once."""
    purse = float_purse(integration_id)
    moves = [
        move(Money(micros, currency), Purse(kind), purse)
        for (kind, currency), micros in booked_for(order_id, attempt_id).items()
        if micros > 0
    ]
    key = f"reversal:attempt:{attempt_id}:evidence:{evidence_id}"
    return [Posting(key, "cost_reversal", together(*moves), "order", order_id)] if moves else []


# --- postings about our money at a provider, each by a person with a reason


def top_up_float(
    tenant_id: int,
    integration_id: int,
    received: Money,
    paid: Money,
    *,
    key: str,
    reason: str,
    actor: str,
    now: datetime,
) -> int:
    """We paid `paid` and the provider credited `received`; in another currency the change goes through FX."""
    purse = float_purse(integration_id)
    if paid.currency == received.currency:
        if paid.micros != received.micros:
            raise BadPosting("paid: in one currency as much is paid as is received; post a fee as a write-off")
        legs = move(received, CASH, purse)
    else:
        legs = together(move(paid, CASH, FX), move(received, FX, purse))
    return post(tenant_id, [Posting(key, "top_up", legs, "integration", integration_id, reason, actor)], now)[0]


def write_off(
    tenant_id: int, integration_id: int, money: Money, *, key: str, reason: str, actor: str, now: datetime
) -> int:
    """Our money at a provider that bought nothing and does not come back."""
    legs = move(money, float_purse(integration_id), LOSS)
    return post(tenant_id, [Posting(key, "write_off", legs, "integration", integration_id, reason, actor)], now)[0]


# --- reading


def balance_of(customer_id: int, currency: str) -> Money:
    """What the customer can spend without credit, zero when nothing was ever paid in."""
    account = Account.objects.filter(
        kind=Kind.CUSTOMER, subject_kind="customer", subject_id=customer_id, currency=currency
    ).first()
    return Money(account.balance_micros or 0 if account else 0, currency)


def entries_of_orders(order_ids: set[int] | Sequence[int]) -> QuerySet[Entry]:
    """The entries of all transfers about these orders."""
    return Entry.objects.filter(transfer__subject_kind="order", transfer__subject_id__in=list(order_ids))


def booked_cost(attempt_id: int) -> int:
    """Micro-units booked so far as the cost of one attempt, corrections included."""
    entries = Entry.objects.filter(account__kind=Kind.COST, transfer__key__startswith=f"cost:attempt:{attempt_id}:")
    first = Entry.objects.filter(account__kind=Kind.COST, transfer__key=f"cost:attempt:{attempt_id}")
    return sum((entries | first).values_list("amount_micros", flat=True))


def booked_for(order_id: int, attempt_id: int) -> dict[tuple[str, str], int]:
    """Micro-units booked for one attempt by purse (`cost`, `loss`) and currency, after corrections and reversals."""
    about = Q(transfer__key=f"cost:attempt:{attempt_id}")
    for way in ("cost", "late", "reversal"):
        about |= Q(transfer__key__startswith=f"{way}:attempt:{attempt_id}:")
    rows = entries_of_orders([order_id]).filter(about, account__kind__in=(Kind.COST, Kind.LOSS))
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for kind, currency, micros in rows.values_list("account__kind", "account__currency", "amount_micros"):
        sums[kind, currency] += micros
    return dict(sums)


def captured_units(order_id: int, currency: str) -> dict[int, Money]:
    """What was captured of each unit of an order, by the unit's id."""
    sales = entries_of_orders([order_id]).filter(transfer__kind="capture", account__kind=Kind.REVENUE)
    rows = sales.order_by("id").values_list("transfer__key", "amount_micros")
    return {int(key.removeprefix("capture:unit:")): Money(micros, currency) for key, micros in rows}


def given_back_units(order_id: int) -> set[int]:
    """The ids of the units of an order whose sale a person has given back."""
    back = entries_of_orders([order_id]).filter(transfer__kind="sale_reversal", account__kind=Kind.REVENUE)
    return {int(key.removeprefix("reversal:unit:")) for key in back.values_list("transfer__key", flat=True)}


def cost_of_order(order_id: int) -> int:
    """Micro-units that all deliveries of one order cost us, the late ones included."""
    spent = entries_of_orders([order_id]).filter(account__kind__in=(Kind.COST, Kind.LOSS))
    return sum(spent.values_list("amount_micros", flat=True))


def float_of(tenant_id: int) -> dict[tuple[int, str], Money]:
    """Our money at each of the shop's provider accounts, as the ledger has it, by account and currency."""
    rows = (
        Entry.objects.filter(account__tenant_id=tenant_id, account__kind=Kind.FLOAT)
        .values("account__subject_id", "account__currency")
        .annotate(total=Sum("amount_micros"))
    )
    return {
        (row["account__subject_id"], row["account__currency"]): Money(row["total"], row["account__currency"])
        for row in rows
    }


def trial_balance(tenant_id: int) -> dict[tuple[str, str], int]:
    """The sum of all entries of one shop by account kind and currency; over the kinds each currency sums to zero."""
    rows = (
        Entry.objects.filter(account__tenant_id=tenant_id)
        .values("account__kind", "account__currency")
        .annotate(total=Sum("amount_micros"))
        .order_by("account__currency", "account__kind")
    )
    return {(row["account__kind"], row["account__currency"]): row["total"] for row in rows}


def order_sums(order_ids: list[int]) -> dict[int, dict[str, int]]:
    """For each order the micro-units held, captured and released so far, by kind of transfer."""
    rows = (
        entries_of_orders(order_ids)
        .filter(amount_micros__gt=0)
        .values("transfer__subject_id", "transfer__kind")
        .annotate(total=Sum("amount_micros"))
    )
    sums: dict[int, dict[str, int]] = {order_id: {} for order_id in order_ids}
    for row in rows:
        sums[row["transfer__subject_id"]][row["transfer__kind"]] = row["total"]
    return sums


@dataclass(frozen=True, slots=True)
class Line:
    """Money that went from one account to another, as a person reads it; a transfer is one line or more."""

    at: datetime
    kind: str
    money: Money
    source: str
    target: str
    reason: str
    actor: str = ""


def lines_of(subject_kind: str, subject_id: int) -> list[Line]:
    """The transfers of one subject, oldest first."""
    entries = (
        Entry.objects.filter(transfer__subject_kind=subject_kind, transfer__subject_id=subject_id)
        .select_related("transfer", "account")
        .order_by("transfer_id", "id")
    )
    by_currency: dict[tuple[int, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        by_currency[entry.transfer_id, entry.account.currency].append(entry)
    return [line for group in by_currency.values() for line in _pair(group)]


def _pair(entries: list[Entry]) -> list[Line]:
    """The entries of one transfer in one currency as lines: each plus is filled from the next minus."""
    givers = deque((entry, -entry.amount_micros) for entry in entries if entry.amount_micros < 0)
    lines = []
    for target in (entry for entry in entries if entry.amount_micros > 0):
        wanted = target.amount_micros
        while wanted and givers:
            source, left = givers.popleft()
            taken = min(wanted, left)
            lines.append(_line(source, target, taken))
            wanted -= taken
            if left > taken:
                givers.appendleft((source, left - taken))
    return lines


def _line(source: Entry, target: Entry, micros: int) -> Line:
    transfer = target.transfer
    money = Money(micros, target.account.currency)
    kinds = (source.account.kind, target.account.kind)
    return Line(transfer.at, transfer.kind, money, *kinds, transfer.reason, transfer.actor)
