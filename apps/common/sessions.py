"""What every session at PostgreSQL begins with; SQLite has none of it."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

IDLE_IN_TRANSACTION = "60s"
"""No transaction of ours waits for anything but the database. A process that stops inside one, as on a machine that is
moved or swaps, holds its row locks no longer than this: all orders of a customer wait for the wallet that it locked."""


def limit_idle_transactions(connection: BaseDatabaseWrapper, **signal: Any) -> None:
    """Let the server end a session that lies still inside a transaction. For `connection_created`."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET idle_in_transaction_session_timeout = %s", [IDLE_IN_TRANSACTION])
