"""Rows that others leave for loops to find: events to send, calls of providers, when each loop last ran, alerts."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class OutboxEvent(models.Model):
    """An event for a customer, written in the transaction of the change it tells; delivered at least once, later.

    `published_at`: when it was handed on to every endpoint of the customer that wants it.
    """

    tenant_id = models.BigIntegerField()
    customer_id = models.BigIntegerField(null=True, blank=True)
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


class ProviderWebhook(models.Model):
    """One call of a provider's webhook: stored as it came before anything is read, then judged, then followed.

    `sealed_call` holds path and headers for verifying, `headers` what people may see of them. The subjects are plain
    ids. `effect` stays empty until the row was read.
    """

    class Verdict(models.TextChoices):
        UNVERIFIED = "unverified", _("not read yet")
        VERIFIED = "verified", _("verified")
        UNSIGNED = "unsigned", _("unsigned")
        FORGED = "forged", _("forged")
        STALE = "stale", _("too old or too new")
        UNREADABLE = "unreadable", _("unreadable")
        NO_KEY = "no_key", _("no secret to verify it")

    class Effect(models.TextChoices):
        UNREAD = "", _("not read yet")
        NONE = "none", _("none")
        REPEATED = "repeated", _("a repetition")
        WAITING = "waiting", _("waits for its order")
        ASKED = "asked", _("we ask")
        REOPENED = "reopened", _("we ask about a closed order")
        UNMATCHED = "unmatched", _("no order found")

    integration_id = models.BigIntegerField()
    received_at = models.DateTimeField()
    sealed_body = models.TextField(blank=True, default="")
    sealed_call = models.TextField(blank=True, default="")
    body_digest = models.CharField(max_length=64)
    headers = models.JSONField(default=dict)
    remote_addr = models.CharField(max_length=45, blank=True, default="")
    verdict = models.CharField(max_length=10, choices=Verdict, default=Verdict.UNVERIFIED)
    effect = models.CharField(max_length=10, choices=Effect, default=Effect.UNREAD, blank=True)
    event_key = models.CharField(max_length=64, blank=True, default="")
    reference = models.CharField(max_length=64, blank=True, default="")
    provider_order_id = models.CharField(max_length=120, blank=True, default="")
    says = models.CharField(max_length=24, blank=True, default="")
    attempt_id = models.BigIntegerField(null=True, blank=True)
    order_id = models.BigIntegerField(null=True, blank=True)
    matched_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "journal_provider_webhook"
        indexes = [
            models.Index(fields=["integration_id", "received_at"], name="hook_by_account"),
            models.Index(fields=["id"], condition=models.Q(effect__in=["", "waiting"]), name="hook_open"),
            models.Index(fields=["order_id"], condition=models.Q(order_id__isnull=False), name="hook_by_order"),
        ]
        constraints = [
            # The same event twice asks once, whoever posts it again.
            models.UniqueConstraint(
                fields=["integration_id", "event_key"],
                condition=~models.Q(event_key=""),
                name="hook_event_once_per_account",
            ),
            models.CheckConstraint(
                condition=models.Q(effect__in=["", "none", "repeated", "waiting", "asked", "reopened", "unmatched"]),
                name="hook_effect_known",
            ),
            # What is not known to come from the provider claims no event, names no order and asks nothing.
            models.CheckConstraint(
                condition=models.Q(verdict__in=["verified", "unsigned"])
                | models.Q(event_key="", attempt_id__isnull=True),
                name="hook_untrusted_has_no_subject",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.integration_id} {self.received_at:%H:%M:%S} {self.verdict}"


class AlertEpisode(models.Model):
    """One trouble from when it was first seen until it was gone. `values` are what its sentence says: no secret.

    `rule` is a name of `apps.journal.alerts.KINDS`, `subject` what it is about in the rule's own words. `tenant_id` is
    the shop that it concerns, none for the whole installation. `notified_at`: when a channel first told its opening.
    """

    rule = models.CharField(max_length=40)
    subject = models.CharField(max_length=80)
    tenant_id = models.BigIntegerField(null=True, blank=True)
    values = models.JSONField(default=dict)
    opened_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    notified_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "journal_alert_episode"
        indexes = [models.Index(fields=["-closed_at"], name="alert_closed_last")]
        constraints = [
            # Two processes that see the same trouble at once open it once.
            models.UniqueConstraint(
                fields=["rule", "subject"], condition=models.Q(closed_at__isnull=True), name="alert_open_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rule} {self.subject}"


class AlertNotice(models.Model):
    """One thing to say about an episode over one channel, said when `told_at` is set; a failure moves `next_at`."""

    class Occasion(models.TextChoices):
        OPENED = "opened", _("opened")
        REMINDER = "reminder", _("reminder")
        CLOSED = "closed", _("closed")

    episode = models.ForeignKey(AlertEpisode, on_delete=models.CASCADE, related_name="notices")
    channel = models.CharField(max_length=12)
    occasion = models.CharField(max_length=8, choices=Occasion)
    number = models.PositiveIntegerField(default=1)
    next_at = models.DateTimeField()
    failures = models.PositiveIntegerField(default=0)
    told_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "journal_alert_notice"
        indexes = [
            models.Index(fields=["next_at"], condition=models.Q(told_at__isnull=True), name="alert_notice_untold"),
        ]
        constraints = [
            # What was said once over a channel is not said again.
            models.UniqueConstraint(fields=["episode", "channel", "occasion", "number"], name="alert_notice_once"),
            models.CheckConstraint(
                condition=models.Q(occasion__in=["opened", "reminder", "closed"]), name="alert_notice_occasion_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.occasion} {self.episode_id}"


class AuditEntry(models.Model):
    """One change of the set-up, or one event about signing in: who, what, and each field before and after.

    `changes` maps a field to [before, after]; a secret is `***` on both sides. `tenant_id` is the shop it concerns, or
    none for a person or the whole installation. Append-only: triggers refuse to change or delete it.
    """

    tenant_id = models.BigIntegerField(null=True, blank=True)
    at = models.DateTimeField()
    actor = models.CharField(max_length=150, blank=True, default="")
    action = models.CharField(max_length=30)
    subject_kind = models.CharField(max_length=40)
    subject_id = models.BigIntegerField(null=True, blank=True)
    subject = models.CharField(max_length=200, blank=True, default="")
    changes = models.JSONField(default=dict)
    address = models.CharField(max_length=45, blank=True, default="")

    class Meta:
        db_table = "journal_audit_entry"
        indexes = [models.Index(fields=["tenant_id", "-id"], name="audit_by_shop")]

    def __str__(self) -> str:
        return f"{self.action} {self.subject_kind}:{self.subject_id}"
