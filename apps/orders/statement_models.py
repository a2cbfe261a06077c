"""What a provider says it sold us, line by line, and every difference between that and our books."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import User


class BreakKind(models.TextChoices):
    """How a statement and our books differ."""

    MISSING_HERE = "missing_here", _("they charged it, we know nothing of it")
    MISSING_THERE = "missing_there", _("we bought it, they do not list it")
    PRICE = "price", _("another price")
    DOUBLED = "doubled", _("charged twice")
    FEE = "fee", _("a fee")
    STATE = "state", _("another state")
    CURRENCY = "currency", _("another currency")
    TIME = "time", _("a time that does not fit")


class BreakEnd(models.TextChoices):
    """How a difference ended."""

    REPAIRED = "repaired", _("mended by the hub: it was certain")
    SETTLED_THERE = "settled_there", _("a later statement shows it settled")
    ACCEPTED = "accepted", _("their price was accepted")
    LINKED = "linked", _("linked to a purchase of ours")
    BELIEVED = "believed", _("their state was taken over")
    CLAIMED = "claimed", _("claimed from the provider")
    LOST = "lost", _("written off as a loss")
    LEFT = "left", _("left as it is")


class Statement(models.Model):
    """One file of one account that was read: which time it covers, who brought it, and its fingerprint."""

    integration = models.ForeignKey("providers.Integration", on_delete=models.PROTECT, related_name="statements")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    content_hash = models.CharField(max_length=64)
    file_name = models.CharField(max_length=120, blank=True, default="")
    dialect = models.JSONField()
    lines_read = models.PositiveIntegerField()
    lines_new = models.PositiveIntegerField()
    imported_by = models.CharField(max_length=80)
    imported_at = models.DateTimeField()

    class Meta:
        db_table = "orders_statement"
        constraints = [
            # The same file, read in the same way, is one statement, however often it is brought.
            models.UniqueConstraint(fields=["integration", "content_hash"], name="statement_once_per_content"),
            models.CheckConstraint(condition=Q(ends_at__gte=models.F("starts_at")), name="statement_ends_after_start"),
        ]

    def __str__(self) -> str:
        return f"statement {self.pk}"


class StatementLine(models.Model):
    """One line as it was stated; only which purchase it is about may change. It keeps what the dialect names, no code.

    `amount_micros` is above zero for whatever `meaning` says. `nth` tells equal lines of one file apart.
    """

    statement = models.ForeignKey(Statement, on_delete=models.PROTECT, related_name="lines")
    integration = models.ForeignKey("providers.Integration", on_delete=models.PROTECT, related_name="+", db_index=False)
    number = models.PositiveIntegerField()
    own_ref = models.CharField(max_length=120, blank=True, default="")
    provider_id = models.CharField(max_length=120, blank=True, default="")
    target = models.CharField(max_length=200, blank=True, default="")
    amount_micros = models.BigIntegerField()
    fee_micros = models.BigIntegerField(default=0)
    currency = models.CharField(max_length=3)
    at = models.DateTimeField(null=True, blank=True)
    word = models.CharField(max_length=40, blank=True, default="")
    meaning = models.CharField(max_length=8)
    fingerprint = models.CharField(max_length=32)
    nth = models.PositiveIntegerField(default=1)
    attempt = models.ForeignKey("orders.Attempt", on_delete=models.PROTECT, null=True, related_name="statement_lines")
    matched_by = models.CharField(max_length=12, blank=True, default="")

    class Meta:
        db_table = "orders_statement_line"
        indexes = [
            models.Index(
                fields=["integration", "provider_id"], condition=~Q(provider_id=""), name="statement_line_by_id"
            )
        ]
        constraints = [
            # A line that an overlapping statement repeats is the same fact, and stands here once.
            models.UniqueConstraint(fields=["integration", "fingerprint", "nth"], name="statement_line_once"),
            models.CheckConstraint(
                condition=Q(attempt__isnull=True, matched_by="") | (Q(attempt__isnull=False) & ~Q(matched_by="")),
                name="statement_line_matched_by_something",
            ),
        ]

    def __str__(self) -> str:
        return f"line {self.number} of statement {self.statement_id}"


class Break(models.Model):
    """One difference, with a person who works on it and how it ended. Amounts are what we have and what they state.

    `is_certain`: the hub may mend it by itself. `note` is one word that says more than the kind.
    """

    integration = models.ForeignKey("providers.Integration", on_delete=models.PROTECT, related_name="+")
    statement = models.ForeignKey(Statement, on_delete=models.PROTECT, related_name="breaks")
    line = models.ForeignKey(StatementLine, on_delete=models.PROTECT, null=True, related_name="breaks")
    attempt = models.ForeignKey("orders.Attempt", on_delete=models.PROTECT, null=True, related_name="breaks")
    kind = models.CharField(max_length=16, choices=BreakKind)
    note = models.CharField(max_length=40, blank=True, default="")
    expected_micros = models.BigIntegerField(null=True)
    expected_currency = models.CharField(max_length=3, blank=True, default="")
    stated_micros = models.BigIntegerField(null=True)
    stated_currency = models.CharField(max_length=3, blank=True, default="")
    is_certain = models.BooleanField(default=False)
    owner = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    decision = models.CharField(max_length=16, choices=BreakEnd, blank=True, default="")
    close_reason = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        db_table = "orders_break"
        indexes = [models.Index(fields=["integration", "closed_at"], name="break_by_account_and_end")]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=BreakKind.values), name="break_kind_known"),
            models.UniqueConstraint(
                fields=["line", "kind"], condition=Q(line__isnull=False), name="break_once_per_line_and_kind"
            ),
            # A purchase that is not listed is one difference, however many statements leave it out.
            models.UniqueConstraint(
                fields=["attempt", "kind"], condition=Q(line__isnull=True), name="break_once_per_unlisted_attempt"
            ),
            models.CheckConstraint(
                condition=Q(line__isnull=False) | Q(attempt__isnull=False), name="break_is_about_something"
            ),
            # What money hangs on is closed by somebody for a reason, or by the hub for one of its own two.
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True, closed_by__isnull=True, decision="", close_reason="")
                | Q(closed_at__isnull=False, closed_by__isnull=True, decision__in=["repaired", "settled_there"])
                | (
                    Q(closed_at__isnull=False, closed_by__isnull=False)
                    & ~Q(close_reason="")
                    & ~Q(decision__in=["", "repaired", "settled_there"])
                ),
                name="break_closed_by_somebody_for_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class BreakEvent(models.Model):
    """One line of a difference's story. Append-only; an empty actor is the hub."""

    difference = models.ForeignKey(Break, on_delete=models.PROTECT, related_name="events")
    kind = models.CharField(max_length=16)
    actor = models.CharField(max_length=80, blank=True, default="")
    text = models.CharField(max_length=200, blank=True, default="")
    at = models.DateTimeField()

    class Meta:
        db_table = "orders_break_event"

    def __str__(self) -> str:
        return f"{self.kind} {self.difference_id}"
