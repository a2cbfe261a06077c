"""The sandbox: every door with a test key, every fate, and no way across in either direction."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from apps.accounts.keys import find_key, issue_key
from apps.accounts.models import ApiKey, Customer, Membership, PriceGroup, Tenant, User
from apps.catalog.models import MarginRule, Package, PackagePrice, Product
from apps.common import clock
from apps.common.crypto import seal_text
from apps.common.money import Money, to_micros
from apps.ops import facts, health
from apps.orders import reports, sandbox, services
from apps.orders.creation import NewOrder, create_order
from apps.orders.dispatch import steps
from apps.orders.dispatch.trace import Trace
from apps.orders.models import DueCheck, Order, OrderEvent
from apps.orders.refusals import NotSellable
from apps.orders.sandbox import NoSandboxOfSandbox, issue_test_key
from apps.orders.tasks import refresh_sandboxes
from apps.providers.adapters.sandbox import FATES
from apps.providers.models import Integration, PackageMapping, Route
from apps.wallet import ledger
from apps.wallet.statement import Period
from tests.factories import (
    Shop,
    Stage,
    check_invariants,
    make_customer,
    make_shop,
    new_player,
    order_from,
    pins_of,
    standing_of,
)
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.door_buyers import LOGINS, SmmBuyer, ZnetBuyer, make_account
from tests.functional.test_rest_orders import ORDERS, Rest, read

__all__ = ["committed", "simulator", "stage"]

both_databases = pytest.mark.both_databases


@pytest.fixture
def shop(stage: Stage) -> Shop:
    """A live shop whose provider is really there."""
    return make_shop(stage.url)


@pytest.fixture
def rest(shop: Shop) -> Rest:
    """A machine with a test key of the shop's customer."""
    return Rest(issue_test_key(shop.customer, clock.now())[1])


def double_of(shop: Shop) -> Customer:
    return Customer.objects.get(tenant__sandbox_of=shop.tenant)


def body_for(shop: Shop, player: str, quantity: int = 1) -> dict[str, Any]:
    return {"package": shop.package.code, "quantity": quantity, "fields": {"player_id": player}}


def nobody_was_asked(stage: Stage) -> bool:
    """Whether the real provider has heard nothing at all."""
    return {entry["event"] for entry in stage.truth()} <= {"advanced"}


def place(rest: Rest, shop: Shop, ending: str, quantity: int = 1) -> Order:
    """An order with the test key for a recipient with this ending."""
    told = read(rest.order(body_for(shop, f"{new_player()}-{ending}", quantity), key=new_player()), 201)
    order = Order.objects.get(pk=told["id"])
    services.try_auto_dispatch(order.pk)
    return order


ENDS = {
    "": ("completed", "completed", ""),
    "9001": ("completed", "completed", ""),
    "9002": ("completed", "completed", ""),
    "9003": ("rejected", "failed", ""),
    "9004": ("rejected", "failed", ""),
    "9005": ("partial", "partial", ""),
    "9006": ("completed", "completed", ""),
    "9007": ("rejected", "failed", ""),
    "9008": ("review", "unknown", "waiting:in_doubt"),
    "9009": ("completed", "completed", ""),
    "9010": ("processing", "processing", ""),
}
"""Where an order of two units stands two hours later."""

AT_FIRST = {
    "": "completed",
    "9001": "processing",
    "9002": "processing",
    "9003": "rejected",
    "9004": "processing",
    "9005": "partial",
    "9006": "processing",
    "9007": "processing",
    "9008": "processing",
    "9009": "processing",
    "9010": "processing",
}
"""And where it stands right after it was sent."""


class TestEveryFate:
    def test_ends_as_it_says_and_touches_no_provider(self, stage: Stage, shop: Shop, rest: Rest) -> None:
        assert list(ENDS) == list(AT_FIRST) == ["", *FATES]
        orders = {ending: place(rest, shop, ending, quantity=2) for ending in ENDS}
        assert {ending: standing_of(order)[0] for ending, order in orders.items()} == AT_FIRST
        stage.run_until_quiet()
        assert {ending: standing_of(order) for ending, order in orders.items()} == ENDS
        pins = {ending: len(pins_of(order)) for ending, order in orders.items()}
        assert pins == {ending: {"completed": 2, "partial": 1}.get(end[0], 0) for ending, end in ENDS.items()}
        assert nobody_was_asked(stage)
        check_invariants()

    def test_comes_when_it_is_due(self, stage: Stage, shop: Shop, rest: Rest) -> None:
        order = place(rest, shop, "9001")
        stage.run_until_quiet(for_s=80)
        stage.move_to(order.created_at + timedelta(seconds=89))
        assert standing_of(order)[0] == "processing"
        stage.run_until_quiet()
        order.refresh_from_db()
        assert order.settled_at is not None
        assert 90 <= (order.settled_at - order.created_at).total_seconds() <= 150


class TestTheSandbox:
    @both_databases
    def test_sells_the_goods_of_the_shop_at_its_prices(self, shop: Shop, stage: Stage) -> None:
        group = PriceGroup.objects.create(tenant=shop.tenant, name="Wholesale")
        inner = PriceGroup.objects.create(tenant=shop.tenant, name="Inner", parent=group)
        PackagePrice.objects.create(
            package=shop.package, price_group=group, currency="TRY", unit_price_micros=to_micros("33")
        )
        Customer.objects.filter(pk=shop.customer.pk).update(price_group=inner)
        live = Rest(issue_key(shop.customer, clock.now())[1])
        test = Rest(issue_test_key(Customer.objects.get(pk=shop.customer.pk), clock.now())[1])
        shown = read(test.get("/api/v1/packages"))
        assert shown == read(live.get("/api/v1/packages"))
        assert shown["packages"][0]["prices"] == [{"from_quantity": 1, "unit_price": "33.00"}]

    def test_follows_what_the_shop_changes(self, shop: Shop, rest: Rest) -> None:
        refresh_sandboxes()
        PackagePrice.objects.filter(package=shop.package).update(unit_price_micros=to_micros("36"))
        Product.objects.filter(tenant=shop.tenant).update(name="Another name")
        refresh_sandboxes()
        (package,) = read(rest.get("/api/v1/packages"))["packages"]
        assert (package["product_name"], package["prices"][0]["unit_price"]) == ("Another name", "36.00")
        Package.objects.filter(pk=shop.package.pk).update(is_active=False)
        refresh_sandboxes()
        assert read(rest.get("/api/v1/packages"))["packages"] == []

    def test_closes_with_its_shop_and_its_customer(self, shop: Shop, rest: Rest) -> None:
        Customer.objects.filter(pk=shop.customer.pk).update(is_active=False)
        refresh_sandboxes()
        assert rest.get().status_code == 401

    def test_has_a_price_where_the_shop_makes_it_from_the_cost(self, shop: Shop) -> None:
        PackagePrice.objects.all().delete()
        MarginRule.objects.create(tenant=shop.tenant, currency="TRY", percent=10)
        rest = Rest(issue_test_key(shop.customer, clock.now())[1])
        (package,) = read(rest.get("/api/v1/packages"))["packages"]
        assert package["prices"] == [{"from_quantity": 1, "unit_price": "34.65"}]

    def test_sells_in_every_currency_of_a_customer_without_a_rate(self, shop: Shop) -> None:
        buyer = make_customer(shop.tenant, currency="USD")
        PackagePrice.objects.create(package=shop.package, currency="USD", unit_price_micros=to_micros("1"))
        rest = Rest(issue_test_key(buyer, clock.now())[1])
        order = place(rest, shop, "")
        assert (standing_of(order)[0], order.currency) == ("completed", "USD")

    def test_has_play_money_that_is_filled_up(self, stage: Stage, shop: Shop, rest: Rest) -> None:
        stage.move(3600)
        double = double_of(shop)
        assert ledger.balance_of(double.pk, "TRY").micros == to_micros("100000")
        ledger.withdrawal(
            double.tenant_id,
            double.pk,
            Money(to_micros("95000"), "TRY"),
            key="w",
            reason="x",
            actor="x",
            now=clock.now(),
        )
        refresh_sandboxes()
        assert ledger.balance_of(double.pk, "TRY").micros == to_micros("100000")
        assert ledger.balance_of(shop.customer.pk, "TRY").micros == to_micros("1000")

    def test_is_one_for_each_shop_and_has_none_itself(self, shop: Shop, rest: Rest) -> None:
        issue_test_key(shop.customer, clock.now())
        assert Tenant.objects.filter(sandbox_of=shop.tenant).count() == 1
        assert Customer.objects.filter(tenant__sandbox_of=shop.tenant).count() == 1
        with pytest.raises(NoSandboxOfSandbox):
            issue_test_key(double_of(shop), clock.now())


class TestAcross:
    """A test key never reaches a real account, a live key never the sandbox, whatever the set-up says."""

    @both_databases
    def test_a_test_order_is_not_sent_to_a_real_account(self, stage: Stage, shop: Shop, rest: Rest) -> None:
        twin = Package.objects.get(tenant__sandbox_of=shop.tenant)
        PackageMapping.objects.create(package=twin, integration=shop.integration, oyun="152", kupur="60")
        Route.objects.filter(package=twin).update(integration=shop.integration)
        order = order_in(double_of(shop), twin)
        assert services.try_auto_dispatch(order.pk).said == "waiting:no_route"
        assert passed_over(order) == ["other_world"]
        with pytest.raises(steps.DispatchRefused, match="other_world"):
            steps.load_integration(Trace(order.pk), order, Route.objects.get(package=twin))
        assert nobody_was_asked(stage)

    @both_databases
    def test_a_real_order_is_not_pretended(self, shop: Shop, rest: Rest) -> None:
        pretending = Integration.objects.get(tenant__sandbox_of=shop.tenant)
        PackageMapping.objects.create(package=shop.package, integration=pretending, oyun="code")
        Route.objects.filter(package=shop.package).update(integration=pretending)
        order = order_from(shop)
        assert services.try_auto_dispatch(order.pk).said == "waiting:no_route"
        assert (standing_of(order)[0], passed_over(order)) == ("pending", ["other_world"])
        with pytest.raises(steps.DispatchRefused, match="other_world"):
            steps.load_integration(Trace(order.pk), order, Route.objects.get(package=shop.package))

    def test_no_account_of_the_sandbox_is_made_by_hand(self, shop: Shop) -> None:
        account = Integration(tenant=shop.tenant, name="x", kind="sandbox", currency="TRY")
        with pytest.raises(Exception, match="sandbox"):
            account.full_clean()

    @pytest.mark.parametrize("kind", LOGINS)
    def test_no_account_buys_with_a_test_key(self, shop: Shop, rest: Rest, kind: str) -> None:
        """What it bought would be made up, and the customer's money real."""
        with pytest.raises(ValidationError, match="this is a test key") as refused:
            make_account(shop.tenant, "http://127.0.0.1:9", kind, rest.key)
        assert list(refused.value.message_dict) == [LOGINS[kind]]
        assert make_account(shop.tenant, "http://127.0.0.1:9", kind, issue_key(shop.customer, clock.now())[1]).pk

    def test_no_account_signs_in_with_the_id_of_a_test_key(self, shop: Shop, rest: Rest) -> None:
        shop.integration.login = rest.key.partition(".")[0]
        with pytest.raises(ValidationError, match="this is a test key") as refused:
            shop.integration.full_clean()
        assert list(refused.value.message_dict) == ["login"]

    @both_databases
    def test_nothing_is_sent_by_an_account_that_has_a_test_key_all_the_same(
        self, stage: Stage, shop: Shop, rest: Rest
    ) -> None:
        sealed = seal_text(json.dumps({"sifre": rest.key}))
        order = order_from(shop)
        Integration.objects.filter(pk=shop.integration.pk).update(sealed_secrets=sealed)
        with pytest.raises(NotSellable, match="has no sifre"):
            order_from(shop)
        assert services.try_auto_dispatch(order.pk).said == "waiting:credentials_missing"
        assert passed_over(order) == ["credentials_missing"]
        with pytest.raises(steps.DispatchRefused, match="credentials_missing"):
            steps.bind_adapter(Trace(order.pk), Integration.objects.get(pk=shop.integration.pk))
        assert nobody_was_asked(stage)

    def test_a_test_key_sees_no_live_order_and_a_live_key_no_test_order(self, shop: Shop, rest: Rest) -> None:
        live = Rest(issue_key(shop.customer, clock.now())[1])
        real, test = order_from(shop), place(rest, shop, "")
        assert [one["id"] for one in read(rest.get())["orders"]] == [test.pk]
        assert [one["id"] for one in read(live.get())["orders"]] == [real.pk]
        assert rest.get(f"{ORDERS}/{real.pk}").status_code == live.get(f"{ORDERS}/{test.pk}").status_code == 404


def passed_over(order: Order) -> list[str]:
    """Why the order's routes were passed over at its last try."""
    told = OrderEvent.objects.filter(order=order, kind="dispatch_refused").latest("id").data["steps"]
    return [passed["reason"] for step in told for passed in step.get("passed_over", [])]


def order_in(customer: Customer, package: Package) -> Order:
    """An order through the one way in."""
    new = NewOrder(package.code, 1, {"player_id": new_player()})
    return create_order(customer, new, new_player(), clock.now()).order


class TestEveryDoor:
    @both_databases
    @pytest.mark.parametrize("needs_code", [True, False])
    def test_opens_with_a_test_key(self, stage: Stage, needs_code: bool) -> None:
        shop = make_shop(stage.url, needs_code=needs_code)
        key = issue_test_key(shop.customer, clock.now())[1]
        twin = replace(shop, package=Package.objects.get(tenant__sandbox_of=shop.tenant))
        told = [read(Rest(key).order(body_for(twin, new_player())), 201)["status"]]
        told.append(ZnetBuyer(twin, key).place()[:3])
        params = {"qty": "1", "order_uuid": str(uuid.uuid4()), "player_id": new_player()}
        address = f"/client/api/newOrder/{twin.package.pk}/params"
        told.append(Client().get(address, params, headers={"api-token": key}).json()["status"])
        if not needs_code:
            told.append(str("order" in SmmBuyer(twin, key).add()))
        assert told == ["pending", "OK|", "OK", *([] if needs_code else ["True"])]
        stage.run_until_quiet()
        orders = Order.objects.order_by("pk")
        assert {(order.tenant.sandbox_of_id, order.status) for order in orders} == {(shop.tenant.pk, "completed")}
        assert len(orders) == len(told)
        assert nobody_was_asked(stage)


class TestPeople:
    @pytest.fixture
    def owner(self, shop: Shop) -> Client:
        person = User.objects.create_user("owner", password="x", is_staff=True)
        Membership.objects.create(user=person, tenant=shop.tenant, role=Membership.Role.OWNER)
        client = Client()
        client.force_login(person)
        return client

    def test_see_orders_of_test_keys_only_where_they_ask_for_them(self, shop: Shop, rest: Rest, owner: Client) -> None:
        real, test = order_from(shop), place(rest, shop, "")
        page, asked = reverse("panel:orders"), reverse("panel:orders") + "?sandbox=1"
        assert owner.get(page).context["listing"].rows[0].order == real
        assert [row.order for row in owner.get(page).context["listing"].rows] == [real]
        assert [row.order for row in owner.get(asked).context["listing"].rows] == [test]
        shown = owner.get(reverse("panel:order", args=[test.pk]))
        assert (shown.status_code, shown.context["may_act"]) == (200, False)
        assert owner.post(reverse("panel:ask", args=[test.pk])).status_code == 403

    def test_of_other_shops_see_none(self, shop: Shop, rest: Rest) -> None:
        test = place(rest, shop, "")
        person = User.objects.create_user("stranger", password="x", is_staff=True)
        Membership.objects.create(user=person, tenant=make_shop().tenant, role=Membership.Role.OWNER)
        client = Client()
        client.force_login(person)
        assert client.get(reverse("panel:order", args=[test.pk])).status_code == 404
        assert client.get(reverse("panel:orders") + "?sandbox=1").context["listing"].rows == []

    def test_who_see_everything_see_no_sandbox_among_the_shops(self, shop: Shop, rest: Rest) -> None:
        person = User.objects.create_superuser("root", password="x")
        assert person.tenant_ids() == [shop.tenant.pk]
        assert person.sandbox_ids() == [shop.tenant.sandbox.pk]

    def test_issue_a_test_key_where_live_keys_are_issued(self, shop: Shop, owner: Client) -> None:
        add = reverse("admin:accounts_apikey_add")
        form = {"customer": shop.customer.pk, "is_test": "on", "label": "trial", "scopes": '["orders", "wallet"]'}
        limits = {"allowed_ips": "[]", "rate_per_s": 50, "burst": 200}
        page = owner.post(add, {**form, **limits}, follow=True).content.decode()
        key = ApiKey.objects.get()
        full = page[page.index("hub_test_") :].split("<")[0].strip()
        assert find_key(full, clock.now()) == key
        assert (key.customer, key.label) == (double_of(shop), "trial")
        assert key.public_id in owner.get(reverse("admin:accounts_apikey_changelist")).content.decode()
        change = reverse("admin:accounts_apikey_change", args=[key.pk])
        assert owner.post(change, {**form, **limits, "label": "over"}).status_code == 302
        key.refresh_from_db()
        assert (key.is_active, key.label) == (False, "over")


class TestWhatIsCounted:
    @both_databases
    def test_leaves_the_sandbox_out(self, stage: Stage, shop: Shop, rest: Rest) -> None:
        place(rest, shop, "9008")
        place(rest, shop, "")
        now = stage.move(3600)
        stage.run_until_quiet(for_s=1)
        read_facts = facts.load_facts(now)
        assert DueCheck.objects.exists()
        assert (read_facts.in_doubt, read_facts.at_risk, read_facts.reviews) == (facts.NOBODY, {}, {})
        assert sum(read_facts.open_orders.values()) == 0
        assert [account.kind for account in read_facts.accounts] == ["znet"]
        work = health.measure_work(now)
        assert (work.open_orders, work.in_review, work.in_doubt) == (0, 0, 0)
        everything = Period(None, None, UTC)
        assert list(reports.settled_orders(shop.tenant.pk, everything)) == []
        assert sandbox.refresh_sandboxes(now) == 1
