"""Reports on what orders brought and cost: sums read from the orders' own snapshots, nothing recomputed. Reads only.

One date basis for counts and sums alike: the day on which an order was settled, as the shop's time zone has it. Every
report is of one shop and has a line per currency; amounts of two currencies are never added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import TruncDate

from apps.common.money import Money
from apps.orders.models import Attempt, Order, OrderUnit
from apps.orders.states import SETTLED, AttemptState, UnitStatus
from apps.providers.models import Integration
from apps.wallet import ledger
from apps.wallet.statement import Period

Rows = QuerySet[Any, dict[str, Any]]


class By(StrEnum):
    """What the lines of a profit report stand for."""

    DAY = "day"
    PROVIDER = "provider"
    PACKAGE = "package"
    CUSTOMER = "customer"


@dataclass(frozen=True, slots=True)
class Line:
    """One line: how many orders, what they brought and cost, in one currency.

    `unknown` counts orders (by provider: purchases) whose cost is not known; their cost is in no sum, and `profit` is
    None then, because it would be too high.
    """

    key: str
    currency: str
    orders: int
    sold_micros: int
    cost_micros: int
    unknown: int

    @property
    def sold(self) -> Money:
        """What was captured from customers."""
        return Money(self.sold_micros, self.currency)

    @property
    def cost(self) -> Money:
        """What the known deliveries cost."""
        return Money(self.cost_micros, self.currency)

    @property
    def profit(self) -> Money | None:
        """Sold less cost, signed; None while a cost is not known."""
        return None if self.unknown else Money(self.sold_micros - self.cost_micros, self.currency)


def profit(tenant_id: int, by: By, period: Period) -> list[Line]:
    """The profit report of one shop: the lines in the order of their names, each currency by itself."""
    return sorted(REPORTS[by](tenant_id, period), key=lambda line: (line.key, line.currency))


def totals(lines: Iterable[Line]) -> list[Line]:
    """One line per currency over all the others."""
    sums: dict[str, Line] = {}
    for line in lines:
        so_far = sums.get(line.currency, Line("", line.currency, 0, 0, 0, 0))
        sums[line.currency] = Line(
            key="",
            currency=line.currency,
            orders=so_far.orders + line.orders,
            sold_micros=so_far.sold_micros + line.sold_micros,
            cost_micros=so_far.cost_micros + line.cost_micros,
            unknown=so_far.unknown + line.unknown,
        )
    return [sums[currency] for currency in sorted(sums)]


def settled_orders(tenant_id: int, period: Period) -> QuerySet[Order]:
    """The orders that were settled within the days of the period and moved money."""
    moved = Q(captured_micros__gt=0) | Q(cost_micros__gt=0) | Q(cost_micros__isnull=True)
    orders = Order.objects.filter(moved, tenant_id=tenant_id, status__in=SETTLED)
    if period.starts_at is not None:
        orders = orders.filter(settled_at__gte=period.starts_at)
    if period.ends_at is not None:
        orders = orders.filter(settled_at__lt=period.ends_at)
    return orders


def _by_day(tenant_id: int, period: Period) -> list[Line]:
    orders = settled_orders(tenant_id, period).annotate(key=TruncDate("settled_at", tzinfo=period.zone))
    return [_line(row, row["key"].isoformat()) for row in _summed(orders, "key")]


def _by_package(tenant_id: int, period: Period) -> list[Line]:
    rows = _summed(settled_orders(tenant_id, period), "package__code")
    return [_line(row, row["package__code"]) for row in rows]


def _by_customer(tenant_id: int, period: Period) -> list[Line]:
    rows = _summed(settled_orders(tenant_id, period), "customer__name")
    return [_line(row, row["customer__name"]) for row in rows]


def _summed(orders: QuerySet[Order], key: str) -> Rows:
    rows: Rows = (
        orders.values(key, "currency")
        .annotate(
            orders=Count("id"),
            sold=Sum("captured_micros"),
            cost=Sum("cost_micros"),
            unknown=Count("id", filter=Q(cost_micros__isnull=True)),
        )
        .order_by(key, "currency")
    )
    return rows


def _line(row: dict[str, Any], key: str) -> Line:
    return Line(key, row["currency"], row["orders"], row["sold"] or 0, row["cost"] or 0, row["unknown"])


def _by_provider(tenant_id: int, period: Period) -> list[Line]:
    """By the account that delivered: an order bought at two accounts stands in two lines, each with its own units."""
    bought = Attempt.objects.filter(order__in=settled_orders(tenant_id, period), delivered_at__isnull=False)
    bought = bought.exclude(state=AttemptState.REVERSED)
    costs = bought.values("integration_id", currency=F("order__currency")).annotate(
        orders=Count("order", distinct=True),
        cost=Sum("sale_cost_micros"),
        unknown=Count("id", filter=Q(sale_cost_micros__isnull=True)),
    )
    sold = {
        (row["attempt_units__attempt__integration_id"], row["order__currency"]): row["sold"]
        for row in OrderUnit.objects.filter(
            status=UnitStatus.CAPTURED, attempt_units__holds=True, attempt_units__attempt__in=bought
        )
        .values("attempt_units__attempt__integration_id", "order__currency")
        .annotate(sold=Sum("amount_micros"))
    }
    names = dict(Integration.objects.filter(tenant_id=tenant_id).values_list("id", "name"))
    return [
        _line({**row, "sold": sold.get((row["integration_id"], row["currency"]))}, names[row["integration_id"]])
        for row in costs.order_by("integration_id", "currency")
    ]


REPORTS: dict[By, Callable[[int, Period], list[Line]]] = {
    By.DAY: _by_day,
    By.PROVIDER: _by_provider,
    By.PACKAGE: _by_package,
    By.CUSTOMER: _by_customer,
}


# --- where the money is


@dataclass(frozen=True, slots=True)
class Stock:
    """Stock-taking in one currency: what customers may spend and have set aside, against our money at providers."""

    currency: str
    wallets: Money
    held: Money
    floats: Money

    @property
    def covered(self) -> Money:
        """Our money at providers less what customers could order and have ordered: below zero, somebody must pay in."""
        return Money(self.floats.micros - self.wallets.micros - self.held.micros, self.currency)


def stock_taking(tenant_id: int) -> list[Stock]:
    """The shop's customers' money against its providers' floats, a line per currency, from the ledger."""
    sums = ledger.trial_balance(tenant_id)
    currencies = sorted({currency for _, currency in sums})
    return [
        Stock(currency, *(Money(sums.get((kind, currency), 0), currency) for kind in ("customer", "held", "float")))
        for currency in currencies
    ]


@dataclass(frozen=True, slots=True)
class Float:
    """Our money at one provider account by our books."""

    name: str
    money: Money


def floats(tenant_id: int) -> list[Float]:
    """What the books say of our money at each account of the shop, by name."""
    names = dict(Integration.objects.filter(tenant_id=tenant_id).values_list("id", "name"))
    booked = ledger.float_of(tenant_id).items()
    found = [Float(names.get(account_id, str(account_id)), money) for (account_id, _), money in booked]
    return sorted(found, key=lambda one: (one.name, one.money.currency))


@dataclass(frozen=True, slots=True)
class Balance:
    """One line of the trial balance."""

    kind: str
    money: Money


def trial_balance(tenant_id: int) -> list[Balance]:
    """The sum of every kind of account per currency; the lines of one currency sum to zero."""
    sums = ledger.trial_balance(tenant_id)
    lines = [Balance(kind, Money(micros, currency)) for (kind, currency), micros in sums.items()]
    return sorted(lines, key=lambda line: (line.money.currency, line.kind))


def is_balanced(lines: Iterable[Balance]) -> bool:
    """Whether every currency of a trial balance sums to zero."""
    sums: dict[str, int] = {}
    for line in lines:
        sums[line.money.currency] = sums.get(line.money.currency, 0) + line.money.micros
    return not any(sums.values())
