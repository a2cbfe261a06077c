"""A code may have a PIN beside its number, an address to redeem it at, and a last day."""

from django.db import migrations, models

from apps.common.triggers import Forbid, restore

CODE_CHANGED = (
    "OLD.order_id <> NEW.order_id OR OLD.attempt_id <> NEW.attempt_id OR OLD.blind_index <> NEW.blind_index "
    "OR OLD.is_quarantined <> NEW.is_quarantined OR OLD.created_at <> NEW.created_at"
)
GUARDS = [
    Forbid("orders_code", "UPDATE", "orders_code is append-only but for its ciphertext", CODE_CHANGED),
    Forbid("orders_code", "DELETE", "orders_code is append-only"),
]


class Migration(migrations.Migration):
    dependencies = [("orders", "0002_append_only")]

    operations = [
        migrations.AddField("ordercode", "sealed_pin", models.TextField(blank=True, default="", db_default="")),
        migrations.AddField("ordercode", "sealed_url", models.TextField(blank=True, default="", db_default="")),
        migrations.AddField("ordercode", "expires_on", models.DateField(blank=True, null=True)),
        restore(GUARDS),
    ]
