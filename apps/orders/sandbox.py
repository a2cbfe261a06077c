"""The sandbox of a shop: a shop of its own with the same goods and prices, play money, and nothing that really buys.

Goods and prices are copied when a test key is issued and every hour. Orders, wallets and books are never copied.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import models, transaction

from apps.accounts.keys import issue_key
from apps.accounts.models import ApiKey, Customer, PriceGroup, Tenant
from apps.catalog.models import InputField, Package, PackagePrice, Product
from apps.catalog.prices import pick_price
from apps.common.logs import get_logger
from apps.common.money import Money, to_micros
from apps.orders.sellable import EVERYBODY, Sale, look_at, unit_price
from apps.providers.adapters.sandbox import WITH_CODE
from apps.providers.models import Integration, PackageMapping, Route
from apps.providers.registry import SANDBOX
from apps.wallet import ledger

log = get_logger(__name__)

PLAY_MONEY = "100000"
"""What a wallet of the sandbox is filled up to."""

FILLED_UP_BELOW = "10000"

SHOP_FIELDS = (
    *("timezone", "currency", "loss_guard_percent", "rate_max_age_hours", "quote_minutes", "repeat_minutes"),
    *("api_rate_per_s", "api_burst", "is_active"),
)
PRODUCT_FIELDS = ("name_ar", "name_tr", "needs_code", "image_url", "is_active")
FIELD_FIELDS = ("name", "label", "label_ar", "label_tr", "kind", "target", "pattern", "required", "position")
PACKAGE_FIELDS = (
    *("name", "quantity_kind", "quantity_min", "quantity_max", "quantity_values", "image_url", "is_active"),
)
PRICE_FIELDS = ("currency", "unit_price_micros", "from_quantity", "valid_from", "valid_until")


class NoSandboxOfSandbox(ValueError):
    """A test key is issued for a customer of a shop, not for one of its sandbox."""


def issue_test_key(customer: Customer, now: datetime, label: str = "", **rights: Any) -> tuple[ApiKey, str]:
    """A key for the customer's double in the shop's sandbox, as `issue_key` gives it. Raises `NoSandboxOfSandbox`."""
    if customer.tenant.is_sandbox:
        raise NoSandboxOfSandbox(customer.pk)
    with transaction.atomic():
        shop = Tenant.objects.select_for_update().get(pk=customer.tenant_id)
        sandbox = copy_shop(shop, now)
        double = copy_customer(customer, sandbox, now)
        return issue_key(double, now, label, **rights)


def refresh_sandboxes(now: datetime) -> int:
    """Copy goods, prices and customers anew for every sandbox there is; how many there are."""
    shops = Tenant.objects.filter(sandbox__isnull=False).order_by("pk")
    for pk in list(shops.values_list("pk", flat=True)):
        with transaction.atomic():
            shop = Tenant.objects.select_for_update().get(pk=pk)
            sandbox = copy_shop(shop, now)
            known = Customer.objects.filter(tenant=sandbox).values("name")
            for customer in Customer.objects.filter(tenant=shop, name__in=known).order_by("pk"):
                copy_customer(customer, sandbox, now)
    return len(shops)


def copy_shop(shop: Tenant, now: datetime) -> Tenant:
    """The shop's sandbox, made where there is none, with the goods and prices that the shop has now."""
    settings = values_of(shop, SHOP_FIELDS)
    named = {"name": f"{shop.name[:100]} (sandbox)", "slug": f"sandbox-of-{shop.pk}"}
    sandbox, is_new = Tenant.objects.update_or_create(
        sandbox_of=shop, defaults=settings, create_defaults=settings | named
    )
    groups = _copy_groups(shop, sandbox)
    for currency in _currencies(shop):
        name = f"Sandbox {currency}"
        Integration.objects.get_or_create(tenant=sandbox, name=name, kind=SANDBOX, currency=currency)
    _copy_products(shop, sandbox)
    _copy_packages(shop, sandbox, groups, now)
    if is_new:
        log.info("sandbox_opened", tenant=shop.pk, sandbox=sandbox.pk)
    return sandbox


def copy_customer(customer: Customer, sandbox: Tenant, now: datetime) -> Customer:
    """The customer's double with the same prices, and play money where little is left."""
    group = customer.price_group
    twin = PriceGroup.objects.get(tenant=sandbox, name=group.name) if group is not None else None
    double, _ = Customer.objects.update_or_create(
        tenant=sandbox,
        name=customer.name,
        defaults={"price_group": twin, "is_active": customer.is_active},
        create_defaults={"price_group": twin, "is_active": customer.is_active, "currency": customer.currency},
    )
    balance = ledger.balance_of(double.pk, double.currency).micros
    if balance < to_micros(FILLED_UP_BELOW):
        money = Money(to_micros(PLAY_MONEY) - balance, double.currency)
        key = f"sandbox:{double.pk}:{now.isoformat()}"
        ledger.deposit(sandbox.pk, double.pk, money, key=key, reason="play money", actor="sandbox", now=now)
    return double


def values_of(row: models.Model, names: Iterable[str]) -> dict[str, Any]:
    """Some fields of a row by name."""
    return {name: getattr(row, name) for name in names}


def _copy_groups(shop: Tenant, sandbox: Tenant) -> dict[int, PriceGroup]:
    """The twin of every price group of the shop, by the id of the original."""
    originals = list(PriceGroup.objects.filter(tenant=shop))
    twins = {one.pk: PriceGroup.objects.get_or_create(tenant=sandbox, name=one.name)[0] for one in originals}
    PriceGroup.objects.filter(tenant=sandbox).update(parent=None)
    for one in originals:
        if one.parent_id is not None:
            PriceGroup.objects.filter(pk=twins[one.pk].pk).update(parent=twins[one.parent_id])
    return twins


def _currencies(shop: Tenant) -> list[str]:
    """Those in which somebody may buy: an account in each needs no exchange rate."""
    found = Customer.objects.filter(tenant=shop).order_by().values_list("currency", flat=True).distinct()
    return sorted({shop.currency, *found})


def _copy_products(shop: Tenant, sandbox: Tenant) -> None:
    originals = list(Product.objects.filter(tenant=shop).prefetch_related("fields"))
    Product.objects.filter(tenant=sandbox).exclude(name__in=[one.name for one in originals]).update(is_active=False)
    for one in originals:
        twin, _ = Product.objects.update_or_create(
            tenant=sandbox, name=one.name, defaults=values_of(one, PRODUCT_FIELDS)
        )
        twin.fields.all().delete()
        InputField.objects.bulk_create(
            InputField(product=twin, **values_of(field, FIELD_FIELDS)) for field in one.fields.all()
        )


def _copy_packages(shop: Tenant, sandbox: Tenant, groups: dict[int, PriceGroup], now: datetime) -> None:
    originals = list(Package.objects.select_related("product", "tenant").filter(tenant=shop).order_by("pk"))
    Package.objects.filter(tenant=sandbox).exclude(code__in=[one.code for one in originals]).update(is_active=False)
    products = {twin.name: twin for twin in Product.objects.filter(tenant=sandbox)}
    accounts = list(Integration.objects.filter(tenant=sandbox).order_by("pk"))
    for one, sale in zip(originals, look_at(originals, now), strict=True):
        product = products[one.product.name]
        twin, _ = Package.objects.update_or_create(
            tenant=sandbox, code=one.code, defaults={"product": product, **values_of(one, PACKAGE_FIELDS)}
        )
        _send_to(twin, product, accounts)
        twin.prices.all().delete()
        _copy_prices(sale, twin, groups, [account.currency for account in accounts])


def _send_to(twin: Package, product: Product, accounts: list[Integration]) -> None:
    """The package leads to the sandbox's accounts, of which there are never fewer."""
    for position, account in enumerate(accounts, start=1):
        oyun = WITH_CODE if product.needs_code else "no-code"
        PackageMapping.objects.update_or_create(
            package=twin, integration=account, defaults={"oyun": oyun, "cost_micros": 0}
        )
        Route.objects.get_or_create(package=twin, integration=account, defaults={"position": position})


def _copy_prices(sale: Sale, twin: Package, groups: dict[int, PriceGroup], currencies: list[str]) -> None:
    """The prices that are set, and where one is made from the cost, what it is now."""
    PackagePrice.objects.bulk_create(
        PackagePrice(
            package=twin,
            price_group=groups[price.price_group_id] if price.price_group_id else None,
            **values_of(price, PRICE_FIELDS),
        )
        for price in sale.prices
    )
    for currency in currencies:
        ways = [way for way in sale.ways(currency) if way.is_open]
        made = unit_price(sale, currency, EVERYBODY, 1, ways)
        if made is not None and pick_price(sale.prices, EVERYBODY, currency, 1) is None:
            PackagePrice.objects.create(package=twin, currency=currency, unit_price_micros=made)
