"""Wake-ups for orders, sent after the commit that made them true. The due rows work without them."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.common.broker import publish
from apps.common.checkpoints import checkpoint

DISPATCH = "apps.orders.tasks.dispatch_order"
CHECK = "apps.orders.tasks.check_order_status"

LATE_S = 300
"""A check message this late is thrown away: the sweep has long asked."""


def dispatch_on_commit(order_id: int, tenant_id: int) -> None:
    """After the commit, tell a worker to dispatch the order."""

    def tell() -> None:
        checkpoint("wake.before_publish")
        publish(DISPATCH, [order_id, tenant_id], expires=LATE_S)

    transaction.on_commit(tell)


def check_on_commit(order_id: int, tenant_id: int, at: datetime, now: datetime) -> None:
    """After the commit, tell a worker to check the order at `at`: the countdown of the due row just written."""
    countdown = max((at - now).total_seconds(), 0)

    def tell() -> None:
        checkpoint("wake.before_publish")
        publish(CHECK, [order_id, tenant_id], countdown=countdown, expires=countdown + LATE_S)

    transaction.on_commit(tell)
