"""Prices with validity and tiers, margin rules, and exchange rates as history."""

from decimal import Decimal

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import apps.common.clock
from apps.common.triggers import Exclude, Forbid, install

# Two prices of one package, for one group, in one currency and from one quantity, that would count at one moment.
SAME_BUYER_SAME_TIME = """
other.package_id = NEW.package_id AND COALESCE(other.price_group_id, 0) = COALESCE(NEW.price_group_id, 0)
AND other.currency = NEW.currency AND other.from_quantity = NEW.from_quantity
AND (other.valid_until IS NULL OR NEW.valid_from IS NULL OR NEW.valid_from < other.valid_until)
AND (NEW.valid_until IS NULL OR other.valid_from IS NULL OR other.valid_from < NEW.valid_until)
""".strip()

RATE_CHANGED = (
    "OLD.tenant_id <> NEW.tenant_id OR OLD.from_currency <> NEW.from_currency OR OLD.to_currency <> NEW.to_currency "
    "OR OLD.rate <> NEW.rate OR OLD.source <> NEW.source OR OLD.valid_from <> NEW.valid_from "
    "OR OLD.created_at <> NEW.created_at"
)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_price_groups_and_guards"),
        ("catalog", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="FxRate",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("from_currency", models.CharField(max_length=3, verbose_name="one unit of")),
                ("to_currency", models.CharField(max_length=3, verbose_name="is this much of")),
                (
                    "rate",
                    models.DecimalField(
                        decimal_places=8,
                        max_digits=15,
                        validators=[django.core.validators.MinValueValidator(Decimal("1E-8"))],
                        verbose_name="rate",
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        help_text="where the rate comes from, such as a bank", max_length=80, verbose_name="source"
                    ),
                ),
                ("valid_from", models.DateTimeField(verbose_name="valid from")),
                (
                    "valid_until",
                    models.DateTimeField(blank=True, help_text="not included", null=True, verbose_name="valid until"),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=apps.common.clock.now, editable=False, verbose_name="entered"),
                ),
            ],
            options={
                "verbose_name": "exchange rate",
                "verbose_name_plural": "exchange rates",
                "db_table": "catalog_fx_rate",
            },
        ),
        migrations.CreateModel(
            name="MarginRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "currency",
                    models.CharField(
                        help_text="of the sale: customers whose wallet is in it pay by this rule",
                        max_length=3,
                        verbose_name="currency",
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("percent", "percent of the cost"), ("amount", "amount on top of the cost")],
                        default="percent",
                        max_length=8,
                        verbose_name="kind",
                    ),
                ),
                (
                    "percent",
                    models.DecimalField(
                        decimal_places=4,
                        default=Decimal("0"),
                        max_digits=8,
                        validators=[django.core.validators.MinValueValidator(0)],
                        verbose_name="percent",
                    ),
                ),
                ("amount_micros", models.BigIntegerField(default=0, verbose_name="amount (millionths)")),
                (
                    "step_micros",
                    models.BigIntegerField(default=10000, verbose_name="round up to a multiple of (millionths)"),
                ),
            ],
            options={
                "verbose_name": "margin rule",
                "verbose_name_plural": "margin rules",
                "db_table": "catalog_margin_rule",
            },
        ),
        migrations.RemoveConstraint(
            model_name="packageprice",
            name="price_once_per_group_and_currency",
        ),
        migrations.RemoveConstraint(
            model_name="packageprice",
            name="price_once_for_all_groups",
        ),
        migrations.AddField(
            model_name="packageprice",
            name="from_quantity",
            field=models.PositiveIntegerField(
                default=1,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(1000),
                ],
                verbose_name="from quantity",
            ),
        ),
        migrations.AddField(
            model_name="packageprice",
            name="valid_from",
            field=models.DateTimeField(blank=True, null=True, verbose_name="valid from"),
        ),
        migrations.AddField(
            model_name="packageprice",
            name="valid_until",
            field=models.DateTimeField(blank=True, help_text="not included", null=True, verbose_name="valid until"),
        ),
        migrations.AddConstraint(
            model_name="packageprice",
            constraint=models.CheckConstraint(
                condition=models.Q(("from_quantity__gte", 1), ("from_quantity__lte", 1000)),
                name="price_from_quantity_sane",
            ),
        ),
        migrations.AddConstraint(
            model_name="packageprice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("valid_from__isnull", True),
                    ("valid_until__isnull", True),
                    ("valid_until__gt", models.F("valid_from")),
                    _connector="OR",
                ),
                name="price_ends_after_it_begins",
            ),
        ),
        migrations.AddField(
            model_name="fxrate",
            name="tenant",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="fx_rates",
                to="accounts.tenant",
                verbose_name="shop",
            ),
        ),
        migrations.AddField(
            model_name="marginrule",
            name="package",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="margin_rules",
                to="catalog.package",
                verbose_name="package",
            ),
        ),
        migrations.AddField(
            model_name="marginrule",
            name="product",
            field=models.ForeignKey(
                blank=True,
                help_text="product and package empty: for everything in the shop",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="margin_rules",
                to="catalog.product",
                verbose_name="product",
            ),
        ),
        migrations.AddField(
            model_name="marginrule",
            name="tenant",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="margin_rules",
                to="accounts.tenant",
                verbose_name="shop",
            ),
        ),
        migrations.AddIndex(
            model_name="fxrate",
            index=models.Index(
                fields=["tenant", "from_currency", "to_currency", "-valid_from"], name="fx_rate_newest_first"
            ),
        ),
        migrations.AddConstraint(
            model_name="fxrate",
            constraint=models.UniqueConstraint(
                fields=("tenant", "from_currency", "to_currency", "valid_from"), name="fx_rate_once_per_moment"
            ),
        ),
        migrations.AddConstraint(
            model_name="fxrate",
            constraint=models.CheckConstraint(condition=models.Q(("rate__gt", 0)), name="fx_rate_above_zero"),
        ),
        migrations.AddConstraint(
            model_name="fxrate",
            constraint=models.CheckConstraint(
                condition=models.Q(("from_currency", models.F("to_currency")), _negated=True),
                name="fx_rate_between_two_currencies",
            ),
        ),
        migrations.AddConstraint(
            model_name="fxrate",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("valid_until__isnull", True), ("valid_until__gt", models.F("valid_from")), _connector="OR"
                ),
                name="fx_rate_ends_after_it_begins",
            ),
        ),
        migrations.AddConstraint(
            model_name="marginrule",
            constraint=models.UniqueConstraint(
                condition=models.Q(("package__isnull", False)),
                fields=("package", "currency"),
                name="margin_rule_once_per_package_and_currency",
            ),
        ),
        migrations.AddConstraint(
            model_name="marginrule",
            constraint=models.UniqueConstraint(
                condition=models.Q(("product__isnull", False)),
                fields=("product", "currency"),
                name="margin_rule_once_per_product_and_currency",
            ),
        ),
        migrations.AddConstraint(
            model_name="marginrule",
            constraint=models.UniqueConstraint(
                condition=models.Q(("package__isnull", True), ("product__isnull", True)),
                fields=("tenant", "currency"),
                name="margin_rule_once_per_shop_and_currency",
            ),
        ),
        migrations.AddConstraint(
            model_name="marginrule",
            constraint=models.CheckConstraint(
                condition=models.Q(("product__isnull", True), ("package__isnull", True), _connector="OR"),
                name="margin_rule_has_one_scope",
            ),
        ),
        migrations.AddConstraint(
            model_name="marginrule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("amount_micros", 0), ("kind", "percent"), ("percent__gte", 0)),
                    models.Q(("amount_micros__gte", 0), ("kind", "amount"), ("percent", 0)),
                    _connector="OR",
                ),
                name="margin_rule_is_percent_or_amount",
            ),
        ),
        migrations.AddConstraint(
            model_name="marginrule",
            constraint=models.CheckConstraint(
                condition=models.Q(("step_micros__gte", 1)), name="margin_rule_step_above_zero"
            ),
        ),
        install(
            [
                Exclude(
                    table="catalog_package_price",
                    name="catalog_package_price_no_overlap",
                    text="two prices for the same buyer at the same time",
                    clash=SAME_BUYER_SAME_TIME,
                    lock_table="catalog_package",
                    lock_column="package_id",
                ),
                Forbid("catalog_fx_rate", "UPDATE", "an exchange rate never changes: enter a newer one", RATE_CHANGED),
                Forbid("catalog_fx_rate", "DELETE", "an exchange rate is history: enter a newer one"),
            ]
        ),
    ]
