"""What must be true of the database at any moment: `migrations_sql/check_invariants.sql`, read and run. Reads only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

from apps.ops.money_check import one_moment

FILE = settings.BASE_DIR / "migrations_sql" / "check_invariants.sql"
SHOWN = 10
"""Rows of one violation that are kept to be shown; all are counted."""


class BadFile(Exception):
    """The file of invariants cannot be read as blocks of a name, a claim and one query."""


@dataclass(frozen=True, slots=True)
class Invariant:
    """One thing that must hold. `vendors`: the databases that its query is written for. Each row found breaks it."""

    name: str
    claim: str
    query: str
    vendors: frozenset[str]


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that does not hold: how many rows break it, and the first of them by column."""

    name: str
    claim: str
    count: int
    rows: tuple[dict[str, str | int | None], ...]

    def lines(self) -> Iterator[str]:
        """The name with the count, the claim, and a line for each row that is kept."""
        yield f"BROKEN {self.name}: {self.count} rows"
        yield f"    {self.claim}"
        for row in self.rows:
            yield "    " + " ".join(f"{column}={value}" for column, value in row.items())
        if self.count > len(self.rows):
            yield f"    and {self.count - len(self.rows)} more"


BOTH = frozenset({"postgresql", "sqlite"})
_BLOCK = re.compile(r"^-- invariant: ", re.MULTILINE)
_SHAPE = re.compile(
    r"(?P<name>[a-z_]+)\n(?P<claim>(?:-- (?!only: ).+\n)+)(?:-- only: (?P<only>\w+)\n)?(?P<query>SELECT [^;]+);",
)


def load_invariants(vendor: str) -> list[Invariant]:
    """The invariants of the file in their order, with the queries for this database."""
    return [invariant for invariant in read_invariants(FILE.read_text("utf-8")) if vendor in invariant.vendors]


def read_invariants(text: str) -> list[Invariant]:
    """Every block of the file. Raises `BadFile` for one that is not a name, a claim and a single SELECT."""
    return [_read_block(block) for block in _BLOCK.split(text)[1:]]


def _read_block(block: str) -> Invariant:
    found = _SHAPE.match(block)
    if found is None or re.sub(r"(?m)^--.*|\s+", "", block[found.end() :]):
        raise BadFile(f"this is not a name, a claim and one query: {block.splitlines()[0]}")
    claim = " ".join(line.removeprefix("-- ") for line in found["claim"].splitlines())
    vendors = frozenset({found["only"]}) if found["only"] else BOTH
    return Invariant(found["name"], claim, found["query"], vendors)


def violations(connection: BaseDatabaseWrapper) -> list[Violation]:
    """Every invariant that does not hold in this database, from one moment's view of it."""
    with one_moment():
        found = [look(connection, invariant) for invariant in load_invariants(connection.vendor)]
    return [violation for violation in found if violation is not None]


def look(connection: BaseDatabaseWrapper, invariant: Invariant) -> Violation | None:
    """The rows that break one invariant; None when it holds."""
    with connection.cursor() as cursor:
        cursor.execute(invariant.query)
        columns = [column[0] for column in cursor.description]
        rows = iter(cursor)
        first = [dict(zip(columns, row, strict=True)) for row in islice(rows, SHOWN)]
        count = len(first) + sum(1 for _ in rows)
    return Violation(invariant.name, invariant.claim, count, tuple(first)) if count else None
