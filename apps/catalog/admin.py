"""Set-up pages of products with their fields, prices, margin rules and exchange rates.

Packages have theirs beside mappings and routes.
"""

from __future__ import annotations

from collections.abc import Hashable
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from apps.accounts.admin_base import (
    AmountField,
    InlineFormSet,
    OnceFormSet,
    ReadableForm,
    TenantAdmin,
    TenantFilter,
    TenantInline,
    tenant_filter,
)
from apps.catalog.models import MAX_QUANTITY, FxRate, InputField, MarginRule, PackagePrice, Product
from apps.common import clock
from apps.common.money import format_amount

ONE_FIELD_PER_TARGET = _("only one field may go there; make the other one a parameter")


class InputFieldForm(ReadableForm):
    """One input field."""

    constraint_words = {"input_field_target_once_per_product": ONE_FIELD_PER_TARGET}


class InputFieldSet(OnceFormSet):
    """The input fields of one product: one recipient, one extra field, any number of parameters."""

    once_error = ONE_FIELD_PER_TARGET

    def key_of(self, form: Any) -> Hashable | None:
        """The target, where it is not a parameter."""
        target = form.cleaned_data.get("target")
        return None if target == InputField.Target.PARAM else target


class InputFieldInline(TenantInline):
    """The input fields on the page of their product."""

    model = InputField
    form = InputFieldForm
    formset = InputFieldSet


@admin.register(Product)
class ProductAdmin(TenantAdmin):
    """What is sold, and what a buyer must say for it."""

    form = ReadableForm
    inlines = [InputFieldInline]
    list_display = ["name", "tenant", "needs_code", "is_active"]
    list_filter = [TenantFilter, "is_active", "needs_code"]
    search_fields = ["name", "name_ar", "name_tr"]


# --- prices

ONE_PRICE_AT_A_TIME = _(
    "overlaps with another price of the same group, currency and quantity: end that one first, at the latest when this "
    "one begins"
)


class PriceForm(ReadableForm):
    """One price, written as an amount."""

    constraint_words = {
        "price_is_positive": _("a price is above zero"),
        "price_from_quantity_sane": _("from 1 to 1000"),
        "price_ends_after_it_begins": _("the end must come after the beginning"),
    }
    unit_price_micros = AmountField(label=_("unit price"), min_value=Decimal("0.000001"))
    from_quantity = forms.IntegerField(
        label=_("from quantity"), min_value=1, max_value=MAX_QUANTITY, required=False, initial=1
    )

    def clean_from_quantity(self) -> int:
        """An empty box is one."""
        quantity: int | None = self.cleaned_data["from_quantity"]
        return 1 if quantity is None else quantity


class SinglePriceForm(PriceForm):
    """One price on a page of its own."""

    def _post_clean(self) -> None:
        super()._post_clean()
        if self.errors:
            return
        others = PackagePrice.objects.filter(package=self.instance.package).exclude(pk=self.instance.pk)
        if any(self.instance.overlaps(other) for other in others):
            self.add_error("valid_from", ONE_PRICE_AT_A_TIME)


class PriceFormSet(InlineFormSet):
    """The prices of one package, of which no two may count for the same buyer at the same time."""

    def clean(self) -> None:
        """Compare each row with those that are saved before it, and with what is stored of those that come after."""
        super().clean()
        rows = [form for form in self.forms if form.is_valid() and (form.instance.pk or form.has_changed())]
        stored = PackagePrice.objects.in_bulk([row.instance.pk for row in rows])
        for place, row in enumerate(rows):
            before = [earlier.instance for earlier in rows[:place] if not is_deleted(earlier)]
            after = [stored[later.instance.pk] for later in rows[place + 1 :] if later.instance.pk]
            others = before + (after if row.has_changed() else [])
            if not is_deleted(row) and any(row.instance.overlaps(other) for other in others):
                row.add_error("valid_from", ONE_PRICE_AT_A_TIME)


def is_deleted(row: Any) -> bool:
    """Whether the row of a formset is ticked to be deleted."""
    return bool(row.cleaned_data.get("DELETE"))


class PriceInline(TenantInline):
    """The prices on the page of their package."""

    model = PackagePrice
    form = PriceForm
    formset = PriceFormSet


@admin.register(PackagePrice)
class PriceAdmin(TenantAdmin):
    """All prices in one list, the past and the coming ones too."""

    form = SinglePriceForm
    tenant_path = "package__tenant"
    frozen_fields = ("package",)
    list_display = ["package", "price_group", "currency", "amount", "from_quantity", "valid_from", "valid_until"]
    list_filter = [tenant_filter("package__tenant"), "currency"]
    list_select_related = ["package__product", "price_group"]
    search_fields = ["package__name", "package__code", "price_group__name"]

    @admin.display(description=_("unit price"), ordering="unit_price_micros")
    def amount(self, price: PackagePrice) -> str:
        """As a decimal."""
        return format_amount(price.unit_price_micros)


class MarginRuleForm(ReadableForm):
    """One margin rule, its amounts written as such."""

    constraint_words = {
        "margin_rule_once_per_package_and_currency": _("this package has a margin rule in this currency already"),
        "margin_rule_once_per_product_and_currency": _("this product has a margin rule in this currency already"),
        "margin_rule_once_per_shop_and_currency": _(
            "the shop has a margin rule for everything in this currency already"
        ),
        "margin_rule_has_one_scope": _("choose a product or a package, not both"),
        "margin_rule_is_percent_or_amount": _("a rule has a percent or an amount; the other one stays 0"),
        "margin_rule_step_above_zero": _("the step is above zero"),
    }
    amount_micros = AmountField(label=_("amount"), min_value=Decimal(0), required=False, initial=0)
    step_micros = AmountField(label=_("round up to a multiple of"), min_value=Decimal("0.000001"), initial=10_000)

    def clean_amount_micros(self) -> int:
        """An empty box is nothing."""
        return self.cleaned_data["amount_micros"] or 0


@admin.register(MarginRule)
class MarginRuleAdmin(TenantAdmin):
    """How prices are made from costs where none is set."""

    form = MarginRuleForm
    list_display = ["__str__", "tenant", "product", "package", "currency", "kind"]
    list_filter = [TenantFilter, "kind", "currency"]
    list_select_related = ["tenant", "product", "package__product"]
    search_fields = ["product__name", "package__name", "package__code"]


# --- exchange rates


class FxRateForm(ReadableForm):
    """One exchange rate."""

    constraint_words = {
        "fx_rate_once_per_moment": _("there is a rate of these two currencies from this moment on already"),
        "fx_rate_above_zero": _("a rate is above zero"),
        "fx_rate_between_two_currencies": _("a rate is between two currencies"),
        "fx_rate_ends_after_it_begins": _("the end must come after the beginning"),
    }

    def clean_rate(self) -> Decimal:
        """Above zero: a rate of nothing would make every cost nothing."""
        rate: Decimal = self.cleaned_data["rate"]
        if rate <= 0:
            raise ValidationError(_("a rate is above zero"))
        return rate


@admin.register(FxRate)
class FxRateAdmin(TenantAdmin):
    """The history of exchange rates. A rate never changes: a newer one takes its place, or its end is set."""

    form = FxRateForm
    frozen_fields = ("tenant", "from_currency", "to_currency", "rate", "source", "valid_from", "created_at")
    list_display = ["__str__", "tenant", "source", "valid_from", "valid_until", "created_at"]
    list_filter = [TenantFilter, "from_currency", "to_currency"]
    list_select_related = ["tenant"]
    search_fields = ["from_currency", "to_currency", "source"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: orders were converted with it, and may be."""
        return False

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Valid from now on."""
        return {"valid_from": clock.now().replace(microsecond=0), **super().get_changeform_initial_data(request)}
