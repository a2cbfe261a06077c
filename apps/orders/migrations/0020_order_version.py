from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orders", "0019_list_indexes")]

    operations = [
        migrations.AddField("order", "version", models.PositiveIntegerField(default=1, db_default=1)),
    ]
