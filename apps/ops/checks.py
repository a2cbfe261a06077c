"""Django's own start-up checks: an SQLite database that could forget a commit is refused by `check` and `migrate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections

FULL = 2


@register(Tags.database)
def sqlite_is_durable(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None, **kwargs: Any
) -> list[CheckMessage]:
    """`synchronous` is FULL or stricter: with NORMAL a power cut could lose the attempt written before a purchase."""
    return [_too_weak(alias) for alias in databases or () if _synchronous(alias) < FULL]


def _synchronous(alias: str) -> int:
    """SQLite's setting of this connection; other databases count as FULL here, the doctor asks them."""
    connection = connections[alias]
    if connection.vendor != "sqlite":
        return FULL
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous")
        return int(cursor.fetchone()[0])


def _too_weak(alias: str) -> CheckMessage:
    return Error(
        f"The SQLite database {alias!r} does not wait for the disk: a power cut could forget a purchase that was made.",
        hint="Set `PRAGMA synchronous=FULL` in the database's init_command, as config/settings.py does.",
        id="ops.E001",
    )
