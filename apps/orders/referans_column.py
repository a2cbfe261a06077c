"""The column `provider_referans` by hand: what stands in the database, and adding what is missing.

`0001_add_provider_referans` does the same as a migration; `scripts/add_provider_referans.py` ends up here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

TABLE = "product_orders"
COLUMN = "provider_referans"
INDEX = "idx_orders_provider_referans"
TYPE = "varchar(64)"
SQL_FILE = Path(__file__).resolve().parents[2] / "migrations_sql" / "migration_provider_referans.sql"


class TableMissing(Exception):
    """There is no table `product_orders` in this database."""


class NotAllowed(Exception):
    """The user of the connection may not change the table."""


@dataclass(frozen=True, slots=True)
class Found:
    """What stands in the database. `column` is its definition, empty when there is none; `index` its columns."""

    column: str
    index: tuple[str, ...]


WANTED = Found(f"{TYPE} NOT NULL DEFAULT ''", (COLUMN,))


def inspect(connection: BaseDatabaseWrapper) -> Found:
    """Read the column and the index. Raises `TableMissing`, `NotAllowed`, or Django's database errors."""
    with _rights_told(connection), connection.cursor() as cursor:
        if TABLE not in connection.introspection.table_names(cursor):
            raise TableMissing(TABLE)
        columns = connection.introspection.get_table_description(cursor, TABLE)
        constraints = connection.introspection.get_constraints(cursor, TABLE)
    index = [column for name, found in constraints.items() if name == INDEX for column in found["columns"]]
    definitions = [_definition(connection, column) for column in columns if column.name == COLUMN]
    return Found(definitions[0] if definitions else "", tuple(index))


def _definition(connection: BaseDatabaseWrapper, column: Any) -> str:
    """The column as CREATE TABLE would say it. PostgreSQL tells a default with its type: `''::character varying`."""
    kind = connection.introspection.get_field_type(column.type_code, column)
    default = "none" if column.default is None else str(column.default).partition("::")[0]
    null = "NULL" if column.null_ok else "NOT NULL"
    return f"{'varchar' if kind == 'CharField' else kind}({column.display_size}) {null} DEFAULT {default}"


def add_what_is_missing(connection: BaseDatabaseWrapper) -> None:
    """Add the column and the index, each only where it is missing. Raises `NotAllowed`, or Django's database errors."""
    with _rights_told(connection):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(SQL_FILE.read_text(encoding="utf-8"))
        else:
            _add_on_sqlite(connection)


def _add_on_sqlite(connection: BaseDatabaseWrapper) -> None:
    """SQLite knows no ADD COLUMN IF NOT EXISTS. The table is never remade: that would lose its triggers."""
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        if not inspect(connection).column:
            cursor.execute(f"ALTER TABLE {TABLE} ADD COLUMN {COLUMN} {TYPE} DEFAULT '' NOT NULL")
        cursor.execute(f"CREATE INDEX IF NOT EXISTS {INDEX} ON {TABLE} ({COLUMN})")


@contextlib.contextmanager
def _rights_told(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Raises `NotAllowed` for a missing right; leaves no half-open transaction of the SQL file behind."""
    try:
        yield
    except Error as error:
        if not connection.in_atomic_block:
            connection.close()
        if _is_about_rights(error):
            raise NotAllowed(str(error).strip()) from error
        raise


def _is_about_rights(error: Error) -> bool:
    code = getattr(error.__cause__, "pgcode", None)
    return code == "42501" or "readonly database" in str(error)


def owner_of_table(connection: BaseDatabaseWrapper) -> str:
    """Who owns the table, on PostgreSQL; empty on SQLite, where the file has an owner."""
    if connection.vendor != "postgresql":
        return ""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tableowner FROM pg_tables WHERE tablename = %s AND schemaname = ANY (current_schemas(false))",
            [TABLE],
        )
        row = cursor.fetchone()
    return str(row[0]) if row else ""
