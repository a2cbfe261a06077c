"""The ledger's tables: accounts, transfers, entries. Nothing outside `apps.wallet` imports this module."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from apps.accounts.models import Tenant


class Account(models.Model):
    """A place where money is. Only customer accounts store a balance; a house account is the sum of its entries."""

    class Kind(models.TextChoices):
        CUSTOMER = "customer", "customer wallet"
        HELD = "held", "money held for open orders"
        REVENUE = "revenue", "sales"
        CASH = "cash", "money from and to outside"
        FLOAT = "float", "our money at a provider"
        COST = "cost", "what delivered goods cost us"
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
    """One movement of money with its unique key; its entries sum to zero."""

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
