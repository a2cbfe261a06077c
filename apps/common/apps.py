"""The room below all others: clock, money, wire, crypto, logs."""

from django.apps import AppConfig
from django.conf import settings


class CommonConfig(AppConfig):
    """Sets up logging when Django starts."""

    name = "apps.common"
    label = "common"

    def ready(self) -> None:
        """Configure the logs once per process."""
        from apps.common.logs import configure

        configure(settings.LOGGING)
