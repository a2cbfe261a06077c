"""What the two halves of the ZNET panels share: charsets, number formats, the balance, login errors of the clones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from urllib.parse import quote_plus

from apps.simulator import strict
from apps.simulator.switches import Switches
from apps.simulator.wire import Reply
from apps.simulator.world import World


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


@dataclass(frozen=True, slots=True)
class TextSwitches(Switches):
    number_format: NumberFormat = NumberFormat.DOT
    encoding: Encoding = Encoding.UTF_8
    debt: str | None = None
    bad_password: BadPassword = BadPassword.DOCUMENT


TEXT_CHECKS: dict[str, strict.Check] = {
    "number_format": strict.one_of(NumberFormat),
    "encoding": strict.one_of(Encoding),
    "debt": strict.optional(strict.money),
    "bad_password": strict.one_of(BadPassword),
}

CONTENT_TYPES: dict[Encoding, tuple[str, str]] = {
    Encoding.UTF_8: ("utf-8", "text/html; charset=utf-8"),
    Encoding.UTF_8_NO_CHARSET: ("utf-8", "text/html"),
    Encoding.CP1254: ("cp1254", "text/html; charset=windows-1254"),
    Encoding.CP1254_NO_CHARSET: ("cp1254", "text/html"),
    Encoding.URLENCODED: ("utf-8", "text/html; charset=utf-8"),
}

CLONE_A = "OK|3|bayikodu yada sifre  geçersiz|0.00"
CLONE_B_STATUS = "3:Hatalı bayi kodu veya şifre:0"
CLONE_B = "OK|3|bayikodu yada şifre geçersiz|0.00"


def balance_text(world: World) -> Reply:
    """`OK|<balance>`, and the debt where the panel tells it."""
    fields = ["OK", number(world.balance, world)]
    if world.switches.debt is not None:
        fields.append(number(Decimal(world.switches.debt), world))
    return text("|".join(fields), world)


def number(amount: Decimal, world: World) -> str:
    return NUMBERS[world.switches.number_format](amount)


NUMBERS: dict[NumberFormat, Callable[[Decimal], str]] = {
    NumberFormat.DOT: lambda amount: f"{amount:.2f}",
    NumberFormat.COMMA: lambda amount: f"{amount:.2f}".replace(".", ","),
    NumberFormat.BRACES: lambda amount: f"{{{amount:.2f}}}",
    NumberFormat.TR_THOUSANDS: lambda amount: f"{amount:,.2f}".translate(str.maketrans(",.", ".,")),
    NumberFormat.EN_THOUSANDS: lambda amount: f"{amount:,.4f}",
}


def message(words: str, world: World) -> Reply:
    """A fixed text whose separators are its own."""
    is_encoded = world.switches.encoding is Encoding.URLENCODED
    return text(quote_plus(words, safe="|:") if is_encoded else words, world)


def field(words: str, world: World) -> str:
    """One field of an answer, encoded for it."""
    return quote_plus(words) if world.switches.encoding is Encoding.URLENCODED else words


def text(body: str, world: World) -> Reply:
    """A body whose fields are encoded already, in the panel's charset."""
    charset, content_type = CONTENT_TYPES[world.switches.encoding]
    return Reply(body.encode(charset, "replace"), content_type=content_type)
