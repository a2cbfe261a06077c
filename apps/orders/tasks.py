"""The Celery tasks: wake-ups that translate ids into one call each; nothing depends on their being delivered once."""

from __future__ import annotations

from celery import shared_task

from apps.common import clock
from apps.orders import monitoring, sandbox, services
from apps.orders.decisions import bulk


@shared_task(name="apps.orders.tasks.dispatch_order")
def dispatch_order(order_id: int, tenant_id: int | None = None) -> None:
    """Try to dispatch one order now."""
    services.try_auto_dispatch(order_id, tenant_id)


@shared_task(name="apps.orders.tasks.check_order_status")
def check_order_status(order_id: int, tenant_id: int | None = None) -> None:
    """Ask once about one order's attempts that are due; the next time is written in the database, not retried here."""
    monitoring.check_order(order_id, tenant_id)


@shared_task(name="apps.orders.tasks.check_pending_orders_batch")
def check_pending_orders_batch() -> None:
    """Dispatch and ask everything that is due, until nothing is or 50 seconds are over; one copy at a time."""
    monitoring.sweep()


@shared_task(name="apps.orders.tasks.refresh_sandboxes")
def refresh_sandboxes() -> None:
    """Copy goods and prices anew for every sandbox of test keys."""
    sandbox.refresh_sandboxes(clock.now())


@shared_task(name=bulk.TASK)
def run_bulk_actions() -> None:
    """Go on with every decision about many orders that was started; a lost message costs half a minute."""
    bulk.run_all()
