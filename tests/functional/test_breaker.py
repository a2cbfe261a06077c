"""An account that does not answer: when it is left alone, who finds out that it is back, and what waits meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from apps.common import clock
from apps.common.budget import Use
from apps.orders import due, monitoring, services
from apps.orders.dispatch import steps
from apps.orders.dispatch.trace import Trace
from apps.orders.models import Attempt, DueCheck, Order
from apps.providers import breaker, budget
from apps.providers.breaker import Standing, State
from apps.providers.traffic_models import Breaker
from tests.factories import (
    START,
    Shop,
    Stage,
    add_route,
    at_checkpoint,
    check_invariants,
    due_of,
    fill_lane,
    make_impatient_shop,
    make_integration,
    make_shop,
    new_player,
    order_from,
    standing_of,
)
from tests.functional.core_fixtures import committed, simulator, stage
from tests.unit.loopback import Server, answering, closed_port, reply

__all__ = ["committed", "simulator", "stage"]

FAILED = [False]
ANSWERED = [True]


@pytest.fixture
def lane(stage: Stage) -> int:
    """An account that nobody has talked to yet."""
    return make_shop(stage.url).integration.pk


def at(seconds: float) -> Any:
    return START + timedelta(seconds=seconds)


def open_it(lane: int, opened_s: float = 0) -> None:
    breaker.note(lane, FAILED * breaker.OPENS_AFTER, at(opened_s))


class TestABreaker:
    def test_is_closed_at_first(self, lane: int) -> None:
        assert breaker.standing_of(lane, START) == Standing(State.CLOSED)

    def test_opens_with_the_fifth_failure_within_half_a_minute(self, lane: int) -> None:
        for second in (0, 7, 14, 21):
            breaker.note(lane, FAILED, at(second))
            assert breaker.state_of(lane, at(second)) is State.CLOSED
        breaker.note(lane, FAILED, at(29.9))
        assert breaker.standing_of(lane, at(29.9)) == Standing(State.OPEN, at(29.9), at(44.9))

    def test_does_not_count_failures_of_half_a_minute_ago(self, lane: int) -> None:
        for second in (0, 7, 14, 21, 30, 37):
            breaker.note(lane, FAILED, at(second))
        assert breaker.state_of(lane, at(37)) is State.CLOSED
        breaker.note(lane, FAILED, at(37.1))
        assert breaker.state_of(lane, at(37.1)) is State.OPEN

    def test_counts_failures_in_a_row_only(self, lane: int) -> None:
        breaker.note(lane, FAILED * 4 + ANSWERED + FAILED * 4, START)
        assert breaker.state_of(lane, START) is State.CLOSED
        breaker.note(lane, FAILED, START)
        assert breaker.state_of(lane, START) is State.OPEN

    def test_is_half_open_every_quarter_of_a_minute(self, lane: int) -> None:
        open_it(lane)
        assert breaker.state_of(lane, at(14.9)) is State.OPEN
        assert breaker.state_of(lane, at(15)) is State.HALF_OPEN
        assert breaker.win_probe(lane, at(15))
        assert breaker.standing_of(lane, at(16)) == Standing(State.OPEN, START, at(30))
        breaker.note(lane, FAILED, at(16))
        assert breaker.standing_of(lane, at(16)) == Standing(State.OPEN, START, at(30))

    def test_gives_no_probe_too_early(self, lane: int) -> None:
        assert not breaker.win_probe(lane, START)
        open_it(lane)
        assert not breaker.win_probe(lane, at(14.9))

    def test_closes_with_one_answer(self, lane: int) -> None:
        open_it(lane)
        breaker.note(lane, ANSWERED, at(17))
        assert breaker.standing_of(lane, at(18)) == Standing(State.CLOSED, at(17))
        assert Breaker.objects.get(pk=lane).failed_us == []

    def test_writes_nothing_while_all_is_well(self, lane: int) -> None:
        breaker.note(lane, ANSWERED * 3, START)
        breaker.note(lane, [], START)
        assert not Breaker.objects.exists()

    @pytest.mark.both_databases
    def test_has_one_winner_of_each_probe(self, lane: int) -> None:
        open_it(lane)
        won: list[bool] = []
        start = threading.Barrier(8)

        def probe() -> None:
            start.wait(30)
            won.append(breaker.win_probe(lane, at(15)))

        in_threads(probe, 8)
        assert sorted(won) == [False] * 7 + [True]

    @pytest.mark.both_databases
    def test_loses_no_failure_of_those_that_come_together(self, lane: int) -> None:
        in_threads(lambda: breaker.note(lane, FAILED, START), breaker.OPENS_AFTER)
        assert breaker.state_of(lane, START) is State.OPEN


def in_threads(work: Callable[[], None], count: int) -> None:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def dead_shop() -> Shop:
    """A shop whose panel nobody can connect to."""
    return make_shop(f"http://127.0.0.1:{closed_port()}")


def answering_shop(server: Server) -> Shop:
    return make_shop(f"http://127.0.0.1:{server.port}")


def counted(lane: int) -> int:
    row = Breaker.objects.filter(pk=lane).first()
    return len(row.failed_us) if row else 0


class TestAPurchase:
    def test_that_nobody_takes_counts(self, stage: Stage) -> None:
        shop = dead_shop()
        services.try_auto_dispatch(stage.order(shop).pk)
        assert counted(shop.integration.pk) == 1

    @pytest.mark.parametrize(
        "fate", [{"place": "accept_then_hang"}, {"place": "accept_then_reset"}, {"place": "accept_then_500"}]
    )
    def test_without_an_answer_counts(self, stage: Stage, fate: dict[str, Any]) -> None:
        shop = make_impatient_shop(stage.url)
        services.try_auto_dispatch(stage.order(shop, **fate).pk)
        assert counted(shop.integration.pk) == 1

    @pytest.mark.parametrize("fate", [{}, {"place": "refuse", "refuse_class": "product"}])
    def test_with_an_answer_of_any_kind_counts_for_the_account(self, stage: Stage, fate: dict[str, Any]) -> None:
        shop = make_shop(stage.url)
        breaker.note(shop.integration.pk, FAILED * 4, START)
        services.try_auto_dispatch(stage.order(shop, **fate).pk)
        assert counted(shop.integration.pk) == 0

    def test_that_is_sent_too_late_says_nothing_of_the_account(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        at_checkpoint("dispatch.before_first_byte", lambda: stage.move(3600))
        assert services.try_auto_dispatch(stage.order(shop).pk).said == "not_sent"
        assert counted(shop.integration.pk) == 0

    def test_passes_over_an_account_that_does_not_answer(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        open_it(shop.integration.pk)
        order = stage.order(shop)
        assert services.try_auto_dispatch(order.pk).said == "waiting:breaker_open"
        assert standing_of(order) == ("pending", "not_sent", "waiting:breaker_open")
        assert due_of(order) == [("dispatch", at(15))]
        assert stage.truth("asked") == []

    def test_goes_to_the_next_route_meanwhile(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        other = make_integration(shop.tenant, stage.url)
        add_route(shop.package, other, position=2)
        open_it(shop.integration.pk)
        order = stage.order(shop)
        assert services.try_auto_dispatch(order.pk).said == "accepted"
        assert Attempt.objects.get(order=order).integration_id == other.pk

    def test_is_the_probe_where_no_question_is(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        open_it(shop.integration.pk)
        orders = [stage.order(shop) for _ in range(2)]
        stage.move(15)
        assert services.try_auto_dispatch(orders[0].pk).said == "accepted"
        assert breaker.state_of(shop.integration.pk, clock.now()) is State.CLOSED
        assert services.try_auto_dispatch(orders[1].pk).said == "accepted"

    def test_is_one_probe_of_many(self, stage: Stage) -> None:
        shop = dead_shop()
        open_it(shop.integration.pk)
        orders = [stage.order(shop) for _ in range(3)]
        stage.move(15)
        said = [services.try_auto_dispatch(order.pk).said for order in orders]
        assert said == ["not_sent", "waiting:breaker_open", "waiting:breaker_open"]

    def test_leaves_the_probe_to_a_question(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        services.try_auto_dispatch(stage.order(shop).pk)
        open_it(shop.integration.pk)
        order = stage.order(shop)
        stage.move(15)
        assert services.try_auto_dispatch(order.pk).said == "waiting:breaker_open"
        assert due_of(order) == [("dispatch", at(30))]
        stage.run_until_quiet()
        assert standing_of(order)[0] == "completed"
        check_invariants(stage)

    def test_that_loses_the_race_for_the_probe_is_not_sent(self, stage: Stage) -> None:
        """Between the look at the routes and the commit, somebody else has taken the probe."""
        shop = make_shop(stage.url)
        open_it(shop.integration.pk)
        order = stage.order(shop)
        now = stage.move(15)
        assert breaker.win_probe(shop.integration.pk, now)
        bound = steps.bind_adapter(Trace(order.pk), shop.integration)
        with pytest.raises(steps.DispatchRefused, match="waiting:breaker_open") as refused:
            steps.take_turn(bound, now)
        assert refused.value.retry_at == at(30)


@pytest.fixture
def silent_lane(stage: Stage) -> Iterator[tuple[Shop, list[Order]]]:
    """Three accepted orders whose panel answers nothing any more; all are due, the breaker is open."""
    shop = make_impatient_shop(stage.url)
    orders = [stage.order(shop, final="never") for _ in range(3)]
    for order in orders:
        services.try_auto_dispatch(order.pk)
    stage.move(60)
    stage.simulator.switch(down="hang")
    yield shop, orders
    stage.simulator.switch(down=None)


class TestAQuestion:
    def test_without_an_answer_counts(self, stage: Stage, silent_lane: tuple[Shop, list[Order]]) -> None:
        monitoring.sweep()
        assert counted(silent_lane[0].integration.pk) == 3

    def test_is_put_off_with_schedule_and_errors_as_they_were(
        self, stage: Stage, silent_lane: tuple[Shop, list[Order]]
    ) -> None:
        shop, _ = silent_lane
        open_it(shop.integration.pk, 60)
        before = list(DueCheck.objects.order_by("pk").values_list("tries", "errors", "asked", "fence"))
        assert monitoring.sweep().asked == 0
        assert list(DueCheck.objects.order_by("pk").values_list("tries", "errors", "asked", "fence")) == before
        assert set(DueCheck.objects.values_list("next_at", flat=True)) == {at(75)}

    def test_is_the_one_probe_of_its_lane(self, stage: Stage, silent_lane: tuple[Shop, list[Order]]) -> None:
        shop, _ = silent_lane
        open_it(shop.integration.pk, 60)
        asked = []
        for _ in range(4):
            stage.move(15)
            asked.append(monitoring.sweep().asked)
        assert asked == [1, 1, 1, 1]
        assert breaker.state_of(shop.integration.pk, clock.now()) is State.OPEN

    def test_that_is_answered_closes_it_and_the_rest_follows(
        self, stage: Stage, silent_lane: tuple[Shop, list[Order]]
    ) -> None:
        shop, _ = silent_lane
        open_it(shop.integration.pk, 60)
        monitoring.sweep()
        stage.simulator.switch(down=None)
        stage.move(15)
        assert monitoring.sweep().asked == 1
        stage.move(15)
        assert monitoring.sweep().asked == 2
        assert breaker.state_of(shop.integration.pk, clock.now()) is State.CLOSED

    def test_by_name_waits_for_the_probe_but_a_persons_does_not(
        self, stage: Stage, silent_lane: tuple[Shop, list[Order]]
    ) -> None:
        shop, (order, *_) = silent_lane
        open_it(shop.integration.pk, 60)
        stage.simulator.switch(down=None)
        assert monitoring.check_order(order.pk) == []
        assert len(monitoring.check_order(order.pk, is_forced=True)) == 1
        assert breaker.state_of(shop.integration.pk, clock.now()) is State.CLOSED


class TestALongQueue:
    def test_is_put_off_over_two_minutes_and_never_empty_for_a_probe(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        fill_lane(stage.order(shop), shop.integration, 200)
        due.put_off_lane(shop.integration.pk, START, at(15), breaker.PROBE_EVERY)
        times = list(DueCheck.objects.filter(lane=shop.integration.pk).values_list("next_at", flat=True))
        assert {time: times.count(time) for time in sorted(set(times))} == {at(15 * n): 25 for n in range(1, 9)}


TOO_MANY = reply(b"slow down", b"Retry-After: 40", status=b"429 Too Many Requests")


class TestAnAccountThatIsFull:
    def test_is_left_alone_for_as_long_as_it_says_and_is_not_broken(self, stage: Stage) -> None:
        with Server(answering(TOO_MANY)) as server:
            shop = answering_shop(server)
            order = stage.order(shop)
            assert services.try_auto_dispatch(order.pk).said == "in_doubt"
            server.settle()
        assert budget.outlook(shop.integration, START) == at(40)
        assert counted(shop.integration.pk) == 0
        later = stage.order(shop)
        assert services.try_auto_dispatch(later.pk).said == "waiting:budget"
        assert standing_of(later) == ("pending", "not_sent", "waiting:budget")
        assert due_of(later) == [("dispatch", at(40))]

    def test_of_requests_lets_the_next_order_wait_for_its_turn(self, stage: Stage) -> None:
        shop = make_shop(stage.url, rate_per_s=0.5, burst=2)
        orders = [stage.order(shop) for _ in range(3)]
        said = [services.try_auto_dispatch(order.pk).said for order in orders]
        assert said == ["accepted", "accepted", "waiting:budget"]
        assert due_of(orders[2]) == [("dispatch", at(2))]
        stage.run_until_quiet()
        assert {standing_of(order)[0] for order in orders} == {"completed"}
        check_invariants(stage)

    def test_of_requests_is_passed_over_for_the_next_route(self, stage: Stage) -> None:
        shop = make_shop(stage.url, rate_per_s=0.5, burst=2)
        other = make_integration(shop.tenant, stage.url)
        add_route(shop.package, other, position=2)
        budget.take(shop.integration, Use.PLACE, 2, START)
        order = stage.order(shop)
        assert services.try_auto_dispatch(order.pk).said == "accepted"
        assert Attempt.objects.get(order=order).integration_id == other.pk

    def test_of_questions_still_takes_an_order(self, stage: Stage) -> None:
        shop = make_shop(stage.url, rate_per_s=0.5, burst=5)
        fill_lane(stage.order(shop), shop.integration, 9)
        DueCheck.objects.filter(kind="dispatch").delete()
        assert monitoring.sweep().asked == 4
        assert services.try_auto_dispatch(stage.order(shop).pk).said == "accepted"

    def test_lets_an_order_that_has_waited_long_try_less_often(self, stage: Stage) -> None:
        shop = make_shop(stage.url, rate_per_s=0.5, burst=2)
        order = order_from(shop, new_player())
        for seconds, gap in ((40, 10), (400, 30)):
            stage.move_to(at(seconds))
            DueCheck.objects.update(next_at=clock.now())
            budget.take(shop.integration, Use.PLACE, 2, clock.now())
            services.try_auto_dispatch(order.pk)
            assert due_of(order) == [("dispatch", at(seconds + gap))]


class TestALookUp:
    def test_goes_before_a_check_that_is_a_minute_older(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        fill_lane(stage.order(shop), shop.integration, 4)
        rows = list(DueCheck.objects.filter(kind="check").order_by("pk"))
        for row, kind, late_s in zip(rows, ("check", "check", "resolve", "resolve"), (70, 50, 0, -1), strict=True):
            DueCheck.objects.filter(pk=row.pk).update(kind=kind, next_at=at(-late_s))
        claims = due.claim_lane(shop.integration.pk, at(2), timedelta(seconds=9), 4)
        assert [claim.row_id for claim in claims] == [rows[0].pk, rows[2].pk, rows[3].pk, rows[1].pk]

    def test_is_asked_alone_and_checks_together(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        fill_lane(stage.order(shop), shop.integration, 9)
        first, second = DueCheck.objects.filter(kind="check").order_by("pk")[:2]
        DueCheck.objects.filter(pk__in=[first.pk, second.pk]).update(kind="resolve")
        lane = shop.integration.pk
        assert [due.requests_wanted(lane, START, most, 5) for most in (9, 3, 1)] == [4, 3, 1]
        assert len(due.claim_lane(lane, START, timedelta(seconds=9), 3, 5)) == 7
