"""Reading text and amounts from provider answers; nothing here knows a protocol, and nothing raises for odd input."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from urllib.parse import unquote_to_bytes

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

BLANK_CODES = frozenset({"", "-", "null"})
"""What providers write in the place of a code when there is none."""

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_PAGE_TAG = re.compile(r"<(?:!doctype|html|head|body)\b", re.IGNORECASE)
_NEVER_URL_ENCODED = re.compile(r"[^!-~]|%(?![0-9A-Fa-f]{2})")
_PLAIN = re.compile(r"([0-9]{0,12})(?:[.,]([0-9]{1,16}))?")
_DOT_GROUPS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{3})+(?:,[0-9]{1,16})?")
_COMMA_GROUPS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]{1,16})?")
_GROUPED_LENGTH_MAX = 32


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
