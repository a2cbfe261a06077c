"""A provider account that was used keeps its kind, address and login: old orders are asked for where they were placed."""

from django.db import migrations

from apps.common.triggers import Forbid, install

CHANGED = (
    "OLD.in_use_since IS NOT NULL AND (OLD.kind <> NEW.kind OR OLD.base_url <> NEW.base_url "
    "OR OLD.login <> NEW.login OR NEW.in_use_since IS NULL)"
)


class Migration(migrations.Migration):
    dependencies = [("providers", "0001_initial")]

    operations = [
        install(
            [
                Forbid(
                    "providers_integration",
                    "UPDATE",
                    "kind, base_url and login are frozen after the first purchase",
                    CHANGED,
                ),
            ]
        )
    ]
