"""Calls of providers' webhooks in, and events for customers' webhooks out."""

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    """Registers the room with Django, and lets it hear of every event."""

    name = "apps.webhooks"
    label = "webhooks"

    def ready(self) -> None:
        """Follow the outbox."""
        from apps.journal.outbox import recorded
        from apps.webhooks.kicks import follow_outbox

        recorded.connect(follow_outbox, dispatch_uid="webhooks.follow_outbox")
