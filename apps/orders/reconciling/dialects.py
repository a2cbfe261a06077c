"""How a provider writes its statements, as data: which column holds what, and what its words mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal
from zoneinfo import ZoneInfo


class Meaning(StrEnum):
    """What one line says of one purchase."""

    BOUGHT = "bought"  # charged to us
    RETURNED = "returned"  # not charged in the end: refused, cancelled, or the money came back
    PENDING = "pending"  # it exists there and is not finished
    FEE = "fee"  # charged to us, and no purchase
    OTHER = "other"  # about our money there, and no purchase: a deposit


Fact = Literal["own_ref", "provider_id", "target", "amount", "currency", "at", "word", "fee"]

FACTS: tuple[Fact, ...] = ("own_ref", "provider_id", "target", "amount", "currency", "at", "word", "fee")
"""What a line may tell, in the order in which forms ask for it."""

DELIMITERS = {"": "comma or semicolon", ",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}

ISO, UNIX = "iso", "unix"
LONGEST_WINDOW_MINUTES = 24 * 60


class BadDialect(ValueError):
    """A dialect that cannot be meant; the text names the field and what to write."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way to write a statement. `columns` names the column (JSON: the path, with dots) of each fact.

    `words` gives each state word, in small letters, its meaning: without a column for it every line is a purchase.
    `times` is `iso`, `unix` or a pattern of `strptime`; `zone` counts where a time names none. `records` is the path to
    the list in a JSON file. `charges_are_negative`: a purchase is written with a minus. A line that names a purchase by
    nothing but its recipient may be `window_minutes` away from it.
    """

    columns: Mapping[str, str]
    words: Mapping[str, str] = field(default_factory=dict)
    form: Literal["csv", "json"] = "csv"
    delimiter: str = ""
    decimal: Literal[".", ","] = "."
    times: str = ISO
    zone: str = "UTC"
    records: str = ""
    charges_are_negative: bool = False
    window_minutes: int = 10

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


def check_dialect(dialect: Dialect) -> None:
    """Raise `BadDialect` for what cannot be meant."""
    names = dialect.columns
    if unknown := sorted(set(names) - set(FACTS)):
        raise BadDialect(f"columns: {', '.join(unknown)} is none of {', '.join(FACTS)}")
    if not names.get("amount"):
        raise BadDialect("columns: name the column of the amount")
    if not (names.get("own_ref") or names.get("provider_id") or (names.get("target") and names.get("at"))):
        raise BadDialect("columns: name the column of our reference, of their id, or those of recipient and time")
    if unknown := sorted(set(dialect.words.values()) - set(Meaning)):
        raise BadDialect(f"words: {', '.join(unknown)} is none of {', '.join(Meaning)}")
    if dialect.words and not names.get("word"):
        raise BadDialect("words: name the column of the state, or leave the words out")
    if dialect.form not in ("csv", "json") or dialect.delimiter not in DELIMITERS or dialect.decimal not in (".", ","):
        raise BadDialect("form: csv or json; delimiter: comma, semicolon, tab or bar; decimal: point or comma")
    if dialect.times not in (ISO, UNIX) and "%" not in dialect.times:
        raise BadDialect("times: iso, unix, or a pattern such as %d.%m.%Y %H:%M:%S")
    if not 1 <= dialect.window_minutes <= LONGEST_WINDOW_MINUTES:
        raise BadDialect(f"window_minutes: from 1 to {LONGEST_WINDOW_MINUTES}")
    try:
        ZoneInfo(dialect.zone)
    except (KeyError, ValueError, OSError) as error:
        raise BadDialect("zone: not a time zone; write it like Europe/Istanbul") from error


def read_dialect(text: str) -> Dialect:
    """A dialect from JSON. With `preset` in it, only what differs from that one. Raises `BadDialect`."""
    try:
        told = json.loads(text)
    except ValueError as error:
        raise BadDialect("it is not JSON") from error
    if not isinstance(told, dict):
        raise BadDialect("it is no JSON object")
    preset = told.pop("preset", None)
    if preset is not None and preset not in PRESETS:
        raise BadDialect(f"preset: there are {', '.join(PRESETS)}")
    try:
        dialect = replace(PRESETS[preset], **told) if preset is not None else Dialect(**told)
        dialect = replace(dialect, words={word.casefold(): meaning for word, meaning in dialect.words.items()})
    except (TypeError, AttributeError) as error:
        raise BadDialect("it has a field that a dialect has not, or lacks its columns") from error
    check_dialect(dialect)
    return dialect


def words_of(lines: str) -> dict[str, str]:
    """State words from lines like `Completed = bought`. Raises `BadDialect`."""
    found = {}
    for line in filter(None, map(str.strip, lines.splitlines())):
        word, sign, meaning = line.rpartition("=")
        if not sign or meaning.strip() not in set(Meaning):
            raise BadDialect(f"words: write each like “Completed = bought”; meanings are {', '.join(Meaning)}")
        found[word.strip().casefold()] = meaning.strip()
    return found


_SALE, _BACK, _OPEN = Meaning.BOUGHT, Meaning.RETURNED, Meaning.PENDING

_ENGLISH = {
    "success": _SALE, "successful": _SALE, "completed": _SALE, "delivered": _SALE, "partial": _SALE,
    "failed": _BACK, "rejected": _BACK, "canceled": _BACK, "cancelled": _BACK, "refunded": _BACK,
    "pending": _OPEN, "processing": _OPEN, "in progress": _OPEN,
    "fee": Meaning.FEE, "deposit": Meaning.OTHER, "top-up": Meaning.OTHER,
}  # fmt: skip

PRESETS: Mapping[str, Dialect] = {
    "plain": Dialect(
        columns={
            "own_ref": "reference",
            "provider_id": "provider_id",
            "target": "target",
            "amount": "amount",
            "currency": "currency",
            "at": "time",
            "word": "state",
            "fee": "fee",
        },
        words=_ENGLISH,
    ),
    "znet": Dialect(
        columns={"own_ref": "referans", "target": "numara", "amount": "tutar", "at": "tarih", "word": "durum"},
        words={
            "onaylandı": _SALE,
            "onaylandi": _SALE,
            "iptal": _BACK,
            "iptal edildi": _BACK,
            "beklemede": _OPEN,
            "1": _OPEN,
            "2": _SALE,
            "3": _BACK,
        },
        delimiter=";",
        decimal=",",
        times="%d.%m.%Y %H:%M:%S",
        zone="Europe/Istanbul",
    ),
    "client_api": Dialect(
        columns={
            "own_ref": "order_uuid",
            "provider_id": "order_id",
            "amount": "price",
            "at": "created_at",
            "word": "status",
        },
        words={**_ENGLISH, "accept": _SALE, "reject": _BACK, "wait": _OPEN},
        form="json",
        records="data",
    ),
    "smm_v2": Dialect(
        columns={"provider_id": "order", "amount": "charge", "currency": "currency", "word": "status"},
        words=_ENGLISH,
    ),
    "digiflazz": Dialect(
        columns={"own_ref": "ref_id", "target": "customer_no", "amount": "price", "at": "created_at", "word": "status"},
        words={"sukses": _SALE, "gagal": _BACK, "pending": _OPEN},
        zone="Asia/Jakarta",
    ),
    "reloadly": Dialect(
        columns={
            "own_ref": "customIdentifier",
            "provider_id": "transactionId",
            "amount": "amount",
            "currency": "currencyCode",
            "at": "transactionCreatedTime",
            "word": "status",
            "fee": "fee",
        },
        words=_ENGLISH,
        form="json",
        records="content",
    ),
}
"""Where to begin, by name: `plain` is ours, the others use the names of the protocols' own answers."""

OF_KIND = {"znet_tl": "znet", "internal": "client_api"}


def preset_of(kind: str) -> str:
    """The name of the preset to begin with for a kind of provider."""
    name = OF_KIND.get(kind, kind)
    return name if name in PRESETS else "plain"
