"""The fifteen steps of a dispatch as small typed functions; `try_auto_dispatch` in services is their table of contents.

A step that cannot go on raises `DispatchRefused`. Steps 1 to 10 run in one transaction, 11 in none, 12 to 15 in one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F

from apps.catalog.rates import Conversion, NoRate, Rates, StaleRate
from apps.common import clock
from apps.common.budget import Use
from apps.common.checkpoints import checkpoint
from apps.common.currencies import DECIMALS
from apps.common.guards import check_no_transaction
from apps.common.logs import get_logger
from apps.common.talk import Exchange, TalkFailed, drive
from apps.common.transport import send_once
from apps.common.wire import Answer, HttpCall, NotSentReason
from apps.orders import due, local, machine, outcomes, targets, wake
from apps.orders.dispatch.trace import Trace, reasons_of
from apps.orders.models import Attempt, AttemptUnit, DueCheck, Order, OrderEvent, OrderUnit
from apps.orders.news import News, knowledge_of
from apps.orders.purchase import purchase
from apps.orders.references import draw_reference
from apps.orders.routing import RETRY_IN, Passed, Survey, is_of_one_world, survey, units_at_once
from apps.orders.routing import load_routes as load_order_routes
from apps.orders.states import AttemptState, DueKind, ExternalStatus, OrderStatus
from apps.orders.tally import RESTORED
from apps.orders.verdicts import Plan
from apps.providers import breaker, budget, troubles
from apps.providers.contract import (
    Account,
    Adapter,
    Capabilities,
    LocalAdapter,
    LocalTalk,
    Outcome,
    PlaceRequest,
    Result,
)
from apps.providers.mapping import load_items
from apps.providers.models import Integration, PackageMapping, Route
from apps.providers.registry import has_wire, load_adapter, missing_secrets

log = get_logger(__name__)

LONGEST_TURN = timedelta(seconds=30)
"""An order that waits for a free request of its provider's budget looks again at least this often."""

DISPATCHABLE = frozenset({OrderStatus.PENDING, OrderStatus.PROCESSING})


class DispatchRefused(Exception):
    """This order is not sent now. `reason` is one word for it, `retry_at` when to look again (None: a minute)."""

    def __init__(self, reason: str, detail: str = "", retry_at: datetime | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.retry_at = retry_at


class NothingToDo(DispatchRefused):
    """Somebody else is on it, or it is sent already: nothing is recorded."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to make one attempt: the due row as it was claimed, and the units that are free."""

    row_id: int
    fence: int
    units: tuple[OrderUnit, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """An adapter bound to an account, with that account's capabilities."""

    adapter: Adapter | LocalAdapter
    account: Account
    caps: Capabilities
    integration: Integration


@dataclass(frozen=True, slots=True)
class Request:
    """What is going to be bought, before there is a reference: the order's units and the provider's ids."""

    order: Order
    units: tuple[OrderUnit, ...]
    product: dict[str, str]
    expected_cost_micros: int | None


@dataclass(frozen=True, slots=True)
class Sent:
    """What came back from the one request: the adapter's reading and the raw exchange.

    `talk` is what a kind without a wire still has to do, while it settles; until then nothing was done.
    `calls` are the requests that were made.
    """

    result: Result
    exchange: Exchange | None
    at: datetime
    talk: LocalTalk | None = None
    calls: int = 0


# --- 1 to 10: decide, in one transaction


def lock_order(trace: Trace, order_id: int) -> Order:
    """1. The order, locked until the commit. Raises `NothingToDo` when there is none."""
    order = Order.objects.select_for_update().filter(pk=order_id).first()
    if order is None:
        raise NothingToDo("no_such_order", f"order {order_id}")
    trace.add(1, status=order.status)
    return order


def check_tenant(trace: Trace, order: Order, tenant_id: int | None) -> None:
    """2. A caller that names a tenant must name the order's; an inactive shop sends nothing."""
    if tenant_id is not None and tenant_id != order.tenant_id:
        raise NothingToDo("wrong_tenant", f"order {order.pk} does not belong to tenant {tenant_id}")
    if not order.tenant.is_active:
        raise DispatchRefused("tenant_inactive")
    trace.add(2, tenant=order.tenant_id)


def check_not_dispatched(trace: Trace, order: Order, now: datetime) -> Turn:
    """3. Free units, a state that may be sent, and a due row that this call wins."""
    if order.status not in DISPATCHABLE:
        raise NothingToDo("not_waiting", f"it is {order.status}")
    units = tuple(order.free_units())
    row = DueCheck.objects.filter(order=order, kind=DueKind.DISPATCH).first()
    if row is None or not units:
        raise NothingToDo("dispatched_already")
    if row.next_at > now:
        raise NothingToDo("not_due", f"due at {row.next_at.isoformat()}")
    if DueCheck.objects.filter(pk=row.pk, fence=row.fence).update(fence=F("fence") + 1) != 1:
        raise NothingToDo("claimed_by_another")
    if order.is_restored:
        raise DispatchRefused(RESTORED)
    if now >= order.deadline_at:
        raise DispatchRefused("waiting:deadline")
    trace.add(3, free_units=len(units), fence=row.fence + 1)
    return Turn(row.pk, row.fence + 1, units)


def load_routes(trace: Trace, order: Order) -> list[Route]:
    """4. The enabled routes of the package that count for the customer: those of one price group, or of everybody."""
    routes = load_order_routes(order)
    if order.next_route_id is not None:  # a person has said where it goes, this once
        routes = list(Route.objects.select_related("integration", "price_group").filter(pk=order.next_route_id))
    groups = {str(route.price_group) for route in routes if route.price_group is not None}
    trace.add(4, routes=len(routes), price_group=", ".join(groups))
    return routes


def pick_route(trace: Trace, order: Order, routes: list[Route], now: datetime) -> Route:
    """5. The first route nobody objects to. Raises `DispatchRefused` with the reason and the time to look again."""
    found: Survey = survey(order, routes, now)
    picked = found.picked
    if order.next_route_id is not None and {passed.kind for passed in found.passed} == {"tried"}:
        picked = routes[0]  # that it was tried before was known to who sent it there again
    names = {route.pk: _name_of(route) for route in routes}
    trace.add(
        5,
        route=picked.pk if picked else None,
        provider=names[picked.pk] if picked else "",
        strategy=order.package.strategy,
        passed_over=[_as_fact(passed, names[passed.route_id]) for passed in found.passed],
    )
    if picked is None:
        outlook = found.outlook()
        passed = "; ".join(f"route {passed.route_id}: {passed.reason}" for passed in found.passed)
        raise DispatchRefused(outlook.reason, passed, outlook.retry_at)
    return picked


def _name_of(route: Route) -> str:
    return route.integration.name if route.integration is not None else ""


def _as_fact(passed: Passed, name: str) -> dict[str, str | int | None]:
    retry_at = passed.retry_at.isoformat() if passed.retry_at else None
    return {"route": passed.route_id, "name": name, "reason": passed.reason, "retry_at": retry_at}


def load_mapping(trace: Trace, order: Order, route: Route) -> PackageMapping:
    """6. What the package is called there."""
    mapping = PackageMapping.objects.filter(package_id=order.package_id, integration=route.integration).first()
    if mapping is None or route.integration is None:
        raise DispatchRefused("waiting:mapping_missing")
    trace.add(6, mapping=mapping.pk)
    return mapping


def load_integration(trace: Trace, order: Order, route: Route) -> Integration:
    """7. The provider account of the route; never that of the sandbox for a sale, nor another one for a test."""
    integration = route.integration
    if integration is None:
        raise DispatchRefused("waiting:manual_route")
    if not is_of_one_world(order.tenant, integration):
        raise DispatchRefused("waiting:other_world", integration.name)
    if integration.currency not in DECIMALS:  # its cost could not be booked after the purchase
        raise DispatchRefused("waiting:currency_unknown", f"{integration.name} is in {integration.currency}")
    trace.add(7, integration=integration.pk, provider=integration.name)
    return integration


def bind_adapter(trace: Trace, integration: Integration) -> Bound:
    """8. The protocol and the credentials."""
    adapter = load_adapter(integration.kind)
    account = integration.account()
    missing = missing_secrets(adapter, account)
    if missing:
        raise DispatchRefused("waiting:credentials_missing", f"{integration.name} has no {', '.join(missing)}")
    trace.add(8, kind=adapter.kind)
    return Bound(adapter, account, integration.caps(), integration)


def build_request(
    trace: Trace, bound: Bound, order: Order, mapping: PackageMapping, turn: Turn, now: datetime
) -> Request:
    """9. What will be asked for, without touching the network: as many units as the provider takes at once."""
    item = load_items([(bound.integration, mapping)]).get(mapping.pk)
    fitting = units_at_once(bound.integration, mapping, item, len(turn.units), order.tenant, now)
    if not fitting:
        raise DispatchRefused("waiting:no_route", f"{bound.integration.name} sells no such quantity")
    units = turn.units[:fitting]
    cost = mapping.cost_micros
    request = Request(
        order=order,
        units=units,
        product=mapping.product(),
        expected_cost_micros=cost * len(units) if cost is not None else None,
    )
    trace.add(9, units=len(units), recipient_given=bool(order.user_identifier))
    return request


def record_attempt(
    trace: Trace, order: Order, route: Route, bound: Bound, request: Request, turn: Turn, now: datetime
) -> Attempt:
    """10. Before the send: the attempt and its reference, the units it holds, order `processing`, due row `resolve`."""
    if targets.is_busy_for_sure(bound.integration, order.user_identifier):
        raise DispatchRefused(targets.REASON)
    deadline = now + timedelta(seconds=bound.caps.send_window_s)
    rates = freeze_rates(order, bound.integration, now)
    attempt = _rearm(order, bound, request, deadline, now)
    attempt = attempt or _new_attempt(order, route, bound, request, rates, deadline, now)
    is_moving = order.status != OrderStatus.PROCESSING
    machine.change_order(order, OrderStatus.PROCESSING, ExternalStatus.SENDING, "", now, next_route=None)
    if is_moving:
        machine.announce(order, now)
    _turn_due_row(order, attempt, bound.caps, turn, is_last=len(request.units) == len(turn.units), deadline=deadline)
    Integration.objects.filter(pk=bound.integration.pk, in_use_since=None).update(in_use_since=now)
    trace.add(10, attempt=attempt.pk, reference=attempt.reference, send_no=attempt.send_no)
    return attempt


def take_turn(bound: Bound, now: datetime) -> None:
    """The last thing before step 10 commits: one request of the account's budget, and the probe where it is broken."""
    integration = bound.integration
    if not has_wire(integration.kind):
        return
    standing = breaker.standing_of(integration.pk, now)
    if standing.held is not None:
        raise DispatchRefused("waiting:provider_stopped", integration.name, now + RETRY_IN)
    if standing.state is not breaker.State.CLOSED and not breaker.win_probe(integration.pk, now):
        raise DispatchRefused("waiting:breaker_open", integration.name, now + breaker.PROBE_EVERY)
    grant = budget.take(integration, Use.PLACE, 1, now)
    if not grant.count:
        raise DispatchRefused("waiting:budget", integration.name, grant.retry_at)


def freeze_rates(order: Order, integration: Integration, now: datetime) -> Conversion:
    """How the attempt's cost becomes the order's currency, whatever the rates are later; without a rate it waits."""
    try:
        return Rates(order.tenant, now).find(integration.currency, order.currency)
    except StaleRate as error:
        raise DispatchRefused("waiting:rate_stale", str(error)) from error
    except NoRate as error:
        raise DispatchRefused("waiting:rate_missing", str(error)) from error


def _new_attempt(
    order: Order,
    route: Route,
    bound: Bound,
    request: Request,
    rates: Conversion,
    deadline: datetime,
    now: datetime,
) -> Attempt:
    attempt = Attempt.objects.create(
        order=order,
        integration=bound.integration,
        route=route,
        integration_name=bound.integration.name,
        kind=bound.integration.kind,
        reference=_free_reference(bound.caps.ref_format),
        product=request.product,
        send_deadline_at=deadline,
        expected_cost_micros=request.expected_cost_micros,
        cost_currency=bound.integration.currency,
        cost_rate=rates.first,
        cost_rate_via=rates.second,
        created_at=now,
    )
    # The unique index on held units decides a race that the row lock did not.
    AttemptUnit.objects.bulk_create(AttemptUnit(attempt=attempt, unit=unit) for unit in request.units)
    return attempt


def _free_reference(ref_format: str) -> str:
    """A reference nobody has; a collision is redrawn before anything is sent."""
    while Attempt.objects.filter(reference=(reference := draw_reference(ref_format))).exists():
        continue
    return reference


def _rearm(order: Order, bound: Bound, request: Request, deadline: datetime, now: datetime) -> Attempt | None:
    """An attempt that provably never left is sent again under its own reference, as its next send."""
    unit_ids = [unit.pk for unit in request.units]
    attempt = (
        Attempt.objects.filter(order=order, integration=bound.integration, state=AttemptState.NOT_SENT)
        .order_by("id")
        .last()
    )
    if attempt is None or attempt.product != request.product:
        return None
    links = AttemptUnit.objects.filter(attempt=attempt)
    if sorted(links.values_list("unit_id", flat=True)) != sorted(unit_ids):
        return None
    links.update(holds=True)
    machine.change_attempt(attempt, AttemptState.PREPARED, send_no=attempt.send_no + 1, send_deadline_at=deadline)
    machine.change_attempt(
        attempt, AttemptState.SENDING, created_at=now, answered_at=None, closed_at=None, doubt_since=None
    )
    return attempt


def _turn_due_row(
    order: Order, attempt: Attempt, caps: Capabilities, turn: Turn, *, is_last: bool, deadline: datetime
) -> None:
    """The dispatch row becomes the attempt's `resolve` row; while units are free it stays, out of reach for a lease."""
    quiet_at = deadline + timedelta(seconds=caps.place_timeout_s + caps.resolve_margin_s)
    row = DueCheck.objects.filter(pk=turn.row_id, fence=turn.fence)
    if is_last:
        turned = row.update(
            kind=DueKind.RESOLVE, attempt=attempt, lane=attempt.integration_id, next_at=quiet_at, tries=0, errors=0
        )
    else:
        turned = row.update(next_at=quiet_at + timedelta(seconds=30))
        DueCheck.objects.create(
            order=order,
            attempt=attempt,
            lane=attempt.integration_id,
            kind=DueKind.RESOLVE,
            next_at=quiet_at,
            fence=turn.fence,
        )
    if turned != 1:
        raise NothingToDo("claimed_by_another")


# --- 11: send, once, with no transaction open


def send_request(trace: Trace, attempt: Attempt, bound: Bound, request: Request) -> Sent:
    """11. One request, at most once; none for a kind without a wire. Never raises for what network or provider do."""
    check_no_transaction()
    place = purchase(attempt, request.order, len(request.units))
    if isinstance(bound.adapter, LocalAdapter):
        trace.add(11, knowledge="local")
        checkpoint("dispatch.after_send")
        return Sent(local.not_settled(attempt), None, clock.now(), bound.adapter.fulfil(bound.account, place))
    guard = SendGuard(attempt, bound.caps.send_window_s)

    def send(call: HttpCall) -> Answer:
        return send_once(call, policy=bound.integration.egress_policy(), before_first_byte=guard)

    result, exchanges = _converse(bound.adapter, bound.account, place, send)
    checkpoint("dispatch.after_send")
    exchange = exchanges[-1] if exchanges else None
    trace.add(11, knowledge=knowledge_of(exchange), latency_ms=exchange.answer.latency_ms if exchange else None)
    return Sent(result, exchange, clock.now(), calls=len(exchanges))


def _converse(
    adapter: Adapter, account: Account, place: PlaceRequest, send: Callable[[HttpCall], Answer]
) -> tuple[Result, list[Exchange]]:
    """The adapter's conversation. One that fails before its first call has provably sent nothing."""
    try:
        return drive(adapter.place(account, place), send)
    except TalkFailed as failure:
        known = Outcome.UNKNOWN if failure.exchanges else Outcome.NOT_SENT
        return Result(known, place.reference, reason_code="adapter_failed"), failure.exchanges
    except Exception as error:
        log.exception("request_impossible", provider=adapter.kind, error=type(error).__name__)
        return Result(Outcome.NOT_SENT, place.reference, reason_code="request_impossible"), []


class SendGuard:
    """Asked just before the first request byte: a sender that slept too long, or was overtaken, may not write."""

    def __init__(self, attempt: Attempt, window_s: float) -> None:
        self.attempt_id = attempt.pk
        self.send_no = attempt.send_no
        self.wall_deadline = attempt.send_deadline_at
        self.monotonic_deadline = time.monotonic() + window_s

    def __call__(self) -> NotSentReason | None:
        """None when the byte may be written, else why not."""
        checkpoint("dispatch.before_first_byte")
        if time.monotonic() > self.monotonic_deadline or clock.now() > self.wall_deadline:
            return NotSentReason.DEADLINE
        is_mine = Attempt.objects.filter(pk=self.attempt_id, state=AttemptState.SENDING, send_no=self.send_no).exists()
        return None if is_mine else NotSentReason.SUPERSEDED


# --- 12 to 15: settle, in one transaction


def as_news(attempt: Attempt, sent: Sent, turn: Turn) -> News:
    """What was sent and came back, in the form the door for news takes."""
    return News(attempt.pk, attempt.order_id, "place", sent.result, sent.exchange, sent.at, turn.fence, attempt.send_no)


def read_answer(trace: Trace, attempt: Attempt, sent: Sent, turn: Turn) -> News:
    """12. The answer as news, and `provider_referans` saved in every case but a proven not-sent.

    A kind without a wire acts now, under the order's lock: what it takes is committed with the outcome, or not at all.
    """
    order = outcomes.lock_orders({attempt.order_id})[attempt.order_id]
    if sent.talk is not None:
        sent = replace(sent, result=local.settle(sent.talk, attempt, order.tenant, sent.at))
    news = outcomes.disown(attempt, as_news(attempt, sent, turn))
    if news.result.outcome is not Outcome.NOT_SENT:
        outcomes.save_provider_referans(order, attempt, news)
    trace.add(12, outcome=news.result.outcome, provider_referans=order.provider_referans)
    return news


def apply_outcome(trace: Trace, attempt: Attempt, news: News) -> outcomes.Change:
    """13. State, PIN and money, through the one door; a mapping that is unknown there is left alone from now on."""
    troubles.note_refusal(attempt.integration, attempt.order.package_id, news.result, news.at)
    change = outcomes.settle(news)
    trace.add(13, attempt_state=change.attempt.state, status=change.order.status, reason=change.order.reason)
    return change


def write_story(trace: Trace, change: outcomes.Change) -> None:
    """14. One line in the order's story, with this trace and what step 15 is about to schedule."""
    trace.add(14, said=change.verdict.said)
    outcomes.tell(
        change, {"steps": [*trace.steps, {"n": 15, "name": "schedule_check", **_planned(change.verdict.plan)}]}
    )


def schedule_check(trace: Trace, change: outcomes.Change) -> None:
    """15. The due row, and after the commit the task `check_order_status` with that row's countdown."""
    plan = outcomes.schedule(change)
    if plan is not None:
        wake.check_on_commit(change.order.pk, change.order.tenant_id, plan.at, change.news.at)
    trace.add(15, **_planned(plan))
    transaction.on_commit(lambda: checkpoint("settle.after_commit"))
    checkpoint("settle.before_commit")


def _planned(plan: Plan | None) -> dict[str, str | None]:
    return {"kind": str(plan.kind) if plan else None, "next_at": plan.at.isoformat() if plan else None}


def record_refusal(trace: Trace, order_id: int, refusal: DispatchRefused, now: datetime) -> None:
    """Beside the fifteen: why the order was not sent, and when it is looked at again; past its deadline by a person."""
    order = outcomes.lock_orders({order_id})[order_id]
    waits = DueCheck.objects.filter(order=order, kind=DueKind.DISPATCH).exists()
    if not waits or order.status not in DISPATCHABLE:
        return
    is_over = order.is_restored or now >= order.deadline_at
    status, reason = _refused_standing(order, refusal, is_over=is_over)
    is_moved = machine.change_order(order, status, ExternalStatus(order.external_status), reason, now)
    if is_moved or _is_decided_anew(order, trace):
        story = {"steps": trace.steps, "why": refusal.detail}
        machine.record_story(order, "dispatch_refused", "dispatch", now, data=story)
    if is_over:
        machine.announce(order, now)
        due.drop_dispatch(order)
    else:
        due.plan_dispatch(order, _look_again_at(order, refusal, now))


def _look_again_at(order: Order, refusal: DispatchRefused, now: datetime) -> datetime:
    """When the refusal says, or in a minute. The longer an order waits for its turn, the less often it tries."""
    if refusal.reason != "waiting:budget" or refusal.retry_at is None:
        return refusal.retry_at or now + timedelta(seconds=60)
    return max(refusal.retry_at, now + min((now - order.created_at) / 4, LONGEST_TURN))


def _is_decided_anew(order: Order, trace: Trace) -> bool:
    """Whether routes are passed over for other reasons than the order's last refusal told."""
    told = OrderEvent.objects.filter(order=order, kind="dispatch_refused").order_by("id").last()
    return told is not None and reasons_of(told.data["steps"]) != reasons_of(trace.steps)


def _refused_standing(order: Order, refusal: DispatchRefused, *, is_over: bool) -> tuple[OrderStatus, str]:
    if is_over:
        return OrderStatus.REVIEW, RESTORED if order.is_restored else "waiting:deadline"
    reason = refusal.reason if refusal.reason.startswith("waiting:") else f"waiting:{refusal.reason}"
    return OrderStatus(order.status), reason if order.status == OrderStatus.PENDING else order.reason
