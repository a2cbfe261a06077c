"""The base of every set-up page: rows, choices and rights end at the shops of the person's memberships."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.auth import admin as auth_admin
from django.core.exceptions import NON_FIELD_ERRORS, ObjectDoesNotExist, ValidationError
from django.db import models
from django.http import Http404, HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Membership, Tenant, User
from apps.common.currencies import DECIMALS
from apps.common.money import BadAmount, format_amount, to_micros

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
    ModelForm = forms.ModelForm[Any]
    InlineFormSet = forms.BaseInlineFormSet[Any, Any, Any]
    UserAdmin = auth_admin.UserAdmin[User]
    Overrides = dict[type[models.Field[Any, Any]], dict[str, Any]]
else:
    Overrides = dict
    ModelAdmin, TabularInline, ModelForm = admin.ModelAdmin, admin.TabularInline, forms.ModelForm
    InlineFormSet, UserAdmin = forms.BaseInlineFormSet, auth_admin.UserAdmin


def json_of(rows: int, cols: int) -> Overrides:
    """JSON is written left to right in every language, in a box of this size."""
    return {models.JSONField: {"widget": forms.Textarea(attrs={"rows": rows, "cols": cols, "dir": "ltr"})}}


# --- rights


def person_of(request: HttpRequest) -> User | None:
    """Who is signed in, if anybody."""
    return request.user if isinstance(request.user, User) else None


def visible_tenant_ids(request: HttpRequest) -> list[int]:
    """The shops whose set-up this person may see."""
    person = person_of(request)
    return person.tenant_ids() if person else []


def owned_tenant_ids(request: HttpRequest) -> list[int]:
    """The shops whose set-up this person may change: those they own; a superuser all."""
    person = person_of(request)
    if person is None or not person.is_active or person.is_superuser:
        return visible_tenant_ids(request)
    owned = person.memberships.filter(tenant__is_active=True, role=Membership.Role.OWNER)
    return list(owned.values_list("tenant_id", flat=True))


def is_superuser(request: HttpRequest) -> bool:
    """Whether this person may do everything."""
    return bool(request.user.is_active and request.user.is_superuser)


class OwnedChoices:
    """Foreign keys of a form offer, and accept, rows of the shops that the person owns."""

    admin_site: admin.AdminSite

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """The field with its rows limited."""
        related = db_field.remote_field.model
        if "queryset" not in kwargs and self.admin_site.is_registered(related):
            page = self.admin_site.get_model_admin(related)
            if isinstance(page, TenantAdmin):
                kwargs["queryset"] = page.owned(request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]  # of the admin classes


class TenantAdmin(OwnedChoices, ModelAdmin):
    """A set-up table. `tenant_path` leads from a row to its shop; `frozen_fields` cannot change once a row exists."""

    tenant_path = "tenant"
    frozen_fields: tuple[str, ...] = ("tenant",)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Only rows of the person's shops."""
        return super().get_queryset(request).filter(**{f"{self.tenant_path}__in": visible_tenant_ids(request)})

    def owned(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Rows of the shops that the person owns: what their forms may point to."""
        return super().get_queryset(request).filter(**{f"{self.tenant_path}__in": owned_tenant_ids(request)})

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        """The newest first, where the page names no other order: pages of a list need one."""
        return list(super().get_ordering(request)) or ["-pk"]

    def tenant_id_of(self, row: Any) -> int:
        """The shop that a row belongs to."""
        *way, last = self.tenant_path.split("__")
        for name in way:
            row = getattr(row, name)
        return int(row.pk if last == "pk" else getattr(row, f"{last}_id"))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The row; a foreign one is answered with 404, as if it did not exist."""
        found = super().get_object(request, object_id, from_field)
        if found is None:
            raise Http404
        return found

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Members of any shop see the tables."""
        return bool(visible_tenant_ids(request))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Every member may look."""
        return self._may(visible_tenant_ids(request), obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Owners may add."""
        return bool(owned_tenant_ids(request))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Owners may change."""
        return self._may(owned_tenant_ids(request), obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Owners may delete what nothing depends on."""
        return self._may(owned_tenant_ids(request), obj)

    def _may(self, tenant_ids: list[int], obj: Any) -> bool:
        return bool(tenant_ids) if obj is None else self.tenant_id_of(obj) in tenant_ids

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """What was decided when the row was made stays."""
        fields = list(super().get_readonly_fields(request, obj))
        return [*fields, *self.frozen_fields] if obj is not None else fields

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """The shop is filled in where there is only one."""
        initial: dict[str, Any] = dict(super().get_changeform_initial_data(request))
        owned = owned_tenant_ids(request)
        return {"tenant": owned[0], **initial} if len(owned) == 1 else initial


class TenantInline(OwnedChoices, TabularInline):
    """Rows on the page of their parent, which belongs to a shop: whoever may change the parent may change them."""

    extra = 0

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As the parent."""
        return self._may(visible_tenant_ids(request), obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As the parent."""
        return self._may(owned_tenant_ids(request), obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As the parent."""
        return self._may(owned_tenant_ids(request), obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As the parent."""
        return self._may(owned_tenant_ids(request), obj)

    def _may(self, tenant_ids: list[int], parent: Any) -> bool:
        return bool(tenant_ids) if parent is None else parent.tenant_id in tenant_ids


class TenantFilter(admin.SimpleListFilter):
    """The person's shops, where there is more than one. `path` leads from a row to its shop."""

    title = _("shop")
    parameter_name = "shop"
    path = "tenant"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """One choice per shop."""
        shops = Tenant.objects.filter(pk__in=visible_tenant_ids(request)).order_by("name")
        return [(str(shop.pk), shop.name) for shop in shops]

    def has_output(self) -> bool:
        """A single shop needs no filter."""
        return len(self.lookup_choices) > 1

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """The rows of the chosen shop."""
        chosen = self.value()
        if chosen is None:
            return queryset
        return queryset.filter(**{self.path: chosen}) if chosen.isdecimal() else queryset.none()


def tenant_filter(tenant_path: str) -> type[TenantFilter]:
    """The filter by shop for rows that are this far from it."""
    return type("TenantFilter", (TenantFilter,), {"path": tenant_path})


# --- forms


class ReadableForm(ModelForm):
    """A form whose errors a person can read: a broken constraint is said in words, none ends in a server error."""

    constraint_words: Mapping[str, str | Promise] = {}

    def clean_currency(self) -> str:
        """A known currency, as ISO 4217 writes it."""
        currency = str(self.cleaned_data["currency"]).strip().upper()
        if currency not in DECIMALS:
            raise ValidationError(_("Write the currency as its ISO 4217 code, such as TRY."))
        return currency

    def add_error(self, field: str | None, error: Any) -> None:
        """An error about a field that is not on the form belongs to the form as a whole."""
        if field is None and hasattr(error, "error_dict"):
            readable: dict[str, list[ValidationError]] = defaultdict(list)
            for name, items in error.error_dict.items():
                known = name if name in self.fields else NON_FIELD_ERRORS
                readable[known] += [self._in_words(item) for item in items]
            error = ValidationError(dict(readable))
        super().add_error(field, error)

    def _in_words(self, error: ValidationError) -> ValidationError:
        for constraint in self._meta.model._meta.constraints:
            if error.message == constraint.get_violation_error_message() and constraint.name in self.constraint_words:
                return ValidationError(str(self.constraint_words[constraint.name]), code=error.code)
        return error

    def _post_clean(self) -> None:
        try:
            super()._post_clean()  # type: ignore[misc]  # Django's own hook, absent from the stubs
        except ObjectDoesNotExist:
            # A model's `clean` that follows a required link which was left empty; that is an error already.
            if not self.errors:
                raise


def names_with_values(value: Any) -> dict[str, Any]:
    """What was typed into a JSON box for an object; an empty box is an empty object."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValidationError(_('names with values in braces, such as {"name": "value"}'))
    return value


class OnceFormSet(InlineFormSet):
    """Rows of one page of which no two may have the same `key_of`, where the database's rule has a condition."""

    once_error: str | Promise = ""

    def key_of(self, form: Any) -> Hashable | None:
        """What may exist once; None: this row is not concerned."""
        raise NotImplementedError

    def clean(self) -> None:
        """Refuse the second row of a kind."""
        super().clean()
        seen: set[Hashable] = set()
        for form in self.forms:
            if not getattr(form, "cleaned_data", None) or form.cleaned_data.get("DELETE"):
                continue
            key = self.key_of(form)
            if key is not None and key in seen:
                form.add_error(None, ValidationError(str(self.once_error)))
            seen.add(key)


class AmountField(forms.DecimalField):
    """Money as a person writes it, such as 12.50; the form gets micro-units."""

    widget = forms.TextInput(attrs={"inputmode": "decimal", "dir": "ltr", "autocomplete": "off", "size": 12})

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"max_digits": 18, "decimal_places": 6, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        """Stored micro-units as a decimal; what was typed stays as it is."""
        return format_amount(value) if isinstance(value, int) else value

    def clean(self, value: Any) -> Any:
        """The typed decimal in micro-units."""
        amount: Decimal | None = super().clean(value)
        try:
            return None if amount is None else to_micros(amount)
        except BadAmount as error:
            raise ValidationError(str(error)) from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare amounts, not their spelling."""
        return bool(super().has_changed(self.prepare_value(initial), data))
