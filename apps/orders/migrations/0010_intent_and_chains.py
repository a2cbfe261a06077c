"""What an order is for as a fingerprint, and where it stands in a chain of shops."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("orders", "0009_polling")]

    operations = [
        migrations.AddField("order", "intent", models.CharField(blank=True, db_default="", default="", max_length=32)),
        migrations.AddField("order", "repeat", models.PositiveSmallIntegerField(db_default=0, default=0)),
        migrations.AddField(
            "order", "chain_path", models.CharField(blank=True, db_default="", default="", max_length=160)
        ),
        migrations.AddField(
            "order", "parent_reference", models.CharField(blank=True, db_default="", default="", max_length=64)
        ),
        migrations.AddField(
            "order",
            "parent_attempt",
            models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="children",
                to="orders.attempt",
            ),
        ),
        migrations.AddIndex(
            "order",
            models.Index(condition=~Q(intent=""), fields=["intent", "created_at"], name="idx_orders_by_intent"),
        ),
        migrations.AddIndex(
            "order",
            models.Index(
                condition=Q(parent_attempt__isnull=False), fields=["parent_attempt"], name="idx_orders_by_parent"
            ),
        ),
    ]
