"""Health, doctor, start-up, schedule: what the people who run it need."""

from django.apps import AppConfig


class OpsConfig(AppConfig):
    """Registers the room with Django."""

    name = "apps.ops"
    label = "ops"

    def ready(self) -> None:
        """Register the start-up checks, and be told when a long-lived process begins."""
        from apps.ops import checks, watching  # noqa: F401

        watching.listen()
