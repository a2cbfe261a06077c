#!/usr/bin/env python3
"""How long the archive takes over many settled orders, and what stays, on a PostgreSQL of its own.

Each order has five lines in its story and three answers of about 700 bytes. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "scripts" / "bench")]

import reports

FILE = ROOT / "migrations_sql" / "archive_orders.sql"
TABLES = ("product_orders", "orders_unit", "orders_attempt", "orders_attempt_unit", "orders_event", "orders_evidence")

COPIED: dict[str, dict[str, str]] = {
    "product_orders": {"id": "id + copy_no", "idempotency_key": "'copy-' || copy_no"},
    "orders_unit": {"id": "id + copy_no", "order_id": "order_id + copy_no"},
    "orders_attempt": {"id": "id + copy_no", "order_id": "order_id + copy_no", "reference": "'copy-' || copy_no"},
    "orders_attempt_unit": {"id": "id + copy_no", "attempt_id": "attempt_id + copy_no", "unit_id": "unit_id + copy_no"},
}
"""What differs in the copies of the one order that the models write; its money is not copied, as nothing moves it."""

LET_GO = "UPDATE orders_attempt SET closed_at = created_at"
ANSWERS = """
INSERT INTO orders_evidence (order_id, attempt_id, verb, send_no, request, knowledge, http_status, detail, outcome,
                             sealed_body, body_digest, latency_ms, at)
SELECT a.order_id, a.id, 'check', 1, 'GET /servis/durum_kontrol.php?referans=' || a.reference, 'answered', 200, '',
       'pending', (SELECT string_agg(md5(a.id || ' ' || n || ' ' || part), '') FROM generate_series(1, 22) part),
       md5(a.id::text), 100, a.created_at
FROM orders_attempt a, generate_series(1, 3) n
"""
STORY = """
INSERT INTO orders_event (order_id, attempt_id, kind, cause, actor, status, external_status, reason, data, at)
SELECT a.order_id, a.id, 'accepted', 'poll', '', 'processing', 'processing', '',
       jsonb_build_object('attempt_state', 'accepted', 'asked', n, 'route', 12345, 'said', 'still being worked on'),
       a.created_at
FROM orders_attempt a, generate_series(1, 5) n
"""


def main(argv: Sequence[str]) -> int:
    """Start a server, fill it, archive everything, and look again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--orders", type=int, default=100_000)
    options = parser.parse_args(argv)
    from tests.servers import shared_postgres

    with shared_postgres() as url:
        reports.prepare(url)
        reports.fill(1)
        run(LET_GO, *(copy(table, options.orders - 1) for table in COPIED))
        measured = {"orders": options.orders, **measure()}
    sys.stdout.write(json.dumps(measured) + "\n")
    return 0


def measure() -> dict[str, object]:
    """Seconds, rows, and megabytes with indexes before and after a full packing."""
    run(ANSWERS, STORY, "VACUUM FULL", "ANALYZE", FILE.read_text(encoding="utf-8"))
    before = sizes_mb()
    taken_s = run("CALL archive_orders(now())")
    again_s = run("CALL archive_orders(now())")
    rows = number("SELECT sum(events + answers) FROM archived_order")
    run("VACUUM FULL")
    return {
        "rows_moved": rows,
        "taken_s": taken_s,
        "rows_per_s": round(rows / taken_s),
        "a_call_with_nothing_to_do_s": again_s,
        "mb_before": before,
        "mb_after": sizes_mb(),
        "archive_mb": round(sum(size_mb(name) for name in ARCHIVE), 1),
    }


def copy(table: str, count: int) -> str:
    """The statement that copies the one row of the table so many times."""
    from django.db import connection

    with connection.cursor() as cursor:
        found = connection.introspection.get_table_description(cursor, table)
    names = [column.name for column in found]
    values = ", ".join(COPIED[table].get(name, name) for name in names)
    series = f"generate_series(1, {count}) AS copy_no"
    return f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {table}, {series}"  # noqa: S608 - our names


ARCHIVE = ("archived_order", "archived_orders_event", "archived_orders_evidence")


def run(*statements: str) -> float:
    """Run them, and say how many seconds the last one took."""
    from django.db import connection

    started = 0.0
    with connection.cursor() as cursor:
        for statement in statements:
            started = time.monotonic()
            cursor.execute(statement)
    return round(time.monotonic() - started, 2)


def number(query: str) -> int:
    """The one number that a query finds."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(query)
        return int(cursor.fetchone()[0])


def size_mb(table: str) -> float:
    """A table with its indexes and what it stores aside."""
    return number(f"SELECT pg_total_relation_size('{table}')") / 1e6


def sizes_mb() -> dict[str, float]:
    """The tables of orders."""
    return {table: round(size_mb(table), 1) for table in TABLES}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
