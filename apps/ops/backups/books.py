"""What a database holds, in numbers that a restore must bring back: migrations, rows by table, sums of the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from apps.accounts.models import Tenant
from apps.wallet import ledger

Ledger = dict[str, dict[str, int]]
"""Micro-units by shop (its id as text) and by kind of account with its currency, as `customer TRY`."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The applied migrations as `app.name`, and how many rows each table has."""

    migrations: list[str]
    rows: dict[str, int]


def count_contents() -> Contents:
    """Count the rows of every table of the database that the connection is bound to."""
    with connection.cursor() as cursor:
        rows = {}
        for table in sorted(connection.introspection.table_names(cursor)):
            cursor.execute(f"SELECT count(*) FROM {connection.ops.quote_name(table)}")  # noqa: S608 - a quoted name
            rows[table] = int(cursor.fetchone()[0])
    applied = sorted(f"{app}.{name}" for app, name in MigrationRecorder(connection).applied_migrations())
    return Contents(applied, rows)


def sum_ledger() -> Ledger:
    """The trial balance of every shop."""
    return {
        str(tenant_id): {
            f"{kind} {currency}": sum_ for (kind, currency), sum_ in ledger.trial_balance(tenant_id).items()
        }
        for tenant_id in Tenant.objects.order_by("pk").values_list("pk", flat=True)
    }


def differences(expected: Mapping[str, object], found: Mapping[str, object]) -> Iterator[str]:
    """Where two mappings disagree, in words."""
    for name in sorted({*expected, *found}):
        if expected.get(name) != found.get(name):
            yield f"{name}: {expected.get(name)} in the backup, {found.get(name)} restored"
