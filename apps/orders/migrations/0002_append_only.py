"""Evidence, codes and the story are append-only; a code's ciphertext alone may change, when keys are rotated."""

from django.db import migrations

from apps.common.triggers import Forbid, append_only, install

CODE_CHANGED = (
    "OLD.order_id <> NEW.order_id OR OLD.attempt_id <> NEW.attempt_id OR OLD.blind_index <> NEW.blind_index "
    "OR OLD.is_quarantined <> NEW.is_quarantined OR OLD.created_at <> NEW.created_at"
)


class Migration(migrations.Migration):
    dependencies = [("orders", "0001_add_provider_referans")]

    operations = [
        install(
            [
                *append_only("orders_event"),
                *append_only("orders_evidence"),
                Forbid("orders_code", "UPDATE", "orders_code is append-only but for its ciphertext", CODE_CHANGED),
                Forbid("orders_code", "DELETE", "orders_code is append-only"),
            ]
        )
    ]
