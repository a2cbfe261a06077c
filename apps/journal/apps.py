"""Outbox, heartbeats: rows that name their subject by kind and id, with no foreign key upwards."""

from django.apps import AppConfig


class JournalConfig(AppConfig):
    """Registers the room with Django."""

    name = "apps.journal"
    label = "journal"
