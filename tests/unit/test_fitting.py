"""How much one purchase takes, and what a provider demands that nobody gives."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apps.providers.adapters.stock import CAPS
from apps.providers.catalogue_models import CatalogItem
from apps.providers.fitting import QuantityRule, lacking_fields, rule_of

ONE = replace(CAPS, quantity="one")
ANY = replace(CAPS, quantity="any")


def split(rule: QuantityRule, units: int) -> list[int]:
    """The purchases that so many units become; the last one is 0 where a rest cannot be bought."""
    found: list[int] = []
    while units and (not found or found[-1]):
        found.append(rule.most_of(units))
        units -= found[-1]
    return found


class TestASplit:
    @pytest.mark.parametrize(
        ("rule", "units", "purchases"),
        [
            (QuantityRule(1, 1), 3, [1, 1, 1]),
            (QuantityRule(), 7, [7]),
            (QuantityRule(values=(1, 5)), 7, [5, 1, 1]),
            (QuantityRule(values=(5, 3)), 6, [3, 3]),
            (QuantityRule(values=(5, 3)), 7, [5, 0]),
            (QuantityRule(values=(5,)), 3, [0]),
            (QuantityRule(values=()), 3, [0]),
            (QuantityRule(2, 3), 7, [3, 2, 2]),
            (QuantityRule(10, 100), 205, [100, 95, 10]),
            (QuantityRule(10, 100), 9, [0]),
            (QuantityRule(3, 2), 6, [0]),
        ],
    )
    def test_takes_the_most_that_leaves_nothing_unbuyable(
        self, rule: QuantityRule, units: int, purchases: list[int]
    ) -> None:
        assert split(rule, units) == purchases

    def test_knows_what_can_be_bought_at_all(self) -> None:
        rule = QuantityRule(values=(5, 3))
        assert [units for units in range(10) if rule.can_make(units)] == [0, 3, 5, 6, 8, 9]
        assert [units for units in range(10) if QuantityRule(4, 5).can_make(units)] == [0, 4, 5, 8, 9]
        assert rule.can_make_any([1, 2, 8])
        assert not rule.can_make_any([1, 2, 4])


class TestARule:
    def item(self, kind: str, least: int = 1, most: int = 1, values: tuple[int, ...] = ()) -> CatalogItem:
        return CatalogItem(quantity_kind=kind, quantity_min=least, quantity_max=most, quantity_values=list(values))

    def test_of_a_protocol_without_a_quantity_is_one(self) -> None:
        assert rule_of(ONE, self.item("range", 1, 50), {}) == QuantityRule(1, 1)

    def test_without_an_item_is_any(self) -> None:
        assert rule_of(ANY, None, {}) == QuantityRule()

    def test_is_that_of_the_item(self) -> None:
        assert rule_of(ANY, self.item("range", 2, 50), {}) == QuantityRule(2, 50)
        assert rule_of(ANY, self.item("list", values=(1, 5)), {}) == QuantityRule(values=(1, 5))
        assert rule_of(ANY, self.item("one"), {}) == QuantityRule(1, 1)

    def test_is_in_our_units(self) -> None:
        """One of ours is a hundred of theirs."""
        product = {"quantity": "100"}
        assert rule_of(ANY, self.item("range", 50, 1050), product) == QuantityRule(1, 10)
        assert rule_of(ANY, self.item("list", values=(100, 150, 500)), product) == QuantityRule(values=(1, 5))


class TestTheFields:
    @pytest.mark.parametrize(
        ("given", "product", "lacking"),
        [
            ({"player": "P1", "server": "EU"}, {}, []),
            ({"player": "P1"}, {}, ["server"]),
            ({"player": "P1", "server": ""}, {}, ["server"]),
            ({"player": "P1"}, {"server": "EU"}, []),
            ({"user_identifier": "P1", "server": "EU"}, {}, []),
            ({"user_identifier": "P1", "extra_field": ""}, {}, ["server"]),
            ({"user_identifier": "P1", "extra_field": "EU"}, {}, []),
        ],
    )
    def test_are_given_by_name_or_by_place(
        self, given: dict[str, str], product: dict[str, str], lacking: list[str]
    ) -> None:
        assert lacking_fields(["player", "server"], given, product) == lacking
