"""Whether a package can be sold, and what is missing: one look at prices, routes, mappings, accounts, costs and rates.

Reads only. `look_at` loads any number of packages with the same few queries.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Tenant
from apps.catalog.models import MarginRule, Package, PackagePrice
from apps.catalog.prices import is_loss, pick_price, pick_rule, price_by_rule, valid_prices
from apps.catalog.rates import Conversion, NoRate, Rates, StaleRate
from apps.common.crypto import CannotOpen
from apps.common.currencies import DECIMALS
from apps.common.money import MAX_MICROS, BadAmount
from apps.orders.local import today_in
from apps.orders.strategies import in_order, nearest_routes
from apps.providers import stock
from apps.providers.catalogue_models import CatalogItem
from apps.providers.fitting import lacking_fields, rule_of
from apps.providers.mapping import load_items
from apps.providers.models import Integration, PackageMapping, Route
from apps.providers.registry import load_adapter, missing_ids, missing_secrets


class Missing(StrEnum):
    """What can keep a package from being sold."""

    PRICE = "price_missing"
    ROUTE = "route_missing"
    ROUTE_FOR_ALL = "route_for_groups_only"
    ACCOUNT_OFF = "account_disabled"
    CURRENCY = "currency_unknown"
    MAPPING = "mapping_missing"
    MAPPING_IDS = "mapping_incomplete"
    MAPPING_REFUSED = "mapping_refused"
    QUANTITY = "quantity_not_sold"
    FIELD = "field_missing"
    SECRET = "credential_missing"  # noqa: S105 - a word for it
    SECRETS_CLOSED = "credentials_unreadable"
    SHELF = "shelf_empty"
    COST = "cost_missing"
    RATE = "rate_missing"
    RATE_OLD = "rate_stale"
    LOSS = "cost_above_price"
    SOME_LOSS = "cost_above_some_prices"


WORDS: dict[Missing, str | Promise] = {
    Missing.PRICE: _("there is no price in %(currency)s"),
    Missing.ROUTE: _("there is no enabled route"),
    Missing.ROUTE_FOR_ALL: _("there is no enabled route for everybody: only some price groups can buy"),
    Missing.ACCOUNT_OFF: _("the provider account %(account)s is disabled"),
    Missing.CURRENCY: _("the provider account %(account)s is in %(currency)s, which is no known currency"),
    Missing.MAPPING: _("the package is not mapped at %(account)s"),
    Missing.MAPPING_IDS: _("the mapping at %(account)s has no %(name)s"),
    Missing.MAPPING_REFUSED: _("%(account)s does not know what the package is mapped to: look at the mapping, save it"),
    Missing.QUANTITY: _("%(account)s sells no such quantity"),
    Missing.FIELD: _("%(account)s demands %(name)s, which nobody is asked for"),
    Missing.SECRET: _("the provider account %(account)s has no %(name)s"),
    Missing.SECRETS_CLOSED: _("no key opens the secrets of the provider account %(account)s"),
    Missing.SHELF: _("the shelf %(shelf)s of %(account)s is empty"),
    Missing.COST: _("the cost at %(account)s is not known"),
    Missing.RATE: _("there is no exchange rate from %(source)s to %(target)s for %(account)s"),
    Missing.RATE_OLD: _("the exchange rate from %(source)s to %(target)s for %(account)s is too old"),
    Missing.LOSS: _("the cost at %(account)s is above the price in %(currency)s by more than the shop allows"),
    Missing.SOME_LOSS: _("the cost at %(account)s is above some prices in %(currency)s: not everybody can buy"),
}
"""Each finding as a sentence for a person."""

EVERYBODY: tuple[int | None, ...] = (None,)
"""The price groups of a customer who has none."""

WARNINGS = frozenset({Missing.COST, Missing.SOME_LOSS, Missing.ROUTE_FOR_ALL})
"""What is worth mending although the package can be sold with it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is missing, and of what."""

    code: Missing
    about: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return str(WORDS[self.code]) % dict(self.about)

    @property
    def is_blocking(self) -> bool:
        """Whether nothing can be sold this way until it is mended."""
        return self.code not in WARNINGS


def finding(code: Missing, **about: str) -> Finding:
    """A finding with what it is about."""
    return Finding(code, tuple(about.items()))


@dataclass(frozen=True, slots=True)
class UnitCost:
    """What one unit costs at one account, in the currency of the sale, and how it was converted."""

    micros: int
    conversion: Conversion


@dataclass(frozen=True, slots=True)
class Way:
    """One enabled route for sales in one currency. `cost` is None where it is not known, or a person decides."""

    route: Route
    findings: tuple[Finding, ...]
    cost: UnitCost | None

    @property
    def is_open(self) -> bool:
        """Whether an order can go this way."""
        return not any(found.is_blocking for found in self.findings)


class Terms:
    """What counts for all of one shop at one moment, each loaded when first needed: rates, margin rules, shelves."""

    def __init__(self, shop: Tenant, now: datetime) -> None:
        self.shop = shop
        self.now = now
        self.today = today_in(shop, now)
        self.shelves: dict[tuple[int, str], bool] = {}
        self.rates = Rates(shop, now)
        self.allowed_loss = Fraction(shop.loss_guard_percent)
        self.accounts: dict[int, tuple[Finding, ...]] = {}

    @cached_property
    def rules(self) -> list[MarginRule]:
        """All margin rules of the shop."""
        return list(MarginRule.objects.filter(tenant_id=self.shop.pk))

    def rule(self, package: Package, currency: str) -> MarginRule | None:
        """The margin rule for sales of the package in this currency."""
        return pick_rule([rule for rule in self.rules if rule.currency == currency], package)

    def account_findings(self, integration: Integration) -> tuple[Finding, ...]:
        """What is missing at a provider account; its secrets are opened once for all packages."""
        if integration.pk not in self.accounts:
            self.accounts[integration.pk] = tuple(_account_findings(integration))
        return self.accounts[integration.pk]

    def is_empty(self, integration: Integration, shelf: str) -> bool:
        """Whether nothing can be sold from a shelf of our own stock; counted once for all packages."""
        key = (integration.pk, shelf)
        if key not in self.shelves:
            self.shelves[key] = stock.count_on_shelf(*key, self.today) == 0
        return self.shelves[key]


@dataclass(frozen=True, slots=True)
class Sale:
    """Everything that selling one package needs, as it is at one moment."""

    package: Package
    terms: Terms
    routes: list[Route]
    mappings: dict[int, PackageMapping]
    items: dict[int, CatalogItem]
    prices: list[PackagePrice]

    def ways(self, currency: str, groups: Sequence[int | None] = EVERYBODY, quantity: int | None = None) -> list[Way]:
        """The enabled routes of these groups as they are asked, for sales of a quantity (or any) in this currency.

        Where routes are shared by weight, one is drawn for each order: here they stand by position.
        """
        ways = [self._way(route, currency, quantity) for route in nearest_routes(self.routes, groups)]
        if self.package.strategy != Package.Strategy.CHEAPEST:
            return ways
        by_route = {way.route: way for way in ways}
        costs = {way.route.pk: way.cost.micros if way.cost else None for way in ways}
        return [by_route[route] for route in in_order(self.package.strategy, list(by_route), costs, (0, 0))]

    @property
    def groups(self) -> list[int | None]:
        """The price groups that have a route of their own, None for everybody first."""
        found = {route.price_group_id for route in self.routes}
        return sorted(found, key=lambda group: group or 0)

    def _way(self, route: Route, currency: str, quantity: int | None) -> Way:
        integration = route.integration
        if integration is None:
            return Way(route, (), None)
        mapping = self.mappings.get(integration.pk)
        found = [*self.terms.account_findings(integration), *_mapping_findings(integration, mapping, self.terms.now)]
        if mapping is not None:
            found += self._misfits(integration, mapping, quantity)
        if integration.kind == stock.KIND and mapping and self.terms.is_empty(integration, mapping.oyun):
            found.append(finding(Missing.SHELF, account=integration.name, shelf=mapping.oyun))
        if integration.currency not in DECIMALS:
            return Way(route, tuple(found), None)
        try:
            cost = unit_cost(self.terms.rates, integration, mapping, currency)
        except CannotConvert as error:
            return Way(route, (*found, error.finding), None)
        return Way(route, tuple(found), cost)

    def _misfits(self, integration: Integration, mapping: PackageMapping, quantity: int | None) -> Iterator[Finding]:
        """What of the provider's own rules no buyer of the package, or of this quantity, can keep."""
        item, product = self.items.get(mapping.pk), mapping.product()
        wanted = self.package.quantities() if quantity is None else [quantity]
        if not rule_of(integration.caps(), item, product).can_make_any(wanted):
            yield finding(Missing.QUANTITY, account=integration.name)
        if item is None or not item.fields:
            return
        asked = {known.name: known.name for known in self.package.product.fields.all()}
        for name in lacking_fields(item.fields, asked, product):
            yield finding(Missing.FIELD, account=integration.name, name=name)

    def is_loss(self, unit_price_micros: int, way: Way) -> bool:
        """Whether buying this way costs more than the price and the shop's allowed loss."""
        return way.cost is not None and is_loss(unit_price_micros, way.cost.micros, self.terms.allowed_loss)


class CannotConvert(Exception):
    """A cost cannot be told in the currency of the sale; `finding` says why."""

    def __init__(self, found: Finding) -> None:
        super().__init__(str(found.code))
        self.finding = found


def unit_cost(rates: Rates, integration: Integration, mapping: PackageMapping | None, currency: str) -> UnitCost | None:
    """The mapping's cost in the currency of the sale; None where it is not known. Raises `CannotConvert`."""
    pair = {"source": integration.currency, "target": currency, "account": integration.name}
    try:
        conversion = rates.find(integration.currency, currency)
        if mapping is None or mapping.cost_micros is None:
            return None
        return UnitCost(conversion.convert_up(mapping.cost_micros), conversion)
    except StaleRate as error:
        raise CannotConvert(finding(Missing.RATE_OLD, **pair)) from error
    except (NoRate, BadAmount) as error:
        raise CannotConvert(finding(Missing.RATE, **pair)) from error


def _account_findings(integration: Integration) -> Iterator[Finding]:
    if not integration.is_enabled:
        yield finding(Missing.ACCOUNT_OFF, account=integration.name)
    if integration.currency not in DECIMALS:
        yield finding(Missing.CURRENCY, account=integration.name, currency=integration.currency)
    try:
        lacking = missing_secrets(load_adapter(integration.kind), integration.account())
    except (CannotOpen, ImproperlyConfigured):
        yield finding(Missing.SECRETS_CLOSED, account=integration.name)
        return
    for name in lacking:
        yield finding(Missing.SECRET, account=integration.name, name=name)


def _mapping_findings(integration: Integration, mapping: PackageMapping | None, now: datetime) -> Iterator[Finding]:
    if mapping is None:
        yield finding(Missing.MAPPING, account=integration.name)
        return
    for name in missing_ids(load_adapter(integration.kind), mapping.product()):
        yield finding(Missing.MAPPING_IDS, account=integration.name, name=name)
    if mapping.is_refused(now):
        yield finding(Missing.MAPPING_REFUSED, account=integration.name)
    if mapping.cost_micros is None:
        yield finding(Missing.COST, account=integration.name)


def look_at(packages: Sequence[Package], now: datetime) -> list[Sale]:
    """What selling each of these packages needs: four queries for all of them. Their `tenant` should be loaded."""
    routes = _by_package(Route.objects.select_related("integration").filter(package__in=packages, is_enabled=True))
    mappings = _by_package(PackageMapping.objects.select_related("integration").filter(package__in=packages))
    items = load_items((mapping.integration, mapping) for found in mappings.values() for mapping in found)
    prices = _by_package(valid_prices(packages, now))
    terms = {package.tenant_id: Terms(package.tenant, now) for package in packages}
    return [
        Sale(
            package=package,
            terms=terms[package.tenant_id],
            routes=routes[package.pk],
            mappings={mapping.integration_id: mapping for mapping in mappings[package.pk]},
            items=items,
            prices=prices[package.pk],
        )
        for package in packages
    ]


def _by_package(rows: Iterable[Any]) -> defaultdict[int, list[Any]]:
    found: defaultdict[int, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.package_id].append(row)
    return found


@dataclass(frozen=True, slots=True)
class Offer:
    """What one unit costs the customer, the way it would be bought, and the cost there if it is known."""

    unit_price_micros: int
    currency: str
    way: Way


class CannotSell(Exception):
    """The package cannot be sold to this customer now; `findings` say why."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("; ".join(map(str, findings)))
        self.findings = tuple(findings)


class SoldAtLoss(CannotSell):
    """Every way to buy it costs more than its price and the shop's allowed loss."""


def make_offer(
    sale: Sale, currency: str, groups: Sequence[int | None], quantity: int, promised_micros: int | None = None
) -> Offer:
    """The unit price for a customer of these groups, or the one promised, and the way it would be bought.

    Raises `CannotSell` when no way is open or no price is known, `SoldAtLoss` when every open way costs too much.
    """
    ways = sale.ways(currency, groups, quantity)
    open_ways = [way for way in ways if way.is_open]
    if not open_ways:
        blocking = [found for way in ways for found in way.findings if found.is_blocking]
        raise CannotSell(blocking or [finding(Missing.ROUTE)])
    price = promised_micros or unit_price(sale, currency, groups, quantity, open_ways)
    if price is None:
        costs = [found for way in open_ways for found in way.findings]
        raise CannotSell([finding(Missing.PRICE, currency=currency), *costs])
    way = next((way for way in open_ways if not sale.is_loss(price, way)), None)
    if way is None:
        raise SoldAtLoss([_loss(Missing.LOSS, way, currency) for way in open_ways])
    return Offer(price, currency, way)


def unit_price(
    sale: Sale, currency: str, groups: Sequence[int | None], quantity: int, open_ways: Sequence[Way]
) -> int | None:
    """The price that is set, else the cost of the first way that has one, with the margin of the rule."""
    fixed = pick_price(sale.prices, groups, currency, quantity)
    if fixed is not None:
        return fixed.unit_price_micros
    cost = next((way.cost for way in open_ways if way.cost is not None), None)
    rule = sale.terms.rule(sale.package, currency) if cost is not None else None
    made = price_by_rule(rule, cost.micros) if cost is not None and rule is not None else 0
    return made if 0 < made <= MAX_MICROS else None


def missing_for_sale(sale: Sale) -> list[Finding]:
    """What keeps the package from being sold, and what is worth mending, in every currency that it has a price for."""
    if not sale.routes:
        return [finding(Missing.ROUTE)]
    found = [] if None in sale.groups else [finding(Missing.ROUTE_FOR_ALL)]
    for currency, group in itertools.product(_currencies(sale), sale.groups):
        ways = sale.ways(currency, [group])
        open_ways = [way for way in ways if way.is_open]
        found += [one for way in open_ways or ways for one in way.findings]
        found += _price_findings(sale, currency, open_ways)
    return list(dict.fromkeys(found))


def can_be_sold(findings: Iterable[Finding]) -> bool:
    """Whether what is missing leaves the package on sale."""
    return not any(found.is_blocking for found in findings)


def _currencies(sale: Sale) -> list[str]:
    """Those of the prices and, where a price can be made from the cost, of the margin rules; else the shop's own."""
    by_price = {price.currency for price in sale.prices}
    ruled = {rule.currency for rule in sale.terms.rules}
    by_rule = {currency for currency in ruled if sale.terms.rule(sale.package, currency)}
    return sorted(by_price | by_rule) or [sale.terms.shop.currency]


def _price_findings(sale: Sale, currency: str, open_ways: Sequence[Way]) -> list[Finding]:
    """There is no price, or the cost of every open way is above all prices, or above some."""
    amounts = {price.unit_price_micros for price in sale.prices if price.currency == currency}
    if not amounts:
        amounts = {made for made in [unit_price(sale, currency, [], 1, open_ways)] if made is not None}
    if not amounts:
        return [finding(Missing.PRICE, currency=currency)]
    for code, amount in ((Missing.LOSS, max(amounts)), (Missing.SOME_LOSS, min(amounts))):
        if open_ways and all(sale.is_loss(amount, way) for way in open_ways):
            return [_loss(code, way, currency) for way in open_ways]
    return []


def _loss(code: Missing, way: Way, currency: str) -> Finding:
    return finding(code, account=str(way.route.integration), currency=currency)
