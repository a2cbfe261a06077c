"""Many rows at once, made by PostgreSQL out of one: for what is true of long tables, and for measuring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, models

FIRST_COPY = 1_000_000
"""Ids of copies begin after this: below are those of their patterns."""


@contextmanager
def unchecked() -> Iterator[None]:
    """Without the foreign keys and triggers, which are not the subject; a superuser's right."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        try:
            yield
        finally:
            cursor.execute("SET session_replication_role = origin")


def copies(model: type[models.Model], pattern: int, count: int, **changed: str) -> None:
    """So many copies of one row, numbered by g, with these columns as SQL says."""
    columns = [str(field.column) for field in model._meta.concrete_fields]
    values = [changed.get(column, f"{FIRST_COPY} + g" if column == "id" else f"t.{column}") for column in columns]
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} "  # noqa: S608 - our own names
            f"FROM {table} t, generate_series(1, {count}) g WHERE t.id = {pattern}"
        )
