"""Empties a database between two runs, ids too; refuses one that was not made for a proof or a test."""

from __future__ import annotations

from pathlib import Path

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

PREFIXES = ("prove_", "test_", "test.sqlite3")
KEPT = {"django_content_type", "auth_permission", "django_migrations"}
BEGIN_IDS = """
SELECT setval(own.objid::regclass, 1, false)
FROM pg_depend own JOIN pg_class ids ON ids.oid = own.objid JOIN pg_class ours ON ours.oid = own.refobjid
WHERE own.classid = 'pg_class'::regclass AND ids.relkind = 'S' AND ours.relname = ANY (%s)
"""


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
    """Row by row where triggers and foreign keys can be put off: new files for every table take ten times as long."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        if not cursor.fetchone()[0]:
            cursor.execute(f"TRUNCATE {', '.join(_tables())} RESTART IDENTITY CASCADE")
            return
        cursor.execute(BEGIN_IDS, [_tables()])
        used = _used_tables(cursor)
        if not used:
            return
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("; ".join(f"DELETE FROM {table}" for table in used))  # noqa: S608 - our own names
        cursor.execute("SET session_replication_role = DEFAULT")
        cursor.execute(f"VACUUM {', '.join(used)}")  # each seed finds the tables as small as the first one did


def _used_tables(cursor: CursorWrapper) -> list[str]:
    looks = [f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})" for table in _tables()]  # noqa: S608 - our own names
    cursor.execute(" UNION ALL ".join(looks))
    return [table for (table,) in cursor.fetchall()]


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
