"""Accounts at providers, what a package is called there, and the ordered routes of a package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from apps.accounts.keys import is_test_key
from apps.accounts.models import PriceGroup, Tenant
from apps.catalog.models import Package
from apps.common.crypto import open_text, seal_text
from apps.common.egress import EgressForbidden, EgressPolicy, check_url, policy_for
from apps.providers import catalogue_models, traffic_models  # noqa: F401 - Django looks for tables in this module
from apps.providers.contract import Account, Capabilities
from apps.providers.options import Asking, BadOption, load_asking, load_caps
from apps.providers.registry import has_wire, kind_choices, load_adapter, missing_ids
from apps.providers.tokens import tokens_of

IDENTITY = ("kind", "base_url", "login")
"""What makes an account the same account: frozen once a purchase was tried there (also by a trigger)."""

REFUSED_FOR = timedelta(hours=1)
"""How long a mapping is left alone whose ids the provider does not know, unless somebody saves it."""

MAX_WEIGHT = 1000


def check_no_test_key(typed: Mapping[str, str]) -> None:
    """Raise `ValidationError`, by name, for the key of a sandbox: it delivers made-up codes for play money."""
    text = _("this is a test key (hub_test_...): a sandbox sells nothing real; use a live key of that shop")
    if found := [name for name, value in typed.items() if is_test_key(value)]:
        raise ValidationError(dict.fromkeys(found, text))


class Integration(models.Model):
    """One account at one provider. Secrets are written, never shown."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="integrations", verbose_name=_("shop"))
    name = models.CharField(_("name"), max_length=120)
    kind = models.CharField(_("kind"), max_length=32, choices=kind_choices)
    base_url = models.CharField(_("base URL"), max_length=200, blank=True)
    login = models.CharField(_("login"), max_length=120, blank=True)
    sealed_secrets = models.TextField(blank=True, default="", editable=False)
    currency = models.CharField(_("currency"), max_length=3)
    options = models.JSONField(_("options"), default=dict, blank=True)
    is_enabled = models.BooleanField(_("enabled"), default=True)
    is_local = models.BooleanField(
        _("on this machine"), default=False, help_text=_("may reach private addresses; set by a superuser only")
    )
    paused_until = models.DateTimeField(_("paused until"), null=True, blank=True)
    pause_reason = models.CharField(_("why it is paused"), max_length=200, blank=True)
    troubles = models.PositiveIntegerField(default=0, editable=False)
    hook_version = models.PositiveIntegerField(null=True, editable=False)  # one more: another address for webhooks
    in_use_since = models.DateTimeField(_("first purchase"), null=True, blank=True, editable=False)

    class Meta:
        db_table = "providers_integration"
        verbose_name = _("provider account")
        verbose_name_plural = _("provider accounts")
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="integration_name_once_per_shop")]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse an address that must not be reached, unknown options, a changed identity after the first purchase.

        Nor may a shop buy at a sandbox.
        """
        self._check_address()
        check_no_test_key({"login": self.login})
        self._check_identity()
        try:
            self.caps()
        except BadOption as error:
            raise ValidationError({"options": str(error)}) from error

    def _check_address(self) -> None:
        """An address that may be reached where there is a wire, none where there is none."""
        if not has_wire(self.kind):
            given = [name for name in ("base_url", "login") if getattr(self, name)]
            if given:
                raise ValidationError(dict.fromkeys(given, _("this kind is fulfilled here: leave it empty")))
            return
        try:
            check_url(self.base_url, self.egress_policy())
        except EgressForbidden as error:
            raise ValidationError({"base_url": str(error)}) from error

    def _check_identity(self) -> None:
        stored = Integration.objects.filter(pk=self.pk, in_use_since__isnull=False).first()
        changed = [name for name in IDENTITY if stored and getattr(stored, name) != getattr(self, name)]
        if changed:
            text = _("cannot change after a purchase: make a new provider account and disable this one")
            raise ValidationError(dict.fromkeys(changed, text))

    def egress_policy(self) -> EgressPolicy:
        """Where requests to this account may go."""
        return policy_for(is_local=self.is_local)

    def set_secrets(self, secrets: dict[str, str]) -> None:
        """Seal `secrets` (field name to value) into the row; save it yourself. A test key is a `ValidationError`."""
        check_no_test_key(secrets)
        self.sealed_secrets = seal_text(json.dumps(secrets))

    def account(self) -> Account:
        """What an adapter needs, with opened secrets. Keep it out of logs."""
        secrets = json.loads(open_text(self.sealed_secrets)) if self.sealed_secrets else {}
        return Account(
            base_url=self.base_url.rstrip("/"),
            login=self.login,
            secrets=secrets,
            currency=self.currency,
            options=self.options,
            tokens=tokens_of(self.pk, self.sealed_secrets),
        )

    def caps(self) -> Capabilities:
        """What this account can: its protocol's capabilities with this account's options."""
        return load_caps(self.kind, self.options)

    def asking(self) -> Asking:
        """When its orders are asked about, by this account's options."""
        return load_asking(self.options)

    def is_paused(self, now: datetime) -> bool:
        """Whether a trouble on our side of this account keeps new orders away from it."""
        return self.paused_until is not None and self.paused_until > now


class PackageMapping(models.Model):
    """What a package is called at one provider: its ids are stored at mapping time, never looked up on the way."""

    package = models.ForeignKey(Package, on_delete=models.CASCADE, related_name="mappings", verbose_name=_("package"))
    integration = models.ForeignKey(
        Integration, on_delete=models.PROTECT, related_name="mappings", verbose_name=_("provider account")
    )
    oyun = models.CharField(_("product id there (oyun)"), max_length=120)
    kupur = models.CharField(_("denomination there (kupur)"), max_length=120, blank=True)
    params = models.JSONField(_("further parameters"), default=dict, blank=True)
    cost_micros = models.BigIntegerField(_("expected cost (millionths)"), null=True, blank=True)
    refused_at = models.DateTimeField(_("ids refused"), null=True, blank=True, editable=False)

    class Meta:
        db_table = "providers_package_mapping"
        verbose_name = _("mapping")
        verbose_name_plural = _("mappings")
        constraints = [
            models.UniqueConstraint(fields=["package", "integration"], name="mapping_once_per_package_and_account"),
            models.CheckConstraint(condition=~Q(oyun=""), name="mapping_has_a_product_id"),
            models.CheckConstraint(
                condition=Q(cost_micros__isnull=True) | Q(cost_micros__gte=0), name="mapping_cost_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.package} -> {self.integration}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; what a person has looked at may be tried again."""
        self.refused_at = None
        super().save(*args, **kwargs)

    def is_refused(self, now: datetime) -> bool:
        """Whether the provider said a short while ago that it does not know these ids, and nobody saved it since."""
        retry_at = self.retry_at()
        return retry_at is not None and now < retry_at

    def retry_at(self) -> datetime | None:
        """When ids that the provider did not know are tried again; None where it knows them."""
        return None if self.refused_at is None else self.refused_at + REFUSED_FOR

    def clean(self) -> None:
        """Package and account belong to one shop, and every id that the protocol needs is there."""
        if self.package.tenant_id != self.integration.tenant_id:
            raise ValidationError({"integration": _("this provider account belongs to another shop")})
        for name in missing_ids(load_adapter(self.integration.kind), self.product()):
            field = name if name in ("oyun", "kupur") else "params"
            raise ValidationError({field: _("this provider needs %(name)s") % {"name": name}})

    def product(self) -> dict[str, str]:
        """The provider's ids, as an adapter gets them."""
        ids = {"oyun": self.oyun, "kupur": self.kupur}
        return {**{name: str(value) for name, value in self.params.items()}, **{k: v for k, v in ids.items() if v}}


class Route(models.Model):
    """One place where a package may be bought, in order of `position`, for a price group (none: everybody).

    `auto` sends by itself and needs an account; `manual` parks the order for a person and has none. Of the enabled
    routes those of the customer's own group count, else of its parent groups, else those for everybody. `weight` is
    its share where the package's strategy is `weighted`; hours are in the shop's time zone, over midnight too.
    """

    class Mode(models.TextChoices):
        AUTO = "auto", _("automatic")
        MANUAL = "manual", _("a person decides")

    package = models.ForeignKey(Package, on_delete=models.CASCADE, related_name="routes", verbose_name=_("package"))
    price_group = models.ForeignKey(
        PriceGroup,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="routes",
        verbose_name=_("price group"),
        help_text=_("empty: for everybody whose groups have no route of their own"),
    )
    position = models.PositiveSmallIntegerField(_("position"), default=1)
    mode = models.CharField(_("mode"), max_length=8, choices=Mode, default=Mode.AUTO)
    integration = models.ForeignKey(
        Integration,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="routes",
        verbose_name=_("provider account"),
    )
    weight = models.PositiveSmallIntegerField(
        _("weight"), default=1, validators=[MinValueValidator(1), MaxValueValidator(MAX_WEIGHT)]
    )
    opens_at = models.TimeField(_("opens at"), null=True, blank=True)
    closes_at = models.TimeField(_("closes at"), null=True, blank=True, help_text=_("not included"))
    is_enabled = models.BooleanField(_("enabled"), default=True)

    class Meta:
        db_table = "providers_route"
        verbose_name = _("route")
        verbose_name_plural = _("routes")
        ordering = ["position", "id"]
        constraints = [
            # Two rules for each: a database takes two empty price groups for different ones.
            models.UniqueConstraint(
                fields=["package", "position"],
                condition=Q(price_group__isnull=True),
                name="route_position_once_per_package",
            ),
            models.UniqueConstraint(
                fields=["package", "price_group", "position"],
                condition=Q(price_group__isnull=False),
                name="route_position_once_per_package_and_group",
            ),
            models.UniqueConstraint(
                fields=["package", "integration"],
                condition=Q(price_group__isnull=True),
                name="route_once_per_package_and_account",
            ),
            models.UniqueConstraint(
                fields=["package", "price_group", "integration"],
                condition=Q(price_group__isnull=False),
                name="route_once_per_package_account_and_group",
            ),
            # An automatic route without an account, or a manual one with an account, left orders pending for ever.
            models.CheckConstraint(
                condition=Q(mode="auto", integration__isnull=False) | Q(mode="manual", integration__isnull=True),
                name="route_auto_has_account_manual_has_none",
            ),
            # A weight of nothing would be a route that is never drawn, and looks enabled.
            models.CheckConstraint(condition=Q(weight__gte=1, weight__lte=MAX_WEIGHT), name="route_weight_sane"),
            # Half an opening time, or one that ends where it begins, would be open always or never.
            models.CheckConstraint(
                condition=Q(opens_at__isnull=True, closes_at__isnull=True)
                | Q(opens_at__isnull=False, closes_at__isnull=False) & ~Q(opens_at=F("closes_at")),
                name="route_hours_begin_and_end",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.package} #{self.position}"

    def clean(self) -> None:
        """An automatic route leads to an account of the same shop that the package is mapped to."""
        if self.price_group is not None and self.price_group.tenant_id != self.package.tenant_id:
            raise ValidationError({"price_group": _("this price group belongs to another shop")})
        if self.mode == self.Mode.AUTO and self.integration is None:
            raise ValidationError({"integration": _("an automatic route needs a provider account")})
        if self.mode == self.Mode.MANUAL and self.integration is not None:
            raise ValidationError({"integration": _("a manual route has no provider account")})
        if self.integration is None:
            return
        if self.integration.tenant_id != self.package.tenant_id:
            raise ValidationError({"integration": _("this provider account belongs to another shop")})
        if not PackageMapping.objects.filter(package=self.package, integration=self.integration).exists():
            raise ValidationError({"integration": _("map the package to this provider account first")})

    def is_open(self, local: datetime) -> bool:
        """Whether `local`, a moment in the shop's time zone, is within the opening hours."""
        if self.opens_at is None or self.closes_at is None:
            return True
        at = local.time()
        if self.opens_at < self.closes_at:
            return self.opens_at <= at < self.closes_at
        return at >= self.opens_at or at < self.closes_at

    def next_opening(self, local: datetime) -> datetime:
        """When the hours begin next after `local`, in its time zone; `local` itself where there are none."""
        if self.opens_at is None:
            return local
        today = local.replace(
            hour=self.opens_at.hour, minute=self.opens_at.minute, second=self.opens_at.second, microsecond=0, fold=0
        )
        return today if today > local else today + timedelta(days=1)


class StockCode(models.Model):
    """One code that we own, until an attempt takes it: once, and nothing else of it ever changes (a trigger).

    `shelf` is what mappings call it (`oyun`). `taken_by` is the attempt's id, a plain number.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    integration = models.ForeignKey(Integration, on_delete=models.PROTECT, related_name="stock")
    shelf = models.CharField(max_length=120)
    sealed = models.TextField()
    sealed_serial = models.TextField(blank=True, default="")
    sealed_pin = models.TextField(blank=True, default="")
    blind_index = models.CharField(max_length=64)
    cost_micros = models.BigIntegerField()
    expires_on = models.DateField(null=True, blank=True)
    batch = models.CharField(max_length=80, blank=True, default="")
    added_at = models.DateTimeField()
    taken_at = models.DateTimeField(null=True, blank=True)
    taken_by = models.BigIntegerField(null=True, blank=True)

    class Meta:
        db_table = "providers_stock_code"
        indexes = [
            models.Index(
                fields=["integration", "shelf", "expires_on", "id"],
                condition=Q(taken_at__isnull=True),
                name="stock_on_shelf",
            ),
        ]
        constraints = [
            # A code that lies on two shelves would be sold twice.
            models.UniqueConstraint(fields=["tenant", "blind_index"], name="stock_code_once_per_shop"),
            models.CheckConstraint(condition=~Q(shelf=""), name="stock_code_has_a_shelf"),
            models.CheckConstraint(condition=Q(cost_micros__gte=0), name="stock_cost_not_negative"),
            models.CheckConstraint(
                condition=Q(taken_at__isnull=True, taken_by__isnull=True)
                | Q(taken_at__isnull=False, taken_by__isnull=False),
                name="stock_taken_by_an_attempt",
            ),
        ]

    def __str__(self) -> str:
        return f"stock code {self.pk}"


class StockShelf(models.Model):
    """From how many codes on, or fewer, a shelf counts as low."""

    integration = models.ForeignKey(Integration, on_delete=models.CASCADE, related_name="shelves")
    name = models.CharField(max_length=120)
    low_at = models.PositiveIntegerField()

    class Meta:
        db_table = "providers_stock_shelf"
        constraints = [models.UniqueConstraint(fields=["integration", "name"], name="shelf_once_per_account")]

    def __str__(self) -> str:
        return self.name
