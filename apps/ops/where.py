"""Where an order would go, or an order for a package, and why: asked of the routing itself, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.accounts.models import Customer, Tenant
from apps.catalog.models import Package
from apps.catalog.prices import groups_of
from apps.common.money import MAX_MICROS, Money, format_amount
from apps.orders.models import DueCheck, Order
from apps.orders.routing import Candidate, Errand, errand_of, judge, load_candidates, load_routes, routes_for
from apps.orders.sellable import EVERYBODY, UnitCost, look_at, missing_for_sale, unit_price
from apps.orders.states import DueKind
from apps.providers.mapping import least_quantity
from apps.providers.models import Route


class NotFound(LookupError):
    """No order and no package is named so; the text says what would help."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One route as the routing sees it. `reason` is empty where nothing speaks against it; `units` is what one purchase
    would take there, `product` the provider's ids, `unit_cost` an amount in the sale's currency, if it is known."""

    route: int
    position: int
    weight: int
    price_group: str
    provider: str
    kind: str
    reason: str
    retry_at: datetime | None
    units: int
    product: dict[str, str]
    unit_cost: str

    @property
    def is_open(self) -> bool:
        """Whether an order may go there."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class Answer:
    """All routes in the order in which they are asked; the order goes to the first one that is open, if it goes at all.

    `standing` says where the order stands, `notes` what else keeps it; both are for a person.
    """

    about: str
    standing: str
    strategy: str
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()

    @property
    def picked(self) -> Verdict | None:
        """Where it would go."""
        return next((verdict for verdict in self.verdicts if verdict.is_open), None)


def where_order(order: Order, now: datetime) -> Answer:
    """Where the units of the order that nobody bought yet would go."""
    errand = errand_of(order)
    row = DueCheck.objects.filter(order=order, kind=DueKind.DISPATCH).first()
    notes = []
    if row is None:
        notes.append("it is not waiting to be sent: nothing of it goes anywhere")
    elif row.next_at > now:
        notes.append(f"it is looked at again at {row.next_at:%Y-%m-%d %H:%M:%S} UTC")
    return Answer(
        about=f"order {order.pk}: {errand.units} unit(s) of {order.package.code} for {order.customer.name}",
        standing=" ".join(filter(None, [order.status, order.reason])),
        strategy=order.package.strategy,
        verdicts=tuple(_verdicts(errand, load_routes(order), now)),
        notes=tuple(notes),
    )


def where_package(package: Package, customer: Customer | None, now: datetime) -> Answer:
    """Where an order of the least quantity would go, for a customer, or for one without a price group."""
    groups = EVERYBODY if customer is None else tuple(groups_of(customer))
    currency = package.tenant.currency if customer is None else customer.currency
    (sale,) = look_at([package], now)
    quantity = least_quantity(package)
    open_ways = [way for way in sale.ways(currency, groups, quantity) if way.is_open]
    price = unit_price(sale, currency, groups, quantity, open_ways)
    errand = Errand(
        shop=package.tenant,
        package=package,
        order_id=0,
        units=quantity,
        currency=currency,
        unit_price_micros=price or MAX_MICROS,  # without a price there is no loss to guard against
        given={field.name: field.name for field in package.product.fields.all()},
    )
    money = "no price" if price is None else str(Money(price, currency))
    return Answer(
        about=f"package {package.code}: {quantity} unit(s) at {money} for {customer.name if customer else 'everybody'}",
        standing="",
        strategy=package.strategy,
        verdicts=tuple(_verdicts(errand, routes_for(package.pk, lambda: groups), now)),
        notes=tuple(map(str, missing_for_sale(sale))),
    )


def _verdicts(errand: Errand, routes: Sequence[Route], now: datetime) -> Iterator[Verdict]:
    candidates = {candidate.route.pk: candidate for candidate in load_candidates(errand, routes, now)}
    for route, objection in judge(errand, routes, now):
        candidate, account = candidates[route.pk], route.integration
        yield Verdict(
            route=route.pk,
            position=route.position,
            weight=route.weight,
            price_group=str(route.price_group) if route.price_group else "",
            provider=account.name if account else "a person",
            kind=account.kind if account else "",
            reason=objection.reason if objection else "",
            retry_at=objection.retry_at if objection else None,
            units=candidate.units,
            product=candidate.mapping.product() if candidate.mapping else {},
            unit_cost=_cost_text(candidate, errand.currency),
        )


def _cost_text(candidate: Candidate, currency: str) -> str:
    cost = candidate.cost
    return f"{format_amount(cost.micros)} {currency}" if isinstance(cost, UnitCost) else ""


# --- what is meant


def load_subject(name: str, shop: str) -> Order | Package:
    """The order with this number, else the package with this code; `shop` is its short name where several have it.

    Raises `NotFound`, which says what to write instead.
    """
    shops = Tenant.objects.filter(slug=shop) if shop else Tenant.objects.all()
    if shop and not shops.exists():
        raise NotFound(
            f"there is no shop {shop!r}; there are: {', '.join(Tenant.objects.values_list('slug', flat=True))}"
        )
    order = Order.objects.filter(pk=int(name), tenant__in=shops).first() if _is_number(name) else None
    if order is not None:
        return order
    packages = list(Package.objects.select_related("tenant", "product").filter(code=name, tenant__in=shops))
    if len(packages) > 1:
        slugs = ", ".join(package.tenant.slug for package in packages)
        raise NotFound(f"several shops sell {name!r}; name one with --shop: {slugs}")
    if not packages:
        raise NotFound(f"there is no order and no package {name!r}")
    return packages[0]


def load_customer(package: Package, number: int) -> Customer:
    """A customer of the package's shop. Raises `NotFound`."""
    customer = Customer.objects.filter(pk=number, tenant=package.tenant).first()
    if customer is None:
        raise NotFound(f"the shop {package.tenant.slug} has no customer {number}")
    return customer


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18
