"""A commit leaves every transfer with entries that sum to zero per currency (PostgreSQL); an account stays what it is.

The same for people who run SQL by hand: migrations_sql/migration_wallet_balanced.sql.
"""

from django.db import migrations

from apps.common.triggers import AtCommit, Forbid, append_only, install

IDENTITY = ("tenant_id", "kind", "currency", "subject_kind", "subject_id")

BALANCED = [
    AtCommit(
        "wallet_entry_sums_to_zero",
        "wallet_entry",
        "SELECT 1 FROM wallet_entry JOIN wallet_account ON wallet_account.id = wallet_entry.account_id "
        "WHERE wallet_entry.transfer_id = NEW.transfer_id "
        "GROUP BY wallet_account.currency HAVING SUM(wallet_entry.amount_micros) <> 0",
        "the entries of a transfer must sum to zero in each currency",
    ),
    AtCommit(
        "wallet_transfer_has_entries",
        "wallet_transfer",
        "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM wallet_entry WHERE wallet_entry.transfer_id = NEW.id)",
        "a transfer must have entries",
    ),
]

FROZEN = Forbid(
    "wallet_account",
    "UPDATE",
    "an account never changes what it is",
    " OR ".join(f"OLD.{column} <> NEW.{column}" for column in IDENTITY),
)


class Migration(migrations.Migration):
    dependencies = [("wallet", "0003_people_and_authors")]

    operations = [
        install([*BALANCED, FROZEN, *append_only("wallet_credit_change"), *append_only("wallet_confirm_limit")])
    ]
