"""A way past triggers, foreign keys and constraints, for tests that plant what nobody may write; undone at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction


@contextmanager
def past_the_guards(*constraints: tuple[str, str]) -> Iterator[None]:
    """Inside, raw SQL may write anything; everything is rolled back on leaving. `constraints`: (table, name)."""
    open_sqlite() if connection.vendor == "sqlite" else None
    try:
        with transaction.atomic():
            if connection.vendor == "postgresql":
                sql("SET LOCAL session_replication_role = replica")
                for table, name in constraints:
                    sql(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
                    sql(f"DROP INDEX IF EXISTS {name}")
            else:
                drop_on_sqlite({name for _, name in constraints})
            yield
            transaction.set_rollback(True)
    finally:
        if connection.vendor == "sqlite":
            sql("PRAGMA foreign_keys = ON")
            sql("PRAGMA ignore_check_constraints = OFF")


def open_sqlite() -> None:
    sql("PRAGMA foreign_keys = OFF")
    sql("PRAGMA ignore_check_constraints = ON")


def drop_on_sqlite(indexes: set[str]) -> None:
    """Triggers and the named unique indexes; a check constraint is only ignored."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'index')")
        for kind, name in cursor.fetchall():
            if kind == "trigger" or name in indexes:
                cursor.execute(f"DROP {kind} {name}")


def sql(statement: str, *params: Any) -> int:
    """Run it; returns how many rows it changed."""
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return int(cursor.rowcount)
