"""The selling side of the ZNET panels: its lines of text, its refusals, and what it never says."""

from __future__ import annotations

import hmac
import json
from datetime import timedelta
from typing import Any

import pytest

from apps.accounts.keys import issue_key
from apps.accounts.models import ApiKey, Tenant
from apps.api import znet_door as door
from apps.api import znet_door_shapes as shapes
from apps.api.dialects import find_order
from apps.catalog.models import InputField, Package, PackagePrice
from apps.common import clock
from apps.orders import unseen
from apps.orders.creation import NewOrder, create_order
from apps.orders.models import Attempt, Order, OrderEvent, UnseenReference
from apps.orders.states import OrderStatus
from apps.providers.models import Integration
from apps.wallet import ledger
from tests.factories import (
    Stage,
    check_invariants,
    make_customer,
    make_package,
    make_shop,
    make_tenant,
    pins_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.door_buyers import ZnetBuyer, key_of, make_airtime_shop
from tests.functional.test_client_api_door import add_code

__all__ = ["committed", "simulator", "stage"]

both_databases = pytest.mark.both_databases

WAITING = "OK|1| |İşlemde"
CANCELLED = "OK|3| |İptal edildi"
LOGIN_FAILED = "bayikodu yada şifre geçersiz"
HORIZON_S = unseen.IN_FLIGHT_FOR.total_seconds()


@pytest.fixture
def buyer(stage: Stage) -> ZnetBuyer:
    """A dealer at a shop that buys at the simulated panel."""
    shop = make_shop(stage.url)
    return ZnetBuyer(shop, key_of(shop))


@pytest.fixture
def loader(stage: Stage) -> ZnetBuyer:
    """A dealer at a shop that sells airtime."""
    shop = make_airtime_shop(stage.url)
    return ZnetBuyer(shop, key_of(shop))


class TestPlacing:
    @both_databases
    def test_tells_cost_and_balance_and_keeps_the_reference_as_the_key(self, buyer: ZnetBuyer) -> None:
        assert buyer.place("100000000000000042") == "OK|35.00|965.00"
        order = Order.objects.get()
        assert (order.idempotency_key, order.parent_reference) == ("100000000000000042", "100000000000000042")
        assert (order.customer, order.quantity, order.user_identifier) == (buyer.shop.customer, 1, buyer.player)

    def test_may_be_a_form_so_that_the_key_is_in_no_address(self, buyer: ZnetBuyer) -> None:
        response = buyer.client.post("/servis/pin_ekle.php", {**buyer.login, **buyer.order_params()})
        assert buyer.read(response) == "OK|35.00|965.00"

    def test_is_no_side_effect_of_looking(self, buyer: ZnetBuyer) -> None:
        params = {**buyer.login, **buyer.order_params()}
        assert buyer.client.head("/servis/pin_ekle.php", params).status_code == 200
        assert buyer.read(buyer.client.put("/servis/pin_ekle.php")) == "3|Eksik Parametre"
        assert not Order.objects.exists()

    @both_databases
    def test_gives_the_first_order_to_a_repeated_reference(self, buyer: ZnetBuyer) -> None:
        assert buyer.place() == buyer.place() == "OK|35.00|965.00"
        PackagePrice.objects.update(unit_price_micros=99_000_000)
        Package.objects.update(is_active=False)
        assert buyer.place() == "OK|35.00|965.00"
        assert Order.objects.count() == 1

    def test_refuses_another_order_under_a_used_reference(self, buyer: ZnetBuyer) -> None:
        buyer.place()
        more = make_package(buyer.shop.tenant)
        refused = "3|Bu referans daha önce başka bir sipariş için kullanıldı"
        assert buyer.place(oyuncu_bilgi="P9999") == refused
        assert buyer.place(kupur=more.pk, oyun=more.product_id) == refused
        assert buyer.place(kupur="0") == refused
        assert Order.objects.count() == 1

    def test_knows_another_order_that_won_the_race(self, buyer: ZnetBuyer, monkeypatch: pytest.MonkeyPatch) -> None:
        buyer.place()
        monkeypatch.setattr(door, "find_order", lambda customer, key: None)
        assert buyer.place() == "OK|35.00|965.00"
        assert buyer.place(oyuncu_bilgi="P9999").startswith("3|Bu referans daha önce")
        assert Order.objects.count() == 1

    def test_shares_its_column_with_the_keys_of_rest(self, buyer: ZnetBuyer) -> None:
        new = NewOrder(buyer.shop.package.code, 1, {"player_id": buyer.player})
        create_order(buyer.shop.customer, new, "42", clock.now())
        assert buyer.place() == "OK|35.00|965.00"
        assert Order.objects.count() == 1

    def test_keeps_the_references_of_customers_apart(self, buyer: ZnetBuyer) -> None:
        buyer.place()
        other = ZnetBuyer(buyer.shop, issue_key(make_customer(buyer.shop.tenant), clock.now())[1])
        assert other.place() == "OK|35.00|965.00"
        assert Order.objects.count() == 2

    def test_burns_no_reference_by_a_refusal(self, buyer: ZnetBuyer) -> None:
        assert buyer.place(oyuncu_bilgi="?") == "3|Oyuncu bilgisi geçersiz"
        assert buyer.place() == "OK|35.00|965.00"

    @both_databases
    def test_tells_no_debt_as_money_that_is_left(self, buyer: ZnetBuyer) -> None:
        customer = make_customer(buyer.shop.tenant, "10", credit="100")
        poor = ZnetBuyer(buyer.shop, issue_key(customer, clock.now())[1])
        assert poor.get("bakiye_kontrol") == "OK|10.00"
        assert poor.place() == "OK|35.00|0.00"
        assert poor.get("bakiye_kontrol") == "OK|0.00|25.00"


class TestFields:
    def add(self, buyer: ZnetBuyer, name: str, target: str, kind: str = "text", **more: Any) -> None:
        InputField.objects.create(
            product=buyer.shop.package.product, name=name, label=name, target=target, kind=kind, **more
        )

    def test_are_split_at_spaces_the_last_one_takes_the_rest(self, buyer: ZnetBuyer) -> None:
        self.add(buyer, "note", "param", position=1)
        self.add(buyer, "server", "extra_field", position=2)
        buyer.place(oyuncu_bilgi="P001  EU say hello")
        order = Order.objects.get()
        assert (order.user_identifier, order.extra_field, order.params) == ("P001", "EU", {"note": "say hello"})
        assert buyer.place(oyuncu_bilgi="P001 EU say hello") == "OK|35.00|965.00"
        assert Order.objects.count() == 1

    def test_keep_spaces_of_a_single_one(self, buyer: ZnetBuyer) -> None:
        InputField.objects.update(pattern="")
        buyer.place(oyuncu_bilgi="Ağa Bey")
        assert Order.objects.get().user_identifier == "Ağa Bey"

    def test_that_are_missing_are_refused(self, buyer: ZnetBuyer) -> None:
        self.add(buyer, "server", "extra_field", position=1)
        assert buyer.place() == "3|Oyuncu bilgisi geçersiz"

    def test_that_are_telephone_numbers_come_from_the_phone(self, buyer: ZnetBuyer) -> None:
        self.add(buyer, "phone", "param", "phone", required=False)
        buyer.place("1", oyuncu_bilgi="1234567890", musteri_tel="5321234567")
        buyer.place("2", oyuncu_bilgi="1234567891", musteri_tel="1234567891")
        told = list(Order.objects.order_by("id").values_list("user_identifier", "params"))
        assert told == [("1234567890", {"phone": "5321234567"}), ("1234567891", {})]

    def test_that_are_one_telephone_number_come_from_either(self, buyer: ZnetBuyer) -> None:
        InputField.objects.update(kind="phone", pattern="")
        buyer.place("1", musteri_tel="5321234567", oyuncu_bilgi="")
        buyer.place("2", musteri_tel="", oyuncu_bilgi="5321234568")
        told = list(Order.objects.order_by("id").values_list("user_identifier", flat=True))
        assert told == ["5321234567", "5321234568"]

    def test_are_not_asked_of_a_gift_card(self, buyer: ZnetBuyer) -> None:
        InputField.objects.all().delete()
        assert buyer.place() == "OK|35.00|965.00"
        assert (Order.objects.get().user_identifier, Order.objects.get().intent) == ("", "")


class TestLogin:
    """A login that fails is refused where an order was asked for, and answered by silence where one was asked about."""

    SAID = {
        "bakiye_kontrol": "",
        "pin_kontrol": "",
        "tl_kontrol": "",
        "pin_ekle": f"3|{LOGIN_FAILED}",
        "tl_servis": f"OK|3|{LOGIN_FAILED}|0.00",
        "paket_listesi": f"OK|3|{LOGIN_FAILED}|0.00",
        "pin_listesi": json.dumps({"success": False, "result": [], "error": LOGIN_FAILED}, ensure_ascii=False),
    }

    def ask(self, buyer: ZnetBuyer, name: str, **login: str) -> str:
        params = {**buyer.order_params(), "tahsilat_api_islem_id": "42", "tekilnumara": "42"}
        return buyer.read(buyer.client.get(f"/servis/{name}.php", {**params, **login}))

    @pytest.mark.parametrize("name", SAID)
    def test_that_fails_never_looks_like_a_cancelled_order(self, buyer: ZnetBuyer, name: str) -> None:
        buyer.place()
        other = issue_key(make_customer(buyer.shop.tenant), clock.now())[1]
        logins: list[dict[str, str]] = [
            {},
            {"kod": buyer.kod},
            {"sifre": buyer.key},
            {"kod": "", "sifre": ""},
            {"kod": buyer.kod, "sifre": buyer.key + "x"},
            {"kod": buyer.kod, "sifre": other},
            {"kod": "demo", "sifre": buyer.key},
            {"kod": buyer.kod, "sifre": "şifre"},
        ]
        assert {self.ask(buyer, name, **login) for login in logins} == {self.SAID[name]}

    @pytest.mark.parametrize("name", SAID)
    @pytest.mark.parametrize("switch_off", [ApiKey.objects, Tenant.objects], ids=["key", "shop"])
    def test_is_over_with_its_key_and_its_shop(self, buyer: ZnetBuyer, name: str, switch_off: Any) -> None:
        switch_off.update(is_active=False)
        assert self.ask(buyer, name, **buyer.login) == self.SAID[name]

    def test_is_named_as_airtime_names_it_too(self, buyer: ZnetBuyer) -> None:
        response = buyer.client.get("/servis/bakiye_kontrol.php", {"bayi_kodu": buyer.kod, "sifre": buyer.key})
        assert buyer.read(response) == "OK|1000.00"

    def test_has_an_answer_for_every_address(self) -> None:
        assert set(self.SAID) == set(door.ADDRESSES)

    def test_is_looked_up_at_every_failure_so_that_time_tells_nothing(
        self, buyer: ZnetBuyer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compared: list[Any] = []
        real = hmac.compare_digest

        def compare(told: Any, known: Any) -> bool:
            compared.append(told)
            return real(told, known)

        monkeypatch.setattr(hmac, "compare_digest", compare)
        self.ask(buyer, "pin_kontrol", kod=buyer.kod, sifre="hub_00.nope")
        assert buyer.kod.encode() in compared


class TestRefusals:
    def test_a_wallet_that_is_too_low(self, buyer: ZnetBuyer) -> None:
        customer = make_customer(buyer.shop.tenant, "34.99")
        poor = ZnetBuyer(buyer.shop, issue_key(customer, clock.now())[1])
        assert poor.place() == "3|Bakiye Yetersiz"

    def test_a_product_that_is_not_there(self, buyer: ZnetBuyer) -> None:
        foreign = make_package(make_tenant())
        for oyun, kupur in [("", ""), ("x", "y"), (foreign.product_id, foreign.pk), (1, 10**30)]:
            assert buyer.place(oyun=oyun, kupur=kupur) == "3|Kupur Bilgisi Bulunamadı"
        assert buyer.place(oyun=buyer.shop.package.product_id + 1) == "3|Kupur Bilgisi Bulunamadı"

    def test_a_product_of_another_shop_that_has_the_same_code(self, buyer: ZnetBuyer) -> None:
        foreign = make_package(make_tenant())
        Package.objects.filter(pk=foreign.pk).update(code=buyer.shop.package.code)
        assert buyer.place(oyun=foreign.product_id, kupur=foreign.pk) == "3|Kupur Bilgisi Bulunamadı"
        assert not Order.objects.exists()

    def test_a_product_that_was_taken_off(self, buyer: ZnetBuyer) -> None:
        Package.objects.update(is_active=False)
        assert buyer.place() == "3|Kupur Bilgisi Bulunamadı"

    def test_a_product_that_is_not_sold_one_at_a_time(self, buyer: ZnetBuyer) -> None:
        Package.objects.update(quantity_min=2)
        assert buyer.place() == "3|Kupur Bilgisi Bulunamadı"
        assert json.loads(buyer.get("pin_listesi"))["result"] == []

    def test_a_product_that_cannot_be_delivered_names_no_supplier(self, buyer: ZnetBuyer) -> None:
        Integration.objects.update(is_enabled=False)
        assert buyer.place() == "3|Stok yok"

    @pytest.mark.parametrize("reference", ["", " ", "a b", "x" * 51, "şş", "1|2"])
    def test_an_order_without_a_usable_reference(self, buyer: ZnetBuyer, reference: str) -> None:
        assert buyer.place(reference) == "3|Eksik Parametre: referans"
        assert buyer.check(reference) == "3|Eksik Parametre: referans"

    def test_a_parameter_twice(self, buyer: ZnetBuyer) -> None:
        assert buyer.place(["1", "2"]) == "3|Eksik Parametre"  # type: ignore[arg-type]  # a list is sent as two

    @both_databases
    def test_the_same_again_for_the_same_player_unless_it_is_meant(self, buyer: ZnetBuyer) -> None:
        buyer.place("1")
        first = Order.objects.get()
        assert buyer.place("2") == (
            f"3|Bu ürün bu oyuncu için kısa süre geçersiz: sipariş {first.pk}; bilerek ise repeat=1"
        )
        assert buyer.place("2", repeat="x") == "3|Eksik Parametre"
        assert buyer.place("2", repeat="1") == "OK|35.00|930.00"
        assert Order.objects.count() == 2

    def test_what_breaks_here_is_unknown(self, buyer: ZnetBuyer, monkeypatch: pytest.MonkeyPatch) -> None:
        def break_down(*_: object) -> None:
            raise RuntimeError("the database is away")

        monkeypatch.setattr(unseen, "create_order", break_down)
        response = buyer.client.get("/servis/pin_ekle.php", {**buyer.login, **buyer.order_params()})
        assert buyer.read(response, 500) == ""

    @pytest.mark.parametrize("path", ["", "fatura_ekle.php", "pin_ekle", "pin_ekle.php/"])
    def test_another_address(self, buyer: ZnetBuyer, path: str) -> None:
        assert buyer.read(buyer.client.get(f"/servis/{path}", buyer.login), 404) == ""

    def test_write_nothing(self, buyer: ZnetBuyer) -> None:
        for told in (buyer.place(""), buyer.place(kupur=0), buyer.place(oyuncu_bilgi="")):
            assert told.startswith("3|")
        assert not Order.objects.exists()
        assert ledger.balance_of(buyer.shop.customer.pk, "TRY").micros == 1_000_000_000


class TestChecking:
    @both_databases
    def test_tells_waiting_then_the_pin_and_writes_it_down_once(self, buyer: ZnetBuyer, stage: Stage) -> None:
        stage.simulator.set_fate(recipient=buyer.player, complete_after_s=600)
        buyer.place()
        assert buyer.check() == WAITING
        stage.run_until_quiet(500)
        assert buyer.check() == WAITING
        stage.run_until_quiet()
        (pin,) = pins_of(Order.objects.get())
        assert {buyer.check() for _ in range(3)} == {f"OK|2|{pin}|Yüklendi"}
        (event,) = OrderEvent.objects.filter(kind="codes_revealed")
        assert (event.cause, event.actor, event.data) == ("znet", buyer.kod, {"codes": 1})
        check_invariants(stage)

    @both_databases
    def test_tells_cancelled_when_the_money_is_back(self, buyer: ZnetBuyer, stage: Stage) -> None:
        stage.simulator.set_fate(recipient=buyer.player, final="cancelled")
        buyer.place()
        stage.run_until_quiet()
        assert buyer.check() == CANCELLED
        assert sums_of(Order.objects.get())["release"] == 35_000_000

    @both_databases
    def test_tells_doubt_as_waiting(self, buyer: ZnetBuyer, stage: Stage) -> None:
        stage.simulator.set_fate(recipient=buyer.player, place="accept_then_500", visible_after_s=10**6)
        buyer.place()
        stage.run_until_quiet()
        assert Attempt.objects.get().state == "in_doubt"
        assert buyer.check() == WAITING

    def test_tells_a_direct_top_up_with_a_space_for_its_pin(self, stage: Stage) -> None:
        shop = make_shop(stage.url, needs_code=False)
        buyer = ZnetBuyer(shop, key_of(shop))
        buyer.place()
        stage.run_until_quiet()
        assert buyer.check() == "OK|2| |Yüklendi"

    def test_tells_no_code_of_an_order_that_is_not_over(self, buyer: ZnetBuyer, stage: Stage) -> None:
        stage.simulator.set_fate(recipient=buyer.player, complete_after_s=600)
        buyer.place()
        stage.run_until_quiet(60)
        add_code(Order.objects.get(), "EARLY", is_quarantined=False)
        assert buyer.check() == WAITING
        assert not OrderEvent.objects.filter(kind="codes_revealed").exists()

    def test_encodes_a_pin_that_would_split_the_line(self) -> None:
        assert shapes.join_state("2", "A|B+C 1%", "Yüklendi") == "OK|2|A%7CB%2BC%201%25|Y%C3%BCklendi"

    def test_tells_no_order_of_another_customer(self, buyer: ZnetBuyer, stage: Stage) -> None:
        buyer.place()
        stage.run_until_quiet()
        other = ZnetBuyer(buyer.shop, issue_key(make_customer(buyer.shop.tenant), clock.now())[1])
        assert other.check() == WAITING

    def test_has_a_state_for_each_status(self) -> None:
        waiting = {OrderStatus.PENDING, OrderStatus.PROCESSING, OrderStatus.REVIEW}
        assert {status for status, state in shapes.TOLD_STATE.items() if state == "1"} == waiting
        assert set(shapes.TOLD_STATE) == set(OrderStatus)


class TestAnUnseenReference:
    @both_databases
    def test_is_waiting_until_its_order_cannot_be_on_its_way_any_more(self, buyer: ZnetBuyer, stage: Stage) -> None:
        assert buyer.check() == WAITING
        stage.move(HORIZON_S)
        assert buyer.check() == WAITING
        stage.move(1)
        assert buyer.check() == "3|Kayıt Bulunamadı"

    @both_databases
    def test_that_was_told_as_absent_is_never_ordered_again(self, buyer: ZnetBuyer, stage: Stage) -> None:
        buyer.check()
        stage.move(HORIZON_S + 1)
        assert buyer.check() == "3|Kayıt Bulunamadı"
        assert buyer.place() == "3|Bu referans kapandı, ürün satışa kapalı"
        assert buyer.check() == "3|Kayıt Bulunamadı"
        assert not Order.objects.exists()
        assert buyer.place("43") == "OK|35.00|965.00"

    @both_databases
    def test_may_be_ordered_while_it_was_not(self, buyer: ZnetBuyer, stage: Stage) -> None:
        buyer.check()
        stage.move(HORIZON_S + 1)
        assert buyer.place() == "OK|35.00|965.00"
        assert buyer.check() == WAITING
        assert UnseenReference.objects.get().closed_at is None

    @both_databases
    def test_whose_order_arrives_between_the_look_and_the_answer_is_not_absent(
        self, buyer: ZnetBuyer, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        buyer.check()
        stage.move(HORIZON_S + 1)
        look = find_order
        looks: list[str] = []

        def arrive(customer: Any, key: str) -> Any:
            looks.append(key)
            found = look(customer, key)
            if len(looks) == 1:
                monkeypatch.setattr(door, "find_order", look)
                buyer.place()
                monkeypatch.setattr(door, "find_order", arrive)
            return found

        monkeypatch.setattr(door, "find_order", arrive)
        assert buyer.check() == WAITING
        assert (len(looks), Order.objects.count()) == (2, 1)

    def test_is_forgotten_in_the_end(self, buyer: ZnetBuyer, stage: Stage) -> None:
        buyer.check()
        stage.move((unseen.KEPT_FOR + timedelta(seconds=1)).total_seconds())
        buyer.check("43")
        assert [row.reference for row in UnseenReference.objects.all()] == ["43"]


class TestShelves:
    @both_databases
    def test_tells_the_wallet(self, buyer: ZnetBuyer) -> None:
        assert buyer.get("bakiye_kontrol") == "OK|1000.00"

    @both_databases
    def test_lists_every_value_as_text(self, buyer: ZnetBuyer) -> None:
        package = buyer.shop.package
        assert json.loads(buyer.get("pin_listesi")) == {
            "success": True,
            "result": [
                {
                    "id": str(package.pk),
                    "adi": f"{package.product.name} 60 UC",
                    "aciklama": "player_id",
                    "oyun_id": str(package.product_id),
                    "oyun_adi": package.product.name,
                    "fiyat": "35.00",
                    "kupur": str(package.pk),
                    "oyun_bilgi_id": str(package.product_id),
                    "para_birimi": "TL",
                }
            ],
            "error": None,
        }

    def test_leaves_out_what_has_no_price_and_what_is_not_sold_here(self, buyer: ZnetBuyer) -> None:
        make_package(buyer.shop.tenant, currency="USD")
        make_package(make_tenant())
        assert len(json.loads(buyer.get("pin_listesi"))["result"]) == 1
        Package.objects.update(is_active=False)
        assert json.loads(buyer.get("pin_listesi"))["result"] == []


class TestAirtime:
    @both_databases
    def test_is_taken_then_loaded(self, loader: ZnetBuyer, stage: Stage) -> None:
        assert loader.load() == "OK|1|Talebiniz İşleme Alınmıştır.|35.00"
        order = Order.objects.get()
        assert (order.idempotency_key, order.user_identifier) == ("42", "5321234567")
        assert loader.check_load() == "2:islemde:35.00"
        stage.run_until_quiet()
        assert loader.check_load() == "1:olumlu_islem:35.00"

    @pytest.mark.parametrize(
        "more", [{"kontor": "100.00"}, {"operator": "TURKCELL", "tip": "Tam"}, {"operator": " turkcell "}]
    )
    def test_is_known_by_its_code_in_any_writing(self, loader: ZnetBuyer, more: dict[str, str]) -> None:
        assert loader.load(**more).startswith("OK|1|")

    @both_databases
    def test_that_was_sent_before_is_told_as_such(self, loader: ZnetBuyer) -> None:
        loader.load()
        assert loader.load() == "OK|8|Bu İşlem Daha Önce Gönderildi|0.00"
        refused = "OK|3|Bu referans daha önce başka bir sipariş için kullanıldı|0.00"
        assert loader.load(gsmno="5321234568") == loader.load(kontor="200") == refused
        assert Order.objects.count() == 1

    def test_for_the_same_number_again_is_refused_as_the_panels_do(self, loader: ZnetBuyer) -> None:
        loader.load("1")
        told = "OK|3|Aynı Numaraya Aynı Miktarda 10 Dakika İçinde İşlem Gerçekleşti|0.00"
        assert loader.load("2") == told
        assert loader.load("2", repeat="1").startswith("OK|1|")

    @pytest.mark.parametrize(
        ("more", "text"),
        [
            ({"kontor": "200"}, "Kupur Bilgisi Bulunamadı"),
            ({"operator": "x", "tip": "y"}, "Kupur Bilgisi Bulunamadı"),
            ({"gsmno": ""}, "Oyuncu bilgisi geçersiz"),
            ({"gsmno": "123"}, "Oyuncu bilgisi geçersiz"),
            ({"tekilnumara": ""}, "Eksik Parametre: referans"),
        ],
    )
    def test_is_refused_with_code_3(self, loader: ZnetBuyer, more: dict[str, str], text: str) -> None:
        assert loader.load(**more) == f"OK|3|{text}|0.00"
        assert not Order.objects.exists()

    def test_is_no_package_that_delivers_a_pin(self, loader: ZnetBuyer) -> None:
        loader.shop.package.product.needs_code = True
        loader.shop.package.product.save()
        assert loader.load() == "OK|3|Kupur Bilgisi Bulunamadı|0.00"
        assert loader.get("paket_listesi") == ""

    @both_databases
    def test_that_was_cancelled_is_told_when_the_money_is_back(self, loader: ZnetBuyer, stage: Stage) -> None:
        stage.simulator.set_fate(recipient="5321234567", final="cancelled")
        loader.load()
        assert loader.check_load() == "2:islemde:35.00"
        stage.run_until_quiet()
        assert loader.check_load() == "3:İptal edildi"
        stage.simulator.set_fate(recipient="5321234567", final="delivered")

    @both_databases
    def test_that_is_unseen_is_in_progress_then_absent_for_good(self, loader: ZnetBuyer, stage: Stage) -> None:
        assert loader.check_load() == "2:islemde:0.00"
        stage.move(HORIZON_S + 1)
        assert loader.check_load() == "3|Kayıt Bulunamadı"
        assert loader.load() == "OK|3|Bu referans kapandı, ürün satışa kapalı|0.00"

    def test_is_listed_in_records(self, loader: ZnetBuyer) -> None:
        product = loader.shop.package.product
        product.name = "Turkcell | 100^"
        product.save()
        make_package(loader.shop.tenant)
        assert loader.get("paket_listesi") == "Turkcell|tam|100|35.00|Turkcell 100 60 UC|^"
