"""World switches: the ways in which panels of one family differ, and whether this one is down."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from apps.simulator import strict


class UnknownReference(StrEnum):
    EMPTY = "empty"
    CODE_3 = "3|"
    COLON = "3:"
    OK_3 = "OK|3|"


class RepeatPolicy(StrEnum):
    ORIGINAL = "original"
    REFUSE_3 = "refuse_3"
    CODE_8 = "code_8"
    BUYS_AGAIN = "buys_again"


class NumberFormat(StrEnum):
    DOT = "dot"
    COMMA = "comma"
    BRACES = "braces"
    TR_THOUSANDS = "tr_thousands"
    EN_THOUSANDS = "en_thousands"


class Encoding(StrEnum):
    UTF_8 = "utf-8"
    UTF_8_NO_CHARSET = "utf-8-no-charset"
    CP1254 = "cp1254"
    CP1254_NO_CHARSET = "cp1254-no-charset"
    URLENCODED = "urlencoded"


class BadPassword(StrEnum):
    DOCUMENT = "document"
    CLONE_A = "clone_a"
    CLONE_B = "clone_b"


class Endpoint(StrEnum):
    BALANCE = "bakiye_kontrol"
    PRODUCTS = "pin_listesi"
    PLACE = "pin_ekle"
    STATUS = "pin_kontrol"


class Down(StrEnum):
    HTML = "html"
    EMPTY = "empty"
    HANG = "hang"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Switches:
    unknown_reference: UnknownReference = UnknownReference.CODE_3
    repeat_policy: RepeatPolicy = RepeatPolicy.ORIGINAL
    number_format: NumberFormat = NumberFormat.DOT
    encoding: Encoding = Encoding.UTF_8
    debt: str | None = None
    bad_password: BadPassword = BadPassword.DOCUMENT
    auth_fails_on: tuple[Endpoint, ...] = ()
    price_as_number: bool = False
    down: Down | None = None
    down_for_s: float | None = None


CHECKS: dict[str, strict.Check] = {
    "unknown_reference": strict.one_of(UnknownReference),
    "repeat_policy": strict.one_of(RepeatPolicy),
    "number_format": strict.one_of(NumberFormat),
    "encoding": strict.one_of(Encoding),
    "debt": strict.optional(strict.money),
    "bad_password": strict.one_of(BadPassword),
    "auth_fails_on": strict.list_of(strict.one_of(Endpoint)),
    "price_as_number": strict.flag,
    "down": strict.optional(strict.one_of(Down)),
    "down_for_s": strict.optional(strict.seconds),
}


def turn(switches: Switches, raw: object) -> Switches:
    """Apply a JSON object of changes; a new `down` without `down_for_s` lasts until it is set to null."""
    changes = strict.check_fields(raw, CHECKS, "switches")
    if "down" in changes:
        changes.setdefault("down_for_s", None)
    return replace(switches, **changes)


def switches_as_json(switches: Switches) -> dict[str, Any]:
    return asdict(switches)
