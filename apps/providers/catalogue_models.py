"""What a provider sells as far as a person approved it, each fetch of its list, what differs, and our money there."""

from __future__ import annotations

from decimal import Decimal

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from apps.common.money import Money, format_amount

DEFAULT_JUMP = Decimal(3)
"""A price that rises or falls by more than this factor is approved alone, with its percentage in sight."""


class CatalogItem(models.Model):
    """One thing that an account sells, as last approved. `key` is its ids in one text; it never changes."""

    integration = models.ForeignKey("providers.Integration", on_delete=models.CASCADE, related_name="items")
    key = models.CharField(max_length=300)
    ids = models.JSONField(default=dict)
    name = models.CharField(_("name"), max_length=200)
    group = models.CharField(_("group"), max_length=200, blank=True)
    sort_key = models.CharField(max_length=500, editable=False)
    cost_micros = models.BigIntegerField(_("cost (millionths)"), null=True, blank=True)
    currency = models.CharField(_("currency"), max_length=3, blank=True)
    is_available = models.BooleanField(_("available"), default=True)
    quantity_kind = models.CharField(_("quantity rule"), max_length=8, default="one")
    quantity_min = models.PositiveIntegerField(_("least"), default=1)
    quantity_max = models.PositiveIntegerField(_("most"), default=1)
    quantity_values = models.JSONField(_("allowed quantities"), default=list, blank=True)
    fields = models.JSONField(_("demanded fields"), default=list, blank=True)
    gives_code = models.BooleanField(_("delivers a PIN"), null=True, blank=True)
    is_listed = models.BooleanField(_("in the provider's list"), default=True)
    seen_at = models.DateTimeField(_("last seen"))
    changed_at = models.DateTimeField(_("last change approved"))
    changed_by = models.CharField(_("approved by"), max_length=150)

    class Meta:
        db_table = "providers_catalog_item"
        constraints = [
            models.UniqueConstraint(fields=["integration", "key"], name="catalog_item_once_per_account"),
            models.CheckConstraint(
                condition=Q(cost_micros__isnull=True) | Q(cost_micros__gte=0), name="catalog_item_cost_not_negative"
            ),
            # A number without its currency was read as another currency once.
            models.CheckConstraint(
                condition=Q(cost_micros__isnull=True) | ~Q(currency=""), name="catalog_item_cost_has_a_currency"
            ),
        ]
        indexes = [models.Index(fields=["integration", "sort_key"], name="catalog_item_in_order")]

    def __str__(self) -> str:
        return self.name

    def cost(self) -> Money | None:
        """What one unit costs there, if the provider says so."""
        return None if self.cost_micros is None else Money(self.cost_micros, self.currency)


class CatalogSync(models.Model):
    """One fetch of an account's list: who wanted it, how far it is, and what came of it."""

    class State(models.TextChoices):
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")

    integration = models.ForeignKey("providers.Integration", on_delete=models.CASCADE, related_name="syncs")
    state = models.CharField(max_length=8, choices=State, default=State.QUEUED)
    wanted_by = models.CharField(max_length=150)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    beat_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    pages = models.PositiveIntegerField(default=0)
    found = models.PositiveIntegerField(default=0)
    doubled = models.PositiveIntegerField(default=0)
    counts = models.JSONField(default=dict)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        db_table = "providers_catalog_sync"
        constraints = [
            models.UniqueConstraint(
                fields=["integration"],
                condition=Q(state__in=["queued", "running"]),
                name="catalog_sync_one_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["queued", "running", "done", "failed"]), name="catalog_sync_state_known"
            ),
            models.CheckConstraint(
                condition=Q(state="failed") & ~Q(error="") | ~Q(state="failed") & Q(error=""),
                name="catalog_sync_failed_says_why",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.integration} {self.created_at}"

    @property
    def is_open(self) -> bool:
        """Whether it waits or runs."""
        return self.state in (self.State.QUEUED, self.State.RUNNING)


class CatalogChange(models.Model):
    """One difference between the provider's list and what was approved; it changes nothing until a person says so."""

    class Kind(models.TextChoices):
        NEW = "new", _("new")
        GONE = "gone", _("gone")
        PRICE = "price", _("price")
        NAME = "name", _("name")
        AVAILABILITY = "availability", _("availability")
        FIELDS = "fields", _("fields")

    class State(models.TextChoices):
        PENDING = "pending", _("waits for a decision")
        APPROVED = "approved", _("approved")
        DECLINED = "declined", _("declined")
        SUPERSEDED = "superseded", _("overtaken")

    integration = models.ForeignKey("providers.Integration", on_delete=models.CASCADE, related_name="changes")
    sync = models.ForeignKey(CatalogSync, on_delete=models.CASCADE, related_name="changes")
    key = models.CharField(max_length=300)
    title = models.CharField(max_length=200)
    sort_key = models.CharField(max_length=500)
    kind = models.CharField(max_length=12, choices=Kind)
    old = models.JSONField(default=dict)
    new = models.JSONField(default=dict)
    state = models.CharField(max_length=12, choices=State, default=State.PENDING)
    is_quarantined = models.BooleanField(default=False)
    percent = models.CharField(max_length=20, blank=True)
    decided_by = models.CharField(max_length=150, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "providers_catalog_change"
        constraints = [
            models.UniqueConstraint(
                fields=["integration", "key", "kind"],
                condition=Q(state="pending"),
                name="catalog_change_pending_once",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["new", "gone", "price", "name", "availability", "fields"]),
                name="catalog_change_kind_known",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["pending", "approved", "declined", "superseded"]),
                name="catalog_change_state_known",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["pending", "superseded"]) | ~Q(decided_by="") & Q(decided_at__isnull=False),
                name="catalog_change_decision_has_a_name",
            ),
        ]
        indexes = [models.Index(fields=["integration", "state", "sort_key"], name="catalog_change_in_order")]

    def __str__(self) -> str:
        return f"{self.kind}: {self.title}"


class AccountWatch(models.Model):
    """What a shop wants to be warned of at one account; without a row the defaults hold."""

    integration = models.OneToOneField(
        "providers.Integration", on_delete=models.CASCADE, related_name="watch", primary_key=True
    )
    jump_factor = models.DecimalField(
        _("price jump factor"),
        max_digits=6,
        decimal_places=2,
        default=DEFAULT_JUMP,
        validators=[MinValueValidator(Decimal("1.01"))],
    )
    alert_below_micros = models.BigIntegerField(_("warn below (millionths)"), null=True, blank=True)
    low_since = models.DateTimeField(_("low since"), null=True, blank=True)

    class Meta:
        db_table = "providers_account_watch"
        constraints = [
            models.CheckConstraint(condition=Q(jump_factor__gt=1), name="account_watch_factor_above_one"),
            models.CheckConstraint(
                condition=Q(alert_below_micros__isnull=True) | Q(alert_below_micros__gt=0),
                name="account_watch_threshold_positive",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.integration}"


class BalanceReading(models.Model):
    """What an account answered about our money: a value, or an error, and as of when; an error is never a zero.

    An unchanged answer moves `as_of`; another one is another row. `amount_micros` is credit less debt.
    """

    integration = models.ForeignKey("providers.Integration", on_delete=models.CASCADE, related_name="readings")
    since = models.DateTimeField()
    as_of = models.DateTimeField()
    amount_micros = models.BigIntegerField(null=True, blank=True)
    credit_micros = models.BigIntegerField(null=True, blank=True)
    debt_micros = models.BigIntegerField(null=True, blank=True)
    currency = models.CharField(max_length=3)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        db_table = "providers_balance_reading"
        constraints = [
            # Once an error was shown as a balance of zero, and a zero was not kept at all.
            models.CheckConstraint(
                condition=Q(amount_micros__isnull=False, error="") | Q(amount_micros__isnull=True) & ~Q(error=""),
                name="balance_reading_is_a_value_or_an_error",
            ),
            models.CheckConstraint(
                condition=Q(amount_micros__isnull=False)
                | Q(amount_micros__isnull=True, credit_micros__isnull=True, debt_micros__isnull=True),
                name="balance_reading_error_has_no_parts",
            ),
        ]
        indexes = [models.Index(fields=["integration", "-as_of"], name="balance_reading_newest")]

    def __str__(self) -> str:
        return self.error or f"{format_amount(self.amount_micros or 0)} {self.currency}"

    def amount(self) -> Money | None:
        """Our money there, or nothing where the question failed."""
        return None if self.amount_micros is None else Money(self.amount_micros, self.currency)

    def parts(self) -> tuple[Money, Money] | None:
        """Credit and debt, where the provider has both and we owe something."""
        if self.credit_micros is None or not self.debt_micros:
            return None
        return Money(self.credit_micros, self.currency), Money(self.debt_micros, self.currency)
