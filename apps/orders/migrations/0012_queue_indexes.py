"""The queue's look-ups get an index of their own; the one by order goes, for nothing asks it.

Django's own way of dropping an index finds it by its columns, and would take `due_dispatch_once_per_order` with it.
"""

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

TABLE = "orders_due_check"


def drop_index_by_order(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Drop the plain index, and no unique one."""
    with editor.connection.cursor() as cursor:
        found = editor.connection.introspection.get_constraints(cursor, TABLE)
    for name, told in found.items():
        if told["columns"] == ["order_id"] and told["index"] and not told["unique"]:
            editor.execute(f"DROP INDEX {editor.quote_name(name)}")


def make_index_by_order(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Make one again; who drops it finds it by its column, whatever it is called."""
    editor.add_index(apps.get_model("orders", "DueCheck"), models.Index(fields=["order"], name="due_by_order"))


class Migration(migrations.Migration):
    dependencies = [
        ("orders", "0011_provider_ids"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(drop_index_by_order, make_index_by_order)],
            state_operations=[
                migrations.AlterField(
                    model_name="duecheck",
                    name="order",
                    field=models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="due_rows",
                        to="orders.order",
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="duecheck",
            index=models.Index(
                condition=models.Q(("kind", "resolve")), fields=["lane", "next_at"], name="due_lookups_by_lane"
            ),
        ),
    ]
