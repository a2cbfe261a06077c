"""Orders, units, attempts, dispatch, monitoring: what this project exists for."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """Registers the room with Django."""

    name = "apps.orders"
    label = "orders"
