"""The whole ledger recomputed from its entries: what does not add up, in words. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db.models import CharField, Count, Exists, F, Model, OuterRef, Q, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Concat

from apps.accounts.models import Customer
from apps.common.currencies import DECIMALS
from apps.wallet.models import Account, CreditChange, Entry, Transfer, WalletRequest

CUSTOMER = Account.Kind.CUSTOMER


@dataclass(frozen=True, slots=True)
class Books:
    """What the recount of the whole ledger found; every list is empty when the money adds up."""

    accounts: int
    transfers: int
    entries: int
    unbalanced: list[str]
    wrong_balances: list[str]
    others: dict[str, list[str]] = field(default_factory=dict)

    def problems(self) -> list[str]:
        """Every row that disagrees, as a sentence."""
        told = {
            "transfer {} does not sum to zero": self.unbalanced,
            "the stored balance of {} is not the sum of its entries": self.wrong_balances,
            **self.others,
        }
        return [sentence.format(row) for sentence, rows in told.items() for row in rows]


def recount() -> Books:
    """Recompute every transfer's sum per currency and every stored balance from the entries, and look for orphans."""
    sums = Entry.objects.values("transfer__key", "account__currency").annotate(total=Sum("amount_micros"))
    unbalanced = [row["transfer__key"] for row in sums if row["total"] != 0]
    empty = Transfer.objects.filter(entries__isnull=True).values_list("key", flat=True)
    stored = Account.objects.filter(kind=CUSTOMER).annotate(total=Sum("entries__amount_micros"))
    return Books(
        accounts=Account.objects.count(),
        transfers=Transfer.objects.count(),
        entries=Entry.objects.count(),
        unbalanced=[*unbalanced, *empty],
        wrong_balances=[str(account) for account in stored if account.balance_micros != (account.total or 0)],
        others={sentence: _named(rows) for sentence, rows in _disagreements().items()},
    )


def _named(rows: Iterable[Model]) -> list[str]:
    return [str(row) if isinstance(row, Account | Transfer) else str(row.pk) for row in rows]


def _disagreements() -> dict[str, QuerySet[Account] | QuerySet[Entry] | QuerySet[Transfer] | QuerySet[WalletRequest]]:
    """The rows that should not be there, by the sentence about each."""
    wallets = Account.objects.filter(kind=CUSTOMER)
    own = Customer.objects.filter(
        pk=OuterRef("subject_id"), tenant_id=OuterRef("tenant_id"), currency=OuterRef("currency")
    )
    newest = CreditChange.objects.filter(account=OuterRef("pk")).order_by("-id").values("after_micros")[:1]
    limits = wallets.annotate(decided=Subquery(newest))
    twice = wallets.values("subject_id").annotate(wallets=Count("id")).filter(wallets__gt=1).values("subject_id")
    return {
        "{} is below its credit limit": wallets.filter(balance_micros__lt=-F("limit_micros")),
        "{} is a house account and stores a balance": Account.objects.exclude(kind=CUSTOMER).filter(
            balance_micros__isnull=False
        ),
        "{} is in no known currency": Account.objects.exclude(currency__in=DECIMALS),
        "{} belongs to no customer of its shop in this currency": wallets.exclude(Exists(own)),
        "{} is one of two wallets of one customer": wallets.filter(subject_id__in=twice),
        "the credit limit of {} was decided by nobody": limits.exclude(
            Q(decided=F("limit_micros")) | Q(decided__isnull=True, limit_micros=0)
        ),
        "entry {} has no transfer": Entry.objects.exclude(Exists(Transfer.objects.filter(pk=OuterRef("transfer_id")))),
        "entry {} has no account": Entry.objects.exclude(Exists(Account.objects.filter(pk=OuterRef("account_id")))),
        "entry {} is in another shop than its transfer": Entry.objects.exclude(
            account__tenant_id=F("transfer__tenant_id")
        ),
        "transfer {} names neither an order nor an author": Transfer.objects.filter(actor="").exclude(
            subject_kind="order"
        ),
        "wallet request {} and what was done about it disagree": _wrong_requests(),
    }


def _wrong_requests() -> QuerySet[WalletRequest]:
    """Requests that are done without a trace, or left a trace without being done."""
    key = Concat(Value("request:"), OuterRef("key"), output_field=CharField())
    is_made = Exists(Transfer.objects.filter(key=key)) | Exists(CreditChange.objects.filter(key=key))
    asked = WalletRequest.objects.annotate(is_made=is_made)
    return asked.filter(Q(status="done", is_made=False) | (~Q(status="done") & Q(is_made=True)))


# --- what the check of orders against the ledger reads


@dataclass(frozen=True, slots=True)
class OrderTransfer:
    """One transfer about an order. `way` is out of which kind of account and into which; `customer_id` 0: no wallet."""

    key: str
    kind: str
    order_id: int
    micros: int
    currency: str
    way: tuple[str, str]
    customer_id: int


def order_transfers(order_ids: Sequence[int]) -> list[OrderTransfer]:
    """The transfers about these orders, oldest first."""
    entries = Entry.objects.filter(transfer__subject_kind="order", transfer__subject_id__in=list(order_ids))
    by_transfer: dict[int, list[Entry]] = {}
    for entry in entries.select_related("transfer", "account").order_by("transfer_id", "amount_micros"):
        by_transfer.setdefault(entry.transfer_id, []).append(entry)
    return [_as_order_transfer(group) for group in by_transfer.values()]


def _as_order_transfer(entries: list[Entry]) -> OrderTransfer:
    """Every transfer about an order has two sides; one that has not goes an unknown way."""
    transfer, (first, last) = entries[0].transfer, (entries[0].account, entries[-1].account)
    wallets = [account.subject_id for account in (first, last) if account.kind == CUSTOMER]
    return OrderTransfer(
        key=transfer.key,
        kind=transfer.kind,
        order_id=transfer.subject_id,
        micros=entries[-1].amount_micros,
        currency=last.currency,
        way=(first.kind, last.kind) if len(entries) == 2 else ("several", "several"),
        customer_id=wallets[0] if wallets else 0,
    )


def orders_with_money() -> set[int]:
    """The ids of the orders that transfers are about."""
    return set(Transfer.objects.filter(subject_kind="order").values_list("subject_id", flat=True).distinct())


def float_subjects() -> set[tuple[int, int]]:
    """Shop and provider account of every float."""
    return set(Account.objects.filter(kind=Account.Kind.FLOAT).values_list("tenant_id", "subject_id"))
