"""What an API key opens: for what, from where, signed or not, how often, and how it is replaced."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis
import time_machine
from django.core.exceptions import ValidationError
from django.db import connection
from pytest_django import Settings
from time_machine import Traveller

from apps.accounts.keys import (
    OVERLAP,
    AlreadyReplaced,
    demand_signatures,
    find_caller,
    find_key,
    issue_key,
    replace_key,
)
from apps.accounts.models import ApiBudget, ApiKey, Customer, Scope, Tenant, UsedNonce
from apps.api.signing import WINDOW, sign
from apps.common import clock
from apps.orders.models import Order
from tests.factories import START, make_customer
from tests.functional.test_rest_orders import ORDERS, PUBG, Rest, nothing_written, pubg_for, read, rest, standing
from tests.servers import ValkeyServer

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

__all__ = ["rest"]

both_databases = pytest.mark.both_databases


def key_of(rest: Rest) -> ApiKey:
    return ApiKey.objects.get(public_id=rest.key.partition(".")[0])


def bind(rest: Rest, **columns: object) -> Rest:
    ApiKey.objects.filter(pk=key_of(rest).pk).update(**columns)
    return rest


def at_once(count: int, act: Callable[[], Any]) -> list[Any]:
    """What so many threads get that begin together."""
    start = threading.Barrier(count)

    def run(_: int) -> Any:
        try:
            start.wait(60)
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.fixture
def still() -> Iterator[Traveller]:
    """A clock that stands until it is moved."""
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


class TestAScope:
    def test_to_read_reads_and_does_nothing_else(self, rest: Rest, reseller: Customer) -> None:
        order_id = read(rest.order(), 201)["id"]
        reader = Rest(issue_key(reseller, clock.now(), scopes=[Scope.READ])[1])
        for path in (ORDERS, f"{ORDERS}/{order_id}", f"{ORDERS}/{order_id}/notes", "/api/v1/packages"):
            assert reader.get(path).status_code == 200
        with nothing_written():
            for refused in (
                reader.order(key="k-2"),
                reader.reveal(order_id),
                reader.post(f"{ORDERS}/{order_id}/cancel"),
                reader.post(f"{ORDERS}/{order_id}/notes", {"text": "x"}),
                reader.get("/api/v1/wallet"),
            ):
                assert standing(refused) == (403, "scope_missing")

    def test_is_asked_for_at_every_endpoint(self, rest: Rest) -> None:
        paths = read(rest.get("/api/v1/openapi.json"))["paths"]
        bind(rest, scopes=["wallet"])
        open_to_it = set()
        for path, methods in paths.items():
            for method in methods:
                address = re.sub(r"\{\w+_id\}", "1", path)
                response = rest.client.generic(method.upper(), address, headers={"X-Api-Key": rest.key})
                if response.status_code != 403:
                    open_to_it.add(path)
        assert open_to_it == {"/api/v1/wallet", "/api/v1/wallet/statement"}

    def test_to_order_is_needed_at_a_door_that_asks_for_none(self, rest: Rest) -> None:
        assert find_caller(rest.key, clock.now()) is not None
        bind(rest, scopes=["read", "wallet"])
        assert find_caller(rest.key, clock.now()) is None

    @pytest.mark.parametrize("scopes", [[], ["everything"], "orders", {"orders": 1}, None])
    def test_that_is_not_known_cannot_be_given(self, rest: Rest, scopes: object) -> None:
        key = key_of(rest)
        key.scopes = scopes
        with pytest.raises(ValidationError):
            key.full_clean()


class TestAnAddress:
    @pytest.mark.parametrize(
        ("allowed", "address", "is_open"),
        [
            (["203.0.113.7"], "203.0.113.7", True),
            (["203.0.113.7"], "203.0.113.8", False),
            (["198.51.100.0/24", "203.0.113.0/28"], "203.0.113.15", True),
            (["203.0.113.0/28"], "203.0.113.16", False),
            (["203.0.113.7"], "::ffff:203.0.113.7", True),
            (["2001:db8::/32"], "2001:db8:1::1", True),
            (["2001:db8::/32"], "203.0.113.7", False),
            (["0.0.0.0/0"], "", False),
            (["0.0.0.0/0"], "unix:", False),
        ],
    )
    def test_that_is_not_listed_opens_nothing(
        self, rest: Rest, allowed: list[str], address: str, is_open: bool
    ) -> None:
        bind(rest, allowed_ips=allowed)
        rest.client.defaults["REMOTE_ADDR"] = address
        if is_open:
            assert rest.get().status_code == 200
        else:
            assert standing(rest.get()) == (403, "address_not_allowed")

    def test_is_never_believed_from_a_header_without_a_proxy_of_ours(self, rest: Rest) -> None:
        bind(rest, allowed_ips=["203.0.113.7"])
        assert standing(rest.get(x_forwarded_for="203.0.113.7")) == (403, "address_not_allowed")

    def test_is_what_the_nearest_proxy_of_ours_heard(self, rest: Rest, settings: Settings) -> None:
        bind(rest, allowed_ips=["203.0.113.7"])
        settings.TRUSTED_PROXIES = 1
        assert rest.get(x_forwarded_for="198.51.100.1, 203.0.113.7").status_code == 200
        assert standing(rest.get(x_forwarded_for="203.0.113.7, 198.51.100.1")) == (403, "address_not_allowed")
        settings.TRUSTED_PROXIES = 2
        assert rest.get(x_forwarded_for="203.0.113.7, 10.0.0.1").status_code == 200

    def test_binds_a_key_out_of_a_door_that_sees_none(self, rest: Rest) -> None:
        bind(rest, allowed_ips=["127.0.0.1"])
        assert rest.get().status_code == 200
        assert find_caller(rest.key, clock.now()) is None

    @pytest.mark.parametrize("networks", ["203.0.113.7", ["203.0.113.256"], ["here"], [None], {}])
    def test_that_is_none_cannot_be_listed(self, rest: Rest, networks: object) -> None:
        key = key_of(rest)
        key.allowed_ips = networks
        if networks == {}:
            with pytest.raises(ValidationError):
                ApiKey._meta.get_field("allowed_ips").run_validators({"a": 1})
            return
        with pytest.raises(ValidationError):
            key.full_clean()


class TestAReplacedKey:
    @both_databases
    def test_opens_for_one_more_day_beside_its_successor(self, rest: Rest) -> None:
        now = clock.now()
        old = key_of(bind(rest, scopes=["read"], allowed_ips=["127.0.0.1"], rate_per_s=7, burst=9))
        new, full = replace_key(old.pk, now)
        assert (new.scopes, new.allowed_ips, new.rate_per_s, new.burst) == (["read"], ["127.0.0.1"], 7, 9)
        assert rest.get().status_code == Rest(full).get().status_code == 200
        assert find_key(rest.key, now + OVERLAP - timedelta(seconds=1)) is not None
        assert find_key(rest.key, now + OVERLAP) is None
        assert find_key(full, now + OVERLAP) is not None

    def test_keeps_an_earlier_end(self, rest: Rest) -> None:
        now = clock.now()
        ends_at = now + timedelta(hours=1)
        bind(rest, expires_at=ends_at)
        new, _ = replace_key(key_of(rest).pk, now)
        assert (key_of(rest).expires_at, new.expires_at) == (ends_at, ends_at)

    @both_databases
    def test_has_one_successor_also_when_two_people_replace_it_at_once(self, rest: Rest) -> None:
        key_id = key_of(rest).pk

        def act() -> str:
            try:
                replace_key(key_id, clock.now())
            except AlreadyReplaced:
                return "refused"
            return "replaced"

        assert sorted(at_once(2, act)) == ["refused", "replaced"]
        assert ApiKey.objects.count() == 2

    def test_that_is_switched_off_is_not_replaced(self, rest: Rest) -> None:
        bind(rest, is_active=False)
        with pytest.raises(AlreadyReplaced):
            replace_key(key_of(rest).pk, clock.now())


@pytest.fixture
def signer(rest: Rest, still: Traveller) -> Signer:
    """A machine whose key demands signatures."""
    return Signer(rest, demand_signatures(key_of(rest)))


class Signer:
    """Sends signed requests, or spoilt ones."""

    def __init__(self, rest: Rest, secret: str) -> None:
        self.rest = rest
        self.secret = secret

    def order(self, *, at: datetime = START, nonce: str = "n" * 16, spoil: str = "") -> Response:
        body = b'{"package": "pubg-60", "fields": {"player_id": "P0001"}}'
        told = str(int(at.timestamp()))
        method, path = ("PUT", ORDERS) if spoil == "method" else ("POST", ORDERS)
        path = f"{ORDERS}?a=1" if spoil == "path" else path
        signed = sign(self.secret, told, nonce, method, path, b"{}" if spoil == "body" else body)
        headers = {"x_hub_timestamp": told, "x_hub_nonce": nonce, "x_hub_signature": signed}
        if spoil in headers:
            headers[spoil] = ""
        return self.rest.post(ORDERS, body, idempotency_key="k-1", **headers)


class TestASignature:
    @both_databases
    def test_lets_its_request_through_once(self, signer: Signer) -> None:
        assert signer.order().status_code == 201
        with nothing_written():
            assert standing(signer.order()) == (401, "signature_invalid")
        assert signer.order(nonce="m" * 16)["Idempotent-Replayed"] == "true"

    @pytest.mark.parametrize("spoil", ["body", "method", "path", "x_hub_timestamp", "x_hub_nonce", "x_hub_signature"])
    def test_is_over_all_of_the_request(self, signer: Signer, spoil: str) -> None:
        with nothing_written():
            assert standing(signer.order(spoil=spoil)) == (401, "signature_invalid")
        assert not UsedNonce.objects.exists()

    @pytest.mark.parametrize("sign_of", [1, -1])
    def test_holds_for_five_minutes(self, signer: Signer, sign_of: int) -> None:
        assert signer.order(at=START + sign_of * WINDOW).status_code == 201
        late = START + sign_of * (WINDOW + timedelta(seconds=1))
        assert standing(signer.order(at=late, nonce="m" * 16)) == (401, "signature_invalid")

    @both_databases
    def test_sent_by_two_at_once_is_taken_once(self, signer: Signer) -> None:
        statuses = [response.status_code for response in at_once(2, signer.order)]
        assert sorted(statuses) == [201, 401]

    def test_is_remembered_as_long_as_it_could_be_repeated(self, signer: Signer, still: Traveller) -> None:
        signer.order(at=START + WINDOW)
        still.shift(2 * WINDOW.total_seconds())
        assert standing(signer.order(at=START + WINDOW)) == (401, "signature_invalid")
        signer.order(at=clock.now(), nonce="m" * 16)
        still.shift(2 * WINDOW.total_seconds() + 1)
        signer.order(at=clock.now(), nonce="o" * 16)
        assert list(UsedNonce.objects.values_list("nonce", flat=True)) == ["o" * 16]

    def test_is_not_optional_for_its_key(self, signer: Signer) -> None:
        assert standing(signer.rest.get()) == (401, "signature_invalid")
        assert find_caller(signer.rest.key, START) is None

    def test_under_an_earlier_secret_is_none(self, signer: Signer) -> None:
        demand_signatures(key_of(signer.rest))
        assert standing(signer.order()) == (401, "signature_invalid")


STORES = ["database", "redis"]


@pytest.fixture
def store(request: pytest.FixtureRequest, settings: Settings) -> Iterator[None]:
    """Where the budgets are kept."""
    settings.REDIS_URL = ""
    if request.param == "redis":
        url = request.getfixturevalue("valkey_url")
        with redis.Redis.from_url(url) as client:
            client.flushdb()
            settings.REDIS_URL = url
            yield
            client.flushdb()
        return
    yield


in_every_store = pytest.mark.parametrize("store", STORES, indirect=True)


def limits_of(response: Response) -> tuple[str, ...]:
    return tuple(response[f"RateLimit-{name}"] for name in ("Limit", "Remaining", "Reset"))


class TestALimit:
    @both_databases
    @in_every_store
    def test_counts_down_refuses_and_fills_again(self, rest: Rest, still: Traveller, store: None) -> None:
        bind(rest, rate_per_s=1, burst=3)
        assert [limits_of(rest.get()) for _ in range(3)] == [("3", "2", "1"), ("3", "1", "2"), ("3", "0", "3")]
        refused = rest.get()
        assert standing(refused) == (429, "too_many_requests")
        assert (refused["Retry-After"], limits_of(refused)) == ("1", ("3", "0", "3"))
        still.shift(1)
        assert rest.get().status_code == 200
        assert rest.get().status_code == 429
        still.shift(60)
        assert limits_of(rest.get()) == ("3", "2", "1")

    @both_databases
    @in_every_store
    def test_is_one_for_all_who_come_at_once(self, rest: Rest, still: Traveller, store: None) -> None:
        bind(rest, rate_per_s=1, burst=5)
        statuses = [response.status_code for response in at_once(16, lambda: Rest(rest.key).get())]
        assert sorted(statuses) == [200] * 5 + [429] * 11

    @both_databases
    @in_every_store
    def test_of_the_shop_is_not_spent_by_what_its_key_is_refused(
        self, rest: Rest, demo: Tenant, still: Traveller, store: None
    ) -> None:
        Tenant.objects.filter(pk=demo.pk).update(api_rate_per_s=1, api_burst=4)
        bind(rest, rate_per_s=1, burst=1)
        neighbour = Rest(issue_key(make_customer(demo), clock.now())[1])
        assert [rest.get().status_code for _ in range(10)] == [200] + [429] * 9
        assert [neighbour.get().status_code for _ in range(4)] == [200, 200, 200, 429]

    @in_every_store
    def test_of_one_shop_leaves_another_alone(self, rest: Rest, demo: Tenant, still: Traveller, store: None) -> None:
        other = Tenant.objects.create(name="Other", slug="other")
        stranger = Rest(issue_key(make_customer(other), clock.now())[1])
        Tenant.objects.filter(pk=demo.pk).update(api_rate_per_s=1, api_burst=2)
        assert [rest.get().status_code for _ in range(5)] == [200, 200, 429, 429, 429]
        assert stranger.get().status_code == 200

    def test_counts_every_line_of_many_orders(self, rest: Rest, still: Traveller) -> None:
        bind(rest, rate_per_s=1, burst=3)
        body = b"\n".join([b"{}"] * 5)
        response = rest.post(f"{ORDERS}/bulk", body, content_type="application/x-ndjson")
        assert response.status_code == 200
        refused = rest.get()
        assert (refused.status_code, refused["Retry-After"]) == (429, "3")

    def test_refused_order_writes_nothing_and_leaves_its_key_free(self, rest: Rest, still: Traveller) -> None:
        bind(rest, rate_per_s=1, burst=1)
        rest.get()
        with nothing_written():
            assert standing(rest.order()) == (429, "too_many_requests")
        still.shift(1)
        response = rest.order()
        assert response.status_code == 201
        assert "Idempotent-Replayed" not in response

    def test_outlives_its_redis_and_refuses_nobody_for_it(
        self, rest: Rest, still: Traveller, settings: Settings
    ) -> None:
        bind(rest, rate_per_s=1, burst=3)
        with ValkeyServer() as server:
            settings.REDIS_URL = server.url
            assert rest.get().status_code == 200
            assert not ApiBudget.objects.exists()
        assert [rest.get().status_code for _ in range(4)] == [200, 200, 200, 429]
        assert ApiBudget.objects.exists()

    def test_is_told_with_every_answer_of_a_known_key(self, rest: Rest) -> None:
        for response in (rest.get(), rest.get(f"{ORDERS}/999"), rest.order({**PUBG, "quantity": 9}), rest.order()):
            assert int(response["RateLimit-Limit"]) == 200
        assert "RateLimit-Limit" not in Rest("").get()
        assert Order.objects.count() == 1


class TestTheBooks:
    def test_keep_no_secret_in_clear(self, rest: Rest) -> None:
        secret = demand_signatures(key_of(rest))
        key = key_of(rest)
        stored = [key.secret_hash, key.sealed_signing_secret, str(key), repr(key.__dict__)]
        full = rest.key.partition(".")[2]
        assert [word for word in (secret, full) for text in stored if word in text] == []

    def test_note_the_last_use(self, rest: Rest, still: Traveller) -> None:
        rest.order(pubg_for("P0009"))
        assert key_of(rest).last_used_at == START
