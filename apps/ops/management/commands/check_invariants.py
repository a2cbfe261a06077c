"""`manage.py check_invariants`: what must always hold, asked of the database; exit code 1 if anything does not."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from apps.ops.invariants import load_invariants, violations


class Command(BaseCommand):
    """Prints each invariant that is broken with its first rows, then how many were looked at."""

    help = "Run migrations_sql/check_invariants.sql against the database, reading only."

    def add_arguments(self, parser: CommandParser) -> None:
        """One option."""
        parser.add_argument("--json", action="store_true", help="print everything as one line of JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Look, print, and fail loudly."""
        checked, broken = len(load_invariants(connection.vendor)), violations(connection)
        if options["json"]:
            self.stdout.write(json.dumps({"checked": checked, "broken": [asdict(found) for found in broken]}))
        else:
            for found in broken:
                self.stdout.write("\n".join(found.lines()))
            self.stdout.write(f"{checked} invariants, broken: {len(broken)}")
        if broken:
            raise CommandError(f"not everything holds: {len(broken)} invariants are broken")
