"""REST for machines."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    """Registers the room with Django."""

    name = "apps.api"
    label = "api"
