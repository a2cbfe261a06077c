"""`manage.py check_money`: all money recomputed; every row that disagrees, and exit code 1 if there is any."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from apps.common import clock
from apps.journal import heartbeats
from apps.ops.facts import MONEY_CHECK
from apps.ops.money_check import check_money


class Command(BaseCommand):
    """Prints each disagreement, then the counts."""

    help = "Recompute all money from the ledger's entries, and compare it with orders, units and attempts."

    def add_arguments(self, parser: CommandParser) -> None:
        """One option."""
        parser.add_argument("--json", action="store_true", help="print the counts as one line of JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Count, print, and fail loudly."""
        check = check_money()
        with contextlib.suppress(Error):  # a copy of the database that takes no writes can be checked, too
            heartbeats.beat(MONEY_CHECK, clock.now(), problems=len(check.problems))
        for problem in check.problems:
            self.stdout.write(f"NOT RIGHT: {problem}")
        counts = check.as_dict()
        sentence = "{orders} orders, {accounts} accounts, {entries} entries; unexplained: {unexplained}"
        self.stdout.write(json.dumps(counts) if options["json"] else sentence.format(**counts))
        if check.problems:
            raise CommandError(f"the money does not add up: {len(check.problems)} disagreements")
