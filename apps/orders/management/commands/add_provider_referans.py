"""Adds the column `provider_referans` and its index by hand; `scripts/add_provider_referans.py` ends up here."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, Error, connections

from apps.orders import referans_column as column


class Command(BaseCommand):
    """Says what it found and did, in plain sentences. Safe to repeat, and in any order with `migrate`."""

    help = "Adds the column provider_referans and its index to product_orders where they are missing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="alias of the database (default: default)")

    def handle(self, *args: Any, database: str, **options: Any) -> None:
        connection = connections[database]
        try:
            found = column.inspect(connection)
            self._tell_found(found)
            if not (found.column and found.index):
                column.add_what_is_missing(connection)
                found = column.inspect(connection)
                self.stdout.write("Added what was missing.")
        except column.TableMissing as error:
            raise CommandError(
                f"There is no table {column.TABLE} in this database yet. Run `python manage.py migrate`: "
                "it makes the table, with this column."
            ) from error
        except column.NotAllowed as error:
            raise CommandError(self._permission(error, column.owner_of_table(connection), connection.vendor)) from error
        except Error as error:
            raise CommandError(
                f"The database refused: {str(error).strip()}. Nothing was changed; run this again."
            ) from error
        if found != column.WANTED:
            raise CommandError(
                f"What stands there is not what the hub expects. Expected: {column.COLUMN} {column.WANTED.column}, "
                f"indexed by {column.INDEX}. Found: {column.COLUMN} {found.column}, index on {', '.join(found.index)}. "
                "Nothing that exists was changed: change it by hand, or ask whoever made it."
            )
        self.stdout.write(f"{column.TABLE}.{column.COLUMN} and its index are as they should be.")

    def _tell_found(self, found: column.Found) -> None:
        has_column = f"Column {column.COLUMN}: " + (found.column or "missing")
        has_index = f"Index {column.INDEX}: " + ("there" if found.index else "missing")
        self.stdout.write(f"{has_column}. {has_index}.")

    def _permission(self, error: column.NotAllowed, owner: str, vendor: str) -> str:
        if vendor != "postgresql":
            return (
                f"Permission error: {error}. Give this user the right to write the database file, and run this again."
            )
        file = column.SQL_FILE.relative_to(column.SQL_FILE.parents[1])
        return (
            f"Permission error: {error}. Run the SQL as the owner ({owner}): "
            f"psql -U {owner} -d DATABASE -v ON_ERROR_STOP=1 -f {file}"
        )
