"""What each purchase cost in its order's currency, and an index by the day an order was settled: reports read these."""

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.db.models import F
from django.db.models.functions import Coalesce


def fill_costs(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Purchases in their order's currency: what was paid, else what was expected. Other rates were not kept then."""
    attempts = apps.get_model("orders", "Attempt")._default_manager.using(editor.connection.alias)
    orders = apps.get_model("orders", "Order")._default_manager.using(editor.connection.alias)
    for currency in orders.order_by().values_list("currency", flat=True).distinct():
        same = attempts.filter(delivered_at__isnull=False, cost_currency=currency, order__currency=currency)
        ids = list(same.values_list("pk", flat=True))
        attempts.filter(pk__in=ids).update(sale_cost_micros=Coalesce(F("cost_micros"), F("expected_cost_micros")))


class Migration(migrations.Migration):
    dependencies = [("orders", "0005_fill_money_snapshot")]

    operations = [
        migrations.AddField("attempt", "sale_cost_micros", models.BigIntegerField(blank=True, null=True)),
        migrations.AddIndex("order", models.Index(fields=["tenant", "settled_at"], name="idx_orders_by_settling")),
        migrations.RunPython(fill_costs, migrations.RunPython.noop),
    ]
