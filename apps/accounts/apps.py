"""Tenants, their people, their customers, and the keys that customers call with."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Registers the room with Django."""

    name = "apps.accounts"
    label = "accounts"
