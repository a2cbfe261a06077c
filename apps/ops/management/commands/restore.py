"""`manage.py restore FILE`: a backup into an empty database, or one that is named to be replaced, and made safe."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from apps.common import clock
from apps.ops.backups.archive import Manifest
from apps.ops.backups.restoring import Done, check_backup, restore
from apps.ops.backups.troubles import BackupTrouble
from apps.ops.invariants import violations
from apps.ops.money_check import check_money


class Command(BaseCommand):
    """All or nothing; what stood open is a person's question afterwards, as after `manage.py after_restore`."""

    help = "Restore a backup into an empty database, and buy nothing again that may have been bought since."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The file, and what may be given up."""
        parser.add_argument("file", type=Path, metavar="FILE", help="what `manage.py backup` has made")
        parser.add_argument(
            "--check", action="store_true", help="read the whole file, say what is in it, change nothing"
        )
        parser.add_argument(
            "--replace", default="", metavar="DATABASE", help="the name of the database whose contents are given up"
        )
        parser.add_argument("--other-keys", action="store_true", help="the .env of the backup is lost for good")
        parser.add_argument(
            "--closed-within", type=float, default=24, metavar="HOURS", help="ask about attempts that ended so lately"
        )
        parser.add_argument("--json", action="store_true", help="print one line of JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check or restore; fail loudly."""
        try:
            if options["check"]:
                self._tell_backup(check_backup(options["file"], has_other_keys=options["other_keys"]), options["json"])
                return
            done = restore(
                options["file"],
                replace=options["replace"],
                has_other_keys=options["other_keys"],
                closed_within=timedelta(hours=options["closed_within"]),
                now=clock.now(),
            )
        except BackupTrouble as trouble:
            raise CommandError(str(trouble)) from trouble
        self._tell(done, options["json"])
        self._check_books()

    def _tell_backup(self, manifest: Manifest, is_json: bool) -> None:
        told = {"made_at": manifest.made_at, "vendor": manifest.vendor, "rows": sum(manifest.rows.values())}
        if is_json:
            self.stdout.write(json.dumps({**told, "sha256": manifest.sha256}))
            return
        self.stdout.write("Whole: of {made_at}, {vendor}, {rows} rows.".format(**told))

    def _tell(self, done: Done, is_json: bool) -> None:
        restored = done.restored
        if is_json:
            told = {"made_at": done.manifest.made_at, "migrated": done.migrated, **asdict(restored)}
            self.stdout.write(json.dumps(told))
            return
        rows = sum(done.manifest.rows.values())
        self.stdout.write(
            f"Restored: {rows} rows of {done.manifest.made_at}, {done.migrated} migrations applied on top."
        )
        self.stdout.write(
            f"{restored.marked} open orders wait for a person before anything of them is bought again "
            f"({restored.for_people} at once); {restored.asked} purchases are asked about first thing."
        )
        for name in restored.stocks:
            self.stdout.write(f"Switched off: own stock {name!r}. Take out the codes that were sold since.")
        self.stdout.write("Now start the hub, and import the providers' statements: docs/RESTORE.md says how.")

    def _check_books(self) -> None:
        broken = [violation.name for violation in violations(connection)]
        if wrong := [*broken, *check_money().problems]:
            raise CommandError(f"restored, but the books are wrong as they were saved: {'; '.join(wrong[:5])}")
