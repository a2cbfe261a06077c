"""What the database itself keeps of the ledger: sums at commit (PostgreSQL), triggers that survive a remade table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.db import IntegrityError, connection, transaction

from apps.accounts.models import Tenant
from apps.common.money import Money
from apps.wallet import ledger
from apps.wallet.models import Account, Entry, Transfer
from tests.factories import START, make_customer, make_tenant
from tests.functional.core_fixtures import committed
from tests.functional.past_the_guards import sql

__all__ = ["committed"]

FILE = Path(__file__).resolve().parents[2] / "migrations_sql" / "migration_wallet_balanced.sql"
NAMES = ("wallet_entry_sums_to_zero", "wallet_transfer_has_entries")


def new_transfer(tenant: Tenant, key: str, *entries: tuple[str, str, int]) -> None:
    """A transfer as anybody's SQL could write it: account kind, currency, micro-units."""
    transfer = Transfer.objects.create(
        tenant=tenant, key=key, kind="test", subject_kind="test", subject_id=1, actor="nobody", at=START
    )
    for kind, currency, micros in entries:
        account, _ = Account.objects.get_or_create(tenant=tenant, kind=kind, currency=currency)
        Entry.objects.create(transfer=transfer, account=account, amount_micros=micros)


@pytest.mark.postgres
class TestACommit:
    def test_of_a_balanced_transfer_is_allowed(self, committed: None) -> None:
        with transaction.atomic():
            new_transfer(make_tenant(), "even", ("cash", "TRY", -5), ("held", "TRY", 2), ("loss", "TRY", 3))

    @pytest.mark.parametrize(
        "entries",
        [
            (("cash", "TRY", -5),),
            (("cash", "TRY", -5), ("held", "TRY", 4)),
            (("cash", "TRY", -5), ("held", "USD", 5)),
            (("cash", "TRY", -5), ("held", "TRY", 5), ("fx", "USD", 1)),
        ],
    )
    def test_of_one_that_is_not_is_refused(self, committed: None, entries: tuple[tuple[str, str, int], ...]) -> None:
        tenant = make_tenant()
        with pytest.raises(IntegrityError, match="must sum to zero in each currency"), transaction.atomic():
            new_transfer(tenant, "odd", *entries)
        assert Transfer.objects.count() == 0

    def test_of_a_transfer_without_entries_is_refused(self, committed: None) -> None:
        tenant = make_tenant()
        with pytest.raises(IntegrityError, match="a transfer must have entries"), transaction.atomic():
            new_transfer(tenant, "hollow")

    def test_of_an_entry_that_joins_an_old_transfer_is_refused(self, committed: None) -> None:
        tenant = make_tenant()
        with transaction.atomic():
            new_transfer(tenant, "even", ("cash", "TRY", -5), ("held", "TRY", 5))
        transfer, account = Transfer.objects.get(), Account.objects.get(kind="held")
        with pytest.raises(IntegrityError, match="must sum to zero"), transaction.atomic():
            Entry.objects.create(transfer=transfer, account=account, amount_micros=1)


def definitions() -> dict[str, tuple[str, str]]:
    """Trigger and function as PostgreSQL tells them, by name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname, pg_get_triggerdef(pg_trigger.oid), pg_get_functiondef(tgfoid) FROM pg_trigger "
            "WHERE tgname = ANY(%s)",
            [list(NAMES)],
        )
        return {name: (trigger, function) for name, trigger, function in cursor.fetchall()}


@pytest.mark.postgres
@pytest.mark.django_db
class TestTheSqlFile:
    def test_makes_what_the_migration_makes(self) -> None:
        by_migration = definitions()
        assert set(by_migration) == set(NAMES)
        for name in NAMES:
            sql(f"DROP TRIGGER {name} ON {'wallet_entry' if 'entry' in name else 'wallet_transfer'}")
            sql(f"DROP FUNCTION {name}()")
        for _ in range(2):
            for statement in statements():
                sql(statement)
            assert definitions() == by_migration


def statements() -> list[str]:
    """The file's statements without its comments and its own transaction."""
    text = re.sub(r"^--.*$", "", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [line for line in lines if line not in ("BEGIN;", "COMMIT;") and not line.startswith("SET LOCAL")]


@pytest.mark.both_databases
@pytest.mark.django_db
class TestTheWriter:
    def test_checks_the_sums_where_the_database_cannot(self) -> None:
        """SQLite has no deferred triggers."""
        customer = make_customer(make_tenant())
        legs = (
            ledger.Leg(ledger.customer_purse(customer.pk), Money(-1, "TRY")),
            ledger.Leg(ledger.LOSS, Money(2, "TRY")),
        )
        with pytest.raises(ledger.BadPosting, match=r"^legs: "):
            ledger.post(customer.tenant_id, [ledger.Posting("odd", "test", legs, "test", 1, actor="x")], START)
        assert not Transfer.objects.filter(key="odd").exists()
