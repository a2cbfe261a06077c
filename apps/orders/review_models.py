"""Orders in review that rest until somebody wants to see them again."""

from __future__ import annotations

from django.db import models


class ReviewSnooze(models.Model):
    """Until when one order in review rests, and of which review: with other news or another status it rests no longer.

    `version` and `reason` are the order's when it was laid aside.
    """

    order = models.OneToOneField("orders.Order", on_delete=models.PROTECT, related_name="review_snooze")
    until = models.DateTimeField()
    version = models.PositiveIntegerField()
    reason = models.CharField(max_length=120)

    class Meta:
        db_table = "orders_review_snooze"

    def __str__(self) -> str:
        return f"{self.order_id} rests until {self.until:%Y-%m-%d %H:%M}"
