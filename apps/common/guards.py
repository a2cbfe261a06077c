"""Guards that refuse work in the wrong place."""

from __future__ import annotations

from django.db import connection


class OpenTransaction(RuntimeError):
    """Network was about to be used inside a database transaction: commit first, then send."""


def check_no_transaction() -> None:
    """Raise `OpenTransaction` if the current connection has an open transaction."""
    if connection.in_atomic_block:
        raise OpenTransaction("no request may leave while a database transaction is open")
