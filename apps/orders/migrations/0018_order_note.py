"""Notes that customers write about their orders; append-only."""

import django.db.models.deletion
from django.db import migrations, models

from apps.common.triggers import append_only, install


class Migration(migrations.Migration):
    dependencies = [
        ("orders", "0017_unseen_reference"),
    ]

    operations = [
        migrations.CreateModel(
            name="OrderNote",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("text", models.CharField(max_length=500)),
                ("actor", models.CharField(max_length=80)),
                ("created_at", models.DateTimeField()),
                (
                    "order",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="notes", to="orders.order"
                    ),
                ),
            ],
            options={
                "db_table": "orders_note",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("text", ""), _negated=True), name="note_says_something")
                ],
            },
        ),
        install(append_only("orders_note")),
    ]
