from __future__ import annotations

from django.db import migrations, models
from django.db.models import Q
from django.db.models.functions import Upper


class Migration(migrations.Migration):
    """What the list of orders filters and searches by, for shops with a million of them."""

    dependencies = [("orders", "0018_order_note")]

    operations = [
        migrations.AddIndex(
            "order",
            models.Index(
                fields=["tenant", "status", "-id"], condition=~Q(status="completed"), name="idx_orders_not_completed"
            ),
        ),
        migrations.AddIndex("order", models.Index(fields=["tenant", "created_at"], name="idx_orders_by_creation")),
        migrations.AddIndex(
            "order",
            models.Index(Upper("user_identifier"), condition=~Q(user_identifier=""), name="idx_orders_by_recipient"),
        ),
        migrations.AddIndex(
            "order",
            models.Index(
                Upper("external_order_id"), condition=~Q(external_order_id=""), name="idx_orders_by_provider_id"
            ),
        ),
        migrations.AddIndex(
            "order",
            models.Index(
                Upper("client_reference"), condition=Q(client_reference__isnull=False), name="idx_orders_by_client_ref"
            ),
        ),
        migrations.AddIndex("attempt", models.Index(fields=["integration", "order"], name="attempt_by_account")),
        migrations.AddIndex(
            "attempt",
            models.Index(
                Upper("provider_order_id"), condition=~Q(provider_order_id=""), name="attempt_by_any_provider_id"
            ),
        ),
    ]
