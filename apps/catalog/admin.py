"""Set-up pages of products and their input fields. Packages have theirs beside mappings and routes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from apps.accounts.admin_base import OnceFormSet, ReadableForm, TenantAdmin, TenantFilter, TenantInline
from apps.catalog.models import InputField, Product

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
