"""The strategy by which the routes of a package are put in order."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_price_groups_and_guards"),
        ("catalog", "0003_input_kinds_and_pictures"),
    ]

    operations = [
        migrations.AddField(
            model_name="package",
            name="strategy",
            field=models.CharField(
                choices=[
                    ("priority", "by position"),
                    ("cheapest", "the cheapest first"),
                    ("weighted", "shared by weight"),
                ],
                db_default="priority",
                default="priority",
                max_length=8,
                verbose_name="order of its routes",
            ),
        ),
        migrations.AddConstraint(
            model_name="package",
            constraint=models.CheckConstraint(
                condition=models.Q(("strategy__in", ["priority", "cheapest", "weighted"])),
                name="package_strategy_known",
            ),
        ),
    ]
