"""The queue stays as quick as it is when it is long: the plans of a sweep's queries, and what they touch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.orders import due
from apps.orders.models import Attempt, AttemptUnit, DueCheck, Order, OrderUnit
from apps.orders.questions import load_questions
from apps.providers.models import Integration
from tests.crowds import FIRST_COPY, copies, unchecked
from tests.factories import START, Shop, fill_lane, make_integration, make_shop, order_from
from tests.functional.core_fixtures import committed

__all__ = ["committed"]

pytestmark = pytest.mark.postgres

SHORT, LONG = 1_000, 200_000
NOW = START + timedelta(days=1)
LEASE = timedelta(seconds=60)
ROW_BYTES = 250
"""What a row of the queue may take with its indexes where a quarter is looked up; 214 where all are checks."""


def fill(shop: Shop, others: list[Integration], count: int) -> None:
    """A queue of so many orders: nine in ten wait for an answer, the rest to be sent; all are due, in a mixed order.

    Half are of the shop's first account, where every second one is looked up, all before the others; nowhere else.
    """
    pattern = order_from(shop)
    fill_lane(pattern, shop.integration, 1)
    attempt = Attempt.objects.get(order=pattern)
    unit = OrderUnit.objects.get(order=pattern)
    row = DueCheck.objects.get(attempt=attempt)
    link = AttemptUnit.objects.create(attempt=attempt, unit=unit)
    own = f"{FIRST_COPY} + g"
    lanes = "{" + ",".join(str(one.pk) for one in others) + "}"
    lane = f"CASE WHEN g % 2 = 0 THEN {shop.integration.pk} ELSE ('{lanes}'::bigint[])[1 + g % {len(others)}] END"
    with unchecked():
        copies(Order, pattern.pk, count, idempotency_key="'copy-' || g", intent="''", status="'processing'")
        copies(OrderUnit, unit.pk, count, order_id=own)
        copies(
            Attempt, attempt.pk, count, order_id=own, reference="'r' || g", integration_id=lane,
            state="CASE WHEN g % 4 = 0 THEN 'in_doubt' ELSE 'accepted' END",
        )  # fmt: skip
        copies(AttemptUnit, link.pk, count, attempt_id=own, unit_id=own)
        asked = {"asked_at": "t.next_at", "same_since": "t.next_at", "digest": "'abcdefghijk'", "asked": "g % 7"}
        mixed = f"t.next_at + ((g::bigint * 7919) % {count}) * interval '100 milliseconds'"
        mixed += " - CASE WHEN g % 4 = 0 THEN interval '1 day' ELSE '0' END"
        copies(
            DueCheck, row.pk, count, order_id=own, next_at=mixed, **asked,
            kind="CASE WHEN g % 10 = 9 THEN 'dispatch' WHEN g % 4 = 0 THEN 'resolve' ELSE 'check' END",
            attempt_id=f"CASE WHEN g % 10 = 9 THEN NULL ELSE {own} END",
            lane=f"CASE WHEN g % 10 = 9 THEN 0 ELSE {lane} END",
        )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


@dataclass(frozen=True)
class Query:
    """What one query did: the nodes of its plan, and the blocks of 8 kB that it touched."""

    sql: str
    nodes: list[dict[str, Any]]
    blocks: int

    @property
    def kinds(self) -> set[str]:
        return {node["Node Type"] for node in self.nodes}


def queries_of(act: Callable[[], object]) -> list[Query]:
    """Every query of `act` as PostgreSQL carries it out: each is run once more, and nothing of it stays."""
    with transaction.atomic():
        with CaptureQueriesContext(connection) as captured:
            act()
        transaction.set_rollback(True)
    told = [query["sql"] for query in captured.captured_queries]
    return [explained(sql) for sql in told if sql.startswith(("SELECT", "UPDATE", "DELETE"))]


def explained(sql: str) -> Query:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + sql)
            answer = cursor.fetchone()[0]
        transaction.set_rollback(True)
    plan = (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
    return Query(sql, list(nodes_of(plan)), plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes_of(part)


def one_order(shop: Shop) -> int:
    """An order in the middle of the queue, whose purchase is asked about."""
    return FIRST_COPY + 500


def first_claims(shop: Shop) -> list[due.Claim]:
    rows = DueCheck.objects.filter(lane=shop.integration.pk, attempt__isnull=False).order_by("next_at")[:16]
    return [due.Claim(row.pk, row.order_id, row.attempt_id or 0, row.fence, row.asked_at) for row in rows]


SWEEP: dict[str, Callable[[Shop, int, datetime], object]] = {
    "due_lanes": lambda shop, lane, now: due.due_lanes(now),
    "due_dispatches": lambda shop, lane, now: due.due_dispatches(now, 32),
    "requests_wanted": lambda shop, lane, now: due.requests_wanted(lane, now, 16, 1),
    "requests_wanted_together": lambda shop, lane, now: due.requests_wanted(lane, now, 16, 20),
    "claim_lane": lambda shop, lane, now: due.claim_lane(lane, now, LEASE, 16),
    "claim_lane_together": lambda shop, lane, now: due.claim_lane(lane, now, LEASE, 16, 20),
    "claim_lane_without_lookups": lambda shop, lane, now: due.claim_lane(lane + 1, now, LEASE, 16),
    "is_asked_by": lambda shop, lane, now: due.is_asked_by(lane, now),
    "lanes_of_order": lambda shop, lane, now: due.lanes_of_order(one_order(shop), now),
    "claim_order": lambda shop, lane, now: due.claim_order(one_order(shop), now, LEASE, is_forced=True),
}
"""What a sweep and a single check ask the queue, by the functions that ask."""


@pytest.fixture
def shop(committed: None) -> Shop:
    """A shop with one account that half of the queue waits for, and nine others."""
    return make_shop()


@pytest.fixture
def others(shop: Shop) -> list[Integration]:
    return [make_integration(shop.tenant, "http://127.0.0.1:9") for _ in range(9)]


def queue_bytes() -> int:
    """What the queue takes on the disk, with its indexes."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size('orders_due_check')")
        return int(cursor.fetchone()[0])


def plan_as_if_long(*, is_short: bool) -> None:
    """A table of a few pages is rightly read whole; to compare it with a long one, it must be read as that is."""
    with connection.cursor() as cursor:
        for way in ("seqscan", "hashjoin", "mergejoin"):
            cursor.execute(f"SET enable_{way} = {'off' if is_short else 'on'}")


def emptied() -> None:
    with connection.cursor() as cursor:
        tables = ", ".join(model._meta.db_table for model in (DueCheck, AttemptUnit, Attempt, OrderUnit, Order))
        cursor.execute(f"TRUNCATE {tables} CASCADE")


def check_plans(name: str, queries: list[Query]) -> None:
    """Every table of the queue is read by an index, and nothing but a handful of rows is put in order."""
    assert queries, name
    for query in queries:
        scans = [node for node in query.nodes if node["Node Type"] in ("Seq Scan", "Parallel Seq Scan")]
        whole = [node["Relation Name"] for node in scans if node["Relation Name"].startswith(("orders_", "product_"))]
        assert whole == [], (name, query.sql)
        for node in query.nodes:
            if node["Node Type"] in ("Sort", "Incremental Sort"):
                assert node["Actual Rows"] <= 16 * 20, (name, query.sql)


class TestTheQueriesOfASweep:
    def test_use_indexes_and_touch_no_more_of_a_long_queue_than_of_a_short_one(
        self, shop: Shop, others: list[Integration]
    ) -> None:
        touched: dict[str, list[int]] = {name: [] for name in [*SWEEP, "load_questions"]}
        for count in (SHORT, LONG):
            fill(shop, others, count)
            size = queue_bytes()
            plan_as_if_long(is_short=count == SHORT)
            acts = {name: (lambda ask=ask: ask(shop, shop.integration.pk, NOW)) for name, ask in SWEEP.items()}
            claims = first_claims(shop)
            acts["load_questions"] = lambda claims=claims: load_questions(claims, NOW)
            for name, act in acts.items():
                queries = queries_of(act)
                if count == LONG:
                    check_plans(name, queries)
                touched[name].append(sum(query.blocks for query in queries))
            if count == LONG:
                check_plans("put_off_lane", queries_of(lambda: due.put_off_lane(others[0].pk, NOW, NOW, LEASE)))
                assert size / LONG <= ROW_BYTES
            emptied()
        grown = {name: (short, long) for name, (short, long) in touched.items() if long > 3 * max(short, 8)}
        assert grown == {}
