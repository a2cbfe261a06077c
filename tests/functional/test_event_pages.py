"""The pages of customers' webhooks: who sees and does what, in three languages, and no markup of others."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from apps.common import clock
from apps.common.crypto import open_text
from apps.journal.models import AuditEntry, OutboxEvent
from apps.orders.models import Order, OrderEvent
from apps.webhooks import endpoints
from apps.webhooks.models import WebhookDelivery, WebhookEndpoint
from tests.factories import make_tenant
from tests.functional.core_fixtures import committed
from tests.functional.event_fixtures import PIN, Desk, desk, got, receiver, states
from tests.functional.panel_fixtures import LANGUAGES, browser_of, english, make_person
from tests.unit.loopback import reply

__all__ = ["committed", "desk", "english"]

pytestmark = [pytest.mark.both_databases, pytest.mark.page]

EVIL = "<b>no</b> "


@pytest.fixture
def endpoint(desk: Desk, settings: Settings) -> WebhookEndpoint:
    """One that has refused the first event of an order, with an answer that is not for a browser."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    with receiver(reply(EVIL.encode(), status=b"500 Oops")) as server:
        made, _ = desk.endpoint(f"{server.url}/secret-path?token=sesame", description=EVIL)
        desk.sold()
        desk.run()
    return made


def person(desk: Desk, role: str, language: str = "en") -> Client:
    return browser_of(make_person(f"{role}-{language}", desk.shop.tenant, role), language)


def page(browser: Client, path: str = "/webhooks/") -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def first_of(endpoint: WebhookEndpoint) -> WebhookDelivery:
    return WebhookDelivery.objects.filter(endpoint=endpoint).earliest("pk")


class TestTheList:
    def test_needs_somebody_signed_in(self, endpoint: WebhookEndpoint) -> None:
        assert browser_of(None).get("/webhooks/").status_code == 302

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_shows_endpoints_and_deliveries_without_what_is_secret(
        self, desk: Desk, endpoint: WebhookEndpoint, language: str
    ) -> None:
        text = page(person(desk, "viewer", language))
        assert endpoint.host in text
        assert [kind in text for kind in ("order.pending", "order.completed")] == [True, True]
        assert [word in text for word in ("secret-path", "sesame", "whsec_", PIN, EVIL)] == [False] * 5
        assert "&lt;b&gt;no&lt;/b&gt;" in text

    def test_is_that_of_the_own_shops_alone(self, desk: Desk, endpoint: WebhookEndpoint) -> None:
        stranger = browser_of(make_person("sam", make_tenant(), "owner"))
        text = page(stranger)
        assert endpoint.host not in text
        assert "No delivery fits." in text
        assert stranger.get(f"/webhooks/{first_of(endpoint).pk}/").status_code == 404
        assert stranger.post(f"/webhooks/{first_of(endpoint).pk}/resend/").status_code == 404
        assert stranger.post(f"/webhooks/endpoints/{endpoint.pk}/resume/").status_code == 404

    def test_is_narrowed_by_state_customer_and_endpoint(self, desk: Desk, endpoint: WebhookEndpoint) -> None:
        browser = person(desk, "operator")
        WebhookDelivery.objects.filter(pk=first_of(endpoint).pk).update(state="dead", ended_at=clock.now())
        dead = page(browser, "/webhooks/?state=dead")
        assert [kind in dead for kind in ("order.pending", "order.completed")] == [True, False]
        assert "order.pending" in page(browser, f"/webhooks/?customer={desk.shop.customer.pk}")
        assert "order.pending" not in page(browser, f"/webhooks/?customer={desk.shop.customer.pk + 1}")
        assert "order.pending" not in page(browser, f"/webhooks/?endpoint={endpoint.pk + 1}")
        assert "order.pending" in page(browser, "/webhooks/?state=nonsense&before=x")

    def test_goes_on_where_a_page_ends(
        self, desk: Desk, endpoint: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("apps.panel.event_views.PAGE", 2)
        browser = person(desk, "viewer")
        pks = list(WebhookDelivery.objects.order_by("-pk").values_list("pk", flat=True))
        text = unescape(page(browser, "/webhooks/?state=waiting"))
        assert f"?state=waiting&before={pks[1]}" in text
        rest = page(browser, f"/webhooks/?state=waiting&before={pks[1]}")
        assert [kind in rest for kind in ("order.pending", "order.completed")] == [True, False]


class TestADelivery:
    @pytest.mark.parametrize("language", LANGUAGES)
    def test_shows_every_try_with_the_answer_as_text(
        self, desk: Desk, endpoint: WebhookEndpoint, language: str
    ) -> None:
        text = page(person(desk, "viewer", language), f"/webhooks/{first_of(endpoint).pk}/")
        assert first_of(endpoint).message_id in text
        assert "500" in text
        assert "&lt;b&gt;no&lt;/b&gt;" in text
        assert EVIL not in text

    def test_is_sent_again_by_an_operator_and_not_by_a_viewer(self, desk: Desk, endpoint: WebhookEndpoint) -> None:
        path = f"/webhooks/{first_of(endpoint).pk}/"
        WebhookDelivery.objects.update(state="dead", tries=12, ended_at=clock.now())
        viewer, operator = person(desk, "viewer"), person(desk, "operator")
        assert viewer.post(f"{path}resend/").status_code == 403
        assert [f"{path}resend/" in page(one, path) for one in (viewer, operator)] == [False, True]
        assert "It is sent again in a moment." in operator.post(f"{path}resend/", follow=True).content.decode()
        assert operator.get(f"{path}resend/").status_code == 405
        assert [state for _, state, _ in states(endpoint)] == ["waiting", "dead", "dead"]

    def test_of_a_deleted_endpoint_is_not_sent_again(self, desk: Desk, endpoint: WebhookEndpoint) -> None:
        endpoints.delete(endpoint, clock.now())
        path = f"/webhooks/{first_of(endpoint).pk}/"
        operator = person(desk, "operator")
        assert f"{path}resend/" not in page(operator, path)
        assert "nothing is sent there any more" in operator.post(f"{path}resend/", follow=True).content.decode()
        assert {state for _, state, _ in states(endpoint)} == {"dead"}


class TestADeliveryOfAnOrder:
    """Told again from the page of its order."""

    def again(self, browser: Client, order: Order) -> HttpResponse:
        answer = browser.post(reverse("panel:order_decide", args=[order.pk, "tell_again"]), {"reason": "lost it"})
        assert isinstance(answer, HttpResponse)
        return answer

    def ids(self, order: Order) -> list[tuple[str, str]]:
        rows = WebhookDelivery.objects.filter(event__subject_id=order.pk, event__kind="order.completed").order_by("pk")
        return list(rows.values_list("message_id", "state"))

    def test_goes_to_every_endpoint_under_the_name_that_it_had(self, desk: Desk, settings: Settings) -> None:
        settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
        with receiver() as first, receiver() as second:
            desk.endpoint(first.url)
            order = desk.sold()
            desk.run()
            desk.endpoint(second.url, kinds=["order.completed"])
            desk.endpoint("https://93.184.216.34/", kinds=["order.rejected"])
            desk.move(3600)
            [(name, _)] = self.ids(order)
            assert self.again(person(desk, "operator"), order).status_code == 302
            desk.run()
        assert [one.headers["webhook-id"] for one in got(first)][-2:] == [name, name]
        assert [one.told()["type"] for one in got(second)] == ["order.completed"]
        assert [state for _, state in self.ids(order)] == ["delivered", "delivered"]
        event = OrderEvent.objects.get(order=order, kind="delivery_told_again")
        assert (event.actor, event.data) == ("operator-en", {"why": "lost it", "endpoints": 2})

    def test_is_offered_where_somebody_takes_it(self, desk: Desk, endpoint: WebhookEndpoint) -> None:
        order, path = Order.objects.get(), reverse("panel:order_decide", args=[Order.objects.get().pk, "tell_again"])
        viewer, operator = person(desk, "viewer"), person(desk, "operator")
        assert [path in page(one, f"/orders/{order.pk}/") for one in (viewer, operator)] == [False, True]
        assert path not in page(operator, f"/orders/{desk.order().pk}/")
        endpoints.delete(endpoint, clock.now())
        assert path not in page(operator, f"/orders/{order.pk}/")

    def test_is_refused_with_a_reason(self, desk: Desk, endpoint: WebhookEndpoint) -> None:
        operator, order = person(desk, "operator"), Order.objects.get()
        says = {
            "Nothing of this order is delivered": desk.order(),
            "No webhook of this customer takes": order,
            "is not kept any more": order,
        }
        told = []
        for sentence, one in says.items():
            endpoint.deleted_at = clock.now() if sentence.startswith("No webhook") else None
            endpoint.save()
            if sentence.startswith("is not"):
                OutboxEvent.objects.filter(subject_id=order.pk).delete()
            told.append((self.again(operator, one).status_code, sentence in self.again(operator, one).content.decode()))
        assert told == [(422, True)] * 3
        assert not OrderEvent.objects.filter(kind="delivery_told_again").exists()


class TestAPausedEndpoint:
    def test_is_served_again_by_an_operator_and_not_by_a_viewer(self, desk: Desk, endpoint: WebhookEndpoint) -> None:
        endpoints.pause(endpoint, WebhookEndpoint.Pause.GONE, clock.now())
        path = f"/webhooks/endpoints/{endpoint.pk}/resume/"
        viewer, operator = person(desk, "viewer"), person(desk, "operator")
        assert viewer.post(path).status_code == 403
        assert [path in page(one) for one in (viewer, operator)] == [False, True]
        assert "the receiver said that it is gone" in page(viewer)
        resent = operator.post(f"/webhooks/{first_of(endpoint).pk}/resend/", follow=True)
        assert "It waits until the endpoint is served again." in resent.content.decode()
        assert operator.post(path).status_code == 302
        endpoint.refresh_from_db()
        assert (endpoint.paused_at, endpoint.pause) == (None, "")


class TestANewEndpoint:
    path = "/webhooks/endpoints/new/"

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_is_made_by_an_owner_who_sees_its_secret_once(self, desk: Desk, language: str) -> None:
        owner = person(desk, "owner", language)
        typed = {"customer": desk.shop.customer.pk, "url": "https://93.184.216.34/x?y", "kinds": ["order.completed"]}
        text = page(owner, self.path) + owner.post(self.path, {**typed, "description": EVIL}).content.decode()
        made = WebhookEndpoint.objects.get()
        assert (made.customer, made.kinds, made.with_codes) == (desk.shop.customer, ["order.completed"], False)
        assert re.findall(r"whsec_[A-Za-z0-9+/=]+", text) == [f"whsec_{open_text(made.sealed_secret)[6:]}"]
        assert f'<html lang="{language}"' in text
        entry = AuditEntry.objects.get(subject_kind="webhookendpoint")
        assert (entry.action, entry.actor, entry.tenant_id) == ("created", f"owner-{language}", desk.shop.tenant.pk)
        assert entry.changes == {"customer": ["", desk.shop.customer.name], "address": ["", made.host]}
        assert [word in page(owner, "/webhooks/") for word in ("whsec_", made.host, EVIL)] == [False, True, False]

    @pytest.mark.parametrize(
        ("url", "says"),
        [("http://93.184.216.34/", "use a public https:// address"), ("https://x:y@example.com/", "use")],
    )
    def test_is_refused_beside_the_field(self, desk: Desk, settings: Settings, url: str, says: str) -> None:
        settings.EVENTS_TO_LOCAL = False
        answer = person(desk, "owner").post(self.path, {"customer": desk.shop.customer.pk, "url": url})
        assert (answer.status_code, says in answer.content.decode()) == (422, True)
        assert not WebhookEndpoint.objects.exists()

    def test_is_one_of_ten_at_most(self, desk: Desk) -> None:
        for _ in range(endpoints.MOST):
            desk.endpoint("https://93.184.216.34/")
        typed = {"customer": desk.shop.customer.pk, "url": "https://93.184.216.34/"}
        answer = person(desk, "owner").post(self.path, typed)
        assert (answer.status_code, "which is the most" in answer.content.decode()) == (422, True)

    def test_is_made_for_own_customers_by_owners_alone(self, desk: Desk) -> None:
        typed = {"customer": desk.shop.customer.pk, "url": "https://93.184.216.34/"}
        stranger = browser_of(make_person("sam", make_tenant(), "owner"))
        assert stranger.post(self.path, typed).status_code == 422
        assert desk.shop.customer.name not in page(stranger, self.path)
        assert {person(desk, role).post(self.path, typed).status_code for role in ("operator", "viewer")} == {403}
        assert not WebhookEndpoint.objects.exists()


class TestADeletedEndpoint:
    def test_was_deleted_by_an_owner_of_its_shop(self, desk: Desk, endpoint: WebhookEndpoint) -> None:
        path = f"/webhooks/endpoints/{endpoint.pk}/delete/"
        stranger, operator, owner = (
            browser_of(make_person("sam", make_tenant())),
            person(desk, "operator"),
            person(desk, "owner"),
        )
        assert [one.post(path).status_code for one in (stranger, operator)] == [404, 403]
        assert [path in page(one) for one in (operator, owner)] == [False, True]
        assert "The endpoint is deleted" in owner.post(path, follow=True).content.decode()
        assert {state for _, state, _ in states(endpoint)} == {"dead"}
        assert AuditEntry.objects.get(subject_kind="webhookendpoint").action == "deleted"
        assert owner.post(path).status_code == 404
