"""The column `provider_referans` by hand: what stands in the database, and adding what is missing, on SQLite and PostgreSQL.

`0001_add_provider_referans` does the same as a migration; `scripts/add_provider_referans.py` ends up here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
    """Read the column and the index. Raises `TableMissing`."""
    with connection.cursor() as cursor:
        if TABLE not in connection.introspection.table_names(cursor):
            raise TableMissing(TABLE)
        described = connection.introspection.get_table_description(cursor, TABLE)
        constraints = connection.introspection.get_constraints(cursor, TABLE)
    column = next((column for column in described if column.name == COLUMN), None)
    index = constraints.get(INDEX, {}).get("columns") or ()
    if column is None:
        return Found("", tuple(index))
    # PostgreSQL tells the length as the internal size, and the default with its type: ''::character varying.
    length = column.display_size if connection.vendor == "sqlite" else column.internal_size
    default = "none" if column.default is None else str(column.default).partition("::")[0]
    null = "NULL" if column.null_ok else "NOT NULL"
    kind = (
        "varchar"
        if connection.introspection.get_field_type(column.type_code, column) == "CharField"
        else "another type"
    )
    return Found(f"{kind}({length}) {null} DEFAULT {default}", tuple(index))


def add_what_is_missing(connection: BaseDatabaseWrapper) -> None:
    """Add the column and the index, each only where it is missing. Raises `NotAllowed`, or Django's database errors."""
    try:
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(SQL_FILE.read_text(encoding="utf-8"))
        else:
            _add_on_sqlite(connection)
    except Error as error:
        if _is_about_rights(error):
            raise NotAllowed(str(error).strip()) from error
        raise


def _add_on_sqlite(connection: BaseDatabaseWrapper) -> None:
    """SQLite knows no ADD COLUMN IF NOT EXISTS. The table is never remade: that would lose its triggers."""
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        if not inspect(connection).column:
            cursor.execute(f"ALTER TABLE {TABLE} ADD COLUMN {COLUMN} {TYPE} DEFAULT '' NOT NULL")
        cursor.execute(f"CREATE INDEX IF NOT EXISTS {INDEX} ON {TABLE} ({COLUMN})")


def _is_about_rights(error: Error) -> bool:
    code = getattr(error.__cause__, "pgcode", None)
    return code == "42501" or "readonly database" in str(error)


def owner_of_table(connection: BaseDatabaseWrapper) -> str:
    """Who owns the table, on PostgreSQL; empty on SQLite, where the file has an owner."""
    if connection.vendor != "postgresql":
        return ""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableowner FROM pg_tables WHERE tablename = %s", [TABLE])
        row = cursor.fetchone()
    return str(row[0]) if row else ""
