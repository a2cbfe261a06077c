"""Whether a package can be sold: everything that a delivery needs, and what is missing of it."""

from __future__ import annotations

from apps.catalog.models import Package
from apps.common.currencies import DECIMALS
from apps.providers.models import PackageMapping, Route
from apps.providers.registry import load_adapter, missing_secrets


def missing_for_sale(package: Package) -> list[str]:
    """What keeps the package from being delivered, in words for a person; empty when it can be sold."""
    missing = [] if package.prices.exists() else ["it has no price"]
    routes = list(Route.objects.select_related("integration").filter(package=package, is_enabled=True))
    if not routes:
        return [*missing, "it has no enabled route"]
    mapped = set(PackageMapping.objects.filter(package=package).values_list("integration_id", flat=True))
    problems = [_route_problem(route, mapped) for route in routes]
    return missing if "" in problems else [*missing, *dict.fromkeys(problems)]


def _route_problem(route: Route, mapped: set[int]) -> str:
    integration = route.integration
    if integration is None:
        return ""
    if not integration.is_enabled:
        return f"provider account {integration.name} is disabled"
    if integration.pk not in mapped:
        return f"it is not mapped at {integration.name}"
    if integration.currency not in DECIMALS:
        return f"{integration.name} is in {integration.currency}, which is no known currency"
    lacking = missing_secrets(load_adapter(integration.kind), integration.account())
    return f"{integration.name} has no {lacking[0]}" if lacking else ""
