"""One decision about many orders, with a row for each of them and what came of it."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class BulkAction(models.Model):
    """What one person wants done with the orders that a filter let through at one moment; they are its rows.

    A draft is the dry run: nothing is done until it is started. `query` is the filter as the list of orders has it.
    `undoes`: the action whose effect this one takes back.
    """

    class Kind(models.TextChoices):
        ASK = "ask", _("Ask again now")
        SEND = "send", _("Send what waits now")
        REJECT = "reject", _("Reject before anything is sent; the money goes back")
        CLAIM = "claim", _("Work on these orders in review")
        NOTE = "note", _("Write a note")
        TAG = "tag", _("Put a tag on")
        UNTAG = "untag", _("Take a tag off")

    class Status(models.TextChoices):
        DRAFT = "draft", _("dry run")
        WAITING = "waiting", _("waits for a second person")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        CANCELLED = "cancelled", _("cancelled")

    tenant = models.ForeignKey("accounts.Tenant", on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=8, choices=Kind)
    query = models.CharField(max_length=1000, blank=True, default="")
    reason = models.CharField(max_length=180)
    tag = models.CharField(max_length=40, blank=True, default="", db_default="")
    undoes = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="+")
    status = models.CharField(max_length=10, choices=Status, default=Status.DRAFT)
    asked_by = models.ForeignKey("accounts.User", on_delete=models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    confirmed_by = models.ForeignKey("accounts.User", on_delete=models.PROTECT, null=True, related_name="+")
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.ForeignKey("accounts.User", on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        db_table = "orders_bulk_action"
        verbose_name = _("bulk action")
        indexes = [
            models.Index(fields=["id"], condition=Q(status="running"), name="bulk_running"),
            models.Index(fields=["tenant", "-id"], name="bulk_by_shop"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["draft", "waiting", "running", "done", "cancelled"]), name="bulk_status_known"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["ask", "send", "reject", "claim", "note", "tag", "untag"]), name="bulk_kind_known"
            ),
            # A tag is put on or taken off by name, and nothing else has one.
            models.CheckConstraint(
                condition=(Q(kind__in=["tag", "untag"]) & ~Q(tag="")) | (~Q(kind__in=["tag", "untag"]) & Q(tag="")),
                name="bulk_tag_where_one_belongs",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="bulk_has_a_reason"),
            # Four eyes are two people's.
            models.CheckConstraint(
                condition=Q(confirmed_by__isnull=True) | ~Q(confirmed_by=F("asked_by")),
                name="bulk_confirmed_by_another",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["done", "cancelled"], ended_at__isnull=False)
                | (Q(ended_at__isnull=True) & ~Q(status__in=["done", "cancelled"])),
                name="bulk_ended_has_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.kind}: {self.status}"


class BulkRow(models.Model):
    """One order of a bulk action: not done yet, or what came of it, written once.

    `amount_micros` is the money that hung on it at the dry run, for a decision that moves any.
    """

    class State(models.TextChoices):
        PENDING = "pending", _("not done yet")
        DONE = "done", _("done")
        WAITS = "waits", _("waits for a second person")
        REFUSED = "refused", _("not done")
        EXCLUDED = "excluded", _("was never part of it")

    bulk = models.ForeignKey(BulkAction, on_delete=models.CASCADE, related_name="rows")
    order = models.ForeignKey("orders.Order", on_delete=models.PROTECT, related_name="+")
    amount_micros = models.BigIntegerField(null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True, default="")
    state = models.CharField(max_length=8, choices=State, default=State.PENDING)
    said = models.CharField(max_length=300, blank=True, default="")
    at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "orders_bulk_row"
        indexes = [models.Index(fields=["bulk"], condition=Q(state="pending"), name="bulk_row_pending")]
        constraints = [
            # An order is decided once, however often it was found.
            models.UniqueConstraint(fields=["bulk", "order"], name="bulk_row_once_per_order"),
            models.CheckConstraint(
                condition=Q(state__in=["pending", "done", "waits", "refused", "excluded"]), name="bulk_row_state_known"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["pending", "excluded"], at__isnull=True)
                | (Q(at__isnull=False) & ~Q(state__in=["pending", "excluded"])),
                name="bulk_row_result_has_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.bulk_id}/{self.order_id}: {self.state}"
