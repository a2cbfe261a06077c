"""Currencies are ISO 4217's, and an amount that people type is read exactly or refused by the name of its field."""

from __future__ import annotations

from decimal import Decimal

import pytest

from apps.common.currencies import DECIMALS, UnknownCurrency, check_currency
from apps.common.money import BadAmount, Money, read_amount, read_payment


class TestTheTable:
    def test_has_three_capitals_each_and_decimals_that_a_micro_unit_can_hold(self) -> None:
        assert all(len(code) == 3 and code.isascii() and code.isupper() for code in DECIMALS)
        assert set(DECIMALS.values()) == {0, 2, 3}
        assert len(DECIMALS) == 157

    @pytest.mark.parametrize(
        ("code", "decimals"), [("TRY", 2), ("USD", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3), ("SYP", 2), ("SAR", 2)]
    )
    def test_knows_the_decimals(self, code: str, decimals: int) -> None:
        assert DECIMALS[code] == decimals

    @pytest.mark.parametrize("code", ["TL", "try", "USDT", "XXX", "XAU", "", " TRY", None, 7, ["TRY"]])
    def test_refuses_anything_else_by_the_name_of_the_field(self, code: object) -> None:
        with pytest.raises(UnknownCurrency, match=r"^paid_in: "):
            check_currency(code, "paid_in")


class TestAPayment:
    @pytest.mark.parametrize(
        ("amount", "currency", "micros"),
        [
            ("12.50", "TRY", 12_500_000),
            ("12.500000", "TRY", 12_500_000),
            (Decimal("0.001"), "KWD", 1_000),
            (5, "JPY", 5_000_000),
        ],
    )
    def test_is_exact(self, amount: Decimal | str | int, currency: str, micros: int) -> None:
        assert read_payment(amount, currency) == Money(micros, currency)

    @pytest.mark.parametrize(
        ("amount", "currency", "told"),
        [
            ("0.001", "TRY", "paid: 0.001 has too many decimals; TRY has 2"),
            ("0.5", "JPY", "paid: 0.5 has too many decimals; JPY has 0"),
            ("0", "TRY", "paid: 0 is not above zero"),
            ("-3", "TRY", "paid: -3 is not above zero"),
            ("ten", "TRY", "paid: 'ten' is not a decimal number such as 12.50"),
            ("0.0000001", "TRY", "paid: '0.0000001' has more than 6 decimals or is not finite"),
            (0.5, "TRY", "paid: an amount must be a decimal text such as 12.50, not a binary float"),
        ],
    )
    def test_that_is_wrong_names_the_field(self, amount: str, currency: str, told: str) -> None:
        with pytest.raises(BadAmount) as refused:
            read_payment(amount, currency, "paid")
        assert str(refused.value) == told

    def test_in_an_unknown_currency_names_that_field(self) -> None:
        with pytest.raises(UnknownCurrency, match=r"^currency: 'TL' is not a currency"):
            read_payment("1", "TL")


def test_an_amount_may_be_as_fine_as_a_micro_unit() -> None:
    assert read_amount("0.1001", "TRY") == Money(100_100, "TRY")
