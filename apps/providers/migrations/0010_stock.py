"""Own stock: codes that are taken once, thresholds of shelves, and accounts of kinds that have no address."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q

from apps.common.triggers import Forbid, install

CODE_CHANGED = (
    "OLD.tenant_id <> NEW.tenant_id OR OLD.integration_id <> NEW.integration_id OR OLD.shelf <> NEW.shelf "
    "OR OLD.blind_index <> NEW.blind_index OR OLD.cost_micros <> NEW.cost_micros OR OLD.batch <> NEW.batch "
    "OR OLD.added_at <> NEW.added_at "
    "OR COALESCE(CAST(OLD.expires_on AS TEXT), '') <> COALESCE(CAST(NEW.expires_on AS TEXT), '') "
    "OR (OLD.taken_at IS NOT NULL "
    "AND (NEW.taken_at IS NULL OR NEW.taken_at <> OLD.taken_at OR NEW.taken_by <> OLD.taken_by))"
)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial"), ("providers", "0003_catalogue")]

    operations = [
        migrations.AlterField(
            "integration", "base_url", models.CharField(blank=True, max_length=200, verbose_name="base URL")
        ),
        migrations.CreateModel(
            name="StockCode",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("shelf", models.CharField(max_length=120)),
                ("sealed", models.TextField()),
                ("sealed_serial", models.TextField(blank=True, default="")),
                ("sealed_pin", models.TextField(blank=True, default="")),
                ("blind_index", models.CharField(max_length=64)),
                ("cost_micros", models.BigIntegerField()),
                ("expires_on", models.DateField(blank=True, null=True)),
                ("batch", models.CharField(blank=True, default="", max_length=80)),
                ("added_at", models.DateTimeField()),
                ("taken_at", models.DateTimeField(blank=True, null=True)),
                ("taken_by", models.BigIntegerField(blank=True, null=True)),
                (
                    "integration",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="stock", to="providers.integration"
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
                "db_table": "providers_stock_code",
                "indexes": [
                    models.Index(
                        condition=Q(("taken_at__isnull", True)),
                        fields=["integration", "shelf", "expires_on", "id"],
                        name="stock_on_shelf",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "blind_index"), name="stock_code_once_per_shop"),
                    models.CheckConstraint(condition=Q(("shelf", ""), _negated=True), name="stock_code_has_a_shelf"),
                    models.CheckConstraint(condition=Q(("cost_micros__gte", 0)), name="stock_cost_not_negative"),
                    models.CheckConstraint(
                        condition=Q(
                            Q(("taken_at__isnull", True), ("taken_by__isnull", True)),
                            Q(("taken_at__isnull", False), ("taken_by__isnull", False)),
                            _connector="OR",
                        ),
                        name="stock_taken_by_an_attempt",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="StockShelf",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=120)),
                ("low_at", models.PositiveIntegerField()),
                (
                    "integration",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="shelves", to="providers.integration"
                    ),
                ),
            ],
            options={
                "db_table": "providers_stock_shelf",
                "constraints": [
                    models.UniqueConstraint(fields=("integration", "name"), name="shelf_once_per_account"),
                ],
            },
        ),
        install(
            [
                Forbid("providers_stock_code", "UPDATE", "a stock code is taken once and never changed", CODE_CHANGED),
                Forbid("providers_stock_code", "DELETE", "providers_stock_code is append-only"),
            ]
        ),
    ]
