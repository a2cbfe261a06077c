"""The shop that every run begins with: one package for each way of buying, and customers with money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from apps.accounts.models import Customer, Tenant
from apps.catalog.models import FxRate, InputField, Package, PackagePrice, Product
from apps.common import clock
from apps.common.money import Money, to_micros
from apps.orders.creation import NewOrder
from apps.proof.line import HOST
from apps.providers import stock_files
from apps.providers.models import Integration, PackageMapping, Route
from apps.wallet import ledger

CURRENCY = "USD"
BALANCE = "100000"
STOCK_CODES = 12

ACCOUNTS: dict[str, dict[str, Any]] = {
    "client_api": {"secrets": {"token": "demo-secret"}, "currency": "USD"},
    "znet": {"login": "demo", "secrets": {"sifre": "demo-secret"}, "currency": "TRY"},
    "smm_v2": {"secrets": {"key": "demo-key"}, "currency": "USD"},
    "digiflazz": {"login": "demo", "secrets": {"api_key": "demo-secret"}, "currency": "IDR", "path": "/v1"},
    "stock": {"currency": "USD"},
}
"""How the shop signs in to each dialect's own account."""

RATES = {"TRY": "0.025", "IDR": "0.00006"}


@dataclass(frozen=True, slots=True)
class Ware:
    """A package: where it may be bought, in order, by which ids, and whether it is a code."""

    name: str
    needs_code: bool
    routes: tuple[tuple[str, dict[str, str]], ...]
    most: int = 1


WARES: tuple[Ware, ...] = (
    Ware("client-card", True, (("client_api", {"oyun": "102"}),)),
    Ware("client-topup", False, (("client_api", {"oyun": "101"}), ("znet", {"oyun": "210", "kupur": "100"}))),
    Ware("znet-pin", True, (("znet", {"oyun": "152", "kupur": "60"}), ("client_api", {"oyun": "102"}))),
    Ware("znet-only", True, (("znet", {"oyun": "88", "kupur": "50"}),), most=2),
    Ware("smm", False, (("smm_v2", {"service": "1", "quantity": "10"}),)),
    Ware("smm-then-client", False, (("smm_v2", {"service": "1", "quantity": "10"}), ("client_api", {"oyun": "101"}))),
    Ware("digiflazz", True, (("digiflazz", {"buyer_sku_code": "gp50", "sn": "code"}),)),
    Ware(
        "digi-then-znet", False, (("digiflazz", {"buyer_sku_code": "ml86"}), ("znet", {"oyun": "210", "kupur": "100"}))
    ),
    Ware("stock-then-znet", True, (("stock", {"oyun": "shelf"}), ("znet", {"oyun": "88", "kupur": "50"})), most=2),
)
"""What is sold: each capability of a provider alone, and in front of another route."""


@dataclass(slots=True)
class Shop:
    """One tenant with its customers and its accounts at the providers, by kind."""

    tenant: Tenant
    customers: list[Customer]
    accounts: dict[str, Integration] = field(default_factory=dict)


@dataclass(slots=True)
class Wish:
    """What a customer wants: repeated under the same key until it is known to be an order."""

    number: int
    ware: Ware
    customer: Customer
    quantity: int
    order_id: int | None = None
    tries: int = 0

    @property
    def recipient(self) -> str:
        """Who it is for: nobody else's, so that what a provider sold can be told apart without our references."""
        return f"P{self.number:06}"

    @property
    def key(self) -> str:
        """The idempotency key."""
        return f"wish-{self.number}"

    def new_order(self) -> NewOrder:
        """The order as its customer sends it."""
        return NewOrder(self.ware.name, self.quantity, {"player_id": self.recipient})


def open_shop(host: str = HOST, options: Mapping[str, object] | None = None) -> Shop:
    """Make everything that orders need; the database is empty before.

    `host` is where all dialects are served; `options` are those of every account that has a wire.
    """
    tenant = Tenant.objects.create(name="Proof", slug="proof", currency=CURRENCY, rate_max_age_hours=8760)
    customers = [_customer(tenant, number) for number in range(3)]
    shop = Shop(tenant, customers)
    for source, rate in RATES.items():
        FxRate.objects.create(
            tenant=tenant,
            from_currency=source,
            to_currency=CURRENCY,
            rate=Decimal(rate),
            source="proof",
            valid_from=clock.now(),
            created_at=clock.now(),
        )
    for kind in ACCOUNTS:
        shop.accounts[kind] = _account(tenant, kind, host, options or {})
    for ware in WARES:
        _ware(shop, ware)
    _fill_shelf(shop.accounts["stock"])
    return shop


def _customer(tenant: Tenant, number: int) -> Customer:
    customer = Customer.objects.create(tenant=tenant, name=f"Customer {number}", currency=CURRENCY)
    money = Money(to_micros(BALANCE), CURRENCY)
    key = f"deposit:proof:{customer.pk}"
    ledger.deposit(tenant.pk, customer.pk, money, key=key, reason="proof", actor="proof", now=clock.now())
    return customer


def _account(tenant: Tenant, kind: str, host: str, options: Mapping[str, object]) -> Integration:
    known = ACCOUNTS[kind]
    has_wire = "secrets" in known
    account = Integration(
        tenant=tenant,
        name=kind,
        kind=kind,
        base_url=f"{host}/{kind}{known.get('path', '')}" if has_wire else "",
        login=known.get("login", ""),
        currency=known["currency"],
        is_local=has_wire,
        options=dict(options) if has_wire else {},
    )
    if has_wire:
        account.set_secrets(known["secrets"])
    account.save()
    return account


def _ware(shop: Shop, ware: Ware) -> None:
    product = Product.objects.create(tenant=shop.tenant, name=ware.name, needs_code=ware.needs_code)
    InputField.objects.create(product=product, name="player_id", label="Player")
    package = Package.objects.create(
        tenant=shop.tenant,
        product=product,
        code=ware.name,
        name=ware.name,
        quantity_kind=Package.QuantityKind.RANGE,
        quantity_max=ware.most,
    )
    PackagePrice.objects.create(package=package, currency=CURRENCY, unit_price_micros=to_micros("9.876543"))
    for position, (kind, ids) in enumerate(ware.routes, 1):
        params = {name: value for name, value in ids.items() if name not in ("oyun", "kupur")}
        PackageMapping.objects.create(
            package=package,
            integration=shop.accounts[kind],
            oyun=ids.get("oyun") or next(iter(ids.values())),
            kupur=ids.get("kupur", ""),
            params=params,
            cost_micros=None if kind == "stock" else to_micros("1"),
        )
        Route.objects.create(package=package, position=position, integration=shop.accounts[kind])


def _fill_shelf(account: Integration) -> None:
    rows = [f"STOCK-{number:04},5," for number in range(STOCK_CODES)]
    reading = stock_files.read_file(
        "\n".join(["code,cost,expires", *rows]).encode(),
        tenant_id=account.tenant_id,
        usual_cost_micros=None,
        delivered=lambda indexes: set(),
        today=clock.now().date(),
    )
    stock_files.store(account, "shelf", "proof", reading.lines, clock.now())
