"""The set-up page of packages says whether they can be sold, and what is missing."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.catalog.models import Package
from apps.common import clock
from apps.orders.sellable import Finding, can_be_sold, look_at, missing_for_sale
from apps.providers.admin import PackageAdmin

admin.site.unregister(Package)


@admin.register(Package)
class SellablePackageAdmin(PackageAdmin):
    """Packages with what keeps them from being sold."""

    list_display = [*PackageAdmin.list_display, "on_sale"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """A package that exists says what it lacks."""
        fields = super().get_readonly_fields(request, obj)
        return fields if obj is None else [*fields, "what_is_missing"]

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The list, with what every package on this page lacks, looked up for all at once."""
        changelist = super().get_changelist_instance(request)
        for sale in look_at(list(changelist.result_list), clock.now()):
            sale.package.missing = missing_for_sale(sale)  # type: ignore[attr-defined]  # for the column of this page
        return changelist

    @admin.display(description=_("can be sold"))
    def on_sale(self, package: Any) -> str:
        """Yes, or the first thing that is missing."""
        blocking = [found for found in package.missing if found.is_blocking]
        return str(blocking[0]) if blocking else gettext("yes")

    @admin.display(description=_("can be sold"))
    def what_is_missing(self, package: Package) -> str:
        """Everything that is missing, one line each."""
        (sale,) = look_at([package], clock.now())
        return tell_findings(missing_for_sale(sale))


def tell_findings(findings: list[Finding]) -> str:
    """Yes or no, and each finding on a line of its own."""
    answer = gettext("yes") if can_be_sold(findings) else gettext("no")
    return format_html_join("", "<div>{}</div>", ((line,) for line in (answer, *map(str, findings))))
