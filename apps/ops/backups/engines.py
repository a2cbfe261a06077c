"""Which way of dumping and loading a database has: one table."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import connection

from apps.ops.backups.postgres import Postgres
from apps.ops.backups.sqlite import Sqlite

Engine = Postgres | Sqlite

ENGINES: Mapping[str, Engine] = {"postgresql": Postgres(), "sqlite": Sqlite()}


def engine() -> Engine:
    """That of the connection."""
    return ENGINES[connection.vendor]
