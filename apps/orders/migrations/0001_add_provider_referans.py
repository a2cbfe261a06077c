"""Adds `provider_referans` and its index to `product_orders`, harmlessly where they are there already.

`migrations_sql/migration_provider_referans.sql` does the same by hand; both may run, in any order, any number of times.
"""

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

TABLE = "product_orders"
COLUMN = "provider_referans"
INDEX = "idx_orders_provider_referans"


def add_column_and_index(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Add what introspection does not find."""
    connection = editor.connection
    with connection.cursor() as cursor:
        columns = {column.name for column in connection.introspection.get_table_description(cursor, TABLE)}
        indexes = set(connection.introspection.get_constraints(cursor, TABLE))
    if COLUMN not in columns:
        editor.execute(f"ALTER TABLE {TABLE} ADD COLUMN {COLUMN} varchar(64) NOT NULL DEFAULT ''")
    if INDEX not in indexes:
        editor.execute(f"CREATE INDEX {INDEX} ON {TABLE} ({COLUMN})")


def drop_column_and_index(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Take both away again."""
    editor.execute(f"DROP INDEX IF EXISTS {INDEX}")
    editor.execute(f"ALTER TABLE {TABLE} DROP COLUMN {COLUMN}")


class Migration(migrations.Migration):
    dependencies = [("orders", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(add_column_and_index, drop_column_and_index)],
            state_operations=[
                migrations.AddField(
                    "order",
                    COLUMN,
                    models.CharField(max_length=64, blank=True, default="", db_default=""),
                ),
                migrations.AddIndex("order", models.Index(fields=[COLUMN], name=INDEX)),
            ],
        )
    ]
