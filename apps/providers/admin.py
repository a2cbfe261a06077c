"""Set-up pages of provider accounts, and of packages with their prices, mappings and routes."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.accounts.admin_base import (
    AmountField,
    InlineFormSet,
    ReadableForm,
    TenantAdmin,
    TenantFilter,
    TenantInline,
    is_superuser,
    json_of,
    names_with_values,
    tenant_filter,
)
from apps.accounts.keys import is_test_key
from apps.catalog.admin import PriceInline
from apps.catalog.models import Package
from apps.common.crypto import CannotOpen
from apps.providers import troubles
from apps.providers.contract import Outcome
from apps.providers.models import IDENTITY, MAX_WEIGHT, Integration, PackageMapping, Route, check_no_test_key
from apps.providers.registry import ADAPTERS
from apps.providers.registry import secret_names as names_of

# --- provider accounts

PREFIX = "secret_"
"""Prefix of the form fields for secrets; what follows is the adapter's own name of the secret."""


class IntegrationForm(ReadableForm):
    """A provider account. Secrets are typed in and never come back; an empty field keeps what is stored."""

    def clean_options(self) -> dict[str, Any]:
        """An object."""
        return names_with_values(self.cleaned_data["options"])

    def clean(self) -> dict[str, Any] | None:
        """No key of a sandbox."""
        if self.typed_secrets():
            check_no_test_key({PREFIX + name: value for name, value in self.merged_secrets().items()})
        return super().clean()

    def merged_secrets(self) -> dict[str, str]:
        """Those that were typed in beside those that stay."""
        return {**stored_secrets(self.instance), **self.typed_secrets()}

    def typed_secrets(self) -> dict[str, str]:
        """The secrets that were typed in, by the adapter's names."""
        fields = self.cleaned_data.items()
        return {name.removeprefix(PREFIX): value for name, value in fields if name.startswith(PREFIX) and value}

    def save(self, commit: bool = True) -> Any:
        """Seal the typed secrets beside those that stay."""
        known = names_of(ADAPTERS[self.instance.kind])
        if self.typed_secrets():
            merged = self.merged_secrets()
            self.instance.set_secrets({name: value for name, value in merged.items() if name in known})
        return super().save(commit)


def stored_secrets(integration: Integration) -> dict[str, str]:
    """The account's secrets in clear; none when their key is gone, so that they can be typed in again."""
    try:
        return dict(integration.account().secrets)
    except CannotOpen:
        return {}


def secret_field(name: str) -> forms.CharField:
    """A password field that never shows anything."""
    widget = forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password", "dir": "ltr"})
    return forms.CharField(label=name, required=False, strip=False, widget=widget)


def secret_names(integration: Integration | None) -> list[str]:
    """The secrets of the account's protocol; a new account may be of any."""
    adapters = ADAPTERS.values() if integration is None else [ADAPTERS[integration.kind]]
    return list(dict.fromkeys(name for adapter in adapters for name in names_of(adapter)))


@admin.register(Integration)
class IntegrationAdmin(TenantAdmin):
    """Accounts at providers. What makes an account the same account is frozen by its first purchase."""

    form = IntegrationForm
    formfield_overrides = json_of(8, 60)
    list_display = ["name", "tenant", "kind", "currency", "is_enabled", "paused_until", "pause_reason"]
    list_filter = [TenantFilter, "kind", "is_enabled"]
    search_fields = ["name", "login", "base_url"]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Who may not change the account sees no place to type secrets."""
        secrets = [PREFIX + name for name in secret_names(obj)] if self._may_type(request, obj) else []
        state = ["secrets_stored"] if obj is not None else []
        return [
            (None, {"fields": ["tenant", "name", "kind", "base_url", "login", "currency", "is_enabled"]}),
            (
                _("Secrets"),
                {"fields": [*state, *secrets], "description": _("An empty field keeps the secret that is stored.")},
            ),
            (_("Behaviour"), {"fields": ["options", "is_local", "paused_until", *(["pause_reason"] if obj else [])]}),
        ]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """The form with one password field per secret of the protocol."""
        names = secret_names(obj) if self._may_type(request, obj) else []
        fields = {PREFIX + name: secret_field(name) for name in names}
        kwargs["form"] = type("IntegrationForm", (IntegrationForm,), fields)
        return super().get_form(request, obj, change=change, **kwargs)

    def _may_type(self, request: HttpRequest, obj: Any) -> bool:
        return self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """The identity after the first purchase; `is_local` for everybody but superusers."""
        fields = super().get_readonly_fields(request, obj)
        frozen = [*IDENTITY, "currency"] if obj is not None and obj.in_use_since else []
        local = [] if is_superuser(request) else ["is_local"]
        shown = ["secrets_stored", "pause_reason"] if obj is not None else []
        return [*fields, *frozen, *local, *shown]

    @admin.display(description=_("stored secrets"))
    def secrets_stored(self, integration: Integration) -> str:
        """Which secrets are there, never what they are."""
        stored = stored_secrets(integration)
        words = {True: gettext("stored"), False: gettext("missing")}
        usable = {name for name, value in stored.items() if value and not is_test_key(value)}
        return ", ".join(f"{name}: {words[name in usable]}" for name in secret_names(integration)) or "-"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save, and say which secrets are still missing."""
        super().save_model(request, obj, form, change)
        let_go_on(obj, form)
        needed = ADAPTERS[obj.kind].secret_fields
        missing = [name for name in needed if not stored_secrets(obj).get(name)]
        if missing:
            text = _("Nothing can be sent with this account yet. Missing: %(names)s") % {"names": ", ".join(missing)}
            messages.warning(request, text)


def let_go_on(integration: Integration, form: Any) -> None:
    """What was typed may have mended a trouble: other credentials that one, an emptied pause every one."""
    if "paused_until" in form.changed_data and integration.paused_until is None:
        troubles.resume(integration)
    elif form.typed_secrets() or {"base_url", "login"} & set(form.changed_data):
        troubles.resume(integration, only=Outcome.AUTH_ERROR)


# --- packages: prices, mappings, routes

ACCOUNT_IF_AUTOMATIC = _("an automatic route needs a provider account, a manual one has none")


POSITION_TAKEN = _("another route of the same price group has this position")
ACCOUNT_TAKEN = _("another route of the same price group leads to this provider account")
ROUTE_TWICE = {
    "route_position_once_per_package": POSITION_TAKEN,
    "route_position_once_per_package_and_group": POSITION_TAKEN,
    "route_once_per_package_and_account": ACCOUNT_TAKEN,
    "route_once_per_package_account_and_group": ACCOUNT_TAKEN,
}
ONCE_BY = {"position": "route_position_once_per_package", "integration": "route_once_per_package_and_account"}
"""The rule that a second row breaks, by the field in which it is the same."""


class MappingForm(ReadableForm):
    """What a package is called at one provider."""

    constraint_words = {
        "mapping_has_a_product_id": _("this field is required"),
        "mapping_cost_not_negative": _("a cost is not below zero"),
    }
    cost_micros = AmountField(label=_("expected cost"), min_value=Decimal(0), required=False)

    def clean_params(self) -> dict[str, Any]:
        """An object."""
        return names_with_values(self.cleaned_data["params"])


class MappingInline(TenantInline):
    """The mappings on the page of their package."""

    model = PackageMapping
    form = MappingForm
    formfield_overrides = {
        **json_of(2, 16),
        models.CharField: {"widget": forms.TextInput(attrs={"size": 12, "dir": "ltr"})},
    }


class RouteForm(ReadableForm):
    """One route. `mapped_here`: the accounts that the same page maps the package to, and saves first."""

    constraint_words = {
        "route_auto_has_account_manual_has_none": ACCOUNT_IF_AUTOMATIC,
        "route_weight_sane": _("from 1 to 1000"),
        "route_hours_begin_and_end": _("write both times, which differ, or neither"),
        **ROUTE_TWICE,
    }
    weight = forms.IntegerField(label=_("weight"), min_value=1, max_value=MAX_WEIGHT, required=False, initial=1)

    def __init__(self, *args: Any, mapped_here: Iterable[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mapped_here = frozenset(mapped_here)

    def clean_weight(self) -> int:
        """An empty box is one."""
        weight: int | None = self.cleaned_data["weight"]
        return 1 if weight is None else weight

    def _post_clean(self) -> None:
        super()._post_clean()
        integration = self.instance.integration
        if "integration" not in self.errors or integration is None or str(integration.pk) not in self.mapped_here:
            return
        is_own = integration.tenant_id == self.instance.package.tenant_id
        if is_own and self.instance.mode == Route.Mode.AUTO:
            # The only objection left is the missing mapping, which this page brings along.
            del self.errors["integration"]
            self.cleaned_data["integration"] = integration


class RouteFormSet(InlineFormSet):
    """The routes of one package: within a price group one to each account, and one at each position."""

    def clean(self) -> None:
        """Refuse the second row of a kind, which the database would refuse without words."""
        super().clean()
        seen: set[tuple[object, ...]] = set()
        for form in self.forms:
            row = getattr(form, "cleaned_data", None)
            if not row or row.get("DELETE"):
                continue
            for name in ("position", "integration"):
                key = (name, row.get("price_group"), row.get(name))
                if key[-1] is not None and key in seen:
                    form.add_error(name, ROUTE_TWICE[ONCE_BY[name]])
                seen.add(key)


class RouteInline(TenantInline):
    """The routes on the page of their package, once there is one."""

    model = Route
    form = RouteForm
    formset = RouteFormSet


class PackageForm(ReadableForm):
    """One package."""

    constraint_words = {
        "package_quantity_range_sane": _("the least is at least 1, the most is not below it and at most 1000"),
    }

    def clean_quantity_values(self) -> Any:
        """An empty box is an empty list."""
        values = self.cleaned_data["quantity_values"]
        return [] if values is None else values


@admin.register(Package)
class PackageAdmin(TenantAdmin):
    """What can be bought, for how much, and where it comes from. Save a new package first, then add its routes."""

    form = PackageForm
    formfield_overrides = json_of(2, 30)
    list_display = ["name", "product", "code", "tenant", "strategy", "is_active"]
    list_filter = [TenantFilter, "is_active"]
    list_select_related = ["product", "tenant"]
    search_fields = ["name", "code", "product__name"]

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        """Routes need a package that is saved."""
        return [PriceInline, MappingInline] if obj is None else [PriceInline, MappingInline, RouteInline]

    def get_formset_kwargs(self, request: HttpRequest, obj: Any, inline: Any, prefix: str) -> dict[str, Any]:
        """Tell the routes which mappings are being saved beside them."""
        kwargs: dict[str, Any] = super().get_formset_kwargs(request, obj, inline, prefix)
        if isinstance(inline, RouteInline) and request.method == "POST":
            kwargs["form_kwargs"] = {"mapped_here": posted_mappings(request)}
        return kwargs


def posted_mappings(request: HttpRequest) -> set[str]:
    """The accounts in the mapping rows of the posted page that are not being deleted."""
    rows = [name.removesuffix("-integration") for name in request.POST if name.startswith("mappings-")]
    return {
        request.POST[f"{row}-integration"]
        for row in rows
        if f"{row}-integration" in request.POST and f"{row}-DELETE" not in request.POST
    }


@admin.register(PackageMapping)
class MappingAdmin(TenantAdmin):
    """All mappings in one list."""

    form = MappingForm
    tenant_path = "package__tenant"
    frozen_fields = ("package", "integration")
    list_display = ["package", "integration", "oyun", "kupur"]
    list_filter = [tenant_filter("package__tenant")]
    list_select_related = ["package__product", "integration"]
    search_fields = ["package__name", "package__code", "oyun", "kupur"]
    autocomplete_fields = ["package"]


@admin.register(Route)
class RouteAdmin(TenantAdmin):
    """All routes in one list."""

    form = RouteForm
    tenant_path = "package__tenant"
    frozen_fields = ("package",)
    list_display = ["package", "price_group", "position", "mode", "integration", "weight", "is_enabled"]
    list_filter = [tenant_filter("package__tenant"), "mode", "is_enabled"]
    list_select_related = ["package__product", "integration", "price_group"]
    search_fields = ["package__name", "package__code"]
    autocomplete_fields = ["package"]
