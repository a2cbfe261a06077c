"""Where an order may go next: every route looked at in order, each passed over with its reason. Reads only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Literal

from apps.catalog.prices import is_loss
from apps.catalog.rates import Rates
from apps.common.backoff import error_gap_s
from apps.common.currencies import DECIMALS
from apps.orders import due
from apps.orders.models import Attempt, Order
from apps.orders.sellable import CannotConvert, Missing, unit_cost
from apps.orders.states import AttemptState
from apps.orders.tally import Outlook
from apps.providers import breaker, budget
from apps.providers.contract import Outcome
from apps.providers.models import Integration, PackageMapping, Route
from apps.providers.registry import has_wire

RETRY_IN = timedelta(seconds=60)
"""When an order without a usable route looks again."""

OUR_TROUBLE = frozenset({Outcome.INSUFFICIENT_BALANCE, Outcome.AUTH_ERROR, Outcome.RATE_LIMITED})
"""Refusals that say nothing about the order: the same route may be tried again when the trouble is over."""


@dataclass(frozen=True, slots=True)
class Passed:
    """Why a route was passed over: it was `tried` for this order, it is `off`, or it `waits` until `retry_at`."""

    route_id: int
    reason: str
    kind: Literal["tried", "off", "waits"] = "waits"
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """The route picked, if any, and every route passed over before it."""

    picked: Route | None
    passed: tuple[Passed, ...]
    now: datetime

    def outlook(self) -> Outlook:
        """The same, as the tally needs it."""
        if self.picked is not None:
            return Outlook(is_exhausted=False, retry_at=self.now, reason="waiting:next_route")
        open_ones = [passed for passed in self.passed if passed.kind == "waits"]
        times = [passed.retry_at for passed in open_ones if passed.retry_at]
        reason = open_ones[0].reason if open_ones else "no_route"
        return Outlook(
            is_exhausted=not open_ones and any(passed.kind == "tried" for passed in self.passed),
            retry_at=max(min(times, default=self.now + RETRY_IN), self.now + timedelta(seconds=1)),
            reason=f"waiting:{reason}",
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """One enabled route with what was already tried on it for this order."""

    route: Route
    attempts: tuple[Attempt, ...]
    has_mapping: bool
    cost_problem: Missing | None


Filter = Callable[[Candidate, datetime], Passed | None]


def _is_automatic(candidate: Candidate, now: datetime) -> Passed | None:
    if candidate.route.mode == Route.Mode.AUTO:
        return None
    return Passed(candidate.route.pk, "manual_route", retry_at=now + RETRY_IN)


def _is_account_enabled(candidate: Candidate, now: datetime) -> Passed | None:
    integration = candidate.route.integration
    if integration is not None and integration.is_enabled:
        return None
    return Passed(candidate.route.pk, "provider_disabled", kind="off")


def _was_not_refused(candidate: Candidate, now: datetime) -> Passed | None:
    final = {AttemptState.FAILED, AttemptState.ABSENT, AttemptState.ABANDONED}
    for attempt in candidate.attempts:
        refused = attempt.state == AttemptState.REFUSED and attempt.outcome not in OUR_TROUBLE
        # Absent because we can prove that nothing left says nothing of the provider.
        ended = attempt.state in final and attempt.outcome != Outcome.NOT_SENT
        if refused or ended:
            return Passed(candidate.route.pk, f"tried_{attempt.state}", kind="tried")
    return None


def _has_mapping(candidate: Candidate, now: datetime) -> Passed | None:
    return None if candidate.has_mapping else Passed(candidate.route.pk, "mapping_missing", retry_at=now + RETRY_IN)


def _has_rate(candidate: Candidate, now: datetime) -> Passed | None:
    """The cost can be told in the order's currency."""
    if candidate.cost_problem is Missing.RATE:
        return Passed(candidate.route.pk, "rate_missing", retry_at=now + RETRY_IN)
    if candidate.cost_problem is Missing.RATE_OLD:
        return Passed(candidate.route.pk, "rate_stale", retry_at=now + RETRY_IN)
    return None


def _is_no_loss(candidate: Candidate, now: datetime) -> Passed | None:
    """The cost is not above the order's price by more than the shop allows."""
    if candidate.cost_problem is not Missing.LOSS:
        return None
    return Passed(candidate.route.pk, "cost_above_price", retry_at=now + RETRY_IN)


def _is_not_paused(candidate: Candidate, now: datetime) -> Passed | None:
    integration = candidate.route.integration
    if integration is None or not integration.is_paused(now):
        return None
    return Passed(candidate.route.pk, "provider_paused", retry_at=integration.paused_until)


def _is_breaker_closed(candidate: Candidate, now: datetime) -> Passed | None:
    """The account answers, or it is time to find out, and no question is about to do that without buying."""
    integration = candidate.route.integration
    if integration is None or not has_wire(integration.kind):
        return None
    found = breaker.standing_of(integration.pk, now)
    asks_at = now + breaker.ASK_FIRST
    may_probe = found.state is breaker.State.HALF_OPEN and not due.is_asked_by(integration.pk, asks_at)
    if found.next_probe_at is None or may_probe:
        return None
    return Passed(candidate.route.pk, "breaker_open", retry_at=max(found.next_probe_at, now + breaker.PROBE_EVERY))


def _is_within_budget(candidate: Candidate, now: datetime) -> Passed | None:
    integration = candidate.route.integration
    if integration is None or not has_wire(integration.kind):
        return None
    retry_at = budget.outlook(integration, now)
    return None if retry_at is None else Passed(candidate.route.pk, "budget", retry_at=retry_at)


def _was_reachable(candidate: Candidate, now: datetime) -> Passed | None:
    unsent = [attempt for attempt in candidate.attempts if attempt.state == AttemptState.NOT_SENT]
    if not unsent or unsent[-1].answered_at is None:
        return None
    retry_at = unsent[-1].answered_at + timedelta(seconds=error_gap_s(unsent[-1].send_no - 1, 1.0))
    return Passed(candidate.route.pk, "provider_unreachable", retry_at=retry_at) if now < retry_at else None


FILTERS: tuple[Filter, ...] = (
    _is_automatic,
    _was_not_refused,
    _is_account_enabled,
    _has_mapping,
    _has_rate,
    _is_no_loss,
    _is_not_paused,
    _is_breaker_closed,
    _is_within_budget,
    _was_reachable,
)
"""Asked in this order; the first one with an objection speaks for the route."""


def load_routes(order: Order) -> list[Route]:
    """The enabled routes of the order's package, in their order."""
    return list(Route.objects.select_related("integration").filter(package_id=order.package_id, is_enabled=True))


def survey(order: Order, routes: list[Route], now: datetime) -> Survey:
    """Pick the first route nobody objects to, and say why each one before it was passed over."""
    mappings: dict[int | None, PackageMapping] = {
        mapping.integration_id: mapping for mapping in PackageMapping.objects.filter(package=order.package_id)
    }
    attempts = list(Attempt.objects.filter(order=order).order_by("id"))
    rates = Rates(order.tenant, now)
    passed: list[Passed] = []
    for route in routes:
        tried = tuple(attempt for attempt in attempts if attempt.integration_id == route.integration_id)
        mapping = mappings.get(route.integration_id)
        candidate = Candidate(route, tried, mapping is not None, cost_problem(order, route.integration, mapping, rates))
        objection = _object(candidate, now)
        if objection is None:
            return Survey(route, tuple(passed), now)
        passed.append(objection)
    return Survey(None, tuple(passed), now)


def cost_problem(
    order: Order, integration: Integration | None, mapping: PackageMapping | None, rates: Rates
) -> Missing | None:
    """Why the order should not be bought there at its price: a rate is missing, or it would be a loss."""
    if integration is None or integration.currency not in DECIMALS:  # step 7 refuses an unknown currency
        return None
    try:
        cost = unit_cost(rates, integration, mapping, order.currency)
    except CannotConvert as error:
        return error.finding.code
    allowed = Fraction(order.tenant.loss_guard_percent)
    return Missing.LOSS if cost is not None and is_loss(order.unit_price_micros, cost.micros, allowed) else None


def _object(candidate: Candidate, now: datetime) -> Passed | None:
    return next((objection for check in FILTERS if (objection := check(candidate, now))), None)
