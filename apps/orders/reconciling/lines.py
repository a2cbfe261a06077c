"""A statement's file as lines: every fault of it named, nothing guessed. Only what the dialect names is kept."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from apps.common.currencies import UnknownCurrency, check_currency
from apps.common.money import BadAmount, to_micros
from apps.orders.reconciling.dialects import ISO, UNIX, Dialect, Meaning

BYTES_LIMIT = 16 * 1024 * 1024
LINES_LIMIT = 100_000
FAULTS_LIMIT = 200
WORDS_LIMIT = 20
"""Unknown state words that are named; a column with more of them holds something else, perhaps codes."""

LONGEST = {"own_ref": 120, "provider_id": 120, "target": 200, "word": 40}

_AMOUNT = re.compile(r"[+-]?[0-9]{1,12}(?:\.[0-9]{1,12})?")


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `micros` is above zero whatever `meaning` says; `fee_micros` comes on top."""

    number: int
    own_ref: str
    provider_id: str
    target: str
    micros: int
    fee_micros: int
    currency: str
    at: datetime | None
    word: str
    meaning: Meaning


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a file, and in which line (0: with all of it)."""

    number: int
    text: str


@dataclass(slots=True)
class Reading:
    """The lines of a file, and everything that is wrong with it; with one fault nothing of it counts."""

    lines: list[Line] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    strange_words: dict[str, int] = field(default_factory=dict)


class BadFile(Exception):
    """The file is none of the dialect's at all; the text says why."""


class BadCell(Exception):
    """One value cannot be read; the text says why and never repeats it: it may be a code in the wrong column."""


def read_lines(content: bytes, dialect: Dialect, currency: str, *, may_be_empty: bool = False) -> Reading:
    """The lines of `content`; `currency` counts where a line names none. A file with none is faulty, mostly."""
    reading = Reading()
    try:
        for number, row in _rows(content, dialect):
            if number > LINES_LIMIT + 1:
                raise BadFile(_("more than 100000 lines: split the file"))
            _take(number, row, dialect, currency, reading)
            if len(reading.faults) >= FAULTS_LIMIT:
                break
    except BadFile as error:
        reading.faults.append(Fault(0, str(error)))
    _blame_words(reading)
    if not (reading.lines or reading.faults or may_be_empty):
        reading.faults.append(Fault(0, _("there is no line in it")))
    return reading


def _blame_words(reading: Reading) -> None:
    """A word that the dialect does not know is never guessed. A column of many is shown none of them."""
    if len(reading.strange_words) > WORDS_LIMIT:
        reading.faults.insert(0, Fault(0, _("the column of the state holds too many different words: is it that one?")))
        reading.strange_words.clear()
    for word, number in reading.strange_words.items():
        text = _("“%(word)s” is no state word of the dialect: say what it means")
        reading.faults.append(Fault(number, text % {"word": word}))


def _rows(content: bytes, dialect: Dialect) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if len(content) > BYTES_LIMIT:
        raise BadFile(_("the file is larger than 16 MB: split it"))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile(_("this is not UTF-8: save the file as “CSV UTF-8”")) from error
    return _json_rows(text, dialect) if dialect.form == "json" else _csv_rows(text, dialect)


def _csv_rows(text: str, dialect: Dialect) -> Iterator[tuple[int, Mapping[str, Any]]]:
    first = text.partition("\n")[0]
    guess = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter or guess, strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        _check_names(names, dialect)
        for cells in reader:
            if not any(map(str.strip, cells)):
                continue
            if len(cells) != len(names):
                counts = {"line": reader.line_num, "there": len(cells), "wanted": len(names)}
                raise BadFile(_("line %(line)d: %(there)d cells instead of %(wanted)d") % counts)
            yield reader.line_num, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise BadFile(_("cannot be read: %(error)s") % {"error": error}) from error


def _check_names(names: list[str], dialect: Dialect) -> None:
    for name in filter(None, dialect.columns.values()):
        if names.count(name) != 1:
            raise BadFile(_("the column “%(name)s” must be there once") % {"name": name})


def _json_rows(text: str, dialect: Dialect) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        told = json.loads(text, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadFile(_("this is not JSON")) from error
    rows = _walk(told, dialect.records)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadFile(_("there is no list of records at “%(path)s”") % {"path": dialect.records or "."})
    for number, row in enumerate(rows, start=1):
        yield number, {path: _walk(row, path) for path in filter(None, dialect.columns.values())}


def _refuse(name: str) -> None:
    raise ValueError(name)


def _walk(told: Any, path: str) -> Any:
    for name in filter(None, path.split(".")):
        told = told.get(name) if isinstance(told, dict) else None
    return told


# --- one line


def _take(number: int, row: Mapping[str, Any], dialect: Dialect, currency: str, reading: Reading) -> None:
    try:
        cells = {fact: _cell(row, dialect.columns.get(fact, ""), fact) for fact in dialect.columns}
        word = cells.get("word", "")
        meaning = _meaning_of(word, dialect)
        if meaning is None:
            if len(reading.strange_words) <= WORDS_LIMIT:
                reading.strange_words.setdefault(word, number)
            return
        reading.lines.append(_line(number, cells, meaning, dialect, currency))
    except BadCell as error:
        reading.faults.append(Fault(number, str(error)))


def _cell(row: Mapping[str, Any], column: str, fact: str) -> str:
    value = row.get(column) if column else ""
    if value is None or isinstance(value, bool | dict | list):
        return ""
    text = (f"{value:f}" if isinstance(value, Decimal) else str(value)).strip()
    if text.startswith("'"):
        text = text[1:]
    if not text.isprintable() or len(text) > LONGEST.get(fact, 60):
        raise BadCell(_("“%(column)s” is too long or unprintable") % {"column": column})
    return text


def _meaning_of(word: str, dialect: Dialect) -> Meaning | None:
    """None for a word that the dialect does not know."""
    if not dialect.columns.get("word"):
        return Meaning.BOUGHT
    said = dialect.words.get(word.casefold())
    return Meaning(said) if said is not None else None


def _line(number: int, cells: Mapping[str, str], meaning: Meaning, dialect: Dialect, currency: str) -> Line:
    micros = _amount(cells.get("amount", ""), dialect)
    if dialect.charges_are_negative and meaning is not Meaning.OTHER:
        micros = -micros
    if micros < 0 and meaning in (Meaning.BOUGHT, Meaning.PENDING):
        meaning = Meaning.RETURNED  # money that came back
    line = Line(
        number=number,
        own_ref=cells.get("own_ref", ""),
        provider_id=cells.get("provider_id", ""),
        target=cells.get("target", ""),
        micros=abs(micros),
        fee_micros=abs(_amount(cells.get("fee", "") or "0", dialect)),
        currency=_currency(cells.get("currency", ""), currency),
        at=_moment(cells.get("at", ""), dialect),
        word=cells.get("word", ""),
        meaning=meaning,
    )
    if meaning is Meaning.BOUGHT and not (line.own_ref or line.provider_id or (line.target and line.at)):
        raise BadCell(_("it names no purchase: neither a reference, nor an id, nor recipient and time"))
    return line


def _amount(text: str, dialect: Dialect) -> int:
    """An amount with an optional grouping of thousands by the other sign."""
    grouping = "," if dialect.decimal == "." else "."
    plain = text.replace(" ", "").replace("\u00a0", "")
    if grouping in plain:
        if not re.fullmatch(rf"[+-]?[0-9]{{1,3}}(?:\{grouping}[0-9]{{3}})+(?:\{dialect.decimal}[0-9]+)?", plain):
            raise BadCell(_("an amount is not in this way of writing"))
        plain = plain.replace(grouping, "")
    plain = plain.replace(dialect.decimal, ".")
    if not _AMOUNT.fullmatch(plain):
        raise BadCell(_("an amount is not in this way of writing"))
    try:
        return to_micros(Decimal(plain))
    except (BadAmount, InvalidOperation) as error:
        raise BadCell(_("an amount has more than 6 decimals or is too large")) from error


def _currency(text: str, usual: str) -> str:
    try:
        return check_currency(text.upper()) if text else usual
    except UnknownCurrency as error:
        raise BadCell(_("the currency is not a known one")) from error


def _moment(text: str, dialect: Dialect) -> datetime | None:
    if not text:
        return None
    try:
        if dialect.times == UNIX:
            return datetime.fromtimestamp(float(text) / (1000 if len(text.partition(".")[0]) > 11 else 1), UTC)
        is_iso = dialect.times == ISO
        told = datetime.fromisoformat(text) if is_iso else datetime.strptime(text, dialect.times)  # noqa: DTZ007
        return (told if told.tzinfo else told.replace(tzinfo=ZoneInfo(dialect.zone))).astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise BadCell(_("a time is not in this way of writing")) from error


def span_of(lines: Iterable[Line]) -> tuple[datetime, datetime] | None:
    """The first and the last time of the lines; None where none has one."""
    times = [line.at for line in lines if line.at is not None]
    return (min(times), max(times)) if times else None
