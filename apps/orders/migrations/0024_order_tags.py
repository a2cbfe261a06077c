"""Tags that operators put on orders."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orders", "0023_evidence_resealed"),
    ]

    operations = [
        migrations.CreateModel(
            name="OrderTag",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=40)),
                ("actor", models.CharField(max_length=80)),
                ("created_at", models.DateTimeField()),
                (
                    "order",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="tags", to="orders.order"
                    ),
                ),
            ],
            options={
                "db_table": "orders_tag",
                "indexes": [models.Index(fields=["name", "-order"], name="tag_by_name")],
                "constraints": [
                    models.UniqueConstraint(fields=("order", "name"), name="tag_once_per_order"),
                    models.CheckConstraint(condition=models.Q(("name", ""), _negated=True), name="tag_says_something"),
                ],
            },
        ),
    ]
