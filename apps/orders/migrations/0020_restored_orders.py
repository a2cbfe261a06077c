"""Orders that stood open when the books came back from a backup."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orders", "0019_list_indexes"),
    ]

    operations = [
        migrations.AddField(
            model_name="order",
            name="is_restored",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
