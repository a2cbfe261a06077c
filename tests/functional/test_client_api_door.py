"""The selling side of the client API: its shapes, its refusals, and a shop that buys through it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from apps.accounts.keys import issue_key
from apps.accounts.models import ApiKey, Customer
from apps.api import client_api as door
from apps.api import client_api_shapes as shapes
from apps.catalog.models import InputField, Package
from apps.common import clock
from apps.common.crypto import blind_index, seal_text
from apps.common.egress import LOCAL
from apps.common.money import Money
from apps.common.talk import drive
from apps.common.transport import send_once
from apps.common.wire import Answer, HttpCall
from apps.orders import creation
from apps.orders.models import Attempt, Order, OrderCode, OrderEvent
from apps.orders.states import OrderStatus
from apps.providers.contract import Account, Code, OrderRef, Outcome, PlaceRequest
from apps.providers.models import Integration, PackageMapping, Route
from apps.providers.registry import load_adapter
from apps.wallet import ledger
from tests.factories import (
    Shop,
    Stage,
    check_invariants,
    make_customer,
    make_package,
    make_shop,
    make_tenant,
    new_player,
    order_from,
    pins_of,
    standing_of,
    story_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage

__all__ = ["committed", "simulator", "stage"]

both_databases = pytest.mark.both_databases
UUID = "6f1c2b3a-4d5e-4f60-8a7b-9c0d1e2f3a4b"


@dataclass
class Buyer:
    """A machine with a key, as this protocol knows it."""

    shop: Shop
    key: str
    player: str = field(default_factory=new_player)
    client: Client = field(default_factory=Client)

    def get(self, path: str, **params: Any) -> Any:
        return self.read(self.client.get(f"/client/api/{path}", params, headers={"api-token": self.key}))

    def read(self, response: Any, status: int = 200) -> Any:
        assert (response.status_code, response["Content-Type"]) == (status, "application/json")
        assert response["Cache-Control"] == "no-store"
        return json.loads(response.content, parse_float=Decimal)

    @property
    def path(self) -> str:
        return f"newOrder/{self.shop.package.pk}/params"

    def place(self, order_uuid: str = UUID, qty: object = 1, **fields: object) -> Any:
        return self.get(self.path, qty=qty, order_uuid=order_uuid, **(fields or {"player_id": self.player}))

    def check(self, *names: str, **params: object) -> Any:
        return self.get("check", orders=f"[{','.join(names)}]", **params)


def buyer_of(shop: Shop) -> Buyer:
    return Buyer(shop, issue_key(shop.customer, clock.now())[1])


@pytest.fixture
def buyer(stage: Stage) -> Buyer:
    """The customer of a shop that buys at the simulated panel."""
    return buyer_of(make_shop(stage.url))


def error(code: int, message: str) -> dict[str, object]:
    return {"status": "ERROR", "code": code, "message": message}


def code_of(answer: Mapping[str, Any]) -> tuple[object, ...]:
    return answer["status"], answer["code"]


def name_of(order: Order) -> str:
    return f"ID_{order.pk}"


class TestPlacing:
    @both_databases
    def test_tells_the_order_in_the_document_s_shape(self, buyer: Buyer) -> None:
        told = buyer.place()
        order = Order.objects.get()
        assert told == {
            "status": "OK",
            "data": {
                "order_id": name_of(order),
                "status": "wait",
                "price": Decimal("35.00"),
                "data": {"player_id": buyer.player},
                "replay_api": None,
            },
        }
        assert (order.idempotency_key, order.customer) == (UUID, buyer.shop.customer)

    def test_may_be_a_form(self, buyer: Buyer) -> None:
        data = {"qty": "2", "order_uuid": UUID, "playerId": "P001"}
        response = buyer.client.post(f"/client/api/{buyer.path}", data, headers={"api-token": buyer.key})
        assert buyer.read(response)["data"]["price"] == Decimal("70.00")

    def test_knows_the_recipient_by_its_usual_name(self, buyer: Buyer) -> None:
        buyer.place(playerId="P007")
        assert Order.objects.get().user_identifier == "P007"

    def test_is_no_side_effect_of_looking(self, buyer: Buyer) -> None:
        path = f"/client/api/{buyer.path}?qty=1&order_uuid={UUID}&player_id=P001"
        assert buyer.client.head(path, headers={"api-token": buyer.key}).status_code == 200
        response = buyer.client.put(path, headers={"api-token": buyer.key})
        assert buyer.read(response) == error(114, "this address takes GET and POST")
        assert not Order.objects.exists()

    @both_databases
    def test_gives_the_first_order_to_a_repeated_uuid(self, buyer: Buyer) -> None:
        first = buyer.place()
        again = buyer.place(UUID.upper())
        mark = {"reused": True, "product_id": buyer.shop.package.pk, "quantity": 1}
        assert again == {"status": "OK", "data": {**first["data"], **mark}}
        assert Order.objects.count() == 1

    def test_gives_the_first_order_whatever_is_asked_for_now(self, buyer: Buyer) -> None:
        first = buyer.place()
        for other in (
            buyer.place(qty=3),
            buyer.place(player_id="P002"),
            buyer.get("newOrder/0/params", order_uuid=UUID),
        ):
            assert other["data"]["order_id"] == first["data"]["order_id"]
            assert (other["data"]["quantity"], other["data"]["data"]) == (1, {"player_id": buyer.player})
        assert Order.objects.count() == 1

    def test_gives_the_first_order_to_a_request_that_lost_the_race(
        self, buyer: Buyer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = buyer.place()
        monkeypatch.setattr(door, "find_order", lambda customer, key: None)
        assert buyer.place(player_id="P002")["data"]["order_id"] == first["data"]["order_id"]
        assert buyer.place()["data"]["reused"] is True

    def test_keeps_the_uuids_of_customers_apart(self, buyer: Buyer, stage: Stage) -> None:
        other = buyer_of(make_shop(stage.url))
        assert buyer.place()["data"]["order_id"] != other.place()["data"]["order_id"]

    def test_burns_no_uuid_by_a_refusal(self, buyer: Buyer) -> None:
        assert code_of(buyer.place(qty=9)) == ("ERROR", 113)
        assert buyer.place()["status"] == "OK"


class TestRefusals:
    @pytest.mark.parametrize("token", ["", " "])
    def test_a_missing_token_is_120(self, buyer: Buyer, token: str) -> None:
        buyer.key = token
        assert buyer.place() == error(120, "send your API key in the header api-token")

    @pytest.mark.parametrize("path", ["profile", "products", "content/0", "check"])
    def test_a_wrong_token_is_121(self, buyer: Buyer, path: str) -> None:
        buyer.key += "x"
        assert buyer.get(path) == error(121, "this API key is wrong, switched off or expired")

    def test_a_key_that_was_switched_off_is_121(self, buyer: Buyer) -> None:
        ApiKey.objects.update(is_active=False)
        assert code_of(buyer.place()) == ("ERROR", 121)

    def test_a_wallet_that_is_too_low_is_100(self, buyer: Buyer) -> None:
        for number in range(5):
            buyer.place(str(uuid.UUID(int=number)), qty=5, player_id=f"P00{number}")
        assert buyer.place(qty=5) == error(100, "Insufficient balance")

    @pytest.mark.parametrize(
        ("qty", "code"),
        [("", 106), ("1.5", 106), ("-1", 106), ("9" * 19, 106), ("1", 112), ("6", 113), ("9" * 18, 113)],
    )
    def test_a_quantity_outside_the_range_has_its_code(self, buyer: Buyer, qty: str, code: int) -> None:
        Package.objects.update(quantity_min=2)
        assert buyer.place(qty=qty) == error(code, "qty must be 2 to 5")

    def test_a_quantity_outside_a_list_is_106(self, buyer: Buyer) -> None:
        Package.objects.update(quantity_kind="list", quantity_values=[1, 5])
        assert buyer.place(qty=2) == error(106, "qty must be one of 1, 5")

    def test_a_product_that_is_not_there_is_109(self, buyer: Buyer) -> None:
        foreign = make_package(make_tenant())
        for pk in (0, foreign.pk, 10**30):
            told = buyer.get(f"newOrder/{pk}/params", qty=1, order_uuid=UUID, player_id="P001")
            assert told == error(109, "Product deleted or not found")

    def test_a_product_that_was_taken_off_is_109(self, buyer: Buyer) -> None:
        Package.objects.update(is_active=False)
        assert code_of(buyer.place()) == ("ERROR", 109)

    def test_a_product_that_cannot_be_delivered_is_110_and_names_no_supplier(self, buyer: Buyer) -> None:
        Integration.objects.update(is_enabled=False)
        assert buyer.place() == error(110, "not_available")

    def test_a_refusal_without_a_code_of_its_own_is_110(self, buyer: Buyer, monkeypatch: pytest.MonkeyPatch) -> None:
        class Newer(creation.OrderRefused):
            """A reason that this door does not know yet."""

        def refuse(*_: object) -> None:
            raise Newer("a supplier's name")

        monkeypatch.setattr(door, "create_order", refuse)
        assert buyer.place() == error(110, "not_available")

    @pytest.mark.parametrize(
        ("fields", "text"),
        [
            ({"player_id": ""}, "field 'player_id' (Player ID) is required"),
            ({"player_id": "P001", "zone": "7"}, "field 'zone' is not known"),
            ({"player_id": "P001", "playerId": "P002"}, "field 'playerId' is not known"),
            ({"player_id": "P\x001"}, "printable"),
        ],
    )
    def test_a_wrong_field_is_107_with_its_name(self, buyer: Buyer, fields: dict[str, str], text: str) -> None:
        told = buyer.place(**fields)
        assert code_of(told) == ("ERROR", 107)
        assert text in told["message"]

    @pytest.mark.parametrize("key", ["", "42", "6f1c2b3a4d5e4f608a7b9c0d1e2f3a4b", UUID + "0"])
    def test_an_order_without_a_uuid_is_refused(self, buyer: Buyer, key: str) -> None:
        assert code_of(buyer.place(key)) == ("ERROR", 114)

    def test_a_parameter_twice_is_refused(self, buyer: Buyer) -> None:
        assert buyer.place(qty=["1", "2"]) == error(114, "send each parameter once")

    def test_a_huge_form_is_refused(self, buyer: Buyer) -> None:
        data = {"qty": "1", "order_uuid": UUID, "player_id": "x" * 70_000}
        response = buyer.client.post(f"/client/api/{buyer.path}", data, headers={"api-token": buyer.key})
        assert code_of(buyer.read(response)) == ("ERROR", 114)

    def test_what_breaks_here_is_unknown(self, buyer: Buyer, monkeypatch: pytest.MonkeyPatch) -> None:
        def break_down(*_: object) -> None:
            raise RuntimeError("the database is away")

        monkeypatch.setattr(door, "create_order", break_down)
        response = buyer.client.get(
            f"/client/api/{buyer.path}?qty=1&order_uuid={UUID}&player_id=P001", headers={"api-token": buyer.key}
        )
        assert buyer.read(response, 500) == error(500, "unknown error")

    def test_another_address_is_not_found(self, buyer: Buyer) -> None:
        for path in ("", "orders", "newOrder/x/params", "profile/"):
            response = buyer.client.get(f"/client/api/{path}", headers={"api-token": buyer.key})
            assert buyer.read(response, 404)["error"] == "NOT_FOUND"

    def test_nothing_is_written_by_any_of_them(self, buyer: Buyer) -> None:
        for told in (buyer.place("x"), buyer.place(qty=9), buyer.place(zone="x")):
            assert told["status"] == "ERROR"
        assert not Order.objects.exists()
        assert ledger.balance_of(buyer.shop.customer.pk, "TRY") == Money(1_000_000_000, "TRY")


class TestChecking:
    @both_databases
    def test_tells_a_waiting_order_in_the_document_s_shape(self, buyer: Buyer) -> None:
        buyer.place(qty=2)
        order = Order.objects.get()
        row = {
            "order_id": name_of(order),
            "quantity": 2,
            "data": {"player_id": buyer.player},
            "created_at": "2026-03-02 09:00:00",
            "product_name": f"{order.product_name} 60 UC",
            "price": "70.0000000000000000",
            "status": "wait",
            "replay_api": None,
        }
        assert buyer.check(UUID, uuid=1) == {"status": "OK", "data": [row]}
        assert buyer.check(name_of(order)) == {"status": "OK", "data": [row]}

    @pytest.mark.parametrize("form", ["[{0},{1}]", "{0},{1}", '["{0}","{1}"]', " [ {0} , {1}, ]", "[{0},{1},{0}]"])
    def test_takes_every_form_of_a_list(self, buyer: Buyer, form: str) -> None:
        names = [buyer.place(str(uuid.UUID(int=n)), player_id=f"P00{n}")["data"]["order_id"] for n in range(2)]
        told = buyer.get("check", orders=form.format(*names))["data"]
        assert [row["order_id"] for row in told] == names

    def test_takes_uuids_in_every_form_too(self, buyer: Buyer) -> None:
        buyer.place()
        for text in (UUID, f"[{UUID.upper()}]", f'["{UUID}"]'):
            assert len(buyer.get("check", orders=text, uuid=1)["data"]) == 1

    @pytest.mark.parametrize("orders", ["", "[]", "ID_0", "x", "[ID_]", "9" * 30, UUID, "²"])
    def test_leaves_out_what_it_does_not_find(self, buyer: Buyer, orders: str) -> None:
        buyer.place()
        assert buyer.get("check", orders=orders) == {"status": "OK", "data": []}
        assert buyer.get("check", orders="x", uuid=1) == {"status": "OK", "data": []}

    def test_tells_no_order_of_another_customer(self, buyer: Buyer) -> None:
        told = buyer.place()["data"]
        other = make_customer(buyer.shop.tenant)
        buyer.key = issue_key(other, clock.now())[1]
        assert buyer.check(told["order_id"]) == buyer.check(UUID, uuid=1) == {"status": "OK", "data": []}

    def test_answers_about_fifty_at_most(self, buyer: Buyer) -> None:
        name = buyer.place()["data"]["order_id"]
        others = [f"ID_{10**9 + number}" for number in range(50)]
        assert len(buyer.check(*others[:49], name)["data"]) == 1
        assert len(buyer.check(*others, name)["data"]) == 0

    @pytest.mark.parametrize(
        ("status", "word"),
        [
            ("pending", "wait"),
            ("processing", "wait"),
            ("review", "wait"),
            ("completed", "accept"),
            ("partial", "accept"),
            ("rejected", "reject"),
            ("cancelled", "reject"),
            ("refunded", "reject"),
        ],
    )
    def test_has_a_word_for_each_status(self, status: str, word: str) -> None:
        assert shapes.TOLD_STATUS[OrderStatus(status)] == word
        assert len(shapes.TOLD_STATUS) == len(OrderStatus)

    @both_databases
    def test_shows_codes_of_an_order_that_is_over_and_writes_it_down_once(self, buyer: Buyer, stage: Stage) -> None:
        stage.simulator.set_fate(recipient=buyer.player, complete_after_s=600)
        buyer.place()
        stage.run_until_quiet(500)
        assert buyer.check(UUID, uuid=1)["data"][0]["replay_api"] is None
        stage.run_until_quiet()
        order = Order.objects.get()
        (pin,) = pins_of(order)
        for _ in range(3):
            assert buyer.check(UUID, uuid=1)["data"][0]["replay_api"] == [pin]
            assert buyer.place()["data"]["replay_api"] == [{"replay": [pin]}]
        (event,) = OrderEvent.objects.filter(kind="codes_revealed")
        assert (event.order, event.cause, event.actor, event.data) == (
            order,
            "client_api",
            buyer.key.partition(".")[0],
            {"codes": 1},
        )
        check_invariants(stage)

    @both_databases
    def test_writes_it_down_again_for_a_further_code_and_hides_what_is_in_quarantine(
        self, buyer: Buyer, stage: Stage
    ) -> None:
        buyer.place()
        stage.run_until_quiet()
        order = Order.objects.get()
        (pin,) = pins_of(order)
        assert buyer.check(UUID, uuid=1)["data"][0]["replay_api"] == [pin]
        add_code(order, "LATE", is_quarantined=True)
        assert buyer.check(UUID, uuid=1)["data"][0]["replay_api"] == [pin]
        add_code(order, "SECOND", is_quarantined=False)
        assert buyer.check(UUID, uuid=1)["data"][0]["replay_api"] == [pin, "SERIAL/SECOND"]
        told = OrderEvent.objects.filter(kind="codes_revealed").order_by("id").values_list("data", flat=True)
        assert list(told) == [{"codes": 1}, {"codes": 2}]

    @both_databases
    def test_tells_of_a_partly_delivered_order_the_part(self, buyer: Buyer, stage: Stage) -> None:
        stage.simulator.next_fate(final="delivered")
        stage.simulator.next_fate(final="cancelled")
        buyer.place(qty=2)
        stage.run_until_quiet()
        (row,) = buyer.check(UUID, uuid=1)["data"]
        assert (row["status"], row["quantity"], row["price"]) == ("accept", 1, "35.0000000000000000")
        assert row["replay_api"] == pins_of(Order.objects.get())

    @both_databases
    def test_tells_reject_when_the_money_is_back(self, buyer: Buyer, stage: Stage) -> None:
        stage.simulator.set_fate(recipient=buyer.player, final="cancelled")
        buyer.place()
        stage.run_until_quiet()
        (row,) = buyer.check(UUID, uuid=1)["data"]
        assert (row["status"], row["replay_api"]) == ("reject", None)
        assert sums_of(Order.objects.get())["release"] == 35_000_000

    @both_databases
    def test_tells_doubt_as_waiting(self, buyer: Buyer, stage: Stage) -> None:
        stage.simulator.set_fate(recipient=buyer.player, place="accept_then_500", visible_after_s=10**6)
        buyer.place()
        stage.run_until_quiet()
        assert Attempt.objects.get().state == "in_doubt"
        assert buyer.check(UUID, uuid=1)["data"][0]["status"] == "wait"


def add_code(order: Order, value: str, *, is_quarantined: bool) -> None:
    OrderCode.objects.create(
        order=order,
        attempt=Attempt.objects.get(order=order),
        sealed=seal_text(value),
        sealed_serial=seal_text("SERIAL"),
        blind_index=blind_index(value),
        is_quarantined=is_quarantined,
        created_at=clock.now(),
    )


class TestShelves:
    @both_databases
    def test_tells_the_wallet(self, buyer: Buyer) -> None:
        assert buyer.get("profile") == {"balance": "1000.000", "email": "", "towFactor": False}

    @both_databases
    def test_tells_products_as_a_bare_list(self, buyer: Buyer) -> None:
        package = buyer.shop.package
        InputField.objects.create(product=package.product, name="zone", label="Zone", target="param", position=1)
        assert buyer.get("products") == [
            {
                "id": package.pk,
                "name": f"{package.product.name} 60 UC",
                "price": Decimal("35.00"),
                "params": ["player_id", "zone"],
                "category_name": package.product.name,
                "available": True,
                "qty_values": {"min": 1, "max": 5},
                "product_type": "amount",
                "parent_id": package.product_id,
                "base_price": Decimal("35.00"),
                "category_img": "",
            }
        ]

    @pytest.mark.parametrize(
        ("kind", "values", "told"), [("one", [], (None, "package")), ("list", [1, 5], (["1", "5"], "amount"))]
    )
    def test_tells_the_quantity_rule(
        self, buyer: Buyer, kind: str, values: list[int], told: tuple[object, str]
    ) -> None:
        Package.objects.update(quantity_kind=kind, quantity_values=values)
        (row,) = buyer.get("products")
        assert (row["qty_values"], row["product_type"]) == told

    def test_tells_what_cannot_be_delivered_now(self, buyer: Buyer) -> None:
        Integration.objects.update(is_enabled=False)
        assert [row["available"] for row in buyer.get("products")] == [False]

    def test_leaves_out_what_has_no_price_and_what_is_not_sold_here(self, buyer: Buyer) -> None:
        make_package(buyer.shop.tenant, currency="USD")
        make_package(make_tenant())
        assert [row["id"] for row in buyer.get("products")] == [buyer.shop.package.pk]
        Package.objects.update(is_active=False)
        assert buyer.get("products") == []

    def test_tells_some_and_the_least(self, buyer: Buyer) -> None:
        package, more = buyer.shop.package, make_package(buyer.shop.tenant)
        assert [row["id"] for row in buyer.get("products", products_id=f"{more.pk},x")] == [more.pk]
        assert buyer.get("products", products_id=package.pk, base=1) == [
            {"id": package.pk, "name": f"{package.product.name} 60 UC"}
        ]

    def test_has_a_category_for_each_product(self, buyer: Buyer) -> None:
        product = buyer.shop.package.product
        assert buyer.get("content/0") == {
            "categories": [{"id": product.pk, "name": product.name, "img": ""}],
            "products": [],
        }
        below = buyer.get(f"content/{product.pk}")
        assert (below["categories"], [row["id"] for row in below["products"]]) == ([], [buyer.shop.package.pk])
        assert buyer.get("content/999999") == {"categories": [], "products": []}


# --- our own adapter at our own door


def make_reselling_shop(url: str, seller: Shop, key: str) -> Shop:
    """A shop whose one package is bought at `seller`, another shop behind `url`."""
    tenant = make_tenant()
    package = make_package(tenant, price="40.00")
    integration = Integration(
        tenant=tenant,
        name="Upstream",
        kind="internal",
        base_url=url,
        currency="TRY",
        options={"place_timeout_s": 5, "ask_timeout_s": 5},
        is_local=True,
    )
    integration.set_secrets({"token": key})
    integration.full_clean()
    integration.save()
    params = {"recipient_name": "player_id"}
    mapping = PackageMapping(
        package=package, integration=integration, oyun=str(seller.package.pk), params=params, cost_micros=35_000_000
    )
    mapping.full_clean()
    mapping.save()
    route = Route.objects.create(package=package, position=1, integration=integration)
    return Shop(tenant, make_customer(tenant), package, integration, route)


@dataclass
class Chain:
    """Shop B buys at shop A through A's door; A buys at the simulated panel."""

    seller: Shop
    reseller: Shop
    account: Account

    @property
    def upstream(self) -> Order:
        return Order.objects.get(tenant=self.seller.tenant)

    def ask(self, verb: str, *args: object) -> Any:
        return drive(getattr(load_adapter("internal"), verb)(self.account, *args), _send)[0]


def _send(call: HttpCall) -> Answer:
    return send_once(call, policy=LOCAL)


@pytest.fixture
def chain(stage: Stage, live_server: LiveServer) -> Chain:
    """Two shops of one installation, with a socket between them."""
    seller = make_shop(stage.url)
    key = issue_key(seller.customer, clock.now())[1]
    reseller = make_reselling_shop(live_server.url, seller, key)
    return Chain(seller, reseller, reseller.integration.account())


class TestChain:
    @both_databases
    def test_an_order_is_bought_once_and_its_pin_travels_up(self, stage: Stage, chain: Chain) -> None:
        order = order_from(chain.reseller, "CHAIN1")
        stage.run_until_quiet()
        assert standing_of(order) == standing_of(chain.upstream) == ("completed", "completed", "")
        assert pins_of(order) == pins_of(chain.upstream) == stage.purchases(chain.upstream)[0]["pins"]
        assert len(stage.truth("bought")) == 1
        assert chain.upstream.idempotency_key == order.provider_referans == Attempt.objects.get(order=order).reference
        assert order.external_order_id == name_of(chain.upstream)
        assert sums_of(order)["capture"] == 40_000_000
        assert sums_of(chain.upstream)["capture"] == 35_000_000
        assert story_of(chain.upstream).count("codes_revealed") == 1
        assert Attempt.objects.get(order=order).cost_micros == 35_000_000

    @both_databases
    def test_a_cancelled_order_gives_the_money_back_all_the_way(self, stage: Stage, chain: Chain) -> None:
        """LESSONS F51: a rejection in a chain once did not refund the first customer."""
        stage.simulator.set_fate(recipient="CHAIN2", final="cancelled")
        order = order_from(chain.reseller, "CHAIN2")
        stage.run_until_quiet(3 * 86400)
        assert (standing_of(order)[0], standing_of(chain.upstream)[0]) == ("rejected", "rejected")
        assert sums_of(order)["release"] == 40_000_000

    @both_databases
    def test_a_seller_without_money_of_its_own_refuses_and_nothing_is_bought(self, stage: Stage, chain: Chain) -> None:
        customer = Customer.objects.create(tenant=chain.seller.tenant, name="Poor", currency="TRY")
        chain.reseller.integration.set_secrets({"token": issue_key(customer, clock.now())[1]})
        chain.reseller.integration.save()
        order = order_from(chain.reseller, "CHAIN3")
        stage.run_until_quiet(60)
        outcomes = Attempt.objects.filter(order=order).values_list("outcome", flat=True)
        assert set(outcomes) == {Outcome.INSUFFICIENT_BALANCE}
        assert standing_of(order)[0] == "pending"
        assert (Order.objects.count(), stage.truth("bought")) == (1, [])

    @both_databases
    def test_every_verb_is_understood(self, stage: Stage, chain: Chain) -> None:
        assert chain.ask("balance").amount == Decimal("1000.000")
        (item,) = chain.ask("catalogue").items
        assert (item.ids, item.cost, item.quantity) == (
            {"oyun": str(chain.seller.package.pk)},
            Decimal("35.00"),
            "range",
        )
        request = PlaceRequest(UUID, item.ids, "CHAIN4")
        assert chain.ask("find", OrderRef(UUID, request=request)).outcome is Outcome.NOT_FOUND
        placed = chain.ask("place", request)
        assert (placed.outcome, placed.cost, placed.duplicate) == (Outcome.ACCEPTED, Decimal("35.00"), False)
        again = chain.ask("place", request)
        assert (again.outcome, again.duplicate, again.provider_id) == (Outcome.ACCEPTED, True, placed.provider_id)
        stage.run_until_quiet()
        refs = [OrderRef(UUID, placed.provider_id, request=request), OrderRef("other", "ID_0")]
        found = chain.ask("status", refs)
        assert {ref: result.codes for ref, result in found.items()} == {UUID: (Code(pins_of(chain.upstream)[0]),)}

    @both_databases
    def test_another_product_under_the_same_uuid_is_noticed(self, stage: Stage, chain: Chain) -> None:
        more = make_package(chain.seller.tenant)
        chain.ask("place", PlaceRequest(UUID, {"oyun": str(chain.seller.package.pk)}, "CHAIN5"))
        other = chain.ask("place", PlaceRequest(UUID, {"oyun": str(more.pk)}, "CHAIN5"))
        assert (other.outcome, other.duplicate) == (Outcome.UNKNOWN, True)
        assert Order.objects.count() == 1

    def test_a_wrong_key_is_an_error_of_our_login(self, chain: Chain) -> None:
        chain.account = Account(chain.account.base_url, "", {"token": "hub_00.nope"}, "TRY")
        placed = chain.ask("place", PlaceRequest(UUID, {"oyun": "1"}, "CHAIN6"))
        assert placed.outcome is Outcome.AUTH_ERROR
