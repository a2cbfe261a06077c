"""A way past triggers, foreign keys and constraints, for tests that plant what nobody may write; undone at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

Constraints = tuple[tuple[str, str], ...]


@contextmanager
def past_the_guards(*constraints: tuple[str, str]) -> Iterator[None]:
    """Inside, raw SQL may write anything; everything is rolled back on leaving. `constraints`: (table, name)."""
    with {"sqlite": open_sqlite, "postgresql": open_postgres}[connection.vendor](constraints):
        yield


@contextmanager
def open_postgres(constraints: Constraints) -> Iterator[None]:
    """Triggers and foreign keys sleep for a replica; the named constraints and unique indexes are dropped."""
    with transaction.atomic():
        sql("SET LOCAL session_replication_role = replica")
        for table, name in constraints:
            sql(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
            sql(f"DROP INDEX IF EXISTS {name}")
        yield
        transaction.set_rollback(True)


@contextmanager
def open_sqlite(constraints: Constraints) -> Iterator[None]:
    """Check constraints and foreign keys are ignored, triggers and the named unique indexes dropped."""
    pragmas = ("foreign_keys", "OFF", "ON"), ("ignore_check_constraints", "ON", "OFF")
    for name, inside, _ in pragmas:
        sql(f"PRAGMA {name} = {inside}")
    try:
        with transaction.atomic():
            drop_on_sqlite({name for _, name in constraints})
            yield
            transaction.set_rollback(True)
    finally:
        for name, _, outside in pragmas:
            sql(f"PRAGMA {name} = {outside}")


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
