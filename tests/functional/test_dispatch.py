"""Dispatch against the simulated panel: where it stops, what it leaves behind, and that it never buys twice."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from apps.common import checkpoints, clock
from apps.common.crypto import open_sealed
from apps.common.guards import OpenTransaction
from apps.common.money import Money
from apps.common.wire import NotSentReason
from apps.orders import machine, monitoring, services
from apps.orders.dispatch.steps import SendGuard
from apps.orders.dispatch.trace import STEPS
from apps.orders.models import Attempt, AttemptUnit, DueCheck, Evidence, Order, OrderEvent, OrderUnit
from apps.orders.sellable import look_at, missing_for_sale
from apps.orders.states import AttemptState, ExternalStatus, OrderStatus, UnitStatus
from apps.providers.models import Integration, PackageMapping, Route
from apps.wallet import ledger
from tests.factories import (
    START,
    Stage,
    add_route,
    at_checkpoint,
    check_invariants,
    due_of,
    iter_units,
    make_impatient_shop,
    make_integration,
    make_shop,
    make_tenant,
    order_from,
    pins_of,
    standing_of,
    story_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage

__all__ = ["committed", "simulator", "stage"]

PRICE = 35_000_000
COST = 31_500_000
DAY_S = 86_400


def logged_steps(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The `step=n/15` of every dispatch step logged so far."""
    return [record.msg["step"] for record in caplog.records if isinstance(record.msg, dict) and "step" in record.msg]


def steps_to(n: int) -> list[str]:
    return [f"{number}/15" for number in range(1, n + 1)]


def seconds_to_next(order: Order) -> float:
    """How long until the order's next due row."""
    return (due_of(order)[0][1] - clock.now()).total_seconds()


class TestADispatch:
    def test_logs_fifteen_steps_and_leaves_the_check_in_sixty_seconds(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        shop = make_shop(stage.url)
        order = stage.order(shop)
        stage.messages.clear()
        caplog.set_level(logging.INFO, logger="apps")
        sent = services.try_auto_dispatch(order.pk, shop.tenant.pk)
        assert (sent.said, sent.is_sent) == ("accepted", True)
        assert logged_steps(caplog) == steps_to(15)
        assert standing_of(order) == ("processing", "sent", "")
        assert due_of(order) == [("check", START + timedelta(seconds=60))]
        assert stage.messages == [("apps.orders.tasks.check_order_status", [order.pk, shop.tenant.pk], 60.0)]

    def test_tells_its_fifteen_steps_in_the_story(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        services.try_auto_dispatch(order.pk)
        told = OrderEvent.objects.get(order=order, kind="accepted").data["steps"]
        assert [(step["n"], step["name"]) for step in told] == list(STEPS.items())

    def test_saves_the_reference_before_the_request_leaves(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        seen: list[tuple[str, str, str]] = []

        def look() -> None:
            attempt = Attempt.objects.get(order=order)
            seen.append((attempt.state, attempt.reference, order_status(order)))

        at_checkpoint("dispatch.before_first_byte", look)
        services.try_auto_dispatch(order.pk)
        attempt = Attempt.objects.get(order=order)
        assert seen == [("sending", attempt.reference, "processing")]
        assert [row["reference"] for row in stage.purchases()] == [attempt.reference]

    def test_holds_its_unit_before_the_request_leaves(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        held: list[int] = []
        due: list[list[tuple[str, Any]]] = []

        def look() -> None:
            held.append(AttemptUnit.objects.filter(unit__order=order, holds=True).count())
            due.append(due_of(order))

        at_checkpoint("dispatch.before_first_byte", look)
        services.try_auto_dispatch(order.pk)
        assert held == [1]
        # send window 20 s, time-out 3 s, margin 10 s: before that nobody asks about a request that may still leave.
        assert due == [[("resolve", START + timedelta(seconds=33))]]

    def test_draws_a_reference_of_eighteen_digits(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        services.try_auto_dispatch(order.pk)
        order.refresh_from_db()
        assert len(order.provider_referans) == 18
        assert order.provider_referans.isdecimal()
        assert order.provider_referans[0] != "0"

    def test_done_twice_buys_once(self, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        order = stage.order(make_shop(stage.url))
        services.try_auto_dispatch(order.pk)
        caplog.set_level(logging.INFO, logger="apps")
        caplog.clear()
        again = services.try_auto_dispatch(order.pk)
        assert (again.said, again.is_sent) == ("dispatched_already", False)
        assert logged_steps(caplog) == steps_to(2)
        assert len(stage.truth("asked")) == 1

    def test_of_an_order_that_is_not_there_does_nothing(self, stage: Stage) -> None:
        assert services.try_auto_dispatch(4711).said == "no_such_order"

    def test_sends_with_no_transaction_open(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        states: list[bool] = []
        at_checkpoint("dispatch.before_first_byte", lambda: states.append(connection.in_atomic_block))
        services.try_auto_dispatch(order.pk)
        assert states == [False]

    def test_refuses_to_send_inside_somebody_elses_transaction(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        with pytest.raises(OpenTransaction), transaction.atomic():
            services.try_auto_dispatch(order.pk)
        assert stage.truth("asked") == []
        assert standing_of(order) == ("pending", "not_sent", "")

    def test_marks_the_account_as_used(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        services.try_auto_dispatch(stage.order(shop).pk)
        shop.integration.refresh_from_db()
        assert shop.integration.in_use_since == START

    def test_puts_neither_pin_nor_password_into_the_log(self, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        order = stage.order(make_shop(stage.url), pin="CANARY-PIN-0001")
        stage.run_until_quiet()
        assert pins_of(order) == ["CANARY-PIN-0001"]
        assert "CANARY-PIN-0001" not in caplog.text
        assert "demo-secret" not in caplog.text


def order_status(order: Order) -> str:
    return Order.objects.values_list("status", flat=True).get(pk=order.pk)


class TestADispatchThatIsRefused:
    """It logs the steps up to where it stopped, keeps the money held, and says why and when it looks again."""

    def refuse(self, order: Order, caplog: pytest.LogCaptureFixture, tenant_id: int | None = None) -> str:
        caplog.set_level(logging.INFO, logger="apps")
        refused = services.try_auto_dispatch(order.pk, tenant_id)
        assert not refused.is_sent
        return refused.said

    def check_waiting(self, stage: Stage, order: Order, reason: str, retry_in_s: float) -> None:
        assert standing_of(order) == ("pending", "not_sent", reason)
        assert due_of(order) == [("dispatch", START + timedelta(seconds=retry_in_s))]
        assert sums_of(order) == {"hold": PRICE}
        assert story_of(order) == ["created", "dispatch_refused"]
        assert stage.truth("asked") == []
        check_invariants(stage)

    def test_by_another_shop_stops_at_two_and_records_nothing(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        order = stage.order(make_shop(stage.url))
        assert self.refuse(order, caplog, make_tenant().pk) == "wrong_tenant"
        assert logged_steps(caplog) == steps_to(1)
        assert standing_of(order) == ("pending", "not_sent", "")
        assert due_of(order) == [("dispatch", START)]
        assert story_of(order) == ["created"]

    def test_by_a_closed_shop_stops_at_two(self, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        shop = make_shop(stage.url)
        order = stage.order(shop)
        type(shop.tenant).objects.filter(pk=shop.tenant.pk).update(is_active=False)
        self.refuse(order, caplog)
        assert logged_steps(caplog) == steps_to(1)
        self.check_waiting(stage, order, "waiting:tenant_inactive", 60)

    def test_before_its_time_stops_at_three_and_records_nothing(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        order = stage.order(make_shop(stage.url))
        DueCheck.objects.update(next_at=START + timedelta(seconds=1))
        assert self.refuse(order, caplog) == "not_due"
        assert logged_steps(caplog) == steps_to(2)
        assert story_of(order) == ["created"]

    def test_without_a_route_stops_at_five(self, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        order = stage.order(make_shop(stage.url))
        Route.objects.update(is_enabled=False)
        self.refuse(order, caplog)
        assert logged_steps(caplog) == steps_to(5)
        self.check_waiting(stage, order, "waiting:no_route", 60)

    def test_for_a_person_stops_at_five(self, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        order = stage.order(make_shop(stage.url))
        Route.objects.update(mode=Route.Mode.MANUAL, integration=None)
        self.refuse(order, caplog)
        assert logged_steps(caplog) == steps_to(5)
        self.check_waiting(stage, order, "waiting:manual_route", 60)

    def test_by_a_disabled_account_stops_at_five_and_names_it_in_the_story(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        shop = make_shop(stage.url)
        order = stage.order(shop)
        Integration.objects.update(is_enabled=False)
        self.refuse(order, caplog)
        assert logged_steps(caplog) == steps_to(5)
        self.check_waiting(stage, order, "waiting:no_route", 60)
        told = OrderEvent.objects.get(order=order, kind="dispatch_refused")
        assert told.data["why"] == f"route {shop.route.pk}: provider_disabled"

    def test_by_a_paused_account_stops_at_five_until_the_pause_is_over(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        order = stage.order(make_shop(stage.url))
        Integration.objects.update(paused_until=START + timedelta(seconds=217))
        self.refuse(order, caplog)
        assert logged_steps(caplog) == steps_to(5)
        self.check_waiting(stage, order, "waiting:provider_paused", 217)

    def test_without_a_mapping_stops_at_five(self, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        order = stage.order(make_shop(stage.url))
        PackageMapping.objects.all().delete()
        self.refuse(order, caplog)
        assert logged_steps(caplog) == steps_to(5)
        self.check_waiting(stage, order, "waiting:mapping_missing", 60)

    def test_by_an_incomplete_mapping_stops_at_five(self, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        shop = make_shop(stage.url)
        order = stage.order(shop)
        PackageMapping.objects.update(kupur="")
        self.refuse(order, caplog)
        assert logged_steps(caplog) == steps_to(5)
        self.check_waiting(stage, order, "waiting:mapping_incomplete", 60)
        told = OrderEvent.objects.get(kind="dispatch_refused")
        assert told.data["why"] == f"route {shop.route.pk}: mapping_incomplete"

    def test_without_credentials_stops_at_five(self, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        order = stage.order(make_shop(stage.url))
        Integration.objects.update(sealed_secrets="")
        self.refuse(order, caplog)
        assert logged_steps(caplog) == steps_to(5)
        self.check_waiting(stage, order, "waiting:credentials_missing", 60)

    def test_with_credentials_that_no_key_opens_stops_at_five(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        order = stage.order(make_shop(stage.url))
        Integration.objects.update(sealed_secrets="k9$gone")
        self.refuse(order, caplog)
        assert logged_steps(caplog) == steps_to(5)
        self.check_waiting(stage, order, "waiting:credentials_unreadable", 60)

    def test_at_an_account_in_no_known_currency_stops_at_five(
        self, stage: Stage, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What was bought there could not be booked afterwards, so it is not bought."""
        shop = make_shop(stage.url)
        order = stage.order(shop)
        Integration.objects.update(currency="TL")
        self.refuse(order, caplog)
        assert logged_steps(caplog) == steps_to(5)
        self.check_waiting(stage, order, "waiting:currency_unknown", 60)
        (sale,) = look_at([shop.package], clock.now())
        sentence = f"the provider account {shop.integration.name} is in TL, which is no known currency"
        assert [str(found) for found in missing_for_sale(sale)] == [sentence]

    def test_by_an_error_of_our_own_waits_and_sends_nothing(
        self, stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order = stage.order(make_shop(stage.url))
        monkeypatch.setattr("apps.orders.dispatch.steps.draw_reference", lambda ref_format: 1 / 0)
        self.refuse(order, caplog)
        self.check_waiting(stage, order, "waiting:internal_error", 60)

    def test_goes_when_the_reason_is_gone(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        Integration.objects.update(is_enabled=False)
        services.try_auto_dispatch(order.pk)
        Integration.objects.update(is_enabled=True)
        stage.run_until_quiet()
        assert standing_of(order) == ("completed", "completed", "")
        assert len(stage.purchases()) == 1
        check_invariants(stage)

    def test_is_told_once_however_often_it_is_tried(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        Integration.objects.update(is_enabled=False)
        for _ in range(5):
            services.try_auto_dispatch(order.pk)
            stage.move(60)
        assert story_of(order) == ["created", "dispatch_refused"]

    def test_for_a_day_becomes_a_persons_question_with_the_money_held(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        Integration.objects.update(is_enabled=False)
        stage.move(DAY_S - 90)
        stage.run_until_quiet()
        assert clock.now() == START + timedelta(seconds=DAY_S + 30)
        assert standing_of(order) == ("review", "not_sent", "waiting:deadline")
        assert due_of(order) == []
        assert sums_of(order) == {"hold": PRICE}
        check_invariants(stage)

    def test_of_a_unit_for_a_day_becomes_a_persons_question_too(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url), quantity=2)
        services.try_auto_dispatch(order.pk)
        Integration.objects.update(is_enabled=False)
        stage.move(DAY_S - 90)
        stage.run_until_quiet()
        assert list(iter_units(order)) == [(1, "captured"), (2, "held")]
        assert standing_of(order) == ("review", "completed", "waiting:deadline")
        assert sums_of(order) == {"hold": 2 * PRICE, "capture": PRICE, "cost": COST}
        check_invariants(stage)


class TestASendThatNeverLeft:
    def down(self, stage: Stage) -> Order:
        shop = make_shop(stage.url)
        order = stage.order(shop)
        stage.simulator.switch(down="refuse")
        services.try_auto_dispatch(order.pk)
        return order

    def test_frees_the_unit_and_keeps_the_money_held(self, stage: Stage) -> None:
        order = self.down(stage)
        attempt = Attempt.objects.get(order=order)
        assert (attempt.state, attempt.send_no, attempt.outcome) == ("not_sent", 1, "not_sent")
        assert AttemptUnit.objects.filter(holds=True).count() == 0
        assert standing_of(order) == ("pending", "not_sent", "waiting:provider_unreachable")
        assert due_of(order) == [("dispatch", START + timedelta(seconds=5))]
        assert sums_of(order) == {"hold": PRICE}

    def test_is_the_one_case_without_provider_referans(self, stage: Stage) -> None:
        order = self.down(stage)
        order.refresh_from_db()
        assert order.provider_referans == ""
        assert order.sent_at is None

    def test_goes_again_under_the_same_reference_as_send_two(self, stage: Stage) -> None:
        order = self.down(stage)
        before = Attempt.objects.get(order=order)
        stage.simulator.switch(down=None)
        stage.run_until_quiet()
        after = Attempt.objects.get(order=order)
        assert (after.reference, after.send_no, after.state) == (before.reference, 2, "delivered")
        assert [row["reference"] for row in stage.purchases()] == [before.reference]
        assert standing_of(order) == ("completed", "completed", "")
        check_invariants(stage)

    def test_backs_off_while_the_panel_stays_away(self, stage: Stage) -> None:
        order = self.down(stage)
        gaps = []
        for _ in range(5):
            gaps.append(seconds_to_next(order))
            stage.move_to(due_of(order)[0][1])
            services.try_auto_dispatch(order.pk)
        assert gaps == [5, 10, 20, 40, 80]
        assert Attempt.objects.get(order=order).send_no == 6
        check_invariants(stage)

    def test_for_a_day_becomes_a_persons_question(self, stage: Stage) -> None:
        order = self.down(stage)
        stage.move(DAY_S)
        services.try_auto_dispatch(order.pk)
        assert standing_of(order) == ("review", "not_sent", "waiting:deadline")
        assert sums_of(order) == {"hold": PRICE}
        check_invariants(stage)

    def test_goes_to_the_next_route_at_once(self, stage: Stage) -> None:
        shop = make_shop()
        add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
        order = stage.order(shop)
        stage.run_until_quiet()
        states = list(Attempt.objects.order_by("id").values_list("state", flat=True))
        assert states == ["not_sent", "delivered"]
        assert standing_of(order)[0] == "completed"
        assert len(stage.purchases()) == 1
        check_invariants(stage)


class TestACertainRefusal:
    def test_of_the_last_route_rejects_and_gives_the_money_back_at_once(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        order = stage.order(shop, place="refuse", refuse_class="product")
        services.try_auto_dispatch(order.pk)
        assert standing_of(order) == ("rejected", "failed", "")
        assert sums_of(order) == {"hold": PRICE, "release": PRICE}
        assert ledger.balance_of(shop.customer.pk, "TRY") == Money(1000_000_000, "TRY")
        assert due_of(order) == []
        order.refresh_from_db()
        assert order.settled_at == START
        check_invariants(stage)

    def test_keeps_its_reference_although_nothing_was_bought(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url), place="refuse", refuse_class="product")
        services.try_auto_dispatch(order.pk)
        order.refresh_from_db()
        assert order.provider_referans == Attempt.objects.get(order=order).reference

    def test_goes_to_the_next_route_in_the_same_moment(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
        order = stage.order(shop, place="refuse", refuse_class="product", times=1)
        stage.messages.clear()
        services.try_auto_dispatch(order.pk)
        assert standing_of(order) == ("pending", "failed", "waiting:next_route")
        assert due_of(order) == [("dispatch", START)]
        assert ("apps.orders.tasks.dispatch_order", [order.pk, shop.tenant.pk], 0) in stage.messages
        services.try_auto_dispatch(order.pk)
        stage.run_until_quiet()
        first, second = Attempt.objects.order_by("id")
        assert (first.state, second.state) == ("refused", "delivered")
        assert first.reference != second.reference
        assert first.integration_id != second.integration_id
        order.refresh_from_db()
        assert order.provider_referans == second.reference
        assert [row["reference"] for row in stage.purchases()] == [second.reference]
        check_invariants(stage)

    def test_by_both_routes_rejects(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
        order = stage.order(shop, place="refuse", refuse_class="product")
        stage.run_until_quiet()
        assert standing_of(order) == ("rejected", "failed", "")
        assert Attempt.objects.filter(state=AttemptState.REFUSED).count() == 2
        assert sums_of(order) == {"hold": PRICE, "release": PRICE}
        check_invariants(stage)

    def test_passes_over_a_disabled_second_route(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        second = make_integration(shop.tenant, stage.url)
        add_route(shop.package, second, position=2)
        Integration.objects.filter(pk=second.pk).update(is_enabled=False)
        order = stage.order(shop, place="refuse", refuse_class="product")
        services.try_auto_dispatch(order.pk)
        assert standing_of(order) == ("rejected", "failed", "")

    def test_with_a_person_as_the_second_route_waits_for_the_person(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        Route.objects.create(package=shop.package, position=2, mode=Route.Mode.MANUAL)
        order = stage.order(shop, place="refuse", refuse_class="product")
        services.try_auto_dispatch(order.pk)
        assert standing_of(order) == ("pending", "failed", "waiting:manual_route")
        assert sums_of(order) == {"hold": PRICE}


class TestATroubleOnOurSide:
    @pytest.mark.parametrize("refuse_class", ["balance", "auth"])
    def test_pauses_the_account_holds_the_order_and_goes_afterwards(self, stage: Stage, refuse_class: str) -> None:
        shop = make_shop(stage.url)
        order = stage.order(shop, place="refuse", refuse_class=refuse_class, times=1)
        services.try_auto_dispatch(order.pk)
        shop.integration.refresh_from_db()
        assert shop.integration.paused_until == START + timedelta(seconds=60)
        assert standing_of(order) == ("pending", "failed", "waiting:provider_paused")
        assert due_of(order) == [("dispatch", START + timedelta(seconds=60))]
        assert sums_of(order) == {"hold": PRICE}
        stage.run_until_quiet()
        shop.integration.refresh_from_db()
        assert shop.integration.troubles == 0
        assert not shop.integration.is_paused(START)
        assert standing_of(order) == ("completed", "completed", "")
        assert len(stage.purchases()) == 1
        check_invariants(stage)

    def test_keeps_other_orders_away_meanwhile(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        services.try_auto_dispatch(stage.order(shop, place="refuse", refuse_class="balance", times=1).pk)
        other = stage.order(shop)
        services.try_auto_dispatch(other.pk)
        assert standing_of(other) == ("pending", "not_sent", "waiting:provider_paused")
        assert len(stage.truth("asked")) == 1

    def test_in_a_row_doubles_the_pause_up_to_ten_minutes(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        order = stage.order(shop, place="refuse", refuse_class="balance")
        pauses = []
        for _ in range(6):
            services.try_auto_dispatch(order.pk)
            pauses.append(seconds_to_next(order))
            stage.move_to(due_of(order)[0][1])
        assert pauses == [60, 120, 240, 480, 600, 600]
        check_invariants(stage)

    def test_for_a_day_becomes_a_persons_question(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url), place="refuse", refuse_class="balance")
        services.try_auto_dispatch(order.pk)
        stage.move(DAY_S)
        services.try_auto_dispatch(order.pk)
        assert standing_of(order)[::2] == ("review", "waiting:deadline")
        assert sums_of(order) == {"hold": PRICE}
        check_invariants(stage)

    def test_tries_the_next_route_at_once(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
        order = stage.order(shop, place="refuse", refuse_class="balance", times=1)
        services.try_auto_dispatch(order.pk)
        assert due_of(order) == [("dispatch", START)]
        stage.run_until_quiet(for_s=120)
        assert standing_of(order)[0] == "completed"
        assert clock.now() == START + timedelta(seconds=60)
        check_invariants(stage)


class TestAQuantityOfThree:
    def test_is_three_references_three_purchases_and_three_pins(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url), quantity=3)
        stage.run_until_quiet()
        bought = stage.purchases()
        assert len({row["reference"] for row in bought}) == len(bought) == 3
        assert sorted(pins_of(order)) == sorted(row["pin"] for row in bought)
        assert len(set(pins_of(order))) == 3
        assert list(iter_units(order)) == [(1, "captured"), (2, "captured"), (3, "captured")]
        assert sums_of(order) == {"hold": 3 * PRICE, "capture": 3 * PRICE, "cost": 3 * COST}
        assert standing_of(order) == ("completed", "completed", "")
        check_invariants(stage)

    def test_shows_the_first_reference_that_holds(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url), quantity=3)
        stage.run_until_quiet()
        order.refresh_from_db()
        assert order.provider_referans == Attempt.objects.order_by("id")[0].reference

    def test_with_one_cancelled_unit_is_partly_completed(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url), quantity=3, final="cancelled", times=1)
        stage.run_until_quiet()
        assert list(iter_units(order)) == [(1, "released"), (2, "captured"), (3, "captured")]
        assert standing_of(order) == ("partial", "partial", "")
        assert sums_of(order) == {"hold": 3 * PRICE, "capture": 2 * PRICE, "release": PRICE, "cost": 2 * COST}
        assert len(pins_of(order)) == 2
        check_invariants(stage)

    def test_with_one_lost_answer_still_buys_three(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url), quantity=3, place="accept_then_500", times=1)
        stage.run_until_quiet()
        assert len(stage.purchases()) == 3
        assert len(pins_of(order)) == 3
        assert standing_of(order) == ("completed", "completed", "")
        check_invariants(stage)


BOUGHT_BUT_LOST = (
    "accept_then_hang",
    "accept_then_reset",
    "accept_then_500",
    "accept_then_html",
    "accept_then_empty",
    "accept_then_cut",
    "accept_then_headers",
    "accept_then_flood",
    "accept_then_code_8",
)
NOT_BOUGHT = (
    "redirect",
    "hang_before",
    "reset_before",
    "error_500_before",
    "html_before",
    "empty_before",
    "unlisted_text",
    "code_8",
)


class TestAnAnswerThatSaysNothing:
    @pytest.mark.parametrize("place", BOUGHT_BUT_LOST)
    def test_after_the_purchase_is_found_and_adopted(self, stage: Stage, place: str) -> None:
        shop = make_impatient_shop(stage.url)
        add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
        order = stage.order(shop, place=place)
        sent = services.try_auto_dispatch(order.pk)
        assert sent.said == "in_doubt"
        assert standing_of(order) == ("processing", "unknown", "")
        assert sums_of(order) == {"hold": PRICE}
        order.refresh_from_db()
        assert order.provider_referans == Attempt.objects.get(order=order).reference
        stage.run_until_quiet()
        assert standing_of(order) == ("completed", "completed", "")
        assert pins_of(order) == [row["pin"] for row in stage.purchases()]
        assert len(stage.truth("asked")) == 1
        check_invariants(stage)

    @pytest.mark.parametrize("place", NOT_BOUGHT)
    def test_without_a_purchase_is_asked_for_and_becomes_a_persons_question(self, stage: Stage, place: str) -> None:
        shop = make_impatient_shop(stage.url)
        add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
        order = stage.order(shop, place=place)
        services.try_auto_dispatch(order.pk)
        assert Attempt.objects.get(order=order).state == "in_doubt"
        order.refresh_from_db()
        assert order.provider_referans == Attempt.objects.get(order=order).reference
        for _ in range(8):  # 20 s, then 30 s x 2^n: past the fifteen minutes
            monitoring.sweep()
            stage.move_to(due_of(order)[0][1])
        assert standing_of(order) == ("review", "unknown", "waiting:in_doubt")
        assert sums_of(order) == {"hold": PRICE}
        assert len(stage.truth("asked")) == 1
        assert stage.purchases() == []
        check_invariants(stage)

    def test_keeps_the_raw_bytes_as_evidence(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url), place="accept_then_500")
        services.try_auto_dispatch(order.pk)
        evidence = Evidence.objects.get(order=order)
        assert (evidence.verb, evidence.knowledge, evidence.http_status, evidence.outcome) == (
            "place",
            "answered",
            500,
            "unknown",
        )
        assert open_sealed(evidence.sealed_body) == b"<html><body><h1>500 Internal Server Error</h1></body></html>"
        assert "demo-secret" not in evidence.request
        assert "sifre=***" in evidence.request

    def test_of_an_adapter_that_breaks_after_the_answer_is_in_doubt(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order = stage.order(make_shop(stage.url))
        with monkeypatch.context() as broken:
            broken.setattr("apps.providers.adapters.znet.read_place", lambda order, answer: 1 / 0)
            assert services.try_auto_dispatch(order.pk).said == "in_doubt"
        stage.run_until_quiet()
        assert standing_of(order) == ("completed", "completed", "")
        assert len(stage.purchases()) == 1
        check_invariants(stage)


class TestARequestThatCannotBeWritten:
    @pytest.mark.parametrize("error", [ValueError, KeyError])
    def test_is_provably_not_sent(self, stage: Stage, monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
        def fail(*args: object) -> None:
            raise error("no such field")

        order = stage.order(make_shop(stage.url))
        monkeypatch.setattr("apps.providers.adapters.znet.build_place_call", fail)
        services.try_auto_dispatch(order.pk)
        attempt = Attempt.objects.get(order=order)
        assert (attempt.state, attempt.outcome) == ("not_sent", "not_sent")
        assert standing_of(order)[0] == "pending"
        assert sums_of(order) == {"hold": PRICE}


class TestTheSendGuard:
    def attempt(self, stage: Stage, action: Any) -> tuple[Order, Attempt]:
        """An order whose sender is held up by `action` directly before its first byte."""
        order = stage.order(make_shop(stage.url))
        at_checkpoint("dispatch.before_first_byte", lambda: action(order))
        services.try_auto_dispatch(order.pk)
        checkpoints.set_hook(None)
        return order, Attempt.objects.get(order=order)

    def test_stops_a_sender_that_slept_past_its_deadline(self, stage: Stage) -> None:
        order, attempt = self.attempt(stage, lambda order: stage.move(20.001))
        assert stage.truth("asked") == []
        assert (attempt.state, attempt.reason_code) == ("not_sent", "send_deadline_passed")
        assert standing_of(order)[0] == "pending"
        stage.run_until_quiet()
        assert len(stage.purchases()) == 1
        check_invariants(stage)

    def test_lets_a_sender_within_its_deadline_go(self, stage: Stage) -> None:
        _, attempt = self.attempt(stage, lambda order: stage.move(20))
        assert attempt.state == "accepted"

    def test_stops_a_sender_that_was_overtaken(self, stage: Stage) -> None:
        def overtake(order: Order) -> None:
            DueCheck.objects.update(next_at=clock.now())
            monitoring.check_order(order.pk)  # too early to ask: the request may be on the wire at this moment
            assert stage.questions() == 0
            Attempt.objects.update(state=AttemptState.IN_DOUBT, doubt_since=clock.now())

        order, attempt = self.attempt(stage, overtake)
        assert stage.truth("asked") == []
        assert (attempt.state, attempt.reason_code) == ("absent", "attempt_superseded")
        stage.run_until_quiet()
        assert standing_of(order) == ("completed", "completed", "")
        assert len(stage.purchases()) == 1
        check_invariants(stage)

    def test_stops_an_older_send_of_the_same_attempt(self, stage: Stage) -> None:
        _, attempt = self.attempt(stage, lambda order: Attempt.objects.update(send_no=2))
        assert stage.truth("asked") == []
        assert attempt.send_no == 2

    def test_looks_at_the_monotonic_clock_too(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        services.try_auto_dispatch(order.pk)
        attempt = Attempt.objects.get(order=order)
        attempt.state = AttemptState.SENDING
        guard = SendGuard(attempt, window_s=-1)
        assert guard() is NotSentReason.DEADLINE

    def test_lets_the_current_sender_go(self, stage: Stage) -> None:
        answers: list[NotSentReason | None] = []

        def ask(order: Order) -> None:
            checkpoints.set_hook(None)
            answers.append(SendGuard(Attempt.objects.get(order=order), 20)())

        self.attempt(stage, ask)
        assert answers == [None]


class TestAnOperatorsCheckBesideTheSend:
    def test_does_not_end_in_a_rejected_order(self, stage: Stage) -> None:
        """Nothing left this machine, the panel is well, and nobody decided anything: the order must go again."""
        order = stage.order(make_shop(stage.url))
        at_checkpoint("dispatch.before_first_byte", lambda: monitoring.check_order(order.pk, is_forced=True))
        services.try_auto_dispatch(order.pk)
        checkpoints.set_hook(None)
        stage.run_until_quiet()
        assert standing_of(order) == ("completed", "completed", "")
        assert len(stage.purchases()) == 1


class TestAChangeOfState:
    """Whoever reads a row and writes it later loses against whoever wrote meanwhile, with or without a lock."""

    def test_of_an_attempt_is_lost_when_somebody_was_faster(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        services.try_auto_dispatch(order.pk)
        mine, theirs = Attempt.objects.get(), Attempt.objects.get()
        machine.change_attempt(theirs, AttemptState.DELIVERED)
        with pytest.raises(machine.Overtaken):
            machine.change_attempt(mine, AttemptState.FAILED)
        assert Attempt.objects.get().state == "delivered"
        assert AttemptUnit.objects.filter(holds=True).count() == 1

    def test_of_another_send_is_lost(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        services.try_auto_dispatch(order.pk)
        mine = Attempt.objects.get()
        Attempt.objects.update(send_no=2)
        with pytest.raises(machine.Overtaken):
            machine.change_attempt(mine, AttemptState.FAILED)

    def test_of_an_order_is_lost_when_somebody_was_faster(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        theirs = Order.objects.get()
        machine.change_order(theirs, OrderStatus.CANCELLED, ExternalStatus.NOT_SENT, "", START)
        with pytest.raises(machine.Overtaken):
            machine.change_order(order, OrderStatus.PROCESSING, ExternalStatus.SENDING, "", START)
        assert order_status(order) == "cancelled"

    def test_of_a_units_money_happens_once(self, stage: Stage) -> None:
        stage.order(make_shop(stage.url))
        mine, theirs = OrderUnit.objects.get(), OrderUnit.objects.get()
        machine.change_unit(theirs, UnitStatus.RELEASED)
        with pytest.raises(machine.Overtaken):
            machine.change_unit(mine, UnitStatus.CAPTURED)
        assert OrderUnit.objects.get().status == "released"


class TestThePurchaseOfAProductWithoutAPin:
    def test_is_complete_when_the_panel_says_so(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url, needs_code=False))
        stage.run_until_quiet()
        assert standing_of(order) == ("completed", "completed", "")
        assert pins_of(order) == []
        check_invariants(stage)


class TestTwoShops:
    def test_share_nothing_but_the_panel(self, stage: Stage) -> None:
        first, second = make_shop(stage.url), make_shop(stage.url)
        orders = [order_from(first), order_from(second)]
        stage.run_until_quiet()
        assert [standing_of(order)[0] for order in orders] == ["completed", "completed"]
        pins = [pins_of(order)[0] for order in orders]
        assert pins[0] != pins[1]
        check_invariants(stage)
