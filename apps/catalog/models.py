"""What is sold: products with their input fields, packages with a quantity rule, and prices per group."""

from __future__ import annotations

import re

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import PriceGroup, Tenant

MAX_QUANTITY = 1000
"""Units of one order at most: each unit is a row with money on it."""


class Product(models.Model):
    """One kind of goods; `needs_code` says that a delivery without a code is not a delivery."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="products", verbose_name=_("shop"))
    name = models.CharField(_("name"), max_length=120)
    name_ar = models.CharField(_("name (Arabic)"), max_length=120, blank=True)
    name_tr = models.CharField(_("name (Turkish)"), max_length=120, blank=True)
    needs_code = models.BooleanField(_("delivers a PIN"), default=True)
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

    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="fields", verbose_name=_("product"))
    name = models.SlugField(_("name"), max_length=40, help_text=_("the name in the API, such as player_id"))
    label = models.CharField(_("label"), max_length=120)
    label_ar = models.CharField(_("label (Arabic)"), max_length=120, blank=True)
    label_tr = models.CharField(_("label (Turkish)"), max_length=120, blank=True)
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
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse a pattern that is no regular expression."""
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValidationError({"pattern": _("not a regular expression: %(error)s") % {"error": error}}) from error


class Package(models.Model):
    """One thing to buy: a product in one size, known to the API by its `code`."""

    class QuantityKind(models.TextChoices):
        ONE = "one", _("one at a time")
        LIST = "list", _("one of a list")
        RANGE = "range", _("any in a range")

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="packages", verbose_name=_("shop"))
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="packages", verbose_name=_("product"))
    code = models.SlugField(_("code"), max_length=60)
    name = models.CharField(_("name"), max_length=120)
    quantity_kind = models.CharField(_("quantity rule"), max_length=8, choices=QuantityKind, default=QuantityKind.ONE)
    quantity_min = models.PositiveIntegerField(_("least"), default=1)
    quantity_max = models.PositiveIntegerField(_("most"), default=1)
    quantity_values = models.JSONField(_("allowed quantities"), default=list, blank=True)
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

    def quantity_rule(self) -> str:
        """The rule in words a developer can act on."""
        rules = {
            self.QuantityKind.ONE: "1",
            self.QuantityKind.LIST: "one of " + ", ".join(map(str, self.quantity_values)),
            self.QuantityKind.RANGE: f"{self.quantity_min} to {self.quantity_max}",
        }
        return rules[self.QuantityKind(self.quantity_kind)]


class PackagePrice(models.Model):
    """The price of one unit for one price group (none: everybody without a price of their own group)."""

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

    class Meta:
        db_table = "catalog_package_price"
        verbose_name = _("price")
        verbose_name_plural = _("prices")
        constraints = [
            models.UniqueConstraint(
                fields=["package", "price_group", "currency"], name="price_once_per_group_and_currency"
            ),
            models.UniqueConstraint(
                fields=["package", "currency"], condition=Q(price_group__isnull=True), name="price_once_for_all_groups"
            ),
            models.CheckConstraint(condition=Q(unit_price_micros__gt=0), name="price_is_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.package}: {self.unit_price_micros} {self.currency}"

    def clean(self) -> None:
        """A price is for a group of the package's own shop."""
        if self.price_group is not None and self.price_group.tenant_id != self.package.tenant_id:
            raise ValidationError({"price_group": _("this price group belongs to another shop")})
