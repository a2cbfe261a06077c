"""What all workers share about the traffic to an account: how much of its budget is spent, and whether it answers."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class RateBudget(models.Model):
    """How much of an account's budget is spent, in microseconds since 1970; used where there is no Redis."""

    integration = models.OneToOneField(
        "providers.Integration", on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    all_us = models.BigIntegerField(default=0)
    ask_us = models.BigIntegerField(default=0)

    class Meta:
        db_table = "providers_rate_budget"

    def __str__(self) -> str:
        return f"budget of account {self.pk}"


class Breaker(models.Model):
    """Whether an account answers. `failed_us` are its latest failures in a row, oldest first, while it is closed.

    `held_at`: a person has stopped new orders to the account, until a person lets them go there again.
    """

    integration = models.OneToOneField(
        "providers.Integration", on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    failed_us = models.JSONField(default=list)
    opened_at = models.DateTimeField(null=True, blank=True)
    next_probe_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    held_at = models.DateTimeField(null=True, blank=True)
    held_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    held_why = models.CharField(max_length=200, blank=True, default="", db_default="")

    class Meta:
        db_table = "providers_breaker"
        constraints = [
            # An open breaker without a next probe would stay open for ever.
            models.CheckConstraint(
                condition=Q(opened_at__isnull=True, next_probe_at__isnull=True)
                | Q(opened_at__isnull=False, next_probe_at__isnull=False),
                name="breaker_open_has_a_probe",
            ),
        ]

    def __str__(self) -> str:
        return f"breaker of account {self.pk}"
