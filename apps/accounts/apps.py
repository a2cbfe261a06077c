"""Tenants, their people, their customers, and the keys that customers call with."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Registers the room with Django."""

    name = "apps.accounts"
    label = "accounts"

    def ready(self) -> None:
        """Listen to sign-ins, and record every change of shops, people, customers and keys."""
        from apps.accounts import sign_ins, watching

        sign_ins.listen()
        watching.watch_tables()
