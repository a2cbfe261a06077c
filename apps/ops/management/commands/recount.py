"""`manage.py recount TRUTH`: every order again, compared with the simulated provider's own ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.ops.recount import recount
from apps.orders.models import Order


class Command(BaseCommand):
    """Prints each disagreement, then one line of JSON; exits with 1 if there is any."""

    help = "Compare all orders with a provider's truth ledger (a file of JSON lines)."

    def add_arguments(self, parser: CommandParser) -> None:
        """One argument: the ledger."""
        parser.add_argument("truth", type=Path, help="the file truth.jsonl of the simulated provider")

    def handle(self, *args: Any, **options: Any) -> None:
        """Count, print, and fail loudly."""
        truth: Path = options["truth"]
        if not truth.is_file():
            raise CommandError(f"{truth} is no file: name the truth.jsonl that the simulated provider wrote")
        count = recount(Order.objects.order_by("id"), truth)
        for problem in count.problems:
            self.stdout.write(f"NOT RIGHT: {problem}")
        counts = {name: value for name, value in count.as_dict().items() if name != "seconds"}
        self.stdout.write(json.dumps(counts))
        if count.problems:
            raise CommandError(f"{len(count.problems)} disagreements")
