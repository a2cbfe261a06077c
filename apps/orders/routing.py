"""Where an order may go next: every route looked at in order, each passed over with its reason. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from functools import cached_property
from typing import Literal

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q, Sum

from apps.accounts.models import Tenant
from apps.catalog.models import Package
from apps.catalog.prices import groups_of, is_loss
from apps.catalog.rates import Rates
from apps.common.backoff import error_gap_s
from apps.common.crypto import CannotOpen
from apps.common.currencies import DECIMALS
from apps.orders import due, targets
from apps.orders.local import local_time, today_in
from apps.orders.models import Attempt, DueCheck, Order
from apps.orders.sellable import CannotConvert, Missing, UnitCost, unit_cost
from apps.orders.states import OPEN_ATTEMPTS, AttemptState
from apps.orders.strategies import in_order, nearest_routes
from apps.orders.tally import Outlook
from apps.providers import balances, breaker, budget, stock, troubles
from apps.providers.catalogue_models import CatalogItem
from apps.providers.contract import Outcome
from apps.providers.fitting import lacking_fields, rule_of
from apps.providers.mapping import load_items
from apps.providers.models import Integration, PackageMapping, Route
from apps.providers.registry import SANDBOX, has_wire, load_adapter, missing_ids, missing_secrets

RETRY_IN = timedelta(seconds=60)
"""When an order without a usable route looks again."""

LONGEST_WAIT = timedelta(minutes=10)
"""However long a route stays closed or paused, an order looks again after this time at the latest."""

MOST_ABSENT = 2
"""Purchases of one order that never arrived at an account, until the next route is tried."""

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
        soonest = min([*times, self.now + (LONGEST_WAIT if times else RETRY_IN)])
        return Outlook(
            is_exhausted=not open_ones and any(passed.kind == "tried" for passed in self.passed),
            retry_at=max(soonest, self.now + timedelta(seconds=1)),
            reason=f"waiting:{reason}",
        )


@dataclass(frozen=True, slots=True)
class Errand:
    """What is to be bought, of an order or of one that might come: so many units, for this price each in `currency`.

    `given` is what the buyer said, by name; `attempts` is what was tried for it already, oldest first.
    """

    shop: Tenant
    package: Package
    order_id: int
    units: int
    currency: str
    unit_price_micros: int
    given: Mapping[str, str]
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """One enabled route with what was already tried on it for this order, and what is known of the item there."""

    route: Route
    errand: Errand
    mapping: PackageMapping | None
    item: CatalogItem | None
    rates: Rates
    at: datetime

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """What was tried at the route's account for this order, oldest first."""
        return tuple(one for one in self.errand.attempts if one.integration_id == self.route.integration_id)

    @cached_property
    def cost(self) -> UnitCost | Missing | None:
        """What one unit costs in the order's currency, None where that is not known, or why it cannot be told."""
        account = self.route.integration
        if account is None or account.currency not in DECIMALS:
            return None
        try:
            return unit_cost(self.rates, account, self.mapping, self.errand.currency)
        except CannotConvert as error:
            return error.finding.code

    @cached_property
    def units(self) -> int:
        """How many of the wanted units one purchase takes there; 0 where no allowed quantity fits."""
        account, mapping = self.route.integration, self.mapping
        if account is None or mapping is None:
            return self.errand.units
        return units_at_once(account, mapping, self.item, self.errand.units, self.errand.shop, self.at)


Filter = Callable[[Candidate, datetime], Passed | None]


def _is_automatic(candidate: Candidate, now: datetime) -> Passed | None:
    """It leads to an account, and not to a person who decides."""
    if candidate.route.mode == Route.Mode.AUTO:
        return None
    return Passed(candidate.route.pk, "manual_route", retry_at=now + RETRY_IN)


def _was_not_refused(candidate: Candidate, now: datetime) -> Passed | None:
    """It has not failed this order before for a reason that stays."""
    final = {AttemptState.FAILED, AttemptState.ABSENT, AttemptState.ABANDONED}
    lost = [attempt for attempt in candidate.attempts if attempt.state == AttemptState.ABSENT]
    for attempt in candidate.attempts:
        if attempt.state == AttemptState.ABSENT and len(lost) < MOST_ABSENT:
            continue  # what never arrived may be bought there once more, as another purchase
        refused = attempt.state == AttemptState.REFUSED and not is_our_trouble(attempt)
        # Absent because we can prove that nothing left says nothing of the provider.
        ended = attempt.state in final and attempt.outcome != Outcome.NOT_SENT
        if refused or ended:
            return Passed(candidate.route.pk, f"tried_{attempt.state}", kind="tried")
    return None


def _is_account_enabled(candidate: Candidate, now: datetime) -> Passed | None:
    """The provider account is switched on."""
    integration = candidate.route.integration
    if integration is not None and integration.is_enabled:
        return None
    return Passed(candidate.route.pk, "provider_disabled", kind="off")


def _is_of_its_world(candidate: Candidate, now: datetime) -> Passed | None:
    """An order of the sandbox goes to the sandbox, and every other order elsewhere."""
    if is_of_one_world(candidate.errand.shop, candidate.route.integration):
        return None
    return Passed(candidate.route.pk, "other_world", kind="off")


def is_of_one_world(shop: Tenant, account: Integration | None) -> bool:
    """Whether both are of the sandbox, or neither; nothing is bought across."""
    return account is None or (account.kind == SANDBOX) == shop.is_sandbox


def _is_open(candidate: Candidate, now: datetime) -> Passed | None:
    """It is within its opening hours, in the shop's time zone."""
    local = local_time(candidate.errand.shop, now)
    if candidate.route.is_open(local):
        return None
    return Passed(candidate.route.pk, "outside_hours", retry_at=candidate.route.next_opening(local))


def _has_mapping(candidate: Candidate, now: datetime) -> Passed | None:
    """The package is mapped there, with every id that the protocol needs."""
    route, mapping = candidate.route, candidate.mapping
    if mapping is None or route.integration is None:
        return Passed(route.pk, "mapping_missing", retry_at=now + RETRY_IN)
    if missing_ids(load_adapter(route.integration.kind), mapping.product()):
        return Passed(route.pk, "mapping_incomplete", retry_at=now + RETRY_IN)
    return None


def _is_mapping_known(candidate: Candidate, now: datetime) -> Passed | None:
    """The provider has not just said that it does not know the mapping's ids."""
    mapping = candidate.mapping
    if mapping is None or not mapping.is_refused(now):
        return None
    return Passed(candidate.route.pk, "mapping_refused", retry_at=mapping.retry_at())


def _has_credentials(candidate: Candidate, now: datetime) -> Passed | None:
    """The account has all its credentials, and is in a currency that can be booked."""
    integration = candidate.route.integration
    if integration is None:
        return None
    if integration.currency not in DECIMALS:
        return Passed(candidate.route.pk, "currency_unknown", retry_at=now + RETRY_IN)
    try:
        lacking = missing_secrets(load_adapter(integration.kind), integration.account())
    except (CannotOpen, ImproperlyConfigured):
        return Passed(candidate.route.pk, "credentials_unreadable", retry_at=now + RETRY_IN)
    return Passed(candidate.route.pk, "credentials_missing", retry_at=now + RETRY_IN) if lacking else None


def _fits_quantity(candidate: Candidate, now: datetime) -> Passed | None:
    """One purchase there can have some of the wanted units."""
    return None if candidate.units else Passed(candidate.route.pk, "quantity_not_sold", kind="off")


def _fits_fields(candidate: Candidate, now: datetime) -> Passed | None:
    """The buyer or the mapping gives everything that the provider demands."""
    if candidate.item is None or candidate.mapping is None:
        return None
    lacking = lacking_fields(candidate.item.fields, candidate.errand.given, candidate.mapping.product())
    return Passed(candidate.route.pk, "field_missing", kind="off") if lacking else None


def _has_rate(candidate: Candidate, now: datetime) -> Passed | None:
    """The cost can be told in the order's currency."""
    if candidate.cost is Missing.RATE:
        return Passed(candidate.route.pk, "rate_missing", retry_at=now + RETRY_IN)
    if candidate.cost is Missing.RATE_OLD:
        return Passed(candidate.route.pk, "rate_stale", retry_at=now + RETRY_IN)
    return None


def _is_no_loss(candidate: Candidate, now: datetime) -> Passed | None:
    """The cost is not above the order's price by more than the shop allows."""
    errand = candidate.errand
    allowed = Fraction(errand.shop.loss_guard_percent)
    if not isinstance(candidate.cost, UnitCost) or not is_loss(
        errand.unit_price_micros, candidate.cost.micros, allowed
    ):
        return None
    return Passed(candidate.route.pk, "cost_above_price", retry_at=now + RETRY_IN)


def _is_not_paused(candidate: Candidate, now: datetime) -> Passed | None:
    """No trouble on our side keeps orders away from the account."""
    integration = candidate.route.integration
    if integration is None or not integration.is_paused(now):
        return None
    return Passed(candidate.route.pk, "provider_paused", retry_at=integration.paused_until)


def _is_breaker_closed(candidate: Candidate, now: datetime) -> Passed | None:
    """Nobody has stopped it, and it answers, or it is time to find out and no question will do that without buying."""
    integration = candidate.route.integration
    if integration is None or not has_wire(integration.kind):
        return None
    found = breaker.standing_of(integration.pk, now)
    if found.held is not None:
        return Passed(candidate.route.pk, "provider_stopped", retry_at=now + RETRY_IN)
    asks_at = now + breaker.ASK_FIRST
    may_probe = found.state is breaker.State.HALF_OPEN and not due.is_asked_by(integration.pk, asks_at)
    if found.next_probe_at is None or may_probe:
        return None
    return Passed(candidate.route.pk, "breaker_open", retry_at=max(found.next_probe_at, now + breaker.PROBE_EVERY))


def _is_within_budget(candidate: Candidate, now: datetime) -> Passed | None:
    """The account's request budget has room for a purchase now."""
    integration = candidate.route.integration
    if integration is None or not has_wire(integration.kind):
        return None
    retry_at = budget.outlook(integration, now)
    return None if retry_at is None else Passed(candidate.route.pk, "budget", retry_at=retry_at)


def _was_reachable(candidate: Candidate, now: datetime) -> Passed | None:
    """It could be reached a moment ago, where this order was there."""
    unsent = [attempt for attempt in candidate.attempts if attempt.state == AttemptState.NOT_SENT]
    if not unsent or unsent[-1].answered_at is None:
        return None
    retry_at = unsent[-1].answered_at + timedelta(seconds=error_gap_s(unsent[-1].send_no - 1, 1.0))
    return Passed(candidate.route.pk, "provider_unreachable", retry_at=retry_at) if now < retry_at else None


def _has_balance(candidate: Candidate, now: datetime) -> Passed | None:
    """Our money there covers this purchase and what is in flight; a balance that is unknown or old stops nothing."""
    integration, mapping = candidate.route.integration, candidate.mapping
    if integration is None or mapping is None or not mapping.cost_micros:
        return None
    reading = balances.fresh_value(integration, now)
    if reading is None or reading.amount_micros is None:
        return None
    left = reading.amount_micros - in_flight_micros(integration, reading.as_of)
    if left >= mapping.cost_micros * candidate.units:
        return None
    return Passed(candidate.route.pk, "balance_too_low", retry_at=now + RETRY_IN)


def _is_target_free(candidate: Candidate, now: datetime) -> Passed | None:
    """The provider has no open order for the recipient, where it takes one at a time."""
    integration = candidate.route.integration
    recipient = candidate.errand.given.get("user_identifier", "")
    if integration is None or not targets.is_busy(integration, recipient):
        return None
    return Passed(candidate.route.pk, "target_busy", retry_at=now + RETRY_IN)


FILTERS: tuple[Filter, ...] = (
    _is_automatic,
    _was_not_refused,
    _is_account_enabled,
    _is_of_its_world,
    _is_open,
    _has_mapping,
    _is_mapping_known,
    _has_credentials,
    _fits_quantity,
    _fits_fields,
    _has_rate,
    _is_no_loss,
    _is_not_paused,
    _is_breaker_closed,
    _is_within_budget,
    _was_reachable,
    _has_balance,
    _is_target_free,
)
"""Asked in this order; the first one with an objection speaks for the route."""


def is_our_trouble(attempt: Attempt) -> bool:
    """Whether a refusal was for our balance, credentials, rate or mapping, and not for what was ordered."""
    return attempt.outcome in OUR_TROUBLE or troubles.blames_mapping(attempt.kind, attempt.reason_code)


def in_flight_micros(integration: Integration, since: datetime) -> int:
    """What purchases at the account may still cost that a balance of `since` does not know, in its currency.

    Read from the due rows: every attempt about which the provider has not had its last word has one in its lane.
    """
    rows = DueCheck.objects.filter(lane=integration.pk, attempt__state__in=OPEN_ATTEMPTS)
    is_newer = Q(attempt__created_at__gte=since) | Q(attempt__answered_at__gte=since)
    sending = Q(attempt__state=AttemptState.SENDING)
    return int(rows.filter(is_newer | sending).aggregate(sum=Sum("attempt__expected_cost_micros"))["sum"] or 0)


def units_at_once(
    integration: Integration, mapping: PackageMapping, item: CatalogItem | None, free: int, shop: Tenant, now: datetime
) -> int:
    """How many of `free` units one purchase takes there; own stock gives what lies on the shelf."""
    if integration.kind == stock.KIND:
        left = stock.count_on_shelf(integration.pk, mapping.oyun, today_in(shop, now))
        free = min(free, left) or free  # an empty shelf says so itself, and that ends the order
    return rule_of(integration.caps(), item, mapping.product()).most_of(free)


# --- asking


def load_routes(order: Order) -> list[Route]:
    """The enabled routes that count for the order's customer, by position."""
    return routes_for(order.package_id, lambda: groups_of(order.customer))


def routes_for(package_id: int, groups: Callable[[], Sequence[int | None]]) -> list[Route]:
    """The enabled routes of the package that count for these groups, which are asked only where a route is for one."""
    found = Route.objects.select_related("integration", "price_group").filter(package_id=package_id, is_enabled=True)
    routes = list(found)
    is_for_all = all(route.price_group_id is None for route in routes)
    return routes if is_for_all else nearest_routes(routes, groups())


def survey(order: Order, routes: list[Route], now: datetime) -> Survey:
    """Pick the first route nobody objects to, and say why each one before it was passed over."""
    passed: list[Passed] = []
    for route, objection in judge(errand_of(order), routes, now):
        if objection is None:
            return Survey(route, tuple(passed), now)
        passed.append(objection)
    return Survey(None, tuple(passed), now)


def objections_to(order: Order, route: Route, now: datetime) -> set[str]:
    """Every objection to one route for an order, as words; that it was tried before is none here."""
    [candidate] = load_candidates(errand_of(order), [route], now)
    found = (check(candidate, now) for check in FILTERS)
    return {objection.reason for objection in found if objection is not None and objection.kind != "tried"}


def errand_of(order: Order) -> Errand:
    """What is still to be bought for an order."""
    given = {name: str(value) for name, value in order.params.items()}
    return Errand(
        shop=order.tenant,
        package=order.package,
        order_id=order.pk,
        units=1 if order.quantity == 1 else order.free_units().count(),
        currency=order.currency,
        unit_price_micros=order.unit_price_micros,
        given={**given, "user_identifier": order.user_identifier, "extra_field": order.extra_field},
        attempts=tuple(Attempt.objects.filter(order=order).order_by("id")),
    )


def judge(errand: Errand, routes: Sequence[Route], now: datetime) -> Iterator[tuple[Route, Passed | None]]:
    """Every route in the order of the package's strategy with the first objection to it, None where there is none."""
    candidates = {candidate.route.pk: candidate for candidate in load_candidates(errand, routes, now)}
    strategy = errand.package.strategy
    costs = _costs(candidates.values()) if strategy == Package.Strategy.CHEAPEST else {}
    for route in in_order(strategy, routes, costs, (errand.order_id, len(errand.attempts) + 1)):
        yield route, _object(candidates[route.pk], now)


def load_candidates(errand: Errand, routes: Sequence[Route], now: datetime) -> list[Candidate]:
    """The routes with their mappings and what is approved of the provider's list: two queries for all of them."""
    mappings = {mapping.integration_id: mapping for mapping in PackageMapping.objects.filter(package=errand.package)}
    accounts = [route.integration for route in routes if route.integration is not None]
    items = load_items([(account, mappings[account.pk]) for account in accounts if account.pk in mappings])
    rates = Rates(errand.shop, now)
    return [
        Candidate(
            route=route,
            errand=errand,
            mapping=mappings.get(route.integration_id or 0),
            item=items.get(mappings[route.integration_id].pk) if route.integration_id in mappings else None,
            rates=rates,
            at=now,
        )
        for route in routes
    ]


def _costs(candidates: Iterable[Candidate]) -> dict[int, int | None]:
    found = {candidate.route.pk: candidate.cost for candidate in candidates}
    return {pk: cost.micros if isinstance(cost, UnitCost) else None for pk, cost in found.items()}


def _object(candidate: Candidate, now: datetime) -> Passed | None:
    return next((objection for check in FILTERS if (objection := check(candidate, now))), None)
