"""Money as whole micro-units (a millionth of the currency's unit) with an ISO code; Decimal only at the edges."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from apps.common.currencies import DECIMALS, check_currency

MICRO = 1_000_000
MAX_MICROS = 9_000_000_000_000_000_000
"""Nine trillion units: what a signed 64-bit column holds with room to spare."""


class BadAmount(ValueError):
    """An amount that cannot be stored exactly: not a plain decimal, more than 6 decimals, or out of range."""


def to_micros(amount: Decimal | str | int) -> int:
    """`amount` in micro-units, exactly. Raises `BadAmount`; floats are refused because they are not what was meant."""
    if isinstance(amount, float):
        raise BadAmount("an amount must be a decimal text such as 12.50, not a binary float")
    try:
        scaled = Decimal(amount) * MICRO
    except (InvalidOperation, ValueError, TypeError) as error:
        raise BadAmount(f"{str(amount)[:40]!r} is not a decimal number such as 12.50") from error
    if not scaled.is_finite() or scaled != scaled.to_integral_value():
        raise BadAmount(f"{str(amount)[:40]!r} has more than 6 decimals or is not finite")
    if abs(scaled) > MAX_MICROS:
        raise BadAmount(f"{str(amount)[:40]!r} is too large")
    return int(scaled)


def read_payment(amount: Decimal | str | int, currency: str, field: str = "amount") -> Money:
    """An amount above zero that can be paid in `currency`: no finer than its smallest coin.

    Raises `BadAmount` or `UnknownCurrency`; the text begins with the name of the field.
    """
    money = read_amount(amount, currency, field)
    if money.micros % 10 ** (6 - DECIMALS[currency]):
        raise BadAmount(f"{field}: {str(amount)[:40]} has too many decimals; {currency} has {DECIMALS[currency]}")
    return money


def read_amount(amount: Decimal | str | int, currency: str, field: str = "amount") -> Money:
    """An amount above zero, exact to the micro-unit. Raises like `read_payment`."""
    check_currency(currency)
    try:
        micros = to_micros(amount)
    except BadAmount as error:
        raise BadAmount(f"{field}: {error}") from error
    if micros <= 0:
        raise BadAmount(f"{field}: {str(amount)[:40]} is not above zero")
    return Money(micros, currency)


def to_decimal(micros: int) -> Decimal:
    """Micro-units as an exact Decimal."""
    return Decimal(micros).scaleb(-6)


def format_amount(micros: int, places: int = 2) -> str:
    """Plain text with at least `places` decimals and no grouping: `25.87`, `0.0015`. Latin digits in every language."""
    text = f"{to_decimal(micros):f}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(places, '0')}"


def split_evenly(total_micros: int, parts: int) -> list[int]:
    """`total_micros` in `parts` amounts that differ by at most one micro-unit and sum to it exactly."""
    if parts < 1:
        raise ValueError("parts must be at least 1")
    base, rest = divmod(total_micros, parts)
    return [base + 1] * rest + [base] * (parts - rest)


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in micro-units with its ISO 4217 currency."""

    micros: int
    currency: str

    def __str__(self) -> str:
        return f"{format_amount(self.micros)} {self.currency}"
