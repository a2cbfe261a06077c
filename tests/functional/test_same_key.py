"""One key is one order: for fifty who post it over sockets at the same moment, and for who repeats it a year later."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.servers.basehttp import ThreadedWSGIServer
from django.core.wsgi import get_wsgi_application
from django.test.testcases import QuietWSGIRequestHandler
from django.urls import resolve

from apps.accounts.models import Customer
from apps.orders.models import DueCheck, Order
from tests.factories import Shop, Stage, make_shop, sums_of
from tests.functional.at_once import run_at_once
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.door_buyers import ZnetBuyer, key_of
from tests.functional.test_client_api_door import Buyer
from tests.functional.test_rest_orders import BALANCE, ORDERS, PRICE, PUBG, Rest, balance_of, read

__all__ = ["committed", "simulator", "stage"]

POSTS = 50
YEAR_S = 365 * 86400.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer to a post."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def what(self) -> str:
        """The order for the first time, or once more, or the problem's code."""
        if self.status == 201:
            return "replay" if self.headers.get("idempotent-replayed") == "true" else "first"
        return f"{self.status} {self.body['code']}"


def post(url: str, key: str) -> Heard:
    """The order over a connection of its own."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Idempotency-Key": "k-50"}
    try:
        connection.request("POST", ORDERS, json.dumps(PUBG), headers)
        answer = connection.getresponse()
        return Heard(
            answer.status, {name.lower(): value for name, value in answer.getheaders()}, json.loads(answer.read())
        )
    finally:
        connection.close()


class WideServer(ThreadedWSGIServer):
    """A thread for each request, and room for all of them to wait for theirs."""

    request_queue_size = 2 * POSTS


@pytest.fixture
def url(committed: None) -> Iterator[str]:
    """Where the hub listens."""
    server = WideServer(("127.0.0.1", 0), QuietWSGIRequestHandler)
    server.set_app(get_wsgi_application())
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.postgres
class TestFiftyPosts:
    def test_with_one_key_are_one_order_and_one_charge(self, api_key: str, reseller: Customer, url: str) -> None:
        heard = run_at_once([partial(post, url, api_key)] * POSTS)
        order = Order.objects.get()
        kinds = Counter(each.what for each in heard)
        assert set(kinds) <= {"first", "replay", "409 idempotency_in_flight"}
        assert kinds["first"] == 1
        assert {each.body["id"] for each in heard if each.status == 201} == {order.pk}
        assert all(int(each.headers["retry-after"]) > 0 for each in heard if each.status == 409)
        again = [post(url, api_key) for _ in range(POSTS)]
        assert Counter(each.what for each in again) == {"replay": POSTS}
        assert {each.body["id"] for each in again} == {order.pk}
        assert balance_of(reseller) == BALANCE - PRICE
        assert (sums_of(order), DueCheck.objects.count()) == ({"hold": PRICE}, 1)


def by_rest(shop: Shop) -> object:
    body = {"package": shop.package.code, "fields": {"player_id": "P-year"}}
    return read(Rest(key_of(shop)).order(body), 201)["id"]


def by_client_api(shop: Shop) -> object:
    return Buyer(shop, key_of(shop), "P-year").place()["data"]["order_id"]


def by_znet(shop: Shop) -> object:
    return ZnetBuyer(shop, key_of(shop), "P-year").place()[:3]


class TestAYearLater:
    @pytest.mark.both_databases
    @pytest.mark.parametrize("place", [by_rest, by_client_api, by_znet])
    def test_the_same_key_finds_the_same_order(self, stage: Stage, place: Callable[[Shop], object]) -> None:
        shop = make_shop(stage.url)
        first = place(shop)
        stage.run_until_quiet()
        stage.move(YEAR_S)
        assert place(shop) == first
        order = Order.objects.get()
        assert (order.status, sums_of(order)["capture"]) == ("completed", 35_000_000)
        assert len(stage.purchases()) == 1


class TestTheAddresses:
    def test_that_other_shops_know_are_there(self) -> None:
        addresses = {
            "/api/v1/orders": "api:orders",
            "/client/api/profile": "client_api:profile",
            "/client/api/check": "client_api:check",
            "/servis/pin_ekle.php": "znet_door:pin_ekle",
            "/servis/pin_kontrol.php": "znet_door:pin_kontrol",
            "/api/v2": "smm_door:door",
        }
        assert {address: resolve(address).view_name for address in addresses} == addresses
