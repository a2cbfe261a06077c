"""Reading text and amounts from provider answers; nothing here knows a protocol, and nothing raises for odd input."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from decimal import Decimal
from urllib.parse import unquote_to_bytes

from apps.common.wire import REDACTED

CHARSETS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "windows-1254": "cp1254",
    "cp1254": "cp1254",
    "iso-8859-9": "cp1254",
    "latin5": "cp1254",
    "windows-1252": "cp1252",
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
}
"""Charset names that a header may give. Another name counts as none: some codecs of Python are no charsets at all."""

TEXT_LIMIT = 500
"""Characters of provider text that are read for its class, and kept as a reason; what is longer has no class."""

BLANK_CODES = frozenset({"", "-", "null"})
"""What providers write in the place of a code when there is none."""

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_PAGE_TAG = re.compile(r"<(?:!doctype|html|head|body)\b", re.IGNORECASE)
_NEVER_URL_ENCODED = re.compile(r"[^!-~]|%(?![0-9A-Fa-f]{2})")
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_SURROGATE = "\\ud"
_PLAIN = re.compile(r"([0-9]{0,12})(?:[.,]([0-9]{1,16}))?")
_WHOLE = re.compile(r"-?[0-9]{1,30}")
_DOT_GROUPS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{3})+(?:,[0-9]{1,16})?")
_COMMA_GROUPS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]{1,16})?")
_GROUPED_LENGTH_MAX = 32
_DIGITS_MAX = 30
_WHOLE_DIGITS_MAX = 12


def decode_text(body: bytes, content_type: str = "") -> str | None:
    """The text of a body without BOM and outer white space; None when no charset reads it without loss.

    The charset of `content_type` is tried first, then UTF-8, then Turkish Windows (cp1254).
    """
    for charset in (*_named_charset(content_type), "utf-8", "cp1254"):
        try:
            return body.decode(charset).lstrip("\ufeff").strip()
        except UnicodeDecodeError:
            continue
    return None


def _named_charset(content_type: str) -> tuple[str, ...]:
    named = _CHARSET.search(content_type)
    charset = CHARSETS.get(named.group(1).lower()) if named else None
    return (charset,) if charset else ()


def decode_url(text: str) -> str:
    """`text` with `%C3%BC` and `+` decoded when all of it looks url-encoded, else `text` itself."""
    return decode_url_field(text) if "%" in text else text


def decode_url_field(text: str) -> str:
    """The same for a text that is known to be url-encoded, even when it shows only by a `+`."""
    if _NEVER_URL_ENCODED.search(text):
        return text
    decoded = decode_text(unquote_to_bytes(text.replace("+", " ")))
    return text if decoded is None else decoded


def is_html(text: str) -> bool:
    """Whether the text is a page instead of an answer: it begins with a tag, or holds the tags of a whole page."""
    return text.lstrip().startswith("<") or _PAGE_TAG.search(text) is not None


def is_blank_code(text: str) -> bool:
    """Whether a field that may hold a code says that there is none: empty, white space, `-`, `null`."""
    return text.strip().casefold() in BLANK_CODES


def parse_amount(text: str) -> Decimal | None:
    """A sum of money of zero or more, exactly as written; None for everything that is not clearly one.

    Reads `12.50`, `12,50`, `{12.50}`, `1.250,50` and `1,250.0000`. With both separators the last one is the decimal
    point; one separator alone is the decimal point, too (`1.250` is one and a quarter), two of a kind are thousands.
    """
    digits = text.strip().removeprefix("{").removesuffix("}").strip()
    plain = _PLAIN.fullmatch(digits)
    if plain and any(plain.groups()):
        return Decimal(digits.replace(",", "."))
    if len(digits) > _GROUPED_LENGTH_MAX:
        return None
    return _parse_grouped(digits)


def _parse_grouped(digits: str) -> Decimal | None:
    if _DOT_GROUPS.fullmatch(digits):
        digits = digits.replace(".", "").replace(",", ".")
    elif _COMMA_GROUPS.fullmatch(digits):
        digits = digits.replace(",", "")
    else:
        return None
    whole = digits.partition(".")[0]
    return Decimal(digits) if len(whole) <= 12 else None


def fold_turkish(text: str) -> str:
    """`text` for comparing: lower case, every i alike (`I İ ı i`), no marks (`ş` is `s`), white space as one space."""
    letters = unicodedata.normalize("NFKD", text)
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return " ".join(bare.replace("ı", "i").casefold().split())


def parse_json(body: bytes) -> object:
    """The value of a JSON body in UTF-8, its numbers as Decimals; None for everything that is not exactly one.

    A BOM is tolerated. Refused are duplicate keys, NaN and Infinity, and texts that a database cannot keep: a zero
    character, half of a surrogate pair.
    """
    try:
        text = body.decode("utf-8-sig")
        value = json.loads(
            text,
            object_pairs_hook=_each_key_once,
            parse_int=Decimal,
            parse_float=Decimal,
            parse_constant=_refuse,
        )
        if _SURROGATE in text.lower():
            dump_json(value)
    except (ValueError, ArithmeticError, RecursionError):
        return None
    return None if _NUL.search(text) else value


def _each_key_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the same key twice")
    return found


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no number")


def dump_json(value: object) -> bytes:
    """What `parse_json` read, as bytes again: the part of a long answer that is kept. Numbers keep their digits."""
    return _dump(value).encode()


def _dump(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_dump(name)}:{_dump(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_dump, value)) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)


def json_text(value: object) -> str:
    """A JSON value that may be a text or a whole number, as text without outer white space; else nothing."""
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, Decimal) and _WHOLE.fullmatch(str(value)) else ""


def json_amount(value: object) -> Decimal | None:
    """A sum of zero or more that JSON gives as a number or as a text; None for everything else."""
    if isinstance(value, str):
        return parse_amount(value)
    if not isinstance(value, Decimal) or value < 0 or not -_DIGITS_MAX <= value.adjusted() < _WHOLE_DIGITS_MAX:
        return None
    return abs(value) if len(value.as_tuple().digits) <= _DIGITS_MAX else None


def clean_line(text: str, hidden: Iterable[str]) -> str:
    """A provider's words as one short line without the texts in `hidden`, such as our credentials."""
    for secret in hidden:
        text = text.replace(secret, REDACTED) if secret else text
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text[:TEXT_LIMIT]).split())
