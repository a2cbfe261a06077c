"""A shop may have a sandbox for test keys: a shop of its own."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_api_key_rights"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenant",
            name="sandbox_of",
            field=models.OneToOneField(
                blank=True,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="sandbox",
                to="accounts.tenant",
            ),
        ),
    ]
