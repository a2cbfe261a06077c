"""Words that operators put on orders to find them again."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class OrderTag(models.Model):
    """One word on one order, by whom and since when; taken off it is deleted, and the story keeps both."""

    order = models.ForeignKey("orders.Order", on_delete=models.PROTECT, related_name="tags")
    name = models.CharField(max_length=40)
    actor = models.CharField(max_length=80)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "orders_tag"
        indexes = [models.Index(fields=["name", "-order"], name="tag_by_name")]
        constraints = [
            # Two operators who tag at once put it on once.
            models.UniqueConstraint(fields=["order", "name"], name="tag_once_per_order"),
            models.CheckConstraint(condition=~Q(name=""), name="tag_says_something"),
        ]

    def __str__(self) -> str:
        return f"{self.name} on {self.order_id}"
