"""`migrations_sql/archive_orders.sql`: old stories and answers move, nothing is lost, what is open is left alone."""
# ruff: noqa: S608 - the names of our own tables

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from django.db import IntegrityError, connection
from django.urls import reverse

from apps.common import clock
from apps.common.triggers import Forbid
from apps.ops.backups.books import count_contents, sum_ledger
from apps.orders import services
from apps.orders.decisions import codes
from apps.orders.models import Approval, Attempt, Case, DueCheck, Evidence, Order, OrderEvent
from apps.orders.statement_models import Break, Statement
from tests.factories import Shop, Stage, check_invariants, make_shop, story_of
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import browser_of, make_person
from tests.functional.past_the_guards import sql

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.postgres

FILE = Path(__file__).resolve().parents[2] / "migrations_sql" / "archive_orders.sql"
ARCHIVE = ("archived_order", "archived_orders_event", "archived_orders_evidence")
TAKE_AWAY = (
    "DROP PROCEDURE archive_orders",
    "DROP VIEW archivable_order, whole_orders_event",
    f"DROP TABLE {', '.join(ARCHIVE)}",
    "DROP FUNCTION archive_forbid_change",
    *(Forbid(table, "DELETE", f"{table} is append-only").create("postgresql")[0]
      for table in ("orders_event", "orders_evidence")),
)  # fmt: skip

Rows = list[tuple[Any, ...]]


@pytest.fixture
def archive(committed: None) -> Iterator[None]:
    """The file, run twice; taken away afterwards."""
    with connection.cursor() as cursor:
        for _ in range(2):
            cursor.execute(FILE.read_text(encoding="utf-8"))
    yield
    for statement in TAKE_AWAY:
        sql(statement)


@pytest.fixture
def shop(stage: Stage, archive: None) -> Shop:
    return make_shop(stage.url)


def archive_orders(before: datetime | None = None, batch: int = 1000) -> None:
    sql("CALL archive_orders(%s, %s)", before or clock.now(), batch)


def rows(query: str) -> Rows:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def whole(table: str) -> Rows:
    """The rows of a table and of its archive, to the last column."""
    return rows(f"SELECT * FROM {table} UNION ALL SELECT * FROM archived_{table} ORDER BY id")


def archived() -> list[int]:
    return [number for (number,) in rows("SELECT order_id FROM archived_order ORDER BY order_id")]


def settled_orders(stage: Stage, shop: Shop, count: int = 2) -> list[Order]:
    """Completed ones, and a rejected one behind them, a day later."""
    orders = [
        *(stage.order(shop, complete_after_s=200) for _ in range(count)),
        stage.order(shop, place="refuse", refuse_class="product"),
    ]
    stage.run_until_quiet()
    stage.move(86_400)
    for order in orders:
        order.refresh_from_db()
    return orders


class TestTheArchive:
    def test_takes_what_is_settled_and_loses_nothing(self, stage: Stage, shop: Shop) -> None:
        orders = settled_orders(stage, shop)
        tables = ("orders_event", "orders_evidence")
        before = {table: rows(f"SELECT * FROM {table} ORDER BY id") for table in tables}
        contents, sums = count_contents().rows, sum_ledger()
        archive_orders()
        assert archived() == [order.pk for order in orders]
        assert {table: whole(table) for table in tables} == before
        assert rows("SELECT * FROM whole_orders_event ORDER BY id") == before["orders_event"]
        assert sum_ledger() == sums
        check_invariants(stage)
        changed = {*tables, *ARCHIVE}
        now = count_contents().rows
        assert {name: count for name, count in now.items() if count != contents[name]}.keys() == changed
        moved = rows("SELECT sum(events), sum(answers) FROM archived_order")[0]
        assert moved == tuple(contents[table] - now[table] for table in tables)
        assert min(moved) > 0

    def test_leaves_the_end_of_a_story_and_the_last_answer(self, stage: Stage, shop: Shop) -> None:
        order = settled_orders(stage, shop)[0]
        last, answer = story_of(order)[-1], Evidence.objects.filter(order=order).latest("id")
        archive_orders()
        assert story_of(order) == [last]
        assert answer in Evidence.objects.filter(order=order)

    def test_lets_the_story_go_on(self, stage: Stage, shop: Shop) -> None:
        order = settled_orders(stage, shop)[0]
        archive_orders()
        last = story_of(order)
        codes.reveal_codes(order, "reader", "panel", clock.now())
        archive_orders()
        assert story_of(order) == [*last, "codes_revealed"]
        check_invariants(stage)

    def test_leaves_the_order_a_page(self, stage: Stage, shop: Shop) -> None:
        order = settled_orders(stage, shop)[0]
        archive_orders()
        browser = browser_of(make_person("owner", shop.tenant))
        assert browser.get(reverse("panel:order", args=[order.pk])).status_code == 200

    def test_does_nothing_the_second_time(self, stage: Stage, shop: Shop) -> None:
        settled_orders(stage, shop)
        archive_orders()
        contents = count_contents()
        archive_orders()
        assert count_contents() == contents

    def test_takes_nothing_that_was_settled_later(self, stage: Stage, shop: Shop) -> None:
        order = settled_orders(stage, shop)[0]
        assert order.settled_at is not None
        archive_orders(order.settled_at)
        assert order.pk not in archived()
        archive_orders(order.settled_at + timedelta(microseconds=1))
        assert order.pk in archived()

    def test_goes_on_where_it_was_ended(self, stage: Stage, shop: Shop) -> None:
        first, second, third = settled_orders(stage, shop)
        before = whole("orders_event")
        plant = OrderEvent.objects.filter(order=second).earliest("id").pk
        sql("INSERT INTO archived_orders_event SELECT * FROM orders_event WHERE id = %s", plant)
        with pytest.raises(IntegrityError, match="duplicate key"):
            archive_orders(batch=1)
        assert archived() == [first.pk]
        sql("ALTER TABLE archived_orders_event DISABLE TRIGGER USER")
        sql("DELETE FROM archived_orders_event WHERE id = %s", plant)
        sql("ALTER TABLE archived_orders_event ENABLE TRIGGER USER")
        archive_orders(batch=1)
        assert archived() == [first.pk, second.pk, third.pk]
        assert whole("orders_event") == before


class TestWhatIsOpen:
    @pytest.mark.parametrize("fate", [{"complete_after_s": 900_000}, {"place": "accept_then_reset"}])
    def test_at_its_provider_is_left(self, stage: Stage, shop: Shop, fate: dict[str, Any]) -> None:
        order = stage.order(shop, **fate)
        services.try_auto_dispatch(order.pk)
        assert Attempt.objects.get(order=order).state in ("accepted", "in_doubt")
        archive_orders(clock.now() + timedelta(days=999))
        assert archived() == []

    def test_in_its_time_for_late_news_is_left(self, stage: Stage, shop: Shop) -> None:
        watched, *others = settled_orders(stage, shop)
        attempt = Attempt.objects.get(order=watched)
        lane, later = attempt.integration_id, clock.now() + timedelta(hours=1)
        DueCheck.objects.create(order=watched, attempt=attempt, lane=lane, kind="watch", next_at=later)
        archive_orders()
        assert archived() == [order.pk for order in others]

    def test_as_a_question_is_left(self, stage: Stage, shop: Shop) -> None:
        asked, *others = settled_orders(stage, shop)
        attempt = Attempt.objects.get(order=asked)
        Case.objects.create(
            order=asked, attempt=attempt, reason="reversal", risk_micros=1, currency="TRY", opened_at=clock.now()
        )
        archive_orders()
        assert archived() == [order.pk for order in others]

    def test_as_a_decision_is_left(self, stage: Stage, shop: Shop) -> None:
        asked, *others = settled_orders(stage, shop)
        person = make_person("owner", shop.tenant)
        Approval.objects.create(
            order=asked,
            action="give_back",
            amount_micros=1,
            currency="TRY",
            reason="test",
            status="pending",
            asked_by=person,
            asked_at=clock.now(),
        )
        archive_orders()
        assert archived() == [order.pk for order in others]

    def test_as_a_difference_with_a_statement_is_left(self, stage: Stage, shop: Shop) -> None:
        asked, *others = settled_orders(stage, shop)
        at = clock.now()
        counts = {"lines_read": 0, "lines_new": 0, "imported_by": "x", "imported_at": at, "dialect": {}}
        statement = Statement.objects.create(integration=shop.integration, starts_at=at, ends_at=at, **counts)
        attempt = Attempt.objects.get(order=asked)
        Break.objects.create(
            integration=shop.integration, statement=statement, attempt=attempt, kind="missing_there", opened_at=at
        )
        archive_orders()
        assert archived() == [order.pk for order in others]

    def test_to_somebody_who_works_on_it_waits_for_the_next_call(self, stage: Stage, shop: Shop) -> None:
        busy, *others = settled_orders(stage, shop)
        other = psycopg2.connect(**connection.get_connection_params() | {"cursor_factory": None})
        try:
            with other.cursor() as cursor:
                cursor.execute("SELECT 1 FROM product_orders WHERE id = %s FOR UPDATE", [busy.pk])
            archive_orders()
            assert archived() == [order.pk for order in others]
            other.rollback()  # returns when the lock is gone; closing alone does not wait for that
        finally:
            other.close()
        archive_orders()
        assert archived() == [busy.pk, *(order.pk for order in others)]


class TestTheGuards:
    @pytest.mark.parametrize("table", ["orders_event", "orders_evidence"])
    def test_let_nothing_go_that_is_not_archived_as_it_is(self, stage: Stage, shop: Shop, table: str) -> None:
        settled_orders(stage, shop, count=1)
        with pytest.raises(IntegrityError, match=f"{table} is append-only"):
            sql(f"DELETE FROM {table}")
        sql(f"INSERT INTO archived_{table} SELECT * FROM {table}")
        sql(f"ALTER TABLE archived_{table} DISABLE TRIGGER USER")
        sql(f"UPDATE archived_{table} SET at = at + INTERVAL '1 second'")
        with pytest.raises(IntegrityError, match=f"{table} is append-only"):
            sql(f"DELETE FROM {table}")

    @pytest.mark.parametrize("table", ARCHIVE)
    def test_keep_the_archive(self, stage: Stage, shop: Shop, table: str) -> None:
        settled_orders(stage, shop, count=1)
        archive_orders()
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET order_id = 1"):
            with pytest.raises(IntegrityError, match="the archive is append-only"):
                sql(statement)
