"""Routes per price group, with weights and opening hours; mappings whose ids the provider refused."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_price_groups_and_guards"),
        ("catalog", "0004_strategy"),
        ("providers", "0010_stock"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="route",
            name="route_position_once_per_package",
        ),
        migrations.RemoveConstraint(
            model_name="route",
            name="route_once_per_package_and_account",
        ),
        migrations.AddField(
            model_name="packagemapping",
            name="refused_at",
            field=models.DateTimeField(blank=True, editable=False, null=True, verbose_name="ids refused"),
        ),
        migrations.AddField(
            model_name="route",
            name="closes_at",
            field=models.TimeField(blank=True, help_text="not included", null=True, verbose_name="closes at"),
        ),
        migrations.AddField(
            model_name="route",
            name="opens_at",
            field=models.TimeField(blank=True, null=True, verbose_name="opens at"),
        ),
        migrations.AddField(
            model_name="route",
            name="price_group",
            field=models.ForeignKey(
                blank=True,
                help_text="empty: for everybody whose groups have no route of their own",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="routes",
                to="accounts.pricegroup",
                verbose_name="price group",
            ),
        ),
        migrations.AddField(
            model_name="route",
            name="weight",
            field=models.PositiveSmallIntegerField(
                default=1,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(1000),
                ],
                verbose_name="weight",
            ),
        ),
        migrations.AddConstraint(
            model_name="route",
            constraint=models.UniqueConstraint(
                condition=models.Q(("price_group__isnull", True)),
                fields=("package", "position"),
                name="route_position_once_per_package",
            ),
        ),
        migrations.AddConstraint(
            model_name="route",
            constraint=models.UniqueConstraint(
                condition=models.Q(("price_group__isnull", False)),
                fields=("package", "price_group", "position"),
                name="route_position_once_per_package_and_group",
            ),
        ),
        migrations.AddConstraint(
            model_name="route",
            constraint=models.UniqueConstraint(
                condition=models.Q(("price_group__isnull", True)),
                fields=("package", "integration"),
                name="route_once_per_package_and_account",
            ),
        ),
        migrations.AddConstraint(
            model_name="route",
            constraint=models.UniqueConstraint(
                condition=models.Q(("price_group__isnull", False)),
                fields=("package", "price_group", "integration"),
                name="route_once_per_package_account_and_group",
            ),
        ),
        migrations.AddConstraint(
            model_name="route",
            constraint=models.CheckConstraint(
                condition=models.Q(("weight__gte", 1), ("weight__lte", 1000)), name="route_weight_sane"
            ),
        ),
        migrations.AddConstraint(
            model_name="route",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("closes_at__isnull", True), ("opens_at__isnull", True)),
                    models.Q(
                        ("closes_at__isnull", False),
                        ("opens_at__isnull", False),
                        models.Q(("opens_at", models.F("closes_at")), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="route_hours_begin_and_end",
            ),
        ),
    ]
