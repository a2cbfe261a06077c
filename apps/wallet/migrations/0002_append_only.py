"""Transfers and entries are append-only: a correction is a new transfer."""

from django.db import migrations

from apps.common.triggers import append_only, install


class Migration(migrations.Migration):
    dependencies = [("wallet", "0001_initial")]

    operations = [install([*append_only("wallet_transfer"), *append_only("wallet_entry")])]
