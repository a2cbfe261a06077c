"""`manage.py after_restore`: once after a restore from a backup, before web, workers and pollers run again."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.common import clock
from apps.ops import restored
from apps.orders.restored import Restored, after_restore


class Command(BaseCommand):
    """Makes the restored books safe, and says what people have to do."""

    help = "After a restore from a backup: buy nothing again that may have been bought since it was taken."

    def add_arguments(self, parser: CommandParser) -> None:
        """Two options."""
        parser.add_argument(
            "--closed-within", type=float, default=24, metavar="HOURS", help="ask about attempts that ended so lately"
        )
        parser.add_argument("--json", action="store_true", help="print the counts as one line of JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Refuse while anything works on the books; then mark, hold and ask."""
        now = clock.now()
        at_work = restored.loops_at_work(now)
        if at_work:
            text = "still at work: {}. Stop web, workers, beat and pollers, wait a minute, and run it again"
            raise CommandError(text.format(", ".join(at_work)))
        tables = restored.jump_numbers()
        done = after_restore(now, timedelta(hours=options["closed_within"]))
        if options["json"]:
            self.stdout.write(json.dumps({**asdict(done), "tables": tables}))
            return
        self._tell(done)

    def _tell(self, done: Restored) -> None:
        self.stdout.write(f"{done.marked} open orders: nothing of them is bought again before a person has said so.")
        self.stdout.write(f"{done.for_people} of them wait for a person now (review, reason waiting:restored).")
        self.stdout.write(f"{done.asked} purchases are asked about as soon as a worker or poller runs.")
        for name in done.stocks:
            self.stdout.write(
                f"Switched off: own stock {name!r}. Take out the codes that were sold, then switch it on."
            )
        self.stdout.write("Now import the providers' statements since the backup: docs/RESTORE.md says how.")
