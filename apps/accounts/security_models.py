"""What signing in rests on: second factors, recovery codes, sessions, tries, and invitations. No secret in clear."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class SecondFactor(models.Model):
    """A person's authenticator app. `confirmed_at` is empty until its first code was typed.

    `last_step` is the half minute of the newest code that was taken: no code opens twice.
    """

    user = models.OneToOneField("accounts.User", on_delete=models.CASCADE, related_name="second_factor")
    sealed_secret = models.TextField()
    created_at = models.DateTimeField()
    confirmed_at = models.DateTimeField(null=True, blank=True)
    last_step = models.BigIntegerField(default=0)

    class Meta:
        db_table = "accounts_second_factor"

    def __str__(self) -> str:
        return f"second factor {self.pk}"


class RecoveryCode(models.Model):
    """A code for the day on which the telephone is lost: kept as a hash, and good once."""

    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="recovery_codes")
    code_hash = models.CharField(max_length=64)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "accounts_recovery_code"
        constraints = [models.UniqueConstraint(fields=["user", "code_hash"], name="recovery_code_once_per_person")]

    def __str__(self) -> str:
        return f"recovery code {self.pk}"


class SignIn(models.Model):
    """One browser in which a person is signed in, for as long as its session lives."""

    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="sign_ins")
    session_key = models.CharField(max_length=40, unique=True)
    created_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    address = models.CharField(max_length=45, blank=True, default="")
    agent = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        db_table = "accounts_sign_in"

    def __str__(self) -> str:
        return f"sign-in {self.pk}"


class SignInBudget(models.Model):
    """How much is spent of the tries at one account or from one address, in microseconds since 1970.

    The id is a keyed hash of what is limited: a name that does not exist has a row like one that does.
    """

    id = models.CharField(primary_key=True, max_length=64)
    spent_us = models.BigIntegerField(default=0)

    class Meta:
        db_table = "accounts_sign_in_budget"
        indexes = [models.Index(fields=["spent_us"], name="sign_in_budget_by_age")]

    def __str__(self) -> str:
        return self.pk


class Invitation(models.Model):
    """A link by which somebody becomes a member of a shop, once; the token is kept as a hash."""

    class Role(models.TextChoices):
        OPERATOR = "operator", _("operator")
        VIEWER = "viewer", _("viewer")

    tenant = models.ForeignKey("accounts.Tenant", on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(_("role"), max_length=16, choices=Role)
    email = models.EmailField(_("e-mail"), blank=True, default="")
    token_hash = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey("accounts.User", on_delete=models.SET_NULL, null=True, related_name="+")
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "accounts_invitation"
        constraints = [
            # Nobody becomes an owner by a link that may have been forwarded.
            models.CheckConstraint(condition=Q(role__in=["operator", "viewer"]), name="invitation_role_known"),
            models.CheckConstraint(condition=Q(expires_at__gt=F("created_at")), name="invitation_expires"),
            models.CheckConstraint(
                condition=Q(accepted_at__isnull=True) | Q(withdrawn_at__isnull=True),
                name="invitation_accepted_or_withdrawn",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.email}".strip()
