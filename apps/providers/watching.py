"""Which fields of accounts, mappings and routes are recorded when they change; not what the hub itself notes there."""

from __future__ import annotations

from apps.journal.audit import watch
from apps.providers.catalogue_models import AccountWatch
from apps.providers.models import Integration, PackageMapping, Route, StockShelf


def watch_tables() -> None:
    """From now on."""
    watch(
        Integration,
        lambda row: row.tenant_id,
        ("name", "kind", "base_url", "login", "currency", "options", "is_enabled", "is_local", "paused_until"),
        ("sealed_secrets",),
    )
    watch(
        PackageMapping,
        lambda row: row.package.tenant_id,
        ("package", "integration", "oyun", "kupur", "params", "cost_micros"),
    )
    watch(
        Route,
        lambda row: row.package.tenant_id,
        (
            "package",
            "price_group",
            "position",
            "mode",
            "integration",
            "weight",
            "opens_at",
            "closes_at",
            "is_enabled",
        ),
    )
    watch(AccountWatch, lambda row: row.integration.tenant_id, ("integration", "alert_below_micros", "jump_factor"))
    watch(StockShelf, lambda row: row.integration.tenant_id, ("integration", "name", "low_at"))
