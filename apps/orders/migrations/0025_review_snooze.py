"""Orders in review that rest until a moment."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orders", "0024_order_tags"),
    ]

    operations = [
        migrations.CreateModel(
            name="ReviewSnooze",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("until", models.DateTimeField()),
                ("version", models.PositiveIntegerField()),
                ("reason", models.CharField(max_length=120)),
                (
                    "order",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="review_snooze", to="orders.order"
                    ),
                ),
            ],
            options={
                "db_table": "orders_review_snooze",
            },
        ),
    ]
