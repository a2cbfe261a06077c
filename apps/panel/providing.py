"""What the pages of providers and of the catalogue show, read once per page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Q, QuerySet

from apps.catalog.models import Package
from apps.catalog.prices import pick_price, valid_prices
from apps.common.money import Money
from apps.common.natural import natural_key
from apps.orders.sellable import Finding, Sale, can_be_sold, look_at, missing_for_sale
from apps.panel import words
from apps.providers.balances import has_balance, last_value, latest_reading
from apps.providers.catalogue_models import (
    AccountWatch,
    BalanceReading,
    CatalogChange,
    CatalogItem,
    CatalogSync,
)
from apps.providers.listing import can_list
from apps.providers.models import Integration, PackageMapping
from apps.providers.offers import Facts, cost_text

PAGE = 100
HISTORY = 30
OLD_AFTER = timedelta(hours=36)
"""A list that was not fetched for this long says so in colour."""


@dataclass(frozen=True, slots=True)
class AccountCard:
    """One provider account at a glance. `value` is the last balance that was read, `reading` the last answer."""

    account: Integration
    is_test: bool
    is_paused: bool
    has_balance: bool
    can_list: bool
    reading: BalanceReading | None
    value: BalanceReading | None
    watch: AccountWatch | None
    last_sync: CatalogSync | None
    fetched_at: datetime | None
    is_old: bool
    items: int
    pending: int
    quarantined: int

    @property
    def pause_words(self) -> str:
        """Why new orders are kept away."""
        return words.say(words.PAUSES, self.account.pause_reason)

    @property
    def alert_below(self) -> Money | None:
        """The balance below which the account is called low."""
        micros = self.watch.alert_below_micros if self.watch else None
        return None if micros is None else Money(micros, self.account.currency)


def load_cards(tenant_ids: list[int], now: datetime) -> list[AccountCard]:
    """The accounts of these shops by name."""
    accounts = Integration.objects.filter(tenant_id__in=tenant_ids).select_related("tenant", "watch")
    return [load_card(account, now) for account in sorted(accounts, key=lambda one: natural_key(one.name))]


def load_card(account: Integration, now: datetime) -> AccountCard:
    """One account."""
    syncs = CatalogSync.objects.filter(integration=account)
    done = syncs.filter(state=CatalogSync.State.DONE).order_by("-finished_at").first()
    waiting = CatalogChange.objects.filter(integration=account, state=CatalogChange.State.PENDING)
    counts = waiting.aggregate(all=Count("pk"), jumps=Count("pk", filter=Q(is_quarantined=True)))
    reading = latest_reading(account)
    return AccountCard(
        account=account,
        is_test=is_test(account),
        is_paused=account.is_paused(now),
        has_balance=has_balance(account),
        can_list=can_list(account),
        reading=reading,
        value=reading if reading is not None and reading.amount_micros is not None else last_value(account),
        watch=getattr(account, "watch", None),
        last_sync=syncs.order_by("-created_at", "-pk").first(),
        fetched_at=done.finished_at if done else None,
        is_old=done is None or (done.finished_at or now) < now - OLD_AFTER,
        items=CatalogItem.objects.filter(integration=account, is_listed=True).count(),
        pending=counts["all"],
        quarantined=counts["jumps"],
    )


def is_test(account: Integration) -> bool:
    """Whether the money there is play money: a simulated panel on this machine, or a provider's sandbox."""
    return account.is_local or bool(account.options.get("sandbox")) or "sandbox" in account.base_url


def load_history(account: Integration) -> list[BalanceReading]:
    """The newest balances and errors."""
    return list(BalanceReading.objects.filter(integration=account).order_by("-as_of", "-pk")[:HISTORY])


# --- changes


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One change with its old and new side in words."""

    change: CatalogChange
    old: str
    new: str


def load_changes(account: Integration, state: str, kind: str, start: int) -> tuple[list[ChangeRow], int]:
    """One page of changes (price jumps first; those that were decided newest first), and how many there are."""
    found = CatalogChange.objects.filter(integration=account, state=state)
    found = found.filter(kind=kind) if kind else found
    is_open = state == CatalogChange.State.PENDING
    ordered = found.order_by("-is_quarantined", "sort_key", "pk") if is_open else found.order_by("-decided_at", "-pk")
    page = ordered[start : start + PAGE]
    return [as_change_row(change) for change in page], found.count()


def as_change_row(change: CatalogChange) -> ChangeRow:
    """A change as a line of the table."""
    return ChangeRow(change, describe(change.kind, change.old), describe(change.kind, change.new))


def describe(kind: str, facts: Facts) -> str:
    """One side of a change as the provider writes it; empty where there is nothing to say."""
    return DESCRIBED[kind](facts)


def _describe_name(facts: Facts) -> str:
    return " / ".join(str(facts[name]) for name in ("group", "name") if facts[name])


def _describe_fields(facts: Facts) -> str:
    amounts = facts["quantity_values"] or [facts["quantity_min"], facts["quantity_max"]]
    pin = {True: "PIN", False: "-", None: "?"}[facts["gives_code"]]
    return f"{facts['quantity_kind']} {'..'.join(map(str, amounts))} | {', '.join(facts['fields']) or '-'} | {pin}"


DESCRIBED: dict[str, Callable[[Facts], str]] = {
    CatalogChange.Kind.NEW: cost_text,
    CatalogChange.Kind.GONE: lambda facts: "",
    CatalogChange.Kind.PRICE: lambda facts: cost_text(facts) or "-",
    CatalogChange.Kind.NAME: _describe_name,
    CatalogChange.Kind.AVAILABILITY: lambda facts: "+" if facts["is_available"] else "-",
    CatalogChange.Kind.FIELDS: _describe_fields,
}
"""How each kind of change is told."""


def load_items(account: Integration, term: str, start: int) -> tuple[list[CatalogItem], int]:
    """One page of what is approved, in natural order, and how many there are."""
    found: QuerySet[CatalogItem] = CatalogItem.objects.filter(integration=account)
    if term:
        found = found.filter(Q(name__icontains=term) | Q(group__icontains=term) | Q(key__icontains=term))
    return list(found.order_by("-is_listed", "sort_key", "pk")[start : start + PAGE]), found.count()


# --- what is sold


@dataclass(frozen=True, slots=True)
class MappedTo:
    """A package at one account: its mapping there, if any."""

    account: Integration
    mapping: PackageMapping | None


@dataclass(frozen=True, slots=True)
class PackageRow:
    """One package: what it costs everybody, what keeps it from being sold, and where it is mapped."""

    package: Package
    prices: list[Money]
    missing: list[Finding]
    mapped: list[MappedTo]

    @property
    def can_be_sold(self) -> bool:
        """Whether what is missing leaves it on sale."""
        return can_be_sold(self.missing)


def load_packages(tenant_ids: list[int], term: str, start: int, now: datetime) -> tuple[list[PackageRow], int]:
    """One page of the shops' packages, products and packages in natural order: 60 before 120 before 325."""
    packages = Package.objects.filter(tenant_id__in=tenant_ids).select_related("product", "tenant")
    if term:
        named = Q(name__icontains=term) | Q(code__icontains=term) | Q(product__name__icontains=term)
        packages = packages.filter(named | Q(product__name_ar__icontains=term) | Q(product__name_tr__icontains=term))
    found = in_order(packages)
    return _package_rows(look_at(found[start : start + PAGE], now)), len(found)


def _package_rows(sales: list[Sale]) -> list[PackageRow]:
    shops = {sale.package.tenant_id for sale in sales}
    accounts: dict[int, list[Integration]] = {}
    for account in Integration.objects.filter(tenant_id__in=shops, is_enabled=True).order_by("name"):
        accounts.setdefault(account.tenant_id, []).append(account)
    return [_package_row(sale, accounts.get(sale.package.tenant_id, [])) for sale in sales]


def _package_row(sale: Sale, accounts: list[Integration]) -> PackageRow:
    general = [price for price in sale.prices if price.price_group_id is None]
    return PackageRow(
        package=sale.package,
        prices=[Money(price.unit_price_micros, price.currency) for price in general],
        missing=missing_for_sale(sale),
        mapped=[MappedTo(account, sale.mappings.get(account.pk)) for account in accounts],
    )


def in_order(packages: QuerySet[Package]) -> list[Package]:
    """Packages as people expect them."""
    return sorted(packages, key=lambda one: (natural_key(one.product.label()), natural_key(one.name), one.pk))


def general_price(package: Package, currency: str, now: datetime) -> Money | None:
    """What everybody pays for one unit in this currency."""
    price = pick_price(valid_prices([package], now), [None], currency, 1)
    return None if price is None else Money(price.unit_price_micros, currency)
