"""The same order again: refused with the first one's id, unless the buyer says that it is meant."""

from __future__ import annotations

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from apps.accounts.keys import issue_key
from apps.accounts.models import Customer, Tenant
from apps.catalog.models import InputField
from apps.common import clock
from apps.orders.creation import BadField, Created, IdempotencyMismatch, NewOrder, RepeatSuspected, create_order
from apps.orders.models import Order
from apps.wallet import ledger
from tests.factories import (
    Shop,
    Stage,
    add_route,
    check_invariants,
    make_customer,
    make_package,
    make_shop,
    standing_of,
)
from tests.functional.core_fixtures import committed, simulator, stage

__all__ = ["committed", "simulator", "stage"]

both_databases = pytest.mark.both_databases
WINDOW_S = 600


@pytest.fixture
def shop(stage: Stage) -> Shop:
    """A shop with the usual ten minutes."""
    return make_shop(stage.url)


def want(
    shop: Shop,
    key: str,
    player: str = "P001",
    *,
    quantity: int = 1,
    repeat: int = 0,
    customer: Customer | None = None,
    package: str = "",
) -> Created:
    new = NewOrder(package or shop.package.code, quantity, {"player_id": player}, repeat=repeat)
    return create_order(customer or shop.customer, new, key, clock.now())


def refusal_of(shop: Shop, key: str, player: str = "P001", *, repeat: int = 0) -> tuple[int, int]:
    """Which order is said to be the same, and the counter to send."""
    with pytest.raises(RepeatSuspected) as refused:
        want(shop, key, player, repeat=repeat)
    assert refused.value.detail.startswith(f"order {refused.value.order_id} is the same")
    assert f"`repeat: {refused.value.next_repeat}`" in refused.value.detail
    return refused.value.order_id, refused.value.next_repeat


@both_databases
class TestTheSameAgain:
    def test_is_refused_with_the_first_order_s_id_and_nothing_is_written(self, shop: Shop) -> None:
        first = want(shop, "k-1").order
        assert refusal_of(shop, "k-2") == (first.pk, 1)
        assert list(Order.objects.all()) == [first]
        assert ledger.balance_of(shop.customer.pk, "TRY").micros == 965_000_000
        check_invariants()

    def test_is_meant_when_the_counter_says_so_and_then_once(self, shop: Shop) -> None:
        first, second = want(shop, "k-1").order, want(shop, "k-2", repeat=1).order
        assert refusal_of(shop, "k-3", repeat=1) == (second.pk, 2)
        assert refusal_of(shop, "k-3") == (first.pk, 2)
        assert want(shop, "k-3", repeat=2).order.repeat == 2

    def test_under_the_same_key_is_the_first_order(self, shop: Shop) -> None:
        first = want(shop, "k-1")
        again = want(shop, "k-1")
        assert (again.order, again.is_replay) == (first.order, True)

    def test_under_the_same_key_with_a_counter_is_another_content(self, shop: Shop) -> None:
        want(shop, "k-1")
        with pytest.raises(IdempotencyMismatch):
            want(shop, "k-1", repeat=1)

    @pytest.mark.parametrize("player", ["p001", " P001 ", "\uff30\uff10\uff10\uff11", "P 001"])
    def test_is_the_same_in_another_writing(self, shop: Shop, player: str) -> None:
        InputField.objects.update(pattern="")
        first = want(shop, "k-1").order
        assert refusal_of(shop, "k-2", player) == (first.pk, 1)

    def test_is_another_for_another_recipient_quantity_package_or_customer(self, shop: Shop) -> None:
        other = Shop(shop.tenant, shop.customer, make_package(shop.tenant), shop.integration, shop.route)
        add_route(other.package, shop.integration)
        want(shop, "k-1")
        want(shop, "k-2", "P002")
        want(shop, "k-3", quantity=2)
        want(other, "k-4")
        want(shop, "k-5", customer=make_customer(shop.tenant))
        assert Order.objects.count() == 5

    def test_is_another_where_a_parameter_differs(self, shop: Shop) -> None:
        InputField.objects.create(product=shop.package.product, name="zone", label="Zone", target="param", position=1)
        for key, zone in (("k-1", "7"), ("k-2", "8")):
            new = NewOrder(shop.package.code, 1, {"player_id": "P001", "zone": zone})
            create_order(shop.customer, new, key, clock.now())
        assert Order.objects.count() == 2

    def test_is_welcome_when_the_window_is_over(self, shop: Shop, stage: Stage) -> None:
        first = want(shop, "k-1").order
        stage.move(WINDOW_S - 1)
        assert refusal_of(shop, "k-2") == (first.pk, 1)
        stage.move(1)
        assert not want(shop, "k-2").is_replay

    @pytest.mark.parametrize(("minutes", "is_refused"), [(0, False), (1, False), (3, True)])
    def test_is_refused_for_as_long_as_the_shop_says(
        self, shop: Shop, stage: Stage, minutes: int, is_refused: bool
    ) -> None:
        Tenant.objects.filter(pk=shop.tenant.pk).update(repeat_minutes=minutes)
        customer = Customer.objects.get(pk=shop.customer.pk)
        want(shop, "k-1", customer=customer)
        stage.move(120 if minutes else 0)
        if is_refused:
            with pytest.raises(RepeatSuspected):
                want(shop, "k-2", customer=customer)
        else:
            want(shop, "k-2", customer=customer)

    def test_is_welcome_when_the_first_ended_without_delivery(self, shop: Shop, stage: Stage) -> None:
        Tenant.objects.filter(pk=shop.tenant.pk).update(repeat_minutes=1440)
        shop.customer.refresh_from_db()
        stage.simulator.set_fate(recipient="P001", final="cancelled")
        first = want(shop, "k-1").order
        stage.run_until_quiet(for_s=20 * 3600)
        assert standing_of(first)[0] == "rejected"
        assert not want(shop, "k-2").is_replay
        check_invariants(stage)

    def test_is_no_repeat_where_nobody_is_named(self, shop: Shop) -> None:
        InputField.objects.all().delete()
        for key in ("k-1", "k-2"):
            create_order(shop.customer, NewOrder(shop.package.code), key, clock.now())
        assert list(Order.objects.values_list("intent", flat=True)) == ["", ""]

    @pytest.mark.parametrize("counter", [-1, 10_000, True, "1", 1.0])
    def test_needs_a_whole_number_for_a_counter(self, shop: Shop, counter: Any) -> None:
        with pytest.raises(BadField, match="repeat must be a whole number from 0 to 9999"):
            want(shop, "k-1", repeat=counter)

    def test_costs_no_money_twice_when_many_ask_at_once(self, shop: Shop) -> None:
        """Each under a key of its own: whoever is first holds the money, the others learn its id."""
        threads = 8
        start = threading.Barrier(threads)

        def run(number: int) -> int:
            start.wait(30)
            try:
                return want(shop, f"k-{number}").order.pk
            except RepeatSuspected as refused:
                return -refused.order_id
            finally:
                connection.close()

        with ThreadPoolExecutor(threads) as pool:
            said = sorted(pool.map(run, range(threads)))
        (order,) = Order.objects.all()
        assert said == [-order.pk] * (threads - 1) + [order.pk]
        assert ledger.balance_of(shop.customer.pk, "TRY").micros == 965_000_000

    def test_finds_the_first_order_when_the_same_key_asks_many_times_at_once(self, shop: Shop) -> None:
        threads = 6
        start = threading.Barrier(threads)

        def run(_: int) -> tuple[int, bool]:
            start.wait(30)
            try:
                made = want(shop, "k-1")
                return made.order.pk, made.is_replay
            finally:
                connection.close()

        with ThreadPoolExecutor(threads) as pool:
            said = list(pool.map(run, range(threads)))
        (order,) = Order.objects.all()
        assert sorted(said) == [(order.pk, False)] + [(order.pk, True)] * (threads - 1)


class TestTheContentHash:
    def test_is_what_it_was_before_there_were_counters(self) -> None:
        plain = NewOrder("pubg-60", 1, {"player_id": "P0001"})
        assert plain.content_hash() == NewOrder("pubg-60", 1, {"player_id": "P0001"}, repeat=0).content_hash()
        assert plain.content_hash() == "b3d384e0667d191b51977b232361dd73aa16953dc312c7659d744a7a416e70b1"

    def test_tells_a_counter(self) -> None:
        hashes = {NewOrder("pubg-60", repeat=repeat).content_hash() for repeat in range(3)}
        assert len(hashes) == 3


@both_databases
class TestTheDoors:
    def post(self, key: str, idempotency_key: str, body: dict[str, object]) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": idempotency_key}
        response = Client().post("/api/v1/orders", body, content_type="application/json", headers=headers)
        return response.status_code, json.loads(response.content)

    def test_rest_tells_the_first_order_in_the_problem(self, shop: Shop) -> None:
        key = issue_key(shop.customer, clock.now())[1]
        body: dict[str, object] = {"package": shop.package.code, "fields": {"player_id": "P001"}}
        made, first = self.post(key, "k-1", body)
        status, problem = self.post(key, "k-2", body)
        assert (made, status) == (201, 409)
        assert (problem["code"], problem["order_id"], problem["retryable"], problem["money_may_have_moved"]) == (
            "repeat_suspected",
            first["id"],
            False,
            False,
        )
        assert problem["errors"] == [{"pointer": "/repeat", "detail": problem["detail"]}]
        assert self.post(key, "k-2", {**body, "repeat": 1})[0] == 201
        assert self.post(key, "k-3", {**body, "repeat": -1})[1]["errors"][0]["pointer"] == "/repeat"

    def test_the_client_api_refuses_the_recipient_and_names_the_first_order(self, shop: Shop) -> None:
        key = issue_key(shop.customer, clock.now())[1]

        def place(number: int, **more: object) -> dict[str, Any]:
            params: dict[str, Any] = {"qty": 1, "order_uuid": str(uuid.UUID(int=number)), "player_id": "P001", **more}
            path = f"/client/api/newOrder/{shop.package.pk}/params"
            told: dict[str, Any] = Client().get(path, params, headers={"api-token": key}).json()
            return told

        first = place(1)["data"]["order_id"]
        assert place(2) == {
            "status": "ERROR",
            "code": 107,
            "message": f"order {first} is the same for the same recipient; to order it again, send repeat=1",
        }
        assert place(1)["data"]["order_id"] == first
        assert place(2, repeat="1")["status"] == "OK"
        assert place(3, repeat="x") == {"status": "ERROR", "code": 107, "message": "repeat must be a whole number"}
        InputField.objects.create(product=shop.package.product, name="repeat", label="Repeat", target="param")
        assert place(4, repeat="2")["status"] == "OK"
        assert Order.objects.get(idempotency_key=str(uuid.UUID(int=4))).params == {"repeat": "2"}
