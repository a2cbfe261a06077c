"""The room below all others: clock, money, wire, crypto, logs."""

from django.apps import AppConfig
from django.conf import settings


class CommonConfig(AppConfig):
    """Sets up logging and database sessions when Django starts."""

    name = "apps.common"
    label = "common"

    def ready(self) -> None:
        """Configure the logs once per process, and each connection when it is made."""
        from apps.common import sessions
        from apps.common.logs import configure

        configure(settings.LOGGING)
        sessions.install()
