"""Price groups with parents; what a shop allows: loss, age of rates, time of quotes."""

from decimal import Decimal

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="pricegroup",
            name="parent",
            field=models.ForeignKey(
                blank=True,
                help_text="its prices count where this group has none of its own",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="children",
                to="accounts.pricegroup",
                verbose_name="parent group",
            ),
        ),
        migrations.AddField(
            model_name="tenant",
            name="loss_guard_percent",
            field=models.DecimalField(
                decimal_places=2,
                default=Decimal("0"),
                help_text="nothing is sold or bought when its cost is above the price by more than this",
                max_digits=5,
                validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(100)],
                verbose_name="allowed loss (percent)",
            ),
        ),
        migrations.AddField(
            model_name="tenant",
            name="quote_minutes",
            field=models.PositiveSmallIntegerField(
                default=10,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(1440),
                ],
                verbose_name="quotes hold for (minutes)",
            ),
        ),
        migrations.AddField(
            model_name="tenant",
            name="rate_max_age_hours",
            field=models.PositiveSmallIntegerField(
                default=24,
                help_text="an older rate converts nothing",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(8760),
                ],
                verbose_name="exchange rates are good for (hours)",
            ),
        ),
        migrations.AddConstraint(
            model_name="pricegroup",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("parent__isnull", True), models.Q(("parent", models.F("id")), _negated=True), _connector="OR"
                ),
                name="price_group_is_not_its_own_parent",
            ),
        ),
        migrations.AddConstraint(
            model_name="tenant",
            constraint=models.CheckConstraint(
                condition=models.Q(("loss_guard_percent__gte", 0), ("loss_guard_percent__lte", 100)),
                name="shop_loss_guard_sane",
            ),
        ),
        migrations.AddConstraint(
            model_name="tenant",
            constraint=models.CheckConstraint(
                condition=models.Q(("rate_max_age_hours__gte", 1)), name="shop_rate_age_above_zero"
            ),
        ),
        migrations.AddConstraint(
            model_name="tenant",
            constraint=models.CheckConstraint(
                condition=models.Q(("quote_minutes__gte", 1)), name="shop_quote_time_above_zero"
            ),
        ),
    ]
