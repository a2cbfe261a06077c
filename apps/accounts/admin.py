"""Set-up pages of shops, people and customers; those of API keys are beside the doors that they open."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import admin
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
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
)
from apps.accounts.models import Customer, Membership, PriceGroup, Tenant, User

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
