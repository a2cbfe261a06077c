"""Tables that people edit as CSV: every fault of a file named by its line; what is written can be read back."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from apps.common.currencies import UnknownCurrency, check_currency
from apps.common.money import BadAmount, format_amount, to_micros
from apps.common.sheets import csv_lines, safe_cell

BYTES_LIMIT = 2 * 1024 * 1024
LINES_LIMIT = 5000
YES, NO = "yes", "no"

_DECIMAL = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]+)?")
_WHOLE = re.compile(r"[0-9]{1,9}")


class BadCell(ValueError):
    """What is wrong with one cell, in the reader's language."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name in the first line, and how its cells are read. `needs_value` refuses an empty cell."""

    name: str
    read: Callable[[str], Any] = str
    needs_value: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: the line of the file as an editor counts, the column if it is about one, and words."""

    line: int
    column: str
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line that could be read, by the names of its columns."""

    number: int
    values: Mapping[str, Any]


@dataclass(slots=True)
class Table:
    """What a file holds: the lines that could be read, and everything that could not."""

    lines: list[Line] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


# --- reading


def read_table(data: bytes, columns: Sequence[Column], key: Sequence[str]) -> Table:
    """The lines of a file with these columns in any order. `key` names the columns by which a line may exist once."""
    table = Table()
    text = _decode(data, table)
    if not table.faults:
        _read_lines(text, columns, key, table)
    table.faults.sort(key=lambda fault: fault.line)
    return table


def _decode(data: bytes, table: Table) -> str:
    if len(data) > BYTES_LIMIT:
        table.faults.append(Fault(1, "", _("the file is larger than 2 MB: split it")))
        return ""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        table.faults.append(Fault(line, "", _("this is not UTF-8: save the file as “CSV UTF-8”")))
        return ""


def _read_lines(text: str, columns: Sequence[Column], key: Sequence[str], table: Table) -> None:
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ",")
    try:
        names = [name.strip() for name in next(reader, [])]
        table.faults += _header_faults(names, columns)
        if table.faults:
            return
        _read_body(reader, names, {column.name: column for column in columns}, key, table)
    except csv.Error as error:
        table.faults.append(Fault(reader.line_num, "", _("cannot be read: %(error)s") % {"error": error}))


def _header_faults(names: Sequence[str], columns: Sequence[Column]) -> Iterator[Fault]:
    known = [column.name for column in columns]
    for name in known:
        if name not in names:
            yield Fault(1, name, _("this column is missing"))
        elif names.count(name) > 1:
            yield Fault(1, name, _("this column is there twice"))
    for name in names:
        if name not in known:
            text = _("this column is not known; the columns are: %(names)s") % {"names": ", ".join(known)}
            yield Fault(1, name[:40], text)


def _read_body(
    reader: Any, names: Sequence[str], columns: Mapping[str, Column], key: Sequence[str], table: Table
) -> None:
    seen: dict[Hashable, int] = {}
    began = reader.line_num + 1
    for cells in reader:
        number, began = began, reader.line_num + 1
        if not any(cell.strip() for cell in cells):
            continue
        if len(table.lines) + len(table.faults) >= LINES_LIMIT:
            table.faults.append(Fault(number, "", _("more than 5000 lines: split the file")))
            return
        values = _read_cells(number, cells, names, columns, table)
        if values is None:
            continue
        mark = tuple(str(values[name]) for name in key)
        if mark in seen:
            table.faults.append(Fault(number, key[0], _("the same as line %(line)s") % {"line": seen[mark]}))
            continue
        seen[mark] = number
        table.lines.append(Line(number, values))


def _read_cells(
    number: int, cells: Sequence[str], names: Sequence[str], columns: Mapping[str, Column], table: Table
) -> dict[str, Any] | None:
    if len(cells) != len(names):
        counts = {"there": len(cells), "wanted": len(names)}
        table.faults.append(Fault(number, "", _("%(there)s cells instead of %(wanted)s") % counts))
        return None
    values: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=True):
        try:
            values[name] = _read_cell(columns[name], cell)
        except BadCell as error:
            table.faults.append(Fault(number, name, str(error)))
    return values if len(values) == len(names) else None


def _read_cell(column: Column, cell: str) -> Any:
    text = cell.strip(" ")
    if text.startswith("'") and safe(text[1:]) == text:
        text = text[1:]
    elif safe_cell(text) != text and column.read is not read_micros:
        raise BadCell(_("begins like a formula: put an apostrophe (') in front if it is meant so"))
    text = text.strip()
    if not text.isprintable():
        raise BadCell(_("holds a line break or an unprintable character"))
    if column.needs_value and not text:
        raise BadCell(_("this cell is empty"))
    return column.read(text)


def read_micros(text: str) -> int | None:
    """An amount of zero or more in micro-units; None for an empty cell."""
    if not text:
        return None
    if not _DECIMAL.fullmatch(text):
        raise BadCell(_("no amount: write it with a point and without grouping, such as 1250.50"))
    if text.startswith("-"):
        raise BadCell(_("an amount is not below zero"))
    if len(text.partition(".")[2]) > 6:
        raise BadCell(_("more than 6 decimals"))
    try:
        return to_micros(text)
    except BadAmount as error:
        raise BadCell(_("too large")) from error


def read_currency(text: str) -> str:
    """A known currency in capitals."""
    try:
        return check_currency(text.upper())
    except UnknownCurrency as error:
        raise BadCell(_("not a known currency: write its three letters, such as TRY")) from error


def read_flag(text: str) -> bool:
    """Yes or no."""
    if text.casefold() not in (YES, NO):
        raise BadCell(_("write yes or no"))
    return text.casefold() == YES


def read_moment(text: str) -> datetime | None:
    """A time with its zone; None for an empty cell."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        moment = None
    if text and (moment is None or moment.tzinfo is None):
        raise BadCell(_("write date, time and zone, such as 2026-01-31T09:00:00+03:00"))
    return moment


def read_whole(text: str) -> int:
    """A whole number; an empty cell is 1."""
    if text and not _WHOLE.fullmatch(text):
        raise BadCell(_("write a whole number"))
    return int(text or 1)


def read_wholes(text: str) -> list[int]:
    """Whole numbers with spaces between."""
    return [read_whole(part) for part in text.split()]


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """One of some words; an empty cell is the first."""

    def read(text: str) -> str:
        if text and text not in choices:
            raise BadCell(_("write one of: %(choices)s") % {"choices": ", ".join(choices)})
        return text or choices[0]

    return read


# --- writing


def write_table(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A file that `read_table` reads back as it was, and in which no spreadsheet finds a formula."""
    lines = ([safe(as_text(row[column.name])) for column in columns] for row in rows)
    return "".join(csv_lines([column.name for column in columns], lines)).encode()


def as_text(value: Any) -> str:
    """A value as a cell: flags as words, lists with spaces, nothing as nothing."""
    if isinstance(value, bool):
        return YES if value else NO
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    if isinstance(value, datetime):
        return value.isoformat()
    return "" if value is None else str(value)


def amount_text(micros: int | None) -> str:
    """Micro-units as a plain decimal; nothing as nothing."""
    return "" if micros is None else format_amount(micros)


def safe(text: str) -> str:
    """A text that no spreadsheet takes for a formula; `read_table` takes the apostrophe away again."""
    return f"'{text}" if text.startswith("'") else safe_cell(text)
