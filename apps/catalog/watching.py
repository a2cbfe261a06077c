"""Which fields of products, packages, prices and rates are recorded when they change."""

from __future__ import annotations

from apps.catalog.models import FxRate, InputField, MarginRule, Package, PackagePrice, Product
from apps.journal.audit import watch


def watch_tables() -> None:
    """From now on."""
    watch(Product, lambda row: row.tenant_id, ("name", "name_ar", "name_tr", "needs_code", "image_url", "is_active"))
    watch(
        InputField,
        lambda row: row.product.tenant_id,
        ("product", "name", "label", "kind", "target", "pattern", "required", "position"),
    )
    quantities = ("quantity_kind", "quantity_min", "quantity_max", "quantity_values")
    watch(Package, lambda row: row.tenant_id, ("product", "code", "name", *quantities, "strategy", "is_active"))
    watch(
        PackagePrice,
        lambda row: row.package.tenant_id,
        ("package", "price_group", "currency", "unit_price_micros", "from_quantity", "valid_from", "valid_until"),
    )
    watch(
        MarginRule,
        lambda row: row.tenant_id,
        ("product", "package", "currency", "kind", "percent", "amount_micros", "step_micros"),
    )
    watch(
        FxRate,
        lambda row: row.tenant_id,
        ("from_currency", "to_currency", "rate", "source", "valid_from", "valid_until"),
    )
