"""Operator pages."""

from django.apps import AppConfig


class PanelConfig(AppConfig):
    """Registers the room with Django."""

    name = "apps.panel"
    label = "panel"
