"""What people call an endpoint; nothing of the table changes."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("webhooks", "0002_delivery_taken")]

    operations = [migrations.AlterModelOptions("webhookendpoint", {"verbose_name": "webhook endpoint"})]
