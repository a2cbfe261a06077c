"""A resident process that does the sweep's work without broker or beat."""

from __future__ import annotations

import gc
import signal
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.common import processes
from apps.orders import monitoring

PAUSE_S = 1.0


class Command(BaseCommand):
    """Sweeps again and again: sends and asks whatever is due, with a pause of a second when nothing is."""

    help = "Sends and asks whatever is due, again and again, without Celery, Beat or Redis; Ctrl-C or SIGTERM ends it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--seconds", type=float, default=None, metavar="N", help="end after N seconds (default: never)"
        )

    def handle(self, *args: Any, seconds: float | None, **options: Any) -> None:
        if seconds is not None and not seconds > 0:
            raise CommandError("--seconds must be above zero")
        processes.started.send(sender=type(self))
        stop = Event()
        gc.freeze()  # what is loaded by now stays: looking through it again and again is a tenth of all the work
        with _stopped_by(signal.SIGTERM, stop):
            try:
                monitoring.poll_forever(stop_after_s=seconds, pause_s=PAUSE_S, stop=stop)
            except KeyboardInterrupt:
                stop.set()
        if stop.is_set():
            self.stdout.write("Stopped: what is due stays due.")


@contextmanager
def _stopped_by(number: signal.Signals, stop: Event) -> Iterator[None]:
    """Within the block the signal sets `stop`, so that the questions of this moment are still answered."""
    before = signal.signal(number, lambda *_: stop.set())
    try:
        yield
    finally:
        signal.signal(number, before)
