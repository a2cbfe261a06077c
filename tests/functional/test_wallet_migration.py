"""The wallet's newer migrations on a ledger that is in use: forwards, back, and forwards again, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from pytest_django import DjangoDbBlocker

from tests.functional.test_provider_referans_migration import ALIAS, made_database, new_name

pytestmark = pytest.mark.both_databases

BEFORE = "0002_append_only"
GUARDED = ("wallet_transfer", "wallet_entry")


@pytest.fixture
def database(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[BaseDatabaseWrapper]:
    with django_db_blocker.unblock(), made_database(new_name(tmp_path)) as connection:
        migrate_to(BEFORE)
        insert_deposit(connection)
        yield connection


def migrate_to(name: str | None) -> None:
    target = ["wallet"] if name is None else ["wallet", name]
    call_command("migrate", *target, database=ALIAS, verbosity=0)


def insert_deposit(connection: BaseDatabaseWrapper) -> None:
    """A wallet with 5 TRY, by the models of that time."""
    models = MigrationExecutor(connection).loader.project_state(("wallet", BEFORE)).apps

    def make(label: str, **values: object) -> Any:
        return models.get_model(label).objects.using(ALIAS).create(**values)

    tenant = make("accounts.Tenant", name="Shop", slug="shop")
    customer = make("accounts.Customer", tenant=tenant, name="Buyer", currency="TRY")
    wallet = make(
        "wallet.Account",
        tenant=tenant,
        kind="customer",
        currency="TRY",
        subject_kind="customer",
        subject_id=customer.pk,
        balance_micros=5,
    )
    cash = make("wallet.Account", tenant=tenant, kind="cash", currency="TRY")
    transfer = make(
        "wallet.Transfer",
        tenant=tenant,
        key="deposit:1",
        kind="deposit",
        subject_kind="customer",
        subject_id=customer.pk,
        actor="olga",
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    for account, amount in ((cash, -5), (wallet, 5)):
        make("wallet.Entry", transfer=transfer, account=account, amount_micros=amount)


def rows(connection: BaseDatabaseWrapper) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT t.key, t.actor, a.kind, a.balance_micros, e.amount_micros FROM wallet_entry e "
            "JOIN wallet_transfer t ON t.id = e.transfer_id JOIN wallet_account a ON a.id = e.account_id ORDER BY e.id"
        )
        return [tuple(row) for row in cursor.fetchall()]


def test_a_ledger_in_use_keeps_its_rows_and_its_guards(database: BaseDatabaseWrapper) -> None:
    expected = [("deposit:1", "olga", "cash", None, -5), ("deposit:1", "olga", "customer", 5, 5)]
    for target in (None, BEFORE, None):
        migrate_to(target)
        assert rows(database) == expected
        for table in GUARDED:
            check_append_only(database, table)


def check_append_only(connection: BaseDatabaseWrapper, table: str) -> None:
    for statement in (f"UPDATE {table} SET id = id", f"DELETE FROM {table}"):  # noqa: S608 - our own names
        with (
            pytest.raises(DatabaseError, match=f"{table} is append-only"),
            transaction.atomic(using=ALIAS),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
