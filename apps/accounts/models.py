"""Tenants, their people and customers, and API keys. The tenant of a request comes from its credential alone."""

from __future__ import annotations

from decimal import Decimal
from ipaddress import ip_network
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from apps.accounts import security_models, view_models  # noqa: F401 - Django looks for tables in this module


class Tenant(models.Model):
    """One shop: its name, time zone and base currency."""

    name = models.CharField(_("name"), max_length=120)
    slug = models.SlugField(_("short name"), unique=True)
    timezone = models.CharField(_("time zone"), max_length=64, default="UTC")
    currency = models.CharField(_("currency"), max_length=3, default="TRY")
    loss_guard_percent = models.DecimalField(
        _("allowed loss (percent)"),
        max_digits=5,
        decimal_places=2,
        default=Decimal(0),
        validators=[MinValueValidator(0), MaxValueValidator(100)],
        help_text=_("nothing is sold or bought when its cost is above the price by more than this"),
    )
    rate_max_age_hours = models.PositiveSmallIntegerField(
        _("exchange rates are good for (hours)"),
        default=24,
        validators=[MinValueValidator(1), MaxValueValidator(8760)],
        help_text=_("an older rate converts nothing"),
    )
    quote_minutes = models.PositiveSmallIntegerField(
        _("quotes hold for (minutes)"), default=10, validators=[MinValueValidator(1), MaxValueValidator(1440)]
    )
    repeat_minutes = models.PositiveSmallIntegerField(
        _("the same again is refused for (minutes)"),
        default=10,
        db_default=10,
        validators=[MaxValueValidator(1440)],
        help_text=_("the same product for the same recipient by the same customer; 0 never refuses"),
    )
    api_rate_per_s = models.PositiveSmallIntegerField(
        _("API requests per second"),
        default=200,
        db_default=200,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text=_("of all keys of the shop together"),
    )
    api_burst = models.PositiveSmallIntegerField(
        _("API requests at once"), default=1000, db_default=1000, validators=[MinValueValidator(1)]
    )
    requires_second_factor = models.BooleanField(
        _("owners and operators need a second factor"),
        default=False,
        db_default=False,
        help_text=_("who has none sets one up at the next page; a viewer may have one"),
    )
    is_active = models.BooleanField(_("active"), default=True)
    # One sandbox for each shop: a shop of its own for test keys, which nobody is a member of.
    sandbox_of = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, editable=False, related_name="sandbox"
    )

    class Meta:
        db_table = "accounts_tenant"
        verbose_name = _("shop")
        verbose_name_plural = _("shops")
        constraints = [
            models.CheckConstraint(
                condition=Q(loss_guard_percent__gte=0, loss_guard_percent__lte=100), name="shop_loss_guard_sane"
            ),
            models.CheckConstraint(condition=Q(rate_max_age_hours__gte=1), name="shop_rate_age_above_zero"),
            models.CheckConstraint(condition=Q(quote_minutes__gte=1), name="shop_quote_time_above_zero"),
            models.CheckConstraint(
                condition=Q(api_rate_per_s__gte=1, api_burst__gte=1), name="shop_api_rate_above_zero"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_sandbox(self) -> bool:
        """Whether it is the sandbox of another shop: play money, and nothing is bought."""
        return self.sandbox_of_id is not None


def sandboxes() -> models.QuerySet[Tenant, int]:
    """The ids of all sandboxes: what counts or watches real orders leaves them out."""
    return Tenant.objects.filter(sandbox_of__isnull=False).values_list("pk", flat=True)


class User(AbstractUser):
    """A person who signs in; what they may do in which shop stands in `Membership`."""

    class Meta(AbstractUser.Meta):
        db_table = "accounts_user"

    def tenant_ids(self) -> list[int]:
        """The shops this person may see: those of their memberships; a superuser sees all. No sandboxes."""
        if not self.is_active:
            return []
        if self.is_superuser:
            return list(Tenant.objects.filter(sandbox_of=None).values_list("id", flat=True))
        return list(self.memberships.filter(tenant__is_active=True).values_list("tenant_id", flat=True))

    def sandbox_ids(self) -> list[int]:
        """The sandboxes of the shops this person may see: to look at, never to act in."""
        return list(Tenant.objects.filter(sandbox_of__in=self.tenant_ids()).values_list("id", flat=True))

    def operated_ids(self) -> list[int]:
        """The shops on whose orders this person may act, as `may_operate` says of each."""
        if not self.is_active or self.is_superuser:
            return self.tenant_ids()
        roles = (Membership.Role.OWNER, Membership.Role.OPERATOR)
        return list(self.memberships.filter(tenant__is_active=True, role__in=roles).values_list("tenant_id", flat=True))

    def may_operate(self, tenant_id: int) -> bool:
        """Whether this person may act on the shop's orders (owner or operator, or a superuser)."""
        if not self.is_active:
            return False
        roles = (Membership.Role.OWNER, Membership.Role.OPERATOR)
        return (
            self.is_superuser
            or self.memberships.filter(tenant_id=tenant_id, tenant__is_active=True, role__in=roles).exists()
        )


class Membership(models.Model):
    """What one person may do in one shop."""

    class Role(models.TextChoices):
        OWNER = "owner", _("owner")
        OPERATOR = "operator", _("operator")
        VIEWER = "viewer", _("viewer")

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships", verbose_name=_("person"))
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships", verbose_name=_("shop"))
    role = models.CharField(_("role"), max_length=16, choices=Role, default=Role.VIEWER)

    class Meta:
        db_table = "accounts_membership"
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [
            models.UniqueConstraint(fields=["user", "tenant"], name="membership_once_per_shop"),
            models.CheckConstraint(condition=Q(role__in=["owner", "operator", "viewer"]), name="membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} @ {self.tenant} ({self.role})"


class CircularGroups(ValidationError):
    """A price group would be its own parent, directly or through others."""


class PriceGroup(models.Model):
    """Customers who pay the same prices; what a group has no price for, its parent group may have."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="price_groups", verbose_name=_("shop"))
    name = models.CharField(_("name"), max_length=80)
    parent = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="children",
        verbose_name=_("parent group"),
        help_text=_("its prices count where this group has none of its own"),
    )

    class Meta:
        db_table = "accounts_price_group"
        verbose_name = _("price group")
        verbose_name_plural = _("price groups")
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="price_group_name_once_per_shop"),
            models.CheckConstraint(
                condition=Q(parent__isnull=True) | ~Q(parent=F("id")), name="price_group_is_not_its_own_parent"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, unless the groups would go round in a circle. The shop's groups are locked meanwhile."""
        if self.parent_id is None:
            super().save(*args, **kwargs)
            return
        with transaction.atomic():
            list(PriceGroup.objects.select_for_update().filter(tenant_id=self.tenant_id).order_by("pk"))
            self.check_parent()
            super().save(*args, **kwargs)

    def clean(self) -> None:
        """The parent is a group of the same shop and no descendant."""
        self.check_parent()

    def check_parent(self) -> None:
        """Raise `ValidationError` for a parent of another shop, `CircularGroups` for one that leads back here."""
        if self.parent is None:
            return
        if self.parent.tenant_id != self.tenant_id:
            raise ValidationError({"parent": _("this price group belongs to another shop")})
        parents = parents_of(self.tenant_id)
        if self.pk in lineage(self.parent_id, parents):
            text = _("%(group)s leads back to this group: price groups cannot go round in a circle")
            raise CircularGroups({"parent": text % {"group": self.parent}})


def parents_of(tenant_id: int) -> dict[int, int | None]:
    """Every price group of a shop with its parent."""
    return dict(PriceGroup.objects.filter(tenant_id=tenant_id).values_list("pk", "parent_id"))


def lineage(group_id: int | None, parents: dict[int, int | None]) -> list[int]:
    """The group, its parent, its parent's parent and so on; ends where it would go round."""
    found: list[int] = []
    while group_id is not None and group_id not in found:
        found.append(group_id)
        group_id = parents.get(group_id)
    return found


class Customer(models.Model):
    """Who buys and pays from a wallet in one currency."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="customers", verbose_name=_("shop"))
    name = models.CharField(_("name"), max_length=120)
    currency = models.CharField(_("currency"), max_length=3, default="TRY")
    price_group = models.ForeignKey(
        PriceGroup,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="customers",
        verbose_name=_("price group"),
    )
    is_active = models.BooleanField(_("active"), default=True)

    class Meta:
        db_table = "accounts_customer"
        verbose_name = _("customer")
        verbose_name_plural = _("customers")
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="customer_name_once_per_shop")]

    def __str__(self) -> str:
        return self.name


class Scope(models.TextChoices):
    """What an API key may do."""

    ORDERS = "orders", _("place orders, and read everything about them")
    READ = "read", _("read orders and packages")
    WALLET = "wallet", _("read the wallet")
    WEBHOOKS = "webhooks", _("set up webhooks; with codes in them only together with orders")


def every_scope() -> list[str]:
    """What a key may do unless somebody takes it away. Webhooks outlive the key, so they are asked for expressly."""
    return [Scope.ORDERS.value, Scope.WALLET.value]


def check_networks(networks: object) -> None:
    """Refuse anything but a list of IP addresses and networks."""
    if not isinstance(networks, list):
        raise ValidationError(_('a list of addresses and networks, such as ["203.0.113.7", "2001:db8::/32"]'))
    for network in networks:
        try:
            ip_network(str(network), strict=False)
        except ValueError as error:
            raise ValidationError(_("%(network)s is no IP address or network") % {"network": network}) from error


def check_scopes(scopes: object) -> None:
    """Refuse anything but a list of known scopes, at least one."""
    if not isinstance(scopes, list) or not scopes or not set(map(str, scopes)) <= set(Scope.values):
        known = ", ".join(Scope.values)
        raise ValidationError(_("a list of scopes, out of: %(known)s") % {"known": known})


class ApiKey(models.Model):
    """A customer's key: `public_id` is the name it is known by, the secret is kept as a hash only.

    `allowed_ips`: networks it may be used from, empty for all. `sealed_signing_secret`: where it is not empty, every
    request must be signed with it. `replaced_by`: the key that was issued to take its place.
    """

    customer = models.ForeignKey(
        Customer, on_delete=models.CASCADE, related_name="api_keys", verbose_name=_("customer")
    )
    public_id = models.CharField(_("key id"), max_length=24, unique=True)
    secret_hash = models.CharField(max_length=64, editable=False)
    label = models.CharField(_("label"), max_length=80, blank=True)
    is_active = models.BooleanField(_("active"), default=True)
    created_at = models.DateTimeField(_("created"))
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)
    scopes = models.JSONField(_("may"), default=every_scope, validators=[check_scopes])
    allowed_ips = models.JSONField(
        _("may be used from"),
        default=list,
        blank=True,
        validators=[check_networks],
        help_text=_("addresses and networks; none: from everywhere"),
    )
    sealed_signing_secret = models.TextField(blank=True, default="", db_default="", editable=False)
    rate_per_s = models.PositiveSmallIntegerField(
        _("requests per second"),
        default=50,
        db_default=50,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
    )
    burst = models.PositiveSmallIntegerField(
        _("requests at once"), default=200, db_default=200, validators=[MinValueValidator(1)]
    )
    # One successor: an old key and its new one live side by side, never three.
    replaced_by = models.OneToOneField(
        "self", on_delete=models.SET_NULL, null=True, blank=True, editable=False, related_name="replaces"
    )

    class Meta:
        db_table = "accounts_api_key"
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        constraints = [
            models.CheckConstraint(
                condition=Q(expires_at__isnull=True) | Q(expires_at__gt=F("created_at")),
                name="api_key_expires_after_creation",
            ),
            models.CheckConstraint(condition=Q(rate_per_s__gte=1, burst__gte=1), name="api_key_rate_above_zero"),
        ]

    def __str__(self) -> str:
        return self.public_id


class ApiBudget(models.Model):
    """How much of a key's or a shop's request budget is spent, in microseconds since 1970; used without a Redis.

    The id is twice that of the key, or one more than twice that of the shop.
    """

    id = models.BigIntegerField(primary_key=True)
    all_us = models.BigIntegerField(default=0)
    ask_us = models.BigIntegerField(default=0)

    class Meta:
        db_table = "accounts_api_budget"

    def __str__(self) -> str:
        return f"API budget {self.pk}"


class UsedNonce(models.Model):
    """The nonce of one signed request, kept as long as the request could be repeated."""

    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="+")
    nonce = models.CharField(max_length=64)
    used_at = models.DateTimeField()

    class Meta:
        db_table = "accounts_used_nonce"
        constraints = [models.UniqueConstraint(fields=["key", "nonce"], name="nonce_once_per_key")]
        indexes = [models.Index(fields=["used_at"], name="nonce_by_age")]

    def __str__(self) -> str:
        return self.nonce
