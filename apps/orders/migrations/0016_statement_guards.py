"""What a provider has stated is never changed; only which purchase a line is about may be."""

from django.db import migrations

from apps.common.triggers import Forbid, append_only, install

FACTS = (
    "statement_id", "integration_id", "number", "own_ref", "provider_id", "target", "amount_micros", "fee_micros",
    "currency", "word", "meaning", "fingerprint", "nth",
)  # fmt: skip
CHANGED = " OR ".join(f"OLD.{name} <> NEW.{name}" for name in FACTS)


class Migration(migrations.Migration):
    dependencies = [("orders", "0015_reconciliation")]

    operations = [
        install(
            [
                *append_only("orders_statement"),
                *append_only("orders_break_event"),
                Forbid("orders_statement_line", "UPDATE", "what was stated is append-only", CHANGED),
                Forbid("orders_statement_line", "DELETE", "orders_statement_line is append-only"),
                Forbid("orders_break", "DELETE", "a difference is closed, never deleted"),
            ]
        )
    ]
