"""Calls of providers' webhooks: stored raw, verified, told apart, and followed by a question of our own."""

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    """Registers the room with Django."""

    name = "apps.webhooks"
    label = "webhooks"
