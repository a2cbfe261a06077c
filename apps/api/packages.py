"""The endpoint of packages: what the caller can order, for how much, and what each product asks for."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import QuerySet
from django.utils.translation import get_language
from ninja import Query, Router

from apps.accounts.models import Customer, Scope
from apps.api import cursors
from apps.api.auth import KeyedRequest, needs
from apps.api.schemas import FieldRuleOut, PackageOut, PackagePage, PageFilter, PriceOut, ProblemOut, QuantityOut
from apps.catalog.models import InputField, Package
from apps.catalog.prices import groups_of, pick_price
from apps.common import clock
from apps.common.money import format_amount
from apps.orders.sellable import CannotSell, Sale, look_at, make_offer

router = Router(tags=["packages"])

Groups = Sequence[int | None]


@router.get(
    "/packages",
    auth=needs(Scope.READ),
    response={200: PackagePage, (401, 403, 422, 429, 500): ProblemOut},
    url_name="packages",
)
def list_packages(request: KeyedRequest, wanted: Query[PageFilter]) -> PackagePage:
    """What you can order, with your prices and the fields that each product asks for."""
    customer = request.auth.customer
    packages = packages_of(customer)
    if wanted.cursor is not None:
        packages = packages.filter(pk__gt=cursors.decode(wanted.cursor))
    found = list(packages.order_by("pk")[: wanted.limit + 1])
    page = found[: wanted.limit]
    groups = groups_of(customer)
    return PackagePage(
        packages=[tell_package(sale, customer.currency, groups) for sale in look_at(page, clock.now())],
        next_cursor=cursors.encode(page[-1].pk) if len(found) > len(page) else None,
    )


def packages_of(customer: Customer) -> QuerySet[Package]:
    """Everything on sale in the customer's shop."""
    packages = Package.objects.select_related("product", "tenant").prefetch_related("product__fields")
    return packages.filter(tenant_id=customer.tenant_id, is_active=True, product__is_active=True)


def tell_package(sale: Sale, currency: str, groups: Groups) -> PackageOut:
    """One package as this customer may see it: never a supplier, a cost, or why it cannot be had."""
    package, product = sale.package, sale.package.product
    offers = {quantity: offered_micros(sale, currency, groups, quantity) for quantity in steps_of(sale)}
    known = {q: micros or fixed_micros(sale, currency, groups, q) for q, micros in offers.items()}
    return PackageOut(
        package=package.code,
        name=package.name,
        product_name=product.label(),
        needs_code=product.needs_code,
        available=any(offers.values()),
        currency=currency,
        prices=tell_prices(known),
        quantity=tell_quantity(package),
        fields=[tell_field(field) for field in product.fields.all()],
        image_url=package.image_url or product.image_url or None,
    )


def steps_of(sale: Sale) -> list[int]:
    """The quantities at which a price may begin: the least that the package allows, and every tier's first."""
    allowed = sale.package.quantities()
    tiers = {price.from_quantity for price in sale.prices}
    firsts = {next((quantity for quantity in allowed if quantity >= tier), None) for tier in tiers}
    return sorted({*allowed[:1], *(first for first in firsts if first is not None)})


def offered_micros(sale: Sale, currency: str, groups: Groups, quantity: int) -> int:
    """The unit price at which so many can be had now; 0 where they cannot."""
    try:
        return make_offer(sale, currency, groups, quantity).unit_price_micros
    except CannotSell:
        return 0


def fixed_micros(sale: Sale, currency: str, groups: Groups, quantity: int) -> int:
    """The price that is set for so many, whether or not they can be had; 0 where none is."""
    fixed = pick_price(sale.prices, groups, currency, quantity)
    return fixed.unit_price_micros if fixed else 0


def tell_prices(known: dict[int, int]) -> list[PriceOut]:
    """The steps at which the price changes."""
    told: list[PriceOut] = []
    for quantity, micros in known.items():
        price = format_amount(micros)
        if micros and (not told or told[-1].unit_price != price):
            told.append(PriceOut(from_quantity=quantity, unit_price=price))
    return told


def tell_quantity(package: Package) -> QuantityOut:
    """The quantity rule."""
    allowed = package.quantities()
    is_list = package.quantity_kind == Package.QuantityKind.LIST
    return QuantityOut(least=allowed[0], most=allowed[-1], values=allowed if is_list else None)


def tell_field(field: InputField) -> FieldRuleOut:
    """One input field with its rules."""
    return FieldRuleOut.model_validate(
        {
            "name": field.name,
            "label": label_of(field),
            "kind": field.kind,
            "pattern": field.pattern or None,
            "required": field.required,
        }
    )


def label_of(field: InputField) -> str:
    """The label in the language of the request, or the plain one."""
    labels = {"ar": field.label_ar, "tr": field.label_tr}
    return labels.get((get_language() or "en")[:2], "") or field.label
