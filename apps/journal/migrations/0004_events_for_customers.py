"""Events name their customer. Those from before anybody could want them count as handed on."""

from typing import Any

from django.db import migrations, models
from django.db.models import F


def close_old(apps: Any, schema_editor: Any) -> None:
    """Nothing that happened before is told any more."""
    events = apps.get_model("journal", "OutboxEvent").objects
    events.filter(kind="order.review").update(kind="order.held")
    events.filter(published_at=None).update(published_at=F("created_at"))


class Migration(migrations.Migration):
    dependencies = [("journal", "0003_alert_episodes")]

    operations = [
        migrations.AddField("outboxevent", "customer_id", models.BigIntegerField(null=True, blank=True)),
        migrations.RunPython(close_old, migrations.RunPython.noop),
    ]
