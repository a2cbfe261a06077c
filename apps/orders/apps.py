"""Orders, units, attempts, dispatch, monitoring: what this project exists for."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """Registers the room with Django."""

    name = "apps.orders"
    label = "orders"

    def ready(self) -> None:
        """Let what mends a trouble wake the orders that it held."""
        from apps.orders import mending

        mending.listen()
