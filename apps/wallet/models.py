"""The ledger's tables, and what people ask for. Nothing outside `apps.wallet` imports this module."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Customer, Tenant, User


class Account(models.Model):
    """A place where money is. Only customer accounts store a balance; a house account is the sum of its entries."""

    class Kind(models.TextChoices):
        CUSTOMER = "customer", "customer wallet"
        HELD = "held", "money held for open orders"
        REVENUE = "revenue", "sales"
        CASH = "cash", "money from and to outside"
        FLOAT = "float", "our money at a provider"
        COST = "cost", "what delivered goods cost us"
        FX = "fx", "money changed into another currency"
        LOSS = "loss", "what we paid and could not charge"

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=12, choices=Kind)
    currency = models.CharField(max_length=3)
    subject_kind = models.CharField(max_length=20, default="", blank=True)
    subject_id = models.BigIntegerField(default=0)
    balance_micros = models.BigIntegerField(null=True, blank=True)
    limit_micros = models.BigIntegerField(default=0)

    class Meta:
        db_table = "wallet_account"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "kind", "currency", "subject_kind", "subject_id"], name="account_once_per_subject"
            ),
            # Two wallets of one customer once hid half of the money from both.
            models.UniqueConstraint(
                fields=["subject_id"], condition=Q(kind="customer"), name="account_one_wallet_per_customer"
            ),
            # A customer account stores its balance; nobody else does.
            models.CheckConstraint(
                condition=Q(kind="customer", balance_micros__isnull=False)
                | (~Q(kind="customer") & Q(balance_micros__isnull=True)),
                name="account_only_customers_store_a_balance",
            ),
            # Spending never goes below the credit limit, whoever spends at the same time.
            models.CheckConstraint(
                condition=Q(balance_micros__isnull=True) | Q(balance_micros__gte=-F("limit_micros")),
                name="account_not_below_limit",
            ),
            models.CheckConstraint(condition=Q(limit_micros__gte=0), name="account_limit_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.currency} {self.subject_kind}:{self.subject_id}"


class Transfer(models.Model):
    """One movement of money with its unique key; its entries sum to zero in each currency."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    key = models.CharField(max_length=120, unique=True)
    kind = models.CharField(max_length=24)
    subject_kind = models.CharField(max_length=20)
    subject_id = models.BigIntegerField()
    reason = models.CharField(max_length=200, blank=True, default="")
    actor = models.CharField(max_length=80, blank=True, default="")
    at = models.DateTimeField()

    class Meta:
        db_table = "wallet_transfer"
        indexes = [models.Index(fields=["subject_kind", "subject_id"], name="transfer_by_subject")]
        constraints = [
            # No balance changes without a name on it: the order's, or the author's.
            models.CheckConstraint(
                condition=Q(subject_kind="order") | ~Q(actor=""), name="transfer_names_an_order_or_an_author"
            )
        ]

    def __str__(self) -> str:
        return self.key


class Entry(models.Model):
    """One side of a transfer: plus is money into the account, minus is money out of it."""

    transfer = models.ForeignKey(Transfer, on_delete=models.PROTECT, related_name="entries")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="entries")
    amount_micros = models.BigIntegerField()

    class Meta:
        db_table = "wallet_entry"
        constraints = [models.CheckConstraint(condition=~Q(amount_micros=0), name="entry_is_not_zero")]

    def __str__(self) -> str:
        return f"{self.transfer_id}: {self.amount_micros}"


class CreditChange(models.Model):
    """One change of a wallet's credit limit, with its author. Append-only; the account holds the newest."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="credit_changes")
    key = models.CharField(max_length=120, unique=True)
    before_micros = models.BigIntegerField()
    after_micros = models.BigIntegerField()
    reason = models.CharField(max_length=200)
    actor = models.CharField(max_length=80)
    at = models.DateTimeField()

    class Meta:
        db_table = "wallet_credit_change"
        constraints = [
            models.CheckConstraint(condition=Q(after_micros__gte=0), name="credit_not_negative"),
            models.CheckConstraint(condition=~Q(actor=""), name="credit_change_names_its_author"),
        ]

    def __str__(self) -> str:
        return f"{self.account_id}: {self.before_micros} to {self.after_micros}"


class ConfirmLimit(models.Model):
    """From when on a shop's wallet changes above `above_micros` need a second person. Append-only; the newest counts.

    None: no second person is needed in this currency.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    currency = models.CharField(max_length=3)
    above_micros = models.BigIntegerField(null=True)
    actor = models.CharField(max_length=80)
    at = models.DateTimeField()

    class Meta:
        db_table = "wallet_confirm_limit"
        constraints = [
            models.CheckConstraint(
                condition=Q(above_micros__isnull=True) | Q(above_micros__gte=0), name="confirm_limit_not_negative"
            ),
            models.CheckConstraint(condition=~Q(actor=""), name="confirm_limit_names_its_author"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id} {self.currency}: {self.above_micros}"


class WalletRequest(models.Model):
    """What one person asked to be done to a wallet, and what became of it."""

    class Kind(models.TextChoices):
        DEPOSIT = "deposit", _("deposit")
        WITHDRAWAL = "withdrawal", _("withdrawal")
        CORRECTION_UP = "correction_up", _("correction upwards")
        CORRECTION_DOWN = "correction_down", _("correction downwards")
        CREDIT = "credit", _("new credit limit")

    class Status(models.TextChoices):
        PENDING = "pending", _("waits for a second person")
        DONE = "done", _("done")
        DECLINED = "declined", _("declined")

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    key = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=16, choices=Kind)
    amount_micros = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=200)
    status = models.CharField(max_length=8, choices=Status)
    asked_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    decided_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "wallet_request"
        indexes = [models.Index(fields=["tenant", "status"], name="wallet_request_open")]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["pending", "done", "declined"]), name="wallet_request_status_known"
            ),
            models.CheckConstraint(
                condition=Q(amount_micros__gt=0) | Q(kind="credit", amount_micros=0),
                name="wallet_request_amount_positive",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="wallet_request_has_a_reason"),
            # Four eyes are two people's.
            models.CheckConstraint(
                condition=Q(decided_by__isnull=True) | ~Q(decided_by=F("asked_by")),
                name="wallet_request_decided_by_another",
            ),
            models.CheckConstraint(
                condition=Q(decided_by__isnull=True, decided_at__isnull=True)
                | (Q(decided_by__isnull=False, decided_at__isnull=False) & ~Q(status="pending")),
                name="wallet_request_pending_is_undecided",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.customer_id}: {self.status}"
