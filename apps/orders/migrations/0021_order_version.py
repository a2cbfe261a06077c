from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orders", "0020_restored_orders")]

    operations = [
        migrations.AddField("order", "version", models.PositiveIntegerField(default=1, db_default=1)),
    ]
