"""Whether a provider's item takes what a buyer wants: how many units at once, and every field that it demands. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from apps.catalog.models import MAX_QUANTITY
from apps.providers.catalogue_models import CatalogItem
from apps.providers.contract import Capabilities


@dataclass(frozen=True, slots=True)
class QuantityRule:
    """How many units one purchase may have: one of `values`, or without them from `least` to `most`."""

    least: int = 1
    most: int = MAX_QUANTITY
    values: tuple[int, ...] | None = None

    def allows(self, units: int) -> bool:
        """Whether one purchase may have so many."""
        return self.least <= units <= self.most if self.values is None else units in self.values

    def can_make(self, units: int) -> bool:
        """Whether so many can be bought in any number of purchases."""
        if units == 0:
            return True
        if self.values is None:
            return self.most >= 1 and -(-units // self.most) * self.least <= units
        return self._sums(units)[units]

    def can_make_any(self, quantities: Sequence[int]) -> bool:
        """Whether one of these can be bought, in any number of purchases."""
        if self.values is None:
            return any(self.can_make(units) for units in quantities)
        sums = self._sums(max(quantities, default=0))
        return any(sums[units] for units in quantities)

    def most_of(self, free: int) -> int:
        """The largest purchase from so many: one that leaves nothing unbuyable where there is one; 0 where none fits.

        `1` or `5` at once: 7 are 5 + 1 + 1. `3` or `5` at once: 6 are 3 + 3.
        """
        sizes = [units for units in range(free, 0, -1) if self.allows(units)]
        sums = None if self.values is None else self._sums(free)
        clean = (units for units in sizes if (sums[free - units] if sums else self.can_make(free - units)))
        return next(clean, sizes[0] if sizes else 0)

    def _sums(self, units: int) -> list[bool]:
        """For every number up to this one, whether the values add up to it."""
        found = [True] + [False] * units
        for total in range(1, units + 1):
            found[total] = any(0 < value <= total and found[total - value] for value in self.values or ())
        return found


def rule_of(caps: Capabilities, item: CatalogItem | None, product: Mapping[str, str]) -> QuantityRule:
    """The rule in our units: the mapping's `quantity` is how many of theirs one of ours is."""
    if caps.quantity == "one" or (item is not None and item.quantity_kind == "one"):
        return QuantityRule(1, 1)
    each = int(product["quantity"]) if product.get("quantity", "").isdecimal() else 1
    if item is None or item.quantity_kind == "any" or each < 1:
        return QuantityRule()
    if item.quantity_kind == "list":
        values = [value for value in item.quantity_values if isinstance(value, int)]
        return QuantityRule(values=tuple(value // each for value in values if value % each == 0))
    return QuantityRule(-(-item.quantity_min // each), item.quantity_max // each)


def lacking_fields(demanded: Iterable[str], given: Mapping[str, str], product: Mapping[str, str]) -> list[str]:
    """What the provider demands and nobody gives: neither the buyer by this name, nor the mapping.

    Providers name the recipient as they like, so a value that they do not demand by its name stands for one they do.
    """
    names = list(demanded)
    unnamed = [name for name in names if not given.get(name) and not product.get(name)]
    spare = [name for name, value in given.items() if value and name not in names]
    return unnamed[len(spare) :]
