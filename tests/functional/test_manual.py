"""Orders that a person fulfils: they wait, nobody else buys them, and each is answered once, by name."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection

from apps.common import checkpoints, clock
from apps.orders import manual, monitoring
from apps.orders.manual import BadEntry, Delivery, HeldByAnother, NotWaiting
from apps.orders.models import Attempt, AttemptUnit, Order, OrderCode, OrderEvent
from apps.orders.services import try_auto_dispatch
from apps.providers.contract import Code
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
    make_manual_shop,
    order_from,
    pins_of,
    put_codes,
    standing_of,
    story_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage

__all__ = ["committed", "simulator", "stage"]

both_databases = pytest.mark.both_databases
PRICE = 35_000_000
GIVEN = Delivery((Code("HAND-1", serial="S1"),), "receipt 17", 29_500_000)


def waiting_order(shop: Shop, *, quantity: int = 1) -> Order:
    order = order_from(shop, quantity=quantity)
    assert try_auto_dispatch(order.pk).said == "accepted"
    return order


def attempt_of(order: Order) -> int:
    return Attempt.objects.get(order=order).pk


def claimed_by(order: Order, actor: str = "omar") -> int:
    attempt_id = attempt_of(order)
    manual.claim(attempt_id, actor, "", clock.now())
    return attempt_id


def with_codes(*codes: Code, proof: str = "") -> Delivery:
    return Delivery(codes, proof, 29_500_000)


@both_databases
class TestAnOrder:
    def test_waits_until_its_person_has_answered(self, stage: Stage) -> None:
        order = waiting_order(make_manual_shop())
        assert standing_of(order) == ("processing", "sent", "")
        for _ in range(5):
            stage.move_to(due_of(order)[0][1])
            monitoring.sweep()
        assert Attempt.objects.get(order=order).state == "accepted"
        assert sums_of(order) == {"hold": PRICE}
        assert story_of(order) == ["created", "accepted", "in_progress"]
        check_invariants()

    def test_is_completed_by_the_entry(self, stage: Stage) -> None:
        order = waiting_order(make_manual_shop())
        manual.deliver(claimed_by(order), "omar", GIVEN, clock.now())
        assert standing_of(order) == ("completed", "completed", "")
        assert OrderCode.objects.get(order=order).reveal() == {
            "value": "HAND-1",
            "serial": "S1",
            "pin": "",
            "url": "",
            "expires": "",
        }
        assert sums_of(order) == {"hold": PRICE, "capture": PRICE, "cost": 29_500_000}
        assert due_of(order) == []
        check_invariants()

    def test_names_who_took_it_and_who_entered_it(self, stage: Stage) -> None:
        order = waiting_order(make_manual_shop())
        manual.deliver(claimed_by(order), "omar", GIVEN, clock.now())
        told = OrderEvent.objects.filter(order=order, cause="person").order_by("id")
        assert list(told.values_list("kind", "actor")) == [("task_claimed", "omar"), ("delivered", "omar")]
        assert told[1].data["provider_words"] == "receipt 17"
        assert "HAND-1" not in str(list(OrderEvent.objects.values_list("data", flat=True)))

    def test_books_the_cost_that_was_typed_even_when_it_is_nothing(self, stage: Stage) -> None:
        shop = make_manual_shop()
        shop.package.mappings.update(cost_micros=31_500_000)
        order = waiting_order(shop)
        manual.deliver(claimed_by(order), "omar", Delivery(GIVEN.codes, "", 0), clock.now())
        assert sums_of(order) == {"hold": PRICE, "capture": PRICE}
        assert Attempt.objects.get(order=order).cost_micros == 0

    def test_is_rejected_at_once_by_a_refusal(self, stage: Stage) -> None:
        order = waiting_order(make_manual_shop())
        manual.refuse(claimed_by(order), "omar", "sold out everywhere", clock.now())
        assert standing_of(order) == ("rejected", "failed", "")
        assert sums_of(order) == {"hold": PRICE, "release": PRICE}
        last = OrderEvent.objects.filter(order=order).latest("id")
        assert (last.kind, last.actor, last.data["provider_words"]) == ("failed", "omar", "sold out everywhere")
        check_invariants()

    def test_goes_to_the_next_route_after_a_refusal(self, stage: Stage) -> None:
        shop = make_manual_shop()
        add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
        order = waiting_order(shop)
        manual.refuse(claimed_by(order), "omar", "sold out", clock.now())
        stage.run_until_quiet()
        assert pins_of(order) == stage.purchases(order)[0]["pins"]
        check_invariants()

    def test_blocks_every_other_route_while_it_waits(self, stage: Stage) -> None:
        """M9: what a person has in hand is held, and no automatic route may buy it as well."""
        shop = make_manual_shop()
        add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
        order = waiting_order(shop)
        assert AttemptUnit.objects.get(unit__order=order).holds
        assert try_auto_dispatch(order.pk).said == "dispatched_already"
        stage.run_until_quiet(for_s=6 * 3600)
        assert stage.truth("asked") == []
        assert Attempt.objects.filter(order=order).count() == 1

    def test_is_in_review_after_its_deadline_and_can_still_be_delivered(self, stage: Stage) -> None:
        order = waiting_order(make_manual_shop())
        stage.move(timedelta(hours=24).total_seconds())
        monitoring.sweep()
        assert standing_of(order) == ("review", "processing", "waiting:deadline")
        assert [task.order.pk for task in manual.load_tasks([order.tenant_id])] == [order.pk]
        manual.deliver(claimed_by(order), "omar", GIVEN, clock.now())
        assert standing_of(order) == ("completed", "completed", "")
        check_invariants()

    def test_is_asked_of_its_person_again_after_a_crash_before_the_queue(self, stage: Stage) -> None:
        order = order_from(make_manual_shop())

        def die() -> None:
            checkpoints.set_hook(None)
            raise SystemExit

        at_checkpoint("settle.before_commit", die)
        with pytest.raises(SystemExit):
            try_auto_dispatch(order.pk)
        assert manual.load_tasks([order.tenant_id]) == []
        stage.run_until_quiet(for_s=300)
        (task,) = manual.load_tasks([order.tenant_id])
        assert (task.attempt.send_no, Attempt.objects.filter(order=order).count()) == (2, 1)


@both_databases
class TestTheQueue:
    def test_shows_what_waits_in_these_shops_oldest_first(self, stage: Stage) -> None:
        shop, other = make_manual_shop(), make_manual_shop()
        first = waiting_order(shop)
        stage.move(60)
        second, foreign = waiting_order(shop, quantity=3), waiting_order(other)
        claimed_by(second)
        tasks = manual.load_tasks([shop.tenant.pk])
        assert [(task.order.pk, task.units, task.holder) for task in tasks] == [
            (first.pk, 1, ""),
            (second.pk, 3, "omar"),
        ]
        assert manual.get_task(attempt_of(foreign), [shop.tenant.pk]) is None

    def test_lets_one_claim_it_and_tells_the_other(self, stage: Stage) -> None:
        order = waiting_order(make_manual_shop())
        attempt_id = claimed_by(order)
        with pytest.raises(HeldByAnother) as told:
            manual.claim(attempt_id, "olga", "", clock.now())
        assert told.value.holder == "omar"
        manual.claim(attempt_id, "omar", "", clock.now())
        assert story_of(order).count("task_claimed") == 1

    def test_lets_a_colleague_take_over_whom_she_saw(self, stage: Stage) -> None:
        order = waiting_order(make_manual_shop())
        attempt_id = claimed_by(order)
        manual.claim(attempt_id, "olga", "omar", clock.now())
        with pytest.raises(HeldByAnother, match="olga"):
            manual.deliver(attempt_id, "omar", GIVEN, clock.now())
        manual.deliver(attempt_id, "olga", GIVEN, clock.now())
        assert standing_of(order)[0] == "completed"


@both_databases
class TestAnEntry:
    def test_counts_once(self, stage: Stage) -> None:
        order = waiting_order(make_manual_shop())
        attempt_id = claimed_by(order)
        manual.deliver(attempt_id, "omar", GIVEN, clock.now())
        second = with_codes(Code("HAND-2"))
        with pytest.raises(NotWaiting):
            manual.deliver(attempt_id, "omar", second, clock.now())
        with pytest.raises(NotWaiting):
            manual.refuse(attempt_id, "omar", "no", clock.now())
        with pytest.raises(NotWaiting):
            manual.claim(attempt_id, "olga", "omar", clock.now())
        assert pins_of(order) == ["HAND-1"]
        check_invariants()

    def test_needs_the_order_in_hand(self, stage: Stage) -> None:
        order = waiting_order(make_manual_shop())
        with pytest.raises(HeldByAnother):
            manual.deliver(attempt_of(order), "omar", GIVEN, clock.now())
        with pytest.raises(HeldByAnother):
            manual.refuse(attempt_of(order), "omar", "no", clock.now())
        assert standing_of(order)[0] == "processing"

    def test_is_only_about_orders_of_people(self, stage: Stage) -> None:
        with pytest.raises(NotWaiting):
            manual.claim(987654, "omar", "", clock.now())

    @pytest.mark.parametrize(
        ("delivery", "reason", "unit"),
        [
            (with_codes(Code("A")), "codes_missing", 0),
            (with_codes(Code("A"), Code("B"), Code("C")), "codes_missing", 0),
            (with_codes(Code("A"), Code("")), "codes_missing", 2),
            (with_codes(Code("A"), Code("A")), "code_twice", 2),
            (with_codes(Code("A"), Code("KNOWN")), "code_known", 2),
            (with_codes(Code("STOCKED"), Code("A")), "code_known", 1),
            (with_codes(Code("ABCD"), Code("B"), proof="gave ABCD"), "code_in_proof", 1),
            (with_codes(Code("A"), Code("B"), proof="x" * 301), "text_too_long", 0),
            (Delivery((Code("A"), Code("B")), "", -1), "cost_negative", 0),
        ],
    )
    def test_that_cannot_be_right_changes_nothing(
        self, stage: Stage, delivery: Delivery, reason: str, unit: int
    ) -> None:
        shop = make_manual_shop()
        earlier = waiting_order(shop)
        manual.deliver(claimed_by(earlier), "omar", with_codes(Code("KNOWN")), clock.now())
        put_codes(make_account(shop.tenant, "stock"), "STOCKED")
        order = waiting_order(shop, quantity=2)
        attempt_id = claimed_by(order)
        with pytest.raises(BadEntry) as told:
            manual.deliver(attempt_id, "omar", delivery, clock.now())
        assert (told.value.reason, told.value.unit) == (reason, unit)
        assert "STOCKED" not in str(told.value)
        assert (standing_of(order)[0], pins_of(order)) == ("processing", [])
        assert StockCode.objects.get().taken_at is None

    def test_of_a_product_without_code_needs_a_proof(self, stage: Stage) -> None:
        order = waiting_order(make_manual_shop(needs_code=False))
        attempt_id = claimed_by(order)
        with pytest.raises(BadEntry, match="proof_missing"):
            manual.deliver(attempt_id, "omar", Delivery((), "", 1), clock.now())
        manual.deliver(attempt_id, "omar", Delivery((), "screenshot 5", 1), clock.now())
        assert standing_of(order)[0] == "completed"

    @pytest.mark.parametrize(("text", "reason"), [("  ", "reason_missing"), ("x" * 301, "text_too_long")])
    def test_that_refuses_says_why(self, stage: Stage, text: str, reason: str) -> None:
        order = waiting_order(make_manual_shop())
        attempt_id = claimed_by(order)
        with pytest.raises(BadEntry, match=reason):
            manual.refuse(attempt_id, "omar", text, clock.now())
        assert standing_of(order)[0] == "processing"

    def test_whose_storing_fails_can_be_made_again(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        order = waiting_order(make_manual_shop())
        attempt_id = claimed_by(order)
        with monkeypatch.context() as patch:
            patch.setattr("apps.orders.outcomes.store_codes", lambda *args, **kwargs: 1 / 0)
            with pytest.raises(manual.NotTaken):
                manual.deliver(attempt_id, "omar", GIVEN, clock.now())
        manual.deliver(attempt_id, "omar", GIVEN, clock.now())
        assert (standing_of(order)[0], pins_of(order)) == ("completed", ["HAND-1"])


@pytest.mark.postgres
def test_two_operators_at_once_one_wins_and_the_other_is_told(stage: Stage) -> None:
    order = waiting_order(make_manual_shop())
    attempt_id = attempt_of(order)
    start = threading.Barrier(2)

    def work(actor: str) -> str:
        start.wait(30)
        try:
            manual.claim(attempt_id, actor, "", START)
            return "won"
        except HeldByAnother as told:
            return told.holder
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        said = dict(zip(("omar", "olga"), pool.map(work, ("omar", "olga")), strict=True))
    (winner,) = [name for name, word in said.items() if word == "won"]
    assert set(said.values()) == {"won", winner}


@pytest.mark.postgres
def test_two_entries_of_one_operator_at_once_are_one(stage: Stage) -> None:
    order = waiting_order(make_manual_shop())
    attempt_id = claimed_by(order)
    start = threading.Barrier(2)

    def work(code: str) -> bool:
        start.wait(30)
        try:
            manual.deliver(attempt_id, "omar", with_codes(Code(code)), START)
            return True
        except NotWaiting:
            return False
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        won = list(pool.map(work, ("TWIN-1", "TWIN-2")))
    assert sorted(won) == [False, True]
    assert len(pins_of(order)) == 1
    check_invariants()
