"""Mappings as CSV, and the table of everything that can be imported and exported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.accounts.models import Tenant
from apps.catalog.sheets import (
    FIELDS,
    PACKAGES,
    PRICES,
    PRODUCTS,
    BadLine,
    Sheet,
    Values,
    in_natural_order,
    package_of,
    put,
    read_slug,
)
from apps.common.tables import BadCell, Column, amount_text, read_micros
from apps.providers.models import Integration, PackageMapping


def mapping_rows(tenant: Tenant) -> Iterator[Values]:
    """Mappings by package and account."""
    mappings = PackageMapping.objects.filter(package__tenant=tenant)
    found = mappings.select_related("package__product", "integration")
    for row in in_natural_order(found, ["package__product__name", "package__name", "integration__name"]):
        yield {
            "package": row.package.code,
            "account": row.integration.name,
            "oyun": row.oyun,
            "kupur": row.kupur,
            "params": json.dumps(row.params, ensure_ascii=False, sort_keys=True) if row.params else "",
            "cost": amount_text(row.cost_micros),
        }


def store_mapping(tenant: Tenant, values: Values) -> str:
    """Create or change what this package is called at this account."""
    package = package_of(tenant, values["package"])
    account = Integration.objects.filter(tenant=tenant, name=values["account"]).first()
    if account is None:
        raise BadLine("account", _("there is no provider account of this name"))
    found = PackageMapping.objects.filter(package=package, integration=account).first()
    facts = {
        "oyun": values["oyun"],
        "kupur": values["kupur"],
        "params": values["params"],
        "cost_micros": values["cost"],
    }
    return put(found or PackageMapping(package=package, integration=account), facts)


def read_params(text: str) -> dict[str, Any]:
    """Names with values in braces; an empty cell is none."""
    try:
        params = json.loads(text) if text else {}
    except ValueError:
        params = None
    if not isinstance(params, dict) or not all(isinstance(value, str) for value in params.values()):
        raise BadCell(_('names with values in braces, such as {"name": "value"}'))
    return params


MAPPINGS = Sheet(
    name="mappings",
    label=gettext_lazy("mappings"),
    columns=(
        Column("package", read_slug),
        Column("account", needs_value=True),
        Column("oyun", needs_value=True),
        Column("kupur"),
        Column("params", read_params),
        Column("cost", read_micros),
    ),
    key=("package", "account"),
    rows=mapping_rows,
    store=store_mapping,
)

SHEETS: dict[str, Sheet] = {sheet.name: sheet for sheet in (PRODUCTS, FIELDS, PACKAGES, PRICES, MAPPINGS)}
"""Every file, in the order in which an empty shop takes them."""
