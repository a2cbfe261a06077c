"""The REST door of orders: what it takes, what it refuses and how, and what it never tells."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from apps.accounts.keys import issue_key
from apps.accounts.models import ApiKey, Customer, Tenant, User
from apps.api import cursors, problems
from apps.api.bodies import MAX_BYTES
from apps.catalog.models import InputField, Package, PackagePrice
from apps.common import broker, checkpoints, clock
from apps.common.crypto import blind_index, seal_text
from apps.journal.models import OutboxEvent
from apps.ops.demo import issue_demo_key, load_demo
from apps.orders import machine, refusals, telling
from apps.orders.models import Attempt, DueCheck, Order, OrderCode, OrderEvent, OrderUnit
from apps.orders.states import ExternalStatus, OrderStatus
from apps.providers.models import Integration, PackageMapping, Route
from apps.wallet import ledger
from apps.wallet.models import Transfer
from tests.factories import Stage, make_customer, make_shop, order_from
from tests.servers import ValkeyServer

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

ORDERS = "/api/v1/orders"
HOOKS = "/api/v1/webhook-endpoints"
PUBG = {"package": "pubg-60", "fields": {"player_id": "P0001"}}


def pubg_for(player: str) -> dict[str, object]:
    """The same for another player."""
    return {**PUBG, "fields": {"player_id": player}}


PRICE = 33_950_000
"""What the reseller pays for one pubg-60: 35.00 less 3 %."""

BALANCE = 100_000_000_000
WRITTEN = (Order, OrderUnit, OrderEvent, DueCheck, OutboxEvent, Transfer)
"""Every table that a new order writes to."""

both_databases = pytest.mark.both_databases


@dataclass
class Rest:
    """A machine with a key."""

    key: str
    client: Client = field(default_factory=Client)

    def get(self, path: str = ORDERS, **headers: str) -> Response:
        return self.client.get(path, headers=self._headers(headers))

    def post(self, path: str = ORDERS, body: object = b"", **headers: str) -> Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        content_type = headers.pop("content_type", "application/json")
        return self.client.post(path, data, content_type=content_type, headers=self._headers(headers))

    def order(self, body: object = None, key: str = "k-1", **headers: str) -> Response:
        return self.post(ORDERS, PUBG if body is None else body, idempotency_key=key, **headers)

    def reveal(self, order_id: int) -> Response:
        return self.post(f"{ORDERS}/{order_id}/codes/reveal")

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        own = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return own | {name.replace("_", "-"): value for name, value in more.items()}


@pytest.fixture
def rest(api_key: str) -> Rest:
    """The reseller's machine."""
    return Rest(api_key)


def rows() -> dict[str, int]:
    """How many rows there are of everything that a new order writes."""
    return {model.__name__: model._default_manager.count() for model in WRITTEN}


def standing(response: Response) -> tuple[int, str]:
    """The status and the problem's code."""
    return response.status_code, problem(response)["code"]


def problem(response: Response) -> dict[str, Any]:
    """The body of an error, which has the one form of all errors."""
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"
    document: dict[str, Any] = json.loads(response.content)
    assert list(document) == [
        "type",
        "title",
        "status",
        "code",
        "detail",
        "errors",
        "request_id",
        "retryable",
        "money_may_have_moved",
    ]
    assert document["type"] == f"urn:order-hub:problem:{document['code']}"
    assert document["status"] == response.status_code
    assert document["title"]
    assert document["detail"]
    assert document["request_id"]
    return document


def read(response: Response, status: int = 200) -> dict[str, Any]:
    """The body of a success."""
    assert response.status_code == status, response.content
    assert response["Content-Type"].startswith("application/json")
    assert response["Cache-Control"] == "no-store"
    document: dict[str, Any] = json.loads(response.content)
    return document


def without_request_id(response: Response) -> dict[str, Any]:
    return {name: value for name, value in problem(response).items() if name != "request_id"}


@contextlib.contextmanager
def nothing_written() -> Iterator[None]:
    """Asserts that the block leaves every table of an order as it was."""
    before = rows()
    yield
    assert rows() == before


def balance_of(customer: Customer) -> int:
    return ledger.balance_of(customer.pk, "TRY").micros


class TestPlacingAnOrder:
    @both_databases
    def test_answers_the_order_with_its_address_and_holds_the_money(self, rest: Rest, reseller: Customer) -> None:
        response = rest.order({**PUBG, "quantity": 2, "client_reference": "invoice-7"})
        told = read(response, 201)
        order = Order.objects.get()
        assert response["Location"] == f"{ORDERS}/{order.pk}"
        assert "Idempotent-Replayed" not in response
        created_at = told.pop("created_at")
        assert created_at.endswith("Z")
        assert told == {
            "id": order.pk,
            "version": 1,
            "status": "pending",
            "external_status": "not_sent",
            "reason": None,
            "held": True,
            "package": "pubg-60",
            "product_name": "PUBG Mobile UC",
            "quantity": 2,
            "unit_price": "33.95",
            "price": "67.90",
            "currency": "TRY",
            "quote_id": None,
            "fields": {"user_identifier": "P0001", "extra_field": None, "params": {}},
            "client_reference": "invoice-7",
            "provider_referans": None,
            "codes_available": 0,
            "sent_at": None,
            "settled_at": None,
        }
        assert balance_of(reseller) == BALANCE - 2 * PRICE
        assert read(rest.get(response["Location"])) == {**told, "created_at": created_at}

    def test_takes_the_key_from_either_header(self, api_key: str) -> None:
        assert Rest("").order(x_api_key=api_key).status_code == 201

    def test_needs_no_cookie_and_no_csrf_token(self, api_key: str) -> None:
        assert Rest(api_key, Client(enforce_csrf_checks=True)).order().status_code == 201

    def test_of_six_decimals_keeps_every_decimal(self, rest: Rest) -> None:
        PackagePrice.objects.filter(package__code="pubg-60").update(unit_price_micros=1_500)
        PackageMapping.objects.filter(package__code="pubg-60").update(cost_micros=1_499)
        told = read(rest.order({**PUBG, "quantity": 3}), 201)
        assert (told["unit_price"], told["price"]) == ("0.0015", "0.0045")


class TestRepeatingARequest:
    @both_databases
    def test_scenario_8_client_repeats_new_order_5x_one_charge(self, rest: Rest, reseller: Customer) -> None:
        responses = [rest.order() for _ in range(5)]
        bodies = [read(response, 201) for response in responses]
        assert bodies == [bodies[0]] * 5
        assert [response.get("Idempotent-Replayed") for response in responses] == [None, "true", "true", "true", "true"]
        assert {response["Location"] for response in responses} == {f"{ORDERS}/{bodies[0]['id']}"}
        assert (Order.objects.count(), balance_of(reseller)) == (1, BALANCE - PRICE)

    @both_databases
    def test_eight_times_at_once_makes_one_order_and_one_charge(self, rest: Rest, reseller: Customer) -> None:
        start = threading.Barrier(8)

        def send(_: int) -> Response:
            try:
                start.wait()
                return Rest(rest.key).order()
            finally:
                connection.close()

        with ThreadPoolExecutor(8) as pool:
            responses = list(pool.map(send, range(8)))
        assert {read(response, 201)["id"] for response in responses} == {Order.objects.get().pk}
        assert sum(response.get("Idempotent-Replayed") is None for response in responses) == 1
        assert balance_of(reseller) == BALANCE - PRICE
        assert DueCheck.objects.count() == 1

    def test_with_another_content_is_refused(self, rest: Rest, reseller: Customer) -> None:
        rest.order()
        with nothing_written():
            response = rest.order({**PUBG, "quantity": 2})
        assert standing(response) == (422, "idempotency_mismatch")
        assert balance_of(reseller) == BALANCE - PRICE

    def test_of_another_customer_is_another_order(self, rest: Rest, demo: Tenant) -> None:
        neighbour = Customer.objects.get(tenant=demo, name="Corner Shop")
        other = Rest(issue_key(neighbour, clock.now())[1])
        assert read(rest.order(), 201)["id"] != read(other.order(), 201)["id"]

    @both_databases
    def test_after_a_crash_behind_the_commit_finds_the_order(self, rest: Rest, reseller: Customer) -> None:
        def crash(name: str) -> None:
            if name == "create.after_commit":
                raise RuntimeError("crash")

        checkpoints.set_hook(crash)
        try:
            failed = rest.order()
        finally:
            checkpoints.set_hook(None)
        told = problem(failed)
        assert standing(failed) == (500, "internal_error")
        assert (told["money_may_have_moved"], told["retryable"]) == (True, True)
        assert "same Idempotency-Key" in told["detail"]
        repeated = rest.order()
        assert read(repeated, 201)["id"] == Order.objects.get().pk
        assert repeated["Idempotent-Replayed"] == "true"
        assert balance_of(reseller) == BALANCE - PRICE


def disable_provider() -> None:
    Integration.objects.update(is_enabled=False)


def empty_the_wallet() -> None:
    Package.objects.filter(code="pubg-60").update(quantity_max=1000)
    PackagePrice.objects.update(unit_price_micros=BALANCE + 1)


def forget_prices() -> None:
    PackagePrice.objects.all().delete()


def raise_the_cost() -> None:
    PackageMapping.objects.update(cost_micros=PRICE + 1)


def forget_routes() -> None:
    Route.objects.all().delete()


def nothing() -> None:
    """The shop as it is."""


REFUSALS: dict[str, tuple[Callable[[], None], dict[str, Any], tuple[int, str], str, bool]] = {
    "unknown package": (nothing, {"package": "pubg-61"}, (422, "package_unknown"), "/package", False),
    "disabled account": (disable_provider, {}, (409, "package_not_sellable"), "/package", True),
    "no price": (forget_prices, {}, (409, "package_not_sellable"), "/package", True),
    "cost above price": (raise_the_cost, {}, (409, "price_under_revision"), "/package", True),
    "unknown quote": (nothing, {"quote_id": "q_none"}, (422, "quote_unknown"), "/quote_id", False),
    "long quote": (nothing, {"quote_id": "q" * 41}, (422, "quote_unknown"), "/quote_id", False),
    "quote as number": (nothing, {"quote_id": 5}, (422, "request_invalid"), "/quote_id", False),
    "no route": (forget_routes, {}, (409, "package_not_sellable"), "/package", True),
    "too many": (nothing, {"quantity": 6}, (422, "quantity_not_allowed"), "/quantity", False),
    "none": (nothing, {"quantity": 0}, (422, "quantity_not_allowed"), "/quantity", False),
    "less than none": (nothing, {"quantity": -1}, (422, "quantity_not_allowed"), "/quantity", False),
    "far too many": (nothing, {"quantity": 10**30}, (422, "quantity_not_allowed"), "/quantity", False),
    "missing field": (nothing, {"fields": {}}, (422, "field_invalid"), "/fields/player_id", False),
    "bad field": (nothing, {"fields": {"player_id": "a b"}}, (422, "field_invalid"), "/fields/player_id", False),
    "long field": (nothing, {"fields": {"player_id": "a" * 201}}, (422, "field_invalid"), "/fields/player_id", False),
    "unknown field": (
        nothing,
        {"fields": {"player_id": "P0001", "zone": "1"}},
        (422, "field_invalid"),
        "/fields/zone",
        False,
    ),
    "empty wallet": (empty_the_wallet, {}, (402, "balance_not_enough"), "", False),
    "unknown name": (nothing, {"pack": "x"}, (422, "request_invalid"), "/pack", False),
    "tenant in the body": (nothing, {"tenant_id": 2}, (422, "request_invalid"), "/tenant_id", False),
    "quantity as text": (nothing, {"quantity": "1"}, (422, "request_invalid"), "/quantity", False),
    "quantity as truth": (nothing, {"quantity": True}, (422, "request_invalid"), "/quantity", False),
    "quantity as float": (nothing, {"quantity": 1.0}, (422, "request_invalid"), "/quantity", False),
    "quantity as nothing": (nothing, {"quantity": None}, (422, "request_invalid"), "/quantity", False),
    "package as number": (nothing, {"package": 60}, (422, "request_invalid"), "/package", False),
    "fields as list": (nothing, {"fields": ["P0001"]}, (422, "request_invalid"), "/fields", False),
    "field as number": (
        nothing,
        {"fields": {"player_id": 5123456789}},
        (422, "request_invalid"),
        "/fields/player_id",
        False,
    ),
    "empty reference": (nothing, {"client_reference": ""}, (422, "request_invalid"), "/client_reference", False),
    "long reference": (nothing, {"client_reference": "a" * 121}, (422, "request_invalid"), "/client_reference", False),
    "two-line reference": (nothing, {"client_reference": "a\nb"}, (422, "request_invalid"), "/client_reference", False),
    "NUL in a field": (
        nothing,
        {"fields": {"player_id": "P00\x0001"}},
        (422, "text_invalid"),
        "/fields/player_id",
        False,
    ),
    "NUL in a package": (nothing, {"package": "pubg\x00"}, (422, "text_invalid"), "/package", False),
    "NUL in a name": (nothing, {"pack\x00age": "x"}, (422, "text_invalid"), "/pack\\x00age", False),
    "half a pair in a field": (
        nothing,
        {"fields": {"player_id": "P\ud83d"}},
        (422, "text_invalid"),
        "/fields/player_id",
        False,
    ),
    "half a pair in a reference": (
        nothing,
        {"client_reference": "\udc00"},
        (422, "text_invalid"),
        "/client_reference",
        False,
    ),
    "half a pair in a name": (nothing, {"fields": {"\ud800": "x"}}, (422, "text_invalid"), "/fields/\\ud800", False),
}


class TestARefusedOrder:
    @both_databases
    @pytest.mark.parametrize("name", REFUSALS)
    def test_says_what_to_mend_and_writes_nothing(self, rest: Rest, name: str) -> None:
        arrange, change, expected, pointer, retryable = REFUSALS[name]
        arrange()
        with nothing_written():
            response = rest.order(PUBG | change)
        told = problem(response)
        assert standing(response) == expected
        assert [wrong["pointer"] for wrong in told["errors"]] == ([pointer] if pointer else [])
        assert (told["retryable"], told["money_may_have_moved"]) == (retryable, False)

    @pytest.mark.parametrize("arrange", [disable_provider, forget_routes])
    def test_does_not_name_the_supplier(self, rest: Rest, arrange: Callable[[], None]) -> None:
        arrange()
        assert b"ZNET" not in rest.order().content

    def test_leaves_its_key_free(self, rest: Rest) -> None:
        assert rest.order({**PUBG, "quantity": 6}).status_code == 422
        repeated = rest.order()
        assert repeated.status_code == 201
        assert "Idempotent-Replayed" not in repeated

    @both_databases
    def test_names_the_order_that_has_its_client_reference(self, rest: Rest) -> None:
        first = read(rest.order({**PUBG, "client_reference": "invoice-7"}), 201)
        with nothing_written():
            response = rest.order({**pubg_for("P0002"), "client_reference": "invoice-7"}, key="k-2")
        assert standing(response) == (409, "client_reference_used")
        assert f"order {first['id']} " in problem(response)["detail"]

    @pytest.mark.parametrize("key", ["", " ", "a" * 121, "två", "a b"])
    def test_without_a_sound_idempotency_key_is_a_400(self, rest: Rest, key: str) -> None:
        with nothing_written():
            response = rest.order(key=key)
        assert standing(response) == (400, "idempotency_key_invalid")

    def test_without_any_idempotency_key_is_a_400(self, rest: Rest) -> None:
        with nothing_written():
            response = rest.post(ORDERS, PUBG)
        assert standing(response) == (400, "idempotency_key_invalid")

    def test_lists_every_mistake_at_once(self, rest: Rest) -> None:
        response = rest.order({"package": 1, "quantity": "2", "fields": [], "more": 1})
        pointers = [wrong["pointer"] for wrong in problem(response)["errors"]]
        assert pointers == ["/package", "/quantity", "/fields", "/more"]

    def test_of_a_switched_off_package_is_unknown(self, rest: Rest) -> None:
        Package.objects.update(is_active=False)
        assert standing(rest.order()) == (422, "package_unknown")

    def test_in_a_currency_without_a_price_is_not_sellable(self, demo: Tenant) -> None:
        foreigner = make_customer(demo, "1000", currency="USD")
        with nothing_written():
            response = Rest(issue_key(foreigner, clock.now())[1]).order()
        assert standing(response) == (409, "package_not_sellable")

    def test_cannot_be_of_another_shops_package(self, rest: Rest) -> None:
        foreign = make_shop()
        with nothing_written():
            response = rest.order({**PUBG, "package": foreign.package.code})
        assert standing(response) == (422, "package_unknown")


BODIES: dict[str, tuple[bytes, tuple[int, str]]] = {
    "empty": (b"", (422, "request_invalid")),
    "not JSON": (b"package=pubg-60", (400, "json_invalid")),
    "cut": (b'{"package": "pubg-60"', (400, "json_invalid")),
    "two documents": (b"{} {}", (400, "json_invalid")),
    "a list": (b"[]", (422, "request_invalid")),
    "null": (b"null", (422, "request_invalid")),
    "a number": (b"1", (422, "request_invalid")),
    "not UTF-8": (b'{"package": "\xff"}', (400, "json_invalid")),
    "UTF-16": ('{"package": "pubg-60"}'.encode("utf-16"), (400, "json_invalid")),
    "a byte order mark": (b'\xef\xbb\xbf{"package": "pubg-60"}', (400, "json_invalid")),
    "a name twice": (b'{"package": "pubg-60", "quantity": 1, "quantity": 2}', (400, "json_invalid")),
    "a field twice": (b'{"package": "pubg-60", "fields": {"a": "1", "a": "2"}}', (400, "json_invalid")),
    "NaN": (b'{"package": "pubg-60", "quantity": NaN}', (400, "json_invalid")),
    "infinity": (b'{"package": "pubg-60", "quantity": -Infinity}', (400, "json_invalid")),
    "a very long number": (b'{"package": "pubg-60", "quantity": ' + b"9" * 5000 + b"}", (400, "json_invalid")),
    "a very large float": (b'{"package": "pubg-60", "quantity": 1e999}', (422, "request_invalid")),
    "nine levels": (b'{"package": ' + b"[" * 9 + b"]" * 9 + b"}", (400, "json_invalid")),
    "thousands of levels": (b"[" * 30_000 + b"]" * 30_000, (400, "json_invalid")),
    "thousands of open objects": (b'{"a":' * 10_000, (400, "json_invalid")),
    "too large": (b" " * (MAX_BYTES + 1), (413, "body_too_large")),
}


class TestABody:
    @both_databases
    @pytest.mark.parametrize("name", BODIES)
    def test_that_cannot_be_an_order_is_refused(self, rest: Rest, name: str) -> None:
        body, expected = BODIES[name]
        with nothing_written():
            response = rest.post(ORDERS, body, idempotency_key="k-1")
        assert standing(response) == expected
        assert problem(response)["money_may_have_moved"] is False

    def test_of_64_kib_is_read(self, rest: Rest) -> None:
        body = json.dumps(PUBG).encode()
        assert rest.post(ORDERS, body.ljust(MAX_BYTES), idempotency_key="k-1").status_code == 201

    @pytest.mark.parametrize(
        "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
    )
    def test_announced_as_something_else_is_refused(self, rest: Rest, content_type: str) -> None:
        with nothing_written():
            response = rest.order(content_type=content_type)
        assert standing(response) == (415, "content_type_unsupported")

    def test_may_name_its_charset(self, rest: Rest) -> None:
        assert rest.order(content_type="application/json; charset=utf-8").status_code == 201

    @both_databases
    def test_keeps_letters_of_every_script(self, rest: Rest) -> None:
        InputField.objects.filter(product__packages__code="pubg-60").update(pattern="")
        told = read(rest.order({**PUBG, "fields": {"player_id": "لاعب ğüş 🎮"}, "client_reference": "şipariş ١"}), 201)
        assert (told["fields"]["user_identifier"], told["client_reference"]) == ("لاعب ğüş 🎮", "şipariş ١")
        assert read(rest.get(f"{ORDERS}/{told['id']}")) == told


class TestAKey:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"authorization": ""},
            {"authorization": "Basic aHViOng="},
            {"authorization": "Bearer "},
            {"x_api_key": ""},
        ],
    )
    def test_that_is_missing_is_told_as_missing(self, demo: Tenant, headers: dict[str, str]) -> None:
        with nothing_written():
            response = Rest("").order(**headers)
        assert standing(response) == (401, "key_missing")
        assert response["WWW-Authenticate"] == 'Bearer realm="order hub"'

    @both_databases
    @pytest.mark.parametrize(
        "key", ["hub_0123456789abcdef.wrong", "x", "hub_", "hub_\x00.a", "hub_0123456789abcdef.ş", "." * 5000]
    )
    def test_that_is_wrong_is_told_as_invalid(self, demo: Tenant, key: str) -> None:
        for headers in ({"authorization": f"Bearer {key}"}, {"x_api_key": key}):
            with nothing_written():
                response = Rest("").order(**headers)
            assert standing(response) == (401, "key_invalid")
            assert response["WWW-Authenticate"] == 'Bearer realm="order hub", error="invalid_token"'

    def test_with_a_wrong_secret_is_invalid(self, rest: Rest) -> None:
        assert standing(Rest(rest.key[:-1] + "~").get()) == (401, "key_invalid")
        assert standing(Rest(rest.key + "x").get()) == (401, "key_invalid")

    def test_opens_until_it_expires_and_not_a_moment_longer(self, rest: Rest) -> None:
        key = ApiKey.objects.get(public_id=rest.key.partition(".")[0])
        ApiKey.objects.filter(pk=key.pk).update(expires_at=clock.now() + timedelta(minutes=1))
        assert rest.get().status_code == 200
        ApiKey.objects.filter(pk=key.pk).update(
            created_at=clock.now() - timedelta(days=1), expires_at=clock.now() - timedelta(seconds=1)
        )
        assert standing(rest.get()) == (401, "key_invalid")

    @pytest.mark.parametrize(
        "switch_off",
        [
            lambda: ApiKey.objects.update(is_active=False),
            lambda: Customer.objects.update(is_active=False),
            lambda: Tenant.objects.update(is_active=False),
        ],
        ids=["key", "customer", "shop"],
    )
    def test_that_is_switched_off_opens_nothing(self, rest: Rest, switch_off: Callable[[], int]) -> None:
        switch_off()
        with nothing_written():
            assert standing(rest.order()) == (401, "key_invalid")
        assert standing(rest.get()) == (401, "key_invalid")

    def test_leaves_when_it_was_used_last(self, rest: Rest) -> None:
        assert ApiKey.objects.get().last_used_at is None
        rest.get()
        assert ApiKey.objects.get().last_used_at is not None

    def test_is_not_replaced_by_a_session(self, demo: Tenant) -> None:
        rest = Rest("")
        rest.client.force_login(User.objects.create_superuser(username="owner", password="owner"))
        assert standing(rest.get()) == (401, "key_missing")
        assert standing(rest.order()) == (401, "key_missing")

    @pytest.mark.parametrize("path", [ORDERS, f"{ORDERS}/1"])
    def test_is_needed_to_read(self, demo: Tenant, path: str) -> None:
        assert standing(Rest("").get(path)) == (401, "key_missing")
        assert standing(Rest("").reveal(1)) == (401, "key_missing")


class TestAnotherTenant:
    @both_databases
    def test_scenario_13_key_of_a_with_header_of_b_sees_and_changes_only_a(self, rest: Rest, demo: Tenant) -> None:
        foreign = make_shop()
        theirs = order_from(foreign)
        header = str(foreign.tenant.pk)
        asked = rest.get(f"{ORDERS}/{theirs.pk}", x_tenant_id=header, x_tenant=foreign.tenant.slug)
        assert standing(asked) == (404, "order_not_found")
        assert read(rest.get(ORDERS, x_tenant_id=header)) == {"orders": [], "next_cursor": None}
        placed = read(rest.order(x_tenant_id=header), 201)
        assert Order.objects.get(pk=placed["id"]).tenant == demo
        assert standing(rest.order({**PUBG, "package": foreign.package.code}, key="k-2", x_tenant_id=header)) == (
            422,
            "package_unknown",
        )

    @both_databases
    def test_cannot_be_told_from_nobody(self, rest: Rest, demo: Tenant) -> None:
        foreign = order_from(make_shop())
        neighbour = Customer.objects.get(tenant=demo, name="Corner Shop")
        key = issue_key(neighbour, clock.now())[1]
        neighbours = read(Rest(key).order(), 201)["id"]
        unknown = without_request_id(rest.get(f"{ORDERS}/999999"))
        for order_id in (foreign.pk, neighbours, 10**30):
            assert without_request_id(rest.get(f"{ORDERS}/{order_id}")) == unknown
            assert without_request_id(rest.reveal(order_id)) == unknown
        assert unknown["code"] == "order_not_found"
        assert not OrderEvent.objects.filter(kind="codes_revealed").exists()


def place_many(rest: Rest, count: int) -> list[int]:
    """Ids of new orders, newest first."""
    ids = [
        read(rest.order({**pubg_for(f"MANY{n}"), "client_reference": f"invoice-{n}"}, key=f"many-{n}"), 201)["id"]
        for n in range(count)
    ]
    return ids[::-1]


class TestAList:
    @both_databases
    def test_goes_from_the_newest_to_the_oldest_in_pages(self, rest: Rest) -> None:
        ids = place_many(rest, 5)
        seen, cursor, pages = [], "", 0
        while True:
            page = read(rest.get(f"{ORDERS}?limit=2{cursor}"))
            seen += [order["id"] for order in page["orders"]]
            pages += 1
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert (seen, pages) == (ids, 3)

    def test_does_not_shift_when_orders_arrive(self, rest: Rest) -> None:
        ids = place_many(rest, 3)
        first = read(rest.get(f"{ORDERS}?limit=2"))
        rest.order(key="newer")
        second = read(rest.get(f"{ORDERS}?limit=2&cursor={first['next_cursor']}"))
        assert [order["id"] for order in second["orders"]] == ids[2:]

    def test_that_ends_with_a_full_page_has_no_next_cursor(self, rest: Rest) -> None:
        place_many(rest, 2)
        assert read(rest.get(f"{ORDERS}?limit=2"))["next_cursor"] is None

    def test_finds_a_client_reference(self, rest: Rest) -> None:
        ids = place_many(rest, 3)
        found = read(rest.get(f"{ORDERS}?client_reference=invoice-1"))["orders"]
        assert [order["id"] for order in found] == [ids[1]]

    def test_finds_orders_in_review_among_those_in_progress(self, rest: Rest) -> None:
        newest, middle, oldest = (Order.objects.get(pk=pk) for pk in place_many(rest, 3))
        put(newest, OrderStatus.REVIEW, ExternalStatus.UNKNOWN, "waiting:in_doubt")
        put(oldest, OrderStatus.PROCESSING, ExternalStatus.SENT, "")
        found = read(rest.get(f"{ORDERS}?status=processing"))["orders"]
        assert [order["id"] for order in found] == [newest.pk, oldest.pk]
        assert [order["id"] for order in read(rest.get(f"{ORDERS}?status=pending"))["orders"]] == [middle.pk]

    @both_databases
    @pytest.mark.parametrize(
        ("query", "code", "pointer"),
        [
            ("status=review", "request_invalid", "?status"),
            ("status=PENDING", "request_invalid", "?status"),
            ("limit=0", "request_invalid", "?limit"),
            ("limit=101", "request_invalid", "?limit"),
            ("limit=ten", "request_invalid", "?limit"),
            ("limit=" + "9" * 5000, "request_invalid", "?limit"),
            ("client_reference=", "request_invalid", "?client_reference"),
            ("client_reference=%00", "text_invalid", "/client_reference"),
            ("cursor=", "cursor_invalid", "?cursor"),
            ("cursor=1", "cursor_invalid", "?cursor"),
            ("cursor=%00", "text_invalid", "/cursor"),
            ("cursor=ş", "cursor_invalid", "?cursor"),
            ("cursor=" + cursors.encode(7) + "=", "cursor_invalid", "?cursor"),
            ("cursor=" + cursors.encode(10**40), "cursor_invalid", "?cursor"),
            ("cursor=" + cursors.encode(-1), "cursor_invalid", "?cursor"),
        ],
    )
    def test_refuses_a_query_that_it_cannot_answer(self, rest: Rest, query: str, code: str, pointer: str) -> None:
        response = rest.get(f"{ORDERS}?{query}")
        assert standing(response) == (422, code)
        assert [wrong["pointer"] for wrong in problem(response)["errors"]] == [pointer]

    def test_costs_the_same_few_queries_for_one_order_as_for_five(
        self, rest: Rest, settings: Settings, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        settings.REDIS_URL = ""
        place_many(rest, 5)
        rest.get()
        for limit in (1, 5):
            with django_assert_num_queries(6):  # the key, its budget and its shop's read and written, the orders
                rest.get(f"{ORDERS}?limit={limit}")


def put(order: Order, status: OrderStatus, external: ExternalStatus, reason: str) -> None:
    """Move the order as news would, on the shortest way."""
    if order.status == OrderStatus.PENDING and status not in (OrderStatus.PENDING, OrderStatus.PROCESSING):
        machine.change_order(order, OrderStatus.PROCESSING, external, "", clock.now())
    machine.change_order(order, status, external, reason, clock.now())


TOLD = [
    ("pending", "failed", "waiting:provider_paused", ("pending", "not_sent", "waiting", True)),
    ("processing", "sent", "", ("processing", "sent", None, True)),
    ("processing", "unknown", "", ("processing", "processing", None, True)),
    ("processing", "failed", "waiting:next_route", ("processing", "processing", "waiting", True)),
    ("processing", "completed", "waiting:pin", ("processing", "completed", "waiting_pin", True)),
    ("review", "unknown", "waiting:in_doubt", ("processing", "processing", "in_review", True)),
    ("review", "failed", "conflict:partial", ("processing", "processing", "in_review", True)),
    ("review", "reversed", "conflict:failed_after_delivery", ("processing", "processing", "in_review", True)),
    ("completed", "completed", "", ("completed", "completed", None, False)),
    ("completed", "reversed", "", ("completed", "reversed", None, False)),
    ("partial", "partial", "", ("partial", "partial", None, False)),
    ("rejected", "failed", "", ("rejected", "failed", None, False)),
    ("rejected", "unknown", "abandoned by demo", ("rejected", "processing", None, False)),
]


class TestWhatACustomerIsTold:
    @pytest.mark.parametrize(("status", "external", "reason", "expected"), TOLD)
    def test_is_never_a_failure_while_money_is_held(
        self, rest: Rest, status: str, external: str, reason: str, expected: tuple[str, str, str | None, bool]
    ) -> None:
        order = Order.objects.get(pk=read(rest.order(), 201)["id"])
        put(order, OrderStatus(status), ExternalStatus(external), reason)
        told = read(rest.get(f"{ORDERS}/{order.pk}"))
        assert (told["status"], told["external_status"], told["reason"], told["held"]) == expected

    def test_has_a_word_for_every_state(self) -> None:
        assert set(telling.TOLD_STATUS) == set(OrderStatus)
        assert set(telling.TOLD_EXTERNAL) == set(ExternalStatus)
        assert set(telling.EVENT_KINDS) == set(OrderStatus)

    def test_of_an_order_in_doubt_is_that_it_is_in_progress(self, stage: Stage) -> None:
        rest = demo_at(stage)
        stage.simulator.set_fate(recipient="DOUBT1", place="unlisted_text")
        order_id = read(rest.order({**PUBG, "fields": {"player_id": "DOUBT1"}}), 201)["id"]
        dispatch(order_id)
        assert Attempt.objects.get().state == "in_doubt"
        told = read(rest.get(f"{ORDERS}/{order_id}"))
        assert (told["status"], told["external_status"], told["held"]) == ("processing", "processing", True)
        assert told["provider_referans"] == Attempt.objects.get().reference


def demo_at(stage: Stage) -> Rest:
    """The demo shop at the simulated panel, seen by its first customer."""
    return Rest(issue_demo_key(load_demo(stage.url, clock.now()), clock.now()))


def dispatch(order_id: int) -> None:
    from apps.orders.services import try_auto_dispatch

    assert try_auto_dispatch(order_id).is_sent


def completed_order(stage: Stage, rest: Rest, player: str, **fate: Any) -> Order:
    """An order that went the whole way."""
    if fate:
        stage.simulator.set_fate(recipient=player, **fate)
    order_id = read(rest.order({**PUBG, "fields": {"player_id": player}}, key=f"k-{player}"), 201)["id"]
    stage.run_until_quiet()
    order = Order.objects.get(pk=order_id)
    assert order.status == OrderStatus.COMPLETED
    return order


class TestRevealingCodes:
    @both_databases
    def test_shows_what_was_delivered_and_writes_down_who_asked(self, stage: Stage) -> None:
        rest = demo_at(stage)
        order = completed_order(stage, rest, "REVEAL1")
        pin = OrderCode.objects.get().reveal()["value"]
        assert read(rest.reveal(order.pk)) == {
            "codes": [{"value": pin, "serial": "", "pin": "", "url": "", "expires": ""}]
        }
        event = OrderEvent.objects.get(kind="codes_revealed")
        assert (event.order, event.cause, event.actor, event.data) == (
            order,
            "api",
            rest.key.partition(".")[0],
            {"codes": 1},
        )
        rest.reveal(order.pk)
        assert OrderEvent.objects.filter(kind="codes_revealed").count() == 2

    @both_databases
    def test_is_the_only_way_to_a_code(self, stage: Stage) -> None:
        rest = demo_at(stage)
        order = completed_order(stage, rest, "REVEAL2")
        code = OrderCode.objects.get()
        integration = Integration.objects.get()
        told = read(rest.get(f"{ORDERS}/{order.pk}"))
        assert (told["codes_available"], told["status"], told["held"]) == (1, "completed", False)
        assert told["sent_at"] <= told["settled_at"]
        hidden = [code.reveal()["value"], code.sealed, integration.name, "31.5", "31500000", rest.key, "demo-secret"]
        bodies = [
            rest.get(path).content.decode() for path in (ORDERS, f"{ORDERS}/{order.pk}", f"{ORDERS}?status=completed")
        ]
        bodies.append(rest.order({**PUBG, "fields": {"player_id": "REVEAL2"}}, key="k-REVEAL2").content.decode())
        assert [(body, word) for body in bodies for word in hidden if word in body] == []
        assert all(f'"id": {order.pk}' in body for body in bodies)
        assert not OrderEvent.objects.filter(kind="codes_revealed").exists()

    @both_databases
    def test_leaves_quarantined_codes_in_the_dark(self, stage: Stage) -> None:
        rest = demo_at(stage)
        order = completed_order(stage, rest, "REVEAL3")
        OrderCode.objects.create(
            order=order,
            attempt=Attempt.objects.get(),
            sealed=seal_text("LATE-PIN"),
            blind_index=blind_index("LATE-PIN"),
            is_quarantined=True,
            created_at=clock.now(),
        )
        assert read(rest.get(f"{ORDERS}/{order.pk}"))["codes_available"] == 1
        response = rest.reveal(order.pk)
        assert len(read(response)["codes"]) == 1
        assert b"LATE-PIN" not in response.content

    @pytest.mark.parametrize(
        ("status", "external"),
        [
            ("pending", "not_sent"),
            ("processing", "sent"),
            ("review", "unknown"),
            ("rejected", "failed"),
            ("refunded", ""),
        ],
    )
    def test_waits_until_the_order_is_completed_or_partial(self, rest: Rest, status: str, external: str) -> None:
        order = Order.objects.get(pk=read(rest.order(), 201)["id"])
        if status == "refunded":
            put(order, OrderStatus.COMPLETED, ExternalStatus.COMPLETED, "")
        put(order, OrderStatus(status), ExternalStatus(external or "completed"), "waiting:in_doubt")
        with nothing_written():
            response = rest.reveal(order.pk)
        assert standing(response) == (409, "codes_not_ready")

    def test_that_fails_is_not_written_down(self, stage: Stage) -> None:
        rest = demo_at(stage)
        order = completed_order(stage, rest, "REVEAL4")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(OrderCode, "reveal", lambda self: 1 / 0)
            response = rest.reveal(order.pk)
        assert standing(response) == (500, "internal_error")
        assert problem(response)["money_may_have_moved"] is False
        assert not OrderEvent.objects.filter(kind="codes_revealed").exists()


class TestEveryError:
    @pytest.mark.parametrize(
        "path",
        [
            "/api/v1/",
            "/api/v1/nothing",
            f"{ORDERS}/",
            f"{ORDERS}/abc",
            f"{ORDERS}/-1",
            f"{ORDERS}/" + "9" * 5000,
            f"{ORDERS}/%00",
            f"{ORDERS}/1/codes",
        ],
    )
    def test_of_a_wrong_address_is_a_problem(self, rest: Rest, path: str) -> None:
        assert standing(rest.get(path)) == (404, "not_found")
        assert standing(rest.post(path)) == (404, "not_found")

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("put", ORDERS, {"GET", "POST"}),
            ("delete", ORDERS, {"GET", "POST"}),
            ("post", f"{ORDERS}/1", {"GET"}),
            ("get", f"{ORDERS}/1/codes/reveal", {"POST"}),
        ],
    )
    def test_of_a_wrong_method_is_a_problem(self, rest: Rest, method: str, path: str, allowed: set[str]) -> None:
        response = rest.client.generic(method.upper(), path, headers={"Authorization": f"Bearer {rest.key}"})
        assert standing(response) == (405, "method_not_allowed")
        assert set(response["Allow"].split(", ")) == allowed

    def test_of_our_own_is_a_problem_without_its_cause(self, rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("apps.api.orders.tell_orders", lambda orders: 1 / 0)
        response = rest.get()
        assert standing(response) == (500, "internal_error")
        assert (problem(response)["money_may_have_moved"], problem(response)["retryable"]) == (False, True)
        assert b"division" not in response.content

    def test_has_a_row_in_the_table(self) -> None:
        kinds = {*refusals.OrderRefused.__subclasses__(), *problems.Problem.__subclasses__()}
        assert set(problems.ANSWERS) == kinds
        codes = [kind.code for kind in kinds]  # type: ignore[attr-defined]  # both families have one
        assert len(set(codes)) == len(codes)
        assert {answer.status // 100 for answer in problems.ANSWERS.values()} == {4}


class TestTheDescription:
    def test_names_every_endpoint_with_its_keys_and_problems(self, demo: Tenant) -> None:
        document = read(Rest("").get("/api/v1/openapi.json"))
        assert {path: sorted(methods) for path, methods in document["paths"].items()} == {
            ORDERS: ["get", "post"],
            f"{ORDERS}/{{order_id}}": ["get"],
            f"{ORDERS}/bulk": ["post"],
            f"{ORDERS}/{{order_id}}/cancel": ["post"],
            f"{ORDERS}/{{order_id}}/codes/reveal": ["post"],
            f"{ORDERS}/{{order_id}}/events": ["get"],
            f"{ORDERS}/{{order_id}}/notes": ["get", "post"],
            "/api/v1/packages": ["get"],
            "/api/v1/quotes": ["post"],
            "/api/v1/wallet": ["get"],
            "/api/v1/wallet/statement": ["get"],
            HOOKS: ["get", "post"],
            f"{HOOKS}/{{endpoint_id}}": ["delete", "get", "patch"],
            f"{HOOKS}/{{endpoint_id}}/rotate-secret": ["post"],
            f"{HOOKS}/{{endpoint_id}}/test": ["post"],
            f"{HOOKS}/{{endpoint_id}}/deliveries": ["get"],
            f"{HOOKS}/{{endpoint_id}}/deliveries/{{delivery_id}}": ["get"],
            f"{HOOKS}/{{endpoint_id}}/deliveries/{{delivery_id}}/resend": ["post"],
        }
        post = document["paths"][ORDERS]["post"]
        assert [(p["name"], p["required"]) for p in post["parameters"]] == [("Idempotency-Key", True)]
        assert post["security"] == [{"BearerKey": []}, {"HeaderKey": []}]
        assert list(post["responses"]["402"]["content"]) == ["application/problem+json"]
        assert list(post["responses"]["201"]["content"]) == ["application/json"]
        assert document["components"]["schemas"]["NewOrderIn"]["additionalProperties"] is False
        assert document["openapi"] == "3.1.0"


@pytest.fixture
def silent_broker(settings: Settings, rested_broker: None) -> Iterator[list[socket.socket]]:
    """A broker that takes every connection and never says a word; the list holds what it took."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(server.accept()[0])

        threading.Thread(target=take, daemon=True).start()
        settings.REDIS_URL = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        yield taken
        server.shutdown(socket.SHUT_RDWR)
        for line in taken:
            line.close()


class TestADeadBroker:
    def test_that_is_silent_costs_one_wait_and_no_order(self, rest: Rest, silent_broker: list[socket.socket]) -> None:
        assert rest.order(key="k-0").status_code == 201
        assert not broker.publish("apps.orders.tasks.dispatch_order", [1, 1])
        for n in range(1, 6):
            assert rest.order(pubg_for(f"P000{n}0"), key=f"k-{n}").status_code == 201
        assert len(silent_broker) == 2  # one for the wake-ups, one for the shared limits
        assert DueCheck.objects.filter(kind="dispatch").count() == Order.objects.count() == 6

    def test_that_is_gone_costs_no_order(self, rest: Rest, settings: Settings) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
        assert rest.order().status_code == 201
        assert not broker.publish("apps.orders.tasks.dispatch_order", [1, 1])
        assert DueCheck.objects.filter(kind="dispatch").count() == 1

    def test_is_told_again_when_it_is_back(self, rested_broker: None, settings: Settings) -> None:
        with ValkeyServer() as server:
            settings.REDIS_URL = server.url
            assert broker.publish("apps.orders.tasks.dispatch_order", [1, 1])
            server.kill()
            assert not broker.publish("apps.orders.tasks.dispatch_order", [1, 1])
            server.start()
            broker.wake_up()
            assert broker.publish("apps.orders.tasks.dispatch_order", [1, 1])
