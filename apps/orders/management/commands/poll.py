"""A resident process that does the sweep's work without broker or beat."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.common import processes
from apps.orders import monitoring

PAUSE_S = 1.0


class Command(BaseCommand):
    """Sweeps again and again: sends and asks whatever is due, with a pause of a second when nothing is."""

    help = (
        "Sends and asks about every order that is due, again and again, without Celery, Beat or Redis. Ctrl-C ends it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--seconds", type=float, default=None, metavar="N", help="end after N seconds (default: never)"
        )

    def handle(self, *args: Any, seconds: float | None, **options: Any) -> None:
        if seconds is not None and not seconds > 0:
            raise CommandError("--seconds must be above zero")
        processes.started.send(sender=type(self))
        try:
            monitoring.poll_forever(stop_after_s=seconds, pause_s=PAUSE_S)
        except KeyboardInterrupt:
            self.stdout.write("Stopped: what is due stays due.")
