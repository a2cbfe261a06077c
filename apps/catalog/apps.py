"""What is sold: products, their input fields, packages and prices."""

from django.apps import AppConfig


class CatalogConfig(AppConfig):
    """Registers the room with Django."""

    name = "apps.catalog"
    label = "catalog"
