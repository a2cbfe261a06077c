"""`check_invariants.sql`: silent over an honest database, and each of its queries finds what was planted for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from apps.common import clock
from apps.ops.invariants import BadFile, load_invariants, read_invariants, violations
from apps.orders import manual, services
from apps.orders.models import Attempt, Order, OrderUnit
from apps.orders.states import ATTEMPT_EDGES, ORDER_EDGES, AttemptState, OrderStatus
from tests.factories import make_manual_shop, make_shop, make_stock_shop, order_from, standing_of
from tests.functional.core_fixtures import committed
from tests.functional.ops_fixtures import run
from tests.functional.past_the_guards import past_the_guards, sql

__all__ = ["committed"]

pytestmark = pytest.mark.both_databases


@dataclass(frozen=True, slots=True)
class World:
    """Orders in different places: two sold from stock, one refused by a person, one with a person, one new."""

    sold: Order
    other: Order
    refused: Order
    asked: Order
    waiting: Order

    def attempt(self, order: Order) -> int:
        return Attempt.objects.get(order=order).pk

    def unit(self, order: Order) -> int:
        return OrderUnit.objects.get(order=order).pk

    def set_attempt(self, order: Order, change: str) -> None:
        sql(f"UPDATE orders_attempt SET {change} WHERE order_id = %s", order.pk)  # noqa: S608 - a test's own words

    def set_order(self, order: Order, change: str) -> None:
        sql(f"UPDATE product_orders SET {change} WHERE id = %s", order.pk)  # noqa: S608 - a test's own words

    def set_unit(self, order: Order, change: str) -> None:
        sql(f"UPDATE orders_unit SET {change} WHERE order_id = %s", order.pk)  # noqa: S608 - a test's own words

    def hold(self, attempt: int, unit: int) -> None:
        """A second attempt takes a unit."""
        sql("INSERT INTO orders_attempt_unit (attempt_id, unit_id, holds) VALUES (%s, %s, true)", attempt, unit)

    def tell(self, order: Order, status: str) -> None:
        """A line of the story as no code of ours writes it."""
        sql(
            "INSERT INTO orders_event (order_id, kind, cause, actor, status, external_status, reason, data, at) "
            "VALUES (%s, 'planted', 'test', '', %s, 'completed', '', '{}', %s)",
            order.pk,
            status,
            clock.now(),
        )


@pytest.fixture
def world(committed: None) -> World:
    """Built by the real services; nothing of it is under way."""
    stock, people, panel = make_stock_shop("AAAA-1111", "BBBB-2222"), make_manual_shop(), make_shop()
    orders = [order_from(shop) for shop in (stock, stock, people, people)]
    for order in orders:
        services.try_auto_dispatch(order.pk)
    sold, other, refused, asked = orders
    built = World(sold, other, refused, asked, order_from(panel))
    task = built.attempt(built.refused)
    manual.claim(task, "olga", "", clock.now())
    manual.refuse(task, "olga", "none left", clock.now())
    stand = [standing_of(order)[0] for order in (*orders, built.waiting)]
    assert stand == ["completed", "completed", "rejected", "processing", "pending"]
    return built


Plant = Callable[[World], object]


def shadow(table: str) -> None:
    """On SQLite, whose unique rules are part of the table: a copy without them, which is read in its stead."""
    if connection.vendor == "sqlite":
        sql(f"CREATE TEMP TABLE {table} AS SELECT * FROM main.{table}")  # noqa: S608 - our own names


def one_key_twice(world: World) -> None:
    shadow("product_orders")
    sql("UPDATE product_orders SET idempotency_key = 'k' WHERE customer_id = %s", world.sold.customer_id)


def one_reference_twice(world: World) -> None:
    shadow("orders_attempt")
    sql("UPDATE orders_attempt SET reference = 'R'")


def a_second_purchase(world: World) -> None:
    """An attempt that delivered one order has delivered another one's unit, too."""
    sql(
        "UPDATE orders_attempt_unit SET unit_id = %s WHERE attempt_id = %s",
        world.unit(world.sold),
        world.attempt(world.other),
    )


def an_entry_changed(world: World) -> None:
    sql("UPDATE wallet_entry SET amount_micros = 1 WHERE id = (SELECT MAX(id) FROM wallet_entry)")


def a_late_delivery(world: World) -> None:
    """What a person refused is there after all, and nobody is told."""
    world.set_attempt(world.refused, "state = 'delivered', is_surplus = true")


def a_shown_code(world: World) -> None:
    """A sold code is given to somebody who got the money back."""
    sql(
        "UPDATE orders_code SET order_id = %s, attempt_id = %s WHERE order_id = %s",
        world.refused.pk,
        world.attempt(world.refused),
        world.sold.pk,
    )


def a_forgotten_code(world: World) -> None:
    """A delivery without its code, and nobody asks for it."""
    sql("DELETE FROM orders_due_check WHERE order_id = %s", world.asked.pk)
    world.set_attempt(world.asked, "state = 'delivered'")


def the_same_code_twice(world: World) -> None:
    sql("UPDATE orders_code SET blind_index = 'the same'")


def a_jump_of_an_attempt(world: World) -> None:
    """The story says that an attempt was delivered, refused and delivered."""
    for state in ("refused", "delivered"):
        sql(
            "INSERT INTO orders_event (order_id, attempt_id, kind, cause, actor, status, external_status, reason, data,"
            " at) VALUES (%s, %s, 'planted', 'test', '', 'completed', 'completed', '', %s, %s)",
            world.sold.pk,
            world.attempt(world.sold),
            json.dumps({"attempt_state": state}),
            clock.now(),
        )


PLANTED: dict[str, tuple[Plant, Callable[[World], Order]]] = {
    "unit_bought_twice": (a_second_purchase, lambda w: w.sold),
    "unit_held_twice": (lambda w: w.hold(w.attempt(w.asked), w.unit(w.sold)), lambda w: w.sold),
    "attempt_let_go_of_a_unit": (
        lambda w: sql("UPDATE orders_attempt_unit SET holds = false WHERE attempt_id = %s", w.attempt(w.asked)),
        lambda w: w.asked,
    ),
    "attempt_keeps_a_unit": (lambda w: w.set_attempt(w.asked, "state = 'absent'"), lambda w: w.asked),
    "attempt_buys_nothing": (
        lambda w: sql("DELETE FROM orders_attempt_unit WHERE attempt_id = %s", w.attempt(w.asked)),
        lambda w: w.asked,
    ),
    "attempt_buys_for_another_order": (a_second_purchase, lambda w: w.other),
    "reference_used_twice": (one_reference_twice, lambda w: w.sold),
    "order_crosses_shops": (
        lambda w: w.set_order(w.waiting, f"customer_id = {w.asked.customer_id}"),
        lambda w: w.waiting,
    ),
    "order_created_twice": (one_key_twice, lambda w: w.sold),
    "order_is_not_its_units": (lambda w: w.set_unit(w.waiting, "amount_micros = 34000000"), lambda w: w.waiting),
    "unit_paid_without_its_code": (
        lambda w: sql("DELETE FROM orders_code WHERE order_id = %s", w.sold.pk),
        lambda w: w.sold,
    ),
    "code_in_two_orders": (the_same_code_twice, lambda w: w.other),
    "code_of_another_order": (
        lambda w: sql("UPDATE orders_code SET order_id = %s WHERE order_id = %s", w.asked.pk, w.sold.pk),
        lambda w: w.asked,
    ),
    "code_shown_though_paid_back": (a_shown_code, lambda w: w.refused),
    "unit_released_but_held": (lambda w: w.set_unit(w.asked, "status = 'released'"), lambda w: w.asked),
    "unit_released_and_delivered": (a_late_delivery, lambda w: w.refused),
    "hold_is_not_the_price": (lambda w: w.set_order(w.waiting, "price_micros = 1"), lambda w: w.waiting),
    "unit_money_is_not_its_status": (lambda w: w.set_unit(w.asked, "status = 'captured'"), lambda w: w.asked),
    "order_status_is_not_its_money": (lambda w: w.set_order(w.asked, "status = 'completed'"), lambda w: w.asked),
    "order_brought_is_not_the_ledger": (lambda w: w.set_order(w.sold, "captured_micros = 0"), lambda w: w.sold),
    "order_forgotten": (
        lambda w: sql("DELETE FROM orders_due_check WHERE order_id = %s", w.waiting.pk),
        lambda w: w.waiting,
    ),
    "free_unit_is_not_sent": (
        lambda w: sql("UPDATE orders_due_check SET kind = 'code' WHERE order_id = %s", w.waiting.pk),
        lambda w: w.waiting,
    ),
    "attempt_is_not_asked_about": (
        lambda w: sql("DELETE FROM orders_due_check WHERE order_id = %s", w.asked.pk),
        lambda w: w.asked,
    ),
    "missing_code_is_not_asked_for": (a_forgotten_code, lambda w: w.asked),
    "settled_order_is_still_sent": (lambda w: w.set_order(w.waiting, "status = 'cancelled'"), lambda w: w.waiting),
    "due_row_leads_nowhere": (
        lambda w: sql("UPDATE orders_due_check SET lane = 987654 WHERE order_id = %s", w.asked.pk),
        lambda w: w.asked,
    ),
    "due_row_is_too_far_away": (
        lambda w: sql(
            "UPDATE orders_due_check SET next_at = '2126-01-01 00:00:00+00:00' WHERE order_id = %s", w.asked.pk
        ),
        lambda w: w.asked,
    ),
    "case_about_nothing": (
        lambda w: sql(
            "INSERT INTO orders_case (order_id, attempt_id, reason, risk_micros, currency, opened_at, close_reason, "
            "resolution) "
            "VALUES (%s, %s, 'reversal', 1, 'TRY', %s, '', '')",
            w.sold.pk,
            w.attempt(w.other),
            clock.now(),
        ),
        lambda w: w.sold,
    ),
    "status_not_told": (
        lambda w: sql("UPDATE journal_outbox_event SET kind = 'order.pending' WHERE subject_id = %s", w.sold.pk),
        lambda w: w.sold,
    ),
    "order_story_jumps": (lambda w: w.tell(w.sold, "processing"), lambda w: w.sold),
    "order_is_not_where_its_story_ends": (lambda w: w.set_order(w.sold, "reason = 'planted'"), lambda w: w.sold),
    "attempt_story_jumps": (a_jump_of_an_attempt, lambda w: w.sold),
    "evidence_of_another_order": (
        lambda w: sql("UPDATE orders_evidence SET order_id = %s WHERE order_id = %s", w.other.pk, w.sold.pk),
        lambda w: w.other,
    ),
    "answer_without_evidence": (
        lambda w: (
            sql("DELETE FROM orders_evidence WHERE order_id = %s", w.sold.pk),
            sql("UPDATE orders_event SET attempt_id = NULL WHERE order_id = %s", w.sold.pk),
        ),
        lambda w: w.sold,
    ),
}
"""What is planted for each invariant about orders, and the order that is named."""

LEDGER: dict[str, Plant] = {
    "transfer_does_not_sum_to_zero": an_entry_changed,
    "balance_is_not_its_entries": lambda w: sql("UPDATE wallet_account SET balance_micros = 7 WHERE kind = 'customer'"),
    "wallet_below_its_limit": lambda w: sql("UPDATE wallet_account SET balance_micros = -1 WHERE kind = 'customer'"),
}
"""What is planted for each invariant about the ledger alone."""

UNGUARDED = (
    ("orders_attempt_unit", "unit_held_by_one_attempt"),
    ("orders_attempt_unit", "attempt_unit_once"),
    ("orders_attempt", "attempt_reference_once_per_account"),
    ("orders_attempt", "orders_attempt_reference_key"),
    ("orders_code", "code_once_per_attempt"),
    ("product_orders", "order_once_per_key"),
    ("product_orders", "order_price_is_unit_price_times_quantity"),
    ("product_orders", "order_captured_within_price"),
    ("orders_due_check", "due_dispatch_has_no_attempt"),
    ("wallet_account", "account_not_below_limit"),
)


def found() -> dict[str, list[int]]:
    """The orders that are named by each broken invariant; 0 where a row names none."""
    return {broken.name: [int(row.get("order_id") or 0) for row in broken.rows] for broken in violations(connection)}


def planted(world: World, plant: Plant) -> dict[str, list[int]]:
    """What is found while something is planted; nothing of it stays."""
    with past_the_guards(*UNGUARDED):
        plant(world)
        return found()


class TestTheFile:
    def test_finds_nothing_in_an_honest_database(self, world: World) -> None:
        assert found() == {}

    def test_has_a_planted_violation_for_each_invariant(self) -> None:
        names = [invariant.name for invariant in load_invariants(connection.vendor)]
        assert sorted(names) == sorted([*PLANTED, *LEDGER])

    def test_says_the_same_of_both_databases(self) -> None:
        first, second = ([(i.name, i.claim) for i in load_invariants(vendor)] for vendor in ("sqlite", "postgresql"))
        assert first == second

    def test_finds_what_is_planted_for_each(self, world: World) -> None:
        missed = [
            name for name, (plant, of) in PLANTED.items() if of(world).pk not in planted(world, plant).get(name, [])
        ]
        assert missed == []
        assert [name for name, plant in LEDGER.items() if name not in planted(world, plant)] == []
        assert found() == {}

    def test_knows_that_a_late_delivery_has_its_case(self, world: World) -> None:
        with past_the_guards(*UNGUARDED):
            a_late_delivery(world)
            sql(
                "INSERT INTO orders_case (order_id, attempt_id, reason, risk_micros, currency, opened_at, "
                "close_reason, resolution) "
                "VALUES (%s, %s, 'late_delivery', 1, 'TRY', %s, '', '')",
                world.refused.pk,
                world.attempt(world.refused),
                clock.now(),
            )
            assert "unit_released_and_delivered" not in found()

    def test_lets_an_order_be_ahead_of_its_story_only_while_it_is_sent(self, world: World) -> None:
        with past_the_guards(*UNGUARDED):
            world.set_order(world.waiting, "status = 'processing', external_status = 'sending'")
            sql("UPDATE journal_outbox_event SET kind = 'order.processing' WHERE subject_id = %s", world.waiting.pk)
            assert found() == {}
            world.set_order(world.waiting, "status = 'processing', external_status = 'sent'")
            assert "order_is_not_where_its_story_ends" in found()


class TestTheEdgesInTheFile:
    """I5: what the file allows of a story is the table of edges, and what is never told."""

    @pytest.mark.parametrize("vendor", ["sqlite", "postgresql"])
    def test_of_orders_are_those_of_the_table(self, vendor: str) -> None:
        silent = OrderStatus.PROCESSING
        allowed = {
            f"{old} {new}"
            for old, edges in ORDER_EDGES.items()
            for new in edges | (ORDER_EDGES[silent] if silent in edges else frozenset())
            if old != new
        }
        assert pairs_in("order_story_jumps", vendor) == allowed

    @pytest.mark.parametrize("vendor", ["sqlite", "postgresql"])
    def test_of_attempts_are_those_of_the_table(self, vendor: str) -> None:
        assert pairs_in("attempt_story_jumps", vendor) == {
            f"{old} {new}" for old in AttemptState for new in told_after(old) if old != new
        }


def told_after(old: AttemptState) -> set[AttemptState]:
    """What the next line may tell: an edge, or the edges behind a send under the attempt's own reference."""
    after = set(ATTEMPT_EDGES[old])
    while (
        silent := {
            new for state in after & {AttemptState.PREPARED, AttemptState.SENDING} for new in ATTEMPT_EDGES[state]
        }
        - after
    ):
        after |= silent
    return after


def pairs_in(name: str, vendor: str) -> set[str]:
    """The pairs that the query of this name allows."""
    query = next(invariant.query for invariant in load_invariants(vendor) if invariant.name == name)
    return {text for text in query.split("NOT IN (")[1].split("'") if " " in text.strip() and text[0].islower()}


class TestABadFile:
    @pytest.mark.parametrize(
        "text",
        [
            "-- invariant: x\n-- Says something.\nDELETE FROM product_orders;\n",
            "-- invariant: x\nSELECT 1;\n",
            "-- invariant: x\n-- Says something.\nSELECT 1; DELETE FROM product_orders;\n",
            "-- invariant: x\n-- Says something.\nSELECT 1\n",
        ],
    )
    def test_is_not_read(self, text: str) -> None:
        with pytest.raises(BadFile):
            read_invariants(text)


class TestTheCommand:
    def test_says_how_many_hold(self, world: World) -> None:
        assert run("check_invariants") == f"{len(load_invariants(connection.vendor))} invariants, broken: 0\n"

    def test_names_what_is_broken_and_fails(self, world: World) -> None:
        with past_the_guards(*UNGUARDED):
            world.set_order(world.sold, "reason = 'planted'")
            with pytest.raises(CommandError, match="1 invariants are broken") as failed:
                run("check_invariants")
        assert failed.value.returncode == 1

    def test_gives_the_rows_as_json(self, world: World) -> None:
        said = StringIO()
        with past_the_guards(*UNGUARDED):
            world.set_order(world.sold, "reason = 'planted'")
            with pytest.raises(CommandError):
                call_command("check_invariants", "--json", stdout=said)
        (broken,) = json.loads(said.getvalue())["broken"]
        assert (broken["name"], broken["count"]) == ("order_is_not_where_its_story_ends", 1)
        assert broken["rows"][0]["order_id"] == world.sold.pk

    def test_shows_the_first_rows_of_many(self, world: World) -> None:
        with past_the_guards(*UNGUARDED):
            sql("UPDATE product_orders SET reason = 'planted'")
            (broken,) = violations(connection)
        lines = list(broken.lines())
        assert lines[0] == "BROKEN order_is_not_where_its_story_ends: 5 rows"
        assert [line.split()[0] for line in lines[2:]] == [f"order_id={row['order_id']}" for row in broken.rows]
