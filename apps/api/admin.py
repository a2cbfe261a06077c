"""Set-up pages of API keys."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from apps.accounts.admin_base import ReadableForm, TenantAdmin, tenant_filter, visible_tenant_ids
from apps.accounts.keys import AlreadyReplaced, demand_signatures, issue_key, replace_key
from apps.accounts.models import ApiKey
from apps.common import clock
from apps.orders.sandbox import issue_test_key


class ApiKeyForm(ReadableForm):
    """An API key; its secret is no field."""

    is_test = forms.BooleanField(
        label=_("test key"),
        required=False,
        help_text=_("opens the shop's sandbox: play money, nothing is really bought, and it stays a test key"),
    )
    constraint_words = {
        "api_key_expires_after_creation": _("The key must expire after it was made."),
        "api_key_rate_above_zero": _("at least one request"),
    }

    def clean_expires_at(self) -> Any:
        """A time to come, or none."""
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and "expires_at" in self.changed_data and expires_at <= clock.now():
            raise ValidationError(_("this time is over; switch the key off instead"))
        return expires_at


@admin.register(ApiKey)
class ApiKeyAdmin(TenantAdmin):
    """Keys that customers call with. The full key is shown once, when it is made; only its hash is stored."""

    form = ApiKeyForm
    tenant_path = "customer__tenant"
    frozen_fields = ("customer", "public_id", "created_at", "last_used_at")
    list_display = [
        "public_id",
        "customer",
        "is_test",
        "label",
        "is_active",
        "created_at",
        "last_used_at",
        "expires_at",
    ]
    list_filter = [tenant_filter("customer__tenant"), "is_active"]
    search_fields = ["public_id", "label", "customer__name"]
    autocomplete_fields = ["customer"]
    actions = ["replace", "sign"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        """Keys of the person's shops and of their sandboxes."""
        own = visible_tenant_ids(request)
        is_own = Q(customer__tenant__in=own) | Q(customer__tenant__sandbox_of__in=own)
        return ApiKey.objects.select_related("customer__tenant").filter(is_own)

    def tenant_id_of(self, row: ApiKey) -> int:
        """The shop, also for a key of its sandbox."""
        shop = row.customer.tenant
        return shop.sandbox_of_id or shop.pk

    @admin.display(description=_("test key"), boolean=True)
    def is_test(self, key: ApiKey) -> bool:
        """Whether it opens the sandbox."""
        return key.customer.tenant.is_sandbox

    @admin.action(description=_("Issue a new key in its place; the old one opens for one more day"))
    def replace(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        """Two live keys for a day, so that a customer changes without a pause."""
        for key in self.changeable(request, keys):
            try:
                _new, full_key = replace_key(key.pk, clock.now())
            except AlreadyReplaced:
                messages.error(request, _("%(key)s was replaced before, or opens nothing any more.") % {"key": key})
                continue
            text = _("Copy the key that takes the place of %(old)s now, it is never shown again: %(key)s")
            messages.warning(request, text % {"old": key, "key": full_key})

    @admin.action(description=_("Demand signed requests, under a new secret"))
    def sign(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        """The secret is shown once; an earlier one no longer signs anything."""
        for key in self.changeable(request, keys):
            text = _("Copy the signing secret of %(key)s now, it is never shown again: %(secret)s")
            messages.warning(request, text % {"key": key, "secret": demand_signatures(key)})

    def changeable(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> list[ApiKey]:
        """Those of the chosen keys that this person may change."""
        return [key for key in keys if self.has_change_permission(request, key)]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """A new key needs a customer only; everything else about it is made or comes later."""
        both = ["label", "expires_at", "scopes", "allowed_ips", "rate_per_s", "burst"]
        if obj is None:
            return ["customer", "is_test", *both]
        return ["customer", *both, "is_active", "public_id", "created_at", "last_used_at"]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """A new key is issued and told; an old one is saved without its secret being touched."""
        if change:
            super().save_model(request, obj, form, change)
            return
        chosen = ("expires_at", "scopes", "allowed_ips", "rate_per_s", "burst")
        rights = {name: getattr(obj, name) for name in chosen}
        issue = issue_test_key if form.cleaned_data["is_test"] else issue_key
        issued, full_key = issue(obj.customer, clock.now(), obj.label, **rights)
        for name in ("pk", "customer", "public_id", "created_at"):
            setattr(obj, name, getattr(issued, name))
        messages.warning(request, _("Copy the key now, it is never shown again: %(key)s") % {"key": full_key})
