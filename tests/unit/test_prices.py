"""Prices by margin and conversions, exactly: never below the rule, never a micro-unit more than needed."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.catalog.models import FxRate, MarginRule, PackagePrice
from apps.catalog.prices import is_loss, pick_price, price_by_rule
from apps.catalog.rates import Conversion, NoRate, frozen
from apps.common.money import BadAmount

costs = st.integers(min_value=1, max_value=10**13)
steps = st.integers(min_value=1, max_value=10**8)
percents = st.decimals(min_value=0, max_value=999, places=4)
rates = st.decimals(min_value=Decimal("0.00000001"), max_value=Decimal("9999999.99999999"), places=8)


def percent(value: str | Decimal, step_micros: int = 10_000) -> MarginRule:
    return MarginRule(kind="percent", percent=Decimal(value), step_micros=step_micros)


def amount(micros: int, step_micros: int = 10_000) -> MarginRule:
    return MarginRule(kind="amount", amount_micros=micros, step_micros=step_micros)


def rate(value: str | Decimal, one: str = "USD", other: str = "TRY") -> FxRate:
    return FxRate(from_currency=one, to_currency=other, rate=Decimal(value))


class TestAMarginRule:
    @pytest.mark.parametrize(
        ("rule", "cost", "price"),
        [
            (percent("10"), 31_500_000, 34_650_000),
            (percent("10"), 31_500_001, 34_660_000),
            (percent("7.5", 250_000), 31_500_000, 34_000_000),
            (percent("0"), 31_500_000, 31_500_000),
            (amount(2_000_000), 31_500_000, 33_500_000),
            (amount(2_000_000, 5_000_000), 31_500_000, 35_000_000),
            (percent("33.3333", 1), 3, 4),
        ],
    )
    def test_makes_this_price_of_this_cost(self, rule: MarginRule, cost: int, price: int) -> None:
        assert price_by_rule(rule, cost) == price

    @given(cost=costs, share=percents, step=steps)
    def test_by_percent_is_never_below_the_rule_and_less_than_a_step_above(
        self, cost: int, share: Decimal, step: int
    ) -> None:
        price = price_by_rule(percent(share, step), cost)
        exact = cost + Fraction(cost) * Fraction(share) / 100
        assert price % step == 0
        assert 0 <= price - exact < step

    @given(cost=costs, extra=st.integers(min_value=0, max_value=10**12), step=steps)
    def test_by_amount_is_never_below_the_rule_and_less_than_a_step_above(
        self, cost: int, extra: int, step: int
    ) -> None:
        price = price_by_rule(amount(extra, step), cost)
        assert price % step == 0
        assert 0 <= price - (cost + extra) < step


class TestAConversion:
    def test_takes_a_rate_as_it_stands_or_turned_round(self) -> None:
        assert Conversion("USD", "TRY", (rate("41.25"),)).convert_up(2_000_000) == 82_500_000
        assert Conversion("TRY", "USD", (rate("41.25"),)).convert_up(82_500_000) == 2_000_000
        assert Conversion("TRY", "USD", (rate("3"),)).convert_up(1_000_000) == 333_334

    def test_goes_by_way_of_a_third_currency_and_rounds_once(self) -> None:
        way = (rate("3", "EUR", "TRY"), rate("7", "USD", "TRY"))
        assert Conversion("EUR", "USD", way).convert_up(1_000_000) == 428_572  # 3/7, not 7 x 1/3 rounded twice
        assert Conversion("EUR", "USD", way).convert_up(7_000_000) == 3_000_000

    def test_of_one_currency_is_the_amount_itself(self) -> None:
        assert Conversion("TRY", "TRY").convert_up(31_500_001) == 31_500_001

    @given(micros=costs, value=rates)
    def test_is_never_below_the_exact_amount_and_less_than_a_micro_unit_above(
        self, micros: int, value: Decimal
    ) -> None:
        exact = Fraction(micros) / Fraction(value)
        try:
            converted = Conversion("TRY", "USD", (rate(value),)).convert_up(micros)
        except BadAmount:
            assert exact > 9 * 10**18
        else:
            assert 0 <= converted - exact < 1

    @given(micros=costs, value=rates)
    def test_there_and_back_never_loses(self, micros: int, value: Decimal) -> None:
        there, back = Conversion("USD", "TRY", (rate(value),)), Conversion("TRY", "USD", (rate(value),))
        try:
            assert back.convert_up(there.convert_up(micros)) >= micros
        except BadAmount:
            assert micros * Fraction(value) > 9 * 10**18

    def test_without_a_rate_is_refused_and_never_one_to_one(self) -> None:
        with pytest.raises(NoRate, match="no exchange rate from USD to TRY"):
            frozen("USD", "TRY", None, None).convert_up(1)

    def test_by_a_rate_of_other_currencies_is_refused(self) -> None:
        with pytest.raises(NoRate):
            frozen("USD", "EUR", rate("41", "USD", "TRY")).convert_up(1)
        with pytest.raises(NoRate):
            frozen("GBP", "TRY", rate("41", "USD", "TRY")).convert_up(1)


class TestTheLossGuard:
    @pytest.mark.parametrize(
        ("allowed", "cost", "loses"),
        [
            ("0", 35_000_000, False),
            ("0", 35_000_001, True),
            ("2.5", 35_875_000, False),
            ("2.5", 35_875_001, True),
        ],
    )
    def test_allows_a_loss_up_to_its_percent_of_the_price(self, allowed: str, cost: int, loses: bool) -> None:
        assert is_loss(35_000_000, cost, Fraction(Decimal(allowed))) is loses


class TestThePriceOfABuyer:
    PRICES = (
        PackagePrice(price_group_id=None, currency="TRY", from_quantity=1, unit_price_micros=100),
        PackagePrice(price_group_id=None, currency="TRY", from_quantity=10, unit_price_micros=90),
        PackagePrice(price_group_id=1, currency="TRY", from_quantity=5, unit_price_micros=80),
        PackagePrice(price_group_id=2, currency="USD", from_quantity=1, unit_price_micros=3),
    )

    @pytest.mark.parametrize(
        ("groups", "quantity", "price"),
        [
            ([None], 1, 100),
            ([None], 9, 100),
            ([None], 10, 90),
            ([1, None], 4, 100),
            ([1, None], 5, 80),
            ([1, None], 10, 80),
            ([2, 1, None], 5, 80),
            ([2, None], 1, 100),
        ],
    )
    def test_is_of_the_nearest_group_and_its_highest_tier(
        self, groups: list[int | None], quantity: int, price: int
    ) -> None:
        found = pick_price(self.PRICES, groups, "TRY", quantity)
        assert found is not None
        assert found.unit_price_micros == price

    def test_is_none_in_another_currency(self) -> None:
        assert pick_price(self.PRICES, [None], "EUR", 1) is None
