"""Two installations with servers of their own: one buys at the other in each dialect, and a loop ends unpaid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from tests.chaos.real_hub import RealHub, real_hub, wait_for
from tests.servers import free_port

CONNECT = """
import json, sys, django; django.setup()
from apps.accounts.models import Tenant
from apps.catalog.models import Package
from apps.ops.demo import FAST_OPTIONS
from apps.providers.models import Integration, PackageMapping, Route
told = json.loads(sys.argv[1])
tenant = Tenant.objects.get(slug="demo")
options = {name: value for name, value in FAST_OPTIONS.items() if name != "final_after_s" or told["kind"] == "znet"}
account = Integration(tenant=tenant, name=told["kind"] + told["code"], kind=told["kind"], base_url=told["url"],
    login=told["login"], currency="TRY", options=options, is_local=True)
account.set_secrets(told["secrets"])
account.full_clean()
account.save()
package = Package.objects.get(tenant=tenant, code=told["code"])
Route.objects.filter(package=package).delete()
mapping = PackageMapping(package=package, integration=account, cost_micros=1_000_000, **told["ids"])
mapping.full_clean()
mapping.save()
Route.objects.create(package=package, position=1, integration=account)
"""


def connect(buyer: RealHub, seller: RealHub, kind: str, code: str, name: str) -> None:
    """Let one package of the buyer be bought at the seller's door of this kind, under the seller's name for it."""
    key = seller.key
    secrets = {{"znet": "sifre", "smm_v2": "key", "client_api": "token"}[kind]: key}
    login = key.partition(".")[0] if kind == "znet" else ""
    ids = {"znet": znet_ids, "smm_v2": smm_ids, "client_api": client_ids}[kind](seller, name)
    told = {"kind": kind, "url": seller.url, "login": login, "secrets": secrets, "code": code, "ids": ids}
    buyer.run(["-c", CONNECT, json.dumps(told)])


def znet_ids(seller: RealHub, name: str) -> dict[str, object]:
    login = {"kod": seller.key.partition(".")[0], "sifre": seller.key}
    told = requests.get(f"{seller.url}/servis/pin_listesi.php", login, timeout=30).json()
    (row,) = [row for row in told["result"] if row["adi"] == name]
    return {"oyun": row["oyun_bilgi_id"], "kupur": row["kupur"]}


def smm_ids(seller: RealHub, name: str) -> dict[str, object]:
    form = {"key": seller.key, "action": "services"}
    told = requests.post(f"{seller.url}/api/v2", form, timeout=30).json()
    (row,) = [row for row in told if f"{row['category']} {row['name']}" == name]
    return {"oyun": str(row["service"]), "params": {"service": str(row["service"])}}


def client_ids(seller: RealHub, name: str) -> dict[str, object]:
    headers = {"api-token": seller.key}
    told = requests.get(f"{seller.url}/client/api/products", headers=headers, timeout=30).json()
    (row,) = [row for row in told if row["name"] == name]
    return {"oyun": str(row["id"]), "params": {"recipient_name": "player_id"}}


def standing(hub: RealHub, player: str) -> list[tuple[object, ...]]:
    """Status and codes of every order for the player."""
    return hub.query(
        "SELECT status, (SELECT count(*) FROM orders_code WHERE order_id = product_orders.id)"  # noqa: S608 - our own words
        f" FROM product_orders WHERE user_identifier = '{player}'"
    )


def pins(hub: RealHub, number: int) -> list[str]:
    """What the buyer's customer is shown."""
    headers = {"Authorization": f"Bearer {hub.key}"}
    told = requests.post(f"{hub.url}/api/v1/orders/{number}/codes/reveal", headers=headers, timeout=30)
    assert told.status_code == 200, told.text
    return [code["value"] for code in told.json()["codes"]]


@pytest.mark.smoke
class TestTwoInstallations:
    def test_buy_at_each_other_in_each_dialect_and_never_in_a_circle(self, tmp_path: Path) -> None:
        folders = [tmp_path / name for name in ("seller", "buyer")]
        for folder in folders:
            folder.mkdir()
        with real_hub(folders[0]) as (seller, simulator, _), real_hub(folders[1]) as (buyer, idle, _):
            for hub in (seller, buyer):
                hub.start_web(free_port())
            connect(buyer, seller, "znet", "pubg-60", "PUBG Mobile UC 60 UC")
            connect(buyer, seller, "client_api", "steam-50", "Steam Wallet Code 50 TRY")
            connect(buyer, seller, "smm_v2", "freefire-100", "Free Fire Diamonds 100 Diamonds")
            connect(buyer, seller, "znet", "freefire-310", "Free Fire Diamonds 310 Diamonds")
            connect(seller, buyer, "znet", "freefire-310", "Free Fire Diamonds 310 Diamonds")
            for hub in (seller, buyer):
                hub.start_worker("worker")
                hub.start_beat()
            codes = {
                "two-znet": "pubg-60",
                "two-client": "steam-50",
                "two-smm": "freefire-100",
                "two-loop": "freefire-310",
            }
            numbers = {player: buyer.order(player, code) for player, code in codes.items()}
            ends = {player: ("completed", int(player in ("two-znet", "two-client"))) for player in codes}
            ends["two-loop"] = ("rejected", 0)
            for player, end in ends.items():
                for hub in (buyer, seller):
                    wait_for(lambda hub=hub, player=player, end=end: standing(hub, player) == [end], player, 150)
            shown = [pins(buyer, numbers[player]) for player in ("two-znet", "two-client")]
            given = {entry["recipient"]: entry for entry in simulator.truth() if entry["event"] == "bought"}
            sold = [given[player]["planned_pins"][:1] for player in ("two-znet", "two-client")]
            bought = [entry["recipient"] for entry in simulator.truth() if entry["event"] == "bought"]
            others = [entry for entry in idle.truth() if entry["event"] == "bought"]
            logs = seller.logs() + buyer.logs()

        assert shown == sold
        assert sorted(bought) == ["two-client", "two-smm", "two-znet"]
        assert others == []
        assert seller.key not in logs
        assert buyer.key not in logs
