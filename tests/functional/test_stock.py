"""Own stock: a code is sold once, soonest expiry first, with its cost; what a crash interrupts took nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import QuerySet

from apps.common import checkpoints, clock
from apps.orders import due, local, monitoring
from apps.orders.models import Attempt, Evidence, Order, OrderCode, OrderEvent
from apps.orders.sellable import Finding, Missing, can_be_sold, look_at, missing_for_sale
from apps.orders.services import OrderRefused, try_auto_dispatch
from apps.orders.states import AttemptState
from apps.providers import stock
from apps.providers.contract import NothingLeft
from apps.providers.models import StockCode
from tests.factories import (
    START,
    Shop,
    Stage,
    add_route,
    at_checkpoint,
    check_invariants,
    due_of,
    make_account,
    make_integration,
    make_stock_shop,
    order_from,
    pins_of,
    put_codes,
    standing_of,
    story_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage

__all__ = ["committed", "simulator", "stage"]

PRICE = 35_000_000
TODAY = START.date()
both_databases = pytest.mark.both_databases


class Crash(BaseException):
    """The process is gone."""


def crash_at(name: str) -> None:
    def die() -> None:
        checkpoints.set_hook(None)
        raise Crash

    at_checkpoint(name, die)


def sold_to(order: Order) -> list[str]:
    return list(Attempt.objects.filter(order=order).order_by("id").values_list("state", flat=True))


def missing_of(shop: Shop) -> list[Finding]:
    return missing_for_sale(look_at([shop.package], START)[0])


def taken() -> int:
    return StockCode.objects.exclude(taken_at=None).count()


def check_no_code_twice() -> None:
    """M10: what was taken is delivered, each code to one attempt; what was not, is nobody's."""
    sold = {(code.blind_index, code.taken_by) for code in StockCode.objects.exclude(taken_at=None)}
    delivered = set(OrderCode.objects.values_list("blind_index", "attempt_id"))
    assert delivered >= sold
    assert StockCode.objects.filter(blind_index__in=[index for index, _ in delivered]).count() == len(sold)


@both_databases
class TestAnOrder:
    def test_gets_its_code_in_the_same_moment(self, stage: Stage) -> None:
        shop = make_stock_shop("AAAA-1", "AAAA-2")
        order = order_from(shop)
        assert try_auto_dispatch(order.pk).said == "delivered"
        assert standing_of(order) == ("completed", "completed", "")
        assert pins_of(order) == ["AAAA-1"]
        assert sums_of(order) == {"hold": PRICE, "capture": PRICE, "cost": 30_000_000}
        assert due_of(order) == []
        attempt = Attempt.objects.get(order=order)
        assert order.provider_referans == attempt.reference
        code = StockCode.objects.exclude(taken_at=None).get()
        assert (code.taken_by, code.taken_at) == (attempt.pk, START)
        check_invariants()
        check_no_code_twice()

    def test_says_that_it_was_fulfilled_here(self, stage: Stage) -> None:
        order = order_from(make_stock_shop("AAAA-1"))
        try_auto_dispatch(order.pk)
        steps = OrderEvent.objects.get(order=order, kind="delivered").data["steps"]
        assert steps[10] == {"n": 11, "name": "send_request", "knowledge": "local"}
        assert [step["n"] for step in steps] == list(range(1, 16))
        assert list(Evidence.objects.values_list("knowledge", "http_status", "sealed_body")) == [("none", None, "")]

    def test_of_several_units_gets_all_its_codes_and_pays_their_sum(self, stage: Stage) -> None:
        shop = make_stock_shop("AAAA-1", "AAAA-2")
        put_codes(shop.integration, "AAAA-3", cost="28.25")
        order = order_from(shop, quantity=3)
        try_auto_dispatch(order.pk)
        assert pins_of(order) == ["AAAA-1", "AAAA-2", "AAAA-3"]
        assert Attempt.objects.get(order=order).cost_micros == 88_250_000
        assert sums_of(order) == {"hold": 3 * PRICE, "capture": 3 * PRICE, "cost": 88_250_000}
        check_invariants()

    def test_of_more_than_the_shelf_holds_gets_that_and_the_rest_of_its_money_back(self, stage: Stage) -> None:
        shop = make_stock_shop("AAAA-1", "AAAA-2")
        order = order_from(shop, quantity=3)
        stage.run_until_quiet()
        assert pins_of(order) == ["AAAA-1", "AAAA-2"]
        assert standing_of(order)[0] == "partial"
        assert sums_of(order) == {"hold": 3 * PRICE, "capture": 2 * PRICE, "release": PRICE, "cost": 60_000_000}

    def test_of_more_than_the_shelf_holds_gets_the_rest_from_the_next_route(self, stage: Stage) -> None:
        shop = shop_with_a_second_source(stage)
        put_codes(shop.integration, "AAAA-1", "AAAA-2")
        order = order_from(shop, quantity=5)
        stage.run_until_quiet()
        assert sold_to(order) == ["delivered", "refused", "delivered", "delivered", "delivered"]
        assert sorted(pins_of(order)) == sorted(["AAAA-1", "AAAA-2", *(row["pin"] for row in stage.purchases(order))])
        assert standing_of(order) == ("completed", "completed", "")
        check_invariants()

    def test_goes_to_the_next_route_when_the_shelf_is_empty(self, stage: Stage) -> None:
        shop = shop_with_a_second_source(stage)
        order = order_from(shop)
        stage.run_until_quiet()
        assert sold_to(order) == ["refused", "delivered"]
        assert pins_of(order) == stage.purchases(order)[0]["pins"]
        check_invariants(stage)

    def test_books_a_code_that_cost_nothing_as_nothing(self, stage: Stage) -> None:
        shop = make_stock_shop("AAAA-1", cost="0")
        shop.package.mappings.update(cost_micros=31_500_000)
        order = order_from(shop)
        try_auto_dispatch(order.pk)
        assert sums_of(order) == {"hold": PRICE, "capture": PRICE}

    def test_gets_serial_and_pin_and_last_day(self, stage: Stage) -> None:
        shop = make_stock_shop()
        put_codes(shop.integration, "CARD-1", expires="2026-12-31")
        order = order_from(shop)
        try_auto_dispatch(order.pk)
        assert OrderCode.objects.get(order=order).reveal()["expires"] == "2026-12-31"


@both_databases
class TestAShelf:
    def test_gives_what_ends_soonest_and_then_what_is_oldest(self, stage: Stage) -> None:
        shop = make_stock_shop("NEVER-1", "NEVER-2")
        put_codes(shop.integration, "LATE", expires="2026-12-31")
        put_codes(shop.integration, "SOON", expires="2026-03-02")
        order = order_from(shop, quantity=3)
        try_auto_dispatch(order.pk)
        assert pins_of(order) == ["SOON", "LATE", "NEVER-1"]

    def test_never_gives_an_expired_code(self, stage: Stage) -> None:
        shop = make_stock_shop()
        put_codes(shop.integration, "SOON", expires="2026-03-02")
        order = order_from(shop)
        stage.move(timedelta(hours=15).total_seconds())
        try_auto_dispatch(order.pk)
        assert standing_of(order)[0] == "rejected"
        assert taken() == 0

    def test_ends_its_codes_by_the_day_of_the_shop(self, stage: Stage) -> None:
        shop = make_stock_shop()
        shop.tenant.timezone = "Pacific/Kiritimati"
        assert local.today_in(shop.tenant, START.replace(hour=9)) == TODAY
        assert local.today_in(shop.tenant, START.replace(hour=10)) == TODAY + timedelta(days=1)
        shop.tenant.timezone = "../Mars"
        assert local.today_in(shop.tenant, START) == TODAY

    def test_does_not_give_codes_of_another_shelf_or_account(self, stage: Stage) -> None:
        shop = make_stock_shop()
        put_codes(shop.integration, "OTHER-SHELF", shelf="uc-600")
        put_codes(make_account(shop.tenant, "stock"), "OTHER-ACCOUNT")
        assert stock.count_on_shelf(shop.integration.pk, "uc-60", TODAY) == 0
        with transaction.atomic():
            taken_now = stock.take(shop.integration.pk, "uc-60", 1, attempt_id=1, today=TODAY, now=START)
        assert taken_now == NothingLeft()
        assert taken() == 0

    def test_that_is_empty_sells_nothing_unless_there_is_another_way(self, stage: Stage) -> None:
        shop = make_stock_shop("OLD-1")
        assert can_be_sold(missing_of(shop))
        try_auto_dispatch(order_from(shop).pk)
        (found,) = [one for one in missing_of(shop) if one.is_blocking]
        assert (found.code, dict(found.about)["shelf"]) == (Missing.SHELF, "uc-60")
        with pytest.raises(OrderRefused):
            order_from(shop)
        add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
        assert can_be_sold(missing_of(shop))

    def test_is_counted(self, stage: Stage) -> None:
        shop = make_stock_shop("A1", "A2", "A3")
        put_codes(shop.integration, "E1", expires="2026-03-20")
        put_codes(shop.integration, "E2", expires="2026-03-02")
        put_codes(shop.integration, "X1", shelf="old")
        (old, shelf) = stock.load_shelves([shop.integration], TODAY + timedelta(days=1))
        assert (shelf.left, shelf.ending, shelf.expired, shelf.is_low, shelf.is_empty) == (4, 1, 1, True, False)
        assert (old.name, old.left, old.is_low) == ("old", 1, False)
        stock.set_low_at(shop.integration, "uc-60", 3)
        assert not stock.load_shelves([shop.integration], TODAY)[1].is_low

    def test_is_told_when_it_gets_low(self, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        shop = make_stock_shop("SECRET-1", "SECRET-2", "SECRET-3")
        stock.set_low_at(shop.integration, "uc-60", 1)
        for _ in range(2):
            try_auto_dispatch(order_from(shop).pk)
        lines = [record.getMessage() for record in caplog.records]
        assert len([line for line in lines if "stock_low" in line and "'left': 1" in line]) == 1
        assert len([line for line in lines if "stock_low" in line]) == 1
        assert "SECRET" not in caplog.text


@both_databases
class TestACode:
    def refused(self, **changes: object) -> None:
        with pytest.raises(DatabaseError), transaction.atomic():
            StockCode.objects.update(**changes)

    def test_is_taken_once_and_never_changed(self, stage: Stage) -> None:
        shop = make_stock_shop("AAAA-1")
        self.refused(cost_micros=1)
        self.refused(shelf="other")
        self.refused(expires_on=TODAY)
        self.refused(taken_at=START)
        StockCode.objects.update(taken_at=START, taken_by=1)
        self.refused(taken_by=2)
        self.refused(taken_at=None, taken_by=None)
        StockCode.objects.update(sealed="sealed again")
        with pytest.raises(DatabaseError), transaction.atomic():
            StockCode.objects.all().delete()
        assert shop.integration.stock.get().taken_by == 1

    def test_lies_in_a_shop_once(self, stage: Stage) -> None:
        shop = make_stock_shop("AAAA-1")
        code = StockCode.objects.get()
        code.pk, code.integration = None, make_account(shop.tenant, "stock")
        with pytest.raises(DatabaseError), transaction.atomic():
            code.save(force_insert=True)

    def test_keeps_its_account_as_it_is(self, stage: Stage) -> None:
        shop = make_stock_shop("AAAA-1")
        shop.integration.refresh_from_db()
        assert shop.integration.in_use_since == START


@both_databases
class TestACrash:
    @pytest.mark.parametrize("at", ["dispatch.after_commit", "dispatch.after_send", "settle.before_commit"])
    def test_before_the_commit_took_nothing_and_is_sent_again_under_its_reference(self, stage: Stage, at: str) -> None:
        order = order_from(make_stock_shop("AAAA-1", "AAAA-2"))
        crash_at(at)
        with pytest.raises(Crash):
            try_auto_dispatch(order.pk)
        attempt = Attempt.objects.get(order=order)
        assert (attempt.state, attempt.send_no, taken()) == (AttemptState.SENDING, 1, 0)
        assert [kind for kind, _ in due_of(order)] == ["resolve"]
        stage.run_until_quiet()
        again = Attempt.objects.get(order=order)
        assert (again.reference, again.send_no, again.state) == (attempt.reference, 2, AttemptState.DELIVERED)
        assert "not_sent" in story_of(order)
        assert (pins_of(order), taken()) == (["AAAA-1"], 1)
        check_invariants()
        check_no_code_twice()

    def test_after_the_commit_lost_nothing(self, stage: Stage) -> None:
        order = order_from(make_stock_shop("AAAA-1", "AAAA-2"))
        crash_at("settle.after_commit")
        with pytest.raises(Crash):
            try_auto_dispatch(order.pk)
        stage.run_until_quiet()
        assert (pins_of(order), taken(), standing_of(order)[0]) == (["AAAA-1"], 1, "completed")
        check_no_code_twice()

    def test_of_the_settling_transaction_puts_the_codes_back(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order = order_from(make_stock_shop("AAAA-1"))
        with monkeypatch.context() as patch:
            patch.setattr("apps.orders.dispatch.steps.write_story", lambda *args: 1 / 0)
            assert try_auto_dispatch(order.pk).said == "set_aside"
        assert (taken(), OrderCode.objects.count(), sold_to(order)) == (0, 0, ["sending"])
        stage.run_until_quiet()
        assert (pins_of(order), standing_of(order)[0]) == (["AAAA-1"], "completed")
        check_invariants()

    def test_is_like_a_sleeper_who_is_overtaken(self, stage: Stage) -> None:
        """The settling process sleeps so long that the row comes due; what it wakes up to is nobody's turn."""
        order = order_from(make_stock_shop("AAAA-1", "AAAA-2"))

        def oversleep() -> None:
            checkpoints.set_hook(None)
            stage.move_to(due_of(order)[0][1])
            monitoring.check_order(order.pk)
            assert sold_to(order) == ["not_sent"]

        at_checkpoint("dispatch.after_send", oversleep)
        try_auto_dispatch(order.pk)
        assert (taken(), sold_to(order)) == (0, ["not_sent"])
        stage.run_until_quiet()
        assert (pins_of(order), taken()) == (["AAAA-1"], 1)
        check_invariants()
        check_no_code_twice()

    def test_leaves_the_attempt_alone_until_its_row_is_due(self, stage: Stage) -> None:
        order = order_from(make_stock_shop("AAAA-1"))
        crash_at("dispatch.after_send")
        with pytest.raises(Crash):
            try_auto_dispatch(order.pk)
        assert monitoring.check_order(order.pk, is_forced=True) == []
        assert due.due_lanes(clock.now()) == []
        assert sold_to(order) == ["sending"]


# --- many buyers at once


def race(orders: list[Order]) -> None:
    """Every order is dispatched by a thread of its own, all starting together."""
    start = threading.Barrier(len(orders))

    def run(order: Order) -> None:
        start.wait(30)
        try:
            try_auto_dispatch(order.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(orders)) as pool:
        list(pool.map(run, orders))


def shop_with_a_second_source(stage: Stage, *codes: str) -> Shop:
    shop = make_stock_shop(*codes)
    add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
    return shop


@both_databases
def test_scenario_9_two_customers_one_code_left(stage: Stage) -> None:
    shop = shop_with_a_second_source(stage, "LAST-1")
    orders = [order_from(shop), order_from(shop)]
    for order in orders:
        try_auto_dispatch(order.pk)
    stage.run_until_quiet()
    assert [sold_to(order) for order in orders] == [["delivered"], ["refused", "delivered"]]
    assert pins_of(orders[0]) == ["LAST-1"]
    assert pins_of(orders[1]) == stage.purchases(orders[1])[0]["pins"]
    check_invariants_of_codes(stage)


@pytest.mark.postgres
@pytest.mark.parametrize("round_number", range(3))
def test_scenario_9_two_customers_one_code_left_at_once(stage: Stage, round_number: int) -> None:
    shop = shop_with_a_second_source(stage, "LAST-1")
    orders = [order_from(shop), order_from(shop)]
    meeting = threading.Barrier(2)
    at_checkpoint("dispatch.after_send", lambda: meeting.wait(30) and None)
    race(orders)
    checkpoints.set_hook(None)
    stage.run_until_quiet()
    assert sorted(map(sold_to, orders)) == [["delivered"], ["refused", "delivered"]]
    assert taken() == 1
    check_invariants_of_codes(stage)


@pytest.mark.postgres
@pytest.mark.parametrize("round_number", range(3))
def test_eight_pairs_of_codes_wanted_by_twelve_at_once(stage: Stage, round_number: int) -> None:
    """Each wants two of sixteen: no two may hold one each and both go away with nothing."""
    shop = make_stock_shop(*(f"CODE-{n}" for n in range(16)))
    orders = [order_from(shop, quantity=2) for _ in range(12)]
    race(orders)
    assert sorted(map(sold_to, orders)) == [["delivered"]] * 8 + [["refused"]] * 4
    assert taken() == 16
    check_invariants()
    check_no_code_twice()


@pytest.mark.postgres
def test_twelve_want_six_codes_without_row_locks(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any lock the counted update decides: whoever lost takes nothing, and looks again when its row is due."""

    def no_lock(self: QuerySet[Any], *args: object, **kwargs: object) -> QuerySet[Any]:
        return self

    shop = make_stock_shop(*(f"CODE-{n}" for n in range(6)))
    orders = [order_from(shop) for _ in range(12)]
    monkeypatch.setattr(QuerySet, "select_for_update", no_lock)
    race(orders)
    stage.run_until_quiet()
    assert sorted(standing_of(order)[0] for order in orders) == ["completed"] * 6 + ["rejected"] * 6
    assert taken() == 6
    check_invariants()
    check_no_code_twice()


@pytest.mark.postgres
def test_two_who_hold_one_each_do_not_both_go_away_with_nothing(stage: Stage) -> None:
    """A rival holds one of two codes for a moment and puts it back: the second look waits for it."""
    shop = make_stock_shop("PAIR-1", "PAIR-2")
    is_held, is_free = threading.Event(), threading.Event()

    def rival() -> None:
        with transaction.atomic():
            list(StockCode.objects.select_for_update().order_by("id")[:1])
            is_held.set()
            is_free.wait(30)
        connection.close()

    thread = threading.Thread(target=rival)
    thread.start()
    is_held.wait(30)
    order = order_from(shop, quantity=2)
    timer = threading.Timer(0.3, is_free.set)
    timer.start()
    try_auto_dispatch(order.pk)
    thread.join(30)
    assert sold_to(order) == ["delivered"]


def check_invariants_of_codes(stage: Stage) -> None:
    """I3, I8, I9, I11, I17, and M10: the panel's truth does not know our own codes."""
    check_invariants()
    check_no_code_twice()
    assert {row["state"] for row in stage.purchases()} <= {"delivered"}
