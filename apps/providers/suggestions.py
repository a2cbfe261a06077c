"""Which of a provider's items a package may be: exact numbers first, then names, then prices. A person decides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from apps.catalog.models import Package
from apps.common.money import Money
from apps.common.natural import fold, numbers_in
from apps.providers.catalogue_models import CatalogItem
from apps.providers.listing import mappings_by_key
from apps.providers.models import Integration, PackageMapping

SHOWN = 25
PRICE_WEIGHS = 50
"""Percent of likeness that an item loses for a cost that does not fit the price."""
CHEAPEST, DEAREST = 20, 100
"""A cost is plausible between this share and that share of the price, in percent."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An item with what speaks for it, and what a person should look at."""

    item: CatalogItem
    has_number: bool
    likeness: int
    """Of the names, in percent."""
    is_plausible: bool | None
    """Whether the cost fits the price; None where they cannot be compared."""
    is_taken_by: str = ""

    @property
    def rank(self) -> tuple[bool, int, str]:
        """Numbers count most: 60 is not 660, however alike the names are; then names, less for an odd price."""
        penalty = PRICE_WEIGHS if self.is_plausible is False else 0
        return (not self.has_number, penalty - self.likeness, self.item.sort_key)


def suggest(package: Package, integration: Integration, price: Money | None, term: str = "") -> list[Suggestion]:
    """The account's items in order of how well they fit the package; with a term only those whose name holds it."""
    items = CatalogItem.objects.filter(integration=integration, is_listed=True)
    wanted = fold(term)
    found = [_weigh(package, item, price) for item in items if wanted in fold(f"{item.group} {item.name}")]
    best = sorted(found, key=lambda suggestion: suggestion.rank)[:SHOWN]
    return _with_takers(best, package, integration)


def _weigh(package: Package, item: CatalogItem, price: Money | None) -> Suggestion:
    name = f"{package.product.name} {package.name}"
    return Suggestion(
        item=item,
        has_number=has_same_numbers(package, item),
        likeness=likeness(name, f"{item.group} {item.name}"),
        is_plausible=is_plausible(item.cost(), price),
    )


def has_same_numbers(package: Package, item: CatalogItem) -> bool:
    """Whether every number of the package's name is a number of the item's: whole numbers, never parts of one."""
    wanted = numbers_in(package.name) or numbers_in(package.product.name)
    there = numbers_in(item.name) or numbers_in(" ".join(item.ids.values()))
    return bool(wanted) and wanted <= there


def likeness(one: str, other: str) -> int:
    """How alike two names are in percent, by their words: the order of words and repeated ones do not count."""
    words, others = sorted(set(fold(one).split())), sorted(set(fold(other).split()))
    return round(SequenceMatcher(None, " ".join(words), " ".join(others)).ratio() * 100)


def is_plausible(cost: Money | None, price: Money | None) -> bool | None:
    """Whether a cost may belong to a price in the same currency: not above it, and not absurdly below."""
    if cost is None or price is None or cost.currency != price.currency:
        return None
    return price.micros * CHEAPEST <= cost.micros * 100 <= price.micros * DEAREST


def _with_takers(found: Iterable[Suggestion], package: Package, integration: Integration) -> list[Suggestion]:
    """Items that another package is mapped to already say so."""
    mappings = mappings_by_key(integration)
    return [replace(one, is_taken_by=_taker(mappings.get(one.item.key, []), package)) for one in found]


def _taker(mappings: list[PackageMapping], package: Package) -> str:
    return next((str(mapping.package) for mapping in mappings if mapping.package_id != package.pk), "")
