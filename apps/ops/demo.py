"""The demo shop: a tenant, two customers with money, three products, and a route to the simulated ZNET panel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from apps.accounts.keys import issue_key
from apps.accounts.models import ApiKey, Customer, Membership, PriceGroup, Scope, Tenant, User
from apps.catalog.models import InputField, Package, PackagePrice, Product
from apps.common.money import Money, to_micros
from apps.orders.sandbox import issue_test_key
from apps.providers.models import Integration, PackageMapping, Route
from apps.wallet import ledger

SLUG = "demo"
LOGIN = "demo"
PASSWORD = "demo-secret"  # noqa: S105 - of the simulator on this machine, which has no other
CUSTOMERS = (("Demo Reseller", "100000"), ("Corner Shop", "2500"))
DEMO_SCOPES = [Scope.ORDERS.value, Scope.WALLET.value, Scope.WEBHOOKS.value]
PANEL_BALANCE = "100000"
FAST_OPTIONS = {
    "poll_first_s": 2,
    "poll_base_s": 2,
    "poll_cap_s": 20,
    "poll_floor_s": 0.5,
    "send_window_s": 5,
    "place_timeout_s": 3,
    "ask_timeout_s": 3,
    "resolve_margin_s": 1,
    "failed_final_after_s": 2,
    "final_after_s": 60,
    "review_after_s": 20,
    "rate_per_s": 50,
    "burst": 50,
}
"""The demo's provider answers within seconds, is asked within seconds and as often as one likes; a real account has its
protocol's figures."""


@dataclass(frozen=True, slots=True)
class Item:
    """One package of the demo: what it is called here and at the simulated panel, and what it costs."""

    code: str
    name: str
    oyun: str
    kupur: str
    cost: str
    price: str


@dataclass(frozen=True, slots=True)
class Goods:
    """One product of the demo with its packages."""

    name: str
    name_ar: str
    name_tr: str
    needs_code: bool
    items: tuple[Item, ...]


DEMO: tuple[Goods, ...] = (
    Goods(
        "PUBG Mobile UC",
        "شدات ببجي موبايل",
        "PUBG Mobile UC",
        True,
        (
            Item("pubg-60", "60 UC", "152", "60", "31.50", "35.00"),
            Item("pubg-325", "325 UC", "152", "325", "149.90", "165.00"),
            Item("pubg-660", "660 UC", "152", "660", "289.75", "315.00"),
        ),
    ),
    Goods(
        "Steam Wallet Code",
        "بطاقة محفظة ستيم",
        "Steam Cüzdan Kodu",
        True,
        (
            Item("steam-50", "50 TRY", "88", "50", "48.25", "54.00"),
            Item("steam-100", "100 TRY", "88", "100", "96.40", "106.00"),
        ),
    ),
    Goods(
        "Free Fire Diamonds",
        "جواهر فري فاير",
        "Free Fire Elmas",
        False,
        (
            Item("freefire-100", "100 Diamonds", "210", "100", "18.30", "21.00"),
            Item("freefire-310", "310 Diamonds", "210", "310", "54.90", "61.00"),
        ),
    ),
)


@transaction.atomic
def load_demo(panel_url: str, now: datetime) -> Tenant:
    """Create the demo shop, or return the one that is there."""
    tenant, is_new = Tenant.objects.get_or_create(
        slug=SLUG, defaults={"name": "Demo Shop", "timezone": "Europe/Istanbul"}
    )
    if not is_new:
        return tenant
    group = PriceGroup.objects.create(tenant=tenant, name="Resellers")
    integration = _integration(tenant, panel_url)
    for goods in DEMO:
        _product(tenant, goods, integration, group)
    for name, balance in CUSTOMERS:
        customer = Customer.objects.create(tenant=tenant, name=name, currency="TRY", price_group=group)
        money = Money(to_micros(balance), "TRY")
        ledger.deposit(
            tenant.pk,
            customer.pk,
            money,
            key=f"deposit:demo:{customer.pk}",
            reason="demo balance",
            actor="start",
            now=now,
        )
    _tell_panel_balance(tenant, integration, now)
    return tenant


def _tell_panel_balance(tenant: Tenant, integration: Integration, now: datetime) -> None:
    """The books know the money that the simulated panel starts with."""
    money = Money(to_micros(PANEL_BALANCE), "TRY")
    key = f"top_up:demo:{integration.pk}"
    ledger.top_up_float(tenant.pk, integration.pk, money, money, key=key, reason="demo balance", actor="start", now=now)


def _integration(tenant: Tenant, panel_url: str) -> Integration:
    integration = Integration(
        tenant=tenant,
        name="Simulated ZNET panel",
        kind="znet",
        base_url=panel_url,
        login=LOGIN,
        currency="TRY",
        options=FAST_OPTIONS,
        is_local=True,
    )
    integration.set_secrets({"sifre": PASSWORD})
    integration.full_clean()
    integration.save()
    return integration


def _product(tenant: Tenant, goods: Goods, integration: Integration, group: PriceGroup) -> None:
    product = Product.objects.create(
        tenant=tenant, name=goods.name, name_ar=goods.name_ar, name_tr=goods.name_tr, needs_code=goods.needs_code
    )
    InputField.objects.create(
        product=product,
        name="player_id",
        label="Player ID",
        label_ar="معرّف اللاعب",
        label_tr="Oyuncu kimliği",
        pattern=r"[A-Za-z0-9_-]{3,40}",
    )
    for item in goods.items:
        package = Package.objects.create(
            tenant=tenant,
            product=product,
            code=item.code,
            name=item.name,
            quantity_kind=Package.QuantityKind.RANGE,
            quantity_max=5,
        )
        price = to_micros(item.price)
        PackagePrice.objects.create(package=package, currency="TRY", unit_price_micros=price)
        discounted = to_micros(Decimal(item.price) * Decimal("0.97"))
        PackagePrice.objects.create(package=package, price_group=group, currency="TRY", unit_price_micros=discounted)
        mapping = PackageMapping(
            package=package, integration=integration, oyun=item.oyun, kupur=item.kupur, cost_micros=to_micros(item.cost)
        )
        mapping.full_clean()
        mapping.save()
        route = Route(package=package, position=1, mode=Route.Mode.AUTO, integration=integration)
        route.full_clean()
        route.save()


def issue_demo_key(tenant: Tenant, now: datetime) -> str:
    """A fresh key of the first demo customer; older demo keys are switched off. Returned this once."""
    customer = Customer.objects.filter(tenant=tenant).order_by("id").first()
    if customer is None:
        raise RuntimeError("the demo shop has no customer")
    ApiKey.objects.filter(customer=customer, label="demo").update(is_active=False)
    return issue_key(customer, now, label="demo", scopes=DEMO_SCOPES)[1]


def issue_demo_test_key(tenant: Tenant, now: datetime) -> str:
    """A fresh key of the same customer's double in the sandbox; older ones are switched off. Returned this once."""
    ApiKey.objects.filter(customer__tenant__sandbox_of=tenant, label="demo").update(is_active=False)
    customer = Customer.objects.filter(tenant=tenant).order_by("id")[0]
    return issue_test_key(customer, now, label="demo", scopes=DEMO_SCOPES)[1]


def add_operator(username: str, password: str, tenant: Tenant | None) -> User:
    """The first person who can sign in: a superuser, and an owner of the demo shop if there is one."""
    user = User.objects.create_superuser(username=username, password=password)
    if tenant is not None:
        Membership.objects.create(user=user, tenant=tenant, role=Membership.Role.OWNER)
    return user
