"""The release before works on the database of this one: its models read, add and change rows of every table."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, models, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from apps.common.triggers import installed
from tests.architecture.test_rollout import BASELINE
from tests.functional.ops_fixtures import run

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db]

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

SAID: dict[str, dict[str, Any]] = {
    "orders.Quote": {"expires_at": NOW + timedelta(minutes=5)},
    "orders.Order": {"quantity": 2, "unit_price_micros": 35, "price_micros": 70},
    "orders.DueCheck": {"kind": "dispatch"},
    "orders.Break": {"attempt": lambda: old_row("orders.Attempt")},
    "orders.Case": {"risk_micros": 1},
    "providers.CatalogSync": {"error": ""},
    "providers.Route": {"integration": lambda: old_row("providers.Integration")},
    "wallet.Account": {"balance_micros": 0},
    "wallet.Transfer": {"actor": "test"},
}
"""What a table's own rules ask for, where a made-up value would break them."""

_numbers = itertools.count(1)


@functools.cache
def old_models() -> dict[str, type[models.Model]]:
    """The models of our apps as they stood at the baseline, by label."""
    state = MigrationLoader(None).project_state(list(BASELINE.items()))
    return {model._meta.label: model for model in state.apps.get_models() if model._meta.app_label in BASELINE}


def old_row(label: str, **values: Any) -> models.Model:
    """A new row of the table, written by the old model: what may be null is null, what must refer gets a row anew."""
    model = old_models()[label]
    told = {**SAID.get(label, {}), **values}
    for field in model._meta.concrete_fields:
        if field.name not in told and field.attname not in told and not _fills_itself(field):
            told[field.name] = _value_of(field)
    filled = {name: value() if callable(value) else value for name, value in told.items()}
    return model._default_manager.create(**filled)


def _fills_itself(field: models.Field[Any, Any]) -> bool:
    return isinstance(field, models.AutoField) or field.null or (field.has_default() and not field.unique)


def _value_of(field: models.Field[Any, Any]) -> Any:
    if isinstance(field, models.ForeignKey):
        return old_row(field.related_model._meta.label)
    if field.choices:
        return field.choices[0][0]
    return next(make(field) for kind, make in VALUES.items() if isinstance(field, kind))


VALUES: dict[type[models.Field[Any, Any]], Callable[[Any], Any]] = {
    models.CharField: lambda field: f"{next(_numbers)}x"[: field.max_length],
    models.TextField: lambda _: "x",
    models.BooleanField: lambda _: False,
    models.IntegerField: lambda _: next(_numbers),
    models.FloatField: lambda _: 1.0,
    models.DecimalField: lambda _: 1,
    models.DateTimeField: lambda _: NOW,
    models.DateField: lambda _: NOW.date(),
    models.TimeField: lambda _: time(9),
    models.UUIDField: lambda _: uuid4(),
    models.JSONField: lambda _: {},
}


def a_row(label: str) -> models.Model:
    """A row with what must be committed with it: a transfer has entries, and they sum to zero."""
    if label not in ("wallet.Transfer", "wallet.Entry"):
        return old_row(label)
    entry: Any = old_row("wallet.Entry", amount_micros=5)
    old_row("wallet.Entry", amount_micros=-5, transfer=entry.transfer, account=entry.account)
    row: models.Model = entry if label == "wallet.Entry" else entry.transfer
    return row


@pytest.mark.parametrize("label", sorted(old_models()))
class TestTheReleaseBefore:
    def test_adds_reads_and_changes(self, label: str) -> None:
        row = a_row(label)
        table = type(row)._default_manager
        assert table.get(pk=row.pk) == row
        try:
            with transaction.atomic():
                row.save()
        except IntegrityError:  # its rows are kept as they were written, by old code and by new
            assert f"{row._meta.db_table}_forbid_update" in installed(connection)


class TestTheQuestion:
    """`manage.py check_rollout`, with a migration that is not applied."""

    def test_is_answered_by_nothing_to_do(self) -> None:
        assert run("check_rollout") == "migrations that wait: 0, of these need a stop: 0\n"

    def test_is_answered_by_yes(self) -> None:
        MigrationRecorder(connection).record_unapplied("orders", "0021_order_version")
        assert run("check_rollout") == "migrations that wait: 1, of these need a stop: 0\n"

    def test_is_answered_by_no_and_why(self, capsys: pytest.CaptureFixture[str]) -> None:
        MigrationRecorder(connection).record_unapplied("orders", "0019_list_indexes")
        MigrationRecorder(connection).record_unapplied("orders", "0002_append_only")
        with pytest.raises(CommandError, match="stop the hub"):
            call_command("check_rollout")
        assert capsys.readouterr().out.splitlines() == [
            "orders.0002_append_only needs a stop: Raw Python operation: what it does cannot be seen",
            "orders.0019_list_indexes needs a stop: "
            "no order can be written while seven indexes of orders and attempts are built",
            "migrations that wait: 2, of these need a stop: 2",
        ]
