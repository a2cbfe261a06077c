"""The double-entry ledger; nobody else touches its tables."""

from django.apps import AppConfig


class WalletConfig(AppConfig):
    """Registers the room with Django."""

    name = "apps.wallet"
    label = "wallet"
