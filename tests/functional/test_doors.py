"""What holds at every door for other shops' software: chains, loops, strangers, canaries, and many at once."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import resolve
from pytest_django.live_server_helper import LiveServer

from apps.api import client_api_shapes, znet_door_shapes
from apps.catalog.models import Package
from apps.common import checkpoints
from apps.orders import creation, unseen
from apps.orders.models import Attempt, Evidence, Order, UnseenReference
from apps.panel import words
from apps.providers.models import Integration
from apps.wallet import ledger
from tests.factories import (
    DIRECT_PRODUCT,
    Shop,
    Stage,
    add_route,
    check_invariants,
    make_integration,
    make_package,
    make_shop,
    make_tenant,
    new_player,
    order_from,
    pins_of,
    standing_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.door_buyers import (
    SmmBuyer,
    ZnetBuyer,
    connect,
    key_of,
    make_airtime_shop,
    make_reselling_shop,
)
from tests.functional.test_chains import order_of, sell, wallets

__all__ = ["committed", "simulator", "stage"]

both_databases = pytest.mark.both_databases

AT_ONCE = 50
DIALECTS = ("znet", "znet_tl", "smm_v2")
ADDRESSES = {
    "/client/api/profile": "client_api:profile",
    "/client/api/check": "client_api:check",
    "/servis/bakiye_kontrol.php": "znet_door:bakiye_kontrol",
    "/servis/pin_listesi.php": "znet_door:pin_listesi",
    "/servis/pin_ekle.php": "znet_door:pin_ekle",
    "/servis/pin_kontrol.php": "znet_door:pin_kontrol",
    "/servis/paket_listesi.php": "znet_door:paket_listesi",
    "/servis/tl_servis.php": "znet_door:tl_servis",
    "/servis/tl_kontrol.php": "znet_door:tl_kontrol",
    "/api/v2": "smm_door:door",
}


class TestTheAddresses:
    @pytest.mark.parametrize(("path", "name"), ADDRESSES.items())
    def test_are_known(self, path: str, name: str) -> None:
        assert resolve(path).view_name == name

    @pytest.mark.parametrize("path", ADDRESSES)
    def test_ask_for_no_cookie_and_no_token_against_forgery(self, stage: Stage, path: str) -> None:
        client = Client(enforce_csrf_checks=True)
        response = client.post(path, {})
        assert response.status_code == 200
        assert not response.cookies


def selling_shop(stage: Stage, kind: str) -> Shop:
    """A shop that has something to sell through the door of this kind."""
    return make_airtime_shop(stage.url) if kind == "znet_tl" else make_shop(stage.url, needs_code=kind == "znet")


def player_for(kind: str) -> str:
    """A recipient that no other test uses, as this kind writes it."""
    number = int(new_player().removeprefix("P"))
    return f"533{number:07}" if kind == "znet_tl" else f"P{number:06}"


class TestAChain:
    @both_databases
    @pytest.mark.parametrize("kind", DIALECTS)
    def test_buys_once_at_each_hop_and_delivers(self, stage: Stage, live_server: LiveServer, kind: str) -> None:
        seller = selling_shop(stage, kind)
        reseller = make_reselling_shop(live_server.url, seller, kind)
        player = player_for(kind)
        stage.simulator.set_fate(recipient=player, complete_after_s=90)
        order = order_from(reseller, player)
        stage.run_until_quiet()
        upstream = Order.objects.get(tenant=seller.tenant)
        assert standing_of(order) == standing_of(upstream) == ("completed", "completed", "")
        assert pins_of(order) == pins_of(upstream) == (stage.purchases(upstream)[0]["pins"] if kind == "znet" else [])
        assert len(stage.truth("bought")) == 1
        assert (sums_of(order)["capture"], sums_of(upstream)["capture"]) == (40_000_000, 35_000_000)
        assert Attempt.objects.get(order=order).cost_micros == 35_000_000
        check_invariants()

    @both_databases
    @pytest.mark.parametrize("kind", ["znet", "znet_tl"])
    def test_is_linked_by_the_reference_and_the_key(self, stage: Stage, live_server: LiveServer, kind: str) -> None:
        seller = selling_shop(stage, kind)
        order = order_from(make_reselling_shop(live_server.url, seller, kind), player_for(kind))
        stage.run_until_quiet()
        upstream = Order.objects.get(tenant=seller.tenant)
        attempt = Attempt.objects.get(order=order)
        order.refresh_from_db()
        assert upstream.idempotency_key == upstream.parent_reference == order.provider_referans == attempt.reference
        assert upstream.parent_attempt == attempt

    @both_databases
    @pytest.mark.parametrize("kind", DIALECTS)
    def test_gives_the_money_back_all_the_way(self, stage: Stage, live_server: LiveServer, kind: str) -> None:
        seller = selling_shop(stage, kind)
        reseller = make_reselling_shop(live_server.url, seller, kind)
        player = player_for(kind)
        stage.simulator.set_fate(recipient=player, final="cancelled")
        order = order_from(reseller, player)
        stage.run_until_quiet(3 * 86400)
        assert (standing_of(order)[0], standing_of(Order.objects.get(tenant=seller.tenant))[0]) == ("rejected",) * 2
        assert set(wallets().values()) == {1_000_000_000}

    @pytest.mark.parametrize("kind", DIALECTS)
    def test_tells_doubt_as_work_in_progress(self, stage: Stage, live_server: LiveServer, kind: str) -> None:
        seller = selling_shop(stage, kind)
        reseller = make_reselling_shop(live_server.url, seller, kind)
        player = player_for(kind)
        stage.simulator.set_fate(recipient=player, place="accept_then_500", visible_after_s=10**6)
        order = order_from(reseller, player)
        stage.run_until_quiet()
        upstream = Order.objects.get(tenant=seller.tenant)
        assert [Attempt.objects.get(order=each).state for each in (order, upstream)] == ["accepted", "in_doubt"]
        assert (sums_of(order), sums_of(upstream)) == ({"hold": 40_000_000}, {"hold": 35_000_000})

    def test_gives_a_pin_up_byte_for_byte_even_one_that_splits_lines(
        self, stage: Stage, live_server: LiveServer
    ) -> None:
        seller = selling_shop(stage, "znet")
        reseller = make_reselling_shop(live_server.url, seller, "znet")
        for pin in ("aB-09 çŞ/#&+%20=\"'<é>", "1234+5678", "%41%42"):
            player = new_player()
            stage.simulator.set_fate(recipient=player, pin=pin)
            order = order_from(reseller, player)
            stage.run_until_quiet()
            assert pins_of(order) == [pin]


class TestALoop:
    @both_databases
    @pytest.mark.parametrize(
        "kinds",
        [
            ("znet",),
            ("smm_v2",),
            ("znet", "znet"),
            ("smm_v2", "smm_v2"),
            ("znet", "smm_v2"),
            ("internal", "znet"),
            ("client_api", "smm_v2"),
            ("znet", "internal", "znet"),
        ],
        ids="-".join,
    )
    def test_is_refused_before_money_moves(self, stage: Stage, live_server: LiveServer, kinds: tuple[str, ...]) -> None:
        packages = [make_package(make_tenant(), needs_code=False, price="50.00") for _ in kinds]
        for package, seller, kind in zip(packages, [*packages[1:], packages[0]], kinds, strict=True):
            connect(package, seller, live_server.url, kind)
        sell(packages[0])
        stage.run_until_quiet(for_s=7200)
        assert Order.objects.count() == len(packages)
        assert {standing_of(each)[0] for each in Order.objects.all()} == {"rejected"}
        assert set(wallets().values()) == {1_000_000_000}
        assert Attempt.objects.get(order=order_of(packages[-1])).state == "refused"
        check_invariants()

    @both_databases
    @pytest.mark.parametrize("kind", ["znet", "smm_v2"])
    def test_lets_the_next_route_go_on(self, stage: Stage, live_server: LiveServer, kind: str) -> None:
        first, second = (make_package(make_tenant(), needs_code=False, price="50.00") for _ in range(2))
        connect(first, second, live_server.url, kind)
        connect(second, first, live_server.url, kind)
        add_route(second, make_integration(second.tenant, stage.url), position=2, product=DIRECT_PRODUCT)
        order = sell(first)
        stage.run_until_quiet(for_s=7200)
        assert standing_of(order)[0] == standing_of(order_of(second))[0] == "completed"
        assert (Order.objects.count(), len(stage.purchases())) == (2, 1)


def say(path: str, params: dict[str, Any], headers: dict[str, str], *, is_post: bool = False) -> str:
    """What the door answers, with its headers."""
    send = Client().post if is_post else Client().get
    reply = send(path, params, headers=headers)
    return f"{dict(reply.items())} {reply.content.decode()}"


def everything(key: str, package: Package, player: str, reference: str, number: int, **headers: str) -> dict[str, str]:
    """What each door says to this key about this package, this reference and this order; nothing new is ordered."""
    kod = {"kod": key.partition(".")[0], "sifre": key}
    pin: dict[str, Any] = {
        "oyun": package.product_id,
        "kupur": package.pk,
        "referans": reference,
        "oyuncu_bilgi": player,
    }
    gsm: dict[str, Any] = {
        "operator": "turkcell",
        "tip": "tam",
        "kontor": "100",
        "gsmno": player,
        "tekilnumara": reference,
    }
    servis: dict[str, dict[str, Any]] = {
        "bakiye_kontrol": {},
        "pin_listesi": {},
        "paket_listesi": {},
        "pin_ekle": pin,
        "pin_kontrol": {"tahsilat_api_islem_id": reference},
        "tl_servis": gsm,
        "tl_kontrol": {"tekilnumara": reference},
    }
    told = {
        f"/servis/{name}.php": say(f"/servis/{name}.php", {**kod, **params}, headers) for name, params in servis.items()
    }
    add: dict[str, Any] = {"service": package.pk, "link": player, "quantity": 1}
    actions: dict[str, dict[str, Any]] = {
        "services": {},
        "balance": {},
        "status": {"order": number},
        "add": add,
        "cancel": {"orders": number},
        "refill": {"order": number},
    }
    for action, params in actions.items():
        told[f"/api/v2 {action}"] = say("/api/v2", {"key": key, "action": action, **params}, headers, is_post=True)
    token = {**headers, "api-token": key}
    order: dict[str, Any] = {"qty": 1, "order_uuid": reference, "player_id": player}
    paths: dict[str, dict[str, Any]] = {
        "profile": {},
        "products": {},
        f"content/{package.product_id}": {},
        "check": {"orders": f"[ID_{number}]"},
        f"newOrder/{package.pk}/params": order,
    }
    for path, params in paths.items():
        told[f"/client/api/{path}"] = say(f"/client/api/{path}", params, token)
    return told


FOREIGN_HEADERS = ("X-Tenant-Id", "X-Tenant", "X-Legacy-User-Id", "X-Forwarded-User", "Host-Tenant")


class TestAnotherTenant:
    @both_databases
    def test_scenario_13_key_of_a_with_header_of_b_sees_and_changes_only_a(self, stage: Stage) -> None:
        own, foreign = make_shop(stage.url), make_shop(stage.url)
        theirs = ZnetBuyer(foreign, key_of(foreign))
        theirs.place("6f1c2b3a-4d5e-4f60-8a7b-9c0d1e2f3a4b")
        number = Order.objects.get().pk
        headers = dict.fromkeys(FOREIGN_HEADERS, str(foreign.tenant.pk))
        reference = "6f1c2b3a-4d5e-4f60-8a7b-9c0d1e2f3a4b"
        key = key_of(own)
        plain = everything(key, foreign.package, theirs.player, reference, number)
        told = everything(key, foreign.package, theirs.player, reference, number, **headers)
        assert told == plain
        said = "\n".join(told.values())
        for canary in (foreign.package.product.name, theirs.player, "965.00"):
            assert canary not in said
        assert Order.objects.filter(tenant=foreign.tenant).count() == Order.objects.count() == 1
        assert own.package.product.name in told["/servis/pin_listesi.php"]
        assert ledger.balance_of(foreign.customer.pk, "TRY").micros == 965_000_000
        mine = ZnetBuyer(own, key)
        mine.client = Client(headers=headers)
        assert mine.place("43") == "OK|35.00|965.00"
        assert Order.objects.get(idempotency_key="43").tenant == own.tenant


FATES: tuple[dict[str, Any], ...] = (
    {"complete_after_s": 600},
    {},
    {"final": "cancelled"},
    {"place": "refuse", "refuse_class": "balance"},
    {"place": "refuse", "refuse_class": "product"},
    {"place": "accept_then_500", "visible_after_s": 10**6},
)


class TestTheSupplier:
    @pytest.mark.parametrize("fate", FATES, ids=lambda fate: "-".join(map(str, fate)) or "delivered")
    @pytest.mark.parametrize("needs_code", [True, False], ids=["pin", "direct"])
    def test_is_named_at_no_door(self, stage: Stage, fate: dict[str, Any], needs_code: bool) -> None:
        shop = make_shop(stage.url, needs_code=needs_code)
        Integration.objects.update(name="CANARY-SUPPLIER")
        player, reference = new_player(), "6f1c2b3a-4d5e-4f60-8a7b-9c0d1e2f3a4b"
        stage.simulator.set_fate(recipient=player, **fate)
        buyer = ZnetBuyer(shop, key_of(shop), player)
        assert buyer.place(reference) == "OK|35.00|965.00"
        order = Order.objects.get()
        said: list[str] = []
        for seconds in (0, 300, 3600):
            stage.run_until_quiet(for_s=seconds)
            said += everything(buyer.key, shop.package, player, reference, order.pk).values()
        Integration.objects.update(is_enabled=False)
        said += everything(buyer.key, shop.package, new_player(), "7f1c2b3a-4d5e-4f60-8a7b-9c0d1e2f3a4b", 0).values()
        told = "\n".join(said)
        attempts = Attempt.objects.select_related("integration").all()
        canaries = {text for each in attempts for text in (each.reference, each.provider_order_id, each.reason)}
        canaries |= set(Evidence.objects.values_list("detail", flat=True))
        canaries |= {"CANARY", stage.url, "31.5", "Panel", "demo-secret"}
        assert attempts
        assert [canary for canary in canaries if canary and canary in told] == []


@pytest.mark.postgres
class TestWhileTheSameIsBeingPlaced:
    """Real threads on PostgreSQL: the first stands still before its commit while the second comes."""

    def second_answer(self, place: Callable[[], Any]) -> tuple[int, str]:
        reached, goes_on = threading.Event(), threading.Event()

        def stand_still(name: str) -> None:
            if name == "create.before_commit" and threading.current_thread().name == "first":
                reached.set()
                assert goes_on.wait(60)

        def place_first() -> None:
            try:
                place()
            finally:
                connection.close()

        checkpoints.set_hook(stand_still)
        thread = threading.Thread(target=place_first, name="first")
        thread.start()
        try:
            assert reached.wait(60)
            second = place()
        finally:
            goes_on.set()
            thread.join(60)
            checkpoints.set_hook(None)
        assert place().status_code == 200
        assert Order.objects.count() == 1
        return second.status_code, second.content.decode()

    def test_the_client_api_says_that_nothing_is_known(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        key, player = key_of(shop), new_player()
        params: dict[str, Any] = {"qty": 1, "order_uuid": "6f1c2b3a-4d5e-4f60-8a7b-9c0d1e2f3a4b", "player_id": player}
        path = f"/client/api/newOrder/{shop.package.pk}/params"
        status, told = self.second_answer(lambda: Client().get(path, params, headers={"api-token": key}))
        assert (status, json.loads(told)["code"]) == (503, 500)


@pytest.mark.postgres
class TestManyAtOnce:
    @pytest.fixture(autouse=True)
    def patience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However busy the machine is, nobody is sent away to ask again."""
        monkeypatch.setattr(creation, "IN_FLIGHT_WAIT", "60s")

    def at_once(self, acts: list[Callable[[], Any]]) -> list[Any]:
        """Every act in a thread of its own, all starting together."""
        start = threading.Barrier(len(acts))

        def run(act: Callable[[], Any]) -> Any:
            start.wait(60)
            try:
                return act()
            finally:
                connection.close()

        with ThreadPoolExecutor(len(acts)) as pool:
            return list(pool.map(run, acts))

    def check_one(self, shop: Shop) -> None:
        order = Order.objects.get()
        assert ledger.balance_of(shop.customer.pk, "TRY").micros == 965_000_000
        assert sums_of(order) == {"hold": 35_000_000}
        check_invariants()

    def test_with_one_reference_are_one_order_and_one_charge(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        buyers = [ZnetBuyer(shop, key) for key in itertools.repeat(key_of(shop), AT_ONCE)]
        player = new_player()
        told = self.at_once([partial(each.place, "42", oyuncu_bilgi=player, musteri_tel="") for each in buyers])
        assert set(told) == {"OK|35.00|965.00"}
        self.check_one(shop)

    def test_with_one_airtime_reference_are_one_order_and_one_charge(self, stage: Stage) -> None:
        shop = make_airtime_shop(stage.url)
        buyers = [ZnetBuyer(shop, key) for key in itertools.repeat(key_of(shop), AT_ONCE)]
        told = self.at_once([partial(each.load, "42") for each in buyers])
        assert sorted(set(told)) == [
            "OK|1|Talebiniz İşleme Alınmıştır.|35.00",
            "OK|8|Bu İşlem Daha Önce Gönderildi|0.00",
        ]
        assert sum(line.startswith("OK|1|") for line in told) == 1
        self.check_one(shop)

    def test_with_one_uuid_are_one_order_and_one_charge(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        key, player = key_of(shop), new_player()
        params: dict[str, Any] = {"qty": 1, "order_uuid": "6f1c2b3a-4d5e-4f60-8a7b-9c0d1e2f3a4b", "player_id": player}
        path = f"/client/api/newOrder/{shop.package.pk}/params"
        told = self.at_once([lambda: Client().get(path, params, headers={"api-token": key}).json()] * AT_ONCE)
        assert {each["status"] for each in told} == {"OK"}
        self.check_one(shop)

    def test_with_one_link_are_one_order_and_one_charge(self, stage: Stage) -> None:
        shop = make_shop(stage.url, needs_code=False)
        key, player = key_of(shop), new_player()
        buyers = [SmmBuyer(shop, key, player) for _ in range(AT_ONCE)]
        told = self.at_once([each.add for each in buyers])
        assert sum("order" in each for each in told) == 1
        assert [each for each in told if "order" not in each] == [
            {"error": "neworder.error.link_duplicate"} for _ in range(AT_ONCE - 1)
        ]
        self.check_one(shop)

    def test_that_order_and_ask_never_hear_that_an_order_is_absent(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        key = key_of(shop)
        for number in range(10):
            reference = f"race-{number}"
            asker = ZnetBuyer(shop, key)
            asker.check(reference)
            stage.move(unseen.IN_FLIGHT_FOR.total_seconds() + 1)
            acts: list[Callable[[], str]] = []
            for _ in range(4):
                placer = ZnetBuyer(shop, key, asker.player)
                acts += [
                    partial(placer.place, reference),
                    partial(placer.check, reference),
                ]
            told = set(self.at_once(acts))
            is_ordered = Order.objects.filter(idempotency_key=reference).exists()
            is_closed = UnseenReference.objects.get(reference=reference).closed_at is not None
            assert is_ordered is not is_closed
            assert ("3|Kayıt Bulunamadı" in told) is is_closed
            assert any(line.startswith("OK|35.00|") for line in told) is is_ordered


class TestTheStory:
    @pytest.mark.parametrize("cause", [client_api_shapes.CAUSE, znet_door_shapes.CAUSE])
    def test_has_a_word_for_each_door_that_shows_codes(self, cause: str) -> None:
        assert cause in words.CAUSES
