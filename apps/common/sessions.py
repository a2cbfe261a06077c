"""What every connection to PostgreSQL is told when it is made; SQLite has none of it."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

IDLE_IN_TRANSACTION = "30s"
"""No transaction of ours waits for anything but the database. A process that stops inside one, as on a machine that is
moved or swaps, holds its row locks no longer than this: all orders of a customer wait for the wallet that it locked."""


def limit_idle_transactions(connection: BaseDatabaseWrapper, **signal: Any) -> None:
    """Let the server end a session that lies still inside a transaction.

    Not in the start-up options: PgBouncer refuses those that it does not know.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET idle_in_transaction_session_timeout = %s", [IDLE_IN_TRANSACTION])


def install() -> None:
    """From now on, for each new connection."""
    connection_created.connect(limit_idle_transactions, dispatch_uid="limit_idle_transactions")
