"""Asking about orders: when, by whom, what an answer changes, and what none does."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F

from apps.common import checkpoints, clock
from apps.common.guards import OpenTransaction
from apps.common.money import Money, to_micros
from apps.journal import heartbeats
from apps.journal.models import Heartbeat, OutboxEvent
from apps.ops.money_check import check_money
from apps.orders import due, monitoring, outcomes, services
from apps.orders.due import Claim
from apps.orders.evidence import store_codes
from apps.orders.models import Attempt, Case, DueCheck, Evidence, Order, OrderCode, OrderEvent
from apps.orders.monitoring import Answered, Batch, Told
from apps.orders.news import News
from apps.orders.questions import Question
from apps.orders.turns import claim_turn
from apps.providers.contract import Code, Outcome, Result
from apps.providers.models import Integration
from apps.wallet import ledger
from tests.factories import (
    START,
    Shop,
    Stage,
    add_route,
    at_checkpoint,
    check_invariants,
    due_of,
    make_impatient_shop,
    make_integration,
    make_shop,
    pins_of,
    standing_of,
    story_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage

__all__ = ["committed", "simulator", "stage"]

PRICE = 35_000_000
COST = 31_500_000
LEASE = timedelta(seconds=26)
DAY_S = 86_400


def sent(stage: Stage, shop: Shop | None = None, **fate: Any) -> Order:
    """An order whose purchase was accepted; its first check is due in a minute."""
    order = stage.order(shop or make_shop(stage.url), **fate)
    assert services.try_auto_dispatch(order.pk).said == "accepted"
    return order


def ask(stage: Stage, order: Order) -> None:
    """Go on to the order's next due time and ask."""
    stage.move_to(due_of(order)[0][1])
    monitoring.check_order(order.pk)


def row_of(order: Order) -> DueCheck:
    return DueCheck.objects.get(order=order)


def news_of(order: Order, outcome: Outcome, *, verb: Any = "status", fence: int | None = None, **result: Any) -> News:
    """News as the panel might have given it, about the order's first attempt."""
    attempt = Attempt.objects.filter(order=order).order_by("id")[0]
    row = DueCheck.objects.filter(attempt=attempt).first()
    number = fence if fence is not None else (row.fence if row else 0)
    said = Result(outcome, attempt.reference, **result)
    return News(attempt.pk, order.pk, verb, said, None, clock.now(), number, attempt.send_no)


def claim_anew(order_id: int, now: datetime) -> int:
    """Make every row of the order due under a new fence, as another process's claim would; returns how many."""
    return DueCheck.objects.filter(order_id=order_id).update(next_at=now, fence=F("fence") + 1)


class TestTheSchedule:
    def test_is_a_minute_then_thirty_seconds_doubling_up_to_ten_minutes(self, stage: Stage) -> None:
        order = sent(stage, final="never")
        gaps = [(due_of(order)[0][1] - clock.now()).total_seconds()]
        for _ in range(7):
            ask(stage, order)
            gaps.append((due_of(order)[0][1] - clock.now()).total_seconds())
        assert gaps == [60, 30, 60, 120, 240, 480, 600, 600]

    @pytest.mark.parametrize(("dice", "gap"), [(0.0, 27), (0.25, 28.5), (0.75, 31.5)])
    def test_is_spread_by_the_dice_but_for_the_first_minute(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch, dice: float, gap: float
    ) -> None:
        monkeypatch.setattr("apps.orders.outcomes.random", SimpleNamespace(random=lambda: dice))
        order = sent(stage, final="never")
        assert due_of(order)[0][1] == START + timedelta(seconds=60)
        ask(stage, order)
        assert due_of(order)[0][1] - clock.now() == timedelta(seconds=gap)

    def test_asks_nothing_before_its_time(self, stage: Stage) -> None:
        order = sent(stage)
        stage.move(57.9)
        assert monitoring.check_order(order.pk) == []
        assert stage.questions() == 0

    def test_counts_two_seconds_before_as_due_when_asked_by_name(self, stage: Stage) -> None:
        order = sent(stage)
        stage.move(58)
        monitoring.check_order(order.pk)
        assert standing_of(order)[0] == "completed"

    def test_is_overruled_by_a_person(self, stage: Stage) -> None:
        order = sent(stage)
        monitoring.check_order(order.pk, is_forced=True)
        assert standing_of(order)[0] == "completed"

    def test_of_another_shop_is_not_touched(self, stage: Stage) -> None:
        order = sent(stage)
        stage.move(60)
        assert monitoring.check_order(order.pk, order.tenant_id + 1) == []
        assert stage.questions() == 0

    def test_keeps_its_place_when_a_question_fails(self, stage: Stage) -> None:
        order = sent(stage, final="never", status_faults=["500", "html", "empty", "500"])
        steps = []
        for _ in range(6):
            ask(stage, order)
            row = row_of(order)
            steps.append(((row.next_at - clock.now()).total_seconds(), row.tries, row.errors))
        # a failed question: three quarters of 5 s x 2^n, never below ZNET's ten seconds
        assert steps == [(10, 0, 1), (10, 0, 2), (15, 0, 3), (30, 0, 4), (30, 1, 0), (60, 2, 0)]

    def test_makes_a_hurried_order_due_at_once(self, stage: Stage) -> None:
        order = sent(stage)
        fence = row_of(order).fence
        assert claim_anew(order.pk, clock.now()) == 1
        assert (row_of(order).next_at, row_of(order).fence) == (START, fence + 1)


class TestAnUnchangedAnswer:
    def test_only_counts_on_the_due_row(self, stage: Stage) -> None:
        order = sent(stage, final="never")
        ask(stage, order)
        before = (Evidence.objects.count(), OrderEvent.objects.count(), OutboxEvent.objects.count())
        since = row_of(order).same_since
        for _ in range(4):
            ask(stage, order)
        assert (Evidence.objects.count(), OrderEvent.objects.count(), OutboxEvent.objects.count()) == before
        row = row_of(order)
        # the placing answer and five questions
        assert (row.asked, row.same_since, row.asked_at) == (6, since, clock.now())
        assert since == START + timedelta(seconds=60)

    def test_is_told_once_when_it_is_new(self, stage: Stage) -> None:
        order = sent(stage, final="never")
        for _ in range(3):
            ask(stage, order)
        assert story_of(order) == ["created", "accepted", "in_progress"]
        assert list(Evidence.objects.order_by("id").values_list("verb", flat=True)) == ["place", "status"]


def claim_of(lane: int, now: datetime) -> list[Claim]:
    return claim_turn(Integration.objects.get(pk=lane), now).claims


class TestAClaim:
    def test_moves_the_row_one_lease_ahead_and_bumps_its_fence(self, stage: Stage) -> None:
        order = sent(stage)
        fence = row_of(order).fence
        now = stage.move(60)
        (claim,) = claim_of(row_of(order).lane, now)
        assert claim == Claim(row_of(order).pk, order.pk, Attempt.objects.get().pk, fence + 1, START)
        assert (row_of(order).next_at, row_of(order).fence) == (now + LEASE, fence + 1)

    @pytest.mark.both_databases
    def test_is_won_by_one_of_two_who_read_the_same_row(self, stage: Stage) -> None:
        sent(stage)
        now = stage.move(60)
        seen_by_both = due._read(DueCheck.objects.all())
        first = due._take(seen_by_both, now, LEASE)
        assert len(first) == 1
        assert due._take(seen_by_both, now, LEASE) == []

    def test_lapses_with_its_lease(self, stage: Stage) -> None:
        lane = row_of(sent(stage)).lane
        assert len(claim_of(lane, stage.move(60))) == 1
        assert claim_of(lane, stage.move(25.999)) == []
        assert len(claim_of(lane, stage.move(0.001))) == 1

    def test_takes_the_oldest_first_and_no_more_than_the_limit(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        orders = [sent(stage, shop) for _ in range(3)]
        for order, minutes in zip(orders, (2, 3, 1), strict=True):
            DueCheck.objects.filter(order=order).update(next_at=START + timedelta(minutes=minutes))
        claims = due.claim_lane(shop.integration.pk, stage.move(600), LEASE, 2)
        assert [claim.order_id for claim in claims] == [orders[2].pk, orders[0].pk]

    def test_leaves_dispatch_rows_alone(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        assert due.due_lanes(clock.now()) == []
        assert due.claim_order(order.pk, clock.now(), LEASE, is_forced=True) == []

    @pytest.mark.postgres
    def test_of_eight_threads_shares_no_row(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        orders = [sent(stage, shop) for _ in range(12)]
        now = stage.move(60)
        claims: list[Claim] = []
        start = threading.Barrier(8)

        def claim() -> None:
            start.wait()
            try:
                for _ in range(4):
                    claims.extend(due.claim_lane(shop.integration.pk, now, LEASE, 3))
            finally:
                connection.close()

        in_threads(claim, 8)
        assert sorted(claim.order_id for claim in claims) == [order.pk for order in orders]


def in_threads(work: Any, count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


class TestTheFence:
    def test_drops_the_schedule_of_an_older_claim_but_not_its_facts(self, stage: Stage) -> None:
        order = sent(stage, final="never")
        old = news_of(order, Outcome.COMPLETED)
        claim_anew(order.pk, stage.move(5))
        outcomes.apply([old])
        assert Attempt.objects.get(order=order).state == "delivered"
        row = row_of(order)
        assert (row.kind, row.next_at, row.fence) == ("check", START + timedelta(seconds=5), old.fence + 1)

    def test_lets_the_current_claim_schedule(self, stage: Stage) -> None:
        order = sent(stage, final="never")
        stage.move(5)
        outcomes.apply([news_of(order, Outcome.COMPLETED)])
        assert due_of(order) == [("code", START + timedelta(seconds=35))]

    def test_keeps_a_stale_answer_from_undoing_a_newer_one(self, stage: Stage) -> None:
        order = sent(stage)
        stale = news_of(order, Outcome.ACCEPTED)
        ask(stage, order)
        outcomes.apply([stale])
        assert standing_of(order) == ("completed", "completed", "")
        assert due_of(order) == []
        check_invariants(stage)

    def test_of_a_late_placing_answer_does_not_matter_for_what_it_says(self, stage: Stage) -> None:
        """The resolver asked while the answer was on its way: found first, accepted second, one purchase."""
        order = stage.order(make_shop(stage.url))
        ask_before_the_answer_is_settled(stage, order)
        services.try_auto_dispatch(order.pk)
        checkpoints.set_hook(None)
        assert standing_of(order) == ("completed", "completed", "")
        assert len(stage.purchases()) == 1
        check_invariants(stage)

    @pytest.mark.parametrize(("told", "correction"), [("33.25", 1_750_000), ("29.00", 2_500_000)])
    def test_of_a_late_placing_answer_keeps_its_real_cost(self, stage: Stage, told: str, correction: int) -> None:
        """Found by asking, which tells no price; then the placing answer arrives and tells another than expected."""
        order = stage.order(make_shop(stage.url), cost=told)
        ask_before_the_answer_is_settled(stage, order)
        services.try_auto_dispatch(order.pk)
        checkpoints.set_hook(None)
        attempt = Attempt.objects.get(order=order)
        assert (attempt.state, attempt.cost_micros) == ("delivered", to_micros(told))
        assert ledger.booked_cost(attempt.pk) == to_micros(told)
        assert sums_of(order) == {"hold": PRICE, "capture": PRICE, "cost": COST, "cost_correction": correction}
        assert pins_of(order) == [stage.purchases()[0]["pin"]]
        check_invariants(stage)


def ask_before_the_answer_is_settled(stage: Stage, order: Order) -> None:
    """Hold the sender up between the panel's answer and the database until the resolver has asked."""

    def resolve() -> None:
        stage.move(33)
        monitoring.check_order(order.pk)

    at_checkpoint("dispatch.after_send", resolve)


class TestASweep:
    def test_dispatches_and_asks_until_nothing_is_due(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        orders = [stage.order(shop) for _ in range(3)]
        report = monitoring.sweep()
        assert (report.ran, report.dispatched, report.asked) == (True, 3, 0)
        stage.move(60)
        report = monitoring.sweep()
        assert (report.ran, report.dispatched, report.asked) == (True, 0, 3)
        assert {standing_of(order)[0] for order in orders} == {"completed"}
        check_invariants(stage)

    def test_goes_from_a_refusal_to_the_next_route_in_the_same_run(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
        order = stage.order(shop, place="refuse", refuse_class="product", times=1)
        assert monitoring.sweep().dispatched == 2
        assert standing_of(order) == ("processing", "sent", "")

    def test_leaves_a_second_copy_nothing_to_do(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        reports = []
        at_checkpoint("dispatch.before_first_byte", lambda: reports.append(monitoring.sweep()))
        monitoring.sweep()
        assert [(report.ran, report.asked, report.dispatched) for report in reports] == [(False, 0, 0)]
        assert len(stage.truth("asked")) == 1
        assert standing_of(order)[0] == "processing"

    def test_takes_over_from_a_copy_that_died_when_its_token_lapses(self, stage: Stage) -> None:
        stage.order(make_shop(stage.url))
        assert heartbeats.take_token(monitoring.SWEEP, clock.now(), monitoring.TOKEN_FOR)
        stage.move(monitoring.TOKEN_FOR.total_seconds() - 0.001)
        assert not monitoring.sweep().ran
        stage.move(0.001)
        assert monitoring.sweep().dispatched == 1

    def test_beats_and_gives_its_token_back(self, stage: Stage) -> None:
        monitoring.sweep()
        beat = Heartbeat.objects.get(name=monitoring.SWEEP)
        assert (beat.holder, beat.held_until, beat.beat_at) == ("", None, START)
        assert beat.detail == {"asked": 0, "dispatched": 0, "late_s": 0.0}

    def test_says_how_long_the_first_row_had_waited_for_it(self, stage: Stage) -> None:
        """Of all accounts the row that was due first counts, and not when it was asked last."""
        for waited_s in (10, 70, 10):
            shop = make_shop(stage.url)
            order = stage.order(shop, complete_after_s=3600)
            services.try_auto_dispatch(order.pk)
            DueCheck.objects.filter(order=order).update(next_at=clock.now() + timedelta(seconds=200 - waited_s))
        stage.move(200)
        assert (monitoring.sweep().late_s, monitoring.sweep().late_s) == (70.0, 0.0)

    def test_stops_when_somebody_else_has_its_token(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        first = stage.order(shop)
        at_checkpoint("dispatch.before_first_byte", lambda: Heartbeat.objects.update(holder="thief"))
        add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
        stage.simulator.set_fate(recipient=first.user_identifier, place="refuse", refuse_class="product", times=1)
        assert monitoring.sweep().dispatched == 1
        assert Heartbeat.objects.get(name=monitoring.SWEEP).holder == "thief"

    def test_ends_when_its_time_is_up(self, stage: Stage) -> None:
        stage.order(make_shop(stage.url))
        assert monitoring.sweep(run_for=timedelta(0)).dispatched == 0

    def test_asks_in_the_lane_of_each_account(self, stage: Stage) -> None:
        first, second = make_shop(stage.url), make_shop(stage.url)
        orders = [sent(stage, first), sent(stage, second)]
        lanes = due.due_lanes(stage.move(60))
        assert lanes == [first.integration.pk, second.integration.pk]
        monitoring.sweep()
        assert {standing_of(order)[0] for order in orders} == {"completed"}

    def test_asks_where_the_order_was_placed_although_the_account_is_disabled(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        order = sent(stage, shop)
        type(shop.integration).objects.update(is_enabled=False, paused_until=START + timedelta(days=1))
        stage.run_until_quiet()
        assert standing_of(order)[0] == "completed"


class TestAnAnswer:
    def test_for_another_reference_is_discarded(self, stage: Stage) -> None:
        order = sent(stage, final="never")
        attempt = Attempt.objects.select_related("integration").get()
        claim = Claim(row_of(order).pk, order.pk, attempt.pk, row_of(order).fence, None)
        question = Question(claim, attempt, "status", None, 1)
        foreign = Result(Outcome.COMPLETED, "999999999999999999", codes=(Code("FOREIGN"),))
        [news] = Answered(Batch((question,)), Told({attempt.reference: foreign}), None).news(clock.now())
        assert news.result == Result(Outcome.UNKNOWN, attempt.reference, reason_code="no_answer_for_this_reference")
        outcomes.apply([news])
        assert pins_of(order) == []
        assert standing_of(order) == ("processing", "sent", "")

    def test_with_the_id_of_another_order_is_not_believed(self, stage: Stage) -> None:
        """P12: the provider mixed two orders of one product up; the PIN of the other one is not taken."""
        shop = make_shop(stage.url)
        first, second = sent(stage, shop, final="never"), sent(stage, shop, final="never")
        theirs, ours = Attempt.objects.get(order=first), Attempt.objects.get(order=second)
        Attempt.objects.filter(pk=theirs.pk).update(provider_order_id="P-1")
        mixed = Result(Outcome.COMPLETED, ours.reference, provider_id="P-1", codes=(Code("FOREIGN"),))
        outcomes.apply([News(ours.pk, second.pk, "status", mixed, None, clock.now(), row_of(second).fence, 1)])
        assert pins_of(second) == []
        assert standing_of(second)[:2] == ("processing", "sent")
        assert Attempt.objects.get(pk=ours.pk).provider_order_id == ""

    def test_with_a_missing_row_is_no_information(self, stage: Stage) -> None:
        order = sent(stage, final="never")
        attempt = Attempt.objects.select_related("integration").get()
        question = Question(Claim(row_of(order).pk, order.pk, attempt.pk, 0, None), attempt, "status", None, 1)
        [news] = Answered(Batch((question,)), Told({}), None).news(clock.now())
        assert news.result.outcome is Outcome.UNKNOWN

    @pytest.mark.parametrize("fault", ["500", "html", "empty", "hang", "reset", "cut", "flood", "auth_empty"])
    def test_that_is_none_changes_no_state(self, stage: Stage, fault: str) -> None:
        order = sent(stage, make_impatient_shop(stage.url), status_faults=[fault])
        ask(stage, order)
        assert Attempt.objects.get().state == "accepted"
        assert standing_of(order) == ("processing", "sent", "")
        assert sums_of(order) == {"hold": PRICE}
        stage.run_until_quiet()
        assert standing_of(order)[0] == "completed"
        check_invariants(stage)

    def test_that_is_not_found_after_acceptance_changes_no_state(self, stage: Stage) -> None:
        order = sent(stage, status_faults=["not_found"] * 3)
        for _ in range(3):
            ask(stage, order)
        assert Attempt.objects.get().state == "accepted"
        stage.run_until_quiet()
        assert standing_of(order)[0] == "completed"
        check_invariants(stage)

    def test_with_an_unknown_word_is_flagged_and_asked_again(self, stage: Stage) -> None:
        order = sent(stage, status_faults=["unknown_word"] * 2)
        ask(stage, order)
        assert (Attempt.objects.get().state, row_of(order).errors) == ("accepted", 1)
        told = OrderEvent.objects.filter(order=order).order_by("id").last()
        assert told is not None
        assert (told.kind, told.data["outcome"], told.data["provider_words"]) == (
            "no_information",
            "unknown",
            "Sorgulanıyor",
        )
        stage.run_until_quiet()
        assert standing_of(order) == ("completed", "completed", "")

    def test_that_falls_behind_is_absorbed(self, stage: Stage) -> None:
        """Delivered, then the panel says waiting and cancelled: nothing is taken back."""
        order = sent(stage)
        ask(stage, order)
        for outcome in (Outcome.ACCEPTED, Outcome.REJECTED, Outcome.NOT_FOUND):
            outcomes.apply([news_of(order, outcome)])
        assert standing_of(order) == ("completed", "completed", "")
        assert sums_of(order) == {"hold": PRICE, "capture": PRICE, "cost": COST}
        check_invariants(stage)

    def test_that_only_part_came_is_a_persons_question_with_the_money_held(self, stage: Stage) -> None:
        order = sent(stage, final="never")
        stage.move(60)
        outcomes.apply([news_of(order, Outcome.PARTIAL)])
        assert standing_of(order)[::2] == ("review", "conflict:partial")
        outcomes.apply([news_of(order, Outcome.COMPLETED, codes=(Code("A"),))])
        assert standing_of(order)[::2] == ("review", "conflict:partial")
        assert sums_of(order)["hold"] == PRICE
        assert "capture" not in sums_of(order)

    def test_that_reverses_a_delivery_opens_a_case(self, stage: Stage) -> None:
        order = sent(stage)
        ask(stage, order)
        outcomes.apply([news_of(order, Outcome.REVERSED)])
        assert Attempt.objects.get().state == "reversed"
        assert standing_of(order) == ("completed", "reversed", "")
        case = Case.objects.get(order=order)
        assert (case.reason, case.risk_micros, case.currency) == ("reversal", PRICE, "TRY")

    def test_that_reverses_a_delivery_books_our_side_at_once_and_leaves_the_customers(self, stage: Stage) -> None:
        order = sent(stage)
        ask(stage, order)
        for _ in range(2):
            outcomes.apply([news_of(order, Outcome.REVERSED)])
        assert sums_of(order) == {"hold": PRICE, "capture": PRICE, "cost": COST, "cost_reversal": COST}
        assert ledger.cost_of_order(order.pk) == 0
        assert ledger.float_of(order.tenant_id) == {
            (Attempt.objects.get().integration_id, "TRY"): Money(0, "TRY"),
        }
        check_invariants()

    def test_that_tells_the_real_cost_after_the_delivery_corrects_what_is_booked(self, stage: Stage) -> None:
        order = sent(stage)
        ask(stage, order)
        Attempt.objects.update(cost_micros=None)
        outcomes.apply([news_of(order, Outcome.COMPLETED, cost=Decimal("33.25"))])
        outcomes.apply([news_of(order, Outcome.COMPLETED, cost=Decimal("33.25"))])
        assert sums_of(order)["cost_correction"] == 1_750_000
        assert ledger.booked_cost(Attempt.objects.get().pk) == 33_250_000


class TestAPoisonousAnswer:
    def test_is_cut_out_and_backs_off_alone(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        shop = make_shop(stage.url)
        orders = [sent(stage, shop) for _ in range(5)]
        bad = orders[2]
        poison(monkeypatch, bad)
        stage.move(60)
        assert monitoring.sweep().asked == 5
        assert [standing_of(order)[0] for order in orders] == [
            "completed",
            "completed",
            "processing",
            "completed",
            "completed",
        ]
        row = row_of(bad)
        assert (row.errors, row.tries, row.next_at) == (1, 0, clock.now() + timedelta(seconds=3.75))
        assert Evidence.objects.filter(order=bad).count() == 2
        assert "in_progress" not in story_of(bad)

    def test_is_applied_when_the_trouble_is_over(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        bad = sent(stage)
        with monkeypatch.context() as poisoned:
            poison(poisoned, bad)
            stage.move(60)
            monitoring.sweep()
        stage.run_until_quiet()
        assert standing_of(bad) == ("completed", "completed", "")
        check_invariants(stage)

    def test_moves_nothing_half(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        """The error comes after codes and money were written: all of it is undone."""
        order = sent(stage)
        monkeypatch.setattr(outcomes, "tell", lambda change: 1 / 0)
        stage.move(60)
        monitoring.sweep()
        assert OrderCode.objects.count() == 0
        assert sums_of(order) == {"hold": PRICE}
        assert Attempt.objects.get().state == "accepted"


def poison(monkeypatch: pytest.MonkeyPatch, bad: Order) -> None:
    real = store_codes

    def store(attempt: Attempt, *args: Any, **kwargs: Any) -> list[OrderCode]:
        if attempt.order_id == bad.pk:
            raise RuntimeError("poison")
        return real(attempt, *args, **kwargs)

    monkeypatch.setattr(outcomes, "store_codes", store)


class TestAPin:
    def test_that_comes_late_is_waited_for_with_the_money_held(self, stage: Stage) -> None:
        order = sent(stage, pin_late_s=200)
        ask(stage, order)
        assert standing_of(order) == ("processing", "completed", "waiting:pin")
        assert due_of(order) == [("code", clock.now() + timedelta(seconds=30))]
        assert sums_of(order) == {"hold": PRICE, "cost": COST}
        stage.run_until_quiet()
        assert standing_of(order) == ("completed", "completed", "")
        assert pins_of(order) == stage.purchases()[0]["pins"]
        assert sums_of(order) == {"hold": PRICE, "capture": PRICE, "cost": COST}
        check_invariants(stage)

    @pytest.mark.parametrize("blank", ["space", "dash", "spaced_dash", "empty"])
    def test_that_is_blank_is_none(self, stage: Stage, blank: str) -> None:
        order = sent(stage, pin_blank_form=blank)
        for _ in range(3):
            ask(stage, order)
        assert standing_of(order) == ("processing", "completed", "waiting:pin")
        assert OrderCode.objects.count() == 0
        check_invariants(stage)

    def test_that_is_missing_for_a_quarter_of_an_hour_is_told_once(self, stage: Stage) -> None:
        order = sent(stage, pin_blank_form="space")
        while clock.now() < START + timedelta(seconds=60 + 900):
            assert "pin_overdue" not in story_of(order)
            ask(stage, order)
        ask(stage, order)
        ask(stage, order)
        assert story_of(order).count("pin_overdue") == 1
        check_invariants(stage)

    def test_that_never_comes_is_a_persons_question_at_the_deadline(self, stage: Stage) -> None:
        order = sent(stage, pin_blank_form="space")
        ask(stage, order)
        stage.move(DAY_S)
        monitoring.sweep()
        assert standing_of(order) == ("review", "completed", "waiting:pin")
        assert sums_of(order) == {"hold": PRICE, "cost": COST}
        assert due_of(order) == [("code", clock.now() + timedelta(seconds=60))]
        check_invariants(stage)

    def test_that_comes_after_the_deadline_ends_the_review(self, stage: Stage) -> None:
        order = sent(stage, pin_late_s=DAY_S + 3600)
        ask(stage, order)
        stage.move(DAY_S)
        monitoring.sweep()
        assert standing_of(order)[0] == "review"
        stage.run_until_quiet(for_s=2 * 3600)
        assert standing_of(order) == ("completed", "completed", "")
        check_invariants(stage)

    @pytest.mark.parametrize(
        "pin",
        ["X" * 400, "0001-0002", "şifre-ğüİ", "رمز-١٢٣", "a+b%20c&d=e", "<b>PIN</b>", "'; DROP TABLE x; --", "🎁-42"],
    )
    def test_is_stored_byte_for_byte(self, stage: Stage, pin: str) -> None:
        order = sent(stage, pin=pin)
        stage.run_until_quiet()
        assert pins_of(order) == [pin]
        code = OrderCode.objects.get(order=order)
        assert pin not in code.sealed
        assert standing_of(order) == ("completed", "completed", "")
        check_invariants(stage)

    def test_that_is_another_is_appended_with_a_case(self, stage: Stage) -> None:
        order = sent(stage, pin="FIRST")
        ask(stage, order)
        outcomes.apply([news_of(order, Outcome.COMPLETED, codes=(Code("SECOND"),))])
        assert pins_of(order) == ["FIRST", "SECOND"]
        assert [case.reason for case in Case.objects.all()] == ["second_code"]
        assert standing_of(order) == ("completed", "completed", "")
        assert sums_of(order) == {"hold": PRICE, "capture": PRICE, "cost": COST}

    def test_that_is_told_again_is_stored_once(self, stage: Stage) -> None:
        order = sent(stage, pin="FIRST")
        ask(stage, order)
        for _ in range(3):
            changes = outcomes.apply([news_of(order, Outcome.COMPLETED, codes=(Code("FIRST"),))])
            assert [change.verdict.said for change in changes] == ["code_arrived"]
        assert pins_of(order) == ["FIRST"]
        assert Case.objects.count() == 0
        check_invariants(stage)

    def test_that_was_sold_before_opens_a_case(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        orders = [sent(stage, shop, pin="SAME-PIN") for _ in range(2)]
        stage.run_until_quiet()
        assert [case.order_id for case in Case.objects.filter(reason="code_sold_twice")] == [orders[1].pk]

    def test_in_a_waiting_answer_is_not_given_out_before_the_delivery(self, stage: Stage) -> None:
        order = sent(stage, pin_while_waiting=True, pin="EARLY", complete_after_s=100)
        ask(stage, order)
        assert standing_of(order) == ("processing", "processing", "")
        assert "capture" not in sums_of(order)
        stage.run_until_quiet()
        assert pins_of(order) == ["EARLY"]
        assert standing_of(order)[0] == "completed"
        check_invariants(stage)


class TestAFailureAfterAcceptance:
    def test_read_once_releases_nothing(self, stage: Stage) -> None:
        order = sent(stage, final="cancelled")
        ask(stage, order)
        assert standing_of(order) == ("processing", "processing", "")
        assert sums_of(order) == {"hold": PRICE}
        assert due_of(order) == [("check", clock.now() + timedelta(seconds=60))]

    def test_read_twice_releases_once(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        order = sent(stage, shop, final="cancelled")
        ask(stage, order)
        ask(stage, order)
        assert standing_of(order) == ("rejected", "failed", "")
        assert sums_of(order) == {"hold": PRICE, "release": PRICE}
        assert ledger.balance_of(shop.customer.pk, "TRY") == Money(1000_000_000, "TRY")
        for _ in range(3):
            ask(stage, order)
        assert sums_of(order) == {"hold": PRICE, "release": PRICE}
        assert pins_of(order) == []
        check_invariants(stage)

    def test_that_was_a_slip_of_the_panel_releases_nothing(self, stage: Stage) -> None:
        order = sent(stage, status_flip=["3"], complete_after_s=1)
        ask(stage, order)
        assert Attempt.objects.get().failed_seen_at == clock.now()
        stage.run_until_quiet()
        assert standing_of(order) == ("completed", "completed", "")
        check_invariants(stage)

    def test_goes_to_the_next_route(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
        order = sent(stage, shop, final="cancelled", times=1)
        stage.run_until_quiet()
        assert standing_of(order) == ("completed", "completed", "")
        assert [row["state"] for row in stage.purchases()] == ["cancelled", "delivered"]
        check_invariants(stage)

    def test_is_watched_for_twelve_hours_and_then_forgotten(self, stage: Stage) -> None:
        order = sent(stage, final="cancelled")
        ask(stage, order)
        ask(stage, order)
        closed_at = clock.now()
        assert due_of(order) == [("watch", closed_at + timedelta(seconds=600))]
        stage.move(12 * 3600 - 600)
        monitoring.sweep()
        assert due_of(order) == [("watch", closed_at + timedelta(hours=12))]
        stage.move(600)
        monitoring.sweep()
        assert due_of(order) == []


class TestALateDelivery:
    def failed(self, stage: Stage, **fate: Any) -> tuple[Shop, Order]:
        shop = make_shop(stage.url)
        order = sent(stage, shop, final="cancelled", flip_to_delivered_after_s=1000, **fate)
        ask(stage, order)
        ask(stage, order)
        assert standing_of(order)[0] == "rejected"
        return shop, order

    def test_is_quarantined_booked_to_loss_and_a_case(self, stage: Stage) -> None:
        shop, order = self.failed(stage, pin="TOO-LATE")
        for _ in range(2):
            ask(stage, order)
        attempt = Attempt.objects.get(order=order)
        assert (attempt.state, attempt.is_surplus) == ("delivered", True)
        code = OrderCode.objects.get(order=order)
        assert (code.reveal()["value"], code.is_quarantined) == ("TOO-LATE", True)
        assert pins_of(order) == []
        case = Case.objects.get(order=order)
        assert (case.reason, case.risk_micros, case.currency) == ("late_delivery", PRICE, "TRY")
        assert sums_of(order) == {"hold": PRICE, "release": PRICE, "late_cost": COST}
        assert standing_of(order) == ("rejected", "failed", "")
        assert ledger.balance_of(shop.customer.pk, "TRY") == Money(1000_000_000, "TRY")
        assert due_of(order) == []
        check_invariants(stage)

    def test_told_twice_is_booked_once(self, stage: Stage) -> None:
        _, order = self.failed(stage)
        late = news_of(order, Outcome.COMPLETED, codes=(Code("TOO-LATE"),))
        outcomes.apply([late])
        outcomes.apply([late])
        assert sums_of(order)["late_cost"] == COST
        assert Case.objects.count() == 1

    def test_whose_real_cost_is_told_afterwards_is_a_loss_of_that_cost(self, stage: Stage) -> None:
        _, order = self.failed(stage)
        Attempt.objects.update(cost_micros=None)
        outcomes.apply([news_of(order, Outcome.COMPLETED, codes=(Code("TOO-LATE"),))])
        for _ in range(2):
            outcomes.apply([news_of(order, Outcome.COMPLETED, codes=(Code("TOO-LATE"),), cost=Decimal("33.25"))])
        sums = sums_of(order)
        assert (sums["late_cost"], sums["cost_correction"]) == (COST, 1_750_000)
        assert ledger.booked_for(order.pk, Attempt.objects.get().pk) == {("loss", "TRY"): 33_250_000}
        assert check_money().problems == []

    def test_keeps_every_further_code_in_quarantine(self, stage: Stage) -> None:
        """The customer has the money back: no code of this attempt is ever shown."""
        _, order = self.failed(stage)
        outcomes.apply([news_of(order, Outcome.COMPLETED, codes=(Code("TOO-LATE"),))])
        outcomes.apply([news_of(order, Outcome.COMPLETED, codes=(Code("EVEN-LATER"),))])
        assert pins_of(order) == []
        assert OrderCode.objects.filter(is_quarantined=True).count() == 2

    def test_beside_a_second_route_costs_us_and_not_the_customer(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
        order = sent(stage, shop, final="cancelled", flip_to_delivered_after_s=1000, times=1)
        stage.run_until_quiet()
        stage.move(1200)
        monitoring.sweep()
        assert [row["state"] for row in stage.purchases()] == ["delivered", "delivered"]
        assert sums_of(order) == {"hold": PRICE, "capture": PRICE, "cost": COST, "late_cost": COST}
        assert len(pins_of(order)) == 1
        assert standing_of(order) == ("completed", "completed", "")
        check_invariants(stage)


class TestTheDeadline:
    def test_makes_an_open_order_a_persons_question_with_the_money_held(self, stage: Stage) -> None:
        order = sent(stage, final="never")
        stage.move(DAY_S)
        monitoring.sweep()
        assert standing_of(order) == ("review", "processing", "waiting:deadline")
        assert sums_of(order) == {"hold": PRICE}
        check_invariants(stage)

    def test_goes_on_asking_every_ten_minutes(self, stage: Stage) -> None:
        order = sent(stage, final="never")
        stage.move(DAY_S)
        monitoring.sweep()
        ask(stage, order)
        assert due_of(order) == [("check", clock.now() + timedelta(seconds=600))]

    def test_is_lifted_by_the_panels_word(self, stage: Stage) -> None:
        order = sent(stage, complete_after_s=DAY_S + 300)
        stage.move(DAY_S)
        monitoring.sweep()
        assert standing_of(order)[0] == "review"
        stage.run_until_quiet()
        assert standing_of(order) == ("completed", "completed", "")
        check_invariants(stage)

    def test_announces_the_review_once(self, stage: Stage) -> None:
        order = sent(stage, final="never")
        stage.move(DAY_S)
        for _ in range(3):
            monitoring.sweep()
            stage.move(700)
        kinds = list(OutboxEvent.objects.filter(subject_id=order.pk).order_by("id").values_list("kind", flat=True))
        assert kinds == ["order.pending", "order.processing", "order.held"]


class TestTheQueueOfRecord:
    def test_is_enough_when_every_message_is_lost(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        stage.messages.clear()
        stage.run_until_quiet()
        assert standing_of(order) == ("completed", "completed", "")

    def test_makes_a_message_that_comes_twice_or_late_harmless(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        for _ in range(2):
            services.try_auto_dispatch(order.pk)
            monitoring.check_order(order.pk)
        stage.move(60)
        for _ in range(3):
            monitoring.check_order(order.pk)
            services.try_auto_dispatch(order.pk)
        assert stage.questions() == 1
        assert len(stage.truth("asked")) == 1
        assert standing_of(order) == ("completed", "completed", "")
        check_invariants(stage)

    def test_lets_nobody_ask_inside_a_transaction(self, stage: Stage) -> None:
        order = sent(stage)
        with transaction.atomic(), pytest.raises(OpenTransaction):
            monitoring.check_order(order.pk, is_forced=True)
