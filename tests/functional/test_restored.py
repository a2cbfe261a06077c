"""After a restore from a backup: what may have been bought since it was taken is a person's question."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apps.accounts.models import User
from apps.common import clock
from apps.journal import heartbeats
from apps.journal.models import OutboxEvent
from apps.orders import decisions, monitoring, services
from apps.orders.models import Attempt, Order
from apps.orders.refusals import OrderRefused
from apps.orders.restored import after_restore
from apps.orders.states import AttemptState, OrderStatus
from apps.orders.withdrawal import AlreadySent, cancel_unsent
from tests.factories import (
    Shop,
    Stage,
    add_route,
    check_invariants,
    make_customer,
    make_integration,
    make_shop,
    make_stock_shop,
    order_from,
    pins_of,
    standing_of,
    story_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import make_person
from tests.functional.test_ladder import reloadly_shop
from tests.functional.test_other_kinds import dialect

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

DAY = timedelta(hours=24)
HELD = ("review", "not_sent", "waiting:restored")


@pytest.fixture
def shop(stage: Stage) -> Shop:
    return make_shop(stage.url)


@pytest.fixture
def operator(shop: Shop) -> User:
    return make_person("nour", shop.tenant, "operator")


def restore(closed_within: timedelta = DAY) -> Any:
    return after_restore(clock.now(), closed_within)


class TestAnOrderThatWaited:
    def test_is_a_persons_and_not_sent(self, stage: Stage, shop: Shop) -> None:
        """B9: it may have been bought after the backup was taken, under a reference that nobody knows any more."""
        order = stage.order(shop)
        done = restore()
        assert (done.marked, done.for_people) == (1, 1)
        assert standing_of(order) == HELD
        services.try_auto_dispatch(order.pk)
        stage.run_until_quiet()
        assert stage.truth("asked") == []
        assert standing_of(order) == HELD
        assert story_of(order) == ["created", "restored"]
        assert sums_of(order) == {"hold": 35_000_000}
        [event] = OutboxEvent.objects.filter(subject_id=order.pk, kind="order.held")
        assert event.body["version"] > 1000  # greater than any that was told in the lost time
        check_invariants(stage)

    def test_goes_when_a_person_sends_it(self, stage: Stage, shop: Shop, operator: User) -> None:
        order = stage.order(shop, complete_after_s=5)
        restore()
        decisions.send_elsewhere(order.pk, operator, "not in the statement", clock.now(), route_id=shop.route.pk)
        stage.run_until_quiet()
        assert standing_of(order) == ("completed", "completed", "")
        assert len(stage.purchases(order)) == 1
        check_invariants(stage)

    def test_is_not_sent_by_asking_again(self, stage: Stage, shop: Shop) -> None:
        order = stage.order(shop)
        restore()
        assert decisions.ask_again(order.pk, "nour", clock.now()).said == "nothing_open"
        assert stage.truth("asked") == []

    def test_is_not_given_back_by_its_customer(self, stage: Stage, shop: Shop) -> None:
        order = stage.order(shop)
        restore()
        with pytest.raises(AlreadySent):
            cancel_unsent(order.pk, "customer", clock.now())
        assert sums_of(order) == {"hold": 35_000_000}

    def test_stays_as_it_is_when_it_is_done_again(self, stage: Stage, shop: Shop) -> None:
        order = stage.order(shop)
        restore()
        assert (restore().marked, restore().for_people) == (0, 0)
        assert story_of(order) == ["created", "restored"]


class TestAnOrderThatIsMarked:
    def test_goes_to_a_person_from_the_third_step(self, stage: Stage, shop: Shop) -> None:
        order = stage.order(shop)
        Order.objects.filter(pk=order.pk).update(is_restored=True)
        assert services.try_auto_dispatch(order.pk).said == "waiting:restored"
        assert standing_of(order) == HELD
        assert stage.truth("asked") == []

    def test_is_not_sent_elsewhere_when_it_is_refused_at_last(self, stage: Stage, shop: Shop) -> None:
        """In doubt in the backup, refused after it: what the lost time did with the free unit is not known."""
        add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
        order = stage.order(shop, place="accept_then_reset", final="cancelled", complete_after_s=5)
        services.try_auto_dispatch(order.pk)
        restore()
        stage.run_until_quiet()
        attempt = Attempt.objects.get(order=order)
        assert attempt.state == AttemptState.FAILED
        assert standing_of(order)[0] == "review"
        assert standing_of(order)[2] == "waiting:restored"
        assert sums_of(order) == {"hold": 35_000_000}
        check_invariants(stage)

    def test_is_not_bought_again_when_it_is_proven_absent(self, stage: Stage) -> None:
        shop = reloadly_shop(stage)
        with dialect(stage, "reloadly") as control:
            control.next_fate(place="hang_before")
            order = order_from(shop)
            monitoring.sweep()
            restore()
            stage.run_until_quiet(for_s=3000)
        assert [attempt.state for attempt in Attempt.objects.filter(order=order)] == [AttemptState.ABSENT]
        assert (standing_of(order)[0], standing_of(order)[2]) == ("review", "waiting:restored")
        assert stage.truth("bought") == []
        check_invariants()


class TestAnOpenPurchase:
    def test_is_asked_about_at_once_and_ends_by_itself(self, stage: Stage, shop: Shop) -> None:
        order = stage.order(shop, complete_after_s=5)
        services.try_auto_dispatch(order.pk)
        stage.move(10)
        assert restore().asked == 1
        monitoring.sweep()
        assert standing_of(order) == ("completed", "completed", "")
        assert pins_of(order) == stage.purchases(order)[0]["pins"]
        check_invariants(stage)


class TestAClosedPurchase:
    def test_is_looked_at_once_more(self, stage: Stage, shop: Shop) -> None:
        """A provider that changed its mind in the lost time would be heard."""
        order = stage.order(shop, complete_after_s=5)
        services.try_auto_dispatch(order.pk)
        stage.run_until_quiet()
        asked = stage.questions()
        assert restore(timedelta(0)).asked == 1
        assert Order.objects.get(pk=order.pk).version > 1000
        monitoring.sweep()
        assert stage.questions() == asked + 1
        assert standing_of(order) == ("completed", "completed", "")

    def test_of_long_ago_is_left_alone(self, stage: Stage, shop: Shop) -> None:
        early = stage.order(shop, complete_after_s=5)
        services.try_auto_dispatch(early.pk)
        stage.run_until_quiet()
        stage.move(7200)
        late = stage.order(shop, complete_after_s=5)
        services.try_auto_dispatch(late.pk)
        stage.run_until_quiet()
        assert restore(timedelta(hours=1)).asked == 1


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("after_restore", *arguments, stdout=out)
    return out.getvalue()


class TestTheCommand:
    def test_gives_no_number_a_second_time(self, stage: Stage, shop: Shop) -> None:
        before = stage.order(shop)
        run()
        after = order_from(shop, "another-player")
        assert after.pk > before.pk + 1_000_000
        services.try_auto_dispatch(after.pk)
        assert standing_of(after)[0] == "processing"

    def test_also_of_a_table_without_rows(self, stage: Stage) -> None:
        run()
        shop = make_shop(stage.url)
        assert make_customer(shop.tenant).pk > 1_000_000

    def test_switches_own_stocks_off(self, stage: Stage) -> None:
        shop = make_stock_shop("AAAA-1111", "BBBB-2222")
        told = run()
        shop.integration.refresh_from_db()
        assert not shop.integration.is_enabled
        assert repr(shop.integration.name) in told
        with pytest.raises(OrderRefused, match="is disabled"):
            order_from(shop)

    def test_tells_its_counts_as_json(self, stage: Stage, shop: Shop) -> None:
        stage.order(shop)
        told = json.loads(run("--json"))
        assert {name: told[name] for name in ("marked", "for_people", "asked", "stocks")} == {
            "marked": 1,
            "for_people": 1,
            "asked": 0,
            "stocks": [],
        }

    def test_is_refused_while_a_loop_is_at_work(self, stage: Stage, shop: Shop) -> None:
        order = stage.order(shop)
        heartbeats.beat("beat", clock.now())
        with pytest.raises(CommandError, match="still at work"):
            run()
        assert standing_of(order)[0] == OrderStatus.PENDING
        stage.move(61)
        run()
        assert standing_of(order) == HELD
