"""Where customers want their events, what is to be delivered there, and every try."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Customer
from apps.journal.models import OutboxEvent


class WebhookEndpoint(models.Model):
    """One address of a customer for events. `kinds` empty: all of them. A deleted one keeps its log.

    `busy_until`: nobody else sends there before; it also rests so long after a failure. `failing_since`: since the last
    delivery that was taken, all have failed, `failures` of them.
    """

    class Pause(models.TextChoices):
        BY_HAND = "by_hand", _("paused by hand")
        GONE = "gone", _("the receiver said that it is gone")
        FAILING = "failing", _("nothing was taken for three days")

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="webhook_endpoints")
    url = models.CharField(max_length=500)
    description = models.CharField(max_length=120, blank=True, default="")
    kinds = models.JSONField(default=list)
    with_codes = models.BooleanField(default=False)
    sealed_secret = models.TextField()
    sealed_old_secret = models.TextField(blank=True, default="")
    old_secret_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    pause = models.CharField(max_length=8, choices=Pause, blank=True, default="")
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True, blank=True)
    busy_until = models.DateTimeField(null=True, blank=True)
    served_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "webhooks_endpoint"
        verbose_name = _("webhook endpoint")
        indexes = [models.Index(fields=["customer"], condition=Q(deleted_at__isnull=True), name="endpoint_in_use")]
        constraints = [
            # A code in clear never travels without TLS, whatever the settings allow otherwise.
            models.CheckConstraint(
                condition=Q(with_codes=False) | Q(url__startswith="https://"), name="endpoint_codes_only_over_https"
            ),
            models.CheckConstraint(
                condition=Q(paused_at__isnull=True, pause="")
                | Q(paused_at__isnull=False, pause__in=["by_hand", "gone", "failing"]),
                name="endpoint_paused_for_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"endpoint {self.pk}"

    @property
    def host(self) -> str:
        """The address without its path, which may hold a secret of the receiver."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


class WebhookDelivery(models.Model):
    """One event for one endpoint. While it waits, `next_at` is when it is tried, and the lease of who tries it.

    `message_id` is what the receiver tells repetitions by. `tries` counts towards the ladder, which a person may begin
    anew.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        DELIVERED = "delivered", _("delivered")
        DEAD = "dead", _("given up")

    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    event = models.ForeignKey(OutboxEvent, on_delete=models.CASCADE, related_name="deliveries")
    message_id = models.CharField(max_length=40, unique=True)
    state = models.CharField(max_length=9, choices=State, default=State.WAITING)
    tries = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField()
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "webhooks_delivery"
        indexes = [
            models.Index(fields=["endpoint", "-id"], name="delivery_by_endpoint"),
            models.Index(fields=["endpoint", "next_at"], condition=Q(state="waiting"), name="delivery_waiting"),
            models.Index(fields=["-id"], condition=Q(state="dead"), name="delivery_dead"),
            models.Index(fields=["ended_at"], condition=Q(state="delivered"), name="delivery_taken"),
        ]
        constraints = [
            # An event is handed on once, however often handing on was begun.
            models.UniqueConstraint(fields=["event", "endpoint"], name="delivery_once_per_endpoint"),
            models.CheckConstraint(
                condition=Q(state="waiting", ended_at__isnull=True)
                | Q(state__in=["delivered", "dead"], ended_at__isnull=False),
                name="delivery_ended_or_waiting",
            ),
        ]

    def __str__(self) -> str:
        return self.message_id


class DeliveryTry(models.Model):
    """One try of a delivery and what came of it; `excerpt` is the beginning of the receiver's answer, never ours."""

    class Outcome(models.TextChoices):
        TAKEN = "taken", _("taken")
        STATUS = "status", _("refused by its status")
        REDIRECT = "redirect", _("it answers with a redirect, which is not followed")
        GONE = "gone", _("it says that it is gone")
        TIMEOUT = "timeout", _("no answer in time")
        UNREACHABLE = "unreachable", _("no connection")
        TLS = "tls", _("its certificate is not accepted")
        FORBIDDEN = "forbidden", _("its address may not be contacted")
        NO_ANSWER = "no_answer", _("the answer was cut off or cannot be read")

    delivery = models.ForeignKey(WebhookDelivery, on_delete=models.CASCADE, related_name="log")
    at = models.DateTimeField()
    outcome = models.CharField(max_length=11, choices=Outcome)
    http_status = models.PositiveIntegerField(null=True, blank=True)
    detail = models.CharField(max_length=120, blank=True, default="")
    latency_ms = models.PositiveIntegerField(default=0)
    excerpt = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        db_table = "webhooks_try"
        constraints = [
            # What was taken was taken with a status that says so.
            models.CheckConstraint(
                condition=~Q(outcome="taken") | Q(http_status__gte=200, http_status__lt=300), name="try_taken_with_2xx"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.delivery_id} {self.outcome}"


def due_deliveries(now: datetime) -> models.QuerySet[WebhookDelivery]:
    """What waits for endpoints that take something, and is due."""
    live = Q(endpoint__deleted_at=None, endpoint__paused_at=None)
    return WebhookDelivery.objects.filter(live, state=WebhookDelivery.State.WAITING, next_at__lte=now)
