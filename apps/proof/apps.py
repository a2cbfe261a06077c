"""The proof: the real code under virtual time and seeded faults. Imports every room; nothing imports it."""

from django.apps import AppConfig


class ProofConfig(AppConfig):
    """Registers the room with Django, for its command."""

    name = "apps.proof"
    label = "proof"
