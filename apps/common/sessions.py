"""What every connection to PostgreSQL is told when it is made."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

IDLE_S = 30
"""A transaction in which nothing happens for so long is ended by the server: its process hangs, and holds locks."""


def end_idle_transactions(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Ask the server for it. Not in the start-up options: PgBouncer refuses those that it does not know."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_S}s'")


def install() -> None:
    """From now on, for each new connection."""
    connection_created.connect(end_idle_transactions, dispatch_uid="end_idle_transactions")
