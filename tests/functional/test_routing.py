"""Where orders go and why not elsewhere: groups, strategies, filters, and orders that are held until it is mended."""

from __future__ import annotations

import json
from datetime import time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.test import Client

from apps.accounts.models import Customer, Membership, PriceGroup, User
from apps.catalog.models import InputField, Package
from apps.common import clock
from apps.common.money import to_micros
from apps.orders import machine, monitoring
from apps.orders.models import Attempt, DueCheck, Order, OrderEvent
from apps.orders.routing import FILTERS, load_routes, survey
from apps.orders.sellable import can_be_sold, look_at, make_offer, missing_for_sale
from apps.orders.services import try_auto_dispatch
from apps.panel.story import PassedRoute, load_story
from apps.providers import troubles
from apps.providers.balances import record_balance
from apps.providers.catalogue_models import CatalogItem
from apps.providers.contract import Balance
from apps.providers.models import Integration, PackageMapping, Route
from apps.providers.offers import key_of
from apps.providers.registry import load_adapter
from tests.factories import (
    START,
    Shop,
    Stage,
    add_route,
    check_invariants,
    due_of,
    iter_units,
    make_customer,
    make_integration,
    make_shop,
    order_from,
    standing_of,
    story_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.ops_fixtures import run
from tests.functional.test_other_kinds import bought_by, shop_at

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

PRICE = 35_000_000
SMM_SERVICE = {"service": "1"}


@pytest.fixture
def shop(stage: Stage) -> Shop:
    """A shop with one route to the simulated panel."""
    return make_shop(stage.url)


def second_route(shop: Shop, stage: Stage, **fields: Any) -> Route:
    route = add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
    return changed(route, **fields)


def changed(route: Route, **fields: Any) -> Route:
    Route.objects.filter(pk=route.pk).update(**fields)
    route.refresh_from_db()
    return route


def grouped_customer(shop: Shop, group: PriceGroup) -> Customer:
    customer = make_customer(shop.tenant)
    customer.price_group = group
    customer.save()
    return customer


def tell_balance(account: Integration, amount: str) -> None:
    record_balance(account, Balance(Decimal(amount), account.currency), clock.now())


def passed(order: Order) -> list[tuple[int, str, str]]:
    """Route, reason and kind of everything that the routing passes over now."""
    order.refresh_from_db()
    found = survey(order, load_routes(order), clock.now()).passed
    return [(one.route_id, one.reason, one.kind) for one in found]


def picked(order: Order) -> int | None:
    order.refresh_from_db()
    found = survey(order, load_routes(order), clock.now()).picked
    return found.pk if found else None


def went_to(order: Order) -> list[str]:
    return list(Attempt.objects.filter(order=order).order_by("id").values_list("integration_name", flat=True))


def put_item(account: Integration, mapping: PackageMapping, **facts: Any) -> CatalogItem:
    """What the account's list says of the mapped item."""
    return CatalogItem.objects.create(
        integration=account,
        key=key_of(mapping.product(), load_adapter(account.kind).mapping_fields),
        name="item",
        sort_key="item",
        seen_at=START,
        changed_at=START,
        changed_by="test",
        **facts,
    )


class TestRoutesOfAPriceGroup:
    def test_are_used_by_its_customers_alone(self, shop: Shop, stage: Stage) -> None:
        vip = PriceGroup.objects.create(tenant=shop.tenant, name="VIP")
        own = second_route(shop, stage, price_group=vip, position=1)
        assert picked(order_from(shop, customer=grouped_customer(shop, vip))) == own.pk
        assert picked(order_from(shop)) == shop.route.pk

    def test_are_inherited_from_the_parent_group(self, shop: Shop, stage: Stage) -> None:
        parent = PriceGroup.objects.create(tenant=shop.tenant, name="resellers")
        child = PriceGroup.objects.create(tenant=shop.tenant, name="VIP", parent=parent)
        own = second_route(shop, stage, price_group=parent)
        assert picked(order_from(shop, customer=grouped_customer(shop, child))) == own.pk

    def test_hide_those_for_everybody_even_when_they_cannot_be_taken(self, shop: Shop, stage: Stage) -> None:
        vip = PriceGroup.objects.create(tenant=shop.tenant, name="VIP")
        own = second_route(shop, stage, price_group=vip, position=1)
        order = order_from(shop, customer=grouped_customer(shop, vip))
        Integration.objects.exclude(pk=shop.integration.pk).update(paused_until=START + timedelta(seconds=90))
        assert passed(order) == [(own.pk, "provider_paused", "waits")]

    def test_that_are_disabled_give_way_to_those_for_everybody(self, shop: Shop, stage: Stage) -> None:
        vip = PriceGroup.objects.create(tenant=shop.tenant, name="VIP")
        second_route(shop, stage, price_group=vip, is_enabled=False)
        assert picked(order_from(shop, customer=grouped_customer(shop, vip))) == shop.route.pk

    def test_are_what_a_sale_looks_at(self, shop: Shop, stage: Stage) -> None:
        vip = PriceGroup.objects.create(tenant=shop.tenant, name="VIP")
        own = second_route(shop, stage, price_group=vip)
        (sale,) = look_at([shop.package], START)
        assert make_offer(sale, "TRY", [vip.pk, None], 1).way.route == own
        assert make_offer(sale, "TRY", [None], 1).way.route == shop.route
        Route.objects.filter(pk=shop.route.pk).delete()
        (sale,) = look_at([shop.package], START)
        assert [found.code for found in missing_for_sale(sale)] == ["route_for_groups_only"]
        assert can_be_sold(missing_for_sale(sale))


class TestTheStrategy:
    def test_cheapest_takes_the_cheapest_in_the_orders_currency(self, shop: Shop, stage: Stage) -> None:
        second = second_route(shop, stage)
        Package.objects.update(strategy="cheapest")
        PackageMapping.objects.filter(integration=second.integration_id).update(cost_micros=30_000_000)
        order = order_from(shop)
        assert picked(order) == second.pk
        assert look_at([Package.objects.select_related("tenant").get()], START)[0].ways("TRY")[0].route == second
        PackageMapping.objects.filter(integration=second.integration_id).update(cost_micros=None)
        assert picked(order) == shop.route.pk

    def test_weighted_is_the_same_for_one_order_and_differs_between_orders(self, shop: Shop, stage: Stage) -> None:
        second_route(shop, stage)
        Package.objects.update(strategy="weighted")
        orders = [order_from(shop) for _ in range(12)]
        first = [picked(order) for order in orders]
        assert len(set(first)) == 2
        assert [picked(order) for order in orders] == first

    def test_is_told_with_the_decision(self, shop: Shop, stage: Stage) -> None:
        second = second_route(shop, stage)
        Integration.objects.filter(pk=shop.integration.pk).update(paused_until=START + timedelta(seconds=90))
        order = order_from(shop)
        try_auto_dispatch(order.pk)
        told = OrderEvent.objects.get(order=order, kind="accepted").data["steps"][4]
        assert told == {
            "n": 5,
            "name": "pick_route",
            "route": second.pk,
            "provider": second.integration.name if second.integration else "",
            "strategy": "priority",
            "passed_over": [
                {
                    "route": shop.route.pk,
                    "name": shop.integration.name,
                    "reason": "provider_paused",
                    "retry_at": (START + timedelta(seconds=90)).isoformat(),
                }
            ],
        }

    def test_of_a_refusal_is_told_again_when_another_route_has_another_reason(self, shop: Shop, stage: Stage) -> None:
        second = second_route(shop, stage)
        order = order_from(shop)
        Integration.objects.filter(pk=shop.integration.pk).update(paused_until=START + timedelta(hours=1))
        Integration.objects.exclude(pk=shop.integration.pk).update(is_enabled=False)
        for n in range(3):
            if n == 2:
                Integration.objects.update(is_enabled=True)
                changed(second, opens_at=time(1), closes_at=time(2))
            try_auto_dispatch(order.pk)
            assert standing_of(order)[2] == "waiting:provider_paused"
            stage.move_to(due_of(order)[0][1])
        told = OrderEvent.objects.filter(order=order, kind="dispatch_refused").order_by("id")
        reasons = [[one["reason"] for one in event.data["steps"][4]["passed_over"]] for event in told]
        assert reasons == [["provider_paused", "provider_disabled"], ["provider_paused", "outside_hours"]]


class TestTheStory:
    def test_shows_which_route_was_taken_and_what_was_passed_over(self, shop: Shop, stage: Stage) -> None:
        second = second_route(shop, stage)
        until = START + timedelta(seconds=90)
        Integration.objects.filter(pk=shop.integration.pk).update(paused_until=until)
        order = order_from(shop)
        assert load_story(order, START).choice is None
        try_auto_dispatch(order.pk)
        choice = load_story(order, START).choice
        assert choice is not None
        assert (choice.picked, choice.strategy) == (str(second.integration), "by position")
        assert choice.passed == [PassedRoute(shop.integration.name, "account paused", until)]

    def test_shows_what_stories_told_before_there_were_strategies(self, shop: Shop) -> None:
        order = order_from(shop)
        step = {"n": 5, "name": "pick_route", "route": 7, "passed_over": "route 3: provider_paused"}
        machine.record_story(order, "dispatch_refused", "dispatch", START, data={"steps": [step], "why": ""})
        story = load_story(order, START)
        assert story.choice is None
        assert [fact.value for fact in story.dispatches[0].steps[4].facts] == ["7", "route 3: provider_paused"]
        Integration.objects.update(is_enabled=False)
        try_auto_dispatch(order.pk)
        assert story_of(order) == ["created", "dispatch_refused", "dispatch_refused"]


class TestTheFilters:
    def test_pass_over_a_route_outside_its_hours_until_it_opens(self, shop: Shop, stage: Stage) -> None:
        """The stage begins at 09:00 UTC, which is noon in Istanbul."""
        type(shop.tenant).objects.update(timezone="Europe/Istanbul")
        changed(shop.route, opens_at=time(12, 5), closes_at=time(20))
        order = order_from(shop)
        assert passed(order) == [(shop.route.pk, "outside_hours", "waits")]
        try_auto_dispatch(order.pk)
        assert standing_of(order) == ("pending", "not_sent", "waiting:outside_hours")
        assert due_of(order) == [("dispatch", START + timedelta(minutes=5))]
        stage.run_until_quiet()
        assert standing_of(order)[0] == "completed"

    def test_look_again_in_ten_minutes_at_the_latest(self, shop: Shop, stage: Stage) -> None:
        changed(shop.route, opens_at=time(20), closes_at=time(21))
        order = order_from(shop)
        try_auto_dispatch(order.pk)
        assert due_of(order) == [("dispatch", START + timedelta(minutes=10))]
        check_invariants(stage)

    @pytest.mark.parametrize(
        ("trouble", "reason"),
        [
            ({"sealed_secrets": ""}, "credentials_missing"),
            ({"currency": "TL"}, "currency_unknown"),
            ({"sealed_secrets": "k9$gone"}, "credentials_unreadable"),
        ],
    )
    def test_try_the_next_route_for_a_trouble_of_an_account(
        self, shop: Shop, stage: Stage, trouble: dict[str, str], reason: str
    ) -> None:
        second = second_route(shop, stage)
        order = order_from(shop)
        Integration.objects.filter(pk=shop.integration.pk).update(**trouble)
        assert (passed(order), picked(order)) == ([(shop.route.pk, reason, "waits")], second.pk)

    def test_try_the_next_route_for_an_incomplete_mapping(self, shop: Shop, stage: Stage) -> None:
        second = second_route(shop, stage)
        order = order_from(shop)
        PackageMapping.objects.filter(integration=shop.integration).update(kupur="")
        assert (passed(order), picked(order)) == ([(shop.route.pk, "mapping_incomplete", "waits")], second.pk)

    def test_have_names_and_docstrings_of_their_own(self) -> None:
        assert len({check.__name__ for check in FILTERS}) == len(FILTERS)
        assert all(check.__doc__ for check in FILTERS)


class TestTheQuantity:
    def smm(self, stage: Stage, **facts: Any) -> Shop:
        found = shop_at(stage, "smm_v2", SMM_SERVICE, needs_code=False, cost="0.1")
        found.integration.options |= {"one_per_target": False}  # the parts of one order go to the same target
        found.integration.save()
        put_item(found.integration, found.package.mappings.get(), **facts)
        return found

    def test_is_split_into_what_the_provider_sells(self, stage: Stage) -> None:
        shop = self.smm(stage, quantity_kind="list", quantity_values=[1, 3])
        order = order_from(shop, quantity=5)
        for _ in range(3):
            try_auto_dispatch(order.pk)
            row = DueCheck.objects.filter(order=order, kind="dispatch").first()
            stage.move_to(row.next_at if row else clock.now())  # when the panel's budget has another request
        links = Attempt.objects.filter(order=order).order_by("id")
        assert [attempt.attempt_units.count() for attempt in links] == [3, 1, 1]
        assert len({attempt.reference for attempt in links}) == 3
        check_invariants()

    def test_that_is_not_sold_there_goes_elsewhere(self, stage: Stage) -> None:
        shop = self.smm(stage, quantity_kind="range", quantity_min=1, quantity_max=50)
        order = order_from(shop, quantity=2)
        CatalogItem.objects.update(quantity_min=3)
        assert passed(order) == [(shop.route.pk, "quantity_not_sold", "off")]
        CatalogItem.objects.update(quantity_min=2)
        assert picked(order) == shop.route.pk

    def test_that_nobody_sells_cannot_be_ordered(self, stage: Stage) -> None:
        shop = self.smm(stage, quantity_kind="range", quantity_min=50, quantity_max=100)
        (sale,) = look_at([shop.package], START)
        assert [found.code for found in missing_for_sale(sale)] == ["quantity_not_sold"]

    def test_needs_every_field_that_the_provider_demands(self, stage: Stage) -> None:
        shop = self.smm(stage, quantity_kind="any", fields=["link", "comments"])
        InputField.objects.create(
            product=shop.package.product, name="comments", label="Comments", target="param", required=False
        )
        order = order_from(shop)
        assert passed(order) == [(shop.route.pk, "field_missing", "off")]
        Order.objects.update(params={"comments": "well done"})
        assert picked(order) == shop.route.pk

    def test_of_a_product_that_asks_for_too_little_cannot_be_sold(self, stage: Stage) -> None:
        shop = self.smm(stage, quantity_kind="any", fields=["link", "comments"])
        (sale,) = look_at([shop.package], START)
        assert [found.code for found in missing_for_sale(sale)] == ["field_missing"]


class TestTheBalance:
    def test_must_cover_the_purchase(self, shop: Shop) -> None:
        order = order_from(shop)
        tell_balance(shop.integration, "31.49")
        assert passed(order) == [(shop.route.pk, "balance_too_low", "waits")]
        tell_balance(shop.integration, "31.50")
        assert picked(order) == shop.route.pk

    def test_must_cover_what_is_in_flight_too(self, shop: Shop, stage: Stage) -> None:
        """Money for two purchases: two go, the third waits, though the balance was read before all of them."""
        tell_balance(shop.integration, "63")
        orders = [order_from(shop) for _ in range(3)]
        for order in orders:
            try_auto_dispatch(order.pk)
        assert [standing_of(order)[2] for order in orders] == ["", "", "waiting:balance_too_low"]
        assert len(stage.purchases()) == 2
        check_invariants(stage)

    def test_that_was_read_after_them_knows_of_them(self, shop: Shop, stage: Stage) -> None:
        try_auto_dispatch(order_from(shop).pk)
        stage.move(1)
        tell_balance(shop.integration, "31.50")
        assert picked(order_from(shop)) == shop.route.pk

    def test_that_is_unknown_or_old_or_in_another_currency_stops_nothing(self, shop: Shop, stage: Stage) -> None:
        order = order_from(shop)
        assert picked(order) == shop.route.pk
        record_balance(shop.integration, Balance(Decimal(1), "USD"), clock.now())
        assert picked(order) == shop.route.pk
        stage.move(1)
        tell_balance(shop.integration, "1")
        assert picked(order) is None
        stage.move(15 * 60)
        assert picked(order) == shop.route.pk


class TestATroubleThatIsMended:
    """Held `pending`, nothing refunded, and gone as soon as somebody mends it: one purchase."""

    def check_held(self, stage: Stage, order: Order, reason: str) -> None:
        try_auto_dispatch(order.pk)
        assert standing_of(order)[::2] == ("pending", reason)
        assert due_of(order)[0][1] > clock.now()
        assert sums_of(order) == {"hold": PRICE}
        stage.messages.clear()

    def check_gone(self, stage: Stage, order: Order) -> None:
        assert due_of(order) == [("dispatch", clock.now())]
        assert ("apps.orders.tasks.dispatch_order", [order.pk, order.tenant_id], 0) in stage.messages
        stage.run_until_quiet()
        assert standing_of(order)[0] == "completed"
        assert len(stage.purchases(order)) == 1
        assert "refunded" not in story_of(order)
        check_invariants(stage)

    def test_by_a_top_up_after_a_balance_of_zero(self, shop: Shop, stage: Stage) -> None:
        """Scenario 14 of LESSONS to its end."""
        tell_balance(shop.integration, "0")
        order = order_from(shop)
        self.check_held(stage, order, "waiting:provider_paused")
        stage.move(300)
        tell_balance(shop.integration, "1000")
        self.check_gone(stage, order)

    def test_by_a_top_up_after_a_refusal_for_our_balance(self, shop: Shop, stage: Stage) -> None:
        tell_balance(shop.integration, "40")
        order = stage.order(shop, place="refuse", refuse_class="balance", times=1)
        self.check_held(stage, order, "waiting:provider_paused")
        stage.move(30)
        tell_balance(shop.integration, "40")
        assert due_of(order)[0][1] > clock.now()
        tell_balance(shop.integration, "1000")
        self.check_gone(stage, order)

    def test_by_a_top_up_above_the_need(self, shop: Shop, stage: Stage) -> None:
        tell_balance(shop.integration, "10")
        order = order_from(shop)
        self.check_held(stage, order, "waiting:balance_too_low")
        stage.move(1)
        tell_balance(shop.integration, "40")
        self.check_gone(stage, order)

    def test_by_new_credentials_in_the_admin(self, shop: Shop, stage: Stage) -> None:
        order = stage.order(shop, place="refuse", refuse_class="auth", times=1)
        self.check_held(stage, order, "waiting:provider_paused")
        root = User.objects.create_superuser("root", password="x")
        client = Client()
        client.force_login(root)
        path = f"/admin/providers/integration/{shop.integration.pk}/change/"
        form = client.get(path).context["adminform"].form
        data = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
        data |= {"secret_sifre": "demo-secret", "options": json.dumps(shop.integration.options)}
        data |= {"paused_until_0": clock.now().date().isoformat(), "paused_until_1": "09:01:00"}
        answer = client.post(path, {name: value for name, value in data.items() if value not in (None, False)})
        assert answer.status_code == 302
        self.check_gone(stage, order)

    def test_by_the_button_of_an_operator(self, shop: Shop, stage: Stage) -> None:
        order = stage.order(shop, place="refuse", refuse_class="auth", times=1)
        self.check_held(stage, order, "waiting:provider_paused")
        people = {role: User.objects.create_user(role, password="x") for role in ("viewer", "operator")}
        for role, person in people.items():
            Membership.objects.create(user=person, tenant=shop.tenant, role=role)
        path = f"/providers/{shop.integration.pk}/resume/"
        for role, status in (("viewer", 403), ("operator", 302)):
            client = Client()
            client.force_login(people[role])
            assert ("Go on now" in client.get(path.removesuffix("resume/")).content.decode()) == (role == "operator")
            assert client.post(path).status_code == status
        self.check_gone(stage, order)

    def test_by_an_account_that_is_switched_on(self, shop: Shop, stage: Stage) -> None:
        order = order_from(shop)
        Integration.objects.update(is_enabled=False)
        self.check_held(stage, order, "waiting:no_route")
        shop.integration.is_enabled = True
        shop.integration.save()
        self.check_gone(stage, order)

    def test_by_a_mapping_that_is_saved(self, shop: Shop, stage: Stage) -> None:
        order = order_from(shop)
        PackageMapping.objects.update(kupur="")
        self.check_held(stage, order, "waiting:mapping_incomplete")
        mapping = PackageMapping.objects.get()
        mapping.kupur = "60"
        mapping.save()
        self.check_gone(stage, order)

    def test_wakes_only_what_waits_for_it(self, shop: Shop, stage: Stage) -> None:
        other = make_shop(stage.url)
        order = order_from(other)
        Integration.objects.update(is_enabled=False)
        self.check_held(stage, order, "waiting:no_route")
        troubles.resume(shop.integration)
        assert due_of(order) == [("dispatch", START + timedelta(seconds=60))]

    def test_leaves_an_order_alone_of_which_a_unit_is_being_sent(self, shop: Shop, stage: Stage) -> None:
        order = order_from(shop, quantity=2)
        try_auto_dispatch(order.pk)
        Attempt.objects.update(state="sending")
        DueCheck.objects.filter(kind="dispatch").update(next_at=START + timedelta(seconds=63))
        troubles.resume(shop.integration)
        assert DueCheck.objects.get(kind="dispatch").next_at == START + timedelta(seconds=63)


class TestAMappingThatTheProviderDoesNotKnow:
    @pytest.fixture
    def shop(self, stage: Stage) -> Shop:
        """One whose mapping names no service of the panel."""
        return shop_at(stage, "smm_v2", {"service": "99999999"}, needs_code=False)

    def test_holds_the_order_and_leaves_the_mapping_alone(self, shop: Shop, stage: Stage) -> None:
        order = order_from(shop)
        try_auto_dispatch(order.pk)
        assert standing_of(order) == ("pending", "failed", "waiting:mapping_refused")
        assert sums_of(order) == {"hold": 50_000_000}
        assert PackageMapping.objects.get().refused_at == START
        assert not Integration.objects.get(pk=shop.integration.pk).is_paused(START)
        (sale,) = look_at([shop.package], START)
        assert [found.code for found in missing_for_sale(sale)] == ["mapping_refused"]
        check_invariants()

    def test_keeps_other_orders_of_the_package_away(self, shop: Shop, stage: Stage) -> None:
        first, other = order_from(shop), order_from(shop)
        for order in (first, other):
            try_auto_dispatch(order.pk)
        assert standing_of(other) == ("pending", "not_sent", "waiting:mapping_refused")
        assert Attempt.objects.count() == 1

    def test_lets_all_go_when_it_is_mended(self, shop: Shop, stage: Stage) -> None:
        orders = [order_from(shop), order_from(shop)]
        for order in orders:
            try_auto_dispatch(order.pk)
        mapping = PackageMapping.objects.get()
        mapping.oyun, mapping.params = "1", SMM_SERVICE
        mapping.save()
        monitoring.sweep()
        assert [standing_of(order)[0] for order in orders] == ["processing", "processing"]
        assert [len(bought_by(stage, order)) for order in orders] == [1, 1]

    def test_is_tried_again_after_an_hour(self, shop: Shop, stage: Stage) -> None:
        order = order_from(shop)
        stage.run_until_quiet(for_s=3599)
        assert Attempt.objects.count() == 1
        stage.move_to(START + timedelta(hours=1))
        monitoring.sweep()
        assert Attempt.objects.count() == 2
        assert standing_of(order)[::2] == ("pending", "waiting:mapping_refused")

    def test_takes_the_next_route_at_once(self, shop: Shop, stage: Stage) -> None:
        second = shop_at(stage, "smm_v2", SMM_SERVICE, needs_code=False)
        Integration.objects.filter(pk=second.integration.pk).update(tenant=shop.tenant, name="second")
        PackageMapping.objects.filter(package=second.package).update(package=shop.package)
        Route.objects.filter(package=second.package).update(package=shop.package, position=2)
        order = order_from(shop)
        for _ in range(2):
            try_auto_dispatch(order.pk)
        assert went_to(order) == ["smm_v2", "second"]
        assert standing_of(order)[0] == "processing"


def rows() -> dict[str, list[Any]]:
    """Every row of every table."""
    return {model._meta.label: list(model._default_manager.order_by("pk").values()) for model in apps.get_models()}


class TestWhere:
    def test_tells_of_an_order_and_changes_no_row(self, shop: Shop, stage: Stage) -> None:
        second = second_route(shop, stage)
        order = order_from(shop)
        Integration.objects.filter(pk=shop.integration.pk).update(paused_until=START + timedelta(seconds=90))
        before, asked = rows(), len(stage.truth())
        said = run("where", str(order.pk))
        assert rows() == before
        assert len(stage.truth()) == asked
        account = second.integration
        assert account is not None
        buyer = shop.customer.name
        assert said.splitlines() == [
            f"order {order.pk}: 1 unit(s) of {shop.package.code} for {buyer} · pending · strategy priority",
            f"  1. {shop.integration.name}: provider_paused"
            " (position 1, weight 1, costs 31.50 TRY, until 2026-03-02 09:01:30 UTC)",
            f"  2. {account.name}: PICKED (position 2, weight 1, costs 31.50 TRY)",
            f"would go to {account.name}: 1 unit(s) of oyun=152, kupur=60",
        ]

    def test_tells_of_a_package_for_a_customer(self, shop: Shop, stage: Stage) -> None:
        vip = PriceGroup.objects.create(tenant=shop.tenant, name="VIP")
        own = second_route(shop, stage, price_group=vip)
        customer = grouped_customer(shop, vip)
        before = rows()
        told = json.loads(run("where", shop.package.code, "--customer", str(customer.pk), "--json"))
        assert rows() == before
        assert (told["picked"], [one["price_group"] for one in told["verdicts"]]) == (own.pk, ["VIP"])
        assert json.loads(run("where", shop.package.code, "--json"))["picked"] == shop.route.pk

    def test_says_what_keeps_a_package_from_being_sold(self, shop: Shop) -> None:
        Integration.objects.update(is_enabled=False)
        said = run("where", shop.package.code)
        assert f"note: the provider account {shop.integration.name} is disabled" in said
        assert "provider_disabled" in said
        assert said.splitlines()[-1] == "would not go anywhere now"

    def test_goes_where_the_order_then_goes(self, shop: Shop, stage: Stage) -> None:
        second_route(shop, stage)
        Package.objects.update(strategy="weighted")
        for _ in range(4):
            order = order_from(shop)
            told = json.loads(run("where", str(order.pk), "--json"))
            try_auto_dispatch(order.pk)
            assert Attempt.objects.get(order=order).route_id == told["picked"]

    def test_says_when_nothing_of_an_order_waits(self, shop: Shop, stage: Stage) -> None:
        order = order_from(shop)
        stage.run_until_quiet()
        assert "note: it is not waiting to be sent" in run("where", str(order.pk))

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            (["nothing"], "there is no order and no package 'nothing'"),
            (["twice"], "several shops sell 'twice'; name one with --shop"),
            (["twice", "--shop", "none"], "there is no shop 'none'"),
            (["twice", "--shop", "one", "--customer", "99999999"], "has no customer 99999999"),
        ],
    )
    def test_says_what_would_help(self, shop: Shop, arguments: list[str], error: str) -> None:
        other = make_shop()
        type(shop.tenant).objects.filter(pk=shop.tenant.pk).update(slug="one")
        Package.objects.filter(pk__in=[shop.package.pk, other.package.pk]).update(code="twice")
        with pytest.raises(Exception, match=error):
            run("where", *arguments)


def test_a_quantity_goes_over_several_routes(shop: Shop, stage: Stage) -> None:
    """Five units, money for two at the first panel: two go there, three to the second."""
    second = second_route(shop, stage)
    tell_balance(shop.integration, "63")
    order = order_from(shop, quantity=5)
    stage.run_until_quiet()
    account = second.integration
    assert account is not None
    assert went_to(order) == [shop.integration.name] * 2 + [account.name] * 3
    assert [status for _, status in iter_units(order)] == ["captured"] * 5
    assert to_micros("175") == order.price_micros
    check_invariants(stage)
