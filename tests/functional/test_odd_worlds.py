"""What changes around an order while it is on its way: its mapping, and the clock on the wall of the machine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from apps.common import clock
from apps.orders import monitoring, services
from apps.orders.models import Attempt, Order
from apps.providers.models import PackageMapping
from tests.factories import Shop, Stage, check_invariants, due_of, make_shop, order_from, standing_of
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.test_other_kinds import dialect, shop_at

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

OTHER = {"oyun": "152", "kupur": "325"}


def map_to(shop: Shop, **ids: str) -> None:
    PackageMapping.objects.filter(package=shop.package).update(**ids)


def products_of(order: Order) -> list[dict[str, str]]:
    return list(Attempt.objects.filter(order=order).order_by("id").values_list("product", flat=True))


class TestAMappingThatChanges:
    def test_before_the_send_decides_what_is_bought(self, stage: Stage) -> None:
        """R5: the attempt keeps what was really asked for, whatever the mapping says later."""
        shop = make_shop(stage.url)
        order = stage.order(shop, complete_after_s=5)
        map_to(shop, **OTHER)
        services.try_auto_dispatch(order.pk)
        map_to(shop, oyun="152", kupur="60")
        stage.run_until_quiet()
        assert products_of(order) == [OTHER]
        assert len(stage.purchases(order)) == 1
        assert standing_of(order) == ("completed", "completed", "")
        check_invariants(stage)

    def test_after_a_send_that_never_left_never_shares_its_reference(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        order = stage.order(shop, complete_after_s=5)
        stage.simulator.switch(down="refuse")
        services.try_auto_dispatch(order.pk)
        stage.simulator.switch(down=None)
        map_to(shop, **OTHER)
        stage.run_until_quiet()
        first, second = Attempt.objects.filter(order=order).order_by("id")
        assert (first.state, first.send_no, second.state) == ("not_sent", 1, "delivered")
        assert first.reference != second.reference
        assert [row["reference"] for row in stage.purchases()] == [second.reference]
        check_invariants(stage)

    def test_during_a_doubt_does_not_change_what_is_sent_again(self, stage: Stage) -> None:
        shop = shop_at(stage, "client_api", {"oyun": "101"}, needs_code=False, price="2")
        with dialect(stage, "client_api") as control:
            control.next_fate(place="reset_before")
            order = order_from(shop)
            services.try_auto_dispatch(order.pk)
            map_to(shop, oyun="102")
            stage.run_until_quiet()
        attempt = Attempt.objects.get(order=order)
        assert (attempt.state, attempt.send_no) == ("delivered", 2)
        asked = [entry for entry in stage.truth("asked") if entry["reference"] == attempt.reference]
        assert {entry["product"] for entry in asked} == {"101"}
        check_invariants()


@pytest.fixture(params=["Pacific/Kiritimati", "America/New_York", "Africa/Cairo"])
def wall(request: pytest.FixtureRequest) -> Iterator[str]:
    """This process, as on a machine whose clock on the wall shows the time of somewhere else."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield request.param
    os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
    time.tzset()


SPRING = datetime(2026, 3, 8, 6, 59, 50, tzinfo=UTC)
"""Ten seconds before New York skips an hour."""


class TestAMachineInAnotherZone:
    def test_asks_at_the_same_moments(self, stage: Stage, wall: str) -> None:
        """W13: across a change of summer time, too, sixty seconds are sixty seconds."""
        stage.move_to(SPRING)
        order = stage.order(make_shop(stage.url), complete_after_s=30)
        services.try_auto_dispatch(order.pk)
        assert due_of(order) == [("check", SPRING + timedelta(seconds=60))]
        stage.move(60)
        monitoring.sweep()
        assert standing_of(order) == ("completed", "completed", "")
        order.refresh_from_db()
        assert (order.created_at, order.settled_at) == (SPRING, clock.now())
        check_invariants(stage)
