"""After the books came back from a backup: what was sent since it was taken is not in them, and is not bought again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Max

from apps.common.logs import get_logger
from apps.orders import due, machine, outcomes
from apps.orders.models import Attempt, DueCheck, Order
from apps.orders.states import OPEN_ATTEMPTS, OPEN_ORDERS, DueKind, ExternalStatus, OrderStatus
from apps.orders.tally import RESTORED
from apps.orders.verdicts import Plan
from apps.providers import stock
from apps.providers.models import Integration

log = get_logger(__name__)

AT_ONCE = 200
"""Orders of one transaction."""

VERSIONS_LEFT_OUT = 1000
"""More than an order can have changed since the backup: receivers of events take a smaller version for old news."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done: orders marked, of these for a person at once, attempts asked about now, stocks switched off."""

    marked: int
    for_people: int
    asked: int
    stocks: tuple[str, ...]


def after_restore(now: datetime, closed_within: timedelta) -> Restored:
    """Let nothing that stood open be bought again without a person, and ask at once about all that was bought lately.

    Every open order is marked: its free units wait for a person, now or when they become free. Open attempts are asked
    about now, and so are those that ended within `closed_within` before the latest news in the books. Own stocks are
    switched off, for their codes may have been handed out. To be run before anything else runs; again does no harm.
    """
    stocks = _switch_off_stocks()
    unmarked = Order.objects.filter(status__in=OPEN_ORDERS, is_restored=False)
    marked = unmarked.update(is_restored=True, version=F("version") + VERSIONS_LEFT_OUT)
    for_people = sum(_hold(ids, now) for ids in _in_parts())
    asked = _ask_now(now, closed_within)
    done = Restored(marked, for_people, asked, stocks)
    log.warning("books_restored", marked=marked, for_people=for_people, asked=asked, stocks=len(stocks))
    return done


def _switch_off_stocks() -> tuple[str, ...]:
    stocks = Integration.objects.filter(kind=stock.KIND, is_enabled=True).order_by("pk")
    names = tuple(stocks.values_list("name", flat=True))
    stocks.update(is_enabled=False)
    return names


def _in_parts() -> list[list[int]]:
    """The ids of marked orders that wait to be sent, in parts of one transaction each."""
    waiting = DueCheck.objects.filter(kind=DueKind.DISPATCH, order__is_restored=True)
    ids = list(waiting.order_by("order_id").values_list("order_id", flat=True))
    return [ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE)]


def _hold(order_ids: list[int], now: datetime) -> int:
    with transaction.atomic():
        orders = outcomes.lock_orders(set(order_ids)).values()
        return sum(_give_to_a_person(order, now) for order in orders)


def _give_to_a_person(order: Order, now: datetime) -> bool:
    if order.status not in (OrderStatus.PENDING, OrderStatus.PROCESSING):
        return False
    machine.change_order(order, OrderStatus.REVIEW, ExternalStatus(order.external_status), RESTORED, now)
    machine.announce(order, now)
    machine.record_story(order, "restored", "restore", now)
    due.drop_dispatch(order)
    return True


def _ask_now(now: datetime, closed_within: timedelta) -> int:
    """Open attempts first thing; those that ended lately are asked about once more, as far as they may be."""
    with transaction.atomic():
        DueCheck.objects.filter(attempt__state__in=OPEN_ATTEMPTS).update(next_at=now, fence=F("fence") + 1)
        latest_at = Attempt.objects.aggregate(at=Max("closed_at"))["at"]
        since = latest_at - closed_within if latest_at else now
        closed = Attempt.objects.filter(closed_at__gte=since, due_row__isnull=True).select_related("integration")
        watched = Order.objects.filter(attempts__in=closed, is_restored=False).values("pk")
        Order.objects.filter(pk__in=watched).update(version=F("version") + VERSIONS_LEFT_OUT)
        for attempt in closed.order_by("pk"):
            due.plan_attempt(attempt, Plan(DueKind.WATCH, now, 0, 0), fence=None, seen="", now=now, is_asked=False)
    return DueCheck.objects.filter(attempt__isnull=False, next_at__lte=now).count()
