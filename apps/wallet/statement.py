"""What a customer's wallet has, and what happened to it: balances and statements. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

from django.db.models import QuerySet, Sum

from apps.accounts.models import Customer
from apps.common.money import Money
from apps.wallet.models import Account, Entry


@dataclass(frozen=True, slots=True)
class Standing:
    """What is in a wallet, how far below zero it may go, and what can be spent."""

    balance: Money
    credit: Money

    @property
    def available(self) -> Money:
        """Balance and credit together."""
        return Money(self.balance.micros + self.credit.micros, self.balance.currency)


def standings(customers: Iterable[Customer]) -> dict[int, Standing]:
    """The standing of each customer's wallet, by the customer's id; one that was never used has nothing."""
    found = {customer.pk: Standing(Money(0, customer.currency), Money(0, customer.currency)) for customer in customers}
    for account in Account.objects.filter(kind=Account.Kind.CUSTOMER, subject_id__in=found):
        balance = Money(account.balance_micros or 0, account.currency)
        found[account.subject_id] = Standing(balance, Money(account.limit_micros, account.currency))
    return found


def standing_of(customer: Customer) -> Standing:
    """The standing of one customer's wallet."""
    return standings([customer])[customer.pk]


class BadPeriod(ValueError):
    """The last day is before the first."""


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days of a shop, both included; None is open. A day is the shop's, from midnight to midnight there."""

    first: date | None
    last: date | None
    zone: tzinfo

    def __post_init__(self) -> None:
        """Refuse days the wrong way round."""
        if self.first and self.last and self.last < self.first:
            raise BadPeriod("to: the last day is before the first")

    @property
    def starts_at(self) -> datetime | None:
        """The first moment, or None."""
        return datetime.combine(self.first, time.min, self.zone) if self.first else None

    @property
    def ends_at(self) -> datetime | None:
        """The first moment that is not included any more, or None."""
        return datetime.combine(self.last + timedelta(days=1), time.min, self.zone) if self.last else None


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One change of the balance with the order it is about, or its author (empty: nobody but the order)."""

    at: datetime
    kind: str
    money: Money
    balance: Money
    order_id: int | None
    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class Statement:
    """What was in the wallet before the period, and the lines, oldest first, read while they are looked at."""

    opening: Money
    lines: Iterator[StatementLine]


def load_statement(customer: Customer, period: Period) -> Statement:
    """The changes of the customer's wallet within the period, with the balance after each."""
    entries = Entry.objects.filter(account__kind=Account.Kind.CUSTOMER, account__subject_id=customer.pk)
    before = entries.none() if period.starts_at is None else entries.filter(transfer__at__lt=period.starts_at)
    opening = Money(before.aggregate(sum=Sum("amount_micros"))["sum"] or 0, customer.currency)
    within = entries
    if period.starts_at is not None:
        within = within.filter(transfer__at__gte=period.starts_at)
    if period.ends_at is not None:
        within = within.filter(transfer__at__lt=period.ends_at)
    return Statement(opening, _lines(within, opening))


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the balance, by its number, with the balance after it and the order it is about."""

    number: int
    at: datetime
    kind: str
    money: Money
    balance: Money
    order_id: int | None


def latest_changes(customer: Customer, most: int, before: int | None = None) -> list[Change]:
    """The newest changes of the customer's wallet, newest first, or the newest before the one with this number."""
    entries = Entry.objects.filter(
        account__kind=Account.Kind.CUSTOMER, account__subject_id=customer.pk, account__currency=customer.currency
    )
    if before is not None:
        entries = entries.filter(pk__lt=before)
    found = list(entries.select_related("transfer").order_by("-pk")[:most])
    if not found:
        return []
    balance = entries.filter(pk__lte=found[0].pk).aggregate(sum=Sum("amount_micros"))["sum"]
    changes = []
    for entry in found:
        changes.append(_as_change(entry, customer.currency, balance))
        balance -= entry.amount_micros
    return changes


def _as_change(entry: Entry, currency: str, balance: int) -> Change:
    transfer = entry.transfer
    return Change(
        number=entry.pk,
        at=transfer.at,
        kind=transfer.kind,
        money=Money(entry.amount_micros, currency),
        balance=Money(balance, currency),
        order_id=transfer.subject_id if transfer.subject_kind == "order" else None,
    )


def _lines(entries: QuerySet[Entry], opening: Money) -> Iterator[StatementLine]:
    balance = opening.micros
    for entry in entries.select_related("transfer").order_by("transfer__at", "id").iterator(chunk_size=1000):
        balance += entry.amount_micros
        transfer = entry.transfer
        yield StatementLine(
            at=transfer.at,
            kind=transfer.kind,
            money=Money(entry.amount_micros, opening.currency),
            balance=Money(balance, opening.currency),
            order_id=transfer.subject_id if transfer.subject_kind == "order" else None,
            reason=transfer.reason,
            actor=transfer.actor,
        )
