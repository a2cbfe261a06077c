"""Everything sealed under an older key of FIELD_KEYS, sealed again under the first one while the hub goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db.models import Model, Q, QuerySet, TextField
from django.db.models.functions import Left

from apps.common.crypto import CannotOpen, first_key_id, open_sealed, seal

BATCH = 100
"""Rows read at once; each is written by itself, so that nobody waits for more than one row."""


@dataclass(frozen=True, slots=True)
class SealedTable:
    """A table and its columns that hold sealed texts; an empty text is sealed as nothing."""

    model: type[Model]
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """The table's name in the database."""
        return self.model._meta.db_table

    def waiting(self) -> QuerySet[Model]:
        """Rows with a text under another key than the first."""
        prefix = f"{first_key_id()}$"
        starts = {f"{column}_starts": Left(column, len(prefix)) for column in self.columns}
        others = Q()
        for column in self.columns:
            others |= ~Q(**{column: ""}) & ~Q(**{f"{column}_starts": prefix})
        rows: QuerySet[Model] = self.model._base_manager.alias(**starts).filter(others)
        return rows


@dataclass(slots=True)
class Rotated:
    """What became of one table's rows. `overtaken`: somebody changed the row meanwhile. `unreadable`: their ids."""

    table: str
    rewritten: int = 0
    overtaken: int = 0
    unreadable: tuple[int, ...] = ()


def sealed_tables() -> list[SealedTable]:
    """Every table with a column called `sealed` or `sealed_...`: a new one is found by its name."""
    tables = (SealedTable(model, _sealed_columns(model)) for model in apps.get_models())
    return sorted((table for table in tables if table.columns), key=lambda table: table.name)


def _sealed_columns(model: type[Model]) -> tuple[str, ...]:
    return tuple(
        field.name
        for field in model._meta.concrete_fields
        if isinstance(field, TextField) and f"{field.name}_".startswith("sealed_")
    )


def rotate(table: SealedTable, batch: int = BATCH) -> Rotated:
    """Seal the rows that wait again. What was done stays done: a second run goes on where the first one ended."""
    done = Rotated(table.name)
    for row in _rows(table, batch):
        pk = row.pop("pk")
        try:
            fresh = {column: _again(text) for column, text in row.items()}
        except CannotOpen:
            done.unreadable += (pk,)
            continue
        # Only over what was read: a password that somebody typed in meanwhile is newer than ours.
        if table.model._base_manager.filter(pk=pk, **row).update(**fresh) == 1:
            done.rewritten += 1
        else:
            done.overtaken += 1
    return done


def _rows(table: SealedTable, batch: int) -> Iterator[dict[str, Any]]:
    last = 0
    while rows := list(table.waiting().filter(pk__gt=last).order_by("pk").values("pk", *table.columns)[:batch]):
        last = rows[-1]["pk"]
        yield from rows


def _again(text: str) -> str:
    return seal(open_sealed(text)) if text else ""
