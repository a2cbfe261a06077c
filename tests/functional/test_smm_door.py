"""The selling side of the SMM panels' API of version 2: its shapes, its words, and a POST that comes twice."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from apps.accounts.keys import issue_key
from apps.accounts.models import ApiKey, Tenant
from apps.api import smm_door as door
from apps.api import smm_door_shapes as shapes
from apps.catalog.models import InputField, Package, Product
from apps.common import clock
from apps.orders.models import Attempt, Order
from apps.orders.states import OrderStatus
from apps.providers.models import Integration
from tests.factories import Stage, check_invariants, make_customer, make_package, make_shop, make_tenant, sums_of
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.door_buyers import SmmBuyer, key_of

__all__ = ["committed", "simulator", "stage"]

both_databases = pytest.mark.both_databases


@pytest.fixture
def buyer(stage: Stage) -> SmmBuyer:
    """The customer of a shop that tops up players directly."""
    shop = make_shop(stage.url, needs_code=False)
    return SmmBuyer(shop, key_of(shop))


def error(text: str) -> dict[str, str]:
    return {"error": text}


class TestAdding:
    @both_databases
    def test_tells_the_number_of_the_order(self, buyer: SmmBuyer) -> None:
        told = buyer.add(quantity=3)
        order = Order.objects.get()
        assert told == {"order": order.pk}
        assert (order.customer, order.quantity, order.user_identifier) == (buyer.shop.customer, 3, buyer.player)
        assert order.price_micros == 105_000_000

    def test_needs_no_quantity_of_what_is_sold_one_at_a_time(self, buyer: SmmBuyer) -> None:
        Package.objects.update(quantity_kind="one", quantity_max=1)
        assert buyer.add(quantity="") == {"order": Order.objects.get().pk}

    def test_passes_on_the_parameters_that_the_product_knows(self, buyer: SmmBuyer) -> None:
        InputField.objects.create(product=buyer.shop.package.product, name="comments", label="C", target="param")
        assert buyer.add() == error("Invalid link or parameters")
        buyer.add(comments="nice", runs="")
        assert Order.objects.get().params == {"comments": "nice"}

    @pytest.mark.parametrize("more", [{"runs": "5"}, {"interval": "60"}, {"posts": "3"}, {"x": "1"}])
    def test_promises_nothing_that_will_not_be_done(self, buyer: SmmBuyer, more: dict[str, str]) -> None:
        assert buyer.add(**more) == error("Invalid link or parameters")
        assert not Order.objects.exists()

    @pytest.mark.parametrize("quantity", ["", "0", "6", "1.5", "-1", "9" * 30])
    def test_refuses_a_quantity(self, buyer: SmmBuyer, quantity: str) -> None:
        assert buyer.add(quantity=quantity) == error("neworder.error.invalid_quantity")

    @pytest.mark.parametrize("link", ["", " ", "?", "P\x001"])
    def test_refuses_a_link(self, buyer: SmmBuyer, link: str) -> None:
        assert buyer.add(link=link) == error("neworder.error.invalid_link")

    def test_refuses_a_service_that_is_not_there(self, buyer: SmmBuyer) -> None:
        foreign = make_package(make_tenant(), needs_code=False)
        for service in ("", "x", "0", foreign.pk, 10**30):
            assert buyer.add(service=service) == error("neworder.error.service_not_found")
        Package.objects.update(is_active=False)
        assert buyer.add() == error("neworder.error.service_not_found")

    def test_refuses_what_this_protocol_cannot_deliver_or_ask_for(self, buyer: SmmBuyer) -> None:
        pin = make_package(buyer.shop.tenant)
        assert buyer.add(service=pin.pk) == error("neworder.error.service_not_found")
        InputField.objects.create(product=buyer.shop.package.product, name="zone", label="Z", target="extra_field")
        assert buyer.add() == error("neworder.error.service_not_found")

    def test_refuses_what_the_wallet_does_not_cover(self, buyer: SmmBuyer) -> None:
        poor = SmmBuyer(buyer.shop, issue_key(make_customer(buyer.shop.tenant, "34.99"), clock.now())[1])
        assert poor.add() == error("neworder.error.not_enough_funds")

    def test_names_no_supplier_when_it_cannot_be_delivered(self, buyer: SmmBuyer) -> None:
        Integration.objects.update(is_enabled=False)
        assert buyer.add() == error("Not available now, maximum quantity is 0")

    def test_tells_what_breaks_as_no_answer(self, buyer: SmmBuyer, monkeypatch: pytest.MonkeyPatch) -> None:
        def break_down(*_: object) -> None:
            raise RuntimeError("the database is away")

        monkeypatch.setattr(door, "create_order", break_down)
        response = buyer.client.post("/api/v2", {"key": buyer.key, "action": "add", **self.params(buyer)})
        assert buyer.read(response, 500) == error("Internal error")

    def params(self, buyer: SmmBuyer) -> dict[str, Any]:
        return {"service": buyer.shop.package.pk, "link": buyer.player, "quantity": 1}


class TestARepeatedPost:
    """Nothing in this protocol tells it from a second order, so it is one only when it says so, or much later."""

    @both_databases
    def test_is_refused_with_the_protocol_s_own_words(self, buyer: SmmBuyer) -> None:
        first = buyer.add()
        assert buyer.add() == error("neworder.error.link_duplicate")
        assert [order.pk for order in Order.objects.all()] == [first["order"]]

    def test_is_another_order_for_another_link_or_quantity(self, buyer: SmmBuyer) -> None:
        orders = [buyer.add(), buyer.add(link="P9999"), buyer.add(quantity=2)]
        assert len({told["order"] for told in orders}) == 3

    @both_databases
    def test_is_another_order_when_it_is_meant(self, buyer: SmmBuyer) -> None:
        buyer.add()
        assert "order" in buyer.add(repeat=1)
        assert buyer.add(repeat=1) == error("neworder.error.link_duplicate")
        assert buyer.add(repeat="x") == error("Incorrect request")

    def test_is_another_order_after_the_shop_s_minutes(self, buyer: SmmBuyer, stage: Stage) -> None:
        buyer.add()
        stage.run_until_quiet()
        stage.move(600)
        assert "order" in buyer.add()

    def test_is_another_order_where_the_shop_looks_for_no_repeats(self, buyer: SmmBuyer, stage: Stage) -> None:
        Tenant.objects.update(repeat_minutes=0)
        orders = [buyer.add(), buyer.add()]
        assert orders[0] != orders[1]


class TestAsking:
    @both_databases
    def test_tells_an_order_that_waits_and_then_is_done(self, buyer: SmmBuyer, stage: Stage) -> None:
        number = buyer.add(quantity=2)["order"]
        told = {"charge": "70.00", "start_count": None, "remains": "2", "currency": "TRY"}
        assert buyer.post("status", order=number) == {**told, "status": "Pending"}
        stage.move(1)
        stage.run_until_quiet(1)
        assert buyer.post("status", order=number) == {**told, "status": "In progress"}
        stage.run_until_quiet()
        assert buyer.post("status", order=number) == {**told, "status": "Completed", "remains": "0"}
        check_invariants(stage)

    @both_databases
    def test_tells_a_part_with_what_remains_and_its_price(self, buyer: SmmBuyer, stage: Stage) -> None:
        stage.simulator.next_fate(final="delivered")
        stage.simulator.next_fate(final="cancelled")
        number = buyer.add(quantity=2)["order"]
        stage.run_until_quiet()
        told = buyer.post("status", order=number)
        assert (told["status"], told["remains"], told["charge"]) == ("Partial", "1", "35.00")

    @both_databases
    def test_tells_canceled_when_the_money_is_back(self, buyer: SmmBuyer, stage: Stage) -> None:
        stage.simulator.set_fate(recipient=buyer.player, final="cancelled")
        number = buyer.add()["order"]
        stage.run_until_quiet()
        told = buyer.post("status", order=number)
        assert (told["status"], told["remains"], told["charge"]) == ("Canceled", "1", "0.00")
        assert sums_of(Order.objects.get())["release"] == 35_000_000

    @both_databases
    def test_tells_doubt_as_work_in_progress(self, buyer: SmmBuyer, stage: Stage) -> None:
        stage.simulator.set_fate(recipient=buyer.player, place="accept_then_500", visible_after_s=10**6)
        number = buyer.add()["order"]
        stage.run_until_quiet()
        assert Attempt.objects.get().state == "in_doubt"
        assert buyer.post("status", order=number)["status"] == "In progress"

    def test_tells_many_by_their_ids(self, buyer: SmmBuyer) -> None:
        first, second = buyer.add()["order"], buyer.add(link="P9999")["order"]
        told = buyer.post("status", orders=f"{first}, {second},0,x,{10**30}")
        assert list(told) == [str(first), str(second), "0", "x", str(10**30)]
        assert [entry.get("status") for entry in told.values()] == ["Pending", "Pending", None, None, None]
        assert told["x"] == told["0"] == error("Incorrect order ID")
        assert buyer.post("status", orders="") == {}

    def test_answers_about_a_hundred_at_most(self, buyer: SmmBuyer) -> None:
        number = buyer.add()["order"]
        others = [str(10**9 + n) for n in range(100)]
        assert str(number) in buyer.post("status", orders=",".join([*others[:99], str(number)]))
        assert str(number) not in buyer.post("status", orders=",".join([*others, str(number)]))

    def test_tells_no_order_of_another_customer(self, buyer: SmmBuyer) -> None:
        number = buyer.add()["order"]
        other = SmmBuyer(buyer.shop, issue_key(make_customer(buyer.shop.tenant), clock.now())[1])
        assert other.post("status", order=number) == error("Incorrect order ID")
        assert other.post("status", orders=number) == {str(number): error("Incorrect order ID")}

    def test_has_a_word_for_each_status(self) -> None:
        waiting = {OrderStatus.PENDING, OrderStatus.PROCESSING, OrderStatus.REVIEW}
        said = {status for status, word in shapes.TOLD_STATUS.items() if word in ("Pending", "In progress")}
        assert said == waiting
        assert set(shapes.TOLD_STATUS) == set(OrderStatus)


class TestWhatOurOrdersCannotDo:
    def test_nothing_is_cancelled(self, buyer: SmmBuyer) -> None:
        number = buyer.add()["order"]
        assert buyer.post("cancel", orders=f"{number},7") == [
            {"order": number, "cancel": error("This order cannot be canceled")},
            {"order": 7, "cancel": error("Incorrect order ID")},
        ]
        assert Order.objects.get().status == "pending"

    def test_nothing_is_refilled(self, buyer: SmmBuyer) -> None:
        number = buyer.add()["order"]
        assert buyer.post("refill", order=number) == error("This order cannot be refilled")
        assert buyer.post("refill", order="") == buyer.post("refill", order="7") == error("Incorrect order ID")
        assert buyer.post("refill", orders=number) == [
            {"order": number, "refill": error("This order cannot be refilled")}
        ]
        assert buyer.post("refill_status", refill=1) == error("Incorrect refill ID")


class TestShelves:
    @both_databases
    def test_tells_the_wallet(self, buyer: SmmBuyer) -> None:
        assert buyer.post("balance") == {"balance": "1000.00", "currency": "TRY"}

    @both_databases
    def test_tells_rates_per_thousand(self, buyer: SmmBuyer) -> None:
        package = buyer.shop.package
        assert buyer.post("services") == [
            {
                "service": package.pk,
                "name": "60 UC",
                "type": "Default",
                "category": package.product.name,
                "rate": "35000.00",
                "min": "1",
                "max": "5",
                "refill": False,
                "cancel": False,
            }
        ]

    @pytest.mark.parametrize(
        ("rule", "told"),
        [
            ({"quantity_kind": "one"}, ("Package", "1", "1")),
            ({"quantity_kind": "list", "quantity_values": [50, 10]}, ("Default", "10", "50")),
        ],
    )
    def test_tells_the_quantity_rule(self, buyer: SmmBuyer, rule: dict[str, Any], told: tuple[str, ...]) -> None:
        Package.objects.update(**rule)
        (row,) = buyer.post("services")
        assert (row["type"], row["min"], row["max"]) == told

    def test_leaves_out_what_has_a_code_no_link_no_price_or_too_many_fields(self, buyer: SmmBuyer) -> None:
        make_package(buyer.shop.tenant, needs_code=False, currency="USD")
        make_package(make_tenant(), needs_code=False)
        assert len(buyer.post("services")) == 1
        Product.objects.update(needs_code=True)
        assert buyer.post("services") == []
        Product.objects.update(needs_code=False)
        InputField.objects.update(required=False, target="param")
        assert buyer.post("services") == []

    def test_tells_a_rate_that_is_what_is_charged(self, buyer: SmmBuyer) -> None:
        (row,) = buyer.post("services")
        buyer.add(quantity=5)
        assert Decimal(row["rate"]) * 5 / 1000 == Decimal(Order.objects.get().price_micros) / 10**6


class TestLogin:
    ACTIONS = tuple(door.ACTIONS)

    @pytest.mark.parametrize("action", ACTIONS)
    def test_that_fails_says_so_and_nothing_else(self, buyer: SmmBuyer, action: str) -> None:
        number = buyer.add()["order"]
        key = buyer.key
        for wrong in ("", key + "x", key.partition(".")[0], "şifre"):
            buyer.key = wrong
            assert buyer.post(action, order=number) == error("Invalid API key")
        buyer.key = key
        ApiKey.objects.update(is_active=False)
        assert buyer.post(action, orders=number) == error("Invalid API key")

    @pytest.mark.parametrize("params", [{"action": "orders"}, {"action": ""}, {"action": ["add", "status"]}])
    def test_that_asks_for_nothing_known(self, buyer: SmmBuyer, params: dict[str, Any]) -> None:
        assert buyer.read(buyer.client.post("/api/v2", {"key": buyer.key, **params})) == error("Incorrect request")

    def test_is_no_address_that_is_looked_at(self, buyer: SmmBuyer) -> None:
        params: dict[str, Any] = {
            "key": buyer.key,
            "action": "add",
            "service": buyer.shop.package.pk,
            "link": "P001",
            "quantity": 1,
        }
        assert buyer.read(buyer.client.get("/api/v2", params)) == error("Incorrect request")
        assert not Order.objects.exists()

    def test_a_huge_form_is_refused(self, buyer: SmmBuyer) -> None:
        assert buyer.add(link="x" * 70_000) == error("Incorrect request")
