"""Quotes, and the snapshot of what each order brought and cost."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_price_groups_and_guards"),
        ("catalog", "0002_prices_margins_rates"),
        ("orders", "0003_code_parts"),
    ]

    operations = [
        migrations.AddField(
            model_name="attempt",
            name="cost_rate",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="catalog.fxrate",
            ),
        ),
        migrations.AddField(
            model_name="attempt",
            name="cost_rate_via",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="catalog.fxrate",
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="captured_micros",
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="order",
            name="cost_micros",
            field=models.BigIntegerField(default=0, null=True),
        ),
        migrations.AddField(
            model_name="order",
            name="cost_rate",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="catalog.fxrate",
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="cost_rate_via",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="catalog.fxrate",
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="expected_cost_micros",
            field=models.BigIntegerField(default=0, null=True),
        ),
        migrations.CreateModel(
            name="Quote",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("public_id", models.CharField(max_length=40, unique=True)),
                ("quantity", models.PositiveIntegerField()),
                ("unit_price_micros", models.BigIntegerField()),
                ("currency", models.CharField(max_length=3)),
                ("unit_cost_micros", models.BigIntegerField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                (
                    "cost_rate",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="catalog.fxrate",
                    ),
                ),
                (
                    "cost_rate_via",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="catalog.fxrate",
                    ),
                ),
                (
                    "customer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="quotes", to="accounts.customer"
                    ),
                ),
                (
                    "package",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="catalog.package"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.tenant"
                    ),
                ),
            ],
            options={
                "verbose_name": "quote",
                "verbose_name_plural": "quotes",
                "db_table": "orders_quote",
            },
        ),
        migrations.AddField(
            model_name="order",
            name="quote",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="order",
                to="orders.quote",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(("captured_micros__gte", 0), ("captured_micros__lte", models.F("price_micros"))),
                name="order_captured_within_price",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(("cost_micros__isnull", True), ("cost_micros__gte", 0), _connector="OR"),
                name="order_cost_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="quote",
            constraint=models.CheckConstraint(
                condition=models.Q(("quantity__gte", 1), ("unit_price_micros__gt", 0)),
                name="quote_price_and_quantity_above_zero",
            ),
        ),
        migrations.AddConstraint(
            model_name="quote",
            constraint=models.CheckConstraint(
                condition=models.Q(("expires_at__gt", models.F("created_at"))), name="quote_expires_after_creation"
            ),
        ),
    ]
