"""Sending free units of an order somewhere else, once, without touching the routes of its package."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from apps.accounts.models import User
from apps.orders import machine, routing, wake
from apps.orders.decisions.asking import make_due
from apps.orders.decisions.deciding import load_own, name_of, read_reason
from apps.orders.decisions.folding import load_free
from apps.orders.decisions.refused import BadInput, NotPossible
from apps.orders.models import Order
from apps.orders.states import ExternalStatus, OrderStatus
from apps.providers.actions import Action
from apps.providers.models import Route


def send_elsewhere(order_id: int, actor: User, reason: str, now: datetime, *, route_id: int) -> None:
    """Send the free units by this route next, at once, even if it was tried before; afterwards routing is as always.

    Raises a child of `DecisionRefused`; while an attempt holds the units it is `NotPossible`.
    """
    text = read_reason(reason)
    with transaction.atomic():
        order = load_own(order_id, actor)
        load_free(order, Action.FAIL_OVER, now)
        route = _load_route(order, route_id, now)
        word = ExternalStatus(order.external_status)
        chosen = {"next_route": route, "is_restored": False}
        machine.change_order(order, OrderStatus(order.status), word, order.reason, now, **chosen)
        make_due(order, now)
        wake.dispatch_on_commit(order.pk, order.tenant_id)
        facts = {"why": text, "route": route.pk, "account": route.integration and route.integration.name}
        machine.record_story(order, "sent_elsewhere", "person", now, actor=name_of(actor), data=facts)


def _load_route(order: Order, route_id: int, now: datetime) -> Route:
    """A route of the order's package by which it can be bought. Raises `BadInput` or `NotPossible`."""
    routes = Route.objects.select_related("integration").filter(package_id=order.package_id, is_enabled=True)
    route = routes.filter(pk=route_id).first()
    if route is None or route.integration is None:
        raise BadInput(_("Choose an automatic route of the order's package that is switched on."), "route")
    if not route.integration.is_enabled:
        raise NotPossible(_("The account of this route is switched off: switch it on, or choose another route."))
    _check_terms(order, route, now)
    return route


def _check_terms(order: Order, route: Route, now: datetime) -> None:
    """What time does not lift; a pause, a closed breaker or a spent budget only makes the order wait."""
    found = routing.objections_to(order, route, now)
    if "mapping_missing" in found:
        raise NotPossible(_("The package is not mapped at this account: map it, or choose another route."))
    if "cost_above_price" in found:
        raise NotPossible(_("It costs more there than the shop's loss guard allows: choose another route."))
    if found & {"rate_missing", "rate_stale"}:
        raise NotPossible(_("There is no exchange rate for this account that is new enough: enter one first."))
