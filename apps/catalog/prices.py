"""What one unit costs a customer: the price that is set for their group, else the cost with the shop's margin."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from fractions import Fraction

from django.db.models import Q

from apps.accounts.models import Customer, lineage, parents_of
from apps.catalog.models import MarginRule, Package, PackagePrice


def valid_prices(packages: Iterable[Package], now: datetime) -> list[PackagePrice]:
    """Every price of these packages that counts at this moment."""
    begun = Q(valid_from__isnull=True) | Q(valid_from__lte=now)
    not_over = Q(valid_until__isnull=True) | Q(valid_until__gt=now)
    return list(PackagePrice.objects.select_related("price_group").filter(begun, not_over, package__in=packages))


def groups_of(customer: Customer) -> list[int | None]:
    """Whose prices count for a customer, nearest first: their group, its parents, everybody (None)."""
    if customer.price_group_id is None:
        return [None]
    return [*lineage(customer.price_group_id, parents_of(customer.tenant_id)), None]


def pick_price(
    prices: Sequence[PackagePrice], groups: Sequence[int | None], currency: str, quantity: int
) -> PackagePrice | None:
    """Of valid prices, that of the nearest group that has one; within it the highest tier that the quantity reaches."""
    for group in groups:
        tiers = [
            price
            for price in prices
            if price.price_group_id == group and price.currency == currency and price.from_quantity <= quantity
        ]
        if tiers:
            return max(tiers, key=lambda price: price.from_quantity)
    return None


def pick_rule(rules: Iterable[MarginRule], package: Package) -> MarginRule | None:
    """Of the rules of one shop and currency, the nearest to the package."""
    by_scope = {(rule.package_id, rule.product_id): rule for rule in rules}
    scopes = ((package.pk, None), (None, package.product_id), (None, None))
    return next((by_scope[scope] for scope in scopes if scope in by_scope), None)


def price_by_rule(rule: MarginRule, unit_cost_micros: int) -> int:
    """The cost with its margin, rounded up to the rule's step: never below what the rule says. Both in its currency."""
    if rule.kind == MarginRule.Kind.PERCENT:
        exact = unit_cost_micros * (1 + Fraction(rule.percent) / 100)
    else:
        exact = Fraction(unit_cost_micros + rule.amount_micros)
    return math.ceil(exact / rule.step_micros) * rule.step_micros


def is_loss(unit_price_micros: int, unit_cost_micros: int, allowed_percent: Fraction) -> bool:
    """Whether the cost is above the price by more than the shop allows."""
    return unit_cost_micros > unit_price_micros * (1 + allowed_percent / 100)
