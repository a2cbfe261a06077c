"""PostgreSQL cleans the queue up early and without pauses; SQLite has nothing to set.

`migrations_sql/queue_settings.sql` does the same by hand; both may run, in any order, any number of times.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

SETTINGS = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_threshold": "500",
    "autovacuum_analyze_scale_factor": "0.02",
    "autovacuum_analyze_threshold": "500",
    "autovacuum_vacuum_cost_delay": "0",
    "autovacuum_vacuum_cost_limit": "2000",
}


def apply(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Give the table its own settings."""
    if editor.connection.vendor == "postgresql":
        told = ", ".join(f"{name} = {value}" for name, value in SETTINGS.items())
        editor.execute(f"ALTER TABLE orders_due_check SET ({told})")


def take_back(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Leave it to the server's settings again."""
    if editor.connection.vendor == "postgresql":
        editor.execute(f"ALTER TABLE orders_due_check RESET ({', '.join(SETTINGS)})")


class Migration(migrations.Migration):
    dependencies = [("orders", "0012_queue_indexes")]

    operations = [migrations.RunPython(apply, take_back)]
