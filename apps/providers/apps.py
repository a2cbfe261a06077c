"""Accounts at providers, mappings, routes, and the protocols to talk to them."""

from django.apps import AppConfig


class ProvidersConfig(AppConfig):
    """Registers the room with Django."""

    name = "apps.providers"
    label = "providers"

    def ready(self) -> None:
        """Register the check of the declarations, and record every change of accounts, mappings and routes."""
        from apps.providers import (
            checks,  # noqa: F401 - importing registers it
            watching,
        )

        watching.watch_tables()
