"""For how long a shop takes the same order again for a mistake."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_price_groups_and_guards")]

    operations = [
        migrations.AddField(
            model_name="tenant",
            name="repeat_minutes",
            field=models.PositiveSmallIntegerField(
                db_default=10,
                default=10,
                help_text="the same product for the same recipient by the same customer; 0 never refuses",
                validators=[django.core.validators.MaxValueValidator(1440)],
                verbose_name="the same again is refused for (minutes)",
            ),
        ),
    ]
