"""`manage.py backup FILE|FOLDER`: the whole database of this moment in one file, while everything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.common import clock
from apps.ops.backups.making import back_up
from apps.ops.backups.troubles import BackupTrouble


class Command(BaseCommand):
    """Exit code 1 and no file when anything goes wrong."""

    help = "Back the whole database up into one file, while everything runs."

    def add_arguments(self, parser: CommandParser) -> None:
        """Where to, and how to tell it."""
        parser.add_argument("target", type=Path, metavar="FILE|FOLDER", help="a new file, or a folder for one")
        parser.add_argument("--json", action="store_true", help="print one line of JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make it, and say what is in it."""
        try:
            path, manifest = back_up(options["target"].resolve(), clock.now())
        except BackupTrouble as trouble:
            raise CommandError(str(trouble)) from trouble
        told = {"file": str(path), "bytes": path.stat().st_size, "rows": sum(manifest.rows.values())}
        if options["json"]:
            self.stdout.write(json.dumps({**told, "sha256": manifest.sha256, "made_at": manifest.made_at}))
            return
        self.stdout.write(f"{path}: {told['bytes']} bytes, {len(manifest.rows)} tables, {told['rows']} rows.")
        self.stdout.write(
            "Keep a copy of .env elsewhere: without its keys nobody can read the backup's secrets and PINs."
        )
