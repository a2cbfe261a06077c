"""Rows that others leave for loops to find: events to send, and when each loop last ran."""

from __future__ import annotations

from django.db import models


class OutboxEvent(models.Model):
    """An event for the outside, written in the transaction of the change it tells; delivered at least once, later."""

    tenant_id = models.BigIntegerField()
    kind = models.CharField(max_length=60)
    subject_kind = models.CharField(max_length=40)
    subject_id = models.BigIntegerField()
    body = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    published_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "journal_outbox_event"
        indexes = [
            models.Index(fields=["id"], condition=models.Q(published_at__isnull=True), name="outbox_unpublished"),
            models.Index(fields=["subject_kind", "subject_id"], name="outbox_by_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_kind}:{self.subject_id}"


class Heartbeat(models.Model):
    """When a loop last ran, and who holds its token until when (so that one copy runs at a time)."""

    name = models.CharField(primary_key=True, max_length=60)
    beat_at = models.DateTimeField(null=True, blank=True)
    holder = models.CharField(max_length=64, blank=True, default="")
    held_until = models.DateTimeField(null=True, blank=True)
    detail = models.JSONField(default=dict)

    class Meta:
        db_table = "journal_heartbeat"

    def __str__(self) -> str:
        return self.name
