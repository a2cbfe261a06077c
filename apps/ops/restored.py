"""What a restored database needs before anything runs on it: numbers that nobody was told, and nobody at work yet."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.apps import apps
from django.db import connection, transaction

from apps.journal.loops import LABELS, last_beats

JUMP = 1_000_000
"""How many numbers are left out: those that were given since the backup was taken must be fewer."""

JUMP_POSTGRES = """
    SELECT setval(name, nextval(name) + %s) FROM (SELECT pg_get_serial_sequence(%s, %s)::regclass AS name) AS sequence
"""

AT_WORK_FOR = timedelta(seconds=60)


def loops_at_work(now: datetime) -> list[str]:
    """Names of the loops that were heard of in the last minute."""
    return [str(LABELS[name]) for name, at in last_beats().items() if at is not None and now - at < AT_WORK_FOR]


def jump_numbers() -> int:
    """Leave out the next million ids of every table of ours; returns how many tables these are.

    Customers and their software know orders and events of the lost time by number: no other may ever have it.
    """
    tables = _numbered_tables()
    with transaction.atomic(), connection.cursor() as cursor:
        for table, column in tables:
            if connection.vendor == "postgresql":
                cursor.execute(JUMP_POSTGRES, [JUMP, table, column])
                continue
            cursor.execute("UPDATE sqlite_sequence SET seq = seq + %s WHERE name = %s", [JUMP, table])
            if cursor.rowcount == 0:
                cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, JUMP])
    return len(tables)


def _numbered_tables() -> list[tuple[str, str]]:
    fields = [model._meta.auto_field for model in apps.get_models() if model.__module__.startswith("apps.")]
    own = {(field.model._meta.db_table, field.column) for field in fields if field is not None and field.column}
    return sorted(own)
