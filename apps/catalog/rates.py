"""Conversion of amounts by a shop's exchange rates: exact fractions, rounded up once, with the rows that were used."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from django.db.models import Q

from apps.accounts.models import Tenant
from apps.catalog.models import FxRate
from apps.common.money import MAX_MICROS, BadAmount


class NoRate(Exception):
    """The shop has no exchange rate between these two currencies; a missing rate blocks, it is never 1."""

    def __init__(self, source: str, target: str) -> None:
        super().__init__(f"no exchange rate from {source} to {target}")
        self.source = source
        self.target = target


class StaleRate(NoRate):
    """The newest exchange rate is older than the shop allows."""

    def __init__(self, source: str, target: str, rate: FxRate) -> None:
        super().__init__(source, target)
        self.args = (f"the exchange rate {rate} is of {rate.valid_from:%Y-%m-%d %H:%M} UTC: too old to convert with",)


@dataclass(frozen=True, slots=True)
class Conversion:
    """From one currency to another: no row where they are the same, one, or two by way of the shop's own currency."""

    source: str
    target: str
    rates: tuple[FxRate, ...] = ()

    def factor(self) -> Fraction:
        """What one unit of `source` is in `target`, exactly. Raises `NoRate` when the rows do not lead there."""
        factor, currency = Fraction(1), self.source
        for rate in self.rates:
            factor *= _leg(rate, currency)
            currency = rate.to_currency if currency == rate.from_currency else rate.from_currency
        if currency != self.target:
            raise NoRate(self.source, self.target)
        return factor

    def convert_up(self, micros: int) -> int:
        """A cost in the target currency: rounded up to a whole micro-unit, never in our favour. Raises `BadAmount`."""
        converted = math.ceil(micros * self.factor())
        if abs(converted) > MAX_MICROS:
            raise BadAmount(f"{micros} micro-units of {self.source} are too much in {self.target}")
        return converted

    @property
    def first(self) -> FxRate | None:
        """The row that is stored as `cost_rate`."""
        return self.rates[0] if self.rates else None

    @property
    def second(self) -> FxRate | None:
        """The row that is stored as `cost_rate_via`."""
        return self.rates[1] if len(self.rates) > 1 else None


def _leg(rate: FxRate, currency: str) -> Fraction:
    """The factor of one row, as it stands or turned round."""
    if currency == rate.from_currency:
        return Fraction(rate.rate)
    if currency == rate.to_currency:
        return 1 / Fraction(rate.rate)
    raise NoRate(currency, rate.to_currency)


def frozen(source: str, target: str, *rates: FxRate | None) -> Conversion:
    """The conversion by rows that were stored earlier, whatever the rates are today."""
    return Conversion(source, target, tuple(rate for rate in rates if rate is not None))


class Rates:
    """The rates of one shop at one moment; each pair is looked up once."""

    def __init__(self, shop: Tenant, now: datetime) -> None:
        self.shop = shop
        self.now = now
        self._found: dict[tuple[str, str], FxRate | None] = {}

    def find(self, source: str, target: str) -> Conversion:
        """How to convert: direct or turned round, else by way of the shop's currency. Raises `NoRate`, `StaleRate`."""
        if source == target:
            return Conversion(source, target)
        direct = self._newest(source, target)
        if direct is not None:
            return Conversion(source, target, (self._check_fresh(direct, source, target),))
        base = self.shop.currency
        legs = [] if base in (source, target) else [self._newest(source, base), self._newest(base, target)]
        rates = [self._check_fresh(rate, source, target) for rate in legs if rate is not None]
        if len(rates) != 2:
            raise NoRate(source, target)
        return Conversion(source, target, tuple(rates))

    def _newest(self, one: str, other: str) -> FxRate | None:
        """The newest row between two currencies, in either direction."""
        pair = (min(one, other), max(one, other))
        if pair not in self._found:
            either = Q(from_currency=one, to_currency=other) | Q(from_currency=other, to_currency=one)
            valid = FxRate.objects.filter(either, tenant_id=self.shop.pk, valid_from__lte=self.now)
            valid = valid.filter(Q(valid_until__isnull=True) | Q(valid_until__gt=self.now))
            self._found[pair] = valid.order_by("-valid_from", "-id").first()
        return self._found[pair]

    def _check_fresh(self, rate: FxRate, source: str, target: str) -> FxRate:
        if rate.valid_from <= self.now - timedelta(hours=self.shop.rate_max_age_hours):
            raise StaleRate(source, target, rate)
        return rate
