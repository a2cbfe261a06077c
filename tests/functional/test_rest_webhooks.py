"""The REST door of webhook endpoints: what it takes, who may, what it never tells."""

from __future__ import annotations

from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from apps.accounts.keys import issue_key
from apps.accounts.models import Customer, Scope
from apps.common import clock
from apps.webhooks.models import WebhookDelivery, WebhookEndpoint
from tests.factories import make_customer
from tests.functional.core_fixtures import committed
from tests.functional.event_fixtures import Desk, desk, got, receiver
from tests.functional.test_rest_orders import Rest, problem, read, standing
from tests.unit.loopback import OK, reply

__all__ = ["committed", "desk"]

pytestmark = pytest.mark.both_databases

ENDPOINTS = "/api/v1/webhook-endpoints"
NEW = {"url": "https://hooks.example.com/in"}


def key_of(customer: Customer, *scopes: Scope) -> Rest:
    """A machine of the customer that may do so much."""
    return Rest(issue_key(customer, clock.now(), scopes=[scope.value for scope in scopes])[1])


@pytest.fixture
def rest(desk: Desk) -> Rest:
    """A machine that may set up webhooks with codes."""
    return key_of(desk.shop.customer, Scope.WEBHOOKS, Scope.ORDERS)


def change(rest: Rest, path: str, body: dict[str, Any]) -> Any:
    return rest.client.patch(
        path, body, content_type="application/json", headers={"authorization": f"Bearer {rest.key}"}
    )


def delete(rest: Rest, path: str) -> Any:
    return rest.client.delete(path, headers={"authorization": f"Bearer {rest.key}"})


def add(rest: Rest, **new: Any) -> dict[str, Any]:
    added: dict[str, Any] = read(rest.post(ENDPOINTS, {**NEW, **new}), 201)
    return added


class TestAnEndpoint:
    def test_is_created_with_a_secret_that_is_shown_once(self, desk: Desk, rest: Rest) -> None:
        response = rest.post(ENDPOINTS, {**NEW, "description": "the shop", "kinds": ["order.completed"]})
        told = read(response, 201)
        secret = told.pop("secret")
        assert told == {
            "id": WebhookEndpoint.objects.get().pk,
            "url": "https://hooks.example.com/in",
            "description": "the shop",
            "kinds": ["order.completed"],
            "with_codes": False,
            "paused": None,
            "paused_at": None,
            "failing_since": None,
            "old_secret_until": None,
            "created_at": "2026-03-02T09:00:00Z",
        }
        assert Webhook(secret).sign("msg_1", clock.now(), "{}").startswith("v1,")
        assert response["Location"] == f"{ENDPOINTS}/{told['id']}"
        assert read(rest.get(response["Location"])) == told
        assert read(rest.get(ENDPOINTS)) == {"endpoints": [told]}

    @pytest.mark.parametrize(
        ("new", "pointer"),
        [
            ({"url": "http://hooks.example.com/"}, "/url"),
            ({"url": "https://192.168.0.1/"}, "/url"),
            ({"url": ""}, "/url"),
            ({"kinds": ["order.review"]}, "/kinds/0"),
            ({"secret": "mine"}, "/secret"),
            ({"description": "a\u0000b"}, "/description"),
        ],
    )
    def test_is_refused_with_the_place_to_mend(
        self, desk: Desk, rest: Rest, settings: Any, new: dict[str, Any], pointer: str
    ) -> None:
        settings.EVENTS_TO_LOCAL = False
        response = rest.post(ENDPOINTS, {**NEW, **new})
        assert response.status_code == 422
        assert [wrong["pointer"] for wrong in problem(response)["errors"]] == [pointer]
        assert WebhookEndpoint.objects.count() == 0

    def test_takes_codes_over_https_alone(self, desk: Desk, rest: Rest) -> None:
        refused = problem(rest.post(ENDPOINTS, {"url": "http://127.0.0.1:9/", "with_codes": True}))
        assert (refused["code"], refused["errors"][0]["pointer"]) == ("endpoint_invalid", "/with_codes")

    def test_is_one_of_ten(self, desk: Desk, rest: Rest) -> None:
        for _ in range(10):
            add(rest)
        assert standing(rest.post(ENDPOINTS, NEW)) == (409, "endpoints_full")

    def test_is_changed_in_what_is_named(self, desk: Desk, rest: Rest) -> None:
        path = f"{ENDPOINTS}/{add(rest, description='old', kinds=['order.held'])['id']}"
        told = read(change(rest, path, {"description": "new", "with_codes": True}))
        assert (told["description"], told["kinds"], told["with_codes"]) == ("new", ["order.held"], True)
        assert standing(change(rest, path, {"url": "ftp://hooks.example.com/"})) == (422, "endpoint_invalid")
        assert read(rest.get(path)) == told

    def test_is_paused_and_served_again(self, desk: Desk, rest: Rest) -> None:
        path = f"{ENDPOINTS}/{add(rest)['id']}"
        told = read(change(rest, path, {"paused": True}))
        assert (told["paused"], told["paused_at"]) == ("by_hand", "2026-03-02T09:00:00Z")
        assert read(change(rest, path, {"paused": False}))["paused"] is None

    def test_that_was_deleted_is_not_found_any_more(self, desk: Desk, rest: Rest) -> None:
        path = f"{ENDPOINTS}/{add(rest)['id']}"
        response = delete(rest, path)
        assert (response.status_code, response.content) == (204, b"")
        assert standing(rest.get(path)) == standing(delete(rest, path)) == (404, "endpoint_not_found")

    def test_gets_a_new_secret(self, desk: Desk, rest: Rest) -> None:
        added = add(rest)
        told = read(rest.post(f"{ENDPOINTS}/{added['id']}/rotate-secret"))
        assert told["old_secret_until"] == "2026-03-03T09:00:00Z"
        assert told["secret"] != added["secret"]
        path = f"{ENDPOINTS}/{added['id']}"
        assert read(rest.get(path))["old_secret_until"] == "2026-03-03T09:00:00Z"
        desk.move(24 * 3600)
        assert read(rest.get(path))["old_secret_until"] is None


class TestWhoMay:
    def test_needs_a_scope_of_its_own(self, desk: Desk) -> None:
        for rest in (key_of(desk.shop.customer, Scope.ORDERS, Scope.WALLET), key_of(desk.shop.customer, Scope.READ)):
            assert standing(rest.get(ENDPOINTS)) == standing(rest.post(ENDPOINTS, NEW)) == (403, "scope_missing")

    def test_is_not_what_a_key_may_by_itself(self, desk: Desk) -> None:
        key, full = issue_key(desk.shop.customer, clock.now())
        assert "webhooks" not in key.scopes
        assert standing(Rest(full).get(ENDPOINTS)) == (403, "scope_missing")

    def test_have_codes_sent_must_be_one_who_may_reveal_them(self, desk: Desk, rest: Rest) -> None:
        small = key_of(desk.shop.customer, Scope.WEBHOOKS)
        assert standing(small.post(ENDPOINTS, {**NEW, "with_codes": True})) == (403, "scope_missing")
        path = f"{ENDPOINTS}/{add(small)['id']}"
        assert standing(change(small, path, {"with_codes": True})) == (403, "scope_missing")
        read(change(rest, path, {"with_codes": True}))
        assert standing(change(small, path, {"url": "https://evil.example.com/"})) == (403, "scope_missing")
        assert read(change(small, path, {"paused": True}))["paused"] == "by_hand"

    def test_does_not_see_those_of_others(self, desk: Desk, rest: Rest) -> None:
        added = add(rest)
        desk.order()
        desk.run()
        delivery = WebhookDelivery.objects.get()
        neighbour = key_of(make_customer(desk.shop.tenant), Scope.WEBHOOKS, Scope.ORDERS)
        path = f"{ENDPOINTS}/{added['id']}"
        one = f"{path}/deliveries/{delivery.pk}"
        answers = [
            neighbour.get(path),
            change(neighbour, path, {"paused": True}),
            delete(neighbour, path),
            neighbour.post(f"{path}/rotate-secret"),
            neighbour.post(f"{path}/test"),
            neighbour.get(f"{path}/deliveries"),
            neighbour.get(one),
            neighbour.post(f"{one}/resend"),
        ]
        assert {standing(answer) for answer in answers} == {(404, "endpoint_not_found")}
        assert read(neighbour.get(ENDPOINTS)) == {"endpoints": []}
        other = add(rest)
        assert standing(rest.get(f"{ENDPOINTS}/{other['id']}/deliveries/{delivery.pk}")) == (404, "delivery_not_found")


class TestDeliveries:
    def test_are_told_with_every_try_and_sent_again(self, desk: Desk, rest: Rest) -> None:
        with receiver(reply(b"broken", status=b"500 Oops"), OK) as server:
            added = add(rest, url=server.url)
            order = desk.order()
            desk.run()
            path = f"{ENDPOINTS}/{added['id']}/deliveries"
            (listed,) = read(rest.get(path))["deliveries"]
            assert (listed["kind"], listed["order_id"], listed["version"]) == ("order.pending", order.pk, 1)
            assert (listed["state"], listed["tries"], listed["next_at"]) == ("waiting", 1, "2026-03-02T09:00:05Z")
            told = read(rest.get(f"{path}/{listed['id']}"))
            (tried,) = told["log"]
            assert (tried["outcome"], tried["http_status"], tried["excerpt"]) == ("status", 500, "broken")
            again = read(rest.post(f"{path}/{listed['id']}/resend"), 202)
            assert (again["tries"], again["next_at"]) == (0, "2026-03-02T09:00:00Z")
            desk.move(5)
            desk.run()
            (listed,) = read(rest.get(f"{path}?state=delivered"))["deliveries"]
            assert (listed["state"], listed["next_at"], listed["ended_at"]) == (
                "delivered",
                None,
                "2026-03-02T09:00:05Z",
            )
        assert len({request.headers["webhook-id"] for request in got(server)}) == 1

    def test_come_in_pages_newest_first(self, desk: Desk, rest: Rest) -> None:
        path = f"{ENDPOINTS}/{add(rest, url='http://127.0.0.1:9/')['id']}"
        ids = [read(rest.post(f"{path}/test"), 202)["id"] for _ in range(3)]
        first = read(rest.get(f"{path}/deliveries?limit=2"))
        second = read(rest.get(f"{path}/deliveries?limit=2&cursor={first['next_cursor']}"))
        told = [one["id"] for one in first["deliveries"] + second["deliveries"]]
        assert (told, second["next_cursor"]) == (ids[::-1], None)

    def test_of_a_test_event_tell_of_no_order(self, desk: Desk, rest: Rest) -> None:
        told = read(rest.post(f"{ENDPOINTS}/{add(rest)['id']}/test"), 202)
        assert (told["kind"], told["order_id"], told["version"], told["state"]) == (
            "endpoint.test",
            None,
            None,
            "waiting",
        )


class TestAnOrder:
    def test_tells_the_version_that_its_events_tell(self, desk: Desk, rest: Rest) -> None:
        order = desk.sold()
        assert read(rest.get(f"/api/v1/orders/{order.pk}"))["version"] == order.version == 3
