"""Money is whole micro-units: exact both ways, or refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.common.money import MAX_MICROS, BadAmount, Money, format_amount, split_evenly, to_decimal, to_micros

micros = st.integers(-MAX_MICROS, MAX_MICROS)


class TestToMicros:
    @pytest.mark.parametrize(
        ("amount", "expected"),
        [
            ("25.87", 25_870_000),
            ("0.000001", 1),
            ("-0.5", -500_000),
            ("1E+2", 100_000_000),
            (Decimal("31.50"), 31_500_000),
            (3, 3_000_000),
            ("0", 0),
        ],
    )
    def test_is_exact(self, amount: Decimal | str | int, expected: int) -> None:
        assert to_micros(amount) == expected

    @pytest.mark.parametrize(
        "amount", ["", "abc", "1,50", "0.0000001", "NaN", "Infinity", "-Infinity", "9000000000001", "1.234,56", "1e400"]
    )
    def test_refuses_what_cannot_be_stored(self, amount: str) -> None:
        with pytest.raises(BadAmount):
            to_micros(amount)

    def test_refuses_a_float_even_a_round_one(self) -> None:
        with pytest.raises(BadAmount, match="not a binary float"):
            to_micros(1.0)  # type: ignore[arg-type]

    def test_names_the_amount_but_not_all_of_it(self) -> None:
        with pytest.raises(BadAmount) as caught:
            to_micros("x" * 500)
        assert str(caught.value) == f"'{'x' * 38 + 'xx'}' is not a decimal number such as 12.50"

    @given(micros)
    def test_is_the_way_back_from_a_decimal(self, amount: int) -> None:
        assert to_micros(to_decimal(amount)) == amount

    @given(micros)
    def test_is_the_way_back_from_text(self, amount: int) -> None:
        assert to_micros(format_amount(amount)) == amount


class TestFormatAmount:
    @pytest.mark.parametrize(
        ("amount", "text"),
        [(25_870_000, "25.87"), (1_500, "0.0015"), (-500_000, "-0.50"), (0, "0.00"), (1_000_000_000_000, "1000000.00")],
    )
    def test_has_two_decimals_or_more_and_no_grouping(self, amount: int, text: str) -> None:
        assert format_amount(amount) == text

    def test_is_followed_by_the_currency(self) -> None:
        assert str(Money(35_000_000, "TRY")) == "35.00 TRY"


class TestSplitEvenly:
    @given(st.integers(0, MAX_MICROS), st.integers(1, 1000))
    def test_loses_nothing_and_differs_by_one_at_most(self, total: int, parts: int) -> None:
        amounts = split_evenly(total, parts)
        assert len(amounts) == parts
        assert sum(amounts) == total
        assert max(amounts) - min(amounts) in (0, 1)

    def test_gives_the_rest_to_the_first(self) -> None:
        assert split_evenly(100, 3) == [34, 33, 33]

    def test_into_nothing_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least 1"):
            split_evenly(100, 0)
