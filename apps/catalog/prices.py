"""The price a customer pays, or the reason why there is none."""

from __future__ import annotations

from apps.accounts.models import Customer
from apps.catalog.models import Package, PackagePrice


class NoPrice(Exception):
    """No price for this customer in the wallet's currency; a missing price blocks, it is never zero."""


def load_unit_price(package: Package, customer: Customer) -> int:
    """Micro-units for one unit: the group's own price, else the general one. Raises `NoPrice`."""
    prices = PackagePrice.objects.filter(package=package, currency=customer.currency)
    by_group = {price.price_group_id: price.unit_price_micros for price in prices}
    found = by_group.get(customer.price_group_id) or by_group.get(None)
    if found is None:
        raise NoPrice(f"package {package.code} has no price in {customer.currency}")
    return found
