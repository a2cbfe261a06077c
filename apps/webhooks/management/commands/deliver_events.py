"""Sends the events that are due to the webhooks of customers, once: for a cron job, or while the broker is away."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from apps.webhooks.tasks import deliver_events


class Command(BaseCommand):
    """`manage.py deliver_events`."""

    help = "Send every event that is due to the webhooks of customers, and return."

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what beat's task does."""
        ran = deliver_events()
        self.stdout.write(f"handed on: {ran['published']}, tries: {ran['tries']}")
