"""Providers that take one open order per recipient: the second one waits, and goes when the first has ended."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from apps.common import clock
from apps.orders import monitoring, services, targets
from apps.orders.models import Attempt, Order
from apps.providers.models import Integration, PackageMapping, Route
from apps.providers.registry import ADAPTERS
from tests.factories import Shop, Stage, due_of, make_customer, order_from, standing_of
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.test_other_kinds import bought_by, dialect, shop_at

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.both_databases
LINK = "https://example.invalid/"
WAITS = ("pending", "not_sent", "waiting:target_busy")


def make_smm_shop(stage: Stage, **options: Any) -> Shop:
    ids = {"service": "1", "quantity": "1000"}
    return shop_at(stage, "smm_v2", ids, needs_code=False, price="2", cost="0.9", **options)


def order_for(shop: Shop, link: str) -> Order:
    """An order of a customer of its own."""
    customer = make_customer(shop.tenant, currency=shop.customer.currency)
    return order_from(shop, link, customer=customer)


@pytest.fixture
def shop(stage: Stage) -> Shop:
    """A shop that buys at an SMM panel, which finishes everything after five minutes."""
    with dialect(stage, "smm_v2") as panel:
        for name in "abcde":
            panel.set_fate(recipient=LINK + name, complete_after_s=300)
    return make_smm_shop(stage)


class TestOneOrderPerTarget:
    def test_is_what_smm_panels_want_and_nobody_else(self) -> None:
        assert [kind for kind, adapter in ADAPTERS.items() if adapter.caps.one_per_target] == ["smm_v2"]

    def test_lets_the_second_wait_and_look_again_each_minute(self, shop: Shop, stage: Stage) -> None:
        first, second = order_for(shop, LINK + "a"), order_for(shop, LINK + "a")
        services.try_auto_dispatch(first.pk)
        monitoring.sweep()
        assert (standing_of(first)[0], standing_of(second)) == ("processing", WAITS)
        assert due_of(second) == [("dispatch", clock.now() + timedelta(minutes=1))]
        stage.move(60)
        monitoring.sweep()
        assert due_of(second) == [("dispatch", clock.now() + timedelta(minutes=1))]
        assert Attempt.objects.count() == 1

    def test_lets_the_second_go_at_once_when_the_first_has_ended(self, shop: Shop, stage: Stage) -> None:
        first, second, third = (order_for(shop, LINK + "b") for _ in range(3))
        services.try_auto_dispatch(first.pk)
        monitoring.sweep()
        while standing_of(first)[0] != "completed":
            stage.move_to(due_of(first)[0][1])
            for waiting in (second, third):
                services.try_auto_dispatch(waiting.pk)
            monitoring.check_order(first.pk)
        assert (standing_of(second), standing_of(third)) == (WAITS, WAITS)
        assert due_of(second) == [("dispatch", clock.now())]
        assert due_of(third) == [("dispatch", clock.now() + timedelta(minutes=1))]
        assert stage.messages[-1][1] == [second.pk, shop.tenant.pk]
        stage.run_until_quiet()
        assert [standing_of(order)[0] for order in (first, second, third)] == ["completed"] * 3
        assert len(bought_by(stage, first)) == 3

    def test_lets_the_second_go_to_another_provider_meanwhile(self, shop: Shop, stage: Stage) -> None:
        other = make_smm_shop(stage).integration
        Integration.objects.filter(pk=other.pk).update(tenant=shop.tenant, name="second")
        mapping = PackageMapping.objects.get(package=shop.package)
        mapping.pk, mapping.integration = None, other
        mapping.save()
        Route.objects.create(package=shop.package, integration=other, position=2)
        first, second = order_for(shop, LINK + "a"), order_for(shop, LINK + "a")
        services.try_auto_dispatch(first.pk)
        services.try_auto_dispatch(second.pk)
        accounts = Attempt.objects.order_by("order_id").values_list("integration_id", flat=True)
        assert list(accounts) == [shop.integration.pk, other.pk]

    def test_is_about_the_recipient_and_the_account(self, shop: Shop, stage: Stage) -> None:
        other = make_smm_shop(stage)
        orders = [order_for(shop, LINK + "c"), order_for(shop, LINK + "d"), order_for(other, LINK + "c")]
        monitoring.sweep()
        assert [standing_of(order)[0] for order in orders] == ["processing"] * 3

    def test_may_be_switched_off_for_an_account(self, shop: Shop, stage: Stage) -> None:
        lax = make_smm_shop(stage, one_per_target=False)
        orders = [order_for(lax, LINK + "c"), order_for(lax, LINK + "c")]
        monitoring.sweep()
        assert [standing_of(order)[0] for order in orders] == ["processing"] * 2

    def test_waits_for_one_in_doubt_too(self, shop: Shop, stage: Stage) -> None:
        with dialect(stage, "smm_v2") as panel:
            panel.next_fate(place="accept_then_reset")
        first, second = order_for(shop, LINK + "x"), order_for(shop, LINK + "x")
        services.try_auto_dispatch(first.pk)
        stage.run_until_quiet(for_s=3600)
        standings = [standing_of(first), standing_of(second)]  # either of them was sent first
        assert sorted(standing[0] for standing in standings) == ["pending", "review"]
        assert WAITS in standings

    def test_holds_when_all_are_dispatched_at_once(self, shop: Shop, stage: Stage) -> None:
        orders = [order_for(shop, LINK + "e") for _ in range(6)]
        start = threading.Barrier(len(orders))

        def run(order: Order) -> None:
            start.wait(30)
            try:
                services.try_auto_dispatch(order.pk)
            finally:
                connection.close()

        with ThreadPoolExecutor(len(orders)) as pool:
            list(pool.map(run, orders))
        assert Attempt.objects.count() == len(bought_by(stage, orders[0])) == 1
        assert sorted(standing_of(order)[0] for order in orders) == ["pending"] * 5 + ["processing"]

    def test_is_decided_again_before_the_attempt_is_written(
        self, shop: Shop, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two surveys may both find the recipient free; the account's row lets one of them go on."""
        first, second = order_for(shop, LINK + "e"), order_for(shop, LINK + "e")
        services.try_auto_dispatch(first.pk)
        monkeypatch.setattr("apps.orders.routing.FILTERS", ())
        assert services.try_auto_dispatch(second.pk).said == targets.REASON
        assert standing_of(second) == WAITS
