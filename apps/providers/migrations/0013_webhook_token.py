"""The number from which the address of an account's webhooks is made; without one it counts as 0.

It may be null, so that SQLite adds the column in place: a table that is made anew would lose its trigger.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("providers", "0012_budget_and_breaker")]

    operations = [
        migrations.AddField(
            model_name="integration",
            name="hook_version",
            field=models.PositiveIntegerField(editable=False, null=True),
        ),
    ]
