"""What the orders that exist already brought and cost, from their units and attempts."""

from typing import Any

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.db.models import Q, Sum


def fill_snapshot(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Captured units are what an order brought; its delivered attempts, the late ones too, are what it cost."""
    orders = apps.get_model("orders", "Order")._default_manager.using(editor.connection.alias)
    touched = orders.filter(Q(units__status="captured") | Q(attempts__delivered_at__isnull=False))
    for order in touched.distinct().iterator():
        captured = order.units.filter(status="captured").aggregate(sum=Sum("amount_micros"))["sum"] or 0
        delivered = list(order.attempts.filter(delivered_at__isnull=False))
        expected = [known_cost(order, attempt, attempt.expected_cost_micros) for attempt in delivered]
        paid = [
            known_cost(
                order, attempt, attempt.expected_cost_micros if attempt.cost_micros is None else attempt.cost_micros
            )
            for attempt in delivered
        ]
        orders.filter(pk=order.pk).update(
            captured_micros=captured, expected_cost_micros=sum_known(expected), cost_micros=sum_known(paid)
        )


def known_cost(order: Any, attempt: Any, micros: int | None) -> int | None:
    """The amount; None in another currency than the order's: no rate was kept then, and none is made up now."""
    return micros if attempt.cost_currency == order.currency else None


def sum_known(costs: list[int | None]) -> int | None:
    """The sum, or None where one of them is not known."""
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


class Migration(migrations.Migration):
    dependencies = [("orders", "0004_quotes_and_money_snapshot")]

    operations = [migrations.RunPython(fill_snapshot, migrations.RunPython.noop)]
