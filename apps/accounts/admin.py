"""Set-up pages of shops, people, customers and API keys."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from apps.accounts.admin_base import (
    ReadableForm,
    TabularInline,
    TenantAdmin,
    TenantFilter,
    UserAdmin,
    is_superuser,
    owned_tenant_ids,
    tenant_filter,
)
from apps.accounts.keys import AlreadyReplaced, demand_signatures, issue_key, replace_key
from apps.accounts.models import ApiKey, Customer, Membership, PriceGroup, Tenant, User
from apps.common import clock

admin.site.site_header = _("Order hub: set-up")
admin.site.site_title = _("Order hub")
admin.site.index_title = _("Set-up")

# Roles in shops decide what a person may do; groups of permissions would suggest otherwise.
admin.site.unregister(Group)


class TenantForm(ReadableForm):
    """A shop."""

    constraint_words = {
        "shop_loss_guard_sane": _("from 0 to 100 percent"),
        "shop_rate_age_above_zero": _("at least one hour"),
        "shop_quote_time_above_zero": _("at least one minute"),
        "shop_api_rate_above_zero": _("at least one request"),
    }

    def clean_timezone(self) -> str:
        """A name that the time zone database knows."""
        name = str(self.cleaned_data["timezone"])
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValidationError(_("not a time zone: write it like Europe/Istanbul")) from error
        return name


@admin.register(Tenant)
class ShopAdmin(TenantAdmin):
    """Shops: their owners change them, a superuser adds them."""

    form = TenantForm
    tenant_path = "pk"
    frozen_fields = ()
    list_display = ["name", "slug", "timezone", "currency", "is_active"]
    search_fields = ["name", "slug"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Superusers only."""
        return is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Superusers only."""
        return is_superuser(request)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """An owner cannot switch the shop off or rename its key."""
        return [] if is_superuser(request) else ["slug", "is_active"]


class MembershipInline(TabularInline):
    """A person's shops, on the page of the person."""

    model = Membership
    extra = 0


@admin.register(User)
class PersonAdmin(UserAdmin):
    """People who sign in. Superusers only: a person may belong to several shops."""

    inlines = [MembershipInline]
    list_filter = ["is_staff", "is_superuser", "is_active"]
    filter_horizontal = []
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (_("Person"), {"fields": ("first_name", "last_name", "email")}),
        (_("Rights"), {"fields": ("is_active", "is_staff", "is_superuser")}),
        (_("Dates"), {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ["last_login", "date_joined"]

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Superusers only."""
        return is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Superusers only."""
        return is_superuser(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Superusers only."""
        return is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Superusers only."""
        return is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Superusers only."""
        return is_superuser(request)


@admin.register(Membership)
class MembershipAdmin(TenantAdmin):
    """Who may do what in a shop."""

    form = ReadableForm
    frozen_fields = ("user", "tenant")
    list_display = ["user", "tenant", "role"]
    list_filter = [TenantFilter, "role"]
    search_fields = ["user__username"]

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """An owner finds the people of their own shops; others are added by a superuser."""
        if db_field.name == "user" and not is_superuser(request):
            kwargs["queryset"] = User.objects.filter(memberships__tenant__in=owned_tenant_ids(request)).distinct()
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


class PriceGroupForm(ReadableForm):
    """A price group."""

    constraint_words = {"price_group_is_not_its_own_parent": _("price groups cannot go round in a circle")}


@admin.register(PriceGroup)
class PriceGroupAdmin(TenantAdmin):
    """Groups of customers who pay the same."""

    form = PriceGroupForm
    list_display = ["name", "parent", "tenant"]
    list_filter = [TenantFilter]
    list_select_related = ["parent", "tenant"]
    search_fields = ["name"]


class CustomerForm(ReadableForm):
    """A customer."""

    def clean(self) -> dict[str, Any]:
        """The price group is one of the customer's own shop."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        group = cleaned.get("price_group")
        tenant_id = self.instance.tenant_id or getattr(cleaned.get("tenant"), "pk", None)
        if group is not None and tenant_id is not None and group.tenant_id != tenant_id:
            self.add_error("price_group", ValidationError(_("this price group belongs to another shop")))
        return cleaned


@admin.register(Customer)
class CustomerAdmin(TenantAdmin):
    """Who buys. The currency stays: the wallet is in it."""

    form = CustomerForm
    frozen_fields = ("tenant", "currency")
    list_display = ["name", "tenant", "currency", "price_group", "is_active"]
    list_filter = [TenantFilter, "is_active"]
    search_fields = ["name"]


class ApiKeyForm(ReadableForm):
    """An API key; its secret is no field."""

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
    list_display = ["public_id", "customer", "label", "is_active", "created_at", "last_used_at", "expires_at"]
    list_filter = [tenant_filter("customer__tenant"), "is_active"]
    search_fields = ["public_id", "label", "customer__name"]
    autocomplete_fields = ["customer"]
    actions = ["replace", "sign"]

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
        added = ["customer", "label", "expires_at", "scopes", "allowed_ips", "rate_per_s", "burst"]
        return added if obj is None else [*added, "is_active", "public_id", "created_at", "last_used_at"]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """A new key is issued and told; an old one is saved without its secret being touched."""
        if change:
            super().save_model(request, obj, form, change)
            return
        chosen = ("expires_at", "scopes", "allowed_ips", "rate_per_s", "burst")
        rights = {name: getattr(obj, name) for name in chosen}
        issued, full_key = issue_key(obj.customer, clock.now(), obj.label, **rights)
        obj.pk, obj.public_id, obj.created_at = issued.pk, issued.public_id, issued.created_at
        messages.warning(request, _("Copy the key now, it is never shown again: %(key)s") % {"key": full_key})
