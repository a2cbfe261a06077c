"""Empties a database between two runs, ids too; refuses one that was not made for a proof or a test."""

from __future__ import annotations

from pathlib import Path

from django.db import connection, transaction

PREFIXES = ("prove_", "test_", "test.sqlite3")
KEPT = {"django_content_type", "auth_permission", "django_migrations"}


class NotOurs(RuntimeError):
    """This database was not made for a proof: nothing in it is touched."""


def empty_database() -> None:
    """Delete every row of ours and begin all ids at 1. Raises `NotOurs`."""
    check_is_ours()
    {"postgresql": _empty_postgres, "sqlite": _empty_sqlite}[connection.vendor]()


def check_is_ours() -> None:
    """Raise `NotOurs` unless the database's name says that it was made for this."""
    name = str(connection.settings_dict["NAME"])
    if not Path(name).name.startswith(PREFIXES):
        raise NotOurs(f"the database {Path(name).name} was not made for a proof: nothing in it is touched")


def _tables() -> list[str]:
    return sorted(set(connection.introspection.django_table_names(only_existing=True)) - KEPT)


def _empty_postgres() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(_tables())} RESTART IDENTITY CASCADE")


def _empty_sqlite() -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA foreign_keys = OFF")
        with transaction.atomic():
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            triggers = cursor.fetchall()
            for name, _ in triggers:
                cursor.execute(f"DROP TRIGGER {name}")
            for table in _tables():
                cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
            cursor.execute("DELETE FROM sqlite_sequence")
            for _, sql in triggers:
                cursor.execute(sql)
        cursor.execute("PRAGMA foreign_keys = ON")
