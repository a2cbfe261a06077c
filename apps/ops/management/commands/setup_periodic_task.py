"""Installs beat's schedule, shows it, or puts it back; `scripts/setup_periodic_task.py` ends up here."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from apps.ops import schedule

SAID = {"created": "created", "kept": "was there, left as it is", "reset": "put back to its first settings"}


class Command(BaseCommand):
    """Creates the periodic tasks that are missing. What a person changed is never overwritten without --reset."""

    help = "Installs the periodic tasks that Celery Beat runs; what a person changed stays."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--show", action="store_true", help="only print what is installed, with the last run")
        parser.add_argument("--reset", action="store_true", help="put our entries back to their first settings")

    def handle(self, *args: Any, show: bool, reset: bool, **options: Any) -> None:
        try:
            if not show:
                for done in schedule.install_schedule(reset=reset):
                    self.stdout.write(f"{done.name}: {SAID[done.what]}.")
            self._show(schedule.load_entries())
        except Error as error:
            raise CommandError(
                f"Beat's tables could not be used ({type(error).__name__}). Run `python manage.py migrate` first."
            ) from error

    def _show(self, entries: list[schedule.Entry]) -> None:
        rows = [("name", "runs", "queue", "enabled", "last run (written every 3 minutes)"), *map(_row, entries)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            self.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        for twin in schedule.duplicates(entries):
            self.stdout.write(
                f"{twin.name} runs {twin.task} a second time. That does no harm, but wastes work: "
                "delete it in the admin if nobody needs it."
            )


def _row(entry: schedule.Entry) -> tuple[str, ...]:
    last = f"{entry.last_run_at:%Y-%m-%d %H:%M:%S} UTC" if entry.last_run_at else "never"
    return (entry.name, entry.when, entry.queue, "yes" if entry.is_enabled else "NO", last)
