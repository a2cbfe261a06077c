"""What is sold: products with their input fields, packages with a quantity rule, prices, margin rules and rates."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import PriceGroup, Tenant
from apps.common import clock
from apps.common.currencies import check_currency
from apps.common.money import Money

IS_HTTPS = RegexValidator(r"\Ahttps://[^\s/?#]+[^\s]*\Z", _("an address that begins https:// and has no spaces"))

MAX_QUANTITY = 1000
"""Units of one order at most: each unit is a row with money on it."""


class Product(models.Model):
    """One kind of goods; `needs_code` says that a delivery without a code is not a delivery."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="products", verbose_name=_("shop"))
    name = models.CharField(_("name"), max_length=120)
    name_ar = models.CharField(_("name (Arabic)"), max_length=120, blank=True)
    name_tr = models.CharField(_("name (Turkish)"), max_length=120, blank=True)
    needs_code = models.BooleanField(_("delivers a PIN"), default=True)
    image_url = models.CharField(
        _("picture"), max_length=300, blank=True, validators=[IS_HTTPS], help_text=_("an address that begins https://")
    )
    is_active = models.BooleanField(_("active"), default=True)

    class Meta:
        db_table = "catalog_product"
        verbose_name = _("product")
        verbose_name_plural = _("products")
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="product_name_once_per_shop")]

    def __str__(self) -> str:
        return self.label()

    def label(self) -> str:
        """The name in the language of the moment, or the plain one."""
        names = {"ar": self.name_ar, "tr": self.name_tr}
        return names.get((get_language() or "en")[:2], "") or self.name


class InputField(models.Model):
    """One thing a buyer must or may say, and where it goes on the order."""

    class Target(models.TextChoices):
        USER_IDENTIFIER = "user_identifier", _("recipient")
        EXTRA_FIELD = "extra_field", _("extra field")
        PARAM = "param", _("parameter")

    class Kind(models.TextChoices):
        TEXT = "text", _("text")
        DIGITS = "digits", _("digits")
        PHONE = "phone", _("phone number")
        EMAIL = "email", _("e-mail address")
        PLAYER_ID = "player_id", _("player's id")

    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="fields", verbose_name=_("product"))
    name = models.SlugField(_("name"), max_length=40, help_text=_("the name in the API, such as player_id"))
    label = models.CharField(_("label"), max_length=120)
    label_ar = models.CharField(_("label (Arabic)"), max_length=120, blank=True)
    label_tr = models.CharField(_("label (Turkish)"), max_length=120, blank=True)
    kind = models.CharField(_("kind"), max_length=12, choices=Kind, default=Kind.TEXT)
    target = models.CharField(_("goes to"), max_length=16, choices=Target, default=Target.USER_IDENTIFIER)
    pattern = models.CharField(
        _("pattern"), max_length=200, blank=True, help_text=_("regular expression for the whole value")
    )
    required = models.BooleanField(_("required"), default=True)
    position = models.PositiveSmallIntegerField(_("position"), default=0)

    class Meta:
        db_table = "catalog_input_field"
        verbose_name = _("input field")
        verbose_name_plural = _("input fields")
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["product", "name"], name="input_field_name_once_per_product"),
            models.UniqueConstraint(
                fields=["product", "target"], condition=~Q(target="param"), name="input_field_target_once_per_product"
            ),
            models.CheckConstraint(
                condition=Q(target__in=["user_identifier", "extra_field", "param"]), name="input_field_target_known"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["text", "digits", "phone", "email", "player_id"]), name="input_field_kind_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse a pattern that is no regular expression."""
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValidationError({"pattern": _("not a regular expression: %(error)s") % {"error": error}}) from error

    def objection(self, value: str) -> str:
        """What is wrong with a given value by kind and pattern, in words for a developer; empty when nothing is."""
        pattern, says = SHAPES[self.kind]
        if pattern and not re.fullmatch(pattern, value):
            return gettext("must be %(shape)s") % {"shape": says}
        if self.pattern and not re.fullmatch(self.pattern, value):
            return gettext("does not match %(pattern)s") % {"pattern": self.pattern}
        return ""


SHAPES: dict[str, tuple[str, str | Promise]] = {
    InputField.Kind.TEXT: ("", _("any text")),
    InputField.Kind.DIGITS: (r"[0-9]{1,40}", _("digits only")),
    InputField.Kind.PHONE: (r"\+?[0-9]{7,15}", _("a phone number: 7 to 15 digits, with a + in front or without")),
    InputField.Kind.EMAIL: (r"[^@\s]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", _("an e-mail address")),
    InputField.Kind.PLAYER_ID: (r"[A-Za-z0-9_.#-]{2,64}", _("a player's id: letters, digits and _ . # - only")),
}
"""What a value of each kind looks like as a whole; a field's own pattern is asked after it."""


class Package(models.Model):
    """One thing to buy: a product in one size, known to the API by its `code`."""

    class QuantityKind(models.TextChoices):
        ONE = "one", _("one at a time")
        LIST = "list", _("one of a list")
        RANGE = "range", _("any in a range")

    class Strategy(models.TextChoices):
        PRIORITY = "priority", _("by position")
        CHEAPEST = "cheapest", _("the cheapest first")
        WEIGHTED = "weighted", _("shared by weight")

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="packages", verbose_name=_("shop"))
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="packages", verbose_name=_("product"))
    code = models.SlugField(_("code"), max_length=60)
    name = models.CharField(_("name"), max_length=120)
    quantity_kind = models.CharField(_("quantity rule"), max_length=8, choices=QuantityKind, default=QuantityKind.ONE)
    quantity_min = models.PositiveIntegerField(_("least"), default=1)
    quantity_max = models.PositiveIntegerField(_("most"), default=1)
    quantity_values = models.JSONField(_("allowed quantities"), default=list, blank=True)
    strategy = models.CharField(
        _("order of its routes"), max_length=8, choices=Strategy, default=Strategy.PRIORITY, db_default="priority"
    )
    image_url = models.CharField(
        _("picture"), max_length=300, blank=True, validators=[IS_HTTPS], help_text=_("an address that begins https://")
    )
    is_active = models.BooleanField(_("active"), default=True)

    class Meta:
        db_table = "catalog_package"
        verbose_name = _("package")
        verbose_name_plural = _("packages")
        constraints = [
            models.UniqueConstraint(fields=["tenant", "code"], name="package_code_once_per_shop"),
            models.CheckConstraint(
                condition=Q(quantity_kind__in=["one", "list", "range"]), name="package_quantity_kind_known"
            ),
            models.CheckConstraint(
                condition=Q(quantity_min__gte=1, quantity_max__lte=MAX_QUANTITY, quantity_min__lte=F("quantity_max")),
                name="package_quantity_range_sane",
            ),
            # A word that no strategy has would leave its orders without any route.
            models.CheckConstraint(
                condition=Q(strategy__in=["priority", "cheapest", "weighted"]), name="package_strategy_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.product} / {self.name}"

    def clean(self) -> None:
        """A package belongs to the shop of its product; a list holds whole numbers."""
        if self.product_id and self.tenant_id and self.product.tenant_id != self.tenant_id:
            raise ValidationError({"product": _("this product belongs to another shop")})
        values = self.quantity_values
        is_list = isinstance(values, list) and all(type(v) is int and 1 <= v <= MAX_QUANTITY for v in values)
        if not is_list or (self.quantity_kind == self.QuantityKind.LIST and not values):
            raise ValidationError({"quantity_values": _("a list of whole numbers from 1 to 1000, such as [1, 5, 10]")})

    def allows(self, quantity: int) -> bool:
        """Whether the quantity rule lets a buyer order this many."""
        rules = {
            self.QuantityKind.ONE: quantity == 1,
            self.QuantityKind.LIST: quantity in self.quantity_values,
            self.QuantityKind.RANGE: self.quantity_min <= quantity <= self.quantity_max,
        }
        return rules[self.QuantityKind(self.quantity_kind)]

    def quantities(self) -> list[int]:
        """Every quantity that the rule allows."""
        return [quantity for quantity in range(1, MAX_QUANTITY + 1) if self.allows(quantity)]

    def quantity_rule(self) -> str:
        """The rule in words a developer can act on."""
        rules = {
            self.QuantityKind.ONE: "1",
            self.QuantityKind.LIST: gettext("one of %(values)s")
            % {"values": ", ".join(map(str, self.quantity_values))},
            self.QuantityKind.RANGE: gettext("%(least)d to %(most)d")
            % {"least": self.quantity_min, "most": self.quantity_max},
        }
        return rules[self.QuantityKind(self.quantity_kind)]


class PackagePrice(models.Model):
    """The price of one unit for a price group (none: everybody), from a quantity on, for a time.

    Of the prices that are valid, a buyer pays that of their own group, else of its parent groups, else the one for
    everybody; within a group the one with the highest `from_quantity` that the order reaches.
    """

    package = models.ForeignKey(Package, on_delete=models.CASCADE, related_name="prices", verbose_name=_("package"))
    price_group = models.ForeignKey(
        PriceGroup,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="prices",
        verbose_name=_("price group"),
    )
    currency = models.CharField(_("currency"), max_length=3)
    unit_price_micros = models.BigIntegerField(_("unit price (millionths)"))
    from_quantity = models.PositiveIntegerField(
        _("from quantity"), default=1, validators=[MinValueValidator(1), MaxValueValidator(MAX_QUANTITY)]
    )
    valid_from = models.DateTimeField(_("valid from"), null=True, blank=True)
    valid_until = models.DateTimeField(_("valid until"), null=True, blank=True, help_text=_("not included"))

    class Meta:
        db_table = "catalog_package_price"
        verbose_name = _("price")
        verbose_name_plural = _("prices")
        constraints = [
            # Two prices for the same buyer at the same time are refused by a trigger (migration 0002).
            models.CheckConstraint(condition=Q(unit_price_micros__gt=0), name="price_is_positive"),
            models.CheckConstraint(
                condition=Q(from_quantity__gte=1, from_quantity__lte=MAX_QUANTITY), name="price_from_quantity_sane"
            ),
            models.CheckConstraint(
                condition=Q(valid_from__isnull=True) | Q(valid_until__isnull=True) | Q(valid_until__gt=F("valid_from")),
                name="price_ends_after_it_begins",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.package}: {Money(self.unit_price_micros, self.currency)}"

    def clean(self) -> None:
        """A price is for a group of the package's own shop, in a known currency, ends after it begins."""
        clean_currency(self, "currency")
        if self.price_group is not None and self.price_group.tenant_id != self.package.tenant_id:
            raise ValidationError({"price_group": _("this price group belongs to another shop")})
        clean_period(self.valid_from, self.valid_until)

    def slot(self) -> tuple[int | None, str, int]:
        """Prices of one package with the same slot must not overlap."""
        return (self.price_group_id, self.currency, self.from_quantity)

    def overlaps(self, other: PackagePrice) -> bool:
        """Whether both would count for the same buyer at some moment."""
        begins_before = self.valid_from is None or other.valid_until is None or self.valid_from < other.valid_until
        ends_after = self.valid_until is None or other.valid_from is None or other.valid_from < self.valid_until
        return self.slot() == other.slot() and begins_before and ends_after


class MarginRule(models.Model):
    """How a price is made from the cost where no price is set: for a package, else its product, else the shop."""

    class Kind(models.TextChoices):
        PERCENT = "percent", _("percent of the cost")
        AMOUNT = "amount", _("amount on top of the cost")

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="margin_rules", verbose_name=_("shop"))
    product = models.ForeignKey(
        Product,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="margin_rules",
        verbose_name=_("product"),
        help_text=_("product and package empty: for everything in the shop"),
    )
    package = models.ForeignKey(
        Package, on_delete=models.CASCADE, null=True, blank=True, related_name="margin_rules", verbose_name=_("package")
    )
    currency = models.CharField(
        _("currency"), max_length=3, help_text=_("of the sale: customers whose wallet is in it pay by this rule")
    )
    kind = models.CharField(_("kind"), max_length=8, choices=Kind, default=Kind.PERCENT)
    percent = models.DecimalField(
        _("percent"), max_digits=8, decimal_places=4, default=Decimal(0), validators=[MinValueValidator(0)]
    )
    amount_micros = models.BigIntegerField(_("amount (millionths)"), default=0)
    step_micros = models.BigIntegerField(_("round up to a multiple of (millionths)"), default=10_000)

    class Meta:
        db_table = "catalog_margin_rule"
        verbose_name = _("margin rule")
        verbose_name_plural = _("margin rules")
        constraints = [
            models.UniqueConstraint(
                fields=["package", "currency"],
                condition=Q(package__isnull=False),
                name="margin_rule_once_per_package_and_currency",
            ),
            models.UniqueConstraint(
                fields=["product", "currency"],
                condition=Q(product__isnull=False),
                name="margin_rule_once_per_product_and_currency",
            ),
            models.UniqueConstraint(
                fields=["tenant", "currency"],
                condition=Q(product__isnull=True, package__isnull=True),
                name="margin_rule_once_per_shop_and_currency",
            ),
            models.CheckConstraint(
                condition=Q(product__isnull=True) | Q(package__isnull=True), name="margin_rule_has_one_scope"
            ),
            models.CheckConstraint(
                condition=Q(kind="percent", percent__gte=0, amount_micros=0)
                | Q(kind="amount", percent=0, amount_micros__gte=0),
                name="margin_rule_is_percent_or_amount",
            ),
            models.CheckConstraint(condition=Q(step_micros__gte=1), name="margin_rule_step_above_zero"),
        ]

    def __str__(self) -> str:
        scope = self.package or self.product or self.tenant
        if self.kind == self.Kind.PERCENT:
            return f"{scope}: +{self.percent.normalize():f} % ({self.currency})"
        return f"{scope}: +{Money(self.amount_micros, self.currency)}"

    def clean(self) -> None:
        """One scope, of the rule's own shop, and a known currency."""
        clean_currency(self, "currency")
        if self.product_id and self.package_id:
            raise ValidationError({"package": _("choose a product or a package, not both")})
        for name in ("product", "package"):
            scope = getattr(self, name)
            if scope is not None and scope.tenant_id != self.tenant_id:
                raise ValidationError({name: _("this belongs to another shop")})


class FxRate(models.Model):
    """What one unit of `from_currency` is in `to_currency`, from a moment on. History: a row never changes, a newer
    one takes its place; only its end may be set."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="fx_rates", verbose_name=_("shop"))
    from_currency = models.CharField(_("one unit of"), max_length=3)
    to_currency = models.CharField(_("is this much of"), max_length=3)
    rate = models.DecimalField(
        _("rate"), max_digits=15, decimal_places=8, validators=[MinValueValidator(Decimal("0.00000001"))]
    )
    source = models.CharField(_("source"), max_length=80, help_text=_("where the rate comes from, such as a bank"))
    valid_from = models.DateTimeField(_("valid from"))
    valid_until = models.DateTimeField(_("valid until"), null=True, blank=True, help_text=_("not included"))
    created_at = models.DateTimeField(_("entered"), default=clock.now, editable=False)

    class Meta:
        db_table = "catalog_fx_rate"
        verbose_name = _("exchange rate")
        verbose_name_plural = _("exchange rates")
        indexes = [
            models.Index(fields=["tenant", "from_currency", "to_currency", "-valid_from"], name="fx_rate_newest_first")
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "from_currency", "to_currency", "valid_from"], name="fx_rate_once_per_moment"
            ),
            # A rate of zero would make every cost nothing.
            models.CheckConstraint(condition=Q(rate__gt=0), name="fx_rate_above_zero"),
            models.CheckConstraint(condition=~Q(from_currency=F("to_currency")), name="fx_rate_between_two_currencies"),
            models.CheckConstraint(
                condition=Q(valid_until__isnull=True) | Q(valid_until__gt=F("valid_from")),
                name="fx_rate_ends_after_it_begins",
            ),
        ]

    def __str__(self) -> str:
        return f"1 {self.from_currency} = {self.rate.normalize():f} {self.to_currency}"

    def clean(self) -> None:
        """Two known currencies, and an end after the beginning."""
        for name in ("from_currency", "to_currency"):
            clean_currency(self, name)
        if self.from_currency == self.to_currency:
            raise ValidationError({"to_currency": _("a rate is between two currencies")})
        clean_period(self.valid_from, self.valid_until)


def clean_currency(row: models.Model, name: str) -> None:
    """Write the field's currency in capitals. Raises `ValidationError` for an unknown one."""
    try:
        setattr(row, name, check_currency(str(getattr(row, name)).strip().upper()))
    except ValueError as error:
        raise ValidationError({name: _("not a known currency: write its three letters, such as TRY")}) from error


def clean_period(valid_from: datetime | None, valid_until: datetime | None) -> None:
    """Raise `ValidationError` for an end that is not after the beginning."""
    if valid_from is not None and valid_until is not None and valid_until <= valid_from:
        raise ValidationError({"valid_until": _("the end must come after the beginning")})
