"""Finds what was delivered long ago, without reading what was not."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0001_endpoints_and_deliveries")]

    operations = [
        migrations.AddIndex(
            "webhookdelivery",
            models.Index(fields=["ended_at"], condition=models.Q(("state", "delivered")), name="delivery_taken"),
        ),
    ]
