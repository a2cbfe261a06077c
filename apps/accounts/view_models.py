"""Filters that a person keeps by a name."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class SavedView(models.Model):
    """One filter of the list of orders, as its address has it, under a name of the person's own."""

    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="saved_views")
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=1000)

    class Meta:
        db_table = "accounts_saved_view"
        constraints = [
            models.UniqueConstraint(fields=["user", "name"], name="saved_view_once_per_person"),
            models.CheckConstraint(condition=~Q(name="") & ~Q(query=""), name="saved_view_says_something"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id}: {self.name}"
