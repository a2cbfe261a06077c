"""`manage.py rotate_keys`: everything sealed under an older key is sealed again under the first of FIELD_KEYS."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.ops import rotation


class Command(BaseCommand):
    """Counts by table; exit code 1 while anything still needs an older key. May be stopped and run again."""

    help = "Seal stored secrets and PINs again under the first key of FIELD_KEYS, while the hub goes on."

    def add_arguments(self, parser: CommandParser) -> None:
        """Two options."""
        parser.add_argument("--check", action="store_true", help="only count what still needs an older key")
        parser.add_argument("--batch", type=int, default=rotation.BATCH, metavar="N", help="rows read at once")

    def handle(self, *args: Any, check: bool, batch: int, **options: Any) -> None:
        """Rotate table by table, then count what is left."""
        if batch < 1:
            raise CommandError("--batch must be 1 or more")
        tables = rotation.sealed_tables()
        for table in [] if check else tables:
            self._tell(rotation.rotate(table, batch))
        left = {table.name: table.waiting().count() for table in tables}
        if any(left.values()):
            still = ", ".join(f"{name} {count}" for name, count in left.items() if count)
            raise CommandError(f"rows that still need an older key: {still}. Keep it in FIELD_KEYS and run this again")
        self.stdout.write("Everything is sealed under the first key; the older ones may leave FIELD_KEYS.")

    def _tell(self, done: rotation.Rotated) -> None:
        line = f"{done.table}: {done.rewritten} rewritten, {done.overtaken} changed meanwhile"
        if done.unreadable:
            ids = ", ".join(map(str, done.unreadable[:5]))
            line += f", {len(done.unreadable)} that no key opens (first ids: {ids})"
        self.stdout.write(line)
