"""Orders that were held for a trouble on our side go at once when somebody mends it, and not when their wait is over.

What mends is elsewhere and below: it tells by a signal, inside its own transaction, and the due rows move with it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.db.models.signals import post_delete, post_save

from apps.catalog.models import Package
from apps.common import clock
from apps.common.logs import get_logger
from apps.orders import wake
from apps.orders.models import DueCheck
from apps.orders.states import AttemptState, DueKind
from apps.providers.models import Integration, PackageMapping, Route
from apps.providers.troubles import mended

log = get_logger(__name__)

TOLD_AT_ONCE = 100
"""So many orders are told to a worker each; the sweep finds the others, whose rows are due as well."""


def wake_orders(rows: QuerySet[DueCheck], now: datetime) -> int:
    """Make these dispatch rows due now, but for an order of which a unit is being sent at this moment."""
    waiting = rows.filter(kind=DueKind.DISPATCH, lane=0, next_at__gt=now)
    waiting = waiting.exclude(order__attempts__state=AttemptState.SENDING)
    held = list(waiting.order_by("next_at").values_list("pk", "order_id", "order__tenant_id"))
    DueCheck.objects.filter(pk__in=[pk for pk, _, _ in held], next_at__gt=now).update(next_at=now)
    for _, order_id, tenant_id in held[:TOLD_AT_ONCE]:
        wake.dispatch_on_commit(order_id, tenant_id)
    if held:
        log.info("held_orders_woken", orders=len(held))
    return len(held)


def _of_account(integration: Integration) -> QuerySet[DueCheck]:
    packages = Route.objects.filter(integration=integration, is_enabled=True).values("package_id")
    return DueCheck.objects.filter(order__package__in=packages)


def on_mended(*, integration: Integration, package_id: int | None, **kwargs: Any) -> None:
    """A trouble at an account is over."""
    rows = _of_account(integration)
    wake_orders(rows if package_id is None else rows.filter(order__package_id=package_id), clock.now())


def on_account(*, instance: Integration, **kwargs: Any) -> None:
    """Somebody saved an account: it may have new credentials, be switched on, or be let go on."""
    now = clock.now()
    if instance.is_enabled and not instance.is_paused(now):
        wake_orders(_of_account(instance), now)


def on_way(*, instance: PackageMapping | Route, **kwargs: Any) -> None:
    """Somebody saved a mapping or a route of a package."""
    wake_orders(DueCheck.objects.filter(order__package_id=instance.package_id), clock.now())


def on_package(*, instance: Package, created: bool, **kwargs: Any) -> None:
    """Somebody saved a package: its routes may be asked in another order."""
    if not created:
        wake_orders(DueCheck.objects.filter(order__package_id=instance.pk), clock.now())


def listen() -> None:
    """Connect what mends to what waits; once, when Django starts."""
    mended.connect(on_mended, dispatch_uid="orders.mended")
    post_save.connect(on_account, sender=Integration, dispatch_uid="orders.account")
    post_save.connect(on_package, sender=Package, dispatch_uid="orders.package")
    for sender in (PackageMapping, Route):
        post_save.connect(on_way, sender=sender, dispatch_uid=f"orders.{sender.__name__}")
    post_delete.connect(on_way, sender=Route, dispatch_uid="orders.route_gone")
