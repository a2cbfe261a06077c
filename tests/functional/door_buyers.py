"""Machines with a key at the doors for other shops' software: one class for each dialect, and a shop for each."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.test import Client

from apps.accounts.keys import issue_key
from apps.catalog.models import InputField, Package
from apps.common import clock
from apps.providers.models import Integration, PackageMapping, Route
from tests.factories import Shop, make_customer, make_package, make_shop, make_tenant, new_player


@dataclass
class ZnetBuyer:
    """A dealer: the key's id is its `kod`, the whole key its `sifre`."""

    shop: Shop
    key: str
    player: str = field(default_factory=new_player)
    client: Client = field(default_factory=Client)

    @property
    def kod(self) -> str:
        return self.key.partition(".")[0]

    @property
    def login(self) -> dict[str, str]:
        return {"kod": self.kod, "sifre": self.key}

    def get(self, name: str, **params: Any) -> str:
        return self.read(self.client.get(f"/servis/{name}.php", {**self.login, **params}))

    def read(self, response: Any, status: int = 200) -> str:
        assert response.status_code == status
        assert response["Content-Type"].endswith("; charset=utf-8")
        assert response["Cache-Control"] == "no-store"
        text: str = response.content.decode()
        return text

    def order_params(self, reference: str = "42", **more: Any) -> dict[str, Any]:
        package = self.shop.package
        params = {"oyun": package.product_id, "kupur": package.pk, "referans": reference}
        return {**params, "musteri_tel": self.player, "oyuncu_bilgi": self.player, **more}

    def place(self, reference: str = "42", **more: Any) -> str:
        return self.get("pin_ekle", **self.order_params(reference, **more))

    def check(self, reference: str = "42") -> str:
        return self.get("pin_kontrol", tahsilat_api_islem_id=reference)

    def load(self, reference: str = "42", **more: Any) -> str:
        params = {"operator": "turkcell", "tip": "tam", "kontor": "100", "gsmno": "5321234567"}
        return self.get("tl_servis", **{**params, "tekilnumara": reference, **more})

    def check_load(self, reference: str = "42") -> str:
        return self.get("tl_kontrol", tekilnumara=reference)


@dataclass
class SmmBuyer:
    """A reseller of likes."""

    shop: Shop
    key: str
    player: str = field(default_factory=new_player)
    client: Client = field(default_factory=Client)

    def post(self, action: str, **params: Any) -> Any:
        return self.read(self.client.post("/api/v2", {"key": self.key, "action": action, **params}))

    def read(self, response: Any, status: int = 200) -> Any:
        assert (response.status_code, response["Content-Type"]) == (status, "application/json")
        assert response["Cache-Control"] == "no-store"
        return json.loads(response.content, parse_float=Decimal)

    def add(self, **more: Any) -> Any:
        params = {"service": self.shop.package.pk, "link": self.player, "quantity": 1}
        return self.post("add", **{**params, **more})


def key_of(shop: Shop) -> str:
    """A key of the shop's customer."""
    return issue_key(shop.customer, clock.now())[1]


def make_airtime_shop(url: str) -> Shop:
    """A shop that loads 100 on a telephone number."""
    shop = make_shop(url, needs_code=False)
    Package.objects.filter(pk=shop.package.pk).update(code="turkcell-tam-100", quantity_kind="one", quantity_max=1)
    InputField.objects.filter(product=shop.package.product).update(
        name="gsm", label="Number", kind="phone", pattern=r"5[0-9]{9}"
    )
    shop.package.refresh_from_db()
    return shop


LOGINS: dict[str, str] = {
    "znet": "sifre",
    "znet_tl": "sifre",
    "smm_v2": "key",
    "internal": "token",
    "client_api": "token",
}
"""The secret of each kind of account that takes a key of ours."""

FIXED: dict[str, dict[str, str]] = {
    "internal": {"recipient_name": "player_id"},
    "client_api": {"recipient_name": "player_id"},
}
"""What a mapping of each kind fixes beside the product."""


def ids_of(kind: str, package: Package) -> dict[str, str]:
    """The seller's package as the buyer's mapping names it."""
    if kind == "znet":
        return {"oyun": str(package.product_id), "kupur": str(package.pk)}
    if kind == "znet_tl":
        operator, tip, kontor = package.code.split("-")
        return {"operator": operator, "tip": tip, "kontor": kontor}
    return {"service": str(package.pk)} if kind == "smm_v2" else {"oyun": str(package.pk)}


def make_account(tenant: Any, url: str, kind: str, key: str) -> Integration:
    """An account of this kind at the doors behind `url`."""
    integration = Integration(
        tenant=tenant,
        name=f"Neighbour of {tenant.slug} {key[:9]}",
        kind=kind,
        base_url=url,
        login=key.partition(".")[0] if kind.startswith("znet") else "",
        currency="TRY",
        options={"place_timeout_s": 5, "ask_timeout_s": 5, "rate_per_s": 1000, "burst": 1000},
        is_local=True,
    )
    integration.set_secrets({LOGINS[kind]: key})
    integration.full_clean()
    integration.save()
    return integration


def connect(buyer: Package, seller: Package, url: str, kind: str, *, position: int = 1) -> Route:
    """Let the buyer's package be bought at the seller's door of this kind, by a customer of its own there."""
    key = issue_key(make_customer(seller.tenant), clock.now())[1]
    integration = make_account(buyer.tenant, url, kind, key)
    ids = ids_of(kind, seller)
    mapping = PackageMapping(
        package=buyer,
        integration=integration,
        oyun=ids.pop("oyun", str(seller.pk)),
        kupur=ids.pop("kupur", ""),
        params={**FIXED.get(kind, {}), **ids},
        cost_micros=35_000_000,
    )
    mapping.full_clean()
    mapping.save()
    return Route.objects.create(package=buyer, integration=integration, position=position)


def make_reselling_shop(url: str, seller: Shop, kind: str) -> Shop:
    """A shop whose one package is bought at `seller` through the door of this kind."""
    tenant = make_tenant()
    needs_code = seller.package.product.needs_code
    package = make_package(tenant, needs_code=needs_code, price="40.00")
    route = connect(package, seller.package, url, kind)
    assert route.integration is not None
    return Shop(tenant, make_customer(tenant), package, route.integration, route)
