"""Proofs that run against the simulator."""

from django.apps import AppConfig


class ProofConfig(AppConfig):
    """Registers the room with Django."""

    name = "apps.proof"
    label = "proof"
