"""`manage.py check_rollout`: whether the waiting migrations may run while the old code works; exit code 1 if not."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from apps.ops.rollout import judge


class Command(BaseCommand):
    """Prints each waiting migration that needs a stop, and why."""

    help = "Tell whether the waiting migrations may run while processes of the release before work; changes nothing."

    def handle(self, *args: Any, **options: Any) -> None:
        """Look, print, and fail loudly."""
        loader = MigrationLoader(connection)
        waiting = judge(loader, set(loader.applied_migrations)) if loader.applied_migrations else []
        stops = [verdict for verdict in waiting if verdict.needs_a_stop]
        for verdict in stops:
            self.stdout.write(f"{'.'.join(verdict.key)} needs a stop: {verdict.why}")
        self.stdout.write(f"migrations that wait: {len(waiting)}, of these need a stop: {len(stops)}")
        if stops:
            raise CommandError("stop the hub before `manage.py migrate`")
