"""Codes for a shelf as a CSV file: checked as a whole, then stored all or not at all. No message tells a code."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from django.db import IntegrityError, transaction
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.common.crypto import code_index, seal_text
from apps.common.logs import get_logger
from apps.common.money import BadAmount, to_micros
from apps.providers.models import Integration, StockCode
from apps.providers.stock import CHUNK, known_in_stock

log = get_logger(__name__)

COLUMNS = ("code", "serial", "pin", "cost", "expires")
MOST_BYTES = 2 * 1024 * 1024
MOST_CODES = 20_000
LONGEST = 500

Text = str | Promise


class ChangedMeanwhile(Exception):
    """One of these codes was stored by somebody else a moment ago; nothing was stored. Check the file again."""


@dataclass(frozen=True, slots=True)
class Line:
    """One code of the file, with the number of its line."""

    number: int
    code: str = field(repr=False)
    serial: str = field(repr=False)
    pin: str = field(repr=False)
    cost_micros: int
    expires_on: date | None

    @property
    def index(self) -> str:
        """The blind index by which the same code is found elsewhere."""
        return code_index(self.code, self.pin)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one line; 0 is the file as a whole."""

    line: int
    text: Text


@dataclass(frozen=True, slots=True)
class Reading:
    """The codes of a file and everything that is wrong with it. Only one without faults may be stored."""

    lines: tuple[Line, ...]
    faults: tuple[Fault, ...]

    @property
    def cost_micros(self) -> int:
        """What all of them together cost us."""
        return sum(line.cost_micros for line in self.lines)


class _BadFile(Exception):
    """The file cannot be read at all."""

    def __init__(self, text: Text, line: int = 0) -> None:
        super().__init__(str(text))
        self.fault = Fault(line, text)


class _BadCell(Exception):
    """One line cannot be taken."""

    def __init__(self, text: Text) -> None:
        super().__init__(str(text))
        self.text = text


Known = Callable[[Sequence[str]], set[str]]
"""Which of these blind indexes were delivered to a customer already."""


def read_file(
    content: bytes, *, tenant_id: int, usual_cost_micros: int | None, delivered: Known, today: date
) -> Reading:
    """The file's codes with the faults of every line. `usual_cost_micros` counts where a line names no cost."""
    try:
        rows = list(_rows(_decode(content)))
    except _BadFile as error:
        return Reading((), (error.fault,))
    lines: list[Line] = []
    faults: list[Fault] = []
    for number, cells in rows:
        try:
            lines.append(_line(number, cells, usual_cost_micros, today))
        except _BadCell as error:
            faults.append(Fault(number, error.text))
    faults += _twice_in_file(lines)
    indexes = [line.index for line in lines]
    faults += _found(lines, known_in_stock(tenant_id, indexes), _("this code is in stock already, or was"))
    faults += _found(lines, delivered(indexes), _("this code was delivered to a customer already"))
    return Reading(tuple(lines), tuple(sorted(faults, key=lambda fault: fault.line)))


def store(integration: Integration, shelf: str, batch: str, lines: Sequence[Line], now: datetime) -> None:
    """Put all codes on the shelf, or none. Raises `ChangedMeanwhile`. From now on the account keeps its identity."""
    codes = [
        StockCode(
            tenant_id=integration.tenant_id,
            integration=integration,
            shelf=shelf,
            sealed=seal_text(line.code),
            sealed_serial=seal_text(line.serial) if line.serial else "",
            sealed_pin=seal_text(line.pin) if line.pin else "",
            blind_index=line.index,
            cost_micros=line.cost_micros,
            expires_on=line.expires_on,
            batch=batch,
            added_at=now,
        )
        for line in lines
    ]
    try:
        with transaction.atomic():
            StockCode.objects.bulk_create(codes, batch_size=CHUNK)
            Integration.objects.filter(pk=integration.pk, in_use_since=None).update(in_use_since=now)
    except IntegrityError:
        raise ChangedMeanwhile from None
    log.info("stock_added", integration=integration.pk, shelf=shelf, batch=batch, count=len(codes))


# --- the file as rows of cells


def _decode(content: bytes) -> str:
    if len(content) > MOST_BYTES:
        raise _BadFile(_("the file is larger than 2 MiB: split it"))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _BadFile(_("the file is not UTF-8: save it as “CSV UTF-8”")) from None


def _rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Number and cells of every line that is not empty; the first names the columns."""
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=_delimiter(first), strict=True)
    try:
        names = [cell.strip().lower() for cell in next(reader, [])]
        _check_columns(names)
        for count, cells in enumerate(filter(any, reader), 1):
            if len(cells) > len(names):
                raise _BadFile(_("this line has more cells than there are columns"), reader.line_num)
            if count > MOST_CODES:
                raise _BadFile(_("there are more than 20000 codes: split the file"))
            yield reader.line_num, dict(zip(names, (cell.strip() for cell in cells), strict=False))
    except csv.Error:
        raise _BadFile(_("this line cannot be read: look at its quotation marks"), reader.line_num) from None


def _delimiter(first: str) -> str:
    return next((mark for mark in ",;\t" if mark in first), ",")


def _check_columns(names: list[str]) -> None:
    """What stands in a wrong first line is not repeated: without a heading it is a code."""
    if "code" not in names or not set(names) <= set(COLUMNS) or len(set(names)) != len(names):
        text = _("the first line must name the columns: code, and if wanted serial, pin, cost, expires")
        raise _BadFile(text, 1)


# --- one line


def _line(number: int, cells: dict[str, str], usual_cost_micros: int | None, today: date) -> Line:
    for name in ("code", "serial", "pin"):
        _check_printable(cells.get(name, ""))
    if not cells.get("code"):
        raise _BadCell(_("there is no code"))
    return Line(
        number=number,
        code=cells["code"],
        serial=cells.get("serial", ""),
        pin=cells.get("pin", ""),
        cost_micros=_cost(cells.get("cost", ""), usual_cost_micros),
        expires_on=_expiry(cells.get("expires", ""), today),
    )


def _check_printable(text: str) -> None:
    if len(text) > LONGEST:
        raise _BadCell(_("a cell is longer than 500 characters"))
    if not text.isprintable():
        raise _BadCell(_("a line break or an invisible character stands inside a cell"))


def _cost(text: str, usual_micros: int | None) -> int:
    if not text and usual_micros is not None:
        return usual_micros
    try:
        micros = to_micros(text)
    except BadAmount:
        micros = -1
    if micros < 0:
        raise _BadCell(_("the cost must be a number such as 12.50"))
    return micros


def _expiry(text: str, today: date) -> date | None:
    if not text:
        return None
    try:
        expires_on = datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a day, not a moment
    except ValueError:
        raise _BadCell(_("the expiry must be a date such as 2027-01-31")) from None
    if expires_on < today:
        raise _BadCell(_("it has expired already"))
    return expires_on


# --- the same code elsewhere


def _twice_in_file(lines: Sequence[Line]) -> Iterator[Fault]:
    first: dict[str, int] = {}
    for line in lines:
        seen = first.setdefault(line.index, line.number)
        if seen != line.number:
            yield Fault(line.number, _("the same code as in line %(line)d") % {"line": seen})


def _found(lines: Sequence[Line], known: set[str], text: Text) -> list[Fault]:
    return [Fault(line.number, text) for line in lines if line.index in known]
