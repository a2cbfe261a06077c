"""Which fields of shops, people, customers and keys are recorded when they change."""

from __future__ import annotations

from apps.accounts.models import ApiKey, Customer, Membership, PriceGroup, Tenant, User
from apps.journal.audit import watch


def watch_tables() -> None:
    """From now on."""
    watch(
        Tenant,
        lambda row: row.pk,
        (
            "name",
            "slug",
            "timezone",
            "currency",
            "loss_guard_percent",
            "rate_max_age_hours",
            "quote_minutes",
            "repeat_minutes",
            "api_rate_per_s",
            "api_burst",
            "requires_second_factor",
            "is_active",
        ),
    )
    watch(User, lambda row: None, ("username", "email", "is_active", "is_staff", "is_superuser"), ("password",))
    watch(Membership, lambda row: row.tenant_id, ("user", "tenant", "role"))
    watch(PriceGroup, lambda row: row.tenant_id, ("name", "parent"))
    watch(Customer, lambda row: row.tenant_id, ("name", "currency", "price_group", "is_active"))
    watch(
        ApiKey,
        lambda row: row.customer.tenant_id,
        ("customer", "label", "is_active", "expires_at", "scopes", "allowed_ips", "rate_per_s", "burst"),
        ("secret_hash",),
    )
