"""In which order the routes of a package are asked: by position, by cost, or by a draw that can be repeated. Pure."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence

from apps.catalog.models import Package
from apps.providers.models import Route

Costs = Mapping[int, int | None]
"""What one unit costs by each route, in one currency; None where it is not known."""


def nearest_routes(routes: Sequence[Route], groups: Sequence[int | None]) -> list[Route]:
    """Of enabled routes those of the first of these groups that has any; None stands for everybody."""
    for group in groups:
        found = [route for route in routes if route.price_group_id == group]
        if found:
            return found
    return []


def in_order(strategy: str, routes: Sequence[Route], costs: Costs, draw: tuple[int, int]) -> list[Route]:
    """The routes as they are asked. `draw` is (order id, attempt number): the same one gives the same order."""
    by_position = sorted(routes, key=lambda route: (route.position, route.pk))
    return STRATEGIES[Package.Strategy(strategy)](by_position, costs, draw)


def _by_position(routes: list[Route], costs: Costs, draw: tuple[int, int]) -> list[Route]:
    return routes


def _by_cost(routes: list[Route], costs: Costs, draw: tuple[int, int]) -> list[Route]:
    """What is not known comes last; the same cost keeps the order of the positions."""

    def key(route: Route) -> tuple[bool, int]:
        cost = costs.get(route.pk)
        return cost is None, cost or 0

    return sorted(routes, key=key)


def _by_weight(routes: list[Route], costs: Costs, draw: tuple[int, int]) -> list[Route]:
    """A draw without replacement: each route comes first as often as its share of the weights says."""
    return sorted(routes, key=lambda route: -math.log(_chance(*draw, route.pk)) / route.weight)


def _chance(order_id: int, attempt_no: int, route_id: int) -> float:
    """A number above 0 and up to 1 that looks like chance and is always the same."""
    digest = hashlib.sha256(f"{order_id}:{attempt_no}:{route_id}".encode()).digest()
    return (int.from_bytes(digest[:6]) + 1) / 2**48


Strategy = Callable[[list[Route], Costs, tuple[int, int]], list[Route]]

STRATEGIES: Mapping[Package.Strategy, Strategy] = {
    Package.Strategy.PRIORITY: _by_position,
    Package.Strategy.CHEAPEST: _by_cost,
    Package.Strategy.WEIGHTED: _by_weight,
}
"""How a package's routes are put in order before the filters are asked."""
