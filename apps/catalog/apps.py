"""What is sold: products, their input fields, packages and prices."""

from django.apps import AppConfig


class CatalogConfig(AppConfig):
    """Registers the room with Django."""

    name = "apps.catalog"
    label = "catalog"

    def ready(self) -> None:
        """Record every change of what is sold, and at which price."""
        from apps.catalog import watching

        watching.watch_tables()
