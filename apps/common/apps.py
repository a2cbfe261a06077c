"""The room below all others: clock, money, wire, crypto, logs."""

from django.apps import AppConfig
from django.conf import settings


class CommonConfig(AppConfig):
    """Sets up logging and the database's sessions when Django starts."""

    name = "apps.common"
    label = "common"

    def ready(self) -> None:
        """Configure the logs once per process, and every new session at the database."""
        from django.db.backends.signals import connection_created

        from apps.common.logs import configure
        from apps.common.sessions import limit_idle_transactions

        configure(settings.LOGGING)
        connection_created.connect(limit_idle_transactions, dispatch_uid="limit_idle_transactions")
