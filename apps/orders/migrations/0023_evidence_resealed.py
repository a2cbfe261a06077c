"""Evidence may be sealed again under a new key: its ciphertext alone may change, and never to or from nothing."""

from collections.abc import Callable

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from apps.common.triggers import Forbid

KEPT = (
    *("id", "order_id", "attempt_id", "verb", "send_no", "request", "knowledge", "detail", "outcome", "body_digest"),
    *("latency_ms", "at"),
)
CHANGED = " OR ".join(
    [
        *(f"OLD.{column} <> NEW.{column}" for column in KEPT),
        "COALESCE(OLD.http_status, -1) <> COALESCE(NEW.http_status, -1)",
        "(OLD.sealed_body = '') <> (NEW.sealed_body = '')",
    ]
)
BEFORE = Forbid("orders_evidence", "UPDATE", "orders_evidence is append-only")
AFTER = Forbid("orders_evidence", "UPDATE", "orders_evidence is append-only but for its ciphertext", CHANGED)


def replace(old: Forbid, new: Forbid) -> Callable[[StateApps, BaseDatabaseSchemaEditor], None]:
    """The trigger of one name for the other."""

    def run(_apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
        vendor = editor.connection.vendor
        for statement in [*old.drop(vendor), *new.create(vendor)]:
            editor.execute(statement, params=None)

    return run


class Migration(migrations.Migration):
    dependencies = [("orders", "0022_bulk_actions")]

    operations = [migrations.RunPython(replace(BEFORE, AFTER), replace(AFTER, BEFORE))]
